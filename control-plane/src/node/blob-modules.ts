// SPDX-License-Identifier: Apache-2.0
// Owns the modules of filters in the blob store, each under its digest.
import { BlobError, type BlobStore } from '../blobs/blob-store.js';
import type { Bytes } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import type { ModuleStore } from '../ports.js';

export class BlobModules implements ModuleStore {
  readonly #blobs: BlobStore;

  constructor(blobs: BlobStore) {
    this.#blobs = blobs;
  }

  #key(digest: string): string {
    const match = /^sha256:([0-9a-f]{64})$/.exec(digest);
    if (match === null) throw new Error(`"${digest}" is no digest.`);
    return `modules/${match[1]}.wasm`;
  }

  async put(digest: string, bytes: Bytes): Promise<void> {
    try {
      await this.#blobs.put(this.#key(digest), bytes, 'application/wasm');
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  async get(digest: string): Promise<Bytes | undefined> {
    try {
      return new Uint8Array(await this.#blobs.get(this.#key(digest)));
    } catch (cause) {
      if (cause instanceof BlobError && cause.code === 'not-found') return undefined;
      throw unavailable(cause);
    }
  }
}

function unavailable(cause: unknown): unknown {
  if (!(cause instanceof BlobError)) return cause;
  return new ControlPlaneError('unavailable', 'The object storage does not answer as it should.', [], {
    cause,
  });
}
