// SPDX-License-Identifier: Apache-2.0
// Builds things into the cache so that they are there whole or not at all, also
// when two runs build the same at once, or one is killed half-way.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
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

const dayMs = 86_400_000;
/** What a killed run leaves behind, and images that no run has used, by age. */
const sweepRules: readonly (readonly [name: RegExp, ageMsMax: number])[] = [
  [/^(?:building|run|appliance)-/, dayMs],
  [/^root-.*\.img$/, 14 * dayMs],
];

/** Removes from the cache what nobody will use again. */
export function sweepCache(): void {
  for (const name of readdirSync(cacheFolder())) {
    const rule = sweepRules.find(([pattern]) => pattern.test(name));
    if (rule === undefined) continue;
    const path = join(cacheFolder(), name);
    const ageMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
    if (ageMs > rule[1]) rmSync(path, { recursive: true, force: true });
  }
}

/** Notes that a cached file is still in use. */
export function markUsed(path: string): void {
  const now = new Date();
  utimesSync(path, now, now);
}
