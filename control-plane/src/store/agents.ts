// SPDX-License-Identifier: Apache-2.0
// Owns the statements of agents and what they reported.
import { type Kysely, sql } from 'kysely';
import { agentRow, tokenValues } from './rows.js';
import { auditOf, batch } from './statements.js';
import { type AgentRow, type Audit, listMax, type Store, type TokenRow } from './store.js';
import type { Tables } from './tables.js';

type AgentsStore = Pick<
  Store,
  'enrollAgent' | 'findAgent' | 'listAgents' | 'touchAgent' | 'saveReport' | 'findReport' | 'revokeAgent'
>;

export function agentsStore(db: Kysely<Tables>): AgentsStore {
  return {
    async enrollAgent(
      agent: Pick<AgentRow, 'id' | 'cluster' | 'node' | 'labels' | 'publicKey' | 'enrolledMs'>,
      token: TokenRow,
      audit: Audit,
    ): Promise<boolean> {
      const upsert = db
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
      const revokeOld = db
        .updateTable('tokens')
        .set({ revoked_ms: agent.enrolledMs, change_id: audit.id })
        .where('agent_id', '=', agent.id)
        .where('revoked_ms', 'is', null)
        .where(enrolled);
      const values = tokenValues(token, audit.id);
      const insertToken = db
        .insertInto('tokens')
        .columns(['id', 'role', 'hash', 'description', 'agent_id', 'created_ms', 'change_id'])
        .expression(
          db
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
      return (await batch(db, upsert, revokeOld, insertToken, auditOf(db, audit, 'agents'))) > 0;
    },

    async findAgent(id: string): Promise<AgentRow | undefined> {
      const row = await db.selectFrom('agents').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? undefined : agentRow(row);
    },

    async listAgents(): Promise<AgentRow[]> {
      const rows = await db
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
    },

    async touchAgent(id: string, nowMs: number, everyMs: number): Promise<void> {
      await db
        .updateTable('agents')
        .set({ last_seen_ms: nowMs })
        .where('id', '=', id)
        .where((eb) => eb.or([eb('last_seen_ms', 'is', null), eb('last_seen_ms', '<', nowMs - everyMs)]))
        .execute();
    },

    async saveReport(id: string, nowMs: number, releaseSequence: number, report: string): Promise<void> {
      await db
        .updateTable('agents')
        .set({ report, reported_ms: nowMs, last_seen_ms: nowMs, release_sequence: releaseSequence })
        .where('id', '=', id)
        .execute();
    },

    async findReport(id: string): Promise<string | undefined> {
      const row = await db.selectFrom('agents').select('report').where('id', '=', id).executeTakeFirst();
      return row?.report ?? undefined;
    },

    async revokeAgent(id: string, nowMs: number, audit: Audit): Promise<boolean> {
      const update = db
        .updateTable('agents')
        .set({ revoked_ms: nowMs, change_id: audit.id })
        .where('id', '=', id)
        .where('revoked_ms', 'is', null);
      return (await batch(db, update, auditOf(db, audit, 'agents'))) > 0;
    },
  };
}
