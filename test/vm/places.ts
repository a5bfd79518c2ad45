// SPDX-License-Identifier: Apache-2.0
// Knows where the harness finds the repository and keeps what it builds.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Returns the repository's root. Found by walking up, because this module runs
 * from its source, from dist/ and from a bundle in the cache.
 */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'test', 'vm', 'apt-packages.txt'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the guest harness is not inside the repository');
    folder = parent;
  }
  return folder;
}

/** Returns test/vm in the repository. */
export function harnessFolder(): string {
  return join(repositoryRoot(), 'test', 'vm');
}

/** Returns where images, kernels and results are kept: `$WEIR_CACHE/vm`, else `.cache/vm` in the repository. */
export function cacheFolder(): string {
  const chosen = process.env.WEIR_CACHE;
  return chosen ? join(chosen, 'vm') : join(repositoryRoot(), '.cache', 'vm');
}
