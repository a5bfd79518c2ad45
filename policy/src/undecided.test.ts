// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';

function policy(name: string, undecided: string, selectors: string): Policy {
  const [parsed] = parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: ${name}}
spec:
  options: [{name: on-undecided, value: ${undecided}}]
  kprobes:
  - {call: security_file_open, syscall: false, args: [{index: 0, type: file}], selectors: [${selectors}]}
`);
  if (parsed === undefined) throw new Error('no policy');
  return parsed;
}

const binaries = 'matchBinaries: [{operator: In, values: [/bin/a]}]';
const looks = `{${binaries}, matchActions: [{action: Post}]}`;
const kills = `{${binaries}, matchActions: [{action: Sigkill}]}`;

describe('on-undecided', () => {
  it('holds for the selectors that enforce, with scopes of their own', () => {
    const planned = plan([
      { id: 1, policy: policy('a', 'deny', `${looks}, ${kills}`) },
      { id: 2, policy: policy('b', 'allow', kills) },
    ]);
    const selectors = planned.hooks[0]?.selectors;
    expect(selectors?.map(({ holdsUndecided }) => holdsUndecided)).toEqual([undefined, true, undefined]);
    expect(selectors?.map(({ scope }) => scope)).toEqual([0, 1, 0]);
    expect(planned.scopes).toMatchObject({ scopeCount: 2, holding: 0b10n });
  });

  it('says where nothing is denied', () => {
    const { ok, warnings } = check(policy('a', 'deny', looks));
    expect(ok).toBe(true);
    expect(warnings.map(({ path }) => path)).toEqual(['spec.options[0].value']);
    expect(check(policy('a', 'deny', kills)).warnings).toEqual([]);
  });
});
