// SPDX-License-Identifier: Apache-2.0
// Owns the algorithms by which the kernel hashes files (enum hash_algo): their names, and how long their digests are.

export interface HashAlgorithm {
  readonly name: string;
  readonly digestBytes: number;
}

/** By the kernel's number. */
export const hashAlgorithms: ReadonlyMap<number, HashAlgorithm> = new Map(
  (
    [
      [0, 'md4', 16],
      [1, 'md5', 16],
      [2, 'sha1', 20],
      [3, 'rmd160', 20],
      [4, 'sha256', 32],
      [5, 'sha384', 48],
      [6, 'sha512', 64],
      [7, 'sha224', 28],
      [17, 'sm3', 32],
      [18, 'streebog256', 32],
      [19, 'streebog512', 64],
    ] as const
  ).map(([number, name, digestBytes]) => [number, { name, digestBytes }]),
);
