// SPDX-License-Identifier: Apache-2.0
// What passes by a hook on a system call: the 32-bit entry, and io_uring. Hooks that name them, and those on security
// functions, see them; and the check of a policy says where it is blind.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, parsePolicies, syscallNumber32 } from '@weir/policy';
import { policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

function warnings(text: string): string {
  return parsePolicies(text)
    .flatMap((policy) => check(policy).warnings.map(({ code, message }) => `${code}: ${message}`))
    .join('\n');
}

export default scenario(
  'the 32-bit entry and io_uring are seen where a policy says so, and warned of where not',
  { timeoutMs: 120_000 },
  async ({ folder, run }) => {
    await withHooks(async (hooks) => {
      const victim = join(folder, 'victim');
      const equals = (index: number, ...values: string[]) => ({ index, operator: 'Equal', values });
      const entry = (name: string, call: string, actions: readonly object[] = []) =>
        policyWith(name, {
          kprobes: [
            {
              call,
              syscall: true,
              args: [{ index: 0, type: 'string' }],
              selectors: [{ matchArgs: [equals(0, victim)], matchActions: actions }],
            },
          ],
        });
      const unlink32 = () => run('entry32', [String(syscallNumber32('unlink')), `"${victim}`]);
      const shown = () =>
        hooks.events().map(({ policy, symbol, action, args }) => [policy, symbol, action, args[0]?.text]);

      await hooks.apply(
        entry('by-64', 'sys_unlink'),
        entry('by-32', '__ia32_sys_unlink'),
        policyOf('checked', 'security_path_unlink', ['path'], [{ matchArgs: [equals(0, folder)] }]),
        policyWith('number', {
          tracepoints: [
            {
              subsystem: 'raw_syscalls',
              event: 'sys_enter',
              args: [{ index: 4, type: 'syscall64' }],
              selectors: [{ matchArgs: [equals(4, '__ia32_sys_unlink')] }],
            },
          ],
        }),
      );
      writeFileSync(victim, '');
      hooks.events();
      assert.equal((await unlink32()).stdout, '0\n');
      assert.equal(existsSync(victim), false);
      assert.deepEqual(shown(), [
        ['number', 'sys_enter', 'post', ''],
        ['by-32', '__ia32_sys_unlink', 'post', victim],
        ['checked', 'security_path_unlink', 'post', folder],
      ]);
      writeFileSync(victim, '');
      await run('rm', [victim]);
      // Whether it is unlink or unlinkat is the C library's to choose.
      assert.deepEqual(
        shown().filter(([policy]) => policy === 'checked' || policy === 'by-32' || policy === 'number'),
        [['checked', 'security_path_unlink', 'post', folder]],
      );
      assert.match(warnings(entry('by-64', 'sys_unlink')), /blind-spot: sees calls of 64-bit programs only/);
      assert.match(
        warnings(entry('by-32', '__ia32_sys_unlink')),
        /blind-spot: sees calls by the 32-bit entry only/,
      );

      // A call by the 32-bit entry is kept from taking effect as any other.
      await hooks.apply(entry('kill', '__ia32_sys_unlink', [{ action: 'Sigkill' }]));
      writeFileSync(victim, '');
      hooks.events();
      assert.equal((await unlink32()).signal, 'SIGKILL');
      assert.equal(existsSync(victim), true);
      assert.deepEqual(shown(), [['kill', '__ia32_sys_unlink', 'sigkill', victim]]);

      // io_uring opens on a thread of its own, without the system call.
      const ring = join(folder, 'ring');
      const other = join(folder, 'other');
      for (const path of [ring, other]) copyFileSync('/weir/bin/ring', path);
      const scope = { matchBinaries: [{ operator: 'In', values: [ring] }] };
      const open = (
        name: string,
        call: string,
        index: number,
        type: string,
        actions: readonly object[] = [],
      ) =>
        policyWith(name, {
          kprobes: [
            {
              call,
              syscall: call.startsWith('sys_'),
              args: [{ index, type }],
              selectors: [{ ...scope, matchArgs: [equals(index, victim)], matchActions: actions }],
            },
          ],
        });
      await hooks.apply(
        open('call', 'sys_openat', 1, 'string'),
        open('opened', 'security_file_open', 0, 'file'),
      );
      hooks.events();
      const first = await run(ring, [victim]);
      assert.equal(first.stdout, '0\n', first.stderr);
      assert.equal((await run(other, [victim])).stdout, '0\n');
      const events = hooks.events();
      assert.deepEqual(
        events.map(({ policy, pid, args }) => [policy, pid, args[0]?.text]),
        [['opened', first.pid, victim]],
      );
      assert.match(
        warnings(open('call', 'sys_openat', 1, 'string')),
        /blind-spot: io_uring does the work of openat without the system call/,
      );
      await hooks.apply(
        open('denied', 'security_file_open', 0, 'file', [{ action: 'Override', argError: -13 }]),
      );
      assert.equal((await run(ring, [victim])).stdout, '-13\n');
      assert.equal((await run(other, [victim])).stdout, '0\n');
      assert.equal(hooks.counter('enforceFailed'), 0n);
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);
