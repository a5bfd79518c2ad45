// SPDX-License-Identifier: Apache-2.0
// Owns the statements of tokens.
import type { Kysely } from 'kysely';
import { tokenRow, tokenValues } from './rows.js';
import { auditOf, batch } from './statements.js';
import { type Audit, listMax, type Role, type Store, type TokenRow } from './store.js';
import type { Tables } from './tables.js';

type TokensStore = Pick<Store, 'insertToken' | 'findToken' | 'listTokens' | 'countTokens' | 'revokeToken'>;

export function tokensStore(db: Kysely<Tables>): TokensStore {
  return {
    async insertToken(row: TokenRow, audit: Audit): Promise<boolean> {
      const insert = db
        .insertInto('tokens')
        .values(tokenValues(row, audit.id))
        .onConflict((conflict) => conflict.column('id').doNothing());
      return (await batch(db, insert, auditOf(db, audit, 'tokens'))) > 0;
    },

    async findToken(id: string): Promise<TokenRow | undefined> {
      const row = await db
        .selectFrom('tokens')
        .leftJoin('agents', 'agents.id', 'tokens.agent_id')
        .selectAll('tokens')
        .where('tokens.id', '=', id)
        .where('tokens.revoked_ms', 'is', null)
        .where('agents.revoked_ms', 'is', null)
        .executeTakeFirst();
      return row === undefined ? undefined : tokenRow(row);
    },

    async listTokens(): Promise<TokenRow[]> {
      const rows = await db
        .selectFrom('tokens')
        .selectAll()
        .orderBy('created_ms', 'desc')
        .orderBy('id')
        .limit(listMax.tokens)
        .execute();
      return rows.map(tokenRow);
    },

    async countTokens(role: Role): Promise<number> {
      const row = await db
        .selectFrom('tokens')
        .select((eb) => eb.fn.countAll().as('count'))
        .where('role', '=', role)
        .where('revoked_ms', 'is', null)
        .executeTakeFirstOrThrow();
      return Number(row.count);
    },

    async revokeToken(id: string, nowMs: number, audit: Audit): Promise<boolean> {
      const update = db
        .updateTable('tokens')
        .set({ revoked_ms: nowMs, change_id: audit.id })
        .where('id', '=', id)
        .where('revoked_ms', 'is', null);
      return (await batch(db, update, auditOf(db, audit, 'tokens'))) > 0;
    },
  };
}
