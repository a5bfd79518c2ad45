// SPDX-License-Identifier: Apache-2.0
// Owns lists as values of a condition on numbers: `InMap` with `list:NAME` means what the list holds.
import type { Policy } from './parse.js';

const prefix = 'list:';

/** The values of a condition, with those of a list in the place of its name. */
export function withListValues(policy: Policy, values: readonly string[]): readonly string[] {
  return values.flatMap((value) => {
    const name = value.startsWith(prefix) ? value.slice(prefix.length) : undefined;
    return name === undefined
      ? [value]
      : (policy.spec.lists?.find((list) => list.name === name)?.values ?? []);
  });
}
