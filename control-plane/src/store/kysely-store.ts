// SPDX-License-Identifier: Apache-2.0
// Owns the store over SQL. Batches are lists of statements compiled before the first of them runs; a statement that
// depends on the one before it says so in its own WHERE.
import { type Compilable, type Kysely, sql } from 'kysely';
import type { FilterConfig } from '../api/types.js';
import {
  agentRow,
  filterKeyRow,
  filterRow,
  filterSignatureRow,
  jobRow,
  policySummary,
  policySummaryColumns,
  rolloutRow,
  tokenRow,
  tokenValues,
} from './rows.js';
import {
  type AgentRow,
  type Audit,
  type FilterKeyRow,
  type FilterRow,
  type FilterSignatureRow,
  type JobRow,
  type JobState,
  listMax,
  type PolicyRow,
  type PolicySummary,
  type ReleaseRow,
  type Role,
  type RolloutRow,
  type Store,
  type TokenRow,
} from './store.js';
import type { Tables } from './tables.js';

/** SQLite takes 32,766 variables in a statement, PostgreSQL 65,535: lists are cut well below. */
const variablesMax = 1_000;

export class KyselyStore implements Store {
  readonly #db: Kysely<Tables>;
  #closed = false;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  async ping(): Promise<void> {
    await sql`select 1`.execute(this.#db);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#db.destroy();
  }

  /** Runs the statements as one atomic batch; gives the number of rows that the first of them changed. */
  async #batch(first: Compilable, ...others: Compilable[]): Promise<number> {
    const statements = [first, ...others].map((statement) => statement.compile());
    return this.#db.transaction().execute(async (transaction) => {
      let changed = 0;
      for (const [index, statement] of statements.entries()) {
        const result = await transaction.executeQuery(statement);
        if (index === 0) changed = Number(result.numAffectedRows ?? 0n);
      }
      return changed;
    });
  }

  /** An audit row that is inserted only where the change that it tells of has been made. */
  #audit(
    audit: Audit,
    table: 'tokens' | 'filters' | 'filter_keys' | 'filter_signatures' | 'policies' | 'rollouts' | 'agents',
  ): Compilable {
    return this.#db
      .insertInto('audit')
      .columns(['id', 'time_ms', 'actor', 'role', 'action', 'subject', 'details'])
      .expression(
        this.#db
          .selectNoFrom([
            sql<string>`cast(${audit.id} as text)`.as('id'),
            sql<number>`cast(${audit.timeMs} as bigint)`.as('time_ms'),
            sql<string>`cast(${audit.actor} as text)`.as('actor'),
            sql<string>`cast(${audit.role} as text)`.as('role'),
            sql<string>`cast(${audit.action} as text)`.as('action'),
            sql<string>`cast(${audit.subject} as text)`.as('subject'),
            sql<string>`cast(${JSON.stringify(audit.details)} as text)`.as('details'),
          ])
          .where(sql<boolean>`exists (select 1 from ${sql.table(table)} where change_id = ${audit.id})`),
      );
  }

  async insertToken(row: TokenRow, audit: Audit): Promise<boolean> {
    const insert = this.#db
      .insertInto('tokens')
      .values(tokenValues(row, audit.id))
      .onConflict((conflict) => conflict.column('id').doNothing());
    return (await this.#batch(insert, this.#audit(audit, 'tokens'))) > 0;
  }

  async findToken(id: string): Promise<TokenRow | undefined> {
    const row = await this.#db
      .selectFrom('tokens')
      .leftJoin('agents', 'agents.id', 'tokens.agent_id')
      .selectAll('tokens')
      .where('tokens.id', '=', id)
      .where('tokens.revoked_ms', 'is', null)
      .where('agents.revoked_ms', 'is', null)
      .executeTakeFirst();
    return row === undefined ? undefined : tokenRow(row);
  }

  async listTokens(): Promise<TokenRow[]> {
    const rows = await this.#db
      .selectFrom('tokens')
      .selectAll()
      .orderBy('created_ms', 'desc')
      .orderBy('id')
      .limit(listMax.tokens)
      .execute();
    return rows.map(tokenRow);
  }

  async countTokens(role: Role): Promise<number> {
    const row = await this.#db
      .selectFrom('tokens')
      .select((eb) => eb.fn.countAll().as('count'))
      .where('role', '=', role)
      .where('revoked_ms', 'is', null)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  async revokeToken(id: string, nowMs: number, audit: Audit): Promise<boolean> {
    const update = this.#db
      .updateTable('tokens')
      .set({ revoked_ms: nowMs, change_id: audit.id })
      .where('id', '=', id)
      .where('revoked_ms', 'is', null);
    return (await this.#batch(update, this.#audit(audit, 'tokens'))) > 0;
  }

  async insertFilter(row: FilterRow, audit: Audit): Promise<boolean> {
    const insert = this.#db
      .insertInto('filters')
      .values({
        name: row.name,
        version: row.version,
        digest: row.digest,
        bytes: row.bytes,
        manifest: JSON.stringify(row.manifest),
        config: JSON.stringify(row.config),
        created_ms: row.createdMs,
        created_by: row.createdBy,
        change_id: audit.id,
      })
      .onConflict((conflict) => conflict.columns(['name', 'version']).doNothing());
    return (await this.#batch(insert, this.#audit(audit, 'filters'))) > 0;
  }

  async findFilter(name: string, version: string): Promise<FilterRow | undefined> {
    const row = await this.#db
      .selectFrom('filters')
      .selectAll()
      .where('name', '=', name)
      .where('version', '=', version)
      .executeTakeFirst();
    return row === undefined ? undefined : filterRow(row);
  }

  async listFilters(): Promise<FilterRow[]> {
    const rows = await this.#db
      .selectFrom('filters')
      .selectAll()
      .orderBy('name')
      .orderBy('created_ms', 'desc')
      .orderBy('version')
      .limit(listMax.filters)
      .execute();
    return rows.map(filterRow);
  }

  async insertFilterKey(row: FilterKeyRow, audit: Audit): Promise<boolean> {
    const insert = this.#db
      .insertInto('filter_keys')
      .values({
        id: row.id,
        public_key: row.publicKey,
        description: row.description,
        created_ms: row.createdMs,
        created_by: row.createdBy,
        retired_ms: row.retiredMs ?? null,
        change_id: audit.id,
      })
      .onConflict((conflict) => conflict.column('id').doNothing());
    return (await this.#batch(insert, this.#audit(audit, 'filter_keys'))) > 0;
  }

  async listFilterKeys(): Promise<FilterKeyRow[]> {
    const rows = await this.#db
      .selectFrom('filter_keys')
      .selectAll()
      .orderBy('created_ms')
      .orderBy('id')
      .limit(listMax.filterKeys)
      .execute();
    return rows.map(filterKeyRow);
  }

  async retireFilterKey(id: string, nowMs: number, audit: Audit): Promise<boolean> {
    const update = this.#db
      .updateTable('filter_keys')
      .set({ retired_ms: nowMs, change_id: audit.id })
      .where('id', '=', id)
      .where('retired_ms', 'is', null);
    return (await this.#batch(update, this.#audit(audit, 'filter_keys'))) > 0;
  }

  async insertFilterSignature(row: FilterSignatureRow, audit: Audit): Promise<boolean> {
    const insert = this.#db
      .insertInto('filter_signatures')
      .values({
        digest: row.digest,
        key_id: row.keyId,
        signature: row.signature,
        created_ms: row.createdMs,
        created_by: row.createdBy,
        change_id: audit.id,
      })
      .onConflict((conflict) =>
        conflict
          .columns(['digest', 'key_id'])
          .doUpdateSet({ signature: row.signature, change_id: audit.id })
          .where('filter_signatures.signature', '!=', row.signature),
      );
    return (await this.#batch(insert, this.#audit(audit, 'filter_signatures'))) > 0;
  }

  async filterSignatures(digests: readonly string[]): Promise<Map<string, FilterSignatureRow[]>> {
    const found = new Map<string, FilterSignatureRow[]>();
    for (let from = 0; from < digests.length; from += variablesMax) {
      const rows = await this.#db
        .selectFrom('filter_signatures')
        .selectAll()
        .where('digest', 'in', digests.slice(from, from + variablesMax))
        .orderBy('created_ms')
        .orderBy('key_id')
        .execute();
      for (const row of rows)
        found.set(row.digest, [...(found.get(row.digest) ?? []), filterSignatureRow(row)]);
    }
    return found;
  }

  async insertPolicy(
    row: Omit<PolicyRow, 'version' | 'retiredMs'>,
    audit: Audit,
  ): Promise<number | undefined> {
    const insert = this.#db
      .insertInto('policies')
      .columns([
        'name',
        'namespace',
        'kind',
        'version',
        'digest',
        'source',
        'created_ms',
        'created_by',
        'change_id',
      ])
      .expression((eb) =>
        eb
          .selectFrom('policies')
          .select([
            sql<string>`cast(${row.name} as text)`.as('name'),
            sql<string>`cast(${row.namespace} as text)`.as('namespace'),
            sql<string>`cast(${row.kind} as text)`.as('kind'),
            sql<number>`coalesce(max(version), 0) + 1`.as('version'),
            sql<string>`cast(${row.digest} as text)`.as('digest'),
            sql<string>`cast(${row.source} as text)`.as('source'),
            sql<number>`cast(${row.createdMs} as bigint)`.as('created_ms'),
            sql<string>`cast(${row.createdBy} as text)`.as('created_by'),
            sql<string>`cast(${audit.id} as text)`.as('change_id'),
          ])
          .where('name', '=', row.name)
          .where('namespace', '=', row.namespace),
      )
      .onConflict((conflict) => conflict.columns(['namespace', 'name', 'version']).doNothing());
    if ((await this.#batch(insert, this.#audit(audit, 'policies'))) === 0) return undefined;
    const inserted = await this.#db
      .selectFrom('policies')
      .select('version')
      .where('name', '=', row.name)
      .where('namespace', '=', row.namespace)
      .where('change_id', '=', audit.id)
      .executeTakeFirst();
    return inserted?.version;
  }

  async findPolicy(name: string, namespace: string, version?: number): Promise<PolicyRow | undefined> {
    let query = this.#db
      .selectFrom('policies')
      .selectAll()
      .where('name', '=', name)
      .where('namespace', '=', namespace);
    if (version !== undefined) query = query.where('version', '=', version);
    const row = await query.orderBy('version', 'desc').limit(1).executeTakeFirst();
    return row === undefined ? undefined : { ...policySummary(row), source: row.source };
  }

  async listPolicies(): Promise<PolicySummary[]> {
    const rows = await this.#db
      .selectFrom('policies')
      .select(policySummaryColumns)
      .where('version', '=', (eb) =>
        eb
          .selectFrom('policies as other')
          .select((inner) => inner.fn.max('other.version').as('newest'))
          .whereRef('other.name', '=', 'policies.name')
          .whereRef('other.namespace', '=', 'policies.namespace'),
      )
      .orderBy('namespace')
      .orderBy('name')
      .limit(listMax.policies)
      .execute();
    return rows.map(policySummary);
  }

  async policySources(digests: readonly string[]): Promise<Map<string, { source: string; kind: string }>> {
    const found = new Map<string, { source: string; kind: string }>();
    for (let start = 0; start < digests.length; start += variablesMax) {
      const rows = await this.#db
        .selectFrom('policies')
        .select(['digest', 'source', 'kind'])
        .where('digest', 'in', digests.slice(start, start + variablesMax))
        .execute();
      for (const row of rows) found.set(row.digest, { source: row.source, kind: row.kind });
    }
    return found;
  }

  async retirePolicy(name: string, namespace: string, nowMs: number, audit: Audit): Promise<boolean> {
    const update = this.#db
      .updateTable('policies')
      .set({ retired_ms: nowMs, change_id: audit.id })
      .where('name', '=', name)
      .where('namespace', '=', namespace)
      .where('retired_ms', 'is', null);
    return (await this.#batch(update, this.#audit(audit, 'policies'))) > 0;
  }

  async insertRollout(rollout: RolloutRow, release: ReleaseRow, audit: Audit): Promise<boolean> {
    const { digest, ...content } = release;
    const insertRelease = this.#db
      .insertInto('releases')
      .values({ digest, content: JSON.stringify(content) })
      .onConflict((conflict) => conflict.column('digest').doNothing());
    const insertRollout = this.#db
      .insertInto('rollouts')
      .columns(['sequence', 'target', 'digest', 'from_digest', 'created_ms', 'created_by', 'change_id'])
      .expression(
        this.#db
          .selectNoFrom([
            sql<number>`cast(${rollout.sequence} as integer)`.as('sequence'),
            sql<string>`cast(${rollout.target} as text)`.as('target'),
            sql<string>`cast(${digest} as text)`.as('digest'),
            sql<string>`cast(${rollout.fromDigest ?? null} as text)`.as('from_digest'),
            sql<number>`cast(${rollout.createdMs} as bigint)`.as('created_ms'),
            sql<string>`cast(${rollout.createdBy} as text)`.as('created_by'),
            sql<string>`cast(${audit.id} as text)`.as('change_id'),
          ])
          .where(sql<number>`(select coalesce(max(sequence), 0) from rollouts)`, '=', rollout.sequence - 1),
      )
      .onConflict((conflict) => conflict.column('sequence').doNothing());
    await this.#batch(insertRelease, insertRollout, this.#audit(audit, 'rollouts'));
    const mine = await this.#db
      .selectFrom('rollouts')
      .select('sequence')
      .where('sequence', '=', rollout.sequence)
      .where('change_id', '=', audit.id)
      .executeTakeFirst();
    return mine !== undefined;
  }

  async headRollout(target: string): Promise<RolloutRow | undefined> {
    const row = await this.#db
      .selectFrom('rollouts')
      .selectAll()
      .where('target', '=', target)
      .orderBy('sequence', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : rolloutRow(row);
  }

  async findRelease(digest: string): Promise<ReleaseRow | undefined> {
    const row = await this.#db
      .selectFrom('releases')
      .selectAll()
      .where('digest', '=', digest)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return { digest, ...(JSON.parse(row.content) as Omit<ReleaseRow, 'digest'>) };
  }

  async listRollouts(target: string): Promise<RolloutRow[]> {
    const rows = await this.#db
      .selectFrom('rollouts')
      .selectAll()
      .where('target', '=', target)
      .orderBy('sequence', 'desc')
      .limit(listMax.rollouts)
      .execute();
    return rows.map(rolloutRow);
  }

  async enrollAgent(
    agent: Pick<AgentRow, 'id' | 'cluster' | 'node' | 'labels' | 'publicKey' | 'enrolledMs'>,
    token: TokenRow,
    audit: Audit,
  ): Promise<boolean> {
    const upsert = this.#db
      .insertInto('agents')
      .values({
        id: agent.id,
        cluster: agent.cluster,
        node: agent.node,
        labels: JSON.stringify(agent.labels),
        public_key: agent.publicKey,
        enrolled_ms: agent.enrolledMs,
        change_id: audit.id,
      })
      .onConflict((conflict) =>
        conflict
          .column('id')
          .doUpdateSet({
            node: agent.node,
            labels: JSON.stringify(agent.labels),
            change_id: audit.id,
          })
          .where('agents.cluster', '=', agent.cluster)
          .where('agents.public_key', '=', agent.publicKey)
          .where('agents.revoked_ms', 'is', null),
      );
    const enrolled = sql<boolean>`exists (select 1 from agents where id = ${agent.id} and change_id = ${audit.id})`;
    const revokeOld = this.#db
      .updateTable('tokens')
      .set({ revoked_ms: agent.enrolledMs, change_id: audit.id })
      .where('agent_id', '=', agent.id)
      .where('revoked_ms', 'is', null)
      .where(enrolled);
    const values = tokenValues(token, audit.id);
    const insertToken = this.#db
      .insertInto('tokens')
      .columns(['id', 'role', 'hash', 'description', 'agent_id', 'created_ms', 'change_id'])
      .expression(
        this.#db
          .selectNoFrom([
            sql<string>`cast(${values.id} as text)`.as('id'),
            sql<string>`cast(${values.role} as text)`.as('role'),
            sql<string>`cast(${values.hash} as text)`.as('hash'),
            sql<string>`cast(${values.description} as text)`.as('description'),
            sql<string>`cast(${agent.id} as text)`.as('agent_id'),
            sql<number>`cast(${values.created_ms} as bigint)`.as('created_ms'),
            sql<string>`cast(${audit.id} as text)`.as('change_id'),
          ])
          .where(enrolled),
      );
    return (await this.#batch(upsert, revokeOld, insertToken, this.#audit(audit, 'agents'))) > 0;
  }

  async findAgent(id: string): Promise<AgentRow | undefined> {
    const row = await this.#db.selectFrom('agents').selectAll().where('id', '=', id).executeTakeFirst();
    return row === undefined ? undefined : agentRow(row);
  }

  async listAgents(): Promise<AgentRow[]> {
    const rows = await this.#db
      .selectFrom('agents')
      .select([
        'id',
        'cluster',
        'node',
        'labels',
        'public_key',
        'enrolled_ms',
        'last_seen_ms',
        'revoked_ms',
        'release_sequence',
        'reported_ms',
        'change_id',
      ])
      .orderBy('cluster')
      .orderBy('node')
      .orderBy('id')
      .limit(listMax.agents)
      .execute();
    return rows.map(agentRow);
  }

  async touchAgent(id: string, nowMs: number, everyMs: number): Promise<void> {
    await this.#db
      .updateTable('agents')
      .set({ last_seen_ms: nowMs })
      .where('id', '=', id)
      .where((eb) => eb.or([eb('last_seen_ms', 'is', null), eb('last_seen_ms', '<', nowMs - everyMs)]))
      .execute();
  }

  async saveReport(id: string, nowMs: number, releaseSequence: number, report: string): Promise<void> {
    await this.#db
      .updateTable('agents')
      .set({ report, reported_ms: nowMs, last_seen_ms: nowMs, release_sequence: releaseSequence })
      .where('id', '=', id)
      .execute();
  }

  async findReport(id: string): Promise<string | undefined> {
    const row = await this.#db.selectFrom('agents').select('report').where('id', '=', id).executeTakeFirst();
    return row?.report ?? undefined;
  }

  async revokeAgent(id: string, nowMs: number, audit: Audit): Promise<boolean> {
    const update = this.#db
      .updateTable('agents')
      .set({ revoked_ms: nowMs, change_id: audit.id })
      .where('id', '=', id)
      .where('revoked_ms', 'is', null);
    return (await this.#batch(update, this.#audit(audit, 'agents'))) > 0;
  }

  async listAudit(): Promise<Audit[]> {
    const rows = await this.#db
      .selectFrom('audit')
      .selectAll()
      .orderBy('time_ms', 'desc')
      .orderBy('id', 'desc')
      .limit(listMax.audit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      timeMs: row.time_ms,
      actor: row.actor,
      role: row.role as Role,
      action: row.action,
      subject: row.subject,
      details: JSON.parse(row.details) as Audit['details'],
    }));
  }

  async enqueueJob(job: {
    id: string;
    kind: string;
    key: string;
    payload: FilterConfig;
    nowMs: number;
  }): Promise<boolean> {
    const result = await this.#db
      .insertInto('jobs')
      .values({
        id: job.id,
        kind: job.kind,
        key: job.key,
        payload: JSON.stringify(job.payload),
        state: 'ready',
        attempts: 0,
        ready_ms: job.nowMs,
        created_ms: job.nowMs,
      })
      .onConflict((conflict) => conflict.columns(['kind', 'key']).doNothing())
      .executeTakeFirst();
    return Number(result.numInsertedOrUpdatedRows ?? 0n) > 0;
  }

  async leaseJob(
    kinds: readonly string[],
    owner: string,
    nowMs: number,
    leaseMs: number,
  ): Promise<JobRow | undefined> {
    if (kinds.length === 0) return undefined;
    // The condition stands twice: in PostgreSQL a second worker that waited for the row's lock looks at the outer
    // one again, finds the lease taken, and goes without.
    const free = sql<boolean>`((state = 'ready' and ready_ms <= ${nowMs}) or (state = 'leased' and lease_until_ms < ${nowMs}))`;
    const row = await this.#db
      .updateTable('jobs')
      .set((eb) => ({
        state: 'leased',
        lease_owner: owner,
        lease_until_ms: nowMs + leaseMs,
        attempts: eb('attempts', '+', 1),
      }))
      .where('id', '=', (eb) =>
        eb
          .selectFrom('jobs')
          .select('id')
          .where('kind', 'in', [...kinds])
          .where(free)
          .orderBy('ready_ms')
          .orderBy('id')
          .limit(1),
      )
      .where(free)
      .returningAll()
      .executeTakeFirst();
    return row === undefined ? undefined : jobRow(row);
  }

  async completeJob(id: string, owner: string, nowMs: number): Promise<boolean> {
    const result = await this.#db
      .updateTable('jobs')
      .set({ state: 'done', done_ms: nowMs, lease_owner: null, lease_until_ms: null, error: null })
      .where('id', '=', id)
      .where('state', '=', 'leased')
      .where('lease_owner', '=', owner)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  async failJob(id: string, owner: string, error: string, retryMs: number | undefined): Promise<boolean> {
    const next =
      retryMs === undefined ? { state: 'failed' as const } : { state: 'ready' as const, ready_ms: retryMs };
    const result = await this.#db
      .updateTable('jobs')
      .set({ ...next, lease_owner: null, lease_until_ms: null, error: error.slice(0, 4096) })
      .where('id', '=', id)
      .where('state', '=', 'leased')
      .where('lease_owner', '=', owner)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }

  async pruneJobs(beforeMs: number): Promise<number> {
    const result = await this.#db
      .deleteFrom('jobs')
      .where('state', '=', 'done')
      .where('done_ms', '<', beforeMs)
      .executeTakeFirst();
    return Number(result.numDeletedRows);
  }

  async countJobs(): Promise<Record<JobState, number>> {
    const counts: Record<JobState, number> = { ready: 0, leased: 0, done: 0, failed: 0 };
    const rows = await this.#db
      .selectFrom('jobs')
      .select((eb) => ['state', eb.fn.countAll().as('count')] as const)
      .groupBy('state')
      .execute();
    for (const row of rows) counts[row.state as JobState] = Number(row.count);
    return counts;
  }
}
