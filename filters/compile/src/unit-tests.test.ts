// SPDX-License-Identifier: Apache-2.0
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildFilter, FilterBuildError, formatTest, testFilter } from './index.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weir-unit-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const filter = `import { Bytes, Event, keep, Verdict, warn } from '@weir/filter-sdk';
export let seen = 0;
export function vowels(text: Bytes): i32 {
  seen++;
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.at(i);
    if (byte == 0x61 || byte == 0x65) count++;
  }
  warn('counted');
  return count;
}
export function filter(event: Event): Verdict { return vowels(event.process.binary) > 2 ? keep() : keep(); }
`;

async function project(name: string, tests: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, 'tests'), { recursive: true });
  await writeFile(join(path, 'filter.ts'), filter);
  await writeFile(join(path, 'filter.json'), JSON.stringify({ name, version: '1.0.0' }));
  await writeFile(join(path, 'tests', 'words.unit.ts'), tests);
  return path;
}

async function run(path: string) {
  const { bytes } = await buildFilter({ source: path });
  return testFilter({ module: bytes, tests: [join(path, 'tests')] });
}

it('unit tests call the functions of a filter; a failure has its place in the source', async () => {
  const path = await project(
    'units',
    `import { bytes } from '@weir/filter-sdk/testing';
import { seen, vowels } from '../filter';
export function countsVowels(): void {
  assert(vowels(bytes('/usr/bin/awk')) == 1);
  assert(vowels(bytes('')) == 0, 'none in nothing');
}
export function beginsAnew(): void {
  assert(seen == 0, 'another test was here');
}
export function fails(): void {
  assert(vowels(bytes('ea')) == 3, 'two are not three');
}
export function reachesBeyond(): void {
  load<u8>(0xfffffff0);
}
export function withParameters(one: i32): void { unreachable(); }
`,
  );
  const result = await run(path);
  expect(result.passed).toBe(false);
  expect(result.cases.map(({ name, passed }) => [name, passed])).toEqual([
    ['countsVowels', true],
    ['beginsAnew', true],
    ['fails', false],
    ['reachesBeyond', false],
  ]);
  const [, , fails, beyond] = result.cases;
  expect(fails?.failures).toEqual([`${join(path, 'tests/words.unit.ts')}:11:3: two are not three`]);
  expect(fails?.log).toEqual(['counted']);
  expect(beyond?.failures[0]).toMatch(/out of bounds in .*reachesBeyond/);
  const report = formatTest(result);
  expect(report).toContain('ok   countsVowels\n');
  expect(report).toMatch(/FAIL fails\n {7}.*words\.unit\.ts:11:3: two are not three\n {7}log: counted/);
  expect(report).toContain('2 of 4 cases pass');
});

it('unit tests that run for ever end, with the place of the function that does', async () => {
  const path = await project(
    'endless',
    `import { bytes } from '@weir/filter-sdk/testing';
import { vowels } from '../filter';
function waits(): i32 {
  let turns = 0;
  const text = bytes('a');
  while (vowels(text) > 0) turns++;
  return turns;
}
export function never(): void {
  assert(waits() == 0);
}
function deeper(depth: i32): i32 {
  return deeper(depth + 1) + deeper(depth + 2);
}
export function nests(): void {
  assert(deeper(0) == 0);
}
export function passes(): void {
  assert(true);
}
`,
  );
  const { cases } = await run(path);
  expect(cases.map(({ name, passed }) => [name, passed])).toEqual([
    ['never', false],
    ['nests', false],
    ['passes', true],
  ]);
  expect(cases[0]?.failures[0]).toMatch(
    /endless\/(tests\/words\.unit|filter)\.ts:\d+:\d+: runs for ever, or takes too long: more than 2000000000 units of fuel in /,
  );
  expect(cases[1]?.failures[0]).toMatch(
    /tests\/words\.unit\.ts:12:10: calls nest too deeply in tests\/words\.unit\/deeper/,
  );
});

it('unit tests that do not compile are told with the place', async () => {
  const path = await project('wrong', `export function nothing(): void { nowhere(); }\n`);
  const failure = await run(path).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(FilterBuildError);
  expect((failure as FilterBuildError).diagnostics[0]).toMatchObject({ line: 1, code: 'AS2304' });
  expect((failure as FilterBuildError).diagnostics[0]?.file).toMatch(/tests\/words\.unit\.ts$/);
});
