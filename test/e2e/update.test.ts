// SPDX-License-Identifier: Apache-2.0
// Policies are added, changed and removed a thousand times while a program makes half a million calls: each call that a
// policy names makes one event, no more and no less. On this machine's own kernel, which takes hooks at a system call's
// entry; the guest does the same with functions (test/vm/scenarios/hooks-swap.ts).

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { whyNothingLoads } from '@weir/native';
import { expect, test } from 'vitest';
import { policyOf, withHooks } from '../vm/guest/hooks.js';

const changes = 1000;
const callsPerChange = 500;
/** Calls whose events may be unread: a third of what the ring holds. */
const outstandingMax = 10_000;

test('a thousand changes of policies under half a million calls miss no call and tell of none twice', async ({
  skip,
}) => {
  const why = whyNothingLoads();
  if (why !== undefined) return skip(why);
  const folder = mkdtempSync(join(tmpdir(), 'weir-update-'));
  const program = join(folder, 'openloop');
  execFileSync('gcc', [
    '-O2',
    '-static',
    '-o',
    program,
    fileURLToPath(new URL('../vm/programs/openloop.c', import.meta.url)),
  ]);
  const file = join(folder, 'watched');
  writeFileSync(file, '');
  const on = (name: string, selectors: readonly object[]) =>
    policyOf(name, 'sys_openat', ['int', 'string', 'int'], selectors);
  const opened = { index: 1, operator: 'Equal', values: [file] };
  const never = (path: string) => ({ matchArgs: [{ index: 1, operator: 'Equal', values: [path] }] });
  /** Versions of the policy that names each call, whose masks, look-ups, scopes and programs differ. */
  const watching = [
    [{ matchArgs: [opened] }],
    [never('/nowhere'), { matchArgs: [opened] }],
    [{ matchArgs: [{ index: 1, operator: 'Prefix', values: [folder] }] }],
    [{ matchArgs: [opened, { index: 2, operator: 'Equal', values: ['0'] }] }],
    [{ matchArgs: [opened], matchBinaries: [{ operator: 'In', values: [program] }] }],
    [{ matchArgs: [opened], matchBinaries: [{ operator: 'NotIn', values: ['/bin/sh'] }] }],
  ].map((selectors) => on('watching', selectors));
  try {
    await withHooks(async (hooks) => {
      const [first = ''] = watching;
      await hooks.apply(first);
      const loop = spawn(program, [file, '100'], { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: loop.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('ready');
      let seen = 0;
      const count = () => {
        for (const event of hooks.events()) {
          if (event.pid !== loop.pid || event.policy !== 'watching') continue;
          expect(event.args[1]?.text).toBe(file);
          seen++;
        }
      };
      let granted = 0;
      for (let change = 1; change <= changes; change++) {
        const grants = Math.min(callsPerChange, outstandingMax - (granted - seen)) / 100;
        loop.stdin.write('.'.repeat(grants));
        granted += 100 * Math.floor(grants);
        // Others come, change and go beside it on the same hook.
        const others = Array.from({ length: change % 4 }, (_, n) =>
          on(`other-${n}`, [never(`/nowhere/${change}`)]),
        );
        await hooks.apply(watching[Math.floor(change / 3) % watching.length] ?? first, ...others);
        count();
      }
      loop.stdin.write('.'.repeat(Math.max(0, changes * callsPerChange - granted) / 100));
      loop.stdin.end();
      const ended = once(loop, 'close');
      const last = await lines.next();
      await ended;
      count();
      expect(hooks.counter('ringFull')).toBe(0n);
      expect(Number(last.value)).toBeGreaterThan(0);
      expect(seen).toBe(Number(last.value));
      console.log(`${last.value} calls, ${changes} changes, ${seen} events`);
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 400_000);
