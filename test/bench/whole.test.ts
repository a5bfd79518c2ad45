// SPDX-License-Identifier: Apache-2.0
// The benches of the whole way, run tiny, so that they do not rot. Nothing here looks at a time or a size.
import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

function bench(name: string): Record<string, unknown> {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, name, '--tiny'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  return JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
}

test('the bench memory measures an agent under load', ({ skip }) => {
  const result = bench('memory');
  if (typeof result.skipped === 'string') return skip(result.skipped);
  expect(result).toMatchObject({ bench: 'memory', idleMB: expect.any(Number), loadMB: expect.any(Number) });
  expect(Number(result.handled)).toBeGreaterThan(10_000);
});

test('the bench fresh finds an event in the archive', ({ skip }) => {
  const result = bench('fresh');
  if (typeof result.skipped === 'string') return skip(result.skipped);
  expect(result).toMatchObject({ bench: 'fresh', eventToQueryableSeconds: expect.any(Number), samples: 1 });
});

test('the bench hotswap exchanges filters and loses nothing', ({ skip }) => {
  const result = bench('hotswap');
  if (typeof result.skipped === 'string') return skip(result.skipped);
  expect(result).toMatchObject({ bench: 'hotswap', lost: 0, lossesCounted: 0, swaps: 2 });
  expect(Number(result.events)).toBeGreaterThan(100);
});
