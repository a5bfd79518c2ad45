// SPDX-License-Identifier: Apache-2.0
// Owns the plain meaning of an expression: given what the arguments are, whether it holds. For the reference matcher; it
// shares nothing with the compiler but the grammar, and expects what that lets pass.
import type { CelNode } from './parse.js';

/** A number without a type of its own takes that of what it meets. */
interface CelNumber {
  readonly value: bigint;
  readonly bits?: number;
  readonly signed?: boolean;
}

/** What an argument is, by its position in the hook's args. */
export type CelArgument = (position: number) => CelNumber | Uint8Array;

type CelValue = boolean | CelNumber | Uint8Array;

const widths: Readonly<Record<string, readonly [bits: number, signed: boolean]>> = {
  int: [64, true],
  uint: [64, false],
  int8: [8, true],
  uint8: [8, false],
  int16: [16, true],
  uint16: [16, false],
  int32: [32, true],
  uint32: [32, false],
  int64: [64, true],
  uint64: [64, false],
};

function cut(value: bigint, bits: number | undefined, signed: boolean | undefined): bigint {
  if (bits === undefined) return value;
  return signed === true ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

const operations: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
  'math.bitAnd': (a, b) => a & b,
};

function calculate(name: string, a: CelNumber, b: CelNumber): CelNumber {
  const { bits, signed } = a.bits === undefined ? b : a;
  const operation = operations[name];
  if (operation === undefined) throw new TypeError(`${name} is not known`);
  const value = operation(a.value, b.value);
  const type = bits === undefined || signed === undefined ? {} : { bits, signed };
  return { value: cut(value, bits, signed), ...type };
}

function isEqual(a: CelValue, b: CelValue): boolean {
  if (typeof a === 'boolean') return a === b;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.from(a).equals(b);
  const { bits, signed, value } = calculate('-', a, b as CelNumber);
  return cut(value, bits, signed) === 0n;
}

function ask(name: string, text: Buffer, wanted: Uint8Array): boolean {
  if (name === 'contains') return text.includes(Buffer.from(wanted));
  if (name === 'startsWith') return text.subarray(0, wanted.length).equals(wanted);
  return text.length >= wanted.length && text.subarray(text.length - wanted.length).equals(wanted);
}

export function evaluateCel(node: CelNode, argument: CelArgument): CelValue {
  switch (node.kind) {
    case 'bool':
      return node.value;
    case 'number':
      return { value: node.value };
    case 'text':
      return Buffer.from(node.value, 'utf8');
    case 'argument':
      return argument(node.position);
    case 'list':
      throw new TypeError('a list is no value');
    case 'call':
      break;
  }
  const { name, operands } = node;
  const [first, second] = operands;
  if (first === undefined) throw new TypeError(`${name} without values`);
  const left = evaluateCel(first, argument);
  const third = operands[2];
  if (name === '?' && second !== undefined && third !== undefined)
    return evaluateCel(left === true ? second : third, argument);
  if (name === '!') return left !== true;
  if (name === '&&' || name === '||') {
    const right = second !== undefined && evaluateCel(second, argument) === true;
    return name === '&&' ? left === true && right : left === true || right;
  }
  if (name === 'in' && second?.kind === 'list')
    return second.items.some((item) => isEqual(left, evaluateCel(item, argument)));
  if (name === 'size') return { value: BigInt((left as Uint8Array).length) };
  const width = widths[name];
  if (width !== undefined) {
    const [bits, signed] = width;
    return { value: cut((left as CelNumber).value, bits, signed), bits, signed };
  }
  if (name === 'negate') return calculate('-', { value: 0n }, left as CelNumber);
  if (name === 'math.bitNot') return calculate('-', { value: -1n }, left as CelNumber);
  if (second === undefined) throw new TypeError(`${name} with one value`);
  const right = evaluateCel(second, argument);
  if (name === '==' || name === '!=') return isEqual(left, right) === (name === '==');
  if (name === 'matches')
    return new RegExp(Buffer.from(right as Uint8Array).toString(), 'su').test(
      Buffer.from(left as Uint8Array).toString(),
    );
  if (name === 'startsWith' || name === 'endsWith' || name === 'contains')
    return ask(name, Buffer.from(left as Uint8Array), right as Uint8Array);
  const [a, b] = [left as CelNumber, right as CelNumber];
  switch (name) {
    case '<':
      return a.value < b.value;
    case '<=':
      return a.value <= b.value;
    case '>':
      return a.value > b.value;
    case '>=':
      return a.value >= b.value;
    default:
      return calculate(name, a, b);
  }
}
