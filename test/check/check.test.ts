// SPDX-License-Identifier: Apache-2.0
// A check that cannot fail is none: each finds what it is for in a tree made to be wrong.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { importCircles, wrongDirections } from './directions.mjs';
import { untidy } from './tidy.mjs';

const trees: string[] = [];

function tree(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'weir-check-'));
  trees.push(root);
  const folders = ['schema', 'policy', 'segment', 'native', 'agent', 'control-plane', 'cli'];
  for (const name of [
    ...folders,
    ...['sdk', 'accept', 'host', 'compile', 'meter'].map((part) => `filters/${part}`),
  ]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  execFileSync('git', ['init', '-q'], { cwd: root });
  return root;
}

afterEach(() => {
  for (const root of trees.splice(0)) rmSync(root, { recursive: true, force: true });
});

it('finds an import that points the wrong way', () => {
  const root = tree({
    'schema/src/a.ts': "import { x } from '@weir/agent';",
    'agent/src/process/table.ts': "import { y } from '../spool/spool.js';",
    'policy/src/plan.ts': "import { z } from '@weir/schema';",
  });
  expect(wrongDirections(root)).toEqual([
    expect.stringContaining('schema/src/a.ts imports @weir/agent'),
    expect.stringContaining('process and spool meet only'),
  ]);
});

it('finds files that import each other in a circle, be it for types', () => {
  const root = tree({
    'policy/src/a.ts': "import { b } from './parts/b.js';",
    'policy/src/parts/b.ts': "import { c } from './c.js';\nimport { d } from '../d.js';",
    'policy/src/parts/c.ts': "import type { A } from '../a.js';",
    'policy/src/d.ts': "import { z } from '@weir/schema';",
    'schema/src/e.ts': "import { f } from './f.js';",
    'schema/src/f.ts': 'export const f = 1;',
    'filters/sdk/assembly/g.ts': "import { h } from './h';",
    'filters/sdk/assembly/h.ts': "import { g } from './g';",
  });
  expect(importCircles(root)).toEqual([
    'policy/src/a.ts → policy/src/parts/b.ts → policy/src/parts/c.ts → policy/src/a.ts',
    'filters/sdk/assembly/g.ts → filters/sdk/assembly/h.ts → filters/sdk/assembly/g.ts',
  ]);
});

it('finds a missing licence line, a file that is too long and a test that hides the others', () => {
  const root = tree({
    'policy/src/a.ts': 'export const a = 1;',
    'policy/src/b.ts': `// SPDX-License-Identifier: Apache-2.0\n${'\n'.repeat(700)}`,
    'policy/src/c.test.ts': `// SPDX-License-Identifier: Apache-2.0\nit.${'only'}('x', () => {});`,
  });
  expect(untidy(root)).toEqual([
    expect.stringContaining('a.ts: no SPDX'),
    expect.stringContaining('b.ts: 702 lines'),
    expect.stringContaining('c.test.ts:2'),
  ]);
});
