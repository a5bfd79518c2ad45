// SPDX-License-Identifier: Apache-2.0
// Owns the blob store in a folder of this machine: a key is a path below it. Good for one machine; for several
// replicas use S3.
import { randomBytes } from 'node:crypto';
import { chmod, copyFile, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  BlobError,
  type BlobInfo,
  type BlobPage,
  type BlobStore,
  type ByteRange,
  checkKey,
  checkPrefix,
} from './blob-store.js';

/** Files that are being written; no key can begin with a dot. */
const temporaryFolder = '.tmp';
/** A blob is replaced, never written to: not even by a reader that should not write at all. */
const blobMode = 0o400;

export class FolderBlobs implements BlobStore {
  readonly #root: string;

  constructor(folder: string) {
    this.#root = resolve(folder);
  }

  #path(key: string): string {
    return join(this.#root, checkKey(key));
  }

  put(key: string, bytes: Uint8Array): Promise<void> {
    return this.#write(key, async (temporary) => {
      const handle = await open(temporary, 'wx', blobMode);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  putFile(key: string, path: string): Promise<void> {
    return this.#write(key, async (temporary) => {
      await copyFile(path, temporary);
      await chmod(temporary, blobMode);
      await syncPath(temporary);
    });
  }

  async #write(key: string, fill: (temporary: string) => Promise<void>): Promise<void> {
    const path = this.#path(key);
    const temporary = join(this.#root, temporaryFolder, randomBytes(12).toString('hex'));
    await this.#doing(key, async () => {
      await mkdir(dirname(temporary), { recursive: true, mode: 0o700 });
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      try {
        await fill(temporary);
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
      await syncPath(dirname(path));
    });
  }

  get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const path = this.#path(key);
    return this.#doing(key, async () => {
      if (range === undefined) return await readFile(path);
      const handle = await open(path, 'r');
      try {
        const { size } = await handle.stat();
        const bytes = Buffer.alloc(Math.max(0, Math.min(range.bytes, size - range.from)));
        const { bytesRead } = await handle.read(bytes, 0, bytes.length, range.from);
        return bytes.subarray(0, bytesRead);
      } finally {
        await handle.close();
      }
    });
  }

  async getFile(key: string, path: string): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString('hex')}`;
    await this.#doing(key, () => copyFile(this.#path(key), temporary));
    await rename(temporary, path);
  }

  async head(key: string): Promise<BlobInfo | undefined> {
    const path = this.#path(key);
    try {
      const info = await stat(path);
      return info.isFile() ? { key, bytes: info.size, modifiedMs: info.mtimeMs } : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#wrap(key, error);
    }
  }

  async list(prefix: string, options: { after?: string; limit?: number } = {}): Promise<BlobPage> {
    checkPrefix(prefix);
    const { after = '', limit = 1000 } = options;
    const keys: string[] = [];
    // Only the folder that the prefix names whole is walked.
    const start = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    await this.#walk(start, (key) => {
      if (key.startsWith(prefix) && key > after) keys.push(key);
    });
    keys.sort();
    const page = keys.slice(0, limit);
    const blobs: BlobInfo[] = [];
    for (const key of page) {
      const info = await this.head(key);
      if (info !== undefined) blobs.push(info);
    }
    return { blobs, next: keys.length > limit ? page.at(-1) : undefined };
  }

  async #walk(start: string, found: (key: string) => void): Promise<void> {
    const folders = [start];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      let entries: import('node:fs').Dirent[];
      try {
        entries = await readdir(join(this.#root, folder), { withFileTypes: true });
      } catch (error) {
        if (isMissing(error)) continue;
        throw this.#wrap(folder, error);
      }
      for (const entry of entries) {
        if (entry.name.startsWith('.')) continue;
        if (entry.isDirectory()) folders.push(`${folder}${entry.name}/`);
        else if (entry.isFile()) found(`${folder}${entry.name}`);
      }
    }
  }

  delete(key: string): Promise<void> {
    const path = this.#path(key);
    return this.#doing(key, async () => {
      try {
        await rm(path);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  presignPut(): Promise<string> {
    return Promise.reject(new BlobError('unsupported', 'a folder has no URLs: upload through the server'));
  }

  presignGet(): Promise<string> {
    return Promise.reject(new BlobError('unsupported', 'a folder has no URLs: download through the server'));
  }

  /** The file of a blob, for readers in this machine that take a path. */
  localPath(key: string): string {
    return this.#path(key);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #doing<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#wrap(key, error);
    }
  }

  #wrap(key: string, error: unknown): BlobError {
    if (error instanceof BlobError) return error;
    const { code } = error as NodeJS.ErrnoException;
    if (isMissing(error) || code === 'EISDIR') return new BlobError('not-found', `${key} is not there`);
    const kind = code === 'EACCES' || code === 'EPERM' || code === 'EROFS' ? 'denied' : 'unavailable';
    return new BlobError(kind, `${key}: ${code ?? 'failed'}`, { cause: error });
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
