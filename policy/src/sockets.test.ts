// SPDX-License-Identifier: Apache-2.0
import { Action, ArgumentType } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { formatIssue } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(...kprobes: readonly object[]) {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'p' },
      spec: { kprobes: kprobes.map((kprobe) => ({ syscall: false, ...kprobe })) },
    }),
  );
  if (policy === undefined) throw new Error('there is no policy');
  return policy;
}

const acts = (...matchActions: readonly object[]) => ({ selectors: [{ matchActions }] });
const connect = {
  call: 'security_socket_connect',
  args: [
    { index: 1, type: 'sockaddr' },
    { index: 0, type: 'socket' },
  ],
};
const received = { call: 'security_sock_rcv_skb', args: [{ index: 0, type: 'sock' }] };
const opened = { call: 'security_file_open', args: [{ index: 0, type: 'file' }] };

describe('the owners of sockets', () => {
  it('are set and forgotten by the argument that argSock names, and told by every hook that sees a socket', () => {
    const policy = policyOf(
      { ...connect, ...acts({ action: 'TrackSock', argSock: 0 }, { action: 'UntrackSock', argSock: 0 }) },
      received,
      opened,
    );
    expect(validate(policy).errors).toEqual([]);
    expect(unsupported(policy)).toEqual([]);
    const { hooks } = plan([{ id: 1, policy }]);
    expect(hooks.map(({ symbol, socketOwners }) => [symbol, socketOwners])).toEqual([
      ['security_socket_connect', true],
      ['security_sock_rcv_skb', true],
      ['security_file_open', undefined],
    ]);
    const [selector] = hooks[0]?.selectors ?? [];
    expect(selector?.sockets).toEqual({ track: 1, untrack: 1 });
    const both = (1 << Action.post) | (1 << Action.tracksock) | (1 << Action.untracksock);
    expect(selector?.actions).toBe(both);
    expect(hooks[0]?.arguments[1]?.type).toBe(ArgumentType.socket);
  });

  it('are not told where nobody sets one', () => {
    const policy = policyOf({ ...connect, ...acts({ action: 'UntrackSock', argSock: 0 }) }, received);
    expect(plan([{ id: 1, policy }]).hooks.map(({ socketOwners }) => socketOwners)).toEqual([
      undefined,
      undefined,
    ]);
  });

  it('are set at the return, of what is returned or of an argument', () => {
    const policy = policyOf(
      {
        call: 'sk_alloc',
        return: true,
        returnArg: { index: 0, type: 'sock' },
        returnArgAction: 'TrackSock',
      },
      {
        call: 'tcp_connect',
        args: [{ index: 0, type: 'sock' }],
        return: true,
        returnArg: { index: 0, type: 'int' },
        selectors: [{ matchReturnActions: [{ action: 'UntrackSock', argSock: 0 }] }],
      },
    );
    expect(validate(policy).errors).toEqual([]);
    const { hooks } = plan([{ id: 1, policy }]);
    expect(hooks.map(({ selectors }) => selectors[0]?.returnSockets)).toEqual([{ track: 0 }, { untrack: 0 }]);
    expect(hooks[0]?.selectors[0]?.returnActions).toBe((1 << Action.post) | (1 << Action.tracksock));
  });

  it('are told of by the check, as what is shown and not as what is enforced', () => {
    const actions = [{ action: 'TrackSock', argSock: 0 }];
    const policy = policyOf({
      ...connect,
      ...acts(...actions),
      return: true,
      returnArg: { index: 0, type: 'int' },
    });
    const { text } = check(policy);
    expect(text).toContain('Post, tell what comes to the socket of argument 0 of this process from now on');
    const monitor = {
      ...policy,
      spec: { ...policy.spec, options: [{ name: 'policy-mode' as const, value: 'monitor' }] },
    };
    expect(check(monitor).text).not.toContain('only says what it would have done');
  });

  it.each([
    [
      { call: 'ip_output', args: [{ index: 1, type: 'sock' }], ...acts({ action: 'TrackSock' }) },
      /matchActions\[0\]\.argSock: is missing/,
    ],
    [
      { ...connect, ...acts({ action: 'TrackSock', argSock: 1 }) },
      /argSock: names an argument of the type sockaddr, which is no socket/,
    ],
    [{ ...connect, ...acts({ action: 'UntrackSock', argSock: 7 }) }, /argSock: .*indexes 1, 0/],
    [
      {
        call: 'tcp_connect',
        return: true,
        returnArg: { index: 0, type: 'int' },
        returnArgAction: 'UntrackSock',
      },
      /returnArgAction: UntrackSock takes a socket, and returnArg is of the type int/,
    ],
  ])('are refused where no socket is named: %#', (kprobe, message) => {
    expect(validate(policyOf(kprobe)).errors.map(formatIssue)).toEqual([expect.stringMatching(message)]);
  });
});
