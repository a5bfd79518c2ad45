// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync } from 'node:fs';
import { Btf, check, parsePolicies } from '@weir/policy';
import { describe, expect, it } from 'vitest';
import { runningFacts } from './kernel-facts.js';

const path = '/sys/kernel/btf/vmlinux';
const types = existsSync(path) ? Btf.read(readFileSync(path)) : undefined;
const functions = new Map([
  ['security_file_open', false],
  ['__x64_sys_getppid', false],
  ['a_function_without_a_type', false],
  ['a_function_of_a_module', true],
]);

function checked(hook: object, known: Btf | undefined = types) {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'asks' },
      spec: { kprobes: [{ syscall: false, ...hook }] },
    }),
  );
  if (policy === undefined) throw new Error('there is no policy');
  const { ok, errors } = check(policy, runningFacts(functions, known, '6.0'));
  return { ok, errors: errors.map(({ path: at, message }) => `${at}: ${message}`) };
}

describe('the kernel that a policy is checked on', () => {
  it('is asked for functions by their names where it tells no types', () => {
    const known = runningFacts(functions, undefined, '6.0');
    expect(known.hasFunction?.('a_function_without_a_type')).toBe(true);
    expect(known.hasFunction?.('no_function')).toBe(false);
    expect(runningFacts(undefined, undefined, '6.0')).toEqual({ release: '6.0' });
  });

  it.runIf(types !== undefined)('has no function that can be hooked where there is no type', () => {
    expect(checked({ call: 'security_file_open' })).toEqual({ ok: true, errors: [] });
    expect(checked({ call: 'a_function_of_a_module' }).ok).toBe(true);
    expect(checked({ call: 'a_function_without_a_type' }).errors).toEqual([
      expect.stringContaining('spec.kprobes[0].call'),
    ]);
    expect(checked({ call: 'sys_getppid', syscall: true }).ok).toBe(true);
  });

  it.runIf(types !== undefined)('is asked for the fields that arguments name', () => {
    const args = (resolve: string) => [{ index: 0, type: 'uint32', resolve }];
    expect(checked({ call: 'security_file_open', args: args('f_flags') }).ok).toBe(true);
    expect(checked({ call: 'security_file_open', args: args('f_flag') }).errors).toEqual([
      expect.stringContaining('spec.kprobes[0].args[0].resolve'),
    ]);
    expect(checked({ call: 'a_function_of_a_module', args: args('f_flag') }).ok).toBe(true);
  });
});
