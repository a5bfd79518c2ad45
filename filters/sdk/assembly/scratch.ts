// SPDX-License-Identifier: Apache-2.0
// Owns text that is no literal, until the host has read it at the end of the call.
//
//   scratch   SCRATCH_BYTES   emptied before each event; there is room for all that one may write
import { Bytes, viewOf } from './bytes';
import { writeNumber } from './text';

/** The most that one event writes: 64 names and 64 values of labels, and what it formats. */
const SCRATCH_BYTES: u32 = 22_528;
const FORMATTED_BYTES: u32 = 2048;

const scratch: usize = memory.data(22528, 8);

let used: u32 = 0;
let formatted: u32 = 0;

export function openScratch(): void {
  used = 0;
  formatted = 0;
}

export function scratchUsed(): u32 {
  return used;
}

/** Where the next text goes, of `most` bytes. Traps where one event, or all of loading, writes more than there is room for. */
export function scratchAt(most: u32): usize {
  if (used + most > SCRATCH_BYTES) throw new Error('one event writes more than 22528 bytes of text');
  return scratch + used;
}

export function takeScratch(bytes: u32): void {
  used += bytes;
}

/** Room for text that the SDK formats. Traps where one event formats more than 2048 bytes. */
export function formatAt(most: u32): usize {
  if (formatted + most > FORMATTED_BYTES || used + most > SCRATCH_BYTES) {
    throw new Error('one event formats more than 2048 bytes of text');
  }
  return scratch + used;
}

export function takeFormatted(at: usize, bytes: u32): Bytes {
  formatted += bytes;
  used += bytes;
  return viewOf(at, 0, bytes);
}

/** A number in decimal, for a label: `keep().label('port', decimal(socket.destinationPort))`. */
export function decimal(value: i64): Bytes {
  const at = formatAt(20);
  return takeFormatted(at, writeNumber(value, at, 20));
}
