// SPDX-License-Identifier: Apache-2.0
// Owns the migrations, one entry each, never changed once released. Types are those that SQLite and PostgreSQL
// share: text, integer, bigint.
import { type Kysely, type Migration, Migrator } from 'kysely';
import type { Tables } from './tables.js';

const initial: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('tokens')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('role', 'text', (c) => c.notNull())
      .addColumn('hash', 'text', (c) => c.notNull())
      .addColumn('description', 'text', (c) => c.notNull())
      .addColumn('cluster', 'text')
      .addColumn('labels', 'text')
      .addColumn('agent_id', 'text')
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('expires_ms', 'bigint')
      .addColumn('revoked_ms', 'bigint')
      .addColumn('change_id', 'text', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('tokens_agent').on('tokens').column('agent_id').execute();
    await db.schema
      .createTable('filters')
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('version', 'text', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('bytes', 'integer', (c) => c.notNull())
      .addColumn('manifest', 'text', (c) => c.notNull())
      .addColumn('config', 'text', (c) => c.notNull())
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('change_id', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('filters_key', ['name', 'version'])
      .execute();
    await db.schema
      .createTable('policies')
      .addColumn('name', 'text', (c) => c.notNull())
      .addColumn('namespace', 'text', (c) => c.notNull())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('version', 'integer', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('source', 'text', (c) => c.notNull())
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('retired_ms', 'bigint')
      .addColumn('change_id', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('policies_key', ['namespace', 'name', 'version'])
      .execute();
    await db.schema.createIndex('policies_digest').on('policies').column('digest').execute();
    await db.schema
      .createTable('releases')
      .addColumn('digest', 'text', (c) => c.primaryKey())
      .addColumn('content', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('rollouts')
      .addColumn('sequence', 'integer', (c) => c.primaryKey())
      .addColumn('target', 'text', (c) => c.notNull())
      .addColumn('digest', 'text', (c) => c.notNull().references('releases.digest'))
      .addColumn('from_digest', 'text')
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('change_id', 'text', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('rollouts_target').on('rollouts').columns(['target', 'sequence']).execute();
    await db.schema
      .createTable('agents')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('cluster', 'text', (c) => c.notNull())
      .addColumn('node', 'text', (c) => c.notNull())
      .addColumn('labels', 'text', (c) => c.notNull())
      .addColumn('public_key', 'text', (c) => c.notNull())
      .addColumn('enrolled_ms', 'bigint', (c) => c.notNull())
      .addColumn('last_seen_ms', 'bigint')
      .addColumn('revoked_ms', 'bigint')
      .addColumn('release_sequence', 'integer')
      .addColumn('report', 'text')
      .addColumn('reported_ms', 'bigint')
      .addColumn('change_id', 'text', (c) => c.notNull())
      .execute();
    await db.schema
      .createTable('audit')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('time_ms', 'bigint', (c) => c.notNull())
      .addColumn('actor', 'text', (c) => c.notNull())
      .addColumn('role', 'text', (c) => c.notNull())
      .addColumn('action', 'text', (c) => c.notNull())
      .addColumn('subject', 'text', (c) => c.notNull())
      .addColumn('details', 'text', (c) => c.notNull())
      .execute();
    await db.schema.createIndex('audit_time').on('audit').columns(['time_ms', 'id']).execute();
    await db.schema
      .createTable('jobs')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('kind', 'text', (c) => c.notNull())
      .addColumn('key', 'text', (c) => c.notNull())
      .addColumn('payload', 'text', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addColumn('attempts', 'integer', (c) => c.notNull())
      .addColumn('ready_ms', 'bigint', (c) => c.notNull())
      .addColumn('lease_owner', 'text')
      .addColumn('lease_until_ms', 'bigint')
      .addColumn('error', 'text')
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('done_ms', 'bigint')
      .addUniqueConstraint('jobs_key', ['kind', 'key'])
      .execute();
    await db.schema.createIndex('jobs_ready').on('jobs').columns(['state', 'ready_ms']).execute();
  },
};

const filterSignatures: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('filter_keys')
      .addColumn('id', 'text', (c) => c.primaryKey())
      .addColumn('public_key', 'text', (c) => c.notNull())
      .addColumn('description', 'text', (c) => c.notNull())
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('retired_ms', 'bigint')
      .addColumn('change_id', 'text', (c) => c.notNull())
      .execute();
    // By digest, not by name and version: what is signed is the module's bytes.
    await db.schema
      .createTable('filter_signatures')
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('key_id', 'text', (c) => c.notNull())
      .addColumn('signature', 'text', (c) => c.notNull())
      .addColumn('created_ms', 'bigint', (c) => c.notNull())
      .addColumn('created_by', 'text', (c) => c.notNull())
      .addColumn('change_id', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('filter_signatures_key', ['digest', 'key_id'])
      .execute();
  },
};

const migrations: Record<string, Migration> = {
  '0001_initial': initial,
  '0002_filter_signatures': filterSignatures,
};

/** Brings the database to the newest form. Several replicas may call it at once: the migrator takes a lock. */
export async function migrate(db: Kysely<Tables>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (error !== undefined) throw error;
}
