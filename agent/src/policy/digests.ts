// SPDX-License-Identifier: Apache-2.0
// Owns by which texts plans and programs are compared: what is the same stays as it is when policies change.
import type { HookPlan, Policy, ScopePlan } from '@weir/policy';
import { encodeSpec } from './encode.js';
import { preventionOf } from './prevention.js';
import { settings } from './user-hooks.js';

/** Text that is the same for the same plan, and different for another. */
export function digestOf(part: HookPlan | ScopePlan): string {
  return JSON.stringify(part, (_, value: unknown) => {
    if (typeof value === 'bigint') return `${value}n`;
    return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
  });
}

/** Of what a program is made: hooks of the same shape can share it over configurations. */
export function shapeOf(hook: HookPlan, scopes: ScopePlan): string {
  const prevention = preventionOf(hook);
  const kind = prevention === undefined ? 'observe' : prevention.isNeeded ? 'override' : 'prevent';
  // Whether a call of a list may be missing is judged where its program is attached.
  const listed = hook.calls === undefined ? '' : ` listed ${ignoresMissing(hook)}`;
  // Where these lie goes into the program.
  const set = settings(hook);
  const sets = set.length === 0 ? '' : ` sets ${set.join(' ')}`;
  const spec = encodeSpec(hook, 0, 0, undefined, undefined, scopes);
  return `${hook.denies ? 'enforce' : kind}${listed}${sets} ${Buffer.from(spec).toString('base64')}`;
}

/** Whether all policies on a hook can do without it. */
export function ignoresMissing(hook: HookPlan): boolean {
  return hook.bindings.every((binding) => binding.ignoreMissing);
}

/** Name of a policy within its namespace. */
export function keyOf(policy: Policy): string {
  return `${policy.namespace}/${policy.name}`;
}

/** Whether two versions of a policy say the same. */
export function sameSpec(a: Policy, b: Policy): boolean {
  return JSON.stringify([a.spec, a.annotations]) === JSON.stringify([b.spec, b.annotations]);
}
