// SPDX-License-Identifier: Apache-2.0
// The bench `filters`, run tiny, so that it does not rot. Nothing here looks at a time.

import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench filters loses no event across swaps and judges none twice', () => {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, 'filters', '--tiny'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const result = JSON.parse(lines.at(-1) ?? '') as Record<string, number>;
  expect(result).toMatchObject({ bench: 'filters', lost: 0, judgedTwice: 0 });
  expect(result.nsPerEvent1).toBeGreaterThan(0);
  expect(result.nsPerEvent10).toBeGreaterThan(0);
  expect(result.nsPerEvent100).toBeGreaterThan(0);
  for (const measure of ['fuel', 'depth', 'nan', 'copy', 'watchdog']) {
    expect(result[`${measure}Percent`], measure).toEqual(expect.any(Number));
  }
});
