// SPDX-License-Identifier: Apache-2.0
// Expressions (CelExpr): what they say of numbers, of two arguments together and of texts, each with calls for which
// they hold and others for which they do not; an alternative acts once, and enforces as its selector says.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

/** No option of prctl: the calls fail, whatever the other arguments. */
const option = -7n;
const numbers = [
  0n,
  1n,
  4n,
  5n,
  6n,
  10n,
  255n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  -1n,
  -5n,
  -(2n ** 63n),
];
const pairs = numbers.flatMap((a) => numbers.map((b) => [a, b] as const));

const s32 = (value: bigint) => BigInt.asIntN(32, value);
const u64 = (value: bigint) => BigInt.asUintN(64, value);

type Case = readonly [type: string, expression: string, holds: (a: bigint, b: bigint) => boolean];

const cases: readonly Case[] = [
  [
    'int',
    'arg1 == 5 || arg1 > 6 && arg1 != int32(255)',
    (a) => s32(a) === 5n || (s32(a) > 6n && s32(a) !== 255n),
  ],
  ['int', 'arg1 + 5 < 0', (a) => s32(s32(a) + 5n) < 0n],
  ['int', '!(arg1 in [0, 1, -1]) && arg2 == 10', (a, b) => ![0n, 1n, -1n].includes(s32(a)) && s32(b) === 10n],
  ['int', 'arg1 == 4 || arg2 == 6', (a, b) => s32(a) === 4n || s32(b) === 6n],
  ['int', 'arg1 < arg2', (a, b) => s32(a) < s32(b)],
  ['int', 'arg1 - int32(4) == arg2 + int32(1)', (a, b) => s32(a - 4n) === s32(b + 1n)],
  ['int', 'arg1 + arg2 == 10', (a, b) => s32(a + b) === 10n],
  ['int', 'math.bitAnd(arg1, 5) == 4', (a) => (a & 5n) === 4n],
  ['int', 'math.bitAnd(arg1, 6) == 0', (a) => (a & 6n) === 0n],
  ['int', 'arg1 * 2 + 1 > 9', (a) => s32(a * 2n + 1n) > 9n],
  ['int', 'arg1 / 2 == 2 || arg1 / -3 == 1', (a) => s32(a) / 2n === 2n || s32(a) / -3n === 1n],
  ['uint64', 'arg1 % 4u == 1u', (a) => u64(a) % 4n === 1n],
  ['int', 'arg1 == (arg2 > 5 ? 4 : 5)', (a, b) => s32(a) === (s32(b) > 5n ? 4n : 5n)],
  ['uint64', 'arg1 > arg2', (a, b) => u64(a) > u64(b)],
  ['uint64', 'arg2 - arg1 == 1u', (a, b) => u64(b - a) === 1n],
  ['int64', 'arg1 <= arg2 && arg1 != -5', (a, b) => a <= b && a !== -5n],
];

function caseName(n: number): string {
  return `case-${n}`;
}

export default scenario(
  'expressions say what they say',
  { timeoutMs: 180_000 },
  async ({ run, folder, log }) => {
    await withHooks(async (hooks) => {
      const input = pairs.map(([a, b]) => `prctl\t${option}\t${a}\t${b}\t0\t0\n`).join('');
      const startMs = performance.now();
      await hooks.apply(
        ...cases.map(([type, expression], n) =>
          policyOf(
            caseName(n),
            'sys_prctl',
            ['int', type, type],
            [{ matchArgs: [{ operator: 'CelExpr', values: [`arg0 == ${option} && (${expression})`] }] }],
          ),
        ),
      );
      log(`${cases.length} expressions, applied in ${(performance.now() - startMs).toFixed(0)} ms`);
      hooks.events();
      const made = await run('calls', [], { input });
      assert.equal(made.code, 0, made.stderr);
      const events = hooks.events();
      for (const [n, [type, expression, holds]] of cases.entries()) {
        const cut = (value: bigint) => u64(type === 'int' ? s32(value) : value);
        const found = events
          .filter(({ policy }) => policy === caseName(n))
          .map(({ args }) => [args[1]?.value, args[2]?.value]);
        const expected = pairs.filter(([a, b]) => holds(a, b)).map((pair) => pair.map(cut));
        assert.ok(expected.length > 0 && expected.length < pairs.length, expression);
        assert.deepEqual(found, expected, `${type}: ${expression}`);
      }
      assert.equal(hooks.counter('undecided'), 0n);

      const files = ['a.conf', 'a.txt', 'b.conf', 'key'].map((name) => `${folder}/${name}`);
      for (const path of files) writeFileSync(path, 'x');
      await hooks.apply(
        policyOf(
          'texts',
          'sys_openat',
          ['int', 'string', 'int'],
          [
            {
              matchArgs: [
                {
                  operator: 'CelExpr',
                  values: [
                    `arg1.startsWith('${folder}/') && (arg1.contains('/ke') || arg1.contains('.tx') || arg2 != 0)`,
                  ],
                },
              ],
            },
          ],
        ),
        policyOf(
          'pattern',
          'sys_openat',
          ['int', 'string', 'int'],
          [
            {
              matchArgs: [
                { operator: 'CelExpr', values: [String.raw`arg1.matches(r'^${folder}/.*\.(conf|txt)$')`] },
              ],
            },
          ],
        ),
        policyOf(
          'length',
          'security_file_open',
          ['file'],
          [
            {
              matchArgs: [
                {
                  operator: 'CelExpr',
                  values: [`arg0.startsWith('${folder}/') && size(arg0) < ${folder.length + 7}`],
                },
              ],
            },
          ],
        ),
        policyOf(
          'denies',
          'security_file_open',
          ['file'],
          [
            {
              matchArgs: [{ operator: 'CelExpr', values: [`arg0 in ['${folder}/key', '${folder}/b.conf']`] }],
              matchActions: [{ action: 'Override', argError: -1 }],
            },
          ],
        ),
      );
      hooks.events();
      const lines = files.map((path) => `openat\t-100\t${path}\t0\n`).join('');
      const opened = await run('calls', [], { input: lines });
      assert.deepEqual(
        opened.stdout
          .trim()
          .split('\n')
          .map(Number)
          .map((result) => (result >= 0 ? 0 : result)),
        [0, 0, -1, -1],
      );
      const seen = hooks.events();
      const pathsOf = (name: string, at: number) =>
        seen.filter(({ policy }) => policy === name).map(({ args }) => args[at]?.text);
      assert.deepEqual(pathsOf('texts', 1), [files[1], files[3]]);
      assert.deepEqual(pathsOf('pattern', 1), files.slice(0, 3));
      assert.deepEqual(pathsOf('length', 0), [files[1], files[3]]);
      assert.deepEqual(pathsOf('denies', 0), [files[2], files[3]]);
    });
  },
);
