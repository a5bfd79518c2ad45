// SPDX-License-Identifier: Apache-2.0
// Tests that the app runs where Node's modules are not, and that the client stays light.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

async function inputsOf(entry: string): Promise<string[]> {
  const { metafile } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    // Refuses an import of `node:fs` and its like.
    platform: 'browser',
    format: 'esm',
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  return Object.keys(metafile.inputs);
}

test('the app and all that it imports need no module of Node', async () => {
  expect((await inputsOf('app.ts')).length).toBeGreaterThan(20);
});

test('the Node entry does, so that this test can fail', async () => {
  await expect(inputsOf('node/serve.ts')).rejects.toThrow(/node:/);
});

test('the client needs neither a module of Node nor a package', async () => {
  expect((await inputsOf('client.ts')).filter((path) => path.includes('node_modules'))).toEqual([]);
});
