// SPDX-License-Identifier: Apache-2.0
// Tells processes apart by the number that each calls prctl with, so that a scenario can say which of them a policy on
// the process alone has seen.

import assert from 'node:assert/strict';
import { type HookEvent, policyOf } from './hooks.js';

/** A policy on prctl whose one selector has these parts. */
export const onPrctl = (name: string, parts: object) => policyOf(name, 'sys_prctl', ['int'], [parts]);

export const numberOf = (args: HookEvent['args']) => Number(BigInt.asIntN(64, args[0]?.value ?? 0n));

/** Which of the numbers each policy saw. */
export function seen(events: readonly HookEvent[], numbers: readonly number[]): Record<string, number[]> {
  const found: Record<string, number[]> = {};
  for (const { policy, args } of events) {
    const number = numberOf(args);
    if (!numbers.includes(number)) continue;
    found[policy] ??= [];
    found[policy].push(number);
  }
  return found;
}

/** Compares what each policy saw with what it should have, in a text that a person can read. */
export function compare(found: Record<string, number[]>, expected: Record<string, number[]>): void {
  const text = (all: Record<string, number[]>) =>
    Object.keys(expected).map((name) => `${name}: ${(all[name] ?? []).join(' ')}`);
  assert.deepEqual(text(found), text(expected));
}

/** A line for the program `calls`: prctl with an option that there is not. */
export const line = (number: number) => `prctl\t${number}\t0\t0\t0\t0\n`;
