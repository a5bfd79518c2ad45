// SPDX-License-Identifier: Apache-2.0
// Owns how the hash of a file is written: the name of its algorithm, a colon, and the digest in hexadecimal.
import type { ImaHashFacts } from '@weir/segment';

/** By the kernel's hash_algo: the name, and the bytes of a digest. */
const algorithms: Readonly<Record<number, readonly [name: string, bytes: number]>> = {
  0: ['md4', 16],
  1: ['md5', 16],
  2: ['sha1', 20],
  3: ['rmd160', 20],
  4: ['sha256', 32],
  5: ['sha384', 48],
  6: ['sha512', 64],
  7: ['sha224', 28],
  17: ['sm3', 32],
  18: ['streebog256', 32],
  19: ['streebog512', 64],
};

export function imaHashText({ algorithm, digest }: ImaHashFacts): string {
  const [name, bytes] = algorithms[algorithm] ?? [`algorithm ${algorithm}`, digest.length];
  return `${name}:${Buffer.from(digest.subarray(0, bytes)).toString('hex')}`;
}
