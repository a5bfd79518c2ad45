// SPDX-License-Identifier: Apache-2.0
// The bench `meter`, run tiny, so that it does not rot. Nothing here looks at a time.

import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench meter runs every loop, filter and tier', () => {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, 'meter', '--tiny'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const result = JSON.parse(lines.at(-1) ?? '') as {
    bench: string;
    loops: object;
    filters: Record<string, { unitsPerEvent: number }>;
    nsPerUnitMax: Record<string, number>;
  };
  expect(result.bench).toBe('meter');
  expect(Object.keys(result.loops)).toHaveLength(5);
  expect(Object.keys(result.filters).length).toBeGreaterThan(2);
  for (const { unitsPerEvent } of Object.values(result.filters)) expect(unitsPerEvent).toBeGreaterThan(0);
  expect(Object.keys(result.nsPerUnitMax)).toEqual(['baseline', 'optimised']);
});
