// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';
import { rateLimitSeconds } from './rate-limit.js';

function policyWith(action: string): Policy {
  const [policy] = parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: limited}
spec:
  kprobes:
  - {call: security_file_open, syscall: false, args: [{index: 0, type: file}], selectors: [{matchActions: [${action}]}]}
`);
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

describe('rate limits', () => {
  it.each([
    ['5', 5],
    [5, 5],
    ['5s', 5],
    ['2M', 120],
    ['1h', 3600],
    ['0', 0],
    ['', undefined],
    ['5d', undefined],
    ['-1', undefined],
    ['1.5s', undefined],
  ])('reads %j as %s seconds', (text, seconds) => {
    expect(rateLimitSeconds(text)).toBe(seconds);
  });

  it.each([
    ['{action: Post, rateLimit: 1m}', { seconds: 60, scope: 'thread' }],
    ['{action: Post, rateLimit: 7, rateLimitScope: global}', { seconds: 7, scope: 'global' }],
    [
      '{action: Sigkill}, {action: Post, rateLimit: 1h, rateLimitScope: process}',
      { seconds: 3600, scope: 'process' },
    ],
    ['{action: Post, rateLimit: "0"}', undefined],
    ['{action: Post}', undefined],
  ])('plans %s', (action, expected) => {
    const [hook] = plan([{ id: 1, policy: policyWith(action) }]).hooks;
    expect(hook?.selectors[0]?.rateLimit).toEqual(expected);
  });

  it('refuses a limit of more than a year, and one that is no time', () => {
    for (const [text, reason] of [
      ['8785h', 'too long: a rate limit goes up to 8784h'],
      ['often', 'is no time'],
    ]) {
      const { ok, errors } = check(policyWith(`{action: Post, rateLimit: ${text}}`));
      expect(ok).toBe(false);
      expect(errors[0]?.path).toBe('spec.kprobes[0].selectors[0].matchActions[0].rateLimit');
      expect(errors[0]?.message).toContain(reason);
    }
  });

  it('says what is sent', () => {
    expect(check(policyWith('{action: Post, rateLimit: 1m, rateLimitScope: process}')).text).toContain(
      'always -> Post (once in 60 s a process for the same arguments)',
    );
  });
});
