// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { generateLists, type KernelNames } from './generated-lists.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';
import { validate } from './validate.js';

const names: KernelNames = {
  // The second has no number among 64-bit calls.
  systemCalls: () => ['__x64_sys_dup', '__x64_sys_waitpid', '__x64_sys_dup2', '__x64_sys_newstat'],
  functions: () => ['tcp_connect', 'tcp_close', 'udp_sendmsg', 'tcp_untyped'],
  canHook: (name) => name !== 'tcp_untyped',
};

function policyOf(list: string, hook = 'call: "list:l"'): Policy {
  const [policy] = parsePolicies(
    `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n  lists: [{name: l, ${list}}]\n  kprobes: [{${hook}}]\n`,
  );
  if (policy === undefined) throw new Error('there is no policy');
  return policy;
}

function symbolsOf(policy: Policy): string[] {
  return plan([{ id: 1, policy }]).hooks.map(({ symbol }) => symbol);
}

describe('generated lists', () => {
  it('are the system calls, or the functions that can be hooked and have the pattern in their names', () => {
    const calls = generateLists(policyOf('type: generated_syscalls'), names);
    expect(calls.issues).toEqual([]);
    expect(symbolsOf(calls.policy)).toEqual(['__x64_sys_dup', '__x64_sys_dup2', '__x64_sys_newstat']);
    const some = generateLists(policyOf('type: generated_syscalls, pattern: "^sys_dup"'), names);
    expect(symbolsOf(some.policy)).toEqual(['__x64_sys_dup', '__x64_sys_dup2']);
    // Functions, whatever the hook says.
    const functions = generateLists(policyOf('type: generated_ftrace, pattern: ^tcp_'), names);
    expect(symbolsOf(functions.policy)).toEqual(['tcp_connect', 'tcp_close']);
  });

  it('are not planned before they are made, and an empty one is an issue', () => {
    const policy = policyOf('type: generated_syscalls');
    expect(() => symbolsOf(policy)).toThrow(/spec\.lists\[0\]\.type.*not known here/);
    const { issues } = generateLists(policyOf('type: generated_ftrace, pattern: ^no_such'), names);
    expect(issues.map(({ path, message }) => [path, message])).toEqual([
      ['spec.lists[0].pattern', '"^no_such" is found in no function that can be hooked'],
    ]);
  });

  it('are checked with the kernel at hand, and warned of without', () => {
    const policy = policyOf('type: generated_ftrace, pattern: ^tcp_', 'call: "list:l", syscall: false');
    expect(check(policy, { names }).text).toMatch(/tcp_connect: fentry.*\n.*\n {2}tcp_close: fentry/);
    const without = check(policy);
    expect(without.ok).toBe(true);
    expect(without.warnings.map(({ path }) => path)).toEqual(['spec.lists[0].type']);
  });

  it.each([
    ['type: generated_ftrace', 'spec.lists[0].pattern', /is missing/],
    [
      'type: generated_ftrace, pattern: "(a"',
      'spec.lists[0].pattern',
      /is no pattern of names: a "\(" is not closed/,
    ],
    ['type: generated_syscalls, values: [sys_dup]', 'spec.lists[0].values', /are made from the kernel/],
  ])('refuse %s', (list, path, message) => {
    const { errors } = validate(policyOf(list));
    expect(errors.map((issue) => issue.path)).toContain(path);
    expect(errors.find((issue) => issue.path === path)?.message).toMatch(message);
  });
});
