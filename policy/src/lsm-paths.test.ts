// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { isDeniable } from './calls.js';
import { check } from './check.js';
import { denialPoints, lsmPathCalls, lsmPathFunctions, lsmPathOf, whyNotOverridden } from './lsm-paths.js';
import { parsePolicies } from './parse.js';
import { entryName, syscallNames } from './syscall-names.js';

function policy(call: string, action: object, options: readonly object[] = []) {
  const [parsed] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'guard' },
      spec: { options, kprobes: [{ call, syscall: true, selectors: [{ matchActions: [action] }] }] },
    }),
  );
  if (parsed === undefined) throw new Error('there is no policy');
  return check(parsed);
}

describe('the table of paths', () => {
  it('has system calls, by the names of their entries', () => {
    for (const call of lsmPathCalls) {
      expect(syscallNames).toContain(call);
      expect(entryName(call)).toBe(call);
    }
  });

  it('has functions that can deny, and no more than a mark has bits', () => {
    expect(lsmPathFunctions.filter((name) => !isDeniable(name))).toEqual([]);
    expect(lsmPathFunctions.length).toBeLessThanOrEqual(64);
    expect(new Set(lsmPathFunctions).size).toBe(lsmPathFunctions.length);
  });

  it('is found by either name of a call', () => {
    expect(lsmPathOf('umount2')).toBe(lsmPathOf('umount'));
    expect(lsmPathOf('dup')).toBeUndefined();
    expect(lsmPathOf('constructor')).toBeUndefined();
    expect(denialPoints('dup')).toEqual([]);
    expect(denialPoints('getppid')).toBeUndefined();
    expect(denialPoints('keyctl')).toContain('security_key_permission');
  });
});

describe('Override on a system call', () => {
  it.each([
    ['unlinkat', -13, undefined],
    ['setns', -1, undefined],
    ['setns', -13, /write argError: -1/],
    ['process_vm_readv', -13, /write argError: -1/],
    ['prctl', -1, undefined],
    ['prctl', -38, /takes -38 from what stands on its path for leave to go on/],
    ['dup', -1, /no security function stands on its path/],
    ['keyctl', -1, /is not proven for every way through it; hook security_key_permission/],
    ['getppid', -1, /is not known/],
  ])('%s with %i', (name, error, reason) => {
    const why = whyNotOverridden(name, error);
    if (reason === undefined) expect(why).toBeUndefined();
    else expect(why).toMatch(reason);
  });

  it('can be loaded where the path is proven', () => {
    const result = policy('sys_unlinkat', { action: 'Override', argError: -13 });
    expect(result.errors).toEqual([]);
    expect(result.text).toMatch(/can be denied through security_path_unlink, security_path_rmdir/);
  });

  it('is refused by the field and with the reason where it is not', () => {
    const { ok, errors } = policy('sys_chroot', { action: 'Override', argError: -13 });
    expect(ok).toBe(true);
    expect(errors).toEqual([]);
    const refused = policy('sys_setns', { action: 'Override', argError: -13 });
    expect(refused.errors.map(({ code, path }) => [code, path])).toEqual([
      ['not-deniable', 'spec.kprobes[0].selectors[0].matchActions[0].action'],
    ]);
  });

  it('says what of the call it does not reach', () => {
    const { warnings } = policy('sys_unshare', { action: 'Override', argError: -1 });
    expect(warnings.map(({ message }) => message)).toContainEqual(
      expect.stringMatching(/but not for CLONE_FS/),
    );
  });
});

describe('a kill on a system call', () => {
  const takesEffect = (call: string) =>
    policy(call, { action: 'Sigkill' })
      .warnings.filter(({ code }) => code === 'takes-effect')
      .map(({ message }) => message);

  it('is told to prevent the call where a function on its path denies it', () => {
    expect(takesEffect('sys_unlinkat')).toEqual([]);
    expect(policy('sys_unlinkat', { action: 'Signal', argSig: 9 }).text).toMatch(/deny the call and/);
    expect(policy('sys_unlinkat', { action: 'Sigkill' }).text).toMatch(/deny the call and kill/);
  });

  it('is told to come too late where none does', () => {
    expect(takesEffect('sys_dup')).toEqual([
      expect.stringMatching(/the call itself \(dup\) can take effect first/),
    ]);
    expect(policy('sys_dup', { action: 'Sigkill' }).text).toMatch(/the call itself goes on/);
    expect(takesEffect('sys_openat')).toEqual([expect.stringMatching(/but not with O_PATH/)]);
  });
});
