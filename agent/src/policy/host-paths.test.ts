// SPDX-License-Identifier: Apache-2.0
// Links are followed inside the host's tree, whatever they say.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { realPathIn } from './host-paths.js';

describe('links in the tree of another root', () => {
  let root = '';
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'weir-root-'));
    mkdirSync(join(root, 'usr/bin'), { recursive: true });
    mkdirSync(join(root, 'run/secrets'), { recursive: true });
    mkdirSync(join(root, 'var'));
    writeFileSync(join(root, 'usr/bin/su'), '');
    symlinkSync('usr/bin', join(root, 'bin'));
    symlinkSync('/run', join(root, 'var/run'));
    symlinkSync('../../bin/su', join(root, 'usr/bin/sudo'));
    symlinkSync('/../../..//bin/./su', join(root, 'out'));
    symlinkSync('turn', join(root, 'turn'));
  });
  afterAll(() => {
    rmSync(root, { recursive: true });
  });

  it.each([
    ['/bin/su', '/usr/bin/su'],
    ['/var/run/secrets', '/run/secrets'],
    ['/usr/bin/sudo', '/usr/bin/su'],
    ['/usr//bin/./su', '/usr/bin/su'],
    ['/out', '/usr/bin/su'],
    ['/', '/'],
  ])('%s is %s', (path, real) => {
    expect(realPathIn(root)(path)).toBe(real);
  });

  it.each(['/nowhere', '/bin/none', '/turn'])('%s is not known', (path) => {
    expect(realPathIn(root)(path)).toBeUndefined();
  });
});
