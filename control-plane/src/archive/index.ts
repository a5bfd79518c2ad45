// SPDX-License-Identifier: Apache-2.0
// Owns the putting together of the archive: what the server, and the worker of its jobs, use of it.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import type { BlobStore } from '../blobs/blob-store.js';
import { type Catalogue, type CatalogueTables, KyselyCatalogue } from './catalogue.js';
import { ConversionThread } from './conversion-thread.js';
import { convertJob, Ingest } from './ingest.js';
import { FileCache } from './local-files.js';
import { QueryRunner, type QueryRunnerOptions } from './query-runner.js';
import { ArchiveReader } from './reader.js';

export interface ArchiveParts {
  /** The control plane's database; the archive makes its own tables in it. */
  readonly db: Kysely<CatalogueTables>;
  readonly blobs: BlobStore;
  /** For files on their way and for the cache of remote ones. What is in it at the start is removed. */
  readonly scratchFolder: string;
  /** Queues a job; doing it twice for one kind and key is one job. */
  readonly enqueue: (kind: string, key: string, payload: Record<string, string>) => Promise<void>;
  readonly cacheBytesMax?: number;
  readonly query?: QueryRunnerOptions;
  readonly nowMs?: () => number;
}

export interface OpenedArchive {
  readonly ingest: Ingest;
  readonly reader: ArchiveReader;
  readonly catalogue: Catalogue;
  /** What runs each kind of job; a job may be run twice. */
  readonly jobs: Readonly<Record<string, (payload: Readonly<Record<string, unknown>>) => Promise<void>>>;
  close(): Promise<void>;
}

/** Opens the archive. Several replicas may share database and blobs, each with a scratch folder of its own. */
export async function openArchive(parts: ArchiveParts): Promise<OpenedArchive> {
  const { db, blobs, scratchFolder, enqueue } = parts;
  await rm(scratchFolder, { recursive: true, force: true });
  await mkdir(scratchFolder, { recursive: true, mode: 0o700 });
  const catalogue = new KyselyCatalogue(db);
  await catalogue.migrate();
  const conversion = new ConversionThread();
  const ingest = new Ingest({
    blobs,
    catalogue,
    conversion,
    enqueue,
    scratchFolder,
    ...(parts.nowMs === undefined ? {} : { nowMs: parts.nowMs }),
  });
  const runner = new QueryRunner(parts.query);
  const cache = new FileCache(blobs, join(scratchFolder, 'cache'), parts.cacheBytesMax);
  return {
    ingest,
    reader: new ArchiveReader({ catalogue, cache, runner }),
    catalogue,
    jobs: {
      [convertJob]: async (payload) => {
        await ingest.convert(String(payload.digest));
      },
    },
    close: async () => {
      runner.close();
      await conversion.close();
      await rm(scratchFolder, { recursive: true, force: true });
    },
  };
}

export type { Catalogue, CatalogueTables, FileRow, SegmentRow, Standing } from './catalogue.js';
export type { Origin } from './convert.js';
export { ArchiveError, type ArchiveErrorCode } from './error.js';
export { convertJob, type IngestResult } from './ingest.js';
export type { QueryAnswer } from './query-runner.js';
export type { EventFilters } from './reader.js';
export type { ProcessNode, ProcessTree } from './tree.js';
