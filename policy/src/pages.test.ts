// SPDX-License-Identifier: Apache-2.0
import { limits } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { assignPages, type Demand, pagesOf, placeOf } from './pages.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';

const most = limits.selectors_per_hook;

function demand(policyId: number, selectors: number, enforces = false): Demand {
  return { policyId, key: 'kprobe:f', selectors, enforces, readings: new Set(), lookUps: new Map() };
}

function assigned(demands: readonly Demand[], former = new Map<string, number>()): (number | undefined)[] {
  const pages = assignPages(demands, former);
  return demands.map(({ policyId, key }) => pages.get(placeOf(policyId, key)));
}

describe('pages of a hook', () => {
  it('are filled one after the other, a policy never parted', () => {
    expect(assigned([demand(1, most - 1), demand(2, 2), demand(3, 1), demand(4, most - 2)])).toEqual([
      0, 1, 0, 1,
    ]);
  });

  it('have all that enforces on the first, whatever observes', () => {
    expect(assigned([demand(1, most), demand(2, 1, true), demand(3, most - 1)])).toEqual([1, 0, 0]);
  });

  it('keep what is in force where it is, as long as there is room', () => {
    const former = new Map([
      [placeOf(2, 'kprobe:f'), 1],
      [placeOf(3, 'kprobe:f'), 0],
    ]);
    expect(assigned([demand(2, 1), demand(3, 1)], former)).toEqual([1, 0]);
    expect(assigned([demand(1, most, true), demand(2, 1), demand(3, 1)], former)).toEqual([0, 1, 1]);
  });

  it('read no more values, and look no more up, than a program takes', () => {
    const reads = (policyId: number, ...readings: string[]) => ({
      ...demand(policyId, 1),
      readings: new Set(readings),
    });
    expect(assigned([reads(1, 'a', 'b', 'c', 'd', 'e'), reads(2, 'e', 'f', 'g', 'h')])).toEqual([0, 0]);
    expect(
      assigned([reads(1, 'a', 'b', 'c', 'd', 'e'), reads(2, 'f', 'g', 'h', 'i'), reads(3, 'a')]),
    ).toEqual([0, 1, 0]);
    const looksUp = (policyId: number, ...lookUps: [string, number][]) => ({
      ...demand(policyId, 1),
      lookUps: new Map(lookUps),
    });
    // Of the same look-up, selectors share as many as one of them needs.
    expect(assigned([looksUp(1, ['a', 20], ['b', 12]), looksUp(2, ['a', 20])])).toEqual([0, 0]);
    expect(assigned([looksUp(1, ['a', 20], ['b', 12]), looksUp(2, ['a', 21]), looksUp(3, ['c', 1])])).toEqual(
      [0, 1, 1],
    );
  });
});

describe('a plan with more selectors than a program takes', () => {
  const policyOf = (name: string, selectors: number, action = 'Post') =>
    parsePolicies(
      JSON.stringify({
        apiVersion: 'cilium.io/v1alpha1',
        kind: 'TracingPolicy',
        metadata: { name },
        spec: {
          kprobes: [
            {
              call: 'security_file_open',
              syscall: false,
              args: [{ index: 0, type: 'file' }],
              selectors: Array.from({ length: selectors }, () => ({
                matchActions: [{ action, ...(action === 'Override' ? { argError: -1 } : {}) }],
              })),
            },
          ],
        },
      }),
    );
  const planOf = (...policies: ReturnType<typeof policyOf>[]) =>
    plan(policies.flat().map((policy, id) => ({ id, policy })));

  it('has several hooks on the function, of which the last to be flipped enforces', () => {
    const { hooks } = planOf(policyOf('a', most), policyOf('b', 1), policyOf('c', 1, 'Override'));
    expect(hooks.map(({ key, page, denies }) => [key, page, denies])).toEqual([
      ['kprobe:security_file_open#1', 1, false],
      ['kprobe:security_file_open', undefined, true],
    ]);
    expect(hooks.map(({ bindings }) => bindings.map(({ policyName }) => policyName))).toEqual([
      ['a'],
      ['b', 'c'],
    ]);
    expect([...pagesOf(hooks)]).toEqual([
      ['0 kprobe:security_file_open', 1],
      ['1 kprobe:security_file_open', 0],
      ['2 kprobe:security_file_open', 0],
    ]);
  });

  it('refuses what cannot be parted', () => {
    expect(() => planOf(policyOf('a', most, 'Override'), policyOf('b', 1, 'Override'))).toThrowError(
      /selectors\[0\]: more than 512 selectors .* cannot be parted/,
    );
  });
});
