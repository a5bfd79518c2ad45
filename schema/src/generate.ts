// SPDX-License-Identifier: Apache-2.0
// Writes what is generated from the schema. `npm run generate` runs it; with --check it writes nothing and fails
// where a file differs, which is how CI finds drift.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { batchParts } from './batch.js';
import { enumerations } from './enums.js';
import { filterEnumerations, filterParts } from './filter-abi.js';
import { assemblyScript } from './generators/assemblyscript.js';
import { cBatchHeader, cHeader } from './generators/c.js';
import { archiveColumns } from './generators/docs.js';
import { typeScript } from './generators/typescript.js';
import { hashAlgorithms } from './hash-algorithms.js';
import { kernelEnumerations, kernelMaps, limits } from './kernel-maps.js';
import { digestBytesMax, records } from './records.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');

const outputs = new Map<string, string>([
  [
    'schema/generated/weir.h',
    cHeader([...enumerations, ...kernelEnumerations], [...records, ...kernelMaps], limits),
  ],
  ['schema/generated/weir-batch.h', cBatchHeader(batchParts)],
  [
    'schema/src/generated/layout.ts',
    typeScript(
      [...enumerations, ...kernelEnumerations, ...filterEnumerations],
      [...records, ...batchParts, ...kernelMaps, ...filterParts],
    ),
  ],
  [
    'filters/sdk/assembly/generated/layout.ts',
    assemblyScript(
      [...enumerations, ...filterEnumerations],
      [...records, ...batchParts, ...filterParts],
      hashAlgorithms,
      digestBytesMax,
    ),
  ],
  [
    'filters/examples-c/weir_filter_abi.h',
    cHeader([...enumerations, ...filterEnumerations], [...records, ...batchParts, ...filterParts], {}),
  ],
  ['docs/reference/archive-columns.md', archiveColumns()],
]);

const check = process.argv.includes('--check');
let stale = 0;
for (const [name, text] of outputs) {
  const path = resolve(root, name);
  const current = existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  if (current === text) continue;
  if (check) {
    console.error(`${name} is not what the schema generates: run \`npm run generate\` and commit the result`);
    stale++;
  } else {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${name}`);
  }
}
if (stale > 0) process.exitCode = 1;
