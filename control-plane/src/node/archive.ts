// SPDX-License-Identifier: Apache-2.0
// Owns the archive as the Node entry gives it to the app: its parts put together, its errors in the app's words.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readSegmentHeader, SegmentError } from '@weir/segment';
import type { Kysely } from 'kysely';
import { type CatalogueTables, KyselyCatalogue } from '../archive/catalogue.js';
import { ConversionThread } from '../archive/conversion-thread.js';
import { ArchiveError, type ArchiveErrorCode } from '../archive/error.js';
import { convertJob, Ingest } from '../archive/ingest.js';
import { FileCache } from '../archive/local-files.js';
import { Merger, mergeJob } from '../archive/merge.js';
import { QueryRunner } from '../archive/query-runner.js';
import { ArchiveReader } from '../archive/reader.js';
import { BlobError, type BlobStore } from '../blobs/blob-store.js';
import { ControlPlaneError, type ErrorCode } from '../errors.js';
import type { JobHandler } from '../jobs/worker.js';
import type { Archive, Clock } from '../ports.js';
import { newId } from '../services/context.js';
import type { Store } from '../store/store.js';

export interface OpenArchive {
  readonly archive: Archive;
  readonly jobs: Readonly<Record<string, JobHandler>>;
  close(): Promise<void>;
}

export interface ArchiveOptions {
  readonly db: Kysely<CatalogueTables>;
  readonly store: Store;
  readonly blobs: BlobStore;
  readonly clock: Clock;
  /** For files on their way, and for those that queries read; emptied at each start. */
  readonly scratchFolder: string;
  /** Called when there is a new job. */
  readonly onJob: () => void;
}

const codes: Record<ArchiveErrorCode, ErrorCode> = {
  'invalid-segment': 'invalid_segment',
  conflict: 'conflict',
  'query-refused': 'query_refused',
  'query-timeout': 'query_timeout',
  'query-too-large': 'query_refused',
  busy: 'busy',
  'file-changed': 'archive_changed',
  'not-found': 'not_found',
  closed: 'unavailable',
};

async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof ArchiveError) {
      throw new ControlPlaneError(codes[cause.code], sentence(cause.message), [], { cause });
    }
    if (cause instanceof SegmentError) {
      throw new ControlPlaneError('invalid_segment', sentence(cause.message), [], { cause });
    }
    if (cause instanceof BlobError) {
      throw new ControlPlaneError('unavailable', 'The object storage does not answer as it should.', [], {
        cause,
      });
    }
    throw cause;
  }
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}

export async function openArchive(options: ArchiveOptions): Promise<OpenArchive> {
  const { db, store, blobs, clock, scratchFolder, onJob } = options;
  await rm(scratchFolder, { recursive: true, force: true });
  await mkdir(scratchFolder, { recursive: true, mode: 0o700 });
  const catalogue = new KyselyCatalogue(db);
  await catalogue.migrate();
  const conversion = new ConversionThread();
  const runner = new QueryRunner();
  const ingest = new Ingest({
    blobs,
    catalogue,
    conversion,
    scratchFolder,
    nowMs: () => clock.nowMs(),
    async enqueue(kind, key, payload) {
      const nowMs = clock.nowMs();
      if (await store.enqueueJob({ id: newId(nowMs), kind, key, payload, nowMs })) onJob();
    },
  });
  const cache = new FileCache(blobs, join(scratchFolder, 'files'));
  const reader = new ArchiveReader({ catalogue, cache, runner });
  const merger = new Merger({
    blobs,
    catalogue,
    conversion,
    cache,
    scratchFolder,
    nowMs: () => clock.nowMs(),
  });

  const archive: Archive = {
    ingest: ({ agentId, cluster, node, sequence, bytes }) =>
      translated(async () => {
        const header = readSegmentHeader(bytes);
        if (header.sequence !== sequence) {
          throw new ArchiveError(
            'invalid-segment',
            `header.sequence: is ${header.sequence}, the address says ${sequence}`,
          );
        }
        const { status, records } = await ingest.accept(bytes, { agentId, cluster, node });
        return { status, events: records };
      }),
    query: (request) => translated(() => reader.sql(request)),
    events: ({ limit, ...filters }) => translated(() => reader.events(filters, limit)),
    processTree: (execId) => translated(() => reader.processTree(execId)),
    integrity: async ({ agent, limit }) => {
      const broken = await catalogue.brokenSegments(limit + 1, agent);
      const { segments, files, filesWithoutDigest } = await catalogue.totals();
      return {
        segments,
        files,
        filesWithoutDigest,
        breaks: broken.slice(0, limit).map(({ segment, standing }) => ({
          agentId: segment.agentId,
          cluster: segment.cluster,
          node: segment.node,
          chainId: segment.chainId,
          sequence: Number(segment.sequence),
          digest: segment.digest,
          receivedMs: segment.receivedMs,
          standing,
        })),
        truncated: broken.length > limit,
      };
    },
  };
  return {
    archive,
    jobs: {
      [convertJob]: async ({ payload }) => {
        if (typeof payload.digest !== 'string') throw new Error('the job names no digest');
        await ingest.convert(payload.digest);
      },
      [mergeJob]: async ({ payload: { day, cluster } }) => {
        if (typeof day !== 'string' || typeof cluster !== 'string')
          throw new Error('the job names no partition');
        await merger.merge(day, cluster);
      },
    },
    async close() {
      runner.close();
      await conversion.close();
    },
  };
}
