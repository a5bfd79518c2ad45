// SPDX-License-Identifier: Apache-2.0
// Owns reading instructions one by one with their immediates. Known are those of WebAssembly 2.0; all else is
// refused by name. Types are not checked here: the engine has validated the module before.
import type { Reader } from './bytes.js';
import { MeterError } from './error.js';
import { Op, simdHoles } from './opcodes.js';

const refusedOps: Record<number, string> = {
  6: 'exceptions',
  7: 'exceptions',
  8: 'exceptions',
  9: 'exceptions',
  10: 'exceptions',
  24: 'exceptions',
  25: 'exceptions',
  31: 'exceptions',
  18: 'tail calls',
  19: 'tail calls',
  20: 'typed function references',
  21: 'tail calls',
  211: 'garbage collection',
  212: 'typed function references',
  213: 'typed function references',
  214: 'typed function references',
  251: 'garbage collection',
  254: 'threads (atomic instructions)',
};

export function isValueType(byte: number): boolean {
  return (byte >= 0x7b && byte <= 0x7f) || byte === 0x70 || byte === 0x6f;
}

export function valueType(reader: Reader): number {
  const at = reader.at;
  const byte = reader.byte('a type');
  if (!isValueType(byte)) {
    throw new MeterError('feature', at, `value type 0x${byte.toString(16)} is not allowed`);
  }
  return byte;
}

/** A cursor over instructions: `next` reads one and leaves what was read in the fields. */
export class Decoder {
  /** Offset of the instruction; the reader stands behind it. */
  at = 0;
  op = 0;
  /** The first immediate: an index, a label, a type. */
  index = 0;
  /** A block's type: the index of a function type, or minus the byte of a value type, or EMPTY. */
  blockType = 0;
  /** Labels of the br_table that was read last, default included. */
  readonly labels: number[] = [];

  static readonly EMPTY = -0x40;

  constructor(readonly reader: Reader) {}

  next(): number {
    const { reader } = this;
    this.at = reader.at;
    const byte = reader.byte('instructions');
    this.op = byte;
    if (byte >= 0x45 && byte <= 0xc4) return byte;
    if (byte >= 0x28 && byte <= 0x3e) {
      this.#memoryArgument();
      return byte;
    }
    switch (byte) {
      case Op.unreachable:
      case Op.nop:
      case Op.else:
      case Op.end:
      case Op.return:
      case Op.drop:
      case Op.select:
      case Op.refIsNull:
        break;
      case Op.block:
      case Op.loop:
      case Op.if:
        this.blockType = this.#blockType();
        break;
      case Op.br:
      case Op.brIf:
      case Op.call:
      case Op.localGet:
      case Op.localSet:
      case Op.localTee:
      case Op.globalGet:
      case Op.globalSet:
      case Op.tableGet:
      case Op.tableSet:
      case Op.refFunc:
        this.index = reader.u32('an index');
        break;
      case Op.brTable:
        this.#brTable();
        break;
      case Op.callIndirect:
        this.index = reader.u32('a type');
        reader.u32('a table');
        break;
      case Op.selectTyped:
        if (reader.u32('a count of types') !== 1) {
          throw new MeterError('malformed', this.at, 'select names other than one type');
        }
        valueType(reader);
        break;
      case Op.memorySize:
      case Op.memoryGrow:
        this.#memoryIndex();
        break;
      case Op.i32Const:
        reader.signed(32, 'a constant');
        break;
      case Op.i64Const:
        reader.signed(64, 'a constant');
        break;
      case Op.f32Const:
        reader.skip(4, 'a constant');
        break;
      case Op.f64Const:
        reader.skip(8, 'a constant');
        break;
      case Op.refNull:
        this.#referenceType();
        break;
      case 0xfc:
        this.#bulk();
        break;
      case 0xfd:
        this.#simd();
        break;
      default:
        this.#refuse(byte);
    }
    return this.op;
  }

  #refuse(byte: number): never {
    const feature = refusedOps[byte];
    throw new MeterError(
      'feature',
      this.at,
      feature === undefined
        ? `instruction 0x${byte.toString(16).padStart(2, '0')} is not known`
        : `uses ${feature}, which filters may not`,
    );
  }

  #memoryArgument(): void {
    const at = this.reader.at;
    const align = this.reader.u32('an alignment');
    if (align >= 64) throw new MeterError('feature', at, 'uses several memories, which filters may not');
    if (align > 4) throw new MeterError('malformed', at, `alignment 2^${align} is too large`);
    this.reader.u32('a memory offset');
  }

  #memoryIndex(): void {
    const at = this.reader.at;
    if (this.reader.byte('a memory') !== 0) {
      throw new MeterError('feature', at, 'uses several memories, which filters may not');
    }
  }

  #referenceType(): void {
    const at = this.reader.at;
    const byte = this.reader.byte('a type');
    if (byte !== 0x70 && byte !== 0x6f) {
      throw new MeterError('feature', at, `reference type 0x${byte.toString(16)} is not allowed`);
    }
  }

  #blockType(): number {
    const { reader } = this;
    const at = reader.at;
    const value = reader.signed(33, 'a block type');
    if (value >= 0) return value;
    const byte = value + 0x80;
    if (reader.at !== at + 1 || (byte !== 0x40 && !isValueType(byte))) {
      throw new MeterError('feature', at, 'this type of a block is not allowed');
    }
    return -byte;
  }

  #brTable(): void {
    const { reader, labels } = this;
    const count = reader.u32('a count of labels');
    if (count > reader.end - reader.at) {
      throw new MeterError('malformed', this.at, 'br_table names more labels than there are bytes');
    }
    labels.length = 0;
    for (let index = 0; index <= count; index++) labels.push(reader.u32('a label'));
  }

  #bulk(): void {
    const { reader } = this;
    const sub = reader.u32('an opcode');
    if (sub > 17) throw new MeterError('feature', this.at, `instruction 0xfc ${sub} is not known`);
    this.op = 0xfc00 | sub;
    switch (this.op) {
      case Op.memoryInit:
        reader.u32('a data segment');
        this.#memoryIndex();
        break;
      case Op.memoryCopy:
        this.#memoryIndex();
        this.#memoryIndex();
        break;
      case Op.memoryFill:
        this.#memoryIndex();
        break;
      case Op.tableInit:
      case Op.tableCopy:
        reader.u32('a segment or table');
        reader.u32('a table');
        break;
      case Op.dataDrop:
      case Op.elemDrop:
      case Op.tableGrow:
      case Op.tableSize:
      case Op.tableFill:
        reader.u32('an index');
        break;
      default:
        break;
    }
  }

  #simd(): void {
    const { reader } = this;
    const sub = reader.u32('an opcode');
    if (sub >= 0x100) {
      throw new MeterError('feature', this.at, 'uses relaxed SIMD, whose results differ between machines');
    }
    if (simdHoles[sub] === 1) {
      throw new MeterError('feature', this.at, `instruction 0xfd 0x${sub.toString(16)} is not known`);
    }
    this.op = 0xfd00 | sub;
    if (sub <= 0x0b || sub === 0x5c || sub === 0x5d) this.#memoryArgument();
    else if (sub === 0x0c || sub === 0x0d) reader.skip(16, 'a constant');
    else if (sub >= 0x15 && sub <= 0x22) reader.byte('a lane');
    else if (sub >= 0x54 && sub <= 0x5b) {
      this.#memoryArgument();
      reader.byte('a lane');
    }
  }
}
