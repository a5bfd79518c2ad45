// SPDX-License-Identifier: Apache-2.0
// Owns the first walk over a function: whom it calls, whether it loops, and how large its frame can be on the
// engine's stack.
import { Reader } from './bytes.js';
import { Decoder, valueType } from './decode.js';
import { MeterError } from './error.js';
import { type Body, type FunctionType, functionType, type ModuleShape, typeOf } from './module.js';
import { bulkOf, heightChange, isPure, Op, Type } from './opcodes.js';

export interface FunctionScan {
  body: Body;
  type: FunctionType;
  /** Offset of the first instruction. */
  codeStart: number;
  /** Bytes of the declared groups of locals, and how many groups. */
  groupsStart: number;
  groups: number;
  /** Parameters and locals. */
  locals: number;
  /** Functions that the module defines, by their place among these. */
  callees: Set<number>;
  callsIndirectly: boolean;
  loops: boolean;
  /** Has an instruction whose cost hangs on a length. */
  bulk: boolean;
  /** A bound on the values that an engine may have to keep in the frame at once, in words of 8 bytes. */
  frameWords: number;
}

/** Nested blocks of one function. */
const NESTING_MAX = 4096;

function blockTypeOf(shape: ModuleShape, blockType: number, at: number): FunctionType {
  if (blockType >= 0) return typeOf(shape, blockType, at);
  if (blockType === Decoder.EMPTY) return { parameters: [], results: [] };
  return { parameters: [], results: [-blockType] };
}

interface Block {
  base: number;
  type: FunctionType;
}

const words = (types: readonly number[]): number =>
  types.reduce((sum, type) => sum + (type === Type.v128 ? 2 : 1), 0);

export function scanFunction(shape: ModuleShape, which: number, localsMax: number): FunctionScan {
  const body = shape.bodies[which] as Body;
  const reader = new Reader(shape.bytes, body.start, body.end);
  const type = typeOf(shape, shape.functions[which] as number, body.start);
  let locals = type.parameters.length;
  let localWords = words(type.parameters);
  const groups = reader.u32('a count of groups of locals');
  const groupsStart = reader.at;
  for (let left = groups; left > 0; left--) {
    const at = reader.at;
    const some = reader.u32('a count of locals');
    locals += some;
    if (locals > localsMax) {
      throw new MeterError('limit', at, `a function has more than ${localsMax} locals`);
    }
    localWords += valueType(reader) === Type.v128 ? some * 2 : some;
  }
  const scan: FunctionScan = {
    body,
    type,
    codeStart: reader.at,
    groupsStart,
    groups,
    locals,
    callees: new Set(),
    callsIndirectly: false,
    loops: false,
    bulk: false,
    frameWords: 0,
  };
  const walked = walk(shape, scan, new Decoder(reader));
  if (!reader.done) throw new MeterError('malformed', reader.at, 'instructions follow the end of a function');
  // An engine may keep a value that is made twice for its second use: at most every second pure instruction.
  const operandWords = (walked.height + Math.ceil(walked.pure / 2)) * (walked.simd ? 2 : 1);
  scan.frameWords = localWords + words(type.results) + operandWords;
  return scan;
}

function walk(
  shape: ModuleShape,
  scan: FunctionScan,
  decoder: Decoder,
): { height: number; pure: number; simd: boolean } {
  const blocks: Block[] = [{ base: 0, type: scan.type }];
  const imported = shape.importedFunctions.length;
  let height = 0;
  let highest = 0;
  let pure = 0;
  let simd = false;
  for (;;) {
    const op = decoder.next();
    if (isPure(op)) pure++;
    if (op >= 0xfd00) simd = true;
    if (bulkOf(op) !== undefined) scan.bulk = true;
    const block = blocks[blocks.length - 1] as Block;
    switch (op) {
      case Op.block:
      case Op.loop:
      case Op.if: {
        if (op === Op.loop) scan.loops = true;
        if (op === Op.if) height--;
        const type = blockTypeOf(shape, decoder.blockType, decoder.at);
        if (blocks.length > NESTING_MAX) {
          throw new MeterError('limit', decoder.at, `blocks nest deeper than ${NESTING_MAX}`);
        }
        blocks.push({ base: Math.max(height - type.parameters.length, block.base), type });
        break;
      }
      case Op.else:
        height = block.base + block.type.parameters.length;
        break;
      case Op.end:
        blocks.pop();
        if (blocks.length === 0) return { height: highest, pure, simd };
        height = block.base + block.type.results.length;
        break;
      case Op.brTable:
      case Op.br:
      case Op.return:
      case Op.unreachable:
        // What follows is never run; its operands come from nowhere.
        height = block.base;
        break;
      case Op.brIf:
        height--;
        break;
      case Op.call:
      case Op.callIndirect: {
        if (op === Op.call && decoder.index >= imported) scan.callees.add(decoder.index - imported);
        if (op === Op.callIndirect) scan.callsIndirectly = true;
        const type =
          op === Op.call
            ? functionType(shape, decoder.index, decoder.at)
            : typeOf(shape, decoder.index, decoder.at);
        height += type.results.length - type.parameters.length - (op === Op.callIndirect ? 1 : 0);
        break;
      }
      case Op.refFunc:
        shape.referenced.add(decoder.index);
        height++;
        break;
      default:
        height += heightChange(op);
    }
    const base = (blocks[blocks.length - 1] as Block).base;
    if (height < base) height = base;
    if (height > highest) highest = height;
  }
}

/** Types of a function's locals behind its parameters, in their order. */
export function declaredLocals(shape: ModuleShape, scan: FunctionScan): number[] {
  const reader = new Reader(shape.bytes, scan.groupsStart, scan.codeStart);
  const types: number[] = [];
  while (!reader.done) {
    const some = reader.u32('a count of locals');
    const type = valueType(reader);
    for (let left = some; left > 0; left--) types.push(type);
  }
  return types;
}
