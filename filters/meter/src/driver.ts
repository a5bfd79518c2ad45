// SPDX-License-Identifier: Apache-2.0
// Owns the loop that is added to a filter: it calls `weir_filter` for one record after the other, each with fuel of its
// own, and keeps account of what they cost. Within the module, since a call from outside costs more than most filters do.
// What a filter may use so depends on the event alone, and not on what else lies in the batch.
//
//   run(call, verdicts, from, until, budget, share, capacity, spendMax) -> next
//     for each record from `from` to `until` whose byte at `verdicts` is 0 (others are passed over, which is taken down):
//       at = record; call.cursor = record; call.record_count = record + 1; call.annotation_count = 0
//       fuel = budget; answer = weir_filter(call); used = budget - fuel
//       spent += used
//       reserve = min(reserve + share - used, capacity)
//       verdict = its byte at `verdicts`, which is taken down: see latch.ts
//       stops behind this record where it answered, said something, its verdict is none, it took the reserve below 0 or
//       `spent` above `spendMax`
//
// `until` is at most `runEnd(from)`.
import { Writer } from './bytes.js';
import type { Within } from './emit.js';
import { I32_SHR_U, I64_OR, I64_SHL, I64_STORE, type Latch } from './latch.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';

/** Names of what a driven module exports on top. */
export const RUN_EXPORT = 'weir.run';
/** The record that was begun last. */
export const AT_EXPORT = 'weir.at';
/** What the filter answered last. */
export const ANSWER_EXPORT = 'weir.answer';
/** Fuel that is left beyond the average of events. */
export const RESERVE_EXPORT = 'weir.reserve';
/** Fuel of all calls that returned, since the host set it last. */
export const SPENT_EXPORT = 'weir.spent';
/** Writes over the verdicts what was taken down: see latch.ts. */
export const TOLD_EXPORT = 'weir.told';

/** Globals of the loop, all i32, in this order behind those of metering. */
export const driverGlobals = [AT_EXPORT, ANSWER_EXPORT, RESERVE_EXPORT, SPENT_EXPORT] as const;

/** Parameters of the loop, all i32; it gives the next record. */
export const DRIVER_TYPE = {
  parameters: new Array<number>(8).fill(Type.i32),
  results: [Type.i32],
} as const;

const I32_EQZ = 0x45;
const I32_LOAD = 0x28;
const I32_LOAD8_U = 0x2d;
const I32_STORE = 0x36;
const I32_AND = 0x71;
const I32_GE_U = 0x4f;
const I32_OR = 0x72;
const I32_WRAP = 0xa7;

/** What is called, and where in the struct that it is given the loop writes and reads. */
export interface Driven {
  /** Name of a function `(i32) -> (i32)` that the module exports. */
  name: string;
  /** u32: the record; right behind it, u32: how many annotations there are. */
  cursorAt: number;
  /** u32 */
  recordCountAt: number;
}

/** How the function that is driven is reached: by a call, or written into the loop, its parameter in a local. */
export type Callee = { index: number } | { within: (place: { base: number; given: number }) => Within };

export interface DriverPlaces {
  layout: Driven;
  /** Writes weir_filter, which takes its address from the stack and leaves its answer there. */
  filter: Callee;
  fuelGlobal: number;
  /** Index of the first of `driverGlobals`. */
  firstGlobal: number;
  latch: Latch;
}

/** The body of the loop, without its size. */
export function driverBody({ layout, filter, fuelGlobal, firstGlobal, latch }: DriverPlaces): Uint8Array {
  const [call, verdicts, from, until, budget, share, capacity, spendMax] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [used, reserve, spent, answer, base, place, verdict, dropped, given] = [
    8, 9, 10, 11, 12, 13, 14, 15, 16,
  ];
  const [atGlobal, answerGlobal, reserveGlobal, spentGlobal] = [0, 1, 2, 3].map(
    (index) => firstGlobal + index,
  ) as [number, number, number, number];
  const out = new Writer(256);
  const own = [...new Array<number>(7).fill(Type.i32), Type.i64, Type.i64];
  const free = DRIVER_TYPE.parameters.length + own.length;
  // Its parameter is one of the locals then.
  const within = 'within' in filter ? filter.within({ base: free, given }) : undefined;
  const locals = within === undefined ? own : [...own, Type.i32, ...within.locals];
  const get = (local: number) => out.byte(Op.localGet).u32(local);
  const put = (local: number) => out.byte(Op.localSet).u32(local);
  const tee = (local: number) => out.byte(Op.localTee).u32(local);
  const getGlobal = (global: number) => out.byte(Op.globalGet).u32(global);
  const putGlobal = (global: number) => out.byte(Op.globalSet).u32(global);
  const number = (value: number) => out.byte(Op.i32Const).signed(value);
  const memory = (op: number, align: number, offset: number) => out.byte(op).u32(align).u32(offset);

  out.u32(locals.length);
  for (const type of locals) out.u32(1).byte(type);
  getGlobal(reserveGlobal);
  put(reserve);
  getGlobal(spentGlobal);
  put(spent);
  get(budget);
  out.byte(Op.i64ExtendI32U);
  put(given);
  get(from);
  number(6);
  out.byte(I32_SHR_U);
  put(base);
  // Begins the first word: it is none of those before.
  number(-1);
  out.byte(Op.call).u32(latch.putAway);
  out.byte(Op.block).byte(EMPTY_BLOCK).byte(Op.loop).byte(EMPTY_BLOCK);
  // if (from >= until) break
  get(from);
  get(until);
  out.byte(I32_GE_U).byte(Op.brIf).u32(1);
  // if ((from & 63) == 0) the next word begins, and the one before is put away, if it is of this run
  get(from);
  number(63);
  out.byte(I32_AND).byte(I32_EQZ).byte(Op.if).byte(EMPTY_BLOCK);
  get(from);
  number(6);
  out.byte(I32_SHR_U);
  get(base);
  out.byte(Op.i32Sub);
  number(1);
  out.byte(Op.i32Sub).byte(Op.call).u32(latch.putAway);
  out.byte(Op.i64Const).signed(0);
  put(dropped);
  out.byte(Op.end);
  // if (verdicts[from] != 0) { passed |= 1 << from; from++; continue }
  get(verdicts);
  get(from);
  out.byte(Op.i32Add);
  tee(place);
  memory(I32_LOAD8_U, 0, 0);
  out.byte(Op.if).byte(EMPTY_BLOCK);
  getGlobal(latch.passed);
  out.byte(Op.i64Const).signed(1);
  get(from);
  out.byte(Op.i64ExtendI32U).byte(I64_SHL).byte(I64_OR);
  putGlobal(latch.passed);
  get(from);
  number(1);
  out.byte(Op.i32Add);
  put(from);
  out.byte(Op.br).u32(1).byte(Op.end);
  get(from);
  putGlobal(atGlobal);
  // cursor = from, annotation_count = 0
  get(call);
  get(from);
  out.byte(Op.i64ExtendI32U);
  memory(I64_STORE, 3, layout.cursorAt);
  // record_count = from + 1, and on to the next
  get(call);
  get(from);
  number(1);
  out.byte(Op.i32Add);
  tee(from);
  memory(I32_STORE, 2, layout.recordCountAt);
  if (within === undefined) {
    get(given);
    putGlobal(fuelGlobal);
    get(call);
    out.byte(Op.call).u32((filter as { index: number }).index);
  } else {
    get(call);
    put(free);
    out.raw(within.code);
  }
  put(answer);
  // used = budget - fuel; spent += used
  get(spent);
  get(budget);
  getGlobal(fuelGlobal);
  out.byte(I32_WRAP).byte(Op.i32Sub);
  tee(used);
  out.byte(Op.i32Add);
  tee(spent);
  putGlobal(spentGlobal);
  // reserve = min(reserve + share - used, capacity)
  get(reserve);
  get(share);
  out.byte(Op.i32Add);
  get(used);
  out.byte(Op.i32Sub);
  tee(reserve);
  get(capacity);
  get(reserve);
  get(capacity);
  out.byte(Op.i32LtS).byte(Op.select);
  tee(reserve);
  putGlobal(reserveGlobal);
  // dropped |= verdict << record, which is from - 1 by now
  get(dropped);
  get(place);
  memory(I32_LOAD8_U, 0, 0);
  tee(verdict);
  number(1);
  out.byte(I32_AND).byte(Op.i64ExtendI32U);
  get(from);
  number(1);
  out.byte(Op.i32Sub).byte(Op.i64ExtendI32U).byte(I64_SHL).byte(I64_OR);
  tee(dropped);
  putGlobal(latch.dropped);
  // Goes on where it said nothing that is not a verdict, and nothing is used up.
  get(verdict);
  number(1);
  out.byte(I32_SHR_U);
  get(answer);
  out.byte(I32_OR);
  get(call);
  memory(I32_LOAD, 2, layout.cursorAt + 4);
  out.byte(I32_OR);
  get(reserve);
  get(spendMax);
  get(spent);
  out.byte(Op.i32Sub).byte(I32_OR);
  number(0);
  out.byte(Op.i32LtS).byte(I32_OR);
  out.byte(I32_EQZ).byte(Op.brIf).u32(0);
  out.byte(Op.end).byte(Op.end);
  get(answer);
  putGlobal(answerGlobal);
  get(from);
  return out.byte(Op.end).bytes.slice();
}
