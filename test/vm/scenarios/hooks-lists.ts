// SPDX-License-Identifier: Apache-2.0
// Lists of system calls: a long one is one program at the entry of all calls, which tells each call by its name; calls
// that are to be kept from taking effect have programs of their own; what is not in a list is not seen.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lsmPathOf, syscallNames, syscallNumber } from '@weir/policy';
import { policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const isOther = new Set(['getpid', 'newstat', 'newfstat', 'newlstat', 'newuname', 'sendfile64', 'umount']);
/** 300 calls, some of which no kernel has any more. Some go by two names. */
const calls = [...syscallNames]
  .filter((name) => syscallNumber(name) !== undefined && !isOther.has(name))
  .sort((a, b) => (syscallNumber(a) ?? 0) - (syscallNumber(b) ?? 0))
  .slice(0, 300);

export default scenario(
  'long lists of system calls are one program, and each call is told by its name',
  { timeoutMs: 120_000 },
  async ({ folder, run, log }) => {
    await withHooks(async (hooks) => {
      const program = join(folder, 'lister');
      copyFileSync('/weir/bin/syscalls', program);
      const list = (name: string, names: readonly string[], selector: object, more: object = {}) =>
        policyWith(name, {
          lists: [{ name: 'many', type: 'syscalls', values: names.map((call) => `sys_${call}`) }],
          kprobes: [
            {
              call: 'list:many',
              syscall: true,
              args: [{ index: 0, type: 'int' }],
              selectors: [selector],
              ignore: { callNotFound: true },
              ...more,
            },
          ],
        });
      const own = { matchBinaries: [{ operator: 'In', values: [program] }] };
      const make = (...lines: readonly string[]) =>
        run(program, [join(folder, 'child')], { input: lines.map((line) => `${line}\n`).join('') });
      const line = (name: string, ...args: (string | number)[]) => [syscallNumber(name), ...args].join('\t');
      const one = (value: number) => ({
        ...own,
        matchArgs: [{ index: 0, operator: 'Equal', values: [String(value)] }],
      });

      assert.equal(calls.length, 300);
      assert.ok(['lseek', 'dup', 'fcntl', 'unlink'].every((name) => calls.includes(name)));
      // The object is loaded by another hook before: what is measured is the list.
      await hooks.apply(policyWith('first', { kprobes: [{ call: 'sys_acct', syscall: true }] }));
      const startMs = performance.now();
      await hooks.apply(list('listed', calls, one(77)));
      log(`a policy on a list of 300 calls, applied in ${(performance.now() - startMs).toFixed(0)} ms`);
      const outcomes = await hooks.apply(list('listed', calls, one(77)), list('again', calls, one(78)));
      for (const { hooks: hooked, skippedHooks } of outcomes) {
        assert.equal(hooked.length + skippedHooks.length, 300);
        assert.ok(skippedHooks.length < 30, `${skippedHooks.length} calls are not there`);
        assert.ok(skippedHooks.includes('__x64_sys_tuxcall'), 'a call that no kernel has is told of');
      }
      assert.equal(hooks.set.hooks().length, 1);
      hooks.events();
      await make(
        line('lseek', 77, 0, 0),
        line('dup', 77),
        line('getpid', 77),
        line('dup', 79),
        line('fcntl', 77, 1),
        line('lseek', 78, 0, 0),
      );
      assert.deepEqual(
        hooks.events().map(({ policy, symbol, args }) => [policy, symbol, args[0]?.value]),
        [
          ['listed', '__x64_sys_lseek', 77n],
          ['listed', '__x64_sys_dup', 77n],
          ['listed', '__x64_sys_fcntl', 77n],
          ['again', '__x64_sys_lseek', 78n],
        ],
      );

      // The same policy with another list: no half of both.
      await hooks.apply(list('listed', [...calls.filter((name) => name !== 'dup'), 'getpid'], one(77)));
      hooks.events();
      await make(line('dup', 77), line('getpid', 77), line('lseek', 77, 0, 0));
      assert.deepEqual(
        hooks.events().map(({ symbol }) => symbol),
        ['__x64_sys_getpid', '__x64_sys_lseek'],
      );
      const refused = await hooks.tryApply(list('strict', calls, own, { ignore: {} }));
      assert.match(refused[0]?.reason ?? '', /has no function __x64_sys_.*ignore.callNotFound/);

      // Lists that are made from the kernel: all of its calls, and functions by a pattern.
      const generated = (name: string, type: string, pattern: string | undefined, hook: object) =>
        policyWith(name, {
          lists: [{ name: 'made', type, ...(pattern === undefined ? {} : { pattern }) }],
          kprobes: [{ call: 'list:made', ...hook }],
        });
      const removed = join(folder, 'removed');
      writeFileSync(removed, '');
      const [all, functions] = await hooks.apply(
        generated('all', 'generated_syscalls', undefined, {
          syscall: true,
          args: [{ index: 0, type: 'int' }],
          selectors: [one(77)],
        }),
        generated('functions', 'generated_ftrace', '^security_inode_(un)?link$', {
          syscall: false,
          selectors: [own],
        }),
      );
      assert.ok((all?.hooks.length ?? 0) > 320, `${all?.hooks.length} system calls`);
      assert.deepEqual(all?.skippedHooks, []);
      assert.deepEqual(functions?.hooks, ['security_inode_link', 'security_inode_unlink']);
      hooks.events();
      await make(
        line('getpid', 77),
        line('lseek', 78, 0, 0),
        line('clock_gettime', 77),
        line('unlink', `"${removed}`),
      );
      assert.deepEqual(
        hooks.events().map(({ policy, symbol }) => [policy, symbol]),
        [
          ['all', '__x64_sys_getpid'],
          ['all', '__x64_sys_clock_gettime'],
          ['functions', 'security_inode_unlink'],
        ],
      );
      const nothing = await hooks.tryApply(generated('nothing', 'generated_ftrace', '^no_such_', {}));
      assert.match(nothing[0]?.reason ?? '', /spec\.lists\[0\]\.pattern.*in no function that can be hooked/);

      // A kill: calls with a security function on their way have programs of their own, and do not take effect.
      const bare = calls.filter((name) => lsmPathOf(name) === undefined).slice(0, 60);
      assert.ok(bare.includes('dup') && !bare.includes('unlinkat'));
      const victim = join(folder, 'victim');
      writeFileSync(victim, '');
      await hooks.apply(
        list('kill', [...bare, 'unlinkat'], { ...one(-100), matchActions: [{ action: 'Sigkill' }] }),
      );
      assert.equal(hooks.set.hooks().length, 2);
      hooks.events();
      assert.equal((await make(line('unlinkat', -100, `"${victim}`, 0))).signal, 'SIGKILL');
      assert.equal(existsSync(victim), true, 'the call took no effect');
      assert.equal((await make(line('dup', -100))).signal, 'SIGKILL');
      assert.equal((await make(line('dup', -101), line('close', 99))).code, 0);
      assert.deepEqual(
        hooks.events().map(({ symbol, action, error }) => [symbol, action, error]),
        [
          ['__x64_sys_unlinkat', 'sigkill', -1],
          ['__x64_sys_dup', 'sigkill', 0],
        ],
      );
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);
