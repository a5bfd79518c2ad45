// SPDX-License-Identifier: Apache-2.0
// Runs the tests of the addon on a build with the address and undefined-behaviour sanitizers. The tests find the
// addon beside themselves, so they are run in a tree of their own. Leaks are not looked for: Node itself leaks at
// its end. `npm run sanitize -w native`.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const tree = `${here}build/sanitize/tree`;
execFileSync('make', ['-s', 'sanitize', 'test-objects'], { cwd: here, stdio: 'inherit' });
rmSync(tree, { recursive: true, force: true });
mkdirSync(`${tree}/build`, { recursive: true });
mkdirSync(`${tree}/src`);
cpSync(`${here}dist`, `${tree}/dist`, { recursive: true });
cpSync(`${here}src/native.test.ts`, `${tree}/src/native.test.ts`);
cpSync(`${here}build/test`, `${tree}/build/test`, { recursive: true });
cpSync(`${here}build/sanitize/weir.node`, `${tree}/build/weir.node`);
writeFileSync(`${tree}/vitest.config.mjs`, 'export default { test: { testTimeout: 60_000 } };\n');
const library = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const result = spawnSync(process.execPath, [vitest, 'run', '--root', tree, '--pool=forks'], {
  stdio: 'inherit',
  env: {
    ...process.env,
    // Node is not built with the sanitizers: their runtime has to be there before it.
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0:halt_on_error=1',
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  },
});
process.exitCode = result.status ?? 1;
