// SPDX-License-Identifier: Apache-2.0
// Builds the example filters to build/*.wasm, those of which anything has changed; with --test builds all, and runs
// their tests as well.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  buildFilter,
  FilterBuildError,
  formatBuild,
  formatDiagnostics,
  formatTest,
  testFilter,
} from '@weir/filter-compile';

const folder = dirname(fileURLToPath(import.meta.url));
const root = resolve(folder, '../..');
/** What makes a module of a source: the SDK, the compiler, and what judges and rewrites its result. */
const tools = [
  'filters/sdk/assembly',
  ...['compile', 'accept', 'meter', 'host'].map((name) => `filters/${name}/dist`),
];
const withTests = process.argv.includes('--test');

function addFiles(hash, at, isInput) {
  const entries = readdirSync(at, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => isInput(path.slice(at.length + 1)))
    .sort();
  for (const path of entries) hash.update(`${path}\0`).update(readFileSync(path)).update('\0');
}

function digestOfTools() {
  const hash = createHash('sha256').update(readFileSync(join(root, 'package-lock.json')));
  for (const name of tools) addFiles(hash, join(root, name), (path) => /\.(ts|js)$/.test(path));
  return hash.digest('hex');
}

function digestOf(source, ofTools) {
  const hash = createHash('sha256').update(ofTools);
  addFiles(hash, source, (path) => !/^(tests|build)\//.test(path));
  return hash.digest('hex');
}

const names = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'build')
  .map((entry) => entry.name);
const ofTools = digestOfTools();
for (const name of names.sort()) {
  const source = join(folder, name);
  const outFile = join(folder, 'build', `${name}.wasm`);
  const madeOf = `${outFile}.inputs`;
  const digest = digestOf(source, ofTools);
  const isBuilt = existsSync(outFile) && existsSync(madeOf) && readFileSync(madeOf, 'utf8') === digest;
  if (isBuilt && !withTests) continue;
  try {
    const built = await buildFilter({ source, outFile });
    writeFileSync(madeOf, digest);
    console.log(formatBuild(built));
    if (withTests) {
      const result = await testFilter({ module: built.bytes, tests: [join(source, 'tests')] });
      console.log(formatTest(result));
      if (!result.passed) process.exitCode = 1;
    }
  } catch (error) {
    if (!(error instanceof FilterBuildError)) throw error;
    console.error(
      [formatDiagnostics(error.diagnostics), error.message].filter((text) => text !== '').join('\n'),
    );
    process.exitCode = 1;
  }
}
