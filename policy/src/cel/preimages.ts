// SPDX-License-Identifier: Apache-2.0
// Owns which numbers come to lie in a range when something is done to them: multiplied, added to, divided, taken modulo.
// Numbers are as wide as their type and wrap there, as they do in the kernel.
import { integerRange } from '../values.js';
import { type Range, TooMuch } from './alternatives.js';

export interface NumberType {
  readonly name: string;
  readonly bits: number;
  readonly signed: boolean;
}

/** Ranges of one number that one step may lead to. */
const rangesMax = 4096n;

export function wrap(value: bigint, { bits, signed }: NumberType): bigint {
  return signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
}

export function wholeOf({ bits, signed }: NumberType): Range {
  return integerRange({ type: 0, family: 'integer', bits, signed });
}

function bounded(count: bigint): void {
  if (count > rangesMax) throw new TooMuch(`comes to more than ${rangesMax} ranges of one number`);
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by !== 0n && value < 0n !== by < 0n ? quotient - 1n : quotient;
}

/** The inverse of an odd number modulo a power of two: each step doubles the bits that are right. */
function inverse(odd: bigint, bits: number): bigint {
  let found = odd;
  for (let right = 3; right < bits; right *= 2) found = BigInt.asUintN(bits, found * (2n - odd * found));
  return BigInt.asUintN(bits, found);
}

/** The numbers that, times a factor and with something added, are one. */
function solutions(wanted: bigint, factor: bigint, type: NumberType): Range[] {
  let odd = BigInt.asUintN(type.bits, factor);
  let twos = 0;
  for (; odd % 2n === 0n && twos < type.bits; twos++) odd /= 2n;
  const turn = 1n << BigInt(twos);
  if (wanted % turn !== 0n) return [];
  bounded(turn);
  const bits = type.bits - twos;
  const first = BigInt.asUintN(bits, (BigInt.asUintN(type.bits, wanted) / turn) * inverse(odd, type.bits));
  return Array.from({ length: Number(turn) }, (_, nth): Range => {
    const value = wrap(first + (BigInt(nth) << BigInt(bits)), type);
    return [value, value];
  });
}

/** The numbers that lie in a range when they have been multiplied and something was added, wrapping. */
export function multiplied([from, to]: Range, factor: bigint, added: bigint, type: NumberType): Range[] {
  if (from > to) return [];
  const [low, high] = wholeOf(type);
  if (to - from >= high - low) return [[low, high]];
  if (factor === 0n) {
    const constant = wrap(added, type);
    return constant >= from && constant <= to ? [[low, high]] : [];
  }
  if (from === to) return solutions(from - added, factor, type);
  const [a, b] = factor > 0n ? [from - added, to - added] : [added - to, added - from];
  const by = factor > 0n ? factor : -factor;
  const turn = 1n << BigInt(type.bits);
  // by * x lies between a + k * turn and b + k * turn, for some k.
  const first = floorDivide(by * low - b + turn - 1n, turn);
  const last = floorDivide(by * high - a, turn);
  bounded(last - first + 1n);
  const found: Range[] = [];
  for (let k = first; k <= last; k++) {
    const least = -floorDivide(-(a + k * turn), by);
    const most = floorDivide(b + k * turn, by);
    const range: Range = [least < low ? low : least, most > high ? high : most];
    if (range[0] <= range[1]) found.push(range);
  }
  return found;
}

/** The numbers that, divided by another and rounded towards 0, lie in a range. */
export function divided([from, to]: Range, divisor: bigint, type: NumberType): Range[] {
  const by = divisor < 0n ? -divisor : divisor;
  const [a, b] = divisor < 0n ? [-to, -from] : [from, to];
  const [low, high] = wholeOf(type);
  const least = a > 0n ? a * by : a * by - (by - 1n);
  const most = b < 0n ? b * by : b * by + (by - 1n);
  const range: Range = [least < low ? low : least, most > high ? high : most];
  return range[0] <= range[1] ? [range] : [];
}

/** The numbers of which, divided by another and rounded towards 0, a rest is left that lies in a range. */
export function remaining([from, to]: Range, divisor: bigint, type: NumberType): Range[] {
  const by = divisor < 0n ? -divisor : divisor;
  const [low, high] = wholeOf(type);
  const found: Range[] = [];
  // The rest has the sign of what is divided.
  const [least, most] = [from > 0n ? from : 0n, to < by - 1n ? to : by - 1n];
  if (least <= most) {
    if (least === 0n && most === by - 1n) found.push([0n, high]);
    else {
      bounded(high / by + 1n);
      for (let at = 0n; at + least <= high; at += by)
        found.push([at + least, at + most > high ? high : at + most]);
    }
  }
  if (low === 0n || from > 0n || (to < 0n && -to > by - 1n)) return found;
  const [fewest, largest] = [to < 0n ? -to : 0n, -from < by - 1n ? -from : by - 1n];
  if (fewest === 0n && largest === by - 1n) return [...found, [low, 0n]];
  bounded(-low / by + 1n);
  for (let at = 0n; -(at + fewest) >= low; at += by)
    found.push([-(at + largest) < low ? low : -(at + largest), -(at + fewest)]);
  return found;
}
