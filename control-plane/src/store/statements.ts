// SPDX-License-Identifier: Apache-2.0
// Owns what the statements of all kinds of rows share. Batches are lists of statements compiled before the first of
// them runs; a statement that depends on the one before it says so in its own WHERE.
import { type Compilable, type Kysely, sql } from 'kysely';
import type { Audit } from './store.js';
import type { Tables } from './tables.js';

/** SQLite takes 32,766 variables in a statement, PostgreSQL 65,535: lists are cut well below. */
export const variablesMax = 1_000;

/** Runs the statements as one atomic batch; gives the number of rows that the first of them changed. */
export async function batch(db: Kysely<Tables>, first: Compilable, ...others: Compilable[]): Promise<number> {
  const statements = [first, ...others].map((statement) => statement.compile());
  return db.transaction().execute(async (transaction) => {
    let changed = 0;
    for (const [index, statement] of statements.entries()) {
      const result = await transaction.executeQuery(statement);
      if (index === 0) changed = Number(result.numAffectedRows ?? 0n);
    }
    return changed;
  });
}

/** An audit row that is inserted only where the change that it tells of has been made. */
export function auditOf(
  db: Kysely<Tables>,
  audit: Audit,
  table: 'tokens' | 'filters' | 'filter_keys' | 'filter_signatures' | 'policies' | 'rollouts' | 'agents',
): Compilable {
  return db
    .insertInto('audit')
    .columns(['id', 'time_ms', 'actor', 'role', 'action', 'subject', 'details'])
    .expression(
      db
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
