// SPDX-License-Identifier: Apache-2.0
// Owns the way of a segment into the archive: checked, stored as it came, entered, then (as a job) turned into
// Parquet. Every step may be done twice: keys follow from agent, chain and sequence, so the same segment gives the
// same blobs, and no second copy of an event.
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readSegmentHeader, type SegmentHeader } from '@weir/segment';
import type { BlobStore } from '../blobs/blob-store.js';
import type { Catalogue, FileRow } from './catalogue.js';
import type { ConversionThread } from './conversion-thread.js';
import type { Origin } from './convert.js';
import { ArchiveError } from './error.js';
import { keyPart } from './keys.js';
import { mergeFrom, mergeJob, smallBytes } from './merge.js';

/** Kind of the job that turns a stored segment into files; its key is the digest. */
export const convertJob = 'archive.convert';

export interface IngestOptions {
  readonly blobs: BlobStore;
  readonly catalogue: Catalogue;
  readonly conversion: ConversionThread;
  /** Queues {@link convertJob}; doing it twice for one key is one job. */
  readonly enqueue: (kind: string, key: string, payload: Record<string, string>) => Promise<void>;
  /** For files on their way to the blob store. */
  readonly scratchFolder: string;
  readonly nowMs?: () => number;
}

export interface IngestResult {
  readonly status: 'stored' | 'duplicate';
  readonly digest: string;
  readonly sequence: bigint;
  readonly records: number;
}

function segmentKey(header: SegmentHeader): string {
  const number = header.sequence.toString().padStart(16, '0');
  return `segments/${keyPart(header.agentId)}/${header.chainId}/${number}-${header.digest.slice(0, 16)}.segment`;
}

export class Ingest {
  readonly #options: IngestOptions;

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /**
   * Takes a segment from an agent. It is stored when this answers, and queryable when its job has run.
   * @throws {ArchiveError} invalid-segment, conflict
   */
  async accept(bytes: Uint8Array, origin: Origin): Promise<IngestResult> {
    const { blobs, catalogue, conversion, nowMs = Date.now } = this.#options;
    const header = await conversion.verify(bytes);
    if (header.agentId !== origin.agentId) {
      throw new ArchiveError(
        'invalid-segment',
        `header.agent_id: is "${header.agentId}", not the agent that sent it`,
      );
    }
    const result = { digest: header.digest, sequence: header.sequence, records: Number(header.recordCount) };
    const known = await catalogue.findSegment(header.agentId, header.chainId, header.sequence);
    if (known !== undefined) return await this.#known(known, result);
    const blobKey = segmentKey(header);
    // The blob first: the catalogue never names what is not there.
    await blobs.put(blobKey, bytes);
    const added = await catalogue.addSegment({
      ...header,
      cluster: origin.cluster,
      node: origin.node,
      blobKey,
      bytes: bytes.length,
      records: result.records,
      receivedMs: nowMs(),
    });
    if (!added) {
      const now = await catalogue.findSegment(header.agentId, header.chainId, header.sequence);
      if (now === undefined) throw new ArchiveError('invalid-segment', 'header.sequence: is out of range');
      return await this.#known(now, result);
    }
    await this.#queue(header.digest);
    return { status: 'stored', ...result };
  }

  async #known(
    known: { digest: string; state: string },
    result: Omit<IngestResult, 'status'>,
  ): Promise<IngestResult> {
    if (known.digest !== result.digest) {
      throw new ArchiveError(
        'conflict',
        `segment ${result.sequence} of this chain is ${known.digest}, not ${result.digest}: one of them is not genuine`,
      );
    }
    // It may have been stored by a request that ended before it queued the job.
    if (known.state === 'stored') await this.#queue(result.digest);
    return { status: 'duplicate', ...result };
  }

  #queue(digest: string): Promise<void> {
    return this.#options.enqueue(convertJob, digest, { digest });
  }

  /** Many small files make queries slow: when a partition has many, they are merged, as a job of its own. */
  async #mergeLater(digest: string, day: string, cluster: string): Promise<void> {
    const small = await this.#options.catalogue.smallFiles(day, cluster, smallBytes, mergeFrom);
    if (small.length < mergeFrom) return;
    await this.#options.enqueue(mergeJob, `${day} ${digest}`, { day, cluster });
  }

  /** The job: turns a stored segment into files. May be run twice, also at once by two workers. */
  async convert(digest: string): Promise<readonly FileRow[]> {
    const { blobs, catalogue, conversion, scratchFolder } = this.#options;
    const segment = await catalogue.segmentByDigest(digest);
    if (segment === undefined) throw new ArchiveError('not-found', `no segment ${digest}`);
    if (segment.state === 'archived') return [];
    const bytes = await blobs.get(segment.blobKey);
    // The bucket is not trusted: what is read must be what was accepted.
    if (bytes.length < 32 || readSegmentHeader(bytes).digest !== digest) {
      throw new ArchiveError('invalid-segment', `${segment.blobKey} is not the segment that was stored`);
    }
    const folder = await mkdtemp(join(scratchFolder, 'convert-'));
    try {
      const { agentId, cluster, node } = segment;
      const { files, ranges } = await conversion.convert(bytes, { agentId, cluster, node }, folder);
      const rows: FileRow[] = [];
      for (const { path, ...file } of files) {
        const name = `${keyPart(agentId)}-${segment.chainId.slice(0, 8)}-${segment.sequence.toString().padStart(16, '0')}`;
        const key = `events/day=${file.day}/cluster=${keyPart(cluster)}/${name}.parquet`;
        await blobs.putFile(key, path);
        rows.push({ ...file, key, digest, cluster, overlaps: false });
      }
      await catalogue.addFiles(digest, rows, ranges);
      for (const { day } of rows) await this.#mergeLater(digest, day, cluster);
      return rows;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
