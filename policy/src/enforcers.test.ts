// SPDX-License-Identifier: Apache-2.0
import { Action } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { generateLists } from './generated-lists.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';

function policyWith(action: string, enforcers = '[{calls: ["list:dups", sys_mkdir]}]', option = ''): Policy {
  const [policy] = parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: enforced}
spec:
  lists: [{name: dups, type: syscalls, values: [sys_dup, sys_dup, __ia32_sys_dup]}]
${enforcers === '' ? '' : `  enforcers: ${enforcers}\n`}${option}  kprobes:
  - {call: sys_mkdir, selectors: [{matchActions: [${action}]}]}
`);
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

describe('enforcers', () => {
  it('are on each of their functions once, and after the selectors that can ask in the same call', () => {
    const { hooks } = plan([
      { id: 4, policy: policyWith('{action: NotifyEnforcer, argSig: 9, argError: 1}') },
    ]);
    expect(hooks.map(({ symbol, selectors }) => [symbol, selectors.length])).toEqual([
      ['__x64_sys_mkdir', 2],
      ['__x64_sys_dup', 1],
      ['__ia32_sys_dup', 1],
    ]);
    const [asking, enforcer] = hooks[0]?.selectors ?? [];
    expect(asking).toMatchObject({
      actions: (1 << Action.post) | (1 << Action.notifyenforcer),
      notification: { error: -1, signal: 9 },
      signal: 0,
      error: 0,
    });
    expect(asking?.isEnforcer).toBeUndefined();
    // Who is killed needs no denial: where none can be had, the policy loads all the same.
    expect(enforcer).toMatchObject({ isEnforcer: true, actions: 1 << Action.sigkill, hookIndex: 1 });
    expect(hooks.map(({ bindings }) => bindings.at(-1)?.ignoreMissing)).toEqual([false, false, true]);
  });

  it('are on the calls of a list that is made from the kernel', () => {
    const policy = policyWith('{action: NotifyEnforcer, argSig: 9}', '[{calls: ["list:made"]}]');
    const lists = [{ name: 'made', type: 'generated_syscalls' as const, pattern: '^sys_dup' }];
    const { policy: made, issues } = generateLists(
      { ...policy, spec: { ...policy.spec, lists } },
      {
        systemCalls: () => ['__x64_sys_dup', '__x64_sys_dup2', '__x64_sys_openat'],
        functions: () => [],
        canHook: () => true,
      },
    );
    expect(issues).toEqual([]);
    expect(plan([{ id: 1, policy: made }]).hooks.map(({ symbol }) => symbol)).toEqual([
      '__x64_sys_mkdir',
      '__x64_sys_dup',
      '__x64_sys_dup2',
    ]);
  });

  it('need the denial where they kill nobody', () => {
    const policy = policyWith('{action: NotifyEnforcer, argError: -1}', '[{calls: [security_path_mkdir]}]');
    const hook = plan([{ id: 1, policy }]).hooks.find(({ symbol }) => symbol === 'security_path_mkdir');
    expect(hook?.selectors[0]?.actions).toBe(1 << Action.override);
    expect(hook?.denies).toBe(true);
    const monitor = '  options: [{name: policy-mode, value: monitor}]\n';
    const watching = policyWith(
      '{action: NotifyEnforcer, argError: -1}',
      '[{calls: [security_path_mkdir]}]',
      monitor,
    );
    expect(plan([{ id: 1, policy: watching }]).hooks.some(({ denies }) => denies)).toBe(false);
  });

  const action = 'spec.kprobes[0].selectors[0].matchActions[0]';
  it.each([
    ['{action: NotifyEnforcer, argSig: 9}', '', `${action}.action`, 'the policy has no enforcers'],
    ['{action: CleanupEnforcerNotification}', '', `${action}.action`, 'the policy has no enforcers'],
    ['{action: NotifyEnforcer}', undefined, `${action}.argError`, 'is missing'],
    ['{action: NotifyEnforcer, argError: -1}', undefined, `${action}.argError`, '__x64_sys_dup: no security'],
    ['{action: NotifyEnforcer, argError: -1, argSig: 10}', undefined, `${action}.argError`, '__x64_sys_dup'],
    [
      '{action: NotifyEnforcer, argError: -1}',
      '[{calls: [vfs_open]}]',
      `${action}.argError`,
      'vfs_open: it cannot',
    ],
    ['{action: Post}', '[{calls: ["list:none"]}]', 'spec.enforcers[0].calls[0]', 'no list "none"'],
    ['{action: Post}', '[{calls: [sys_nothing]}]', 'spec.enforcers[0].calls[0]', 'no 64-bit system call'],
  ])('refuse %s with %s', (actions, enforcers, path, reason) => {
    const { ok, errors } = check(policyWith(actions, enforcers));
    expect(ok).toBe(false);
    expect(errors.map((issue) => issue.path)).toContain(path);
    expect(errors.find((issue) => issue.path === path)?.message).toContain(reason);
  });

  it('are told of, with what takes effect all the same', () => {
    const { ok, text, warnings } = check(policyWith('{action: NotifyEnforcer, argSig: 9}'));
    expect(ok).toBe(true);
    expect(text).toContain('Post, ask the enforcers to send signal 9');
    expect(text).toContain('  __x64_sys_mkdir: fentry: enforcer, denied through security_path_mkdir');
    expect(text).toContain('  __ia32_sys_dup: fentry: enforcer\n');
    const late = warnings.filter(({ code }) => code === 'takes-effect').map(({ path }) => path);
    expect(late).toEqual(['spec.lists[0].values[0]', 'spec.lists[0].values[2]']);
    const lacking = check(policyWith('{action: NotifyEnforcer, argSig: 9}'), {
      hasFunction: (symbol) => !symbol.endsWith('_dup'),
    });
    expect(lacking.errors.map(({ path }) => path)).toEqual(['spec.lists[0].values[0]']);
  });
});
