// SPDX-License-Identifier: Apache-2.0
// Owns the types of files as policies name them, with their numbers: bits 12 to 15 of an inode's mode.

const numbers = {
  reg: 8,
  regular: 8,
  dir: 4,
  directory: 4,
  lnk: 10,
  link: 10,
  symlink: 10,
  blk: 6,
  block: 6,
  chr: 2,
  char: 2,
  fifo: 1,
  pipe: 1,
  sock: 12,
  socket: 12,
} as const;

export const fileTypes: readonly string[] = Object.keys(numbers);

/** The number of a type of file; undefined where it is none. */
export function fileTypeNumber(name: string): bigint | undefined {
  const found = Object.entries(numbers).find(([known]) => known === name.toLowerCase());
  return found === undefined ? undefined : BigInt(found[1]);
}
