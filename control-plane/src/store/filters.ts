// SPDX-License-Identifier: Apache-2.0
// Owns the statements of filters, the keys of their authors and what these signed.
import type { Kysely } from 'kysely';
import { filterKeyRow, filterRow, filterSignatureRow } from './rows.js';
import { auditOf, batch, variablesMax } from './statements.js';
import {
  type Audit,
  type FilterKeyRow,
  type FilterRow,
  type FilterSignatureRow,
  listMax,
  type Store,
} from './store.js';
import type { Tables } from './tables.js';

type FiltersStore = Pick<
  Store,
  | 'insertFilter'
  | 'findFilter'
  | 'listFilters'
  | 'insertFilterKey'
  | 'listFilterKeys'
  | 'retireFilterKey'
  | 'insertFilterSignature'
  | 'filterSignatures'
>;

export function filtersStore(db: Kysely<Tables>): FiltersStore {
  return {
    async insertFilter(row: FilterRow, audit: Audit): Promise<boolean> {
      const insert = db
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
      return (await batch(db, insert, auditOf(db, audit, 'filters'))) > 0;
    },

    async findFilter(name: string, version: string): Promise<FilterRow | undefined> {
      const row = await db
        .selectFrom('filters')
        .selectAll()
        .where('name', '=', name)
        .where('version', '=', version)
        .executeTakeFirst();
      return row === undefined ? undefined : filterRow(row);
    },

    async listFilters(): Promise<FilterRow[]> {
      const rows = await db
        .selectFrom('filters')
        .selectAll()
        .orderBy('name')
        .orderBy('created_ms', 'desc')
        .orderBy('version')
        .limit(listMax.filters)
        .execute();
      return rows.map(filterRow);
    },

    async insertFilterKey(row: FilterKeyRow, audit: Audit): Promise<boolean> {
      const insert = db
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
      return (await batch(db, insert, auditOf(db, audit, 'filter_keys'))) > 0;
    },

    async listFilterKeys(): Promise<FilterKeyRow[]> {
      const rows = await db
        .selectFrom('filter_keys')
        .selectAll()
        .orderBy('created_ms')
        .orderBy('id')
        .limit(listMax.filterKeys)
        .execute();
      return rows.map(filterKeyRow);
    },

    async retireFilterKey(id: string, nowMs: number, audit: Audit): Promise<boolean> {
      const update = db
        .updateTable('filter_keys')
        .set({ retired_ms: nowMs, change_id: audit.id })
        .where('id', '=', id)
        .where('retired_ms', 'is', null);
      return (await batch(db, update, auditOf(db, audit, 'filter_keys'))) > 0;
    },

    async insertFilterSignature(row: FilterSignatureRow, audit: Audit): Promise<boolean> {
      const insert = db
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
      return (await batch(db, insert, auditOf(db, audit, 'filter_signatures'))) > 0;
    },

    async filterSignatures(digests: readonly string[]): Promise<Map<string, FilterSignatureRow[]>> {
      const found = new Map<string, FilterSignatureRow[]>();
      for (let from = 0; from < digests.length; from += variablesMax) {
        const rows = await db
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
    },
  };
}
