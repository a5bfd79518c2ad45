// SPDX-License-Identifier: Apache-2.0
// Owns copying of many runs of bytes in one call: a loop in JavaScript takes about a nanosecond a word, and a
// subarray for each run takes more than the copy.
import { raw } from './addon.js';
import { guard } from './error.js';

/**
 * Copies `count` runs of bytes from `source` to `target`. `ranges` holds three numbers for each: where it begins in
 * the source, where in the target, and how many bytes it has. A run that leaves its memory is refused; those before
 * it are copied then.
 */
export function copyRanges(target: Uint8Array, source: Uint8Array, ranges: Uint32Array, count: number): void {
  guard(() => raw().copyRanges(target, source, ranges, count));
}
