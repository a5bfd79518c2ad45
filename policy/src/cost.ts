// SPDX-License-Identifier: Apache-2.0
// Owns what a hook is estimated to cost a call: a sum of what its parts were measured to take. The figures are medians of
// the kernel's own statistics less an empty program's, at the entry of openat, 6.18, one virtual machine of two cores: more
// than a guess, less than a measurement on the machine where the policy shall run.

import { Action, ArgumentType } from '@weir/schema';
import { isSubstring } from './dimensions.js';
import type { HookPlan, PlannedArgument } from './plan-types.js';

/** Nanoseconds. */
const figures = {
  /** A call by a process that no selector means. */
  outOfScope: 140,
  /** A call that is looked at, whatever is asked. */
  looked: 110,
  number: 20,
  text: 110,
  /** A path of five folders, as the kernel has it. */
  path: 400,
  lookUp: 50,
  /** A walk over a text of fifty bytes, for what is anywhere in it: 11 ns each. */
  walk: 600,
  /** A selector that matches, and its counts. */
  match: 200,
  event: 250,
} as const;

const pathTypes: ReadonlySet<number> = new Set([
  ArgumentType.fd,
  ArgumentType.file,
  ArgumentType.path,
  ArgumentType.dentry,
  ArgumentType.kiocb,
  ArgumentType.linuxBinprm,
]);

export interface HookCost {
  /** undefined where every call is looked at. */
  readonly outOfScopeNs: number | undefined;
  readonly lookedNs: number;
  /** undefined where nothing is sent. */
  readonly eventNs: number | undefined;
}

function readNs({ type }: PlannedArgument): number {
  if (pathTypes.has(type)) return figures.path;
  const isNumber = type >= ArgumentType.int8 && type <= ArgumentType.uint64;
  return isNumber ? figures.number : figures.text;
}

/** What a hook costs a call; its stacks, limits of rate and what it does at the return are not in it. */
export function costOf(hook: HookPlan): HookCost {
  const reading = hook.arguments.reduce((sum, argument) => sum + readNs(argument), 0);
  const lookUps = hook.dimensions.reduce(
    (sum, dimension) => sum + (isSubstring(dimension) ? figures.walk : figures.lookUp),
    0,
  );
  const lookedNs = figures.looked + reading + lookUps;
  const isScoped = hook.selectors.every(({ scope }) => scope !== null);
  const posts = hook.selectors.some(({ actions }) => (actions & (1 << Action.post)) !== 0);
  return {
    outOfScopeNs: isScoped ? figures.outOfScope : undefined,
    lookedNs,
    eventNs: posts ? lookedNs + figures.match + figures.event : undefined,
  };
}
