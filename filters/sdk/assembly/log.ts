// SPDX-License-Identifier: Apache-2.0
// Owns a filter's log lines and its abort. The host allows a few lines a batch and counts the rest.
import { log } from './weir';
import { writeText } from './text';

const LINE_BYTES: u32 = 512;
const line: usize = memory.data(512, 8);

function write(level: i32, text: string): void {
  log(level, line, <i32>writeText(text, line, LINE_BYTES));
}

export function debug(text: string): void {
  write(0, text);
}

export function info(text: string): void {
  write(1, text);
}

export function warn(text: string): void {
  write(2, text);
}

function writeNumber(value: u32, to: usize, most: u32): u32 {
  let digits: u32 = 1;
  for (let rest = value / 10; rest > 0; rest /= 10) digits++;
  if (digits > most) return 0;
  let rest = value;
  for (let i = digits; i > 0; i--) {
    store<u8>(to + i - 1, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  }
  return digits;
}

/** Takes the place of AssemblyScript's abort: tells the host why, then traps. Allocates nothing. */
export function weirAbort(message: string | null, file: string | null, row: u32, column: u32): void {
  let bytes: u32 = 0;
  if (message !== null) bytes += writeText(message, line, LINE_BYTES);
  if (file !== null) {
    bytes += writeText(' at ', line + bytes, LINE_BYTES - bytes);
    bytes += writeText(file, line + bytes, LINE_BYTES - bytes);
    bytes += writeText(':', line + bytes, LINE_BYTES - bytes);
    bytes += writeNumber(row, line + bytes, LINE_BYTES - bytes);
    bytes += writeText(':', line + bytes, LINE_BYTES - bytes);
    bytes += writeNumber(column, line + bytes, LINE_BYTES - bytes);
  }
  log(4, line, <i32>bytes);
  unreachable();
}
