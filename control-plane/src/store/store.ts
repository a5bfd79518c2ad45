// SPDX-License-Identifier: Apache-2.0
// Owns the interface of the store. Every method is one conditional statement or one atomic batch of statements that
// is fixed before it begins: no interactive transaction, so that it also fits databases behind HTTP. A change and
// its audit row are written together or not at all.
import type { FilterConfig } from '../api/types.js';

export type Role = 'admin' | 'agent' | 'bootstrap' | 'reader';
export type Labels = Record<string, string>;

/** Who changed what; written in one batch with the change. */
export interface Audit {
  readonly id: string;
  readonly timeMs: number;
  readonly actor: string;
  readonly role: Role;
  readonly action: string;
  readonly subject: string;
  readonly details: Record<string, FilterConfig[string]>;
}

export interface TokenRow {
  readonly id: string;
  readonly role: Role;
  /** SHA-256 of the secret, hexadecimal. */
  readonly hash: string;
  readonly description: string;
  readonly cluster: string | undefined;
  readonly labels: Labels | undefined;
  readonly agentId: string | undefined;
  readonly createdMs: number;
  readonly expiresMs: number | undefined;
  readonly revokedMs: number | undefined;
}

export interface FilterRow {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly bytes: number;
  readonly manifest: FilterConfig;
  readonly config: FilterConfig;
  readonly createdMs: number;
  readonly createdBy: string;
}

/** An author's key. Retired, it signs nothing new. */
export interface FilterKeyRow {
  readonly id: string;
  /** Ed25519, raw, base64. */
  readonly publicKey: string;
  readonly description: string;
  readonly createdMs: number;
  readonly createdBy: string;
  readonly retiredMs: number | undefined;
}

/** An author's signature of a module, by the module's digest. */
export interface FilterSignatureRow {
  readonly digest: string;
  readonly keyId: string;
  readonly signature: string;
  readonly createdMs: number;
  readonly createdBy: string;
}

export interface PolicyRow {
  readonly name: string;
  /** Empty for a cluster-wide policy. */
  readonly namespace: string;
  readonly kind: string;
  readonly version: number;
  readonly digest: string;
  readonly source: string;
  readonly createdMs: number;
  readonly createdBy: string;
  readonly retiredMs: number | undefined;
}

export type PolicySummary = Omit<PolicyRow, 'source'>;

export interface ReleasedFilter {
  readonly name: string;
  readonly version: string;
  readonly digest: string;
  readonly bytes: number;
  readonly config: FilterConfig;
  /** As they were when it was released. */
  readonly signatures?: ReadonlyArray<{ keyId: string; signature: string }> | undefined;
}

/** An immutable set; digests included, so that its own digest says all of it. */
export interface ReleaseRow {
  readonly digest: string;
  readonly policies: ReadonlyArray<{ name: string; namespace: string; version: number; digest: string }>;
  readonly filters: ReadonlyArray<ReleasedFilter>;
  readonly settings: FilterConfig;
}

/** A target's move from one release to another. Sequences rise over all targets. */
export interface RolloutRow {
  readonly sequence: number;
  readonly target: string;
  readonly digest: string;
  readonly fromDigest: string | undefined;
  readonly createdMs: number;
  readonly createdBy: string;
}

export interface AgentRow {
  readonly id: string;
  readonly cluster: string;
  readonly node: string;
  readonly labels: Labels;
  readonly publicKey: string;
  readonly enrolledMs: number;
  readonly lastSeenMs: number | undefined;
  readonly revokedMs: number | undefined;
  readonly releaseSequence: number | undefined;
  readonly reportedMs: number | undefined;
  /** Changes when the agent enrols again. */
  readonly changeId: string;
}

export type JobState = 'ready' | 'leased' | 'done' | 'failed';

export interface JobRow {
  readonly id: string;
  readonly kind: string;
  readonly payload: FilterConfig;
  readonly state: JobState;
  readonly attempts: number;
  readonly error: string | undefined;
}

/** Bounds of lists. */
export const listMax = {
  tokens: 10_000,
  filters: 10_000,
  filterKeys: 1_000,
  policies: 20_000,
  rollouts: 1_000,
  agents: 20_000,
  audit: 1_000,
};

export interface Store {
  /** @throws where the database does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;

  /** Is false where the id is taken. */
  insertToken(row: TokenRow, audit: Audit): Promise<boolean>;
  /** Finds a token that is not revoked, and whose agent, if it has one, is not. */
  findToken(id: string): Promise<TokenRow | undefined>;
  listTokens(): Promise<TokenRow[]>;
  countTokens(role: Role): Promise<number>;
  /** Is false where there is none, or it is revoked already. */
  revokeToken(id: string, nowMs: number, audit: Audit): Promise<boolean>;

  /** Is false where that name and version are taken. */
  insertFilter(row: FilterRow, audit: Audit): Promise<boolean>;
  findFilter(name: string, version: string): Promise<FilterRow | undefined>;
  listFilters(): Promise<FilterRow[]>;

  /** Is false where a key with that id is there. */
  insertFilterKey(row: FilterKeyRow, audit: Audit): Promise<boolean>;
  /** Oldest first. */
  listFilterKeys(): Promise<FilterKeyRow[]>;
  /** Is false where there is none, or it is retired already. */
  retireFilterKey(id: string, nowMs: number, audit: Audit): Promise<boolean>;
  /** One a key and module: another takes its place. Is false where this very one is there. */
  insertFilterSignature(row: FilterSignatureRow, audit: Audit): Promise<boolean>;
  /** Signatures by digest, oldest first, for those modules that have any. */
  filterSignatures(digests: readonly string[]): Promise<Map<string, FilterSignatureRow[]>>;

  /** Gives the version that the text took, or undefined where another took it at the same moment: try again. */
  insertPolicy(row: Omit<PolicyRow, 'version' | 'retiredMs'>, audit: Audit): Promise<number | undefined>;
  /** Without a version, the newest. */
  findPolicy(name: string, namespace: string, version?: number): Promise<PolicyRow | undefined>;
  /** Newest version of each policy, without its text. */
  listPolicies(): Promise<PolicySummary[]>;
  /** Texts by digest, for those that are there. */
  policySources(digests: readonly string[]): Promise<Map<string, { source: string; kind: string }>>;
  /** Retires every version; is false where there is none that is not retired. */
  retirePolicy(name: string, namespace: string, nowMs: number, audit: Audit): Promise<boolean>;

  /** Inserts release and rollout; is false where `sequence` is not one above the highest: try again. */
  insertRollout(rollout: RolloutRow, release: ReleaseRow, audit: Audit): Promise<boolean>;
  headRollout(target: string): Promise<RolloutRow | undefined>;
  findRelease(digest: string): Promise<ReleaseRow | undefined>;
  /** Newest first. */
  listRollouts(target: string): Promise<RolloutRow[]>;

  /**
   * Inserts the agent or, where its id is there in the same cluster and not revoked, takes node and labels anew; its
   * tokens of before are revoked and `token` takes their place. Is false where cluster differs or it is revoked.
   */
  enrollAgent(
    agent: Pick<AgentRow, 'id' | 'cluster' | 'node' | 'labels' | 'publicKey' | 'enrolledMs'>,
    token: TokenRow,
    audit: Audit,
  ): Promise<boolean>;
  findAgent(id: string): Promise<AgentRow | undefined>;
  listAgents(): Promise<AgentRow[]>;
  /** Notes that an agent was heard of, at most once in `everyMs`. */
  touchAgent(id: string, nowMs: number, everyMs: number): Promise<void>;
  saveReport(id: string, nowMs: number, releaseSequence: number, report: string): Promise<void>;
  findReport(id: string): Promise<string | undefined>;
  revokeAgent(id: string, nowMs: number, audit: Audit): Promise<boolean>;

  listAudit(): Promise<Audit[]>;

  /** Is false where a job of that kind and key is there. */
  enqueueJob(job: {
    id: string;
    kind: string;
    key: string;
    payload: FilterConfig;
    nowMs: number;
  }): Promise<boolean>;
  /** Takes the oldest job that is ready, or whose lease has ended, for `leaseMs`. */
  leaseJob(
    kinds: readonly string[],
    owner: string,
    nowMs: number,
    leaseMs: number,
  ): Promise<JobRow | undefined>;
  /** Is false where the lease is no longer this owner's: another has the job, its result must not count. */
  completeJob(id: string, owner: string, nowMs: number): Promise<boolean>;
  /** Gives the job back, ready again at `retryMs`, or failed for good where that is undefined. */
  failJob(id: string, owner: string, error: string, retryMs: number | undefined): Promise<boolean>;
  /** Deletes jobs that were done before `beforeMs`. */
  pruneJobs(beforeMs: number): Promise<number>;
  countJobs(): Promise<Record<JobState, number>>;
}
