// SPDX-License-Identifier: Apache-2.0
// The bench `exec`, run tiny, so that it does not rot. Nothing here looks at a time.

import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench exec accounts for each record', ({ skip }) => {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, 'exec', '--tiny'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const result = JSON.parse(lines.at(-1) ?? '') as {
    skipped?: string;
    produced: number;
    ratio: number;
    kernelRatio: number;
    agentHandled: number;
  };
  if (result.skipped !== undefined) return skip(result.skipped);
  expect(result).toMatchObject({ bench: 'exec', lost: 0, unaccounted: 0, agentLost: 0 });
  // Three records for each of the 20 cycles of 5 runs, and of the programs that run them.
  expect(result.produced).toBeGreaterThan(3 * 20 * 4);
  // A whole agent saw each of them too, in each of its 2 rounds.
  expect(result.agentHandled).toBeGreaterThan(3 * 20 * 2);
  expect(result.ratio).toBeGreaterThan(0);
  expect(result.kernelRatio).toBeGreaterThan(0);
});
