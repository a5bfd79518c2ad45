// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- NAME [ARGS]`: runs one benchmark. Its last line is one JSON object; the line before it says what
// machine and versions it was measured on. `--tiny` runs it small, as the tests do so that it cannot rot.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import os from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = dirname(fileURLToPath(import.meta.url));
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.mjs') && name !== 'run.mjs')
  .map((name) => name.slice(0, -4));
const [name, ...rest] = process.argv.slice(2);
if (name === undefined || !existsSync(join(folder, `${name}.mjs`)) || name === 'run') {
  console.error(`usage: npm run bench -- NAME [--tiny]; the names are: ${names.join(', ')}`);
  process.exit(2);
}
console.log(
  `machine: ${os.cpus().length} × ${os.cpus()[0]?.model.trim()}, ${os.type()} ${os.release()}, Node ${process.version}`,
);
const result = spawnSync(process.execPath, ['--expose-gc', join(folder, `${name}.mjs`), ...rest], {
  stdio: 'inherit',
});
process.exitCode = result.status ?? 1;
