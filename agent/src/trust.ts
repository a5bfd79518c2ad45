// SPDX-License-Identifier: Apache-2.0
// Owns which authors' keys this agent trusts. They come from this node's files alone: a control plane that is taken
// over cannot add one. Read anew for each list of filters, so that keys in a mounted folder change without a restart.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  checkFilterSignatures,
  type FilterKey,
  type FilterSignature,
  parseFilterKey,
  type SignatureCheck,
} from '@weir/filter-accept';

const KEYS_MAX = 256;
const KEY_FILE_BYTES_MAX = 4096;

export class FilterTrustError extends Error {
  override readonly name = 'FilterTrustError';
  readonly code = 'filter-key';
}

/** The files that are named, and the `*.pub` files of the folders that are. */
function files(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith('.pub'));
    if (names.length === 0) throw new FilterTrustError(`--filter-key ${path} holds no key (*.pub)`);
    return names.sort().map((name) => join(path, name));
  });
}

export class FilterTrust {
  readonly #paths: readonly string[];
  #keys: readonly FilterKey[] = [];

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** Whether filters must be signed at all. */
  get required(): boolean {
    return this.#paths.length > 0;
  }

  /** Keys as they were last read. */
  get keys(): readonly FilterKey[] {
    return this.#keys;
  }

  /** Reads the keys. @throws {FilterTrustError} that names the file; none is trusted then. */
  async read(): Promise<void> {
    this.#keys = [];
    const keys: FilterKey[] = [];
    try {
      for (const path of files(this.#paths)) {
        if (keys.length >= KEYS_MAX)
          throw new FilterTrustError(`--filter-key names more than ${KEYS_MAX} keys`);
        if (statSync(path).size > KEY_FILE_BYTES_MAX)
          throw new FilterTrustError(`${path} is too long for a key`);
        try {
          keys.push(await parseFilterKey(readFileSync(path, 'utf8')));
        } catch (cause) {
          throw new FilterTrustError(
            `${path} holds no key that filters are signed with: ${(cause as Error).message}`,
          );
        }
      }
    } catch (cause) {
      if (cause instanceof FilterTrustError) throw cause;
      throw new FilterTrustError(`a key of --filter-key cannot be read: ${(cause as Error).message}`, {
        cause,
      });
    }
    this.#keys = keys;
  }

  check(digest: string, signatures: readonly FilterSignature[]): Promise<SignatureCheck> {
    return checkFilterSignatures(digest, signatures, this.#keys);
  }
}
