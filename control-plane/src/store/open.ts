// SPDX-License-Identifier: Apache-2.0
// Owns the two databases of the Node entry: embedded SQLite, and PostgreSQL by its URL. Handlers never import this.
import Database from 'better-sqlite3';
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely';
import pg from 'pg';
import { kyselyStore } from './kysely-store.js';
import { migrate } from './migrations.js';
import type { Store } from './store.js';
import type { Tables } from './tables.js';

/** Connections that one replica holds to PostgreSQL, at most. */
const connectionsMax = 10;

/** Type 20 is bigint. Times and counts are below 2^53, so numbers hold them exactly. */
const bigintOid = 20;

export interface OpenStore {
  readonly store: Store;
  /** For the archive, which has tables of its own in the same database. */
  readonly db: Kysely<Tables>;
}

export async function openSqlite(path: string): Promise<OpenStore> {
  const database = new Database(path);
  // Readers go on while one writes; a commit survives power loss (FULL), as an acknowledged upload must.
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.pragma('foreign_keys = ON');
  database.pragma('busy_timeout = 5000');
  return open(new Kysely<Tables>({ dialect: new SqliteDialect({ database }) }));
}

export async function openPostgres(url: string): Promise<OpenStore> {
  const pool = new pg.Pool({
    connectionString: url,
    max: connectionsMax,
    connectionTimeoutMillis: 10_000,
    statement_timeout: 30_000,
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === bigintOid ? Number : pg.types.getTypeParser(oid, format as 'text'),
    } as pg.CustomTypesConfig,
  });
  // An idle connection that breaks is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => {});
  return open(new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }));
}

async function open(db: Kysely<Tables>): Promise<OpenStore> {
  try {
    await migrate(db);
  } catch (cause) {
    await db.destroy();
    throw cause;
  }
  return { store: kyselyStore(db), db };
}
