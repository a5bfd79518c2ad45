// SPDX-License-Identifier: Apache-2.0
// Owns a sealed segment that waits for upload.
import { readFile } from 'node:fs/promises';
import type { ChainLink } from '@weir/segment';

export interface SealedSegment extends ChainLink {
  readonly recordCount: number;
  readonly byteLength: number;
  readonly path: string;
  /** The bytes, read anew at each call. */
  read(): Promise<Uint8Array>;
}

export function ready(
  fields: ChainLink & { readonly recordCount: number; readonly path: string },
  byteLength: number,
): SealedSegment {
  return { ...fields, byteLength, read: () => readFile(fields.path) };
}
