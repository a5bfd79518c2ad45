// SPDX-License-Identifier: Apache-2.0
// Owns the modules of filters in a local folder, each a file named by its digest.
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bytes } from '../crypto.js';
import { randomBytes, toHex } from '../crypto.js';
import type { ModuleStore } from '../ports.js';

export class FolderModules implements ModuleStore {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  #path(digest: string): string {
    const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
    if (match === null) throw new Error(`"${digest}" is no digest.`);
    return join(this.#folder, `${match[1]}.wasm`);
  }

  async put(digest: string, bytes: Bytes): Promise<void> {
    const path = this.#path(digest);
    await mkdir(this.#folder, { recursive: true });
    const temporary = `${path}.${toHex(randomBytes(8))}.tmp`;
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
      await rename(temporary, path);
    } catch (cause) {
      await rm(temporary, { force: true });
      throw cause;
    } finally {
      await file.close();
    }
  }

  async get(digest: string): Promise<Bytes | undefined> {
    try {
      return new Uint8Array(await readFile(this.#path(digest)));
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
      throw cause;
    }
  }
}
