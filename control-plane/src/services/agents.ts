// SPDX-License-Identifier: Apache-2.0
// Owns agents: enrolment, desired state, reports, segments. An agent is named by its token alone; what it says of
// itself selects nothing and grants nothing.
import type {
  Agent,
  AgentWithReport,
  DesiredState,
  EnrollRequest,
  EnrollResponse,
  SegmentResult,
  SignedDesiredState,
  StoredAgentReport,
} from '../api/types.js';
import { authorise, authoriseAgent, type Principal } from '../auth/permissions.js';
import { createToken } from '../auth/tokens.js';
import { type Bytes, fromBase64, sha256, signatureContexts, toHex, verifySignature } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import type { AgentRow } from '../store/store.js';
import { auditOf, defaultTarget, type Services } from './context.js';
import { moduleOf } from './filters.js';
import { head } from './releases.js';

/** An agent that polls writes its row at most once in this time. */
const touchEveryMs = 30_000;

export async function enrollAgent(
  services: Services,
  principal: Principal,
  request: EnrollRequest,
): Promise<EnrollResponse> {
  authorise(principal, 'agent.enroll');
  const { cluster, labels } = principal;
  if (cluster === undefined)
    throw new ControlPlaneError('forbidden', 'This bootstrap token names no cluster.');
  const message = `${request.publicKey}\n${request.node}`;
  if (!(await verifySignature(request.publicKey, signatureContexts.enroll, message, request.proof))) {
    throw new ControlPlaneError('invalid', 'The agent does not prove that it holds its key.', [
      {
        path: 'proof',
        message: 'is no signature by publicKey over "weir.enroll.v1\\n" publicKey "\\n" node',
      },
    ]);
  }
  // The id follows from the key, so that an agent that enrols again is the one it was.
  const id = `agent-${toHex(await sha256(fromBase64(request.publicKey))).slice(0, 24)}`;
  const nowMs = services.clock.nowMs();
  const { id: tokenId, hash, token } = await createToken();
  const { node, publicKey } = request;
  const enrolled = await services.store.enrollAgent(
    { id, cluster, node, labels, publicKey, enrolledMs: nowMs },
    {
      id: tokenId,
      role: 'agent',
      hash,
      description: '',
      cluster: undefined,
      labels: undefined,
      agentId: id,
      createdMs: nowMs,
      expiresMs: undefined,
      revokedMs: undefined,
    },
    auditOf(services, principal, 'agent.enroll', id, { cluster, node }),
  );
  if (!enrolled) {
    throw new ControlPlaneError(
      'conflict',
      'The agent is revoked or enrolled in another cluster: let it make a new key.',
    );
  }
  return { agentId: id, token, cluster, labels, controlPlaneKey: services.signer.publicKey };
}

async function findSelf(services: Services, principal: Principal): Promise<AgentRow> {
  const agent = await services.store.findAgent(authoriseAgent(principal));
  if (agent === undefined) throw new ControlPlaneError('forbidden', 'The agent is not enrolled.');
  return agent;
}

/** What another desired state can differ in: rollout, and the enrolment that labels come from. */
function etagOf(sequence: number, digest: string, agent: AgentRow): string {
  return `"${sequence}.${digest.slice(7, 23)}.${agent.changeId.slice(-8)}"`;
}

/** The text that `ReleaseWatch` compares. */
export async function releaseInForce(services: Pick<Services, 'store'>): Promise<string> {
  return String((await services.store.headRollout(defaultTarget))?.sequence ?? 0);
}

/** Gives the desired state, or nothing where it still is, after `waitMs`, the one that `known` names. */
export async function desiredState(
  services: Services,
  principal: Principal,
  options: { known: string | undefined; waitMs: number; signal: AbortSignal | undefined },
): Promise<{ etag: string; signed: SignedDesiredState } | { etag: string; signed: undefined }> {
  const agent = await findSelf(services, principal);
  await services.store.touchAgent(agent.id, services.clock.nowMs(), touchEveryMs);
  const endMs = services.clock.nowMs() + options.waitMs;
  for (;;) {
    const { generation } = services.watch;
    const now = await head(services);
    const sequence = now.rollout?.sequence ?? 0;
    const etag = etagOf(sequence, now.release.digest, agent);
    if (etag !== options.known) {
      return { etag, signed: await sign(services, agent, sequence, now.release) };
    }
    const leftMs = endMs - services.clock.nowMs();
    if (leftMs <= 0 || options.signal?.aborted === true) return { etag, signed: undefined };
    if (!(await services.watch.wait(generation, String(sequence), leftMs, options.signal))) {
      return { etag, signed: undefined };
    }
  }
}

async function sign(
  services: Services,
  agent: AgentRow,
  sequence: number,
  release: Awaited<ReturnType<typeof head>>['release'],
): Promise<SignedDesiredState> {
  const sources = await services.store.policySources(release.policies.map((policy) => policy.digest));
  const state: DesiredState = {
    agentId: agent.id,
    cluster: agent.cluster,
    labels: agent.labels,
    release: { sequence, digest: release.digest },
    policies: release.policies.map(({ name, namespace, version, digest }) => {
      const found = sources.get(digest);
      if (found === undefined)
        throw new ControlPlaneError('internal', `The text of policy ${name} is not there.`);
      const { kind, source } = found;
      return { name, ...(namespace === '' ? {} : { namespace }), kind, version, digest, source };
    }),
    filters: release.filters.map(({ name, version, digest, bytes, config, signatures }) => {
      const url = `/v1/agents/me/filters/${digest}`;
      const signed = signatures === undefined ? {} : { signatures: [...signatures] };
      return { name, version, digest, bytes, url, config, ...signed };
    }),
    settings: release.settings,
  };
  const payload = JSON.stringify(state);
  return { payload, signature: await services.signer.sign(signatureContexts.desired, payload) };
}

/** Gives a module to an agent whose desired state has it, and to no other. */
export async function desiredFilter(
  services: Services,
  principal: Principal,
  digest: string,
): Promise<Bytes> {
  await findSelf(services, principal);
  const { release } = await head(services);
  if (!release.filters.some((filter) => filter.digest === digest)) {
    throw new ControlPlaneError('not_found', "The agent's desired state has no filter with this digest.");
  }
  return moduleOf(services, digest);
}

export async function acceptReport(
  services: Services,
  principal: Principal,
  report: StoredAgentReport,
): Promise<void> {
  const agent = await findSelf(services, principal);
  await services.store.saveReport(
    agent.id,
    services.clock.nowMs(),
    report.releaseSequence,
    JSON.stringify(report),
  );
}

export async function acceptSegment(
  services: Services,
  principal: Principal,
  sequence: bigint,
  bytes: Bytes,
): Promise<SegmentResult> {
  const agent = await findSelf(services, principal);
  const { status, events } = await services.archive.ingest({
    agentId: agent.id,
    cluster: agent.cluster,
    node: agent.node,
    publicKey: agent.publicKey,
    sequence,
    bytes,
  });
  return { status, sequence: Number(sequence), ...(events === undefined ? {} : { events }) };
}

function toWire(row: AgentRow): Agent {
  return {
    id: row.id,
    cluster: row.cluster,
    node: row.node,
    labels: row.labels,
    publicKey: row.publicKey,
    enrolledMs: row.enrolledMs,
    ...(row.lastSeenMs === undefined ? {} : { lastSeenMs: row.lastSeenMs }),
    ...(row.revokedMs === undefined ? {} : { revokedMs: row.revokedMs }),
    ...(row.releaseSequence === undefined ? {} : { releaseSequence: row.releaseSequence }),
    ...(row.reportedMs === undefined ? {} : { reportedMs: row.reportedMs }),
  };
}

export async function listAgents(services: Services, principal: Principal): Promise<Agent[]> {
  authorise(principal, 'agent.read');
  return (await services.store.listAgents()).map(toWire);
}

export async function getAgent(
  services: Services,
  principal: Principal,
  id: string,
): Promise<AgentWithReport> {
  authorise(principal, 'agent.read');
  const agent = await services.store.findAgent(id);
  if (agent === undefined) throw new ControlPlaneError('not_found', `There is no agent ${id}.`);
  const report = await services.store.findReport(id);
  if (report === undefined) return toWire(agent);
  return { ...toWire(agent), report: JSON.parse(report) as StoredAgentReport };
}

export async function revokeAgent(services: Services, principal: Principal, id: string): Promise<void> {
  authorise(principal, 'agent.revoke');
  const audit = auditOf(services, principal, 'agent.revoke', id);
  if (!(await services.store.revokeAgent(id, services.clock.nowMs(), audit))) {
    throw new ControlPlaneError('not_found', `There is no agent ${id} that could be revoked.`);
  }
}
