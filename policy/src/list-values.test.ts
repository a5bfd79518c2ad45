// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { formatIssue } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(values: readonly string[], held: readonly string[]) {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'p' },
      spec: {
        lists: [{ name: 'some', values: held }],
        kprobes: [
          {
            call: 'sys_prctl',
            args: [{ index: 0, type: 'int' }],
            selectors: [{ matchArgs: [{ index: 0, operator: 'InMap', values }] }],
          },
        ],
      },
    }),
  );
  if (policy === undefined) throw new Error('there is no policy');
  return policy;
}

describe('a list as a value', () => {
  it('means the numbers that it holds', () => {
    const policy = policyOf(['7', 'list:some'], ['-1', '0x10', '20:22']);
    expect(validate(policy).errors).toEqual([]);
    expect(unsupported(policy)).toEqual([]);
    const dimensions = (of: typeof policy) => plan([{ id: 1, policy: of }]).hooks[0]?.dimensions;
    expect(dimensions(policy)).toEqual(dimensions(policyOf(['7', '-1', '16', '20:22'], ['0'])));
  });

  it.each([
    [['list:none'], ['1'], /values\[0\]: there is no list "none"/],
    [['list:some'], ['1', 'sys_dup'], /values\[0\]: "sys_dup" /],
    [['list:some'], ['list:some'], /values\[0\]: the list "some" holds "list:some": a list holds no other/],
  ])('is refused where it holds none: %j of %j', (values, held, message) => {
    expect(validate(policyOf(values, held)).errors.map(formatIssue)).toEqual([
      expect.stringMatching(message),
    ]);
  });
});
