// SPDX-License-Identifier: Apache-2.0
// Builds the example filters to build/*.wasm; with --test runs their tests as well.
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
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
const entries = await readdir(folder, { withFileTypes: true });
const names = entries
  .filter((entry) => entry.isDirectory() && entry.name !== 'build')
  .map((entry) => entry.name);
for (const name of names.sort()) {
  try {
    const source = join(folder, name);
    const built = await buildFilter({ source, outFile: join(folder, 'build', `${name}.wasm`) });
    console.log(formatBuild(built));
    if (process.argv.includes('--test')) {
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
