// SPDX-License-Identifier: Apache-2.0
// Owns the statements of the jobs of workers.
import { type Kysely, sql } from 'kysely';
import type { FilterConfig } from '../api/types.js';
import { jobRow } from './rows.js';
import type { JobRow, JobState, Store } from './store.js';
import type { Tables } from './tables.js';

type JobsStore = Pick<
  Store,
  'enqueueJob' | 'leaseJob' | 'completeJob' | 'failJob' | 'pruneJobs' | 'countJobs'
>;

export function jobsStore(db: Kysely<Tables>): JobsStore {
  return {
    async enqueueJob(job: {
      id: string;
      kind: string;
      key: string;
      payload: FilterConfig;
      nowMs: number;
    }): Promise<boolean> {
      const result = await db
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
    },

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
      const row = await db
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
    },

    async completeJob(id: string, owner: string, nowMs: number): Promise<boolean> {
      const result = await db
        .updateTable('jobs')
        .set({ state: 'done', done_ms: nowMs, lease_owner: null, lease_until_ms: null, error: null })
        .where('id', '=', id)
        .where('state', '=', 'leased')
        .where('lease_owner', '=', owner)
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },

    async failJob(id: string, owner: string, error: string, retryMs: number | undefined): Promise<boolean> {
      const next =
        retryMs === undefined ? { state: 'failed' as const } : { state: 'ready' as const, ready_ms: retryMs };
      const result = await db
        .updateTable('jobs')
        .set({ ...next, lease_owner: null, lease_until_ms: null, error: error.slice(0, 4096) })
        .where('id', '=', id)
        .where('state', '=', 'leased')
        .where('lease_owner', '=', owner)
        .executeTakeFirst();
      return result.numUpdatedRows > 0n;
    },

    async pruneJobs(beforeMs: number): Promise<number> {
      const result = await db
        .deleteFrom('jobs')
        .where('state', '=', 'done')
        .where('done_ms', '<', beforeMs)
        .executeTakeFirst();
      return Number(result.numDeletedRows);
    },

    async countJobs(): Promise<Record<JobState, number>> {
      const counts: Record<JobState, number> = { ready: 0, leased: 0, done: 0, failed: 0 };
      const rows = await db
        .selectFrom('jobs')
        .select((eb) => ['state', eb.fn.countAll().as('count')] as const)
        .groupBy('state')
        .execute();
      for (const row of rows) counts[row.state as JobState] = Number(row.count);
      return counts;
    },
  };
}
