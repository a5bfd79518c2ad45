// SPDX-License-Identifier: Apache-2.0
// Owns how values are read from their text: numbers in every base that policies use, and bytes.
import { capabilityNames, type TypeInfo } from './names.js';

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

/** Reads a value of an integer type, or says why it is none. Result: 64 bits, extended as the type is. */
export function parseTypedInteger(text: string, typeName: string, type: TypeInfo): bigint | string {
  let value = parseInteger(text);
  if (value === undefined && typeName === 'capability') {
    const number = capabilityNames.indexOf(text.toUpperCase() as (typeof capabilityNames)[number]);
    if (number >= 0) value = BigInt(number);
  }
  if (value === undefined) return `is no whole number: decimal, 0x, 0o and 0b are read`;
  const [low, high] = integerRange(type);
  if (value < low || value > high) return `does not fit ${typeName}, which takes ${low} to ${high}`;
  return BigInt.asUintN(64, value);
}
