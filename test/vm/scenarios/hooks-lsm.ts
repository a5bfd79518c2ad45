// SPDX-License-Identifier: Apache-2.0
// LSM hooks: as a security module where bpf is one, else at the function that calls the hook, else refused.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventKind } from '@weir/schema';
import { policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'LSM hooks observe and deny, with and without the security module',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 120_000 },
  async ({ folder, run, variant, log }) => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')] as const;
    for (const file of [a, b]) writeFileSync(file, 'x');
    const isModule = variant === 'default';
    await withHooks(async (hooks) => {
      const selector = (operator: string, value: string, ...matchActions: object[]) => ({
        matchArgs: [{ index: 0, operator, values: [value] }],
        matchActions,
      });
      const file = [{ index: 0, type: 'file' }];
      const opens = (...selectors: object[]) => ({ hook: 'file_open', args: file, selectors });

      await hooks.apply(policyWith('watch', { lsmhooks: [opens(selector('Equal', a))] }));
      assert.deepEqual(
        hooks.set.hooks().map(({ symbol, program }) => [symbol, program.type]),
        [['file_open', isModule ? 'lsm' : 'fentry']],
      );
      hooks.events();
      const { pid } = await run('openat', [a, b]);
      assert.deepEqual(
        hooks.events().map((event) => [event.kind, event.pid, event.symbol, event.args[0]?.text]),
        [[EventKind.lsm, pid, 'file_open', a]],
      );

      // Denied, with the policy's error; and only where the selector holds.
      await hooks.apply(
        policyWith('deny', {
          lsmhooks: [opens(selector('Equal', a, { action: 'Override', argError: -13 }))],
        }),
      );
      assert.equal(hooks.set.hooks()[0]?.program.type, isModule ? 'lsm' : 'fmod_ret');
      hooks.events();
      assert.equal((await run('openat', [a, b])).stdout, '13\n0\n');
      assert.deepEqual(
        hooks.events().map(({ kind, action, error }) => [kind, action, error]),
        [[EventKind.lsm, 'override', -13]],
      );

      // In monitor mode nothing is denied.
      await hooks.apply(
        policyWith(
          'deny',
          { lsmhooks: [opens(selector('Equal', a, { action: 'Override', argError: -13 }))] },
          [{ name: 'policy-mode', value: 'monitor' }],
        ),
      );
      hooks.events();
      assert.equal((await run('openat', [a])).stdout, '0\n');
      assert.deepEqual(
        hooks.events().map(({ action }) => action),
        ['override'],
      );

      // matchBinaries at exec means the program that is executed, which is killed before it runs.
      await hooks.apply(
        policyWith('kill', {
          lsmhooks: [
            {
              hook: 'bprm_check_security',
              selectors: [
                {
                  matchBinaries: [{ operator: 'In', values: ['/weir/bin/openat'] }],
                  matchActions: [{ action: 'Sigkill' }],
                },
              ],
            },
          ],
        }),
      );
      hooks.events();
      const killed = await run('/bin/sh', ['-c', '/weir/bin/openat /etc/passwd; echo $?; true']);
      assert.match(killed.stdout, /^(126|137)\n$/);
      assert.deepEqual(
        hooks.events().map(({ symbol, action, signal }) => [symbol, action, signal]),
        [['bprm_check_security', 'sigkill', 9]],
      );

      // A hook that returns nothing.
      await hooks.apply(
        policyWith('ran', {
          lsmhooks: [
            {
              hook: 'bprm_committed_creds',
              args: [{ index: 0, type: 'linux_binprm' }],
              selectors: [selector('Equal', '/weir/bin/openat')],
            },
          ],
        }),
      );
      hooks.events();
      await run('openat', [a]);
      assert.deepEqual(
        hooks.events().map(({ symbol, args }) => [symbol, args[0]?.text]),
        [['bprm_committed_creds', '/weir/bin/openat']],
      );

      // All kinds of hooks in one policy, on one act.
      const one = [selector('Equal', a)];
      const call = { call: 'security_file_open', syscall: false, args: file, selectors: one };
      await hooks.apply(policyWith('all', { kprobes: [call], fentries: [call], lsmhooks: [opens(...one)] }));
      hooks.events();
      await run('openat', [a]);
      // Where both are programs of one function, either may come first.
      assert.deepEqual(
        hooks
          .events()
          .map(({ symbol, kind }) => `${kind} ${symbol}`)
          .sort(),
        [
          `${EventKind.lsm} file_open`,
          `${EventKind.kprobe} security_file_open`,
          `${EventKind.kprobe} security_file_open`,
        ],
      );

      // What has no such function to stand in for it, and what no kernel has.
      const [mapped, missing, short] = await hooks.tryApply(
        policyWith('mapped', { lsmhooks: [{ hook: 'mmap_file' }] }),
        policyWith('missing', { lsmhooks: [{ hook: 'no_such_hook' }] }),
        policyWith('short', { lsmhooks: [{ hook: 'file_open', args: [{ index: 1, type: 'int' }] }] }),
      );
      if (isModule) assert.equal(mapped?.state, 'loaded', mapped?.reason);
      else
        assert.match(mapped?.reason ?? '', /needs bpf among the active security modules.* other parameters/);
      assert.match(missing?.reason ?? '', /no LSM hook no_such_hook/);
      assert.match(short?.reason ?? '', /has no parameter 1/);
      for (const { symbol, program } of hooks.set.hooks()) log(`${symbol}: ${program.type}`);
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);
