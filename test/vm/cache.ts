// SPDX-License-Identifier: Apache-2.0
// Builds things into the cache so that they are there whole or not at all, also
// when two runs build the same at once, or one is killed half-way.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from './places.js';

/**
 * Builds a file or folder unless it is there. `build` makes `partial`, which is then
 * renamed to `place`; `scratch` is a folder for what is not kept.
 */
export async function buildIntoPlace(
  place: string,
  build: (partial: string, scratch: string) => Promise<void>,
): Promise<void> {
  if (existsSync(place)) return;
  mkdirSync(dirname(place), { recursive: true });
  const scratch = mkdtempSync(join(cacheFolder(), 'building-'));
  try {
    const partial = join(scratch, 'result');
    await build(partial, scratch);
    try {
      renameSync(partial, place);
    } catch (error) {
      // Another run was first: the same key means the same content.
      if (!existsSync(place)) throw error;
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
