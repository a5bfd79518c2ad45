// SPDX-License-Identifier: Apache-2.0
// Owns walking the instructions of a function body: which features they use. It does not check types; that is what
// WebAssembly.validate is for. Allowed are the instructions of WebAssembly 2.0 (sign extension, saturating
// conversion, bulk memory, reference types, multi-value, fixed-width SIMD). Refused is all else: threads, relaxed
// SIMD, tail calls, exceptions, garbage collection, several memories. What is refused has no bound on time that
// could be charged, differs between machines, or is not needed.
import { malformed, type Reader, Refusal } from './reader.js';

/** Nested blocks of one function. */
const DEPTH_MAX = 1024;

function feature(at: number, what: string): Refusal {
  return new Refusal('feature', `byte ${at}: ${what}`);
}

const EMPTY = 0x40;

function isReference(byte: number): boolean {
  return byte === 0x70 || byte === 0x6f;
}

function isValueType(byte: number): boolean {
  return (byte >= 0x7b && byte <= 0x7f) || isReference(byte);
}

/**
 * A type of one byte. Those of typed references have more, which an engine that knows them would read as a part of the
 * type, and this walk as instructions: behind one, it would look at others than are run.
 */
function typeByte(code: Reader, isAllowed: (byte: number) => boolean, what: string): void {
  const at = code.at;
  const byte = code.byte(what);
  if (!isAllowed(byte)) throw feature(at, `${what} 0x${byte.toString(16).padStart(2, '0')} is not allowed`);
}

/** Nothing, a type of a value, or the index of a function type: that alone may take several bytes. */
function blockType(code: Reader): void {
  const first = code.bytes[code.at] ?? EMPTY;
  // A signed number: one byte with the sixth bit is below 0, which no index is.
  if (first < 0x80 && (first & 0x40) !== 0) {
    typeByte(code, (byte) => byte === EMPTY || isValueType(byte), 'block type');
    return;
  }
  const at = code.at;
  code.signed(33, 'block type');
  const last = code.bytes[code.at - 1] ?? 0;
  if ((last & 0x40) !== 0) throw feature(at, 'this block type is not allowed');
}

function memoryArgument(code: Reader): void {
  const at = code.at;
  const align = code.u32('alignment');
  if (align >= 64) throw feature(at, 'uses several memories');
  code.u32('memory offset');
}

function zeroByte(code: Reader, what: string): void {
  const at = code.at;
  if (code.byte(what) !== 0) throw feature(at, 'uses several memories');
}

function prefixedFc(code: Reader, at: number): void {
  const opcode = code.u32('opcode');
  if (opcode <= 7) return;
  switch (opcode) {
    case 8:
      code.u32('data segment');
      zeroByte(code, 'memory');
      return;
    case 9:
    case 13:
      code.u32('segment');
      return;
    case 10:
      zeroByte(code, 'memory');
      zeroByte(code, 'memory');
      return;
    case 11:
      zeroByte(code, 'memory');
      return;
    case 12:
    case 14:
      code.u32('table or segment');
      code.u32('table');
      return;
    case 15:
    case 16:
    case 17:
      code.u32('table');
      return;
    default:
      throw feature(at, `instruction 0xfc ${opcode} is not allowed`);
  }
}

function prefixedFd(code: Reader, at: number): void {
  const opcode = code.u32('opcode');
  if (opcode >= 0x100) throw feature(at, 'uses relaxed SIMD, which differs between machines');
  if (opcode <= 11 || opcode === 92 || opcode === 93) {
    memoryArgument(code);
  } else if (opcode >= 84 && opcode <= 91) {
    memoryArgument(code);
    code.byte('lane');
  } else if (opcode === 12 || opcode === 13) {
    code.skip(16, 'constant');
  } else if (opcode >= 21 && opcode <= 34) {
    code.byte('lane');
  }
}

/** Walks one function body (locals left out) to its end. */
export function walkCode(code: Reader): void {
  let depth = 1;
  while (depth > 0) {
    const at = code.at;
    const opcode = code.byte('instructions');
    if (opcode >= 0x45 && opcode <= 0xc4) continue;
    if (opcode >= 0x28 && opcode <= 0x3e) {
      memoryArgument(code);
      continue;
    }
    switch (opcode) {
      case 0x00: // unreachable
      case 0x01: // nop
      case 0x05: // else
      case 0x0f: // return
      case 0x1a: // drop
      case 0x1b: // select
      case 0xd1: // ref.is_null
        break;
      case 0x02: // block
      case 0x03: // loop
      case 0x04: // if
        blockType(code);
        if (++depth > DEPTH_MAX) {
          throw new Refusal('limit', `byte ${at}: blocks nest deeper than ${DEPTH_MAX}`);
        }
        break;
      case 0x0b: // end
        depth--;
        break;
      case 0x0c: // br
      case 0x0d: // br_if
      case 0x10: // call
      case 0x20: // local.get
      case 0x21: // local.set
      case 0x22: // local.tee
      case 0x23: // global.get
      case 0x24: // global.set
      case 0x25: // table.get
      case 0x26: // table.set
      case 0xd2: // ref.func
        code.u32('index');
        break;
      case 0x0e: {
        // br_table
        const count = code.u32('count of labels');
        if (count > code.end - code.at)
          throw malformed(at, 'br_table names more labels than there are bytes');
        for (let index = 0; index <= count; index++) code.u32('label');
        break;
      }
      case 0x11: // call_indirect
        code.u32('type');
        code.u32('table');
        break;
      case 0x1c: {
        // select with types
        if (code.u32('count of types') !== 1) throw malformed(at, 'select names other than one type');
        typeByte(code, isValueType, 'value type');
        break;
      }
      case 0x3f: // memory.size
      case 0x40: // memory.grow
        zeroByte(code, 'memory');
        break;
      case 0x41: // i32.const
        code.signed(32, 'constant');
        break;
      case 0x42: // i64.const
        code.signed(64, 'constant');
        break;
      case 0x43: // f32.const
        code.skip(4, 'constant');
        break;
      case 0x44: // f64.const
        code.skip(8, 'constant');
        break;
      case 0xd0: // ref.null
        typeByte(code, isReference, 'reference type');
        break;
      case 0xfc:
        prefixedFc(code, at);
        break;
      case 0xfd:
        prefixedFd(code, at);
        break;
      case 0xfe:
        throw feature(at, 'uses atomic instructions (threads)');
      case 0x12:
      case 0x13:
      case 0x15:
        throw feature(at, 'uses tail calls');
      case 0x06:
      case 0x07:
      case 0x08:
      case 0x09:
      case 0x0a:
      case 0x18:
      case 0x19:
      case 0x1f:
        throw feature(at, 'uses exceptions');
      default:
        throw feature(at, `instruction 0x${opcode.toString(16).padStart(2, '0')} is not allowed`);
    }
  }
  if (!code.done) throw malformed(code.at, 'instructions follow the end of the function');
}

/** Walks a constant expression, as offsets of segments and globals have, to its end. */
export function walkConstant(code: Reader): void {
  // A constant expression is at most a few instructions; what is not constant, validation refuses.
  for (let count = 0; count < 16; count++) {
    const at = code.at;
    const opcode = code.byte('constant expression');
    switch (opcode) {
      case 0x0b:
        return;
      case 0x41:
        code.signed(32, 'constant');
        break;
      case 0x42:
        code.signed(64, 'constant');
        break;
      case 0x43:
        code.skip(4, 'constant');
        break;
      case 0x44:
        code.skip(8, 'constant');
        break;
      case 0x23:
      case 0xd2:
        code.u32('index');
        break;
      case 0xd0:
        typeByte(code, isReference, 'reference type');
        break;
      case 0xfd:
        if (code.u32('opcode') !== 12)
          throw malformed(at, 'a constant expression holds what is not constant');
        code.skip(16, 'constant');
        break;
      default:
        throw malformed(at, 'a constant expression holds what is not constant');
    }
  }
  throw malformed(code.at, 'a constant expression is too long');
}
