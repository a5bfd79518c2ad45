// SPDX-License-Identifier: Apache-2.0
// Owns what the archive knows of its segments and files, in SQL: in tables of its own, with migrations of its own,
// in the control plane's database. No interactive transaction: each change is one statement, or can be done twice.

import type { ChainLink } from '@weir/segment';
import { type Kysely, type Migration, Migrator, sql } from 'kysely';
import type { SequenceRange } from './rows.js';

/** How a segment whose chain does not hold stands to the one before it. */
export type Standing =
  /** The one before it is not here (yet). */
  | 'gap'
  /** It does not follow the one before it: something was changed. */
  | 'fork';

export interface SegmentRow extends ChainLink {
  readonly cluster: string;
  readonly node: string;
  readonly blobKey: string;
  readonly bytes: number;
  readonly records: number;
  readonly receivedMs: number;
  readonly state: 'stored' | 'archived';
}

export interface FileRow {
  readonly key: string;
  /** Digest of the segment that it was made of. */
  readonly digest: string;
  readonly day: string;
  readonly cluster: string;
  readonly minTimeNs: bigint;
  readonly maxTimeNs: bigint;
  readonly rows: number;
  readonly bytes: number;
  /** SHA-256 of the Parquet file, in hex; undefined for one that was entered before digests were kept. */
  readonly sha256: string | undefined;
  /** True where an event in it may be in another file too. */
  readonly overlaps: boolean;
}

export interface FileFilter {
  readonly cluster?: string;
  readonly fromNs?: bigint;
  readonly toNs?: bigint;
}

export interface Totals {
  readonly segments: number;
  readonly files: number;
  /** Files of which the size is known, but no digest. */
  readonly filesWithoutDigest: number;
  readonly rows: number;
  readonly bytes: number;
}

/** The archive's book of segments and files. */
export interface Catalogue {
  /** The segment with this place in its chain. */
  findSegment(agentId: string, chainId: string, sequence: bigint): Promise<SegmentRow | undefined>;
  segmentByDigest(digest: string): Promise<SegmentRow | undefined>;
  /** Is false where its place is taken. */
  addSegment(segment: Omit<SegmentRow, 'state'>): Promise<boolean>;
  /** Enters the files of a segment and marks it archived. Doing it twice changes nothing. */
  addFiles(digest: string, files: readonly FileRow[], ranges: readonly SequenceRange[]): Promise<void>;
  /** Files that can hold rows that match, newest first; at most `limit`. */
  selectFiles(filter: FileFilter, limit: number): Promise<FileRow[]>;
  /** Segments whose chain does not hold, of an agent or of all, in order; at most `limit`. */
  brokenSegments(limit: number, agentId?: string): Promise<{ segment: SegmentRow; standing: Standing }[]>;
  /** Segments that are stored but have no files yet, oldest first. */
  waiting(limit: number): Promise<SegmentRow[]>;
  /** Live files of a partition that have fewer bytes than `bytesBelow`, oldest key first; at most `limit`. */
  smallFiles(day: string, cluster: string, bytesBelow: number, limit: number): Promise<FileRow[]>;
  /** Puts `merged` in the place of `sources`, at once. Is false where one of them is no longer live. */
  replaceFiles(sources: readonly string[], merged: FileRow, nowMs: number): Promise<boolean>;
  /** Keys that were replaced before `beforeMs`: no query reads them any more. */
  retiredFiles(beforeMs: number, limit: number): Promise<string[]>;
  /** Forgets a file that was replaced, when its blob is removed. */
  forgetFile(key: string): Promise<void>;
  totals(): Promise<Totals>;
}

export interface CatalogueTables {
  archive_segments: {
    digest: string;
    agent_id: string;
    chain_id: string;
    sequence: number;
    previous: string;
    cluster: string;
    node: string;
    blob_key: string;
    bytes: number;
    records: number;
    received_ms: number;
    state: string;
  };
  archive_files: {
    key: string;
    digest: string;
    day: string;
    cluster: string;
    min_ms: number;
    max_ms: number;
    row_count: number;
    bytes: number;
    overlaps: number;
    /** 1 where queries read it; a merged file is entered with 0 and made live in the place of its sources. */
    live: number;
    retired_ms: number | null;
    sha256: string | null;
  };
  archive_ranges: {
    digest: string;
    agent_id: string;
    boot_id: string;
    cpu: number;
    first_sequence: string;
    last_sequence: string;
  };
}

const initial: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .createTable('archive_segments')
      .addColumn('digest', 'text', (c) => c.primaryKey())
      .addColumn('agent_id', 'text', (c) => c.notNull())
      .addColumn('chain_id', 'text', (c) => c.notNull())
      .addColumn('sequence', 'bigint', (c) => c.notNull())
      .addColumn('previous', 'text', (c) => c.notNull())
      .addColumn('cluster', 'text', (c) => c.notNull())
      .addColumn('node', 'text', (c) => c.notNull())
      .addColumn('blob_key', 'text', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .addColumn('records', 'bigint', (c) => c.notNull())
      .addColumn('received_ms', 'bigint', (c) => c.notNull())
      .addColumn('state', 'text', (c) => c.notNull())
      .addUniqueConstraint('archive_segments_place', ['agent_id', 'chain_id', 'sequence'])
      .execute();
    await db.schema
      .createIndex('archive_segments_state')
      .on('archive_segments')
      .columns(['state', 'received_ms'])
      .execute();
    await db.schema
      .createTable('archive_files')
      .addColumn('key', 'text', (c) => c.primaryKey())
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('day', 'text', (c) => c.notNull())
      .addColumn('cluster', 'text', (c) => c.notNull())
      .addColumn('min_ms', 'bigint', (c) => c.notNull())
      .addColumn('max_ms', 'bigint', (c) => c.notNull())
      .addColumn('row_count', 'bigint', (c) => c.notNull())
      .addColumn('bytes', 'bigint', (c) => c.notNull())
      .addColumn('overlaps', 'integer', (c) => c.notNull())
      .execute();
    await db.schema
      .createIndex('archive_files_time')
      .on('archive_files')
      .columns(['max_ms', 'min_ms'])
      .execute();
    await db.schema.createIndex('archive_files_digest').on('archive_files').column('digest').execute();
    await db.schema
      .createTable('archive_ranges')
      .addColumn('digest', 'text', (c) => c.notNull())
      .addColumn('agent_id', 'text', (c) => c.notNull())
      .addColumn('boot_id', 'text', (c) => c.notNull())
      .addColumn('cpu', 'bigint', (c) => c.notNull())
      // 20 digits each: 64 bits without sign compare rightly as text, in every database.
      .addColumn('first_sequence', 'text', (c) => c.notNull())
      .addColumn('last_sequence', 'text', (c) => c.notNull())
      .addPrimaryKeyConstraint('archive_ranges_key', ['digest', 'boot_id', 'cpu'])
      .execute();
    await db.schema
      .createIndex('archive_ranges_find')
      .on('archive_ranges')
      .columns(['agent_id', 'boot_id', 'cpu', 'last_sequence'])
      .execute();
  },
};

const merging: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema
      .alterTable('archive_files')
      .addColumn('live', 'integer', (c) => c.notNull().defaultTo(1))
      .execute();
    await db.schema.alterTable('archive_files').addColumn('retired_ms', 'bigint').execute();
    await db.schema
      .createIndex('archive_files_partition')
      .on('archive_files')
      .columns(['day', 'cluster', 'live'])
      .execute();
  },
};

const digests: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    await db.schema.alterTable('archive_files').addColumn('sha256', 'text').execute();
  },
};

/** Sequences of segments: bounded so that every database holds them as it holds times. */
const sequenceMax = 2n ** 53n - 1n;

export class KyselyCatalogue implements Catalogue {
  readonly #db: Kysely<CatalogueTables>;

  /** @param db The control plane's database: the archive's tables are its own, whatever else is there. */
  constructor(db: Kysely<CatalogueTables>) {
    this.#db = db;
  }

  /** Makes the tables, or brings them to the newest form. Several replicas may call it at once. */
  async migrate(): Promise<void> {
    const migrator = new Migrator({
      db: this.#db,
      provider: {
        getMigrations: () =>
          Promise.resolve({
            '0001_initial': initial,
            '0002_merging': merging,
            '0003_digests': digests,
          }),
      },
      migrationTableName: 'archive_migration',
      migrationLockTableName: 'archive_migration_lock',
    });
    const { error } = await migrator.migrateToLatest();
    if (error !== undefined) throw error;
  }

  async findSegment(agentId: string, chainId: string, sequence: bigint): Promise<SegmentRow | undefined> {
    if (sequence < 0n || sequence > sequenceMax) return undefined;
    const row = await this.#db
      .selectFrom('archive_segments')
      .selectAll()
      .where('agent_id', '=', agentId)
      .where('chain_id', '=', chainId)
      .where('sequence', '=', Number(sequence))
      .executeTakeFirst();
    return row === undefined ? undefined : segmentOf(row);
  }

  async segmentByDigest(digest: string): Promise<SegmentRow | undefined> {
    const row = await this.#db
      .selectFrom('archive_segments')
      .selectAll()
      .where('digest', '=', digest)
      .executeTakeFirst();
    return row === undefined ? undefined : segmentOf(row);
  }

  async addSegment(segment: Omit<SegmentRow, 'state'>): Promise<boolean> {
    if (segment.sequence > sequenceMax) return false;
    const added = await this.#db
      .insertInto('archive_segments')
      .values({
        digest: segment.digest,
        agent_id: segment.agentId,
        chain_id: segment.chainId,
        sequence: Number(segment.sequence),
        previous: segment.previous,
        cluster: segment.cluster,
        node: segment.node,
        blob_key: segment.blobKey,
        bytes: segment.bytes,
        records: segment.records,
        received_ms: segment.receivedMs,
        state: 'stored',
      })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst();
    return Number(added.numInsertedOrUpdatedRows ?? 0) > 0;
  }

  async addFiles(digest: string, files: readonly FileRow[], ranges: readonly SequenceRange[]): Promise<void> {
    const segment = await this.segmentByDigest(digest);
    if (segment === undefined) throw new Error(`no segment ${digest}`);
    for (const range of ranges) {
      await this.#db
        .insertInto('archive_ranges')
        .values({
          digest,
          agent_id: segment.agentId,
          boot_id: range.bootId,
          cpu: range.cpu,
          first_sequence: digits(range.first),
          last_sequence: digits(range.last),
        })
        .onConflict((conflict) => conflict.doNothing())
        .execute();
    }
    const others = await this.#overlapping(segment.agentId, digest, ranges);
    if (others.length > 0) {
      await this.#db
        .updateTable('archive_files')
        .set({ overlaps: 1 })
        .where('digest', 'in', others)
        .execute();
      for (const file of files) await this.#flagMerged(file);
    }
    for (const file of files) {
      await this.#db
        .insertInto('archive_files')
        .values({
          key: file.key,
          digest,
          day: file.day,
          cluster: file.cluster,
          min_ms: floorMs(file.minTimeNs),
          max_ms: floorMs(file.maxTimeNs),
          row_count: file.rows,
          bytes: file.bytes,
          overlaps: others.length > 0 ? 1 : 0,
          live: 1,
          retired_ms: null,
          sha256: file.sha256 ?? null,
        })
        // The blob is that of the last who put it, and so is what is said of it.
        .onConflict((conflict) =>
          conflict.column('key').doUpdateSet({
            overlaps: others.length > 0 ? 1 : 0,
            bytes: file.bytes,
            sha256: file.sha256 ?? null,
          }),
        )
        .execute();
    }
    await this.#db
      .updateTable('archive_segments')
      .set({ state: 'archived' })
      .where('digest', '=', digest)
      .execute();
  }

  /** A merged file no longer says which segments are in it: any of that time may hold an event of this file. */
  async #flagMerged(file: FileRow): Promise<void> {
    await this.#db
      .updateTable('archive_files')
      .set({ overlaps: 1 })
      .where('digest', '=', mergedDigest)
      .where('cluster', '=', file.cluster)
      .where('max_ms', '>=', floorMs(file.minTimeNs))
      .where('min_ms', '<=', floorMs(file.maxTimeNs))
      .execute();
  }

  /** Digests of other segments of the agent that span a sequence that these ranges span. */
  async #overlapping(agentId: string, digest: string, ranges: readonly SequenceRange[]): Promise<string[]> {
    const found = new Set<string>();
    for (const range of ranges) {
      const rows = await this.#db
        .selectFrom('archive_ranges')
        .select('digest')
        .where('agent_id', '=', agentId)
        .where('boot_id', '=', range.bootId)
        .where('cpu', '=', range.cpu)
        .where('digest', '!=', digest)
        .where('last_sequence', '>=', digits(range.first))
        .where('first_sequence', '<=', digits(range.last))
        .execute();
      for (const row of rows) found.add(row.digest);
    }
    return [...found];
  }

  async selectFiles(filter: FileFilter, limit: number): Promise<FileRow[]> {
    let query = this.#db.selectFrom('archive_files').selectAll().where('live', '=', 1);
    if (filter.cluster !== undefined) query = query.where('cluster', '=', filter.cluster);
    if (filter.fromNs !== undefined) query = query.where('max_ms', '>=', floorMs(filter.fromNs));
    if (filter.toNs !== undefined) query = query.where('min_ms', '<=', floorMs(filter.toNs));
    const rows = await query.orderBy('max_ms', 'desc').orderBy('key').limit(limit).execute();
    return rows.map(fileOf);
  }

  async brokenSegments(
    limit: number,
    agentId?: string,
  ): Promise<{ segment: SegmentRow; standing: Standing }[]> {
    let query = this.#db
      .selectFrom('archive_segments as s')
      .leftJoin('archive_segments as before', (join) =>
        join
          .onRef('before.agent_id', '=', 's.agent_id')
          .onRef('before.chain_id', '=', 's.chain_id')
          .on(sql`"before"."sequence"`, '=', sql`"s"."sequence" - 1`),
      )
      .selectAll('s')
      .select('before.digest as before_digest')
      .where((where) =>
        where.or([
          where.and([where('s.sequence', '=', 0), where('s.previous', '!=', '0'.repeat(64))]),
          where.and([where('s.sequence', '>', 0), where('before.digest', 'is', null)]),
          where.and([where('s.sequence', '>', 0), where('before.digest', '!=', where.ref('s.previous'))]),
        ]),
      );
    if (agentId !== undefined) query = query.where('s.agent_id', '=', agentId);
    const rows = await query
      .orderBy('s.agent_id')
      .orderBy('s.chain_id')
      .orderBy('s.sequence')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      segment: segmentOf(row),
      standing: row.before_digest === null && Number(row.sequence) > 0 ? 'gap' : 'fork',
    }));
  }

  async waiting(limit: number): Promise<SegmentRow[]> {
    const rows = await this.#db
      .selectFrom('archive_segments')
      .selectAll()
      .where('state', '=', 'stored')
      .orderBy('received_ms')
      .limit(limit)
      .execute();
    return rows.map(segmentOf);
  }

  async smallFiles(day: string, cluster: string, bytesBelow: number, limit: number): Promise<FileRow[]> {
    const rows = await this.#db
      .selectFrom('archive_files')
      .selectAll()
      .where('day', '=', day)
      .where('cluster', '=', cluster)
      .where('live', '=', 1)
      .where('bytes', '<', bytesBelow)
      .orderBy('key')
      .limit(limit)
      .execute();
    return rows.map(fileOf);
  }

  async replaceFiles(sources: readonly string[], merged: FileRow, nowMs: number): Promise<boolean> {
    await this.#db
      .insertInto('archive_files')
      .values({
        key: merged.key,
        digest: mergedDigest,
        day: merged.day,
        cluster: merged.cluster,
        min_ms: floorMs(merged.minTimeNs),
        max_ms: floorMs(merged.maxTimeNs),
        row_count: merged.rows,
        bytes: merged.bytes,
        overlaps: merged.overlaps ? 1 : 0,
        live: 0,
        retired_ms: null,
        sha256: merged.sha256 ?? null,
      })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
    // One statement, so that no query sees both or neither; only where every source is still there, and never
    // again for a merged file that was replaced in its turn.
    const live = this.#db
      .selectFrom('archive_files')
      .select((select) => select.fn.countAll<number>().as('count'))
      .where('key', 'in', sources)
      .where('live', '=', 1);
    const changed = await this.#db
      .updateTable('archive_files')
      .set({
        live: sql<number>`case when "key" = ${merged.key} then 1 else 0 end`,
        retired_ms: sql<number | null>`case when "key" = ${merged.key} then null else ${sql.lit(nowMs)} end`,
        overlaps: sql<number>`case when "key" = ${merged.key} then (
          select max("overlaps") from "archive_files" where "key" in (${sql.join([...sources])})
        ) else "overlaps" end`,
      })
      .where('key', 'in', [merged.key, ...sources])
      .where(sql<boolean>`(${live}) = ${sql.lit(sources.length)}`)
      .executeTakeFirst();
    if (Number(changed.numUpdatedRows) > 0) return true;
    // Another was faster: this one goes with what was replaced, unless it is the very same.
    await this.#db
      .updateTable('archive_files')
      .set({ retired_ms: nowMs })
      .where('key', '=', merged.key)
      .where('live', '=', 0)
      .where('retired_ms', 'is', null)
      .execute();
    return false;
  }

  async retiredFiles(beforeMs: number, limit: number): Promise<string[]> {
    const rows = await this.#db
      .selectFrom('archive_files')
      .select('key')
      .where('live', '=', 0)
      .where('retired_ms', '<', beforeMs)
      .orderBy('retired_ms')
      .limit(limit)
      .execute();
    return rows.map((row) => row.key);
  }

  async forgetFile(key: string): Promise<void> {
    await this.#db.deleteFrom('archive_files').where('key', '=', key).where('live', '=', 0).execute();
  }

  async totals(): Promise<Totals> {
    const segments = await this.#db
      .selectFrom('archive_segments')
      .select((select) => select.fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    const files = await this.#db
      .selectFrom('archive_files')
      .select((select) => [
        select.fn.countAll().as('count'),
        select.fn.count('sha256').as('digests'),
        select.fn.sum('row_count').as('rows'),
        select.fn.sum('bytes').as('bytes'),
      ])
      .where('live', '=', 1)
      .executeTakeFirstOrThrow();
    return {
      segments: Number(segments.count),
      files: Number(files.count),
      filesWithoutDigest: Number(files.count) - Number(files.digests),
      rows: Number(files.rows ?? 0),
      bytes: Number(files.bytes ?? 0),
    };
  }
}

function segmentOf(row: CatalogueTables['archive_segments']): SegmentRow {
  return {
    digest: row.digest,
    agentId: row.agent_id,
    chainId: row.chain_id,
    sequence: BigInt(row.sequence),
    previous: row.previous,
    cluster: row.cluster,
    node: row.node,
    blobKey: row.blob_key,
    bytes: Number(row.bytes),
    records: Number(row.records),
    receivedMs: Number(row.received_ms),
    state: row.state === 'archived' ? 'archived' : 'stored',
  };
}

/** In the place of a segment's digest, for files that were merged of several. */
export const mergedDigest = 'merged';

function fileOf(row: CatalogueTables['archive_files']): FileRow {
  return {
    key: row.key,
    digest: row.digest,
    day: row.day,
    cluster: row.cluster,
    minTimeNs: BigInt(row.min_ms) * 1_000_000n,
    maxTimeNs: BigInt(row.max_ms) * 1_000_000n + 999_999n,
    rows: Number(row.row_count),
    bytes: Number(row.bytes),
    sha256: row.sha256 ?? undefined,
    overlaps: row.overlaps !== 0,
  };
}

function digits(value: bigint): string {
  return value.toString().padStart(20, '0');
}

function floorMs(ns: bigint): number {
  const ms = ns / 1_000_000n;
  return Number(ns < 0n && ms * 1_000_000n !== ns ? ms - 1n : ms);
}
