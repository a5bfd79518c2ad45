// SPDX-License-Identifier: Apache-2.0
// The bench `attacks`, run tiny, so that it does not rot. Nothing here looks at a time.

import { execFileSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

test('the bench attacks loses no event and stops every attacker and no other', () => {
  const run = join(dirname(fileURLToPath(import.meta.url)), 'run.mjs');
  const lines = execFileSync(process.execPath, [run, 'attacks', '--tiny'], { encoding: 'utf8' })
    .trimEnd()
    .split('\n');
  const result = JSON.parse(lines.at(-1) ?? '') as Record<string, number>;
  expect(result).toMatchObject({
    bench: 'attacks',
    lost: 0,
    judgedTwice: 0,
    quarantined: result.attackers,
    quarantinedInnocents: 0,
    restarts: 0,
  });
});
