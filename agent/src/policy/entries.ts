// SPDX-License-Identifier: Apache-2.0
// Owns what the entries of the kernel's look-up maps have in common: which maps there are, masks, and keys by number.
import type { Mask } from '@weir/policy';
import { INTEGER_KEY_BYTES, limits, MASK_BYTES, writeIntegerKey, writeMask } from '@weir/schema';
import { PolicyLoadError } from './errors.js';

/** Names of the kernel maps that take entries of a configuration. */
export type EntryMap =
  | 'string_masks'
  | 'integer_masks'
  | 'range_pages'
  | 'text_nodes'
  | 'selectors'
  | 'workloads'
  | 'lineage_configs'
  | 'lineage_strings'
  | 'lineage_pids'
  | 'lineage_seeds';

export interface MapEntry {
  readonly map: EntryMap;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Purposes of an integer_key. */
export const PURPOSE_VALUE = 0;
export const PURPOSE_UNDECIDED = 1;
export const PURPOSE_INTERVAL = 2;
export const PURPOSE_BITS = 3;
export const PURPOSE_BIT = 4;
export const PURPOSE_DEFAULT = 5;
export const PURPOSE_FOUND = 6;
/** Of a text that has lost its front, and is longer than all values: all is decided, or something is not. */
export const PURPOSE_LONGER = 7;
export const PURPOSE_LONGER_UNDECIDED = 8;

/** A mask as the kernel's maps hold it. @throws {PolicyLoadError} where a bit is beyond the width. */
export function encodeMask(mask: Mask): Uint8Array {
  const bytes = new Uint8Array(MASK_BYTES);
  writeMask(new DataView(bytes.buffer), 0, { words: maskWords(mask) });
  return bytes;
}

export function maskWords(mask: Mask): bigint[] {
  if (mask < 0n || mask >> BigInt(limits.selectors_per_hook) !== 0n) {
    throw new PolicyLoadError('limit', `a hook takes at most ${limits.selectors_per_hook} selectors`);
  }
  return Array.from({ length: limits.mask_words }, (_, i) => BigInt.asUintN(64, mask >> BigInt(64 * i)));
}

export function integerKey(dimensionId: number, purpose: number, value: bigint): Uint8Array {
  const key = new Uint8Array(INTEGER_KEY_BYTES);
  writeIntegerKey(new DataView(key.buffer), 0, { dimensionId, purpose, value });
  return key;
}
