// SPDX-License-Identifier: Apache-2.0
// `npm run check`: everything about the sources that a machine can check. Runs all checks, then fails if one did.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { wrongDirections } from './directions.mjs';
import { untidy } from './tidy.mjs';

const root = resolve(fileURLToPath(import.meta.url), '../../..');
let failed = 0;

function report(name, findings) {
  console.log(`${findings.length === 0 ? 'ok  ' : 'FAIL'} ${name}`);
  for (const line of findings) console.log(`     ${line}`);
  if (findings.length > 0) failed++;
}

function command(name, program, args) {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  const text = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`.trim();
  report(name, result.status === 0 ? [] : text.split('\n').slice(-60));
}

const git = (...patterns) =>
  spawnSync('git', ['ls-files', ...patterns], { cwd: root, encoding: 'utf8' })
    .stdout.split('\n')
    .filter(Boolean);

command('types', 'npx', ['--no-install', 'tsc', '-b']);
command('generated code is what the schema generates', 'node', ['schema/dist/generate.js', '--check']);
command('format and lint', 'npx', [
  '--no-install',
  'biome',
  'ci',
  '--colors=off',
  '--error-on-warnings',
  '.',
]);
const cFiles = git('*.c', '*.h', '*.cc').filter((name) => !name.includes('generated'));
if (cFiles.length > 0) command('C format', 'clang-format', ['--dry-run', '--Werror', ...cFiles]);
report('dependency directions', wrongDirections(root));
report('tidy', untidy(root));
process.exitCode = failed > 0 ? 1 : 0;
