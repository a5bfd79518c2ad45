// SPDX-License-Identifier: Apache-2.0
// Policies on what calls return: how they are planned, told and refused.
import { Action, ArgumentType } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(hook: object, name = 'returns') {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name },
      spec: { kprobes: [hook] },
    }),
  );
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

const read = {
  call: 'sys_read',
  args: [{ index: 0, type: 'int', label: 'number' }],
  return: true,
  returnArg: { index: 0, type: 'int64', label: 'count' },
};

function errorsOf(hook: object) {
  return validate(policyOf(hook)).errors.map(({ path, message }) => `${path}: ${message}`);
}

describe('plans of returns', () => {
  it('show what the call returned last, and match it apart from the arguments', () => {
    const { hooks } = plan([
      {
        id: 1,
        policy: policyOf({
          ...read,
          selectors: [
            {
              matchReturnArgs: [{ operator: 'Equal', values: ['-9'] }],
              matchReturnActions: [{ action: 'Signal', argSig: 10 }, { action: 'NoPost' }],
            },
          ],
        }),
      },
    ]);
    const [hook] = hooks;
    expect(hook?.returns).toBe(true);
    // What selectors ask about is read first.
    expect(hook?.arguments).toEqual([
      { type: ArgumentType.int64, index: 0, hidden: false, returned: true },
      { type: ArgumentType.int32, index: 0, hidden: false },
    ]);
    expect(hook?.bindings[0]?.argumentLabels).toEqual(['number', 'count']);
    expect(hook?.dimensions.map(({ argument }) => argument)).toEqual([0]);
    expect(hook?.selectors[0]).toMatchObject({
      actions: 1 << Action.post,
      signal: 0,
      returns: true,
      showsReturn: true,
      returnActions: 1 << Action.signal,
      returnSignal: 10,
      shownArguments: [1, 0],
    });
  });

  it('leave the events of other policies on the same function at its entry', () => {
    const { return: _, returnArg: __, ...plain } = read;
    const { hooks } = plan([
      { id: 1, policy: policyOf(plain, 'plain') },
      { id: 2, policy: policyOf(read) },
    ]);
    expect(hooks[0]?.selectors.map(({ returns, shownArguments }) => [returns, shownArguments])).toEqual([
      [undefined, [0]],
      [true, [0, 1]],
    ]);
  });

  it('take six arguments beside the return value', () => {
    const args = [0, 1, 2, 3, 4, 5].map((index) => ({ index, type: 'uint64' }));
    const { hooks } = plan([{ id: 1, policy: policyOf({ ...read, call: 'sys_futex', args }) }]);
    expect(hooks[0]?.arguments).toHaveLength(7);
  });
});

describe('checks of returns', () => {
  it('refuse what nothing can be judged by', () => {
    expect(errorsOf({ ...read, returnArg: undefined })).toEqual([
      expect.stringMatching(/^spec\.kprobes\[0\]\.returnArg: is missing: with return: true/),
    ]);
    expect(errorsOf({ ...read, call: 'sys_exit_group' })).toEqual([
      'spec.kprobes[0].call: __x64_sys_exit_group never returns: leave return out',
    ]);
    const { return: _, returnArg: __, ...plain } = read;
    expect(errorsOf({ ...plain, selectors: [{ matchReturnActions: [{ action: 'Sigkill' }] }] })).toEqual([
      expect.stringMatching(/matchReturnActions\[0\]: matchReturnActions is judged at the return/),
    ]);
    expect(
      errorsOf({
        ...read,
        call: 'security_file_open',
        syscall: false,
        selectors: [{ matchReturnActions: [{ action: 'Override', argError: -1 }] }],
      }),
    ).toEqual([expect.stringMatching(/Override: security_file_open has returned already/)]);
  });

  it('warn that an action at the entry does not wait for the return', () => {
    const policy = policyOf({
      ...read,
      selectors: [
        { matchReturnArgs: [{ operator: 'LT', values: ['0'] }], matchActions: [{ action: 'Sigkill' }] },
      ],
    });
    expect(validate(policy).warnings.map(({ path, message }) => `${path}: ${message}`)).toContainEqual(
      expect.stringMatching(
        /matchActions\[0\]\.action: Sigkill is done when the call begins, whatever it returns then/,
      ),
    );
  });

  it('tell what is matched and done at the return', () => {
    const { text } = check(
      policyOf({
        ...read,
        selectors: [
          {
            matchReturnArgs: [{ operator: 'LT', values: ['0'] }],
            matchReturnActions: [{ action: 'Sigkill' }],
          },
        ],
      }),
    );
    expect(text).toContain('fentry: observes; fexit: sees it return');
    expect(text).toContain('what it returns LT 0 -> Post, at the return kill the process');
  });

  it('have a rate limit and stacks from either list of actions, and one rate limit only', () => {
    const limited = { action: 'Post', rateLimit: '5s', rateLimitScope: 'global', kernelStackTrace: true };
    const selector = { matchReturnActions: [limited] };
    const [hook] = plan([{ id: 1, policy: policyOf({ ...read, selectors: [selector] }) }]).hooks;
    expect(hook?.selectors[0]).toMatchObject({
      rateLimit: { seconds: 5, scope: 'global' },
      stacks: { kernel: true, user: false },
    });
    const both = policyOf({ ...read, selectors: [{ ...selector, matchActions: [limited] }] });
    expect(unsupported(both).map(({ path }) => path)).toEqual([
      'spec.kprobes[0].selectors[0].matchReturnActions[0].rateLimit',
    ]);
  });
});
