// SPDX-License-Identifier: Apache-2.0
// The bench `hook`, run tiny, so that it does not rot; its guests' part is a scenario. Nothing here looks at a time.

import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench hook measures each kind of hit', ({ skip }) => {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, 'hook', '--tiny', '--no-guests'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const result = JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  if (result.skipped !== undefined) return skip(String(result.skipped));
  // Each call of the last round made an event where it should.
  expect(result).toMatchObject({ bench: 'hook', calls: 1000, posted: 500 });
  const figures = [
    'nativeNsScope',
    'nativeNsInteger',
    'nativeNsPost',
    'ratio100Policies',
    'loadMs10Hooks',
    'loadMs300Syscalls',
  ];
  for (const name of figures) expect(result[name], name).toEqual(expect.any(Number));
});
