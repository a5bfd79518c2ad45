// SPDX-License-Identifier: Apache-2.0
// What is denied is one call of one thread: not the next, not another thread's, not another process's. And where a call
// cannot be denied, a policy says so.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RecordFlag } from '@weir/schema';
import { Hooks, policyOf, withHooks } from '../guest/hooks.js';
import { bpfObjectPath } from '../guest/process-sensor.js';
import { scenario } from '../scenario.js';

const AT_FDCWD = -100;
const UNLINKAT = 263;
const DUP = 32;

export default scenario(
  'denies one call of one thread, and says where it cannot',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 300_000 },
  async ({ folder, run }) => {
    const victim = join(folder, 'victim');
    const other = join(folder, 'other');
    const own = join(folder, 'own');
    mkdirSync(own);
    writeFileSync(victim, '');
    const guard = (actions: readonly object[], options: readonly { name: string; value: string }[] = []) =>
      policyOf(
        'guard',
        'sys_unlinkat',
        ['nop', 'string'],
        [{ matchArgs: [{ index: 1, operator: 'Equal', values: [victim] }], matchActions: actions }],
        options,
      );
    const unlinks = (...paths: readonly string[]) =>
      run('syscalls', [], { input: paths.map((path) => `${UNLINKAT}\t${AT_FDCWD}\t"${path}\t0\n`).join('') });

    await withHooks(async (hooks) => {
      await hooks.apply(guard([{ action: 'Override', argError: -13 }]));
      hooks.events();
      writeFileSync(other, '');
      assert.equal((await unlinks(victim, other, victim)).stdout, '-13\n0\n-13\n');
      assert.ok(existsSync(victim));
      assert.ok(!existsSync(other));
      assert.deepEqual(
        hooks
          .events()
          .map(({ action, error, signal, flags }) => [action, error, signal, flags & RecordFlag.protected]),
        [
          ['override', -13, 0, RecordFlag.protected],
          ['override', -13, 0, RecordFlag.protected],
        ],
      );

      // Two threads at once, and two processes at once.
      const [first, second] = await Promise.all([
        run('threads', [victim, '-13', own, '3000'], { timeoutMs: 120_000 }),
        run('threads', [join(folder, 'none'), '-2', folder, '3000'], { timeoutMs: 120_000 }),
      ]);
      assert.equal(first?.stdout, '0 0\n');
      assert.equal(second?.stdout, '0 0\n');
      hooks.events();

      // Replaced while it is in force, by a program of another shape: no call is missed and none is denied for it.
      const calls = run('threads', [victim, '-13', own, '4000'], { timeoutMs: 120_000 });
      for (let round = 0; round < 4; round++) {
        await hooks.apply(
          guard([{ action: 'Override', argError: -13 }, { action: round % 2 === 0 ? 'NoPost' : 'Post' }]),
        );
        await hooks.apply(
          guard([{ action: 'Override', argError: -13 }, { action: 'NoPost' }]),
          policyOf('watch', 'sys_unlinkat', ['int'], [{ matchActions: [{ action: 'NoPost' }] }]),
        );
      }
      assert.equal((await calls).stdout, '0 0\n');
      hooks.events();

      // Monitor mode denies nothing, and a policy that is gone neither.
      writeFileSync(other, '');
      await hooks.apply(guard([{ action: 'Sigkill' }], [{ name: 'policy-mode', value: 'monitor' }]));
      hooks.events();
      assert.equal((await unlinks(victim)).stdout, '0\n');
      assert.equal(hooks.events()[0]?.action, 'sigkill');
      writeFileSync(victim, '');
      await hooks.apply();
      assert.equal((await unlinks(victim)).stdout, '0\n');

      // No security function stands on dup's path: it kills, and the call is done.
      const [dup] = await hooks.apply(
        policyOf(
          'dup',
          'sys_dup',
          ['int'],
          [
            {
              matchBinaries: [{ operator: 'In', values: ['/weir/bin/syscalls'] }],
              matchActions: [{ action: 'Sigkill' }],
            },
          ],
        ),
      );
      assert.deepEqual(dup?.unprevented, []);
      assert.equal((await run('syscalls', [], { input: `${DUP}\t0\n` })).signal, 'SIGKILL');
      const [refused] = await hooks.tryApply(
        policyOf('dup', 'sys_dup', ['int'], [{ matchActions: [{ action: 'Override', argError: -1 }] }]),
      );
      assert.match(refused?.reason ?? '', /no security function stands on its path/);
      assert.equal(hooks.counter('enforceFailed'), 0n);

      // A way through a call that crosses none of its functions: killed, done, and counted.
      writeFileSync(other, '');
      await hooks.apply(
        policyOf(
          'paths',
          'sys_openat',
          [],
          [
            {
              matchBinaries: [{ operator: 'In', values: ['/weir/bin/syscalls'] }],
              matchActions: [{ action: 'Sigkill' }],
            },
          ],
        ),
      );
      const O_PATH = 0o10000000;
      const opened = await run('syscalls', [], { input: `257\t${AT_FDCWD}\t"${other}\t${O_PATH}\n` });
      assert.equal(opened.signal, 'SIGKILL');
      assert.equal(hooks.counter('enforceFailed'), 1n);
    });

    // Where what denies cannot be loaded, a kill remains, and its policy says what it is worth; an override is refused.
    const hooks = new Hooks(bpfObjectPath('hook.bpf.o'), join(folder, 'absent.bpf.o'));
    try {
      writeFileSync(victim, '');
      const [outcome] = await hooks.tryApply(guard([{ action: 'Sigkill' }]));
      assert.equal(outcome?.state, 'loaded');
      assert.match(
        outcome?.unprevented[0] ?? '',
        /__x64_sys_unlinkat: the caller is killed, but the call can take effect/,
      );
      assert.equal((await unlinks(victim)).signal, 'SIGKILL');
      assert.ok(!existsSync(victim));
      const [refused] = await hooks.tryApply(guard([{ action: 'Override', argError: -13 }]));
      assert.equal(refused?.state, 'refused');
      assert.equal(refused?.formerInForce, true);
    } finally {
      await hooks.close();
    }
  },
);
