// SPDX-License-Identifier: Apache-2.0
// Owns how values are read from their text: numbers in every base that policies use, ranges of them, and bytes.
import { ArgumentType, bpfCommandNumber, bpfCommands } from '@weir/schema';
import { capabilityNames, type TypeInfo } from './names.js';
import { suggestion } from './nearest.js';

const encoder = new TextEncoder();

/** The bytes that a text stands for in the kernel. */
export function toBytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Reads a whole number: decimal, 0x, 0o, 0b, or octal by a leading 0 as in C; undefined where it is none. */
export function parseInteger(text: string): bigint | undefined {
  const match = /^([+-]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]+|0|[1-9][0-9]*)$/.exec(text.trim());
  if (match === null || text.length > 80) return undefined;
  const [, sign, digits = ''] = match;
  const magnitude = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return sign === '-' ? -magnitude : magnitude;
}

/** The range of an integer type, both ends included. */
export function integerRange(type: TypeInfo): readonly [bigint, bigint] {
  const bits = BigInt(type.bits);
  return type.signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
}

/** The set that has one capability, by its name. */
function capabilityBit(text: string): bigint | undefined {
  const number = capabilityNames.indexOf(text.toUpperCase() as (typeof capabilityNames)[number]);
  return number < 0 ? undefined : 1n << BigInt(number);
}

/** The number that a name stands for: of a capability, a set that has one, a command of bpf(2). */
function namedNumber(text: string, typeName: string, type: TypeInfo): bigint | undefined {
  if (type.family === 'capabilities') return capabilityBit(text);
  const number =
    typeName === 'capability'
      ? capabilityNames.indexOf(text.toUpperCase() as (typeof capabilityNames)[number])
      : typeName === 'bpf_cmd'
        ? bpfCommandNumber(text)
        : undefined;
  return number === undefined || number < 0 ? undefined : BigInt(number);
}

function notNamed(text: string, typeName: string): string {
  const whole = 'is no whole number: decimal, 0x, 0o and 0b are read';
  if (typeName !== 'bpf_cmd') return whole;
  return `${whole}, and names of commands: ${suggestion(text, bpfCommands)}`;
}

/** Reads a value of an integer type, or says why it is none. Result: 64 bits, extended as the type is. */
export function parseTypedInteger(text: string, typeName: string, type: TypeInfo): bigint | string {
  const value = parseInteger(text) ?? namedNumber(text, typeName, type);
  if (value === undefined) return notNamed(text, typeName);
  const [low, high] = integerRange(type);
  if (value < low || value > high) return `does not fit ${typeName}, which takes ${low} to ${high}`;
  return BigInt.asUintN(64, value);
}

/** Reads a range of whole numbers as it is written, `LOW:HIGH` or `LOW-HIGH`; undefined where it is none. */
export function parseRange(text: string): readonly [bigint, bigint] | undefined {
  const match = /^(-?[0-9a-zA-Z]+)[:-](-?[0-9a-zA-Z]+)$/.exec(text);
  const low = parseInteger(match?.[1] ?? '');
  const high = parseInteger(match?.[2] ?? '');
  return low === undefined || high === undefined ? undefined : [low, high];
}

/**
 * Reads bits of an integer type, or says why they are none. A type with a sign takes its highest bit both as the sign
 * and as a number without one (0x80000000 of an int). Result: only bits that the type has.
 */
export function parseBits(text: string, typeName: string, type: TypeInfo): bigint | string {
  const value = parseInteger(text) ?? (type.family === 'capabilities' ? capabilityBit(text) : undefined);
  if (value === undefined) return 'is no whole number: decimal, 0x, 0o and 0b are read';
  const [low] = integerRange(type);
  const high = (1n << BigInt(type.bits)) - 1n;
  if (value < low || value > high) return `has bits that ${typeName} has not: it takes ${low} to ${high}`;
  return BigInt.asUintN(type.bits, value);
}

/**
 * What numbers of a type are ordered by: the 64 bits of the number, with the sign bit turned over where the type is
 * neither uint64 nor a set of capabilities, whose numbers reach there without being negative. Order keys compare without sign.
 */
export function orderKey(value: bigint, argumentType: number): bigint {
  const bits = BigInt.asUintN(64, value);
  const isSet = argumentType >= ArgumentType.kernelCapT && argumentType <= ArgumentType.capEffective;
  return argumentType === ArgumentType.uint64 || isSet ? bits : bits ^ (1n << 63n);
}
