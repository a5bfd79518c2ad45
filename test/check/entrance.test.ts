// SPDX-License-Identifier: Apache-2.0
// What a clone says of itself before anything is built.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const weir = resolve(fileURLToPath(import.meta.url), '../../../weir');

it.each([[], ['help'], ['--help']])(
  'tells of the two commands without installing anything: weir %s',
  (...words) => {
    const clone = mkdtempSync(join(tmpdir(), 'weir-clone-'));
    try {
      copyFileSync(weir, join(clone, 'weir'));
      const said = execFileSync('sh', [join(clone, 'weir'), ...words], { encoding: 'utf8', timeout: 10_000 });
      expect(said).toContain('./weir up');
      expect(said).toContain('./weir test');
    } finally {
      rmSync(clone, { recursive: true, force: true });
    }
  },
);
