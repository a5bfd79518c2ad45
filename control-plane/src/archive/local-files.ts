// SPDX-License-Identifier: Apache-2.0
// Owns the files of this machine that a query reads: those of a folder store as they are, those of a remote store
// through a cache of bounded size.
import { createHash } from 'node:crypto';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlobStore } from '../blobs/blob-store.js';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { ArchiveError } from './error.js';

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

/** Fetches at once, at most. */
const fetchesMax = 4;

export class FileCache {
  readonly #blobs: BlobStore;
  readonly #folder: string;
  readonly #bytesMax: number;
  #bytes = 0;
  /** Least recently used first. */
  readonly #entries = new Map<string, Entry>();
  #opened: Promise<void> | undefined;

  constructor(blobs: BlobStore, folder: string, bytesMax = 4 * 1024 ** 3) {
    this.#blobs = blobs;
    this.#folder = folder;
    this.#bytesMax = bytesMax;
  }

  /** @throws {ArchiveError} query-too-large: together they are more than the cache holds */
  async use(files: readonly { readonly key: string; readonly bytes: number }[]): Promise<LocalFiles> {
    const blobs = this.#blobs;
    if (blobs instanceof FolderBlobs) {
      return { paths: files.map(({ key }) => blobs.localPath(key)), release: () => {} };
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
      for (let from = 0; from < files.length; from += fetchesMax) {
        const part = files.slice(from, from + fetchesMax).map((file) => this.#take(file));
        entries.push(...part);
        await Promise.all(part.map((entry) => entry.ready));
      }
    } catch (error) {
      release();
      throw error;
    }
    return { paths: entries.map((entry) => entry.path), release };
  }

  /** What an earlier run has left is of no use: nothing says that it is whole. */
  async #open(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
  }

  #take(file: { readonly key: string; readonly bytes: number }): Entry {
    let entry = this.#entries.get(file.key);
    if (entry === undefined) {
      const path = join(this.#folder, `${createHash('sha256').update(file.key).digest('hex')}.parquet`);
      entry = { path, bytes: file.bytes, users: 0, ready: this.#fetch(file.key, path) };
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

  async #fetch(key: string, path: string): Promise<void> {
    await this.#shrink();
    await this.#blobs.getFile(key, path);
    await stat(path);
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
