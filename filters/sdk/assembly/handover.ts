// SPDX-License-Identifier: Apache-2.0
// Owns handing state over to the next version of a filter. What is handed over are tables of numbers without any
// address in them, each known by its name, kind and size: what does not fit is not taken, and whatever is taken can
// do no more than be wrong.
//
//   table    STATES_MAX x 32   name's hash u64, kind u32, bytes u32, address u32, reserved u32, parameter u64
//   spans    the list that the host reads: the table, then the bytes of each state
import {
  filterSpanBytes,
  filterSpansBytes,
  setFilterSpanPiece,
  setFilterSpansCount,
} from './generated/layout';

const STATES_MAX: u32 = 16;
const ROW_BYTES: usize = 32;

const table: usize = memory.data(512, 8);
const spans: usize = memory.data(144, 8);
let count: u32 = 0;

function hashText(text: string): u64 {
  let hash: u64 = 0xcbf29ce484222325;
  for (let i = 0; i < text.length; i++) hash = (hash ^ <u64>text.charCodeAt(i)) * 0x100000001b3;
  return hash;
}

/** Has a state handed over, where it has a name. Traps where two have the same, or at the 17th. */
export function registerState(name: string, kind: u32, at: usize, bytes: u32, parameter: u64): void {
  if (name.length == 0) return;
  if (count >= STATES_MAX) throw new Error('more than 16 states with names');
  const hash = hashText(name);
  for (let i: u32 = 0; i < count; i++) {
    if (load<u64>(table + <usize>i * ROW_BYTES) == hash) throw new Error('two states of the name ' + name);
  }
  const row = table + <usize>count * ROW_BYTES;
  count++;
  store<u64>(row, hash);
  store<u32>(row, kind, 8);
  store<u32>(row, bytes, 12);
  store<u32>(row, <u32>at, 16);
  store<u32>(row, 0, 20);
  store<u64>(row, parameter, 24);
}

/** Where the list of what is handed over is, 0 where there is nothing. */
export function saveStates(): usize {
  if (count == 0) return 0;
  setFilterSpansCount(spans, 1 + count);
  const first = spans + filterSpansBytes;
  setFilterSpanPiece(first, <u32>table, STATES_MAX * <u32>ROW_BYTES);
  for (let i: u32 = 0; i < count; i++) {
    const row = table + <usize>i * ROW_BYTES;
    setFilterSpanPiece(first + (i + 1) * filterSpanBytes, load<u32>(row, 16), load<u32>(row, 12));
  }
  return spans;
}

/** Takes what an older version handed over: its pieces one after the other. Returns how many states were taken. */
export function restoreStates(at: usize, bytes: u32): i32 {
  let offset = STATES_MAX * <u32>ROW_BYTES;
  if (bytes < offset) return 0;
  let taken = 0;
  for (let i: u32 = 0; i < STATES_MAX; i++) {
    const old = at + <usize>i * ROW_BYTES;
    const length = load<u32>(old, 12);
    if (load<u64>(old) == 0 || length > bytes - offset) break;
    for (let n: u32 = 0; n < count; n++) {
      const row = table + <usize>n * ROW_BYTES;
      if (load<u64>(row) != load<u64>(old) || load<u64>(row, 8) != load<u64>(old, 8)) continue;
      memory.copy(load<u32>(row, 16), at + offset, length);
      taken++;
    }
    offset += length;
  }
  return taken;
}
