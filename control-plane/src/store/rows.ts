// SPDX-License-Identifier: Apache-2.0
// Owns how rows of the tables become rows of the store, and back.
import type { Selectable } from 'kysely';
import type { FilterConfig } from '../api/types.js';
import type {
  AgentRow,
  FilterKeyRow,
  FilterRow,
  FilterSignatureRow,
  JobRow,
  JobState,
  Labels,
  PolicySummary,
  Role,
  RolloutRow,
  TokenRow,
} from './store.js';
import type { Tables } from './tables.js';

export const policySummaryColumns = [
  'name',
  'namespace',
  'kind',
  'version',
  'digest',
  'created_ms',
  'created_by',
  'retired_ms',
] as const;

export function tokenValues(row: TokenRow, changeId: string) {
  return {
    id: row.id,
    role: row.role,
    hash: row.hash,
    description: row.description,
    cluster: row.cluster ?? null,
    labels: row.labels === undefined ? null : JSON.stringify(row.labels),
    agent_id: row.agentId ?? null,
    created_ms: row.createdMs,
    expires_ms: row.expiresMs ?? null,
    revoked_ms: row.revokedMs ?? null,
    change_id: changeId,
  };
}

export function tokenRow(row: Selectable<Tables['tokens']>): TokenRow {
  return {
    id: row.id,
    role: row.role as Role,
    hash: row.hash,
    description: row.description,
    cluster: row.cluster ?? undefined,
    labels: row.labels === null ? undefined : (JSON.parse(row.labels) as Labels),
    agentId: row.agent_id ?? undefined,
    createdMs: row.created_ms,
    expiresMs: row.expires_ms ?? undefined,
    revokedMs: row.revoked_ms ?? undefined,
  };
}

export function filterRow(row: Selectable<Tables['filters']>): FilterRow {
  return {
    name: row.name,
    version: row.version,
    digest: row.digest,
    bytes: row.bytes,
    manifest: JSON.parse(row.manifest) as FilterConfig,
    config: JSON.parse(row.config) as FilterConfig,
    createdMs: row.created_ms,
    createdBy: row.created_by,
  };
}

export function filterKeyRow(row: Selectable<Tables['filter_keys']>): FilterKeyRow {
  return {
    id: row.id,
    publicKey: row.public_key,
    description: row.description,
    createdMs: row.created_ms,
    createdBy: row.created_by,
    retiredMs: row.retired_ms ?? undefined,
  };
}

export function filterSignatureRow(row: Selectable<Tables['filter_signatures']>): FilterSignatureRow {
  return {
    digest: row.digest,
    keyId: row.key_id,
    signature: row.signature,
    createdMs: row.created_ms,
    createdBy: row.created_by,
  };
}

export function policySummary(
  row: Pick<Selectable<Tables['policies']>, (typeof policySummaryColumns)[number]>,
): PolicySummary {
  return {
    name: row.name,
    namespace: row.namespace,
    kind: row.kind,
    version: row.version,
    digest: row.digest,
    createdMs: row.created_ms,
    createdBy: row.created_by,
    retiredMs: row.retired_ms ?? undefined,
  };
}

export function rolloutRow(row: Selectable<Tables['rollouts']>): RolloutRow {
  return {
    sequence: row.sequence,
    target: row.target,
    digest: row.digest,
    fromDigest: row.from_digest ?? undefined,
    createdMs: row.created_ms,
    createdBy: row.created_by,
  };
}

export function agentRow(row: Omit<Selectable<Tables['agents']>, 'report'>): AgentRow {
  return {
    id: row.id,
    cluster: row.cluster,
    node: row.node,
    labels: JSON.parse(row.labels) as Labels,
    publicKey: row.public_key,
    enrolledMs: row.enrolled_ms,
    lastSeenMs: row.last_seen_ms ?? undefined,
    revokedMs: row.revoked_ms ?? undefined,
    releaseSequence: row.release_sequence ?? undefined,
    reportedMs: row.reported_ms ?? undefined,
    changeId: row.change_id,
  };
}

export function jobRow(row: Selectable<Tables['jobs']>): JobRow {
  return {
    id: row.id,
    kind: row.kind,
    payload: JSON.parse(row.payload) as FilterConfig,
    state: row.state as JobState,
    attempts: row.attempts,
    error: row.error ?? undefined,
  };
}
