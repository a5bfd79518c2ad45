// SPDX-License-Identifier: Apache-2.0
// Owns Set: which argument of a marker is set, and to what.
import type { Findings } from './findings.js';
import { quote } from './nearest.js';
import type { PlannedSelector } from './plan-types.js';
import type { ExpandedSelector } from './selectors.js';
import type { Action } from './shape.js';
import { parseInteger } from './values.js';

/** Judges what an argument is to be set to. */
export function checkSetting(findings: Findings, { argIndex, argValue }: Action, path: string): void {
  if (argIndex === undefined)
    findings.error(
      'missing-field',
      `${path}.argIndex`,
      'is missing: write the index of the argument that is set',
    );
  if (argValue === undefined) {
    findings.error('missing-field', `${path}.argValue`, 'is missing: write the number that it is set to');
    return;
  }
  const value = parseInteger(String(argValue));
  if (value === undefined || value < -(2n ** 63n) || value >= 2n ** 64n)
    findings.error('wrong-value', `${path}.argValue`, `${quote(String(argValue))} is no number of 64 bits`);
}

/** What a selector sets. */
export function settingOf(selector: ExpandedSelector): Pick<PlannedSelector, 'set'> {
  const { argIndex, argValue } = selector.matchActions.find(({ item }) => item.action === 'Set')?.item ?? {};
  const value = parseInteger(String(argValue ?? ''));
  if (argIndex === undefined || value === undefined) return {};
  return { set: { argument: argIndex, value: BigInt.asUintN(64, value) } };
}
