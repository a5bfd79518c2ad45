// SPDX-License-Identifier: Apache-2.0
// Owns the merging of the small files of a partition (day and cluster) into larger ones: an agent sends a segment
// every few seconds, and a query that opens thousands of files is slow. May be run twice, also at once: the merged
// file's key follows from its sources and its bytes, and one statement puts it in their place.
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../blobs/blob-store.js';
import { type Catalogue, type FileRow, mergedDigest } from './catalogue.js';
import type { ConversionThread } from './conversion-thread.js';
import { keyPart } from './keys.js';
import type { FileCache } from './local-files.js';

/** Kind of the job. */
export const mergeJob = 'archive.merge';
/** A partition with this many small files is merged. */
export const mergeFrom = 32;
/** Files from this size on are left as they are. */
export const smallBytes = 64 * 1024 ** 2;
/** Files that one turn merges. */
const mergeMax = 256;
/** A blob that was replaced stays this long: longer than any query runs. */
const keepRetiredMs = 3_600_000;
const removeMax = 1000;

export interface MergerOptions {
  readonly blobs: BlobStore;
  readonly catalogue: Catalogue;
  readonly conversion: ConversionThread;
  readonly cache: FileCache;
  readonly scratchFolder: string;
  readonly nowMs: () => number;
}

export class Merger {
  readonly #options: MergerOptions;

  constructor(options: MergerOptions) {
    this.#options = options;
  }

  /** Merges the small files of a partition where there are many, and removes what was replaced long ago. */
  async merge(day: string, cluster: string): Promise<FileRow | undefined> {
    const { catalogue } = this.#options;
    const sources = await catalogue.smallFiles(day, cluster, smallBytes, mergeMax);
    const merged = sources.length < mergeFrom ? undefined : await this.#merge(day, cluster, sources);
    await this.#removeRetired();
    return merged;
  }

  async #merge(day: string, cluster: string, sources: readonly FileRow[]): Promise<FileRow> {
    const { blobs, catalogue, conversion, cache, scratchFolder, nowMs } = this.#options;
    const keys = sources.map(({ key }) => key);
    const overlaps = sources.some((file) => file.overlaps);
    const folder = await mkdtemp(join(scratchFolder, 'merge-'));
    const local = await cache.use(sources);
    try {
      const path = join(folder, 'merged.parquet');
      const { rows, bytes, sha256 } = await conversion.merge(local.paths, overlaps, path);
      // By its bytes too: no other worker's file can come in the place of the one whose digest is entered.
      const name = createHash('sha256')
        .update([...keys, sha256].join('\n'))
        .digest('hex')
        .slice(0, 32);
      const key = `events/day=${day}/cluster=${keyPart(cluster)}/merged-${name}.parquet`;
      await blobs.putFile(key, path);
      const merged: FileRow = {
        key,
        digest: mergedDigest,
        day,
        cluster,
        minTimeNs: sorted(sources.map((file) => file.minTimeNs))[0] ?? 0n,
        maxTimeNs: sorted(sources.map((file) => file.maxTimeNs)).at(-1) ?? 0n,
        rows,
        bytes,
        sha256,
        overlaps,
      };
      await catalogue.replaceFiles(keys, merged, nowMs());
      return merged;
    } finally {
      local.release();
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #removeRetired(): Promise<void> {
    const { blobs, catalogue, nowMs } = this.#options;
    for (const key of await catalogue.retiredFiles(nowMs() - keepRetiredMs, removeMax)) {
      await blobs.delete(key);
      await catalogue.forgetFile(key);
    }
  }
}

function sorted(times: bigint[]): bigint[] {
  return times.sort((a, b) => (a < b ? -1 : 1));
}
