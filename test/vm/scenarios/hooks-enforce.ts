// SPDX-License-Identifier: Apache-2.0
// Hooks that act: what is denied does not take effect, who is killed did not do it, and monitor mode does neither.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RecordFlag } from '@weir/schema';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'hooks deny and kill before the call takes effect',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 120_000 },
  async ({ folder, run }) => {
    await withHooks(async (hooks) => {
      const secret = join(folder, 'secret');
      const other = join(folder, 'other');
      writeFileSync(secret, 'untouched');
      writeFileSync(other, '');
      const open = (actions: readonly object[], monitor = false) =>
        hooks.apply(
          policyOf(
            'guard',
            'security_file_open',
            ['file'],
            [{ matchArgs: [{ index: 0, operator: 'Equal', values: [secret] }], matchActions: actions }],
            monitor ? [{ name: 'policy-mode', value: 'monitor' }] : [],
          ),
        );

      await open([{ action: 'Override', argError: -13 }]);
      hooks.events();
      const denied = await run('openat', [other, secret, other]);
      assert.equal(denied.stdout, '0\n13\n0\n');
      const [event, ...more] = hooks.events();
      assert.deepEqual(more, []);
      assert.equal(event?.action, 'override');
      assert.equal(event.error, -13);
      assert.equal(event.args[0]?.text, secret);
      assert.equal(event.flags & RecordFlag.protected, RecordFlag.protected);

      await open([{ action: 'Sigkill' }]);
      hooks.events();
      const killed = await run('act', [secret]);
      assert.equal(killed.signal, 'SIGKILL');
      assert.equal(readFileSync(other, 'utf8'), '');
      const [kill, ...others] = hooks.events();
      assert.deepEqual(others, []);
      assert.equal(kill?.action, 'sigkill');
      assert.equal(kill.signal, 9);
      assert.equal(kill.error, -1);

      await open([{ action: 'Signal', argSig: 12 }, { action: 'NoPost' }]);
      hooks.events();
      const signalled = await run('openat', [secret]);
      assert.equal(signalled.signal, 'SIGUSR2');
      assert.deepEqual(hooks.events(), []);

      await open([{ action: 'Sigkill' }], true);
      hooks.events();
      const watched = await run('openat', [secret]);
      assert.equal(watched.stdout, '0\n');
      const [would, ...rest] = hooks.events();
      assert.deepEqual(rest, []);
      assert.equal(would?.action, 'sigkill');
      assert.equal(would.flags & RecordFlag.monitor, RecordFlag.monitor);
      assert.equal(would.flags & RecordFlag.protected, 0);

      await hooks.apply();
      assert.equal((await run('openat', [secret])).stdout, '0\n');
      assert.equal(readFileSync(secret, 'utf8'), 'untouched');

      // A program that is not to run does not run its first instruction.
      const miner = join(folder, 'miner');
      copyFileSync('/weir/bin/act', miner);
      const trace = join(folder, 'trace');
      await hooks.apply(
        policyOf(
          'miners',
          'security_bprm_check',
          ['linux_binprm'],
          [{ matchBinaries: [{ operator: 'In', values: [miner] }], matchActions: [{ action: 'Sigkill' }] }],
        ),
      );
      hooks.events();
      const mined = await run('sh', ['-c', `${miner} ${trace}; exit 7`]);
      assert.equal(existsSync(trace), false, 'the miner wrote its file');
      assert.equal(mined.code, 7);
      const [exec, ...noMore] = hooks.events();
      assert.deepEqual(noMore, []);
      assert.equal(exec?.args[0]?.text, miner);
      assert.equal(exec.action, 'sigkill');
      await run('act', [trace]);
      assert.equal(existsSync(trace), true, 'another program runs');
      assert.equal(hooks.counter('enforceFailed'), 0n);
    });
  },
);
