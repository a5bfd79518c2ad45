// SPDX-License-Identifier: Apache-2.0
// Owns the last good release on disk: the signed desired state and the filters that it names. An agent that cannot
// reach its control plane goes on with it, also after a reboot; what is read back is verified as if it had just come.
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignedDesiredState } from '@weir/control-plane/client';
import { writePrivately } from './enrol.js';

export class ReleaseStore {
  readonly #statePath: string;
  readonly #filterFolder: string;

  constructor(dataFolder: string) {
    this.#statePath = join(dataFolder, 'release.json');
    this.#filterFolder = join(dataFolder, 'filters');
    mkdirSync(this.#filterFolder, { recursive: true, mode: 0o700 });
  }

  async read(): Promise<SignedDesiredState | undefined> {
    try {
      return JSON.parse(await readFile(this.#statePath, 'utf8')) as SignedDesiredState;
    } catch {
      return undefined;
    }
  }

  async write(signed: SignedDesiredState): Promise<void> {
    await writePrivately(this.#statePath, JSON.stringify(signed));
  }

  #path(digest: string): string {
    return join(this.#filterFolder, `${digest.replace(/[^0-9a-f]/g, '').slice(-64)}.wasm`);
  }

  /** A filter's bytes, where they are there and have their digest. */
  async filter(digest: string): Promise<Uint8Array | undefined> {
    try {
      const bytes = await readFile(this.#path(digest));
      const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      return found === digest ? bytes : undefined;
    } catch {
      return undefined;
    }
  }

  async putFilter(digest: string, bytes: Uint8Array): Promise<void> {
    await writePrivately(this.#path(digest), bytes);
  }

  /** Removes filters that no release in force names. */
  async keepOnly(digests: readonly string[]): Promise<void> {
    const kept = new Set(digests.map((digest) => this.#path(digest)));
    for (const name of await readdir(this.#filterFolder)) {
      const path = join(this.#filterFolder, name);
      if (!kept.has(path)) await rm(path, { force: true });
    }
  }
}
