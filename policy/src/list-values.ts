// SPDX-License-Identifier: Apache-2.0
// Owns lists as values of a condition on numbers: `InMap` with `list:NAME` means what the list holds. Of
// system calls these are their numbers by the 64-bit entry.
import type { Policy } from './policy.js';
import type { List } from './shape.js';
import { syscallNumber } from './syscall-numbers.js';

const prefix = 'list:';

/** Whether a list is of system calls, which are numbers where a number is asked for. */
export function isListOfCalls(list: List | undefined): boolean {
  return list?.type === 'syscalls' || list?.type === 'generated_syscalls';
}

/** The values of a condition, with those of a list in the place of its name. */
export function withListValues(policy: Policy, values: readonly string[]): readonly string[] {
  return values.flatMap((value) => {
    const name = value.startsWith(prefix) ? value.slice(prefix.length) : undefined;
    if (name === undefined) return [value];
    const list = policy.spec.lists?.find((other) => other.name === name);
    const held = list?.values ?? [];
    return isListOfCalls(list) ? held.map((call) => String(syscallNumber(call) ?? call)) : held;
  });
}
