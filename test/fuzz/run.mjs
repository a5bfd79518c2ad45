// SPDX-License-Identifier: Apache-2.0
// `npm run fuzz -- NAME [--count N] [--seed S]`: runs one of the fuzzers, which lie beside what they bend and run small
// among the tests, for as long as is asked. It prints its seed; the same seed bends the same.
import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = resolve(fileURLToPath(import.meta.url), '../../..');

/** What is bent, where that is tested, which tests of it these are, and how often it is bent in a long run. */
export const fuzzers = {
  policies: { file: 'policy/src/fuzz.test.ts', tests: '', count: 100_000 },
  segments: { file: 'segment/src/segment.test.ts', tests: 'fuzz:', count: 20_000 },
  records: { file: 'segment/src/batch.test.ts', tests: 'changed at random', count: 200_000 },
  modules: { file: 'filters/accept/src/fuzz.test.ts', tests: '', count: 1_000_000 },
  loop: { file: 'filters/meter/src/driver.test.ts', tests: 'seeds from', count: 20_000 },
  bytes: { file: 'test/attacks/bytes.test.ts', tests: '', count: 300_000 },
  filters: { file: 'test/attacks/batches.test.ts', tests: '', count: 2_000 },
};

/** The command that runs a fuzzer, and what it is told by its environment. */
export function commandOf(name, count, seed) {
  const { file, tests, count: long } = fuzzers[name];
  return {
    args: [
      '--no-install',
      'vitest',
      'run',
      file,
      ...(tests === '' ? [] : ['-t', tests]),
      '--testTimeout',
      '3600000',
    ],
    env: { WEIR_FUZZ_ROUNDS: String(count ?? long), WEIR_SEED: String(seed) },
  };
}

function usage() {
  console.error(
    `usage: npm run fuzz -- NAME [--count N] [--seed S]; the names are: ${Object.keys(fuzzers).join(', ')}`,
  );
  return 2;
}

function whole(text) {
  return text === undefined || /^[1-9][0-9]{0,9}$/.test(text);
}

function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { count: { type: 'string' }, seed: { type: 'string' } },
  });
  const [name = '', ...rest] = positionals;
  if (!Object.hasOwn(fuzzers, name) || rest.length > 0 || !whole(values.count) || !whole(values.seed))
    return usage();
  const seed = values.seed ?? String(1 + (Date.now() % 2 ** 31));
  const { args, env } = commandOf(name, values.count, seed);
  console.log(`${name}: ${env.WEIR_FUZZ_ROUNDS} times, seed ${seed}`);
  const result = spawnSync('npx', args, { cwd: root, stdio: 'inherit', env: { ...process.env, ...env } });
  return result.status ?? 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();
