// SPDX-License-Identifier: Apache-2.0
// Owns the option `on-undecided`: what becomes of a call of which not all that a selector asks can be known (memory that
// is not resident, a path that is too long, no storage). By default such a condition does not hold; with `deny` it does,
// for selectors that enforce: else one that lets a call pass would match before the one that denies.
import type { Findings } from './findings.js';
import { hooksOf } from './hooks.js';
import type { Policy } from './policy.js';
import { type ExpandedSelector, expandSelectors, optionValue } from './selectors.js';

const enforcing = new Set(['Sigkill', 'Signal', 'Override', 'NotifyEnforcer']);

/** Whether what cannot be decided of a selector's conditions holds. */
export function holdsUndecided(policy: Policy, selector: ExpandedSelector): boolean {
  if (optionValue(policy, 'on-undecided', 'allow') !== 'deny') return false;
  return selector.matchActions.some(({ item }) => enforcing.has(item.action));
}

export function checkUndecided(findings: Findings): void {
  const { policy } = findings;
  if (optionValue(policy, 'on-undecided', 'allow') !== 'deny') return;
  const selectors = hooksOf(policy).flatMap(({ fields, path }) => expandSelectors(policy, fields, path));
  if (selectors.some((selector) => holdsUndecided(policy, selector))) return;
  const index = policy.spec.options?.findIndex(({ name }) => name === 'on-undecided') ?? 0;
  findings.warn(
    'ignored-field',
    `spec.options[${index}].value`,
    'no selector denies or kills: what cannot be decided is counted, and that is all',
  );
}
