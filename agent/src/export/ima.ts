// SPDX-License-Identifier: Apache-2.0
// Owns how the hash of a file is written: the name of its algorithm, a colon, and the digest in hexadecimal.
import { hashAlgorithms } from '@weir/schema';
import type { ImaHashFacts } from '@weir/segment';

export function imaHashText({ algorithm, digest }: ImaHashFacts): string {
  const known = hashAlgorithms.get(algorithm);
  const bytes = Buffer.from(digest.subarray(0, known?.digestBytes ?? digest.length));
  return `${known?.name ?? `algorithm ${algorithm}`}:${bytes.toString('hex')}`;
}
