// SPDX-License-Identifier: Apache-2.0
// Enforcers: what a selector has asked for by NotifyEnforcer is done to the thread that it matched, once, when that
// comes to a function that an enforcer of the same policy is on.

import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, openSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RecordFlag } from '@weir/schema';
import { policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

/** A policy that notifies its enforcers where a file is opened. */
function notifying(
  name: string,
  path: string,
  action: object,
  calls: readonly string[],
  more: { readonly kprobes?: readonly object[]; readonly monitor?: boolean } = {},
): string {
  return policyWith(
    name,
    {
      lists: [{ name: 'calls', type: 'syscalls', values: ['sys_dup', 'sys_dup2', '__ia32_sys_dup'] }],
      enforcers: [{ calls }],
      kprobes: [
        {
          call: 'security_file_open',
          syscall: false,
          args: [{ index: 0, type: 'file' }],
          selectors: [
            {
              matchArgs: [{ index: 0, operator: 'Equal', values: [path] }],
              matchActions: [{ action: 'NotifyEnforcer', ...action }],
            },
          ],
        },
        ...(more.kprobes ?? []),
      ],
    },
    more.monitor === true ? [{ name: 'policy-mode', value: 'monitor' }] : [],
  );
}

export default scenario(
  'enforcers do what selectors have asked for the thread that matched, once',
  { timeoutMs: 120_000 },
  async ({ folder, run }) => {
    const secret = join(folder, 'secret');
    const other = join(folder, 'other');
    for (const path of [secret, other]) writeFileSync(path, '');
    const open = (path: string) => `openat\t-100\t${path}\t0\n`;
    const calls = (input: string) => run('calls', [], { input });

    await withHooks(async (hooks) => {
      // A kill at a call that nothing can prevent; by its 64-bit and by its 32-bit entry.
      const kills = notifying('kills', secret, { argSig: 9, argError: -1 }, ['list:calls']);
      await hooks.apply(kills);
      hooks.events();
      for (const dup of [`dup\t${other}\n`, 'compat\t41\t1\n']) {
        assert.equal((await calls(open(secret) + dup)).signal, 'SIGKILL', dup);
        const [event, ...more] = hooks.events();
        assert.deepEqual(more, []);
        assert.equal(event?.action, 'notifyenforcer');
        assert.equal(event.symbol, 'security_file_open');
        assert.equal(event.flags & RecordFlag.protected, RecordFlag.protected);
        const spared = await calls(open(other) + dup);
        assert.deepEqual([spared.code, hooks.events()], [0, []]);
      }
      // Who asks again asks once; who ends meanwhile takes it along.
      assert.equal((await calls(open(secret) + open(secret))).code, 0);

      // Asked at the entry of all calls, of one program alone.
      const lists = [{ name: 'dups', type: 'syscalls', values: ['sys_dup', 'sys_dup2', '__ia32_sys_dup'] }];
      const killer = {
        lists,
        enforcers: [{ calls: ['list:dups'] }],
        tracepoints: [
          {
            subsystem: 'raw_syscalls',
            event: 'sys_enter',
            args: [{ index: 4, type: 'syscall64' }],
            selectors: [
              {
                matchArgs: [{ index: 0, operator: 'InMap', values: ['list:dups'] }],
                matchBinaries: [{ operator: 'In', values: ['/weir/bin/calls'] }],
                matchActions: [{ action: 'NotifyEnforcer', argError: -1, argSig: 9 }],
              },
            ],
          },
        ],
      };
      await hooks.apply(policyWith('killer', killer));
      assert.equal((await run('sh', ['-c', 'exec 7>&1; echo $0 >&7', 'duplicated'])).stdout, 'duplicated\n');
      assert.equal((await calls(`dup\t${other}\n`)).signal, 'SIGKILL');
      assert.equal((await calls('compat\t41\t1\n')).signal, 'SIGKILL');
      assert.equal((await calls(open(other))).code, 0);

      // An error, of a call that can be denied: of the next one, not of the one after it, and of nobody else.
      await hooks.apply(notifying('denies', secret, { argError: -13 }, ['sys_mkdir', 'sys_mkdirat']));
      const made = join(folder, 'made');
      const make = () => {
        try {
          mkdirSync(made);
          rmdirSync(made);
          return 'made';
        } catch (error) {
          return (error as NodeJS.ErrnoException).code;
        }
      };
      assert.equal(make(), 'made');
      closeSync(openSync(secret, 'r'));
      const elsewhere = await run('mkdir', [made]);
      assert.equal(elsewhere.code, 0);
      rmdirSync(made);
      assert.deepEqual([make(), make()], ['EACCES', 'made']);

      // A kill that prevents.
      await hooks.apply(notifying('prevents', secret, { argSig: 9 }, ['sys_openat']));
      const created = join(folder, 'created');
      const killed = await calls(`${open(secret)}openat\t-100\t${created}\t0x40\n`);
      assert.equal(killed.signal, 'SIGKILL');
      assert.equal(existsSync(created), false, 'the call took effect');

      // A check of the kernel's, in the very call that asks; another signal than the last.
      await hooks.apply(notifying('check', secret, { argError: -2, argSig: 12 }, ['security_file_open']));
      assert.equal((await run('openat', [other, secret])).signal, 'SIGUSR2');

      // Taken back, by the same policy; not by another's enforcer, nor by another policy.
      const lseek = (action: string) => ({
        call: 'sys_lseek',
        args: [{ index: 2, type: 'int' }],
        selectors: [
          {
            matchArgs: [{ index: 2, operator: 'Equal', values: ['0'] }],
            matchBinaries: [{ operator: 'Postfix', values: ['/calls'] }],
            matchActions: [{ action }],
          },
        ],
      });
      await hooks.apply(
        notifying('own', secret, { argSig: 9 }, ['sys_dup'], {
          kprobes: [lseek('CleanupEnforcerNotification')],
        }),
        notifying('others', other, { argSig: 9 }, ['sys_prctl']),
      );
      const seek = 'lseek\t0\t0\t0\n';
      const prctl = 'prctl\t3\t0\t0\t0\t0\n'; // PR_GET_DUMPABLE
      const dup = `dup\t${join(folder, 'third')}\n`;
      writeFileSync(join(folder, 'third'), '');
      assert.equal((await calls(open(secret) + prctl + dup)).signal, 'SIGKILL');
      assert.equal((await calls(open(secret) + seek + prctl + dup)).code, 0);
      assert.equal((await calls(open(other) + seek + dup)).code, 0);
      assert.equal((await calls(open(other) + seek + prctl)).signal, 'SIGKILL');

      // Monitor mode only says so.
      await hooks.apply(notifying('says', secret, { argSig: 9 }, ['sys_dup'], { monitor: true }));
      hooks.events();
      assert.equal((await calls(open(secret) + dup)).code, 0);
      const [would] = hooks.events();
      assert.deepEqual([would?.action, (would?.flags ?? 0) & RecordFlag.monitor], ['notifyenforcer', 4]);
      assert.equal(hooks.counter('enforceFailed'), 0n);

      // What cannot be done is refused, at its field.
      const [refused] = await hooks.tryApply(notifying('no', secret, { argError: -1 }, ['sys_dup']));
      assert.equal(refused?.state, 'refused');
      assert.match(refused.reason ?? '', /matchActions\[0\]\.argError: NotifyEnforcer on __x64_sys_dup/);
    });
  },
);
