// SPDX-License-Identifier: Apache-2.0
// Owns the public client of the control plane: fetch, WebCrypto and types, nothing heavier, for the agent and the
// command line. What it answers to an agent is verified here: signature, then agent, then digests.
import type {
  AddFilterKeyRequest,
  Agent,
  AgentReport,
  AgentWithReport,
  ArchiveEvents,
  ArchiveEventsQuery,
  ArchiveIntegrity,
  ArchiveIntegrityQuery,
  ArchiveQueryRequest,
  ArchiveQueryResult,
  AuditEntry,
  CreatedPolicy,
  CreatedToken,
  CreateTokenRequest,
  DesiredState,
  EnrollRequest,
  EnrollResponse,
  ErrorBody,
  Filter,
  FilterConfig,
  FilterKey,
  FilterSignature,
  Policy,
  PolicyWithSource,
  ProcessTree,
  PutReleaseRequest,
  Release,
  Retired,
  SegmentResult,
  SignedDesiredState,
  SigningKey,
  Token,
  UploadedFilter,
} from './api/types.js';
import { type Bytes, digestOf, signatureContexts, utf8, verifySignature } from './crypto.js';

export type * from './api/types.js';
export { createSigner, generateSigningKey, type Signer } from './crypto.js';

/** What went wrong between a client and the control plane. `code` is stable; `status` is 0 where no answer came. */
export class ControlPlaneClientError extends Error {
  override readonly name = 'ControlPlaneClientError';
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    readonly details: ReadonlyArray<{ path: string; message: string }> = [],
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }

  /** True where the same request may succeed later: no answer, overload, or a fault of the server. */
  get retryable(): boolean {
    return this.status === 0 ? this.code === 'unreachable' : this.status === 429 || this.status >= 500;
  }
}

export interface ClientOptions {
  /** Address of the control plane, such as `http://127.0.0.1:8420`. */
  readonly url: string;
  readonly token?: string;
  /** Limit of one request, beyond what a long poll waits. Default 30,000 ms. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
}

export type DesiredAnswer =
  | { readonly changed: false }
  | { readonly changed: true; readonly etag: string; readonly signed: SignedDesiredState };

interface RequestOptions {
  readonly body?: Bytes | string;
  readonly type?: string;
  readonly headers?: Record<string, string>;
  readonly query?: Record<string, string | number | boolean | undefined>;
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

/** The message over which an agent proves that it holds its key. */
export function enrollmentMessage(publicKey: string, node: string): string {
  return `${publicKey}\n${node}`;
}

/**
 * Verifies a desired state: signed by the pinned key, meant for this agent, every policy's text as its digest says,
 * and no older than what the agent has applied.
 * @throws {ControlPlaneClientError} `untrusted` or `replayed`; nothing of it may then be used.
 */
export async function verifyDesiredState(
  signed: SignedDesiredState,
  expected: { controlPlaneKey: string; agentId: string; sequenceMin: number },
): Promise<DesiredState> {
  const refuse = (reason: string) =>
    new ControlPlaneClientError('untrusted', `The desired state is refused: ${reason}.`);
  const { payload, signature } = signed;
  if (typeof payload !== 'string' || typeof signature !== 'string')
    throw refuse('it has no payload or signature');
  if (!(await verifySignature(expected.controlPlaneKey, signatureContexts.desired, payload, signature))) {
    throw refuse('it is not signed by the control plane with which this agent enrolled');
  }
  const state = JSON.parse(payload) as DesiredState;
  if (state.agentId !== expected.agentId) throw refuse('it is meant for another agent');
  if (
    !Number.isSafeInteger(state.release?.sequence) ||
    !Array.isArray(state.policies) ||
    !Array.isArray(state.filters)
  ) {
    throw refuse('it lacks release, policies or filters');
  }
  if (state.release.sequence < expected.sequenceMin) {
    throw new ControlPlaneClientError(
      'replayed',
      `The desired state is refused: its sequence ${state.release.sequence} is below ${expected.sequenceMin}, which was applied before.`,
    );
  }
  for (const policy of state.policies) {
    if ((await digestOf(utf8(policy.source))) !== policy.digest) {
      throw refuse(`the text of policy ${policy.name} does not have its digest`);
    }
  }
  return state;
}

export class ControlPlaneClient {
  readonly #url: string;
  readonly #token: string | undefined;
  readonly #timeoutMs: number;
  readonly #fetch: typeof fetch;

  /** @throws {ControlPlaneClientError} `url` where the address is none. */
  constructor(options: ClientOptions) {
    if (!URL.canParse(options.url) || !/^https?:/.test(options.url)) {
      throw new ControlPlaneClientError('url', `"${options.url}" is not an http or https address.`);
    }
    this.#url = options.url.replace(/\/+$/, '');
    this.#token = options.token;
    this.#timeoutMs = options.timeoutMs ?? 30_000;
    this.#fetch = options.fetch ?? fetch;
  }

  async #send(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined) query.set(key, String(value));
    }
    const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
    if (this.#token !== undefined) headers.authorization = `Bearer ${this.#token}`;
    if (options.body !== undefined) headers['content-type'] = options.type ?? 'application/json';
    const timeout = AbortSignal.timeout(options.timeoutMs ?? this.#timeoutMs);
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
    const search = query.size === 0 ? '' : `?${query}`;
    let response: Response;
    try {
      response = await this.#fetch(`${this.#url}${path}${search}`, {
        method,
        headers,
        signal,
        redirect: 'error',
        ...(options.body === undefined ? {} : { body: options.body }),
      });
    } catch (cause) {
      if (options.signal?.aborted) {
        throw new ControlPlaneClientError('aborted', 'The request was given up.', 0, [], { cause });
      }
      const reason =
        cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
      throw new ControlPlaneClientError(
        'unreachable',
        `The control plane at ${this.#url} does not answer: ${reason}.`,
        0,
        [],
        { cause },
      );
    }
    if (response.ok || response.status === 304) return response;
    let body: Partial<ErrorBody> = {};
    try {
      body = (await response.json()) as Partial<ErrorBody>;
    } catch {
      // Not our error form (a proxy's page): the status alone says what there is to say.
    }
    throw new ControlPlaneClientError(
      body.error?.code ?? 'http',
      body.error?.message ?? `The control plane answered ${response.status} to ${method} ${path}.`,
      response.status,
      body.error?.details ?? [],
    );
  }

  async #json<T>(method: string, path: string, options?: RequestOptions): Promise<T> {
    const response = await this.#send(method, path, options);
    return (await response.json()) as T;
  }

  // For everyone

  async health(): Promise<void> {
    await this.#send('GET', '/health');
  }

  signingKey(): Promise<SigningKey> {
    return this.#json('GET', '/v1/signing-key');
  }

  // For agents

  /** Enrols with a bootstrap token (as this client's token). The same key enrols to the same agent again. */
  enroll(request: EnrollRequest): Promise<EnrollResponse> {
    return this.#json('POST', '/v1/agents/enroll', { body: JSON.stringify(request) });
  }

  /** Asks for the desired state; with an etag, waits up to `waitSeconds` for another than the one it names. */
  async desired(
    options: { etag?: string; waitSeconds?: number; signal?: AbortSignal } = {},
  ): Promise<DesiredAnswer> {
    const response = await this.#send('GET', '/v1/agents/me/desired', {
      query: { wait: options.waitSeconds },
      timeoutMs: this.#timeoutMs + (options.waitSeconds ?? 0) * 1000,
      ...(options.etag === undefined ? {} : { headers: { 'if-none-match': options.etag } }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (response.status === 304) return { changed: false };
    const signed = (await response.json()) as SignedDesiredState;
    return { changed: true, etag: response.headers.get('etag') ?? '', signed };
  }

  /**
   * Fetches a filter of the desired state.
   * @throws {ControlPlaneClientError} `untrusted` where the bytes do not have the digest.
   */
  async desiredFilter(digest: string, options: { signal?: AbortSignal } = {}): Promise<Bytes> {
    const response = await this.#send('GET', `/v1/agents/me/filters/${encodeURIComponent(digest)}`, options);
    return verified(digest, response);
  }

  async report(report: AgentReport): Promise<void> {
    await this.#send('POST', '/v1/agents/me/reports', { body: JSON.stringify(report) });
  }

  /** Uploads a segment; sending one again is harmless and answers `duplicate`. */
  uploadSegment(
    sequence: number | bigint,
    segment: Bytes,
    options: { signal?: AbortSignal } = {},
  ): Promise<SegmentResult> {
    return this.#json('PUT', `/v1/agents/me/segments/${sequence}`, {
      body: segment,
      type: 'application/octet-stream',
      ...options,
    });
  }

  // For people

  uploadFilter(
    module: Bytes,
    options: {
      name?: string;
      version?: string;
      config?: FilterConfig;
      release?: boolean;
      signature?: FilterSignature;
    } = {},
  ): Promise<UploadedFilter> {
    return this.#json('POST', '/v1/filters', {
      body: module,
      type: 'application/wasm',
      query: {
        name: options.name,
        version: options.version,
        release: options.release,
        config: options.config === undefined ? undefined : JSON.stringify(options.config),
        key: options.signature?.keyId,
        signature: options.signature?.signature,
      },
    });
  }

  async filters(): Promise<Filter[]> {
    return (await this.#json<{ filters: Filter[] }>('GET', '/v1/filters')).filters;
  }

  filter(name: string, version: string): Promise<Filter> {
    return this.#json('GET', `/v1/filters/${encodeURIComponent(name)}/${encodeURIComponent(version)}`);
  }

  async downloadFilter(name: string, version: string): Promise<Bytes> {
    const { digest } = await this.filter(name, version);
    const path = `/v1/filters/${encodeURIComponent(name)}/${encodeURIComponent(version)}/module`;
    return verified(digest, await this.#send('GET', path));
  }

  /** Trusts an author's key: from the first one on, filters must be signed. */
  addFilterKey(request: AddFilterKeyRequest): Promise<FilterKey> {
    return this.#json('POST', '/v1/filter-keys', { body: JSON.stringify(request) });
  }

  async filterKeys(): Promise<FilterKey[]> {
    return (await this.#json<{ keys: FilterKey[] }>('GET', '/v1/filter-keys')).keys;
  }

  async retireFilterKey(id: string): Promise<void> {
    await this.#send('DELETE', `/v1/filter-keys/${encodeURIComponent(id)}`);
  }

  createPolicy(yaml: string, options: { release?: boolean } = {}): Promise<CreatedPolicy> {
    return this.#json('POST', '/v1/policies', { body: yaml, type: 'application/yaml', query: options });
  }

  async policies(): Promise<Policy[]> {
    return (await this.#json<{ policies: Policy[] }>('GET', '/v1/policies')).policies;
  }

  policy(name: string, options: { namespace?: string; version?: number } = {}): Promise<PolicyWithSource> {
    return this.#json('GET', `/v1/policies/${encodeURIComponent(name)}`, { query: options });
  }

  retirePolicy(name: string, options: { namespace?: string } = {}): Promise<Retired> {
    return this.#json('DELETE', `/v1/policies/${encodeURIComponent(name)}`, { query: options });
  }

  release(): Promise<Release> {
    return this.#json('GET', '/v1/release');
  }

  async releases(): Promise<Release[]> {
    return (await this.#json<{ releases: Release[] }>('GET', '/v1/releases')).releases;
  }

  putRelease(request: PutReleaseRequest): Promise<Release> {
    return this.#json('PUT', '/v1/release', { body: JSON.stringify(request) });
  }

  async agents(): Promise<Agent[]> {
    return (await this.#json<{ agents: Agent[] }>('GET', '/v1/agents')).agents;
  }

  agent(id: string): Promise<AgentWithReport> {
    return this.#json('GET', `/v1/agents/${encodeURIComponent(id)}`);
  }

  /** Takes an agent's token from it. */
  async revokeAgent(id: string): Promise<void> {
    await this.#send('DELETE', `/v1/agents/${encodeURIComponent(id)}`);
  }

  createToken(request: CreateTokenRequest): Promise<CreatedToken> {
    return this.#json('POST', '/v1/tokens', { body: JSON.stringify(request) });
  }

  async tokens(): Promise<Token[]> {
    return (await this.#json<{ tokens: Token[] }>('GET', '/v1/tokens')).tokens;
  }

  async revokeToken(id: string): Promise<void> {
    await this.#send('DELETE', `/v1/tokens/${encodeURIComponent(id)}`);
  }

  async audit(): Promise<AuditEntry[]> {
    return (await this.#json<{ entries: AuditEntry[] }>('GET', '/v1/audit')).entries;
  }

  query(request: ArchiveQueryRequest): Promise<ArchiveQueryResult> {
    return this.#json('POST', '/v1/archive/query', {
      body: JSON.stringify(request),
      timeoutMs: this.#timeoutMs + (request.timeoutMs ?? 30_000),
    });
  }

  archiveEvents(query: Partial<ArchiveEventsQuery> = {}): Promise<ArchiveEvents> {
    return this.#json('GET', '/v1/archive/events', { query: query as Record<string, string> });
  }

  archiveIntegrity(query: Partial<ArchiveIntegrityQuery> = {}): Promise<ArchiveIntegrity> {
    return this.#json('GET', '/v1/archive/integrity', { query: query as Record<string, string> });
  }

  processTree(execId: string): Promise<ProcessTree> {
    return this.#json('GET', `/v1/archive/processes/${encodeURIComponent(execId)}/tree`);
  }
}

async function verified(digest: string, response: Response): Promise<Bytes> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  const actual = await digestOf(bytes);
  if (actual !== digest) {
    throw new ControlPlaneClientError('untrusted', `The filter is refused: it has ${actual}, not ${digest}.`);
  }
  return bytes;
}
