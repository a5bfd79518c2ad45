// SPDX-License-Identifier: Apache-2.0
// Owns what metering knows of each instruction: how it changes the height of the operand stack, what it costs, and
// whether it can make a NaN. An instruction behind a prefix has the number `prefix << 8 | opcode`.

export const Op = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  drop: 0x1a,
  select: 0x1b,
  selectTyped: 0x1c,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  tableGet: 0x25,
  tableSet: 0x26,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32LtS: 0x48,
  i64LtS: 0x53,
  f32Eq: 0x5b,
  f64Eq: 0x61,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64ShrU: 0x88,
  i64ExtendI32U: 0xad,
  refNull: 0xd0,
  refIsNull: 0xd1,
  refFunc: 0xd2,
  memoryInit: 0xfc08,
  dataDrop: 0xfc09,
  memoryCopy: 0xfc0a,
  memoryFill: 0xfc0b,
  tableInit: 0xfc0c,
  elemDrop: 0xfc0d,
  tableCopy: 0xfc0e,
  tableGrow: 0xfc0f,
  tableSize: 0xfc10,
  tableFill: 0xfc11,
  v128Const: 0xfd0c,
  v128Bitselect: 0xfd52,
  f32x4Eq: 0xfd41,
  f64x2Eq: 0xfd47,
} as const;

export const Type = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;
export const EMPTY_BLOCK = 0x40;

function set(...ranges: (number | readonly [number, number])[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const range of ranges) {
    if (typeof range === 'number') table[range] = 1;
    else table.fill(1, range[0], range[1] + 1);
  }
  return table;
}

/** Numeric instructions (0x45 to 0xc4) that take one operand; the others take two. */
const unary = set(0x45, 0x50, [0x67, 0x69], [0x79, 0x7b], [0x8b, 0x91], [0x99, 0x9f], [0xa7, 0xc4]);

/** Numbers behind 0xfd that mean nothing. */
export const simdHoles = set(
  ...[0x9a, 0xa2, 0xa5, 0xa6, 0xaf, 0xb0, 0xb2, 0xb3, 0xb4, 0xbb, 0xc2, 0xc5, 0xc6, 0xcf, 0xd0, 0xd2, 0xd3],
  ...[0xd4, 0xe2, 0xee],
);

/** Instructions behind 0xfd that leave the stack as high as it was. */
const simdLevel = set(
  ...([
    [0x00, 0x0a],
    [0x0f, 0x16],
  ] as const),
  ...[0x18, 0x19, 0x1b, 0x1d, 0x1f, 0x21, 0x4d, 0x53],
  ...([
    [0x5c, 0x64],
    [0x67, 0x6a],
    [0x74, 0x75],
    [0x7c, 0x81],
    [0x83, 0x84],
    [0x87, 0x8a],
  ] as const),
  ...[0x7a, 0x94, 0xa0, 0xa1, 0xa3, 0xa4, 0xc0, 0xc1, 0xc3, 0xc4],
  ...([
    [0xa7, 0xaa],
    [0xc7, 0xca],
  ] as const),
  ...[0xe0, 0xe1, 0xe3, 0xec, 0xed, 0xef],
  [0xf8, 0xff],
);

/**
 * How a plain instruction changes the height of the stack. Control instructions and calls, for which that hangs on
 * types, are for the caller.
 */
export function heightChange(op: number): number {
  if (op >= 0x45 && op <= 0xc4) return unary[op] === 1 ? 0 : -1;
  if (op >= 0x28 && op <= 0x35) return 0;
  if (op >= 0x36 && op <= 0x3e) return -2;
  if (op >= 0xfd00) {
    const sub = op & 0xff;
    if (sub === 0x0c) return 1;
    if (sub === 0x0b || sub === 0x52 || (sub >= 0x58 && sub <= 0x5b)) return -2;
    return simdLevel[sub] === 1 ? 0 : -1;
  }
  switch (op) {
    case Op.localGet:
    case Op.globalGet:
    case Op.i32Const:
    case Op.i64Const:
    case Op.f32Const:
    case Op.f64Const:
    case Op.memorySize:
    case Op.tableSize:
    case Op.refNull:
    case Op.refFunc:
      return 1;
    case Op.drop:
    case Op.localSet:
    case Op.globalSet:
    case Op.tableGrow:
      return -1;
    case Op.select:
    case Op.selectTyped:
    case Op.tableSet:
      return -2;
    case Op.memoryInit:
    case Op.memoryCopy:
    case Op.memoryFill:
    case Op.tableInit:
    case Op.tableCopy:
    case Op.tableFill:
      return -3;
    default:
      // nop, tee, grow, table.get, is_null, saturating conversion, drops of segments.
      return 0;
  }
}

/** Whether it makes a value out of values alone, so that an engine may keep the value for a second use. */
export function isPure(op: number): boolean {
  return (op >= 0x45 && op <= 0xc4) || (op >= 0xfc00 && op <= 0xfc07) || op >= 0xfd0c;
}

// Costs are such that no instruction takes much longer for a unit than the others do: with fuel for a fifth of a
// second in ordinary code, a module must not be able to run for minutes. `npm run bench -- meter` measures it.

/** What a turn of a loop costs beyond what it runs: a jump and the check of the fuel itself. */
export const TURN_COST = 4;
/** What a call costs beyond what it runs; what an imported function costs. */
export const CALL_COST = 8;
export const INDIRECT_COST = 16;
export const IMPORT_COST = 1000;

/** i32 and i64 division, division and square roots of floats. */
const divisions = set([0x6d, 0x70], [0x7f, 0x82], 0x91, 0x95, 0x9f, 0xa3);
/** The same in vectors. */
const vectorDivisions = set(0xe3, 0xe7, 0xef, 0xf3);
const DIVISION_COST = 16;
/** In vectors, what takes an engine several instructions: rounding, least and greatest of floats, conversion, products of 64 bits. */
const vectorLong = set(
  ...([
    [0x67, 0x6a],
    [0xe8, 0xe9],
    [0xf4, 0xf5],
    [0xf8, 0xff],
  ] as const),
  ...[0x62, 0x74, 0x75, 0x7a, 0x94, 0xd5],
);
/** Between floats and whole numbers, checked for what does not fit. */
const conversions = set([0xa8, 0xab], [0xae, 0xb1]);
const LONG_COST = 6;

/** Units of fuel of an instruction, without what hangs on its operands. */
export function baseCost(op: number): number {
  switch (op) {
    case Op.nop:
    case Op.block:
    case Op.loop:
    case Op.else:
    case Op.end:
      return 0;
    case Op.brTable:
      return 3;
    case Op.memoryGrow:
    case Op.tableGrow:
      return 2000;
    case Op.memoryInit:
    case Op.memoryCopy:
    case Op.memoryFill:
    case Op.tableInit:
    case Op.tableCopy:
    case Op.tableFill:
    case Op.dataDrop:
    case Op.elemDrop:
      return 40;
    case Op.tableGet:
    case Op.tableSet:
    case Op.refFunc:
      return 20;
    default:
      if (op < 256) return divisions[op] === 1 ? DIVISION_COST : conversions[op] === 1 ? LONG_COST : 1;
      if (op < 0xfd00) return LONG_COST;
      return vectorDivisions[op & 0xff] === 1 ? DIVISION_COST : vectorLong[op & 0xff] === 1 ? LONG_COST : 1;
  }
}

/** Units for each page, and each element, that an instruction with a length on top of the stack works on; bytes go by 2^4. */
export const PAGE_COST = 4096;
export const ELEMENT_COST = 64;
export const BULK_BYTES_SHIFT = 4;

export type Bulk = 'bytes' | 'pages' | 'elements';

export function bulkOf(op: number): Bulk | undefined {
  switch (op) {
    case Op.memoryInit:
    case Op.memoryCopy:
    case Op.memoryFill:
      return 'bytes';
    case Op.memoryGrow:
      return 'pages';
    case Op.tableInit:
    case Op.tableCopy:
    case Op.tableGrow:
    case Op.tableFill:
      return 'elements';
    default:
      return undefined;
  }
}

/** What can hold a NaN made by an instruction: nothing, or one of the shapes that are made canonical. */
export const Nan = { none: 0, f32: 1, f64: 2, f32x4: 3, f64x2: 4 } as const;

const makesF32 = set([0x8d, 0x97], 0xb6);
const makesF64 = set([0x9b, 0xa5], 0xbb);
const makesF32x4 = set(0x5e, [0x67, 0x6a], 0xe3, [0xe4, 0xe9]);
const makesF64x2 = set(0x5f, 0x74, 0x75, 0x7a, 0x94, 0xef, [0xf0, 0xf5]);

/**
 * Whether the bits of a NaN that it makes are left to the engine. Of f32 0x8d to 0x97 and f64 0x9b to 0xa5 (ceil to
 * max; before these lie abs and neg, after them copysign, which move bits only), and the conversions between both.
 */
export function nanOf(op: number): number {
  if (op < 256) return makesF32[op] === 1 ? Nan.f32 : makesF64[op] === 1 ? Nan.f64 : Nan.none;
  if (op < 0xfd00) return Nan.none;
  const sub = op & 0xff;
  return makesF32x4[sub] === 1 ? Nan.f32x4 : makesF64x2[sub] === 1 ? Nan.f64x2 : Nan.none;
}

const ignoresNanOfF32 = set([0x5b, 0x60], [0xa8, 0xa9], [0xae, 0xaf]);
const ignoresNanOfF64 = set([0x61, 0x66], [0xaa, 0xab], [0xb0, 0xb1]);

/**
 * Whether an instruction that takes the value from the top of the stack cannot tell one NaN from another: it makes
 * a NaN that is itself made canonical, or compares, converts to an integer, or drops.
 */
export function ignoresNanBits(nan: number, op: number): boolean {
  if (op === Op.drop) return true;
  if (nan === Nan.f32) {
    if (op < 256) return ignoresNanOfF32[op] === 1 || (makesF32[op] === 1 && op !== 0xb6) || op === 0xbb;
    return op === 0xfc00 || op === 0xfc01 || op === 0xfc04 || op === 0xfc05;
  }
  if (nan === Nan.f64) {
    if (op < 256) return ignoresNanOfF64[op] === 1 || (makesF64[op] === 1 && op !== 0xbb) || op === 0xb6;
    return op === 0xfc02 || op === 0xfc03 || op === 0xfc06 || op === 0xfc07;
  }
  return false;
}
