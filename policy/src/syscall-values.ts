// SPDX-License-Identifier: Apache-2.0
// Owns how a value of the type syscall64 is read: a number, the name of a system call, or a list of names. What comes
// out is the number of the call and, above its 32 bits, the entry by which it came: 0 the 64-bit one, 1 the 32-bit one.
import { quote, suggestion } from './nearest.js';
import type { Policy } from './policy.js';
import { syscallNumber, syscallNumber32 } from './syscall-numbers.js';
import { parseInteger } from './values.js';

const by32BitEntry = 1n << 32n;
/** In a number that is written out, this bit stands for the 32-bit entry. */
const written32BitEntry = 1n << 31n;

function numberOf(text: string): bigint | string {
  const number = parseInteger(text);
  if (number !== undefined) {
    if (number < 0n || number >= 1n << 32n) return `${quote(text)} is no number of a system call`;
    return (number & written32BitEntry) === 0n ? number : (number & ~written32BitEntry) | by32BitEntry;
  }
  const is32 = text.startsWith('__ia32_');
  const found = is32 ? syscallNumber32(text) : syscallNumber(text);
  if (found === undefined)
    return `${quote(text)} is no number or name of a system call${is32 ? ' of the 32-bit entry' : ''}`;
  return is32 ? BigInt(found) | by32BitEntry : BigInt(found);
}

/** Reads a value, or says why it is none. */
export function syscallValues(policy: Policy, value: string): readonly bigint[] | string {
  if (!value.startsWith('list:')) {
    const number = numberOf(value);
    return typeof number === 'string' ? number : [number];
  }
  const name = value.slice('list:'.length);
  const lists = policy.spec.lists ?? [];
  const list = lists.find((other) => other.name === name);
  if (list === undefined)
    return lists.length === 0
      ? `there is no list ${quote(name)}: the policy has no lists`
      : `there is no list ${quote(name)}: ${suggestion(
          name,
          lists.map((other) => other.name),
        )}`;
  if (list.type === 'generated_ftrace') return `the list ${quote(name)} holds functions, not system calls`;
  const numbers: bigint[] = [];
  for (const text of list.values ?? []) {
    const number = numberOf(text);
    if (typeof number === 'string') return `in the list ${quote(name)}: ${number}`;
    numbers.push(number);
  }
  return numbers;
}
