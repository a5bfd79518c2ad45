// SPDX-License-Identifier: Apache-2.0
// Owns the shapes that cross HTTP, as zod schemas: what handlers parse, what /openapi.json says, and, as types only,
// what the client speaks. Every text, list and number has a bound. Wire types are not domain types: services take
// what they need from them.
import { z } from '@hono/zod-openapi';
import { FILTERS_MAX } from '@weir/schema';

/** Largest bodies, in bytes, by what they carry. Anything longer is refused with 413 before it is parsed. */
export const bodyBytesMax = {
  json: 256 * 1024,
  policy: 1024 * 1024,
  filter: 8 * 1024 * 1024,
  report: 2 * 1024 * 1024,
  segment: 64 * 1024 * 1024,
} as const;

/** Longest that a long poll may wait, in seconds: below the idle limit of common proxies. */
export const waitSecondsMax = 50;

/** Names of filters, clusters and tokens: as Kubernetes writes names, so that they fit paths, labels and file names. */
export const name = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, {
    error:
      'must be 1 to 253 characters of a-z, 0-9, "-" and ".", beginning and ending with a letter or digit',
  })
  .openapi({ example: 'drop-noise' });

export const version = z
  .string()
  .regex(/^[0-9A-Za-z][-+.0-9A-Za-z]{0,63}$/, {
    error: 'must be 1 to 64 characters of 0-9, A-Z, a-z, "-", "+" and ".", beginning with a letter or digit',
  })
  .openapi({ example: '1.0.0' });

export const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, { error: 'must be sha256: and 64 hexadecimal digits' })
  .openapi({ example: `sha256:${'0'.repeat(64)}` });

const base64Of32 = z
  .string()
  .regex(/^[A-Za-z0-9+/]{43}=$/, { error: 'must be 32 bytes in base64 (44 characters)' });
const base64Of64 = z
  .string()
  .regex(/^[A-Za-z0-9+/]{86}==$/, { error: 'must be 64 bytes in base64 (88 characters)' });

/** One line of text for people. PostgreSQL takes no NUL, terminals no control characters. */
export const line = (lengthMax: number) =>
  z
    .string()
    .max(lengthMax)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
    .regex(/^[^\u0000-\u001f\u007f]*$/, { error: 'must hold no control characters' });

const timeMs = z.int().min(0).openapi({ description: 'milliseconds since 1970' });
const shortText = z.string().max(256);
const longText = z.string().max(4096);
const count = z.number().min(0).max(Number.MAX_SAFE_INTEGER);

export const labels = z
  .record(z.string().regex(/^[-._/0-9A-Za-z]{1,317}$/), z.string().max(253))
  .refine((value) => Object.keys(value).length <= 64, { error: 'must be at most 64 labels' });

export const errorBody = z
  .object({
    error: z.object({
      code: z.string().openapi({ description: 'stable; programs branch on it' }),
      message: z.string(),
      details: z
        .array(z.object({ path: z.string(), message: z.string() }))
        .openapi({ description: 'one entry for each field that is wrong' }),
    }),
  })
  .openapi('Error');

export const health = z.object({ status: z.literal('ok') }).openapi('Health');

// Tokens

export const role = z.enum(['admin', 'agent', 'bootstrap', 'reader']).openapi('Role');

export const createTokenRequest = z
  .object({
    role: z.enum(['admin', 'bootstrap', 'reader']),
    description: line(256).default(''),
    cluster: name.optional().openapi({ description: 'bootstrap tokens: the cluster of who enrols with it' }),
    labels: labels.optional().openapi({ description: 'bootstrap tokens: the labels of who enrols with it' }),
    expiresMs: timeMs.optional(),
  })
  .refine((value) => value.role !== 'bootstrap' || value.cluster !== undefined, {
    error: 'a bootstrap token must name a cluster',
    path: ['cluster'],
  })
  .openapi('CreateTokenRequest');

export const token = z
  .object({
    id: z.string(),
    role,
    description: z.string(),
    cluster: z.string().optional(),
    labels: labels.optional(),
    agentId: z.string().optional(),
    createdMs: timeMs,
    expiresMs: timeMs.optional(),
    revokedMs: timeMs.optional(),
  })
  .openapi('Token');

export const createdToken = z
  .object({
    token,
    secret: z.string().openapi({ description: 'the bearer token itself; shown here only, never again' }),
  })
  .openapi('CreatedToken');

export const tokenList = z.object({ tokens: z.array(token) }).openapi('TokenList');

// Filters

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Deepest nesting of free JSON. */
const depthMax = 16;

/** Walks by levels, not by recursion: what is sent may be nested deeper than the stack is. */
function depthOf(value: unknown): number {
  let level: unknown[] = [value];
  let depth = 0;
  while (level.length > 0 && depth <= depthMax) {
    level = level.flatMap((entry) =>
      typeof entry === 'object' && entry !== null ? Object.values(entry) : [],
    );
    depth++;
  }
  return depth;
}

/** Free JSON, nested at most 16 deep. */
const json = z
  .custom<Json>((value) => value !== undefined && depthOf(value) <= depthMax, {
    error: `must be JSON, nested at most ${depthMax} deep`,
  })
  .openapi('Json', {
    type: ['string', 'number', 'boolean', 'null', 'array', 'object'],
    description: `any JSON, nested at most ${depthMax} deep`,
  });

const jsonObject = z.record(z.string().max(128), json);

/** Settings of a filter, handed to it as it starts. */
export const filterConfig = jsonObject.openapi('FilterConfig');

/** As `FilterKey.id` of @weir/filter-accept. */
export const filterKeyId = z
  .string()
  .regex(/^fk-[0-9a-f]{32}$/, { error: 'must be fk- and 32 hexadecimal digits' })
  .openapi({ example: `fk-${'0'.repeat(32)}` });

export const filterSignature = z
  .object({
    keyId: filterKeyId,
    signature: base64Of64.openapi({
      description: 'Ed25519 by the author over "weir.filter.v1\\n" and the digest in UTF-8',
    }),
  })
  .openapi('FilterSignature');

export const addFilterKeyRequest = z
  .object({
    publicKey: base64Of32.openapi({ description: 'Ed25519, raw, base64' }),
    description: line(256).default(''),
  })
  .openapi('AddFilterKeyRequest');

export const filterKey = z
  .object({
    id: filterKeyId,
    publicKey: base64Of32,
    description: z.string(),
    createdMs: timeMs,
    createdBy: z.string(),
    retiredMs: timeMs.optional().openapi({ description: 'from then on it signs nothing new' }),
  })
  .openapi('FilterKey');

export const filterKeyList = z.object({ keys: z.array(filterKey) }).openapi('FilterKeyList');

export const filter = z
  .object({
    name,
    version,
    digest,
    bytes: z.int().min(0),
    manifest: jsonObject.openapi({ description: 'what the module says of itself' }),
    config: filterConfig,
    signatures: z.array(filterSignature).openapi({ description: "its authors', oldest first" }),
    createdMs: timeMs,
    createdBy: z.string(),
  })
  .openapi('Filter');

export const uploadedFilter = z
  .object({
    filter,
    created: z.boolean().openapi({ description: 'false: this very version was there already' }),
    releaseSequence: z
      .int()
      .optional()
      .openapi({ description: 'the rollout that takes it to agents, where one was asked for' }),
  })
  .openapi('UploadedFilter');

export const filterList = z.object({ filters: z.array(filter) }).openapi('FilterList');

// Policies

export const policy = z
  .object({
    name: z.string(),
    namespace: z.string().optional(),
    kind: z.string(),
    version: z.int().min(1),
    digest,
    enabled: z.boolean().openapi({ description: 'part of the release now in force' }),
    createdMs: timeMs,
    createdBy: z.string(),
    retiredMs: timeMs.optional(),
  })
  .openapi('Policy');

export const policyWithSource = policy
  .extend({ source: z.string().openapi({ description: 'the YAML as it was sent' }) })
  .openapi('PolicyWithSource');

export const createdPolicy = z
  .object({
    policy,
    created: z.boolean().openapi({ description: 'false: this very text is the newest version already' }),
    warnings: z.array(z.object({ path: z.string(), message: z.string() })),
    releaseSequence: z.int().optional(),
  })
  .openapi('CreatedPolicy');

export const policyList = z.object({ policies: z.array(policy) }).openapi('PolicyList');

export const retired = z
  .object({ retired: z.boolean(), releaseSequence: z.int().optional() })
  .openapi('Retired');

// Releases

export const releaseSettings = jsonObject.openapi('ReleaseSettings');

export const releaseContent = z
  .object({
    policies: z
      .array(z.object({ name: line(253), namespace: line(253).optional(), version: z.int().min(1) }))
      .max(10_000),
    filters: z.array(z.object({ name, version, config: filterConfig.optional() })).max(FILTERS_MAX),
    settings: releaseSettings.default({}),
  })
  .openapi('ReleaseContent');

export const putReleaseRequest = releaseContent
  .extend({
    expectedSequence: z
      .int()
      .min(0)
      .optional()
      .openapi({ description: 'refuse with 409 unless this is the sequence now in force' }),
  })
  .openapi('PutReleaseRequest');

export const release = z
  .object({
    sequence: z.int().min(0),
    target: z.string(),
    digest,
    fromDigest: digest.optional(),
    content: releaseContent,
    createdMs: timeMs,
    createdBy: z.string(),
  })
  .openapi('Release');

export const releaseList = z.object({ releases: z.array(release) }).openapi('ReleaseList');

// Agents

export const enrollRequest = z
  .object({
    node: line(253).min(1).openapi({ description: 'name of the node' }),
    publicKey: base64Of32.openapi({ description: 'Ed25519 public key of the agent, raw, base64' }),
    proof: base64Of64.openapi({
      description: 'Ed25519 signature by that key over "weir.enroll.v1\\n" publicKey "\\n" node',
    }),
    agentVersion: shortText.optional(),
    kernel: shortText.optional(),
  })
  .openapi('EnrollRequest');

export const enrollResponse = z
  .object({
    agentId: z.string(),
    token: z.string().openapi({ description: 'bearer token of this agent; shown here only' }),
    cluster: z.string(),
    labels,
    controlPlaneKey: base64Of32.openapi({ description: 'Ed25519 public key that signs desired states' }),
  })
  .openapi('EnrollResponse');

export const signedDesiredState = z
  .object({
    payload: z.string().openapi({ description: 'JSON text of a DesiredState, signed byte for byte' }),
    signature: base64Of64.openapi({
      description: 'Ed25519 over "weir.desired.v1\\n" and the payload in UTF-8',
    }),
  })
  .openapi('SignedDesiredState');

export const desiredState = z
  .object({
    agentId: z.string(),
    cluster: z.string(),
    labels,
    release: z.object({ sequence: z.int().min(0), digest: z.string() }),
    policies: z.array(
      z.object({
        name: z.string(),
        namespace: z.string().optional(),
        kind: z.string(),
        version: z.int(),
        digest,
        source: z.string().openapi({ description: 'YAML; its SHA-256 is the digest' }),
      }),
    ),
    filters: z
      .array(
        z.object({
          name: z.string(),
          version: z.string(),
          digest,
          bytes: z.int(),
          url: z.string().openapi({ description: 'path on the control plane; the answer has the digest' }),
          config: filterConfig,
          signatures: z.array(filterSignature).optional(),
        }),
      )
      .openapi({ description: 'in the order in which they run' }),
    settings: releaseSettings,
  })
  .openapi('DesiredState');

export const filterStatistics = z
  .object({
    events: count.optional(),
    kept: count.optional(),
    dropped: count.optional(),
    traps: count.optional(),
    alerts: count.optional(),
    cpuNs: count.optional(),
    memoryBytes: count.optional(),
    fuel: count.optional(),
    heldBack: count.optional().openapi({ description: 'events lost: it fails closed, and is in quarantine' }),
    labelsRefused: count
      .optional()
      .openapi({ description: 'labels that its manifest does not declare: left out' }),
    logLinesLost: count.optional().openapi({ description: 'lines of its log beyond the limit: left out' }),
  })
  .openapi('FilterStatistics');

export const agentReport = z
  .object({
    releaseSequence: z.int().min(0).openapi({ description: 'rollout in force; 0 before the first' }),
    agentVersion: shortText.default(''),
    kernel: shortText.default(''),
    bootId: z.string().max(64).default(''),
    policies: z
      .array(
        z.object({
          name: z.string().max(253),
          namespace: z.string().max(253).optional(),
          digest: digest.optional(),
          state: z.enum(['loaded', 'partial', 'refused', 'skipped']),
          mode: z.enum(['enforce', 'monitor']).optional(),
          reason: longText
            .optional()
            .openapi({ description: 'why it was refused or skipped, or why in part' }),
          hooks: z
            .array(
              z.object({
                name: z.string().max(512),
                attached: z.boolean(),
                by: shortText.optional().openapi({ description: 'how: fentry, fmod_ret, tp_btf, …' }),
                reason: longText.optional(),
              }),
            )
            .max(1024)
            .default([]),
        }),
      )
      .max(10_000)
      .default([]),
    filters: z
      .array(
        z.object({
          name: z.string().max(253),
          version: z.string().max(64).optional(),
          digest: digest.optional(),
          state: z.enum(['loaded', 'refused', 'quarantined']),
          code: shortText.optional().openapi({ description: 'of a quarantine: timeout, budget, traps, …' }),
          reason: longText.optional(),
          statistics: filterStatistics.optional(),
        }),
      )
      // Each that runs, and a version of it that is refused.
      .max(2 * FILTERS_MAX)
      .default([]),
    losses: z
      .record(z.string().max(64), count)
      .default({})
      .openapi({ description: 'events lost since the agent started, by loss_stage' }),
    counters: z.record(z.string().max(64), count).default({}),
    errors: z
      .array(z.object({ code: shortText, message: longText }))
      .max(100)
      .default([]),
  })
  .openapi('AgentReport');

export const reportAccepted = z.object({ status: z.literal('accepted') }).openapi('ReportAccepted');

export const agent = z
  .object({
    id: z.string(),
    cluster: z.string(),
    node: z.string(),
    labels,
    publicKey: z.string(),
    enrolledMs: timeMs,
    lastSeenMs: timeMs.optional(),
    revokedMs: timeMs.optional(),
    releaseSequence: z.int().optional().openapi({ description: 'as it last reported' }),
    reportedMs: timeMs.optional(),
  })
  .openapi('Agent');

export const agentWithReport = agent.extend({ report: agentReport.optional() }).openapi('AgentWithReport');

export const agentList = z.object({ agents: z.array(agent) }).openapi('AgentList');

export const segmentResult = z
  .object({
    status: z.enum(['stored', 'duplicate']),
    sequence: z.int(),
    events: z.int().optional(),
  })
  .openapi('SegmentResult');

// Archive

export const archiveQueryRequest = z
  .object({
    sql: z
      .string()
      .min(1)
      .max(64 * 1024)
      .openapi({
        description: 'one SELECT over the table `events`',
        example: "SELECT time, binary, path FROM events WHERE policy = 'watch' LIMIT 10",
      }),
    limit: z.int().min(1).max(100_000).default(1000),
    timeoutMs: z.int().min(100).max(120_000).default(30_000),
  })
  .openapi('ArchiveQueryRequest');

export const archiveQueryResult = z
  .object({
    columns: z.array(z.object({ name: z.string(), type: z.string() })),
    rows: z.array(z.array(z.unknown())),
    truncated: z.boolean().openapi({ description: 'there were more rows than the limit' }),
  })
  .openapi('ArchiveQueryResult');

export const archiveEventsQuery = z.object({
  from: z.iso.datetime({ offset: true }).optional(),
  to: z.iso.datetime({ offset: true }).optional(),
  cluster: z.string().max(253).optional(),
  node: z.string().max(253).optional(),
  kind: z.string().max(32).optional(),
  policy: z.string().max(253).optional(),
  binary: z.string().max(4096).optional(),
  path: z.string().max(4096).optional(),
  pod: z.string().max(253).optional(),
  exec_id: z.string().max(512).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

export const archiveEvents = z
  .object({ events: z.array(z.record(z.string(), z.unknown())), truncated: z.boolean() })
  .openapi('ArchiveEvents');

export const processTree = z
  .object({
    root: z.string().openapi({ description: 'exec_id of the oldest known ancestor' }),
    processes: z.array(
      z.object({
        execId: z.string(),
        parentExecId: z.string().optional(),
        depth: z.int().openapi({ description: '0 for the root; children follow their parent' }),
        pid: z.number().optional(),
        binary: z.string().optional(),
        arguments: z.array(z.string()).optional(),
        user: z.string().optional(),
        uid: z.number().optional(),
        startTime: z.string().optional(),
        endTime: z.string().optional(),
        exitStatus: z.number().optional(),
        exitSignal: z.string().optional(),
        events: z.int().openapi({ description: 'events of it in the archive' }),
      }),
    ),
    truncated: z.boolean(),
  })
  .openapi('ProcessTree');

export const archiveIntegrityQuery = z.object({
  agent: z.string().max(64).optional(),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

export const archiveIntegrity = z
  .object({
    segments: z.int().openapi({ description: 'segments in the catalogue' }),
    files: z.int().openapi({ description: 'Parquet files that queries read' }),
    filesWithoutDigest: z
      .int()
      .openapi({ description: 'of those, entered before digests were kept: their size alone is checked' }),
    breaks: z
      .array(
        z.object({
          agentId: z.string(),
          cluster: z.string(),
          node: z.string(),
          chainId: z.string(),
          sequence: z.int(),
          digest: z.string(),
          receivedMs: timeMs,
          standing: z.enum(['gap', 'fork']).openapi({
            description:
              'gap: the segment before it is not here (yet); fork: it does not follow the one before it',
          }),
        }),
      )
      .openapi({ description: 'by agent, chain and sequence' }),
    truncated: z.boolean().openapi({ description: 'there were more breaks than the limit' }),
  })
  .openapi('ArchiveIntegrity');

// Audit

export const auditEntry = z
  .object({
    id: z.string(),
    timeMs,
    actor: z.string().openapi({ description: 'id of the token' }),
    role,
    action: z.string(),
    subject: z.string(),
    details: jsonObject,
  })
  .openapi('AuditEntry');

export const auditList = z.object({ entries: z.array(auditEntry) }).openapi('AuditList');

export const signingKey = z
  .object({ publicKey: base64Of32.openapi({ description: 'Ed25519, raw, base64' }) })
  .openapi('SigningKey');
