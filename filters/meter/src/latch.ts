// SPDX-License-Identifier: Apache-2.0
// Owns what became of each record while the loop of driver.ts ran: dropped, passed over, or neither. The filter writes its
// verdicts into its own memory, where it could change them later on; so the loop takes each down behind its record, in
// globals, which are out of the filter's reach, a bit a record:
//
//   dropped, passed       i64   of the 64 records that the loop is among
//   word 0 .. WINDOW-1    i64   of the 64s before, since the run began: one pair each
//
// and `told` writes them over the verdict bytes when the run has ended, in whatever way: nobody but the host comes
// between that and its reading. Records count from the start of the batch; a word has those that share `record >> 6`.
import { Writer } from './bytes.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';

/** Words of 64 records that are taken down in one run. */
const WINDOW = 64;

/** How far a run that begins with a record may go. */
export function runEnd(from: number): number {
  return ((from >>> 6) + WINDOW) << 6;
}

export const I32_SHR_U = 0x76;
export const I64_OR = 0x84;
export const I64_SHL = 0x86;
export const I64_STORE = 0x37;
const I32_AND = 0x71;
const I32_GT_U = 0x4b;
const I32_GE_U = 0x4f;
const I32_SHL = 0x74;
const I32_WRAP = 0xa7;
const I64_POPCNT = 0x7b;
const I64_ADD = 0x7c;
const I64_AND = 0x83;
const I64_XOR = 0x85;

const I64_LOAD = 0x29;

/** Bytes of a verdict: of what is dropped, and of what was passed over. */
const DROP = 1n;
const SKIP = 255n;
const EACH_BYTE = 0x0101010101010101n;
/** Bit n of byte n. */
const DIAGONAL = 0x8040201008040201n;
const ALMOST = 0x7f7f7f7f7f7f7f7fn;

/** Globals of the latch, all i64: the two of the word at hand, and two a word before. */
export const LATCH_GLOBALS = 2 + 2 * WINDOW;

/** Types of its functions, in their order. */
export const latchTypes = [
  { parameters: [Type.i32], results: [] },
  { parameters: [Type.i32], results: [] },
  { parameters: [Type.i32, Type.i32, Type.i32], results: [Type.i32] },
] as const;

export interface Latch {
  /** Global of the word at hand of what was dropped. */
  dropped: number;
  /** The same of what was passed over. */
  passed: number;
  /** Function: puts the word at hand away as word `n` of the run, if that is one, and begins the next. */
  putAway: number;
  /** Function: takes word `n` out again. */
  takeOut: number;
  /**
   * Function (verdicts, from, next) -> counts: writes what was taken down of these records over their verdicts; in the low
   * half how many were dropped, in the high half how many were passed over.
   */
  told: number;
}

export function latchAt(firstGlobal: number, firstFunction: number): Latch {
  return {
    dropped: firstGlobal,
    passed: firstGlobal + 1,
    putAway: firstFunction,
    takeOut: firstFunction + 1,
    told: firstFunction + 2,
  };
}

/** The bodies of its functions, without their sizes. */
export function latchBodies(latch: Latch): Uint8Array[] {
  return [putAwayBody(latch), takeOutBody(latch), toldBody(latch)];
}

/** Does one of WINDOW things by the first parameter, and nothing where it is none of them. */
function choose(out: Writer, thing: (word: number) => void): void {
  for (let word = 0; word <= WINDOW; word++) out.byte(Op.block).byte(EMPTY_BLOCK);
  out.byte(Op.localGet).u32(0).byte(Op.brTable).u32(WINDOW);
  for (let word = 0; word <= WINDOW; word++) out.u32(word);
  for (let word = 0; word < WINDOW; word++) {
    out.byte(Op.end);
    thing(word);
    out.byte(Op.br).u32(WINDOW - 1 - word);
  }
  out.byte(Op.end);
}

function wordOf(latch: Latch, word: number): number {
  return latch.dropped + 2 + 2 * word;
}

function putAwayBody(latch: Latch): Uint8Array {
  const out = new Writer(1024).u32(0);
  choose(out, (word) => {
    out.byte(Op.globalGet).u32(latch.dropped).byte(Op.globalSet).u32(wordOf(latch, word));
    out
      .byte(Op.globalGet)
      .u32(latch.passed)
      .byte(Op.globalSet)
      .u32(wordOf(latch, word) + 1);
  });
  out.byte(Op.i64Const).signed(0).byte(Op.globalSet).u32(latch.dropped);
  out.byte(Op.i64Const).signed(0).byte(Op.globalSet).u32(latch.passed);
  return out.byte(Op.end).bytes.slice();
}

function takeOutBody(latch: Latch): Uint8Array {
  const out = new Writer(1024).u32(0);
  choose(out, (word) => {
    out.byte(Op.globalGet).u32(wordOf(latch, word)).byte(Op.globalSet).u32(latch.dropped);
    out
      .byte(Op.globalGet)
      .u32(wordOf(latch, word) + 1)
      .byte(Op.globalSet)
      .u32(latch.passed);
  });
  return out.byte(Op.end).bytes.slice();
}

/** Eight records at a time: their eight bits become eight bytes. */
function toldBody(latch: Latch): Uint8Array {
  const [verdicts, from, next, group, counts, place, value, mask] = [0, 1, 2, 3, 4, 5, 6, 7];
  const out = new Writer(256).u32(2).u32(3).byte(Type.i32).u32(2).byte(Type.i64);
  const get = (local: number) => out.byte(Op.localGet).u32(local);
  const number = (value: number) => out.byte(Op.i32Const).signed(value);
  const long = (value: bigint) => out.byte(Op.i64Const).signed(BigInt.asIntN(64, value));
  /** How many words lie between the one of `from` and the one on top of the stack. */
  const sinceFrom = () => {
    get(from);
    number(6);
    out.byte(I32_SHR_U).byte(Op.i32Sub);
  };
  /** A byte of `value` for each bit of the group's that is set. */
  const spread = (global: number, value: bigint) => {
    out.byte(Op.globalGet).u32(global);
    get(group);
    number(7);
    out.byte(I32_AND);
    number(3);
    out.byte(I32_SHL).byte(Op.i64ExtendI32U).byte(Op.i64ShrU);
    long(255n);
    out.byte(I64_AND);
    long(EACH_BYTE);
    out.byte(Op.i64Mul);
    long(DIAGONAL);
    out.byte(I64_AND);
    // The one bit of each byte, wherever it is, carries into the highest.
    long(ALMOST);
    out.byte(I64_ADD);
    long(7n);
    out.byte(Op.i64ShrU);
    long(EACH_BYTE);
    out.byte(I64_AND);
    if (value !== DROP) {
      long(value);
      out.byte(Op.i64Mul);
    }
  };
  // The word at hand is the last one.
  get(next);
  number(1);
  out.byte(Op.i32Sub);
  number(6);
  out.byte(I32_SHR_U);
  sinceFrom();
  out.byte(Op.call).u32(latch.putAway);
  // From the beginning of the first word on: what lies in it before the run has been read.
  get(from);
  number(6);
  out.byte(I32_SHR_U);
  number(3);
  out.byte(I32_SHL).byte(Op.localSet).u32(group);
  out.byte(Op.block).byte(EMPTY_BLOCK).byte(Op.loop).byte(EMPTY_BLOCK);
  // while (group * 8 < next)
  get(group);
  number(3);
  out.byte(I32_SHL);
  get(next);
  out.byte(I32_GE_U).byte(Op.brIf).u32(1);
  get(group);
  number(7);
  out.byte(I32_AND).byte(0x45).byte(Op.if).byte(EMPTY_BLOCK);
  get(group);
  number(3);
  out.byte(I32_SHR_U);
  sinceFrom();
  out.byte(Op.call).u32(latch.takeOut);
  // counts += bits of dropped + (bits of passed << 16)
  get(counts);
  out.byte(Op.globalGet).u32(latch.dropped).byte(I64_POPCNT).byte(I32_WRAP).byte(Op.i32Add);
  out.byte(Op.globalGet).u32(latch.passed).byte(I64_POPCNT).byte(I32_WRAP);
  number(16);
  out.byte(I32_SHL).byte(Op.i32Add).byte(Op.localSet).u32(counts).byte(Op.end);
  get(verdicts);
  get(group);
  number(3);
  out.byte(I32_SHL).byte(Op.i32Add).byte(Op.localSet).u32(place);
  spread(latch.dropped, DROP);
  spread(latch.passed, SKIP);
  out.byte(I64_OR).byte(Op.localSet).u32(value);
  // if (group * 8 + 8 > next) the rest of its records stays as it is: value = value & mask | ~mask & what is there
  get(group);
  number(3);
  out.byte(I32_SHL);
  number(8);
  out.byte(Op.i32Add);
  get(next);
  out.byte(I32_GT_U).byte(Op.if).byte(EMPTY_BLOCK);
  long(1n);
  get(next);
  number(7);
  out.byte(I32_AND);
  number(3);
  out.byte(I32_SHL).byte(Op.i64ExtendI32U).byte(I64_SHL);
  long(1n);
  out.byte(Op.i64Sub).byte(Op.localSet).u32(mask);
  get(value);
  get(mask);
  out.byte(I64_AND);
  get(place);
  out.byte(I64_LOAD).u32(3).u32(0);
  get(mask);
  long(-1n);
  out.byte(I64_XOR).byte(I64_AND).byte(I64_OR).byte(Op.localSet).u32(value).byte(Op.end);
  get(place);
  get(value);
  out.byte(I64_STORE).u32(3).u32(0);
  get(group);
  number(1);
  out.byte(Op.i32Add).byte(Op.localSet).u32(group);
  out.byte(Op.br).u32(0).byte(Op.end).byte(Op.end);
  get(counts);
  return out.byte(Op.end).bytes.slice();
}
