// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { formatIssue } from './error.js';
import { parsePolicies } from './parse.js';
import type { Policy } from './policy.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(spec: string): Policy {
  const head = 'apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n';
  const [policy] = parsePolicies(`${head}${spec}`);
  if (policy === undefined) throw new Error('there is no policy');
  return policy;
}

/** A kprobe whose fields are in flow style. */
function kprobe(fields: string): Policy {
  return policyOf(`  kprobes: [{${fields}}]\n`);
}

function refusals(policy: Policy): string[] {
  return [...validate(policy).errors, ...unsupported(policy)].map(formatIssue);
}

function noted(policy: Policy): string[] {
  return policy.notes.map(({ path, message }) => `${path}: ${message}`);
}

const path = 'call: sys_linkat, syscall: true, args: [{index: 1, type: string}]';

describe('what policies write in another way', () => {
  it.each(['Equal', 'NotEqual', 'Postfix', 'NotPostfix'])(
    'takes the end of a text off, of %s',
    (operator) => {
      const policy = kprobe(
        `${path}, selectors: [{matchArgs: [{index: 1, operator: ${operator}, values: ["/etc/a\\0", "/etc/b"]}]}]`,
      );
      expect(policy.spec.kprobes?.[0]?.selectors?.[0]?.matchArgs?.[0]?.values).toEqual(['/etc/a', '/etc/b']);
      expect(refusals(policy)).toEqual([]);
      expect(noted(policy)).toEqual([
        expect.stringMatching(/matchArgs\[0\]\.values\[0\]: ends in a NUL: taken as "\/etc\/a"/),
      ]);
    },
  );

  it.each([
    ['a beginning', 'Prefix', '"/etc/a\\0"'],
    ['a NUL within', 'Equal', '"/etc\\0a"'],
    ['two of them', 'Equal', '"/etc/a\\0\\0"'],
  ])('refuses the NUL of %s', (_, operator, value) => {
    const policy = kprobe(
      `${path}, selectors: [{matchArgs: [{index: 1, operator: ${operator}, values: [${value}]}]}]`,
    );
    expect(refusals(policy)).toEqual([expect.stringMatching(/holds a NUL/)]);
  });

  it('leaves the NULs of buffers, where they are bytes like others', () => {
    const policy = kprobe(
      'call: sys_write, syscall: true, args: [{index: 1, type: char_buf, sizeArgIndex: 3}], selectors: [{matchArgs: [{index: 1, operator: Equal, values: ["a\\0"]}]}]',
    );
    expect(policy.spec.kprobes?.[0]?.selectors?.[0]?.matchArgs?.[0]?.values).toEqual(['a\0']);
    expect(policy.notes).toEqual([]);
  });

  it.each([
    ['kfree_skb_reason', false, 1],
    ['sys_openat', true, 0],
    ['__x64_sys_openat', true, 0],
  ])('takes %s without syscall as what it can only be', (call, syscall, notes) => {
    const policy = kprobe(`call: ${call}`);
    expect(policy.spec.kprobes?.[0]?.syscall).toBe(syscall);
    expect(policy.notes.length).toBe(notes);
    expect(refusals(policy)).toEqual([]);
  });

  it('takes a list of functions as such, and refuses one of both kinds', () => {
    const list = (values: string) =>
      policyOf(`  lists: [{name: l, values: [${values}]}]\n  kprobes: [{call: "list:l"}]\n`);
    expect(refusals(list('ksys_read, ksys_write'))).toEqual([]);
    expect(refusals(list('sys_read, sys_write'))).toEqual([]);
    expect(refusals(list('sys_read, ksys_write'))).toEqual([expect.stringMatching(/is no system call/)]);
  });

  it.each([
    ['i386/sys_dup', '__ia32_sys_dup'],
    ['i386/sys_openat', '__ia32_compat_sys_openat'],
    ['x64/sys_dup', '__x64_sys_dup'],
  ])('knows %s for %s', (name, symbol) => {
    const policy = policyOf(
      `  lists: [{name: l, type: syscalls, values: [sys_read, ${name}]}]\n  kprobes: [{call: "list:l"}]\n`,
    );
    expect(refusals(policy)).toEqual([]);
    expect(check(policy).text).toContain(`  ${symbol}: fentry`);
  });

  it('refuses a 32-bit entry that leads to a function of another name', () => {
    const policy = policyOf(
      '  lists: [{name: l, type: syscalls, values: [i386/sys_setuid]}]\n  kprobes: [{call: "list:l"}]\n',
    );
    expect(refusals(policy).join()).toMatch(/"i386\/sys_setuid" /);
  });

  it('takes a list of system calls as numbers where a number is looked at', () => {
    const of = (type: string, name: string) =>
      policyOf(
        `  lists: [{name: l, type: syscalls, values: [${name}]}]\n  tracepoints: [{subsystem: raw_syscalls, event: sys_enter, args: [{index: 4, type: ${type}}], selectors: [{matchArgs: [{index: 4, operator: InMap, values: ["list:l"]}]}]}]\n`,
      );
    expect(refusals(of('uint64', 'sys_dup'))).toEqual([]);
    expect(validate(of('uint64', 'sys_dup')).warnings.map(formatIssue).join()).toMatch(/by the 64-bit entry/);
    expect(refusals(of('uint64', '__ia32_sys_dup')).join()).toMatch(/is no range/);
    expect(refusals(of('syscall64', 'i386/sys_dup'))).toEqual([]);
  });

  it('reads at the return of a system call what is asked to be read there', () => {
    const read = 'call: sys_read, syscall: true, args: [{index: 1, type: char_buf, returnCopy: true}]';
    const policy = kprobe(read);
    expect(policy.spec.kprobes?.[0]).toMatchObject({ return: true, returnArg: { type: 'int64' } });
    expect(noted(policy)).toEqual([expect.stringMatching(/args\[0\]\.returnCopy: .*as with return: true/)]);
    expect(refusals(policy)).toEqual([]);
  });

  it('says of a return value that it is not read, unless something is asked of it', () => {
    const follow = 'call: security_inode_follow_link, syscall: false, returnArg: {index: 0, type: int}';
    const policy = kprobe(follow);
    expect(policy.spec.kprobes?.[0]).not.toHaveProperty('returnArg');
    expect(noted(policy)).toEqual([expect.stringMatching(/returnArg: is not read/)]);
    expect(refusals(policy)).toEqual([]);
    const asked = kprobe(`${follow}, selectors: [{matchReturnArgs: [{operator: Equal, values: ["0"]}]}]`);
    expect(refusals(asked).join()).toMatch(/write return: true/);
  });

  it('takes the socket for the first argument where none is named', () => {
    const policy = kprobe(
      'call: __sk_free, syscall: false, args: [{index: 0, type: sock}], selectors: [{matchActions: [{action: UntrackSock}]}]',
    );
    expect(refusals(policy)).toEqual([]);
    expect(noted(policy)).toEqual([expect.stringMatching(/argSock: .*taken as 0/)]);
  });

  it('takes what generators write without a meaning', () => {
    const usdt =
      '{path: /usr/bin/a, provider: a, name: b, message: "", args: [{index: 0, type: int32, label: l, maxData: false, resolve: "", returnCopy: false, sizeArgIndex: 0}]}';
    expect(refusals(policyOf(`  usdts: [${usdt}]\n`))).toEqual([]);
    const heap = (value: string) =>
      refusals(policyOf(`  options: [{name: uprobe-heap-size, value: "${value}"}]\n  usdts: [${usdt}]\n`));
    expect(heap('65536')).toEqual([]);
    expect(heap('0')).toEqual([expect.stringMatching(/options\[0\]\.value: "0" is no number of entries/)]);
  });

  it('takes one symbol for several', () => {
    const policy = policyOf('  uprobes: [{path: /bin/bash, symbol: readline}]\n');
    expect(policy.spec.uprobes?.[0]).toEqual({ path: '/bin/bash', symbols: ['readline'] });
    expect(noted(policy)).toEqual([expect.stringMatching(/uprobes\[0\]\.symbol: taken as symbols/)]);
    expect(refusals(policy)).toEqual([]);
    const both = policyOf('  uprobes: [{path: /bin/bash, symbol: readline, symbols: [main]}]\n');
    expect(refusals(both)).toEqual([expect.stringMatching(/uprobes\[0\]\.symbol: .*write it there too/)]);
  });

  it('says of actions that are gone what to do without', () => {
    expect(() =>
      kprobe('call: fd_install, syscall: false, selectors: [{matchActions: [{action: FollowFD}]}]'),
    ).toThrow(/FollowFD.* is no action: leave it out/);
  });
});
