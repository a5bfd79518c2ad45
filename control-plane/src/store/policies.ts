// SPDX-License-Identifier: Apache-2.0
// Owns the statements of policies.
import { type Kysely, sql } from 'kysely';
import { policySummary, policySummaryColumns } from './rows.js';
import { auditOf, batch, variablesMax } from './statements.js';
import { type Audit, listMax, type PolicyRow, type PolicySummary, type Store } from './store.js';
import type { Tables } from './tables.js';

type PoliciesStore = Pick<
  Store,
  'insertPolicy' | 'findPolicy' | 'listPolicies' | 'policySources' | 'retirePolicy'
>;

export function policiesStore(db: Kysely<Tables>): PoliciesStore {
  return {
    async insertPolicy(
      row: Omit<PolicyRow, 'version' | 'retiredMs'>,
      audit: Audit,
    ): Promise<number | undefined> {
      const insert = db
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
      if ((await batch(db, insert, auditOf(db, audit, 'policies'))) === 0) return undefined;
      const inserted = await db
        .selectFrom('policies')
        .select('version')
        .where('name', '=', row.name)
        .where('namespace', '=', row.namespace)
        .where('change_id', '=', audit.id)
        .executeTakeFirst();
      return inserted?.version;
    },

    async findPolicy(name: string, namespace: string, version?: number): Promise<PolicyRow | undefined> {
      let query = db
        .selectFrom('policies')
        .selectAll()
        .where('name', '=', name)
        .where('namespace', '=', namespace);
      if (version !== undefined) query = query.where('version', '=', version);
      const row = await query.orderBy('version', 'desc').limit(1).executeTakeFirst();
      return row === undefined ? undefined : { ...policySummary(row), source: row.source };
    },

    async listPolicies(): Promise<PolicySummary[]> {
      const rows = await db
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
    },

    async policySources(digests: readonly string[]): Promise<Map<string, { source: string; kind: string }>> {
      const found = new Map<string, { source: string; kind: string }>();
      for (let start = 0; start < digests.length; start += variablesMax) {
        const rows = await db
          .selectFrom('policies')
          .select(['digest', 'source', 'kind'])
          .where('digest', 'in', digests.slice(start, start + variablesMax))
          .execute();
        for (const row of rows) found.set(row.digest, { source: row.source, kind: row.kind });
      }
      return found;
    },

    async retirePolicy(name: string, namespace: string, nowMs: number, audit: Audit): Promise<boolean> {
      const update = db
        .updateTable('policies')
        .set({ retired_ms: nowMs, change_id: audit.id })
        .where('name', '=', name)
        .where('namespace', '=', namespace)
        .where('retired_ms', 'is', null);
      return (await batch(db, update, auditOf(db, audit, 'policies'))) > 0;
    },
  };
}
