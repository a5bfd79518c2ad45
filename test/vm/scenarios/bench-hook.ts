// SPDX-License-Identifier: Apache-2.0
// The guest's part of `npm run bench -- hook`: what a function's hook costs as a multiple of an empty program on it, and
// what hooks and policies take of the kernel's memory. Asserts that all was measured, and nothing about how long it took.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { measureHookCosts, mixedSelectors, programMemoryKiB } from '../guest/hook-costs.js';
import { policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const count = 1500;
const rounds = 3;
const elsewhere = { index: 0, operator: 'Prefix', values: ['/nowhere/'] };

/** Checks of the kernel with an integer or a file, all of which a kernel of ours has. */
const functions: readonly (readonly [string, readonly string[]])[] = [
  ['security_file_permission', ['file', 'int']],
  ['security_file_fcntl', ['file', 'uint32']],
  ['security_file_ioctl', ['file', 'uint32']],
  ['security_file_lock', ['file', 'uint32']],
  ['security_file_mprotect', ['nop', 'ulong']],
  ['security_mmap_addr', ['ulong']],
  ['security_mmap_file', ['file', 'ulong']],
  ['security_socket_create', ['int', 'int']],
  ['security_task_prctl', ['int', 'ulong']],
  ['security_task_setpgid', ['nop', 'int']],
];

export default scenario(
  'measures what hooks cost',
  { variants: ['default'], timeoutMs: 120_000 },
  async ({ folder, log, artifact, waitFor }) => {
    await withHooks(async (hooks) => {
      const path = join(folder, 'opened');
      writeFileSync(path, '');
      const { emptyNs, ns, events } = await measureHookCosts(hooks, {
        call: 'security_file_open',
        args: ['file'],
        cases: {
          scope: [{ matchBinaries: [{ operator: 'In', values: ['/nowhere/bin'] }] }],
          path: [{ matchArgs: [elsewhere] }],
          post: [{ matchArgs: [{ index: 0, operator: 'Equal', values: [path] }] }],
          policies1: [mixedSelectors(12, 0, undefined)],
          policies100: mixedSelectors(100, 0, undefined),
        },
        load: 'opens',
        path,
        count,
        rounds,
      });
      assert.deepEqual(events, { scope: 0, path: 0, post: count, policies1: 0, policies100: 0 });
      assert.equal(hooks.counter('ringFull'), 0n);

      const onFiles = (name: string, file: string) =>
        policyOf(
          name,
          'security_file_open',
          ['file'],
          [{ matchArgs: [{ index: 0, operator: 'Equal', values: [file] }] }],
        );
      const first = onFiles('first', '/nowhere/first');
      await hooks.apply(first);
      const ten = policyWith('ten', {
        kprobes: functions.map(([call, types]) => ({
          call,
          syscall: false,
          args: types.map((type, index) => ({ index, type })),
          selectors: [{ matchBinaries: [{ operator: 'In', values: ['/nowhere/bin'] }] }],
        })),
      });
      const memory = async () => {
        let last = Number.NaN;
        return waitFor('memory of the kernel that stays as it is', () => {
          const jited = hooks.set.hooks().reduce((sum, { program }) => sum + program.jitedBytes, 0);
          const before = last;
          last = programMemoryKiB(jited);
          return Math.abs(before - last) <= 16 && { kib: last };
        });
      };
      const before = await memory();
      const startMs = performance.now();
      await hooks.apply(first, ten);
      const guestLoadMs10Hooks = performance.now() - startMs;
      const withTen = await memory();
      const more = Array.from({ length: 100 }, (_, n) => onFiles(`more-${n}`, `/nowhere/${n}`));
      await hooks.apply(first, ten, ...more);
      const withMore = await memory();
      assert.equal(hooks.set.hooks().length, 1 + functions.length);

      const result = {
        emptyNs: Math.round(emptyNs),
        guestScope: (ns.scope ?? 0) / emptyNs,
        guestPath: (ns.path ?? 0) / emptyNs,
        guestPost: (ns.post ?? 0) / emptyNs,
        guestRatio100Policies: (ns.policies100 ?? 0) / (ns.policies1 ?? 1),
        guestLoadMs10Hooks,
        kernelKiBPerHook: (withTen.kib - before.kib) / functions.length,
        kernelKiBPerPolicyOnHook: (withMore.kib - withTen.kib) / more.length,
      };
      assert.ok(Object.values(result).every(Number.isFinite), JSON.stringify(result));
      log(JSON.stringify(result));
      artifact('bench-hook.json', JSON.stringify(result));
    });
  },
);
