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

  /**
   * `filter-key`: which keys are trusted is not known. `no-filter-key`: a folder can be read and holds none, so that
   * whoever owns it has taken them away.
   */
  constructor(
    message: string,
    options?: ErrorOptions,
    readonly code: 'filter-key' | 'no-filter-key' = 'filter-key',
  ) {
    super(message, options);
  }
}

/** The files that are named, and the `*.pub` files of the folders that are; and the folders without any. */
function files(paths: readonly string[]): { found: string[]; empty: string[] } {
  const empty: string[] = [];
  const found = paths.flatMap((path) => {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => name.endsWith('.pub'));
    if (names.length === 0) empty.push(path);
    return names.sort().map((name) => join(path, name));
  });
  return { found, empty };
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

  /**
   * Reads the keys. @throws {FilterTrustError} that names the file: none is trusted then; or the folder without keys: those
   * of the others are.
   */
  async read(): Promise<void> {
    this.#keys = [];
    const keys: FilterKey[] = [];
    let empty: readonly string[] = [];
    try {
      const paths = files(this.#paths);
      empty = paths.empty;
      for (const path of paths.found) {
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
    if (empty.length > 0) {
      const folders = empty.join(', ');
      throw new FilterTrustError(`--filter-key ${folders} holds no key (*.pub)`, undefined, 'no-filter-key');
    }
  }

  check(digest: string, signatures: readonly FilterSignature[]): Promise<SignatureCheck> {
    return checkFilterSignatures(digest, signatures, this.#keys);
  }
}
