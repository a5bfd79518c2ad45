// SPDX-License-Identifier: Apache-2.0
// The bench `ring`, run tiny, so that it does not rot. Nothing here looks at a time.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench ring accounts for each record', ({ skip }) => {
  const run = fileURLToPath(new URL('run.mjs', import.meta.url));
  const output = execFileSync(process.execPath, [run, 'ring', '--tiny'], { encoding: 'utf8' });
  const result = JSON.parse(output.trimEnd().split('\n').at(-1) ?? '') as Record<string, number> & {
    skipped?: string;
  };
  if (result.skipped !== undefined) return skip(result.skipped);
  expect(result.unaccounted).toBe(0);
  expect(result.recordsPerSecond).toBeGreaterThan(0);
});
