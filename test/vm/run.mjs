#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Bundles the harness and runs its command line, so that nothing has to be built
// first and what runs is never older than its source.

import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const source = dirname(fileURLToPath(import.meta.url));
// Inside the repository, so that its packages are found from there.
const bundled = join(source, '..', '..', '.cache', `vm-cli-${process.pid}.mjs`);
await build({
  entryPoints: [join(source, 'cli.ts')],
  outfile: bundled,
  bundle: true,
  packages: 'external',
  platform: 'node',
  target: 'node20',
  format: 'esm',
  logLevel: 'warning',
});
const { main } = await import(pathToFileURL(bundled).href);
rmSync(bundled);
process.exitCode = await main(process.argv.slice(2));
