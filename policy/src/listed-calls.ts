// SPDX-License-Identifier: Apache-2.0
// Owns which system calls of a hook share one program at the entry of all calls, in place of a program for each: those
// of a long list. A program for each costs some 10 ms to load, one at the entry of all makes every call of the node a
// little slower.
import { lsmPathOf } from './lsm-paths.js';
import type { ResolvedCall } from './places.js';
import type { Located, Policy } from './policy.js';
import { expandSelectors, optionValue } from './selectors.js';
import type { Kprobe } from './shape.js';
import { syscallNumber } from './syscall-numbers.js';

/** A list of up to so many calls has a program for each. */
export const ownProgramsMax = 32;

/** Whether a selector of the hook keeps calls from taking effect, where that can be had. */
function prevents(policy: Policy, fields: Kprobe, path: string): boolean {
  if (optionValue(policy, 'policy-mode', 'enforce') === 'monitor') return false;
  return expandSelectors(policy, fields, path).some(({ matchActions }) =>
    matchActions.some(
      ({ item }) => item.action === 'Sigkill' || item.action === 'Override' || item.argSig === 9,
    ),
  );
}

/**
 * Parts the calls of a hook: those with a program of their own, and those that share one. The latter are in the order of
 * their names, so that lists of the same calls are one hook.
 */
export function partCalls(
  policy: Policy,
  fields: Kprobe,
  calls: readonly Located<ResolvedCall>[],
  path: string,
): { readonly own: readonly Located<ResolvedCall>[]; readonly shared: readonly Located<ResolvedCall>[] } {
  const none = { own: calls, shared: [] };
  // What is asked of the return is asked of each call by itself.
  if (calls.length <= ownProgramsMax || fields.return === true) return none;
  const isEnforcing = prevents(policy, fields, path);
  const canShare = ({ item }: Located<ResolvedCall>) =>
    item.kind === 'syscall' &&
    syscallNumber(item.symbol) !== undefined &&
    !(isEnforcing && lsmPathOf(item.syscallName) !== undefined);
  const shared = calls.filter(canShare);
  if (shared.length <= ownProgramsMax) return none;
  return {
    own: calls.filter((call) => !canShare(call)),
    shared: shared.sort((a, b) => (a.item.symbol < b.item.symbol ? -1 : 1)),
  };
}

/** The calls that share a program, as one to plan. */
export function sharedCall(calls: readonly Located<ResolvedCall>[]): ResolvedCall {
  const symbols = calls.map(({ item }) => item.symbol);
  const symbol = `${symbols[0]} and ${symbols.length - 1} more`;
  return { symbol, kind: 'syscall', meaning: symbol, syscallName: '', calls: symbols };
}
