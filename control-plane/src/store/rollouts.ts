// SPDX-License-Identifier: Apache-2.0
// Owns the statements of releases and rollouts.
import { type Kysely, sql } from 'kysely';
import { rolloutRow } from './rows.js';
import { auditOf, batch } from './statements.js';
import { type Audit, listMax, type ReleaseRow, type RolloutRow, type Store } from './store.js';
import type { Tables } from './tables.js';

type RolloutsStore = Pick<Store, 'insertRollout' | 'headRollout' | 'findRelease' | 'listRollouts'>;

export function rolloutsStore(db: Kysely<Tables>): RolloutsStore {
  return {
    async insertRollout(rollout: RolloutRow, release: ReleaseRow, audit: Audit): Promise<boolean> {
      const { digest, ...content } = release;
      const insertRelease = db
        .insertInto('releases')
        .values({ digest, content: JSON.stringify(content) })
        .onConflict((conflict) => conflict.column('digest').doNothing());
      const insertRollout = db
        .insertInto('rollouts')
        .columns(['sequence', 'target', 'digest', 'from_digest', 'created_ms', 'created_by', 'change_id'])
        .expression(
          db
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
      await batch(db, insertRelease, insertRollout, auditOf(db, audit, 'rollouts'));
      const mine = await db
        .selectFrom('rollouts')
        .select('sequence')
        .where('sequence', '=', rollout.sequence)
        .where('change_id', '=', audit.id)
        .executeTakeFirst();
      return mine !== undefined;
    },

    async headRollout(target: string): Promise<RolloutRow | undefined> {
      const row = await db
        .selectFrom('rollouts')
        .selectAll()
        .where('target', '=', target)
        .orderBy('sequence', 'desc')
        .limit(1)
        .executeTakeFirst();
      return row === undefined ? undefined : rolloutRow(row);
    },

    async findRelease(digest: string): Promise<ReleaseRow | undefined> {
      const row = await db.selectFrom('releases').selectAll().where('digest', '=', digest).executeTakeFirst();
      if (row === undefined) return undefined;
      return { digest, ...(JSON.parse(row.content) as Omit<ReleaseRow, 'digest'>) };
    },

    async listRollouts(target: string): Promise<RolloutRow[]> {
      const rows = await db
        .selectFrom('rollouts')
        .selectAll()
        .where('target', '=', target)
        .orderBy('sequence', 'desc')
        .limit(listMax.rollouts)
        .execute();
      return rows.map(rolloutRow);
    },
  };
}
