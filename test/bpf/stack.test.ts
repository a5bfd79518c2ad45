// SPDX-License-Identifier: Apache-2.0
// No program of an object can come to need more stack than the kernel has, whatever its constants switch on: a
// specialised program may need less, and none more.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { stackBytesMax, stackChains } from './stack.js';

const build = join(dirname(fileURLToPath(import.meta.url)), '../../bpf/build');
const objects = existsSync(build) ? readdirSync(build).filter((name) => name.endsWith('.bpf.o')) : [];
const chainsOf = (name: string) => stackChains(readFileSync(join(build, name)));

test('the objects are built: make -C bpf', () => {
  expect(objects).toContain('hook.bpf.o');
});

describe.each(objects)('%s', (name) => {
  test('has stack for each program with all that it calls', () => {
    const chains = chainsOf(name);
    expect(chains.length).toBeGreaterThan(0);
    const tooDeep = chains
      .filter(({ bytes }) => bytes > stackBytesMax)
      .map(({ bytes, functions }) => `${bytes}: ${functions.join(' > ')}`);
    expect(tooDeep).toEqual([]);
  });
});

test('counts what is called in other sections, and what bpf_loop is given', () => {
  const functions = chainsOf('hook.bpf.o').flatMap((chain) =>
    chain.functions.map((entry) => entry.split(' ')[0]),
  );
  // By a symbol, by a place in the section, and by an address that is loaded.
  expect(functions).toEqual(expect.arrayContaining(['match_function', 'match_dimension', 'find_step']));
});
