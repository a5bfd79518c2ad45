// SPDX-License-Identifier: Apache-2.0
// Owns the store over SQL, put together of the statements of each kind of rows.
import { type Kysely, sql } from 'kysely';
import { agentsStore } from './agents.js';
import { filtersStore } from './filters.js';
import { jobsStore } from './jobs.js';
import { policiesStore } from './policies.js';
import { rolloutsStore } from './rollouts.js';
import { type Audit, listMax, type Role, type Store } from './store.js';
import type { Tables } from './tables.js';
import { tokensStore } from './tokens.js';

export function kyselyStore(db: Kysely<Tables>): Store {
  let closed = false;
  return {
    ...tokensStore(db),
    ...filtersStore(db),
    ...policiesStore(db),
    ...rolloutsStore(db),
    ...agentsStore(db),
    ...jobsStore(db),

    async ping() {
      await sql`select 1`.execute(db);
    },

    async close() {
      if (closed) return;
      closed = true;
      await db.destroy();
    },

    async listAudit(): Promise<Audit[]> {
      const rows = await db
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
    },
  };
}
