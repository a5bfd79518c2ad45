// SPDX-License-Identifier: Apache-2.0
// Functions of the kernel that are no security checks and no system calls: their arguments, in kernel and in user
// memory; what kills there, and whom it does not.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'hooks on any function read its arguments, and punish nobody for what an interrupt does',
  { timeoutMs: 120_000 },
  async ({ folder, run }) => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')] as const;
    for (const file of [a, b]) writeFileSync(file, 'x');
    await withHooks(async (hooks) => {
      // A string in user memory, and a path and a number in the kernel's.
      const open = (...matchActions: object[]) => ({
        call: 'do_sys_openat2',
        syscall: false,
        args: [
          { index: 0, type: 'int' },
          { index: 1, type: 'string' },
        ],
        selectors: [{ matchArgs: [{ index: 1, operator: 'Equal', values: [a] }], matchActions }],
      });
      const path = {
        call: 'vfs_open',
        syscall: false,
        args: [{ index: 0, type: 'path' }],
        selectors: [{ matchArgs: [{ index: 0, operator: 'Prefix', values: [folder] }] }],
      };
      await hooks.apply(policyWith('opens', { kprobes: [open()], fentries: [path] }));
      hooks.events();
      await run('openat', [a, b]);
      assert.deepEqual(
        hooks.events().map(({ symbol, args }) => [symbol, ...args.map(({ text, value }) => text || value)]),
        [
          ['do_sys_openat2', BigInt.asUintN(64, -100n), a],
          ['vfs_open', a],
          ['vfs_open', b],
        ],
      );

      await hooks.apply(policyWith('opens', { kprobes: [open({ action: 'Sigkill' })] }));
      hooks.events();
      assert.equal((await run('openat', [b])).code, 0);
      const killed = await run('openat', [a]);
      assert.equal(killed.signal, 'SIGKILL');
      assert.deepEqual(
        hooks.events().map(({ action, signal }) => [action, signal]),
        [['sigkill', 9]],
      );

      // A packet over loopback is received in a soft interrupt of whoever sent it.
      await hooks.apply(
        policyWith('received', {
          kprobes: [
            {
              call: 'ip_rcv',
              syscall: false,
              selectors: [
                {
                  matchBinaries: [{ operator: 'Postfix', values: ['/bash'] }],
                  matchActions: [{ action: 'Sigkill' }],
                },
              ],
            },
          ],
        }),
      );
      const failedBefore = hooks.counter('enforceFailed');
      hooks.events();
      await run('/sbin/ip', ['link', 'set', 'lo', 'up']);
      const sender = await run('/bin/bash', ['-c', 'echo x > /dev/udp/127.0.0.1/9; echo sent']);
      assert.equal(sender.stdout, 'sent\n', sender.stderr);
      const received = hooks.events().filter(({ pid }) => pid === sender.pid);
      assert.ok(received.length > 0, 'the packet was seen in the context of its sender');
      assert.deepEqual([...new Set(received.map(({ signal }) => signal))], [0]);
      assert.equal(hooks.counter('enforceFailed') - failedBefore, BigInt(received.length));

      const [missing, unable] = await hooks.tryApply(
        policyWith('missing', { kprobes: [{ call: 'no_such_function', syscall: false }] }),
        policyWith('unable', {
          kprobes: [{ call: 'do_sys_openat2', syscall: false, args: [{ index: 5, type: 'int' }] }],
        }),
      );
      assert.match(missing?.reason ?? '', /no function no_such_function/);
      assert.match(unable?.reason ?? '', /has no parameter 5/);
    });
  },
);
