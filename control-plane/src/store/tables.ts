// SPDX-License-Identifier: Apache-2.0
// Owns the tables as the query builder knows them. Times are milliseconds since 1970; JSON is text, so that SQLite
// and PostgreSQL store the same bytes.

interface Changed {
  /** The change that wrote the row last: an audit row is inserted only where its own change is found here. */
  change_id: string;
}

export interface Tables {
  tokens: Changed & {
    id: string;
    role: string;
    hash: string;
    description: string;
    cluster: string | null;
    labels: string | null;
    agent_id: string | null;
    created_ms: number;
    expires_ms: number | null;
    revoked_ms: number | null;
  };
  filters: Changed & {
    name: string;
    version: string;
    digest: string;
    bytes: number;
    manifest: string;
    config: string;
    created_ms: number;
    created_by: string;
  };
  filter_keys: Changed & {
    id: string;
    public_key: string;
    description: string;
    created_ms: number;
    created_by: string;
    retired_ms: number | null;
  };
  filter_signatures: Changed & {
    digest: string;
    key_id: string;
    signature: string;
    created_ms: number;
    created_by: string;
  };
  policies: Changed & {
    name: string;
    namespace: string;
    kind: string;
    version: number;
    digest: string;
    source: string;
    created_ms: number;
    created_by: string;
    retired_ms: number | null;
  };
  releases: { digest: string; content: string };
  rollouts: Changed & {
    sequence: number;
    target: string;
    digest: string;
    from_digest: string | null;
    created_ms: number;
    created_by: string;
  };
  agents: Changed & {
    id: string;
    cluster: string;
    node: string;
    labels: string;
    public_key: string;
    enrolled_ms: number;
    last_seen_ms: number | null;
    revoked_ms: number | null;
    release_sequence: number | null;
    report: string | null;
    reported_ms: number | null;
  };
  audit: {
    id: string;
    time_ms: number;
    actor: string;
    role: string;
    action: string;
    subject: string;
    details: string;
  };
  jobs: {
    id: string;
    kind: string;
    key: string;
    payload: string;
    state: string;
    attempts: number;
    ready_ms: number;
    lease_owner: string | null;
    lease_until_ms: number | null;
    error: string | null;
    created_ms: number;
    done_ms: number | null;
  };
}
