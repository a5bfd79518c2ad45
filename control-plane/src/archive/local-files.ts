// SPDX-License-Identifier: Apache-2.0
// Owns the files of this machine that a query reads: those of a folder store as they are, those of a remote store
// through a cache of bounded size. Neither store is trusted: a file is read only where it is, by size and SHA-256,
// the one that the catalogue knows.
import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BlobError, type BlobStore } from '../blobs/blob-store.js';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import type { FileRow } from './catalogue.js';
import { fileDigest } from './digest.js';
import { ArchiveError } from './error.js';

/** What the catalogue knows of a file. */
export type KnownFile = Pick<FileRow, 'key' | 'bytes' | 'sha256'>;

export interface LocalFiles {
  readonly paths: readonly string[];
  /** The files may go from now on. */
  release(): void;
}

interface Entry {
  readonly path: string;
  readonly bytes: number;
  users: number;
  /** Fetched, or being fetched. */
  readonly ready: Promise<void>;
}

/** Fetches, or checks, at once, at most. */
const atOnceMax = 4;
/** Files of a folder that are remembered as checked; of some 200 bytes each. */
const checkedMax = 50_000;

export class FileCache {
  readonly #blobs: BlobStore;
  readonly #folder: string;
  readonly #bytesMax: number;
  #bytes = 0;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  /** Files of a folder store that were found to be right, as they were then; least recently used first. */
  readonly #checked = new Map<string, string>();
  #opened: Promise<void> | undefined;

  constructor(blobs: BlobStore, folder: string, bytesMax = 4 * 1024 ** 3) {
    this.#blobs = blobs;
    this.#folder = folder;
    this.#bytesMax = bytesMax;
  }

  /** @throws {ArchiveError} query-too-large: together they are more than the cache holds; file-changed */
  async use(files: readonly KnownFile[]): Promise<LocalFiles> {
    const blobs = this.#blobs;
    if (blobs instanceof FolderBlobs) {
      const paths = files.map(({ key }) => blobs.localPath(key));
      await inParts(files, (file) => this.#checkInPlace(file, blobs.localPath(file.key)));
      return { paths, release: () => {} };
    }
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (bytes > this.#bytesMax) {
      throw new ArchiveError(
        'query-too-large',
        `the query would read ${bytes} bytes from object storage; ${this.#bytesMax} is the most: narrow its time`,
      );
    }
    this.#opened ??= this.#open();
    await this.#opened;
    const entries: Entry[] = [];
    const release = (): void => {
      for (const entry of entries.splice(0)) entry.users--;
    };
    try {
      await inParts(files, (file) => {
        const entry = this.#take(file);
        entries.push(entry);
        return entry.ready;
      });
    } catch (error) {
      release();
      throw error;
    }
    return { paths: entries.map((entry) => entry.path), release };
  }

  /** Checks a file where it lies, once for as long as nothing says that it was written to or exchanged. */
  async #checkInPlace(file: KnownFile, path: string): Promise<void> {
    const look = async () => {
      const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true }).catch((cause: unknown) => {
        throw isMissing(cause) ? gone(file.key, cause) : cause;
      });
      return `${ino} ${size} ${mtimeNs} ${ctimeNs} ${file.sha256 ?? ''}`;
    };
    const seen = await look();
    if (this.#checked.get(file.key) !== seen) {
      await check(file, path);
      // Written to in the meantime: what was read may be neither the one nor the other.
      if ((await look()) !== seen) throw changed(file.key, 'it is being written to');
    }
    this.#checked.delete(file.key);
    this.#checked.set(file.key, seen);
    for (const key of this.#checked.keys()) {
      if (this.#checked.size <= checkedMax) break;
      this.#checked.delete(key);
    }
  }

  /** What an earlier run has left is of no use: nothing says that it is whole. */
  async #open(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  #take(file: KnownFile): Entry {
    let entry = this.#entries.get(file.key);
    if (entry === undefined) {
      const path = join(this.#folder, `${createHash('sha256').update(file.key).digest('hex')}.parquet`);
      entry = { path, bytes: file.bytes, users: 0, ready: this.#fetch(file, path) };
      this.#bytes += file.bytes;
      const failed = entry;
      entry.ready.catch(() => {
        if (this.#entries.get(file.key) === failed) this.#entries.delete(file.key);
        this.#bytes -= file.bytes;
      });
    }
    entry.users++;
    // To the end of the map: most recently used.
    this.#entries.delete(file.key);
    this.#entries.set(file.key, entry);
    return entry;
  }

  async #fetch(file: KnownFile, path: string): Promise<void> {
    await this.#shrink();
    try {
      await this.#blobs.getFile(file.key, path);
    } catch (cause) {
      throw cause instanceof BlobError && cause.code === 'not-found' ? gone(file.key, cause) : cause;
    }
    try {
      await check(file, path);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  async #shrink(): Promise<void> {
    for (const [key, entry] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) return;
      if (entry.users > 0) continue;
      this.#entries.delete(key);
      this.#bytes -= entry.bytes;
      await rm(entry.path, { force: true });
    }
  }

  /** Bytes and files that are held. */
  async held(): Promise<{ bytes: number; files: number }> {
    const names = await readdir(this.#folder).catch(() => []);
    return { bytes: this.#bytes, files: names.length };
  }
}

async function inParts<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let from = 0; from < items.length; from += atOnceMax) {
    await Promise.all(items.slice(from, from + atOnceMax).map(work));
  }
}

/** @throws {ArchiveError} file-changed */
async function check(file: KnownFile, path: string): Promise<void> {
  const { size } = await stat(path);
  if (size !== file.bytes) throw changed(file.key, `it has ${size} bytes, not ${file.bytes}`);
  // Entered before digests were kept: its size is all that is known.
  if (file.sha256 === undefined) return;
  const found = await fileDigest(path);
  if (found !== file.sha256) throw changed(file.key, `its SHA-256 is ${found}, not ${file.sha256}`);
}

function changed(key: string, why: string): ArchiveError {
  return new ArchiveError('file-changed', `the object ${key} is not the one that was stored: ${why}`);
}

function gone(key: string, cause: unknown): ArchiveError {
  return new ArchiveError('file-changed', `the object ${key} is gone from the store`, { cause });
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && (cause.code === 'ENOENT' || cause.code === 'ENOTDIR');
}
