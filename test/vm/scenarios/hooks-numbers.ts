// SPDX-License-Identifier: Apache-2.0
// Comparisons of numbers: below, above, within and beside ranges, and by bits, at their edges, with and without sign.

import assert from 'node:assert/strict';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

/** The second argument of the calls; the first is no option of prctl. */
const numbers = [
  0n,
  1n,
  9n,
  10n,
  11n,
  127n,
  128n,
  255n,
  1000n,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_ffffn,
  0x1_0000_0000n,
  0x7fff_ffff_ffff_ffffn,
  -1n,
  -9n,
  -10n,
  -128n,
  -(2n ** 63n),
];

const spread = Array.from({ length: 5000 }, (_, n) => `${n * 20}:${n * 20 + 9}`);

type Case = readonly [
  type: string,
  operator: string,
  values: readonly string[],
  holds: (value: bigint) => boolean,
];

const cases: readonly Case[] = [
  ['int64', 'GT', ['10'], (value) => value > 10n],
  ['int64', 'GreaterThan', ['-10'], (value) => value > -10n],
  ['int64', 'LT', ['-9'], (value) => value < -9n],
  ['int64', 'lessthan', ['10'], (value) => value < 10n],
  ['uint64', 'GT', ['10'], (value) => value < 0n || value > 10n],
  ['uint64', 'GT', ['0x7fffffffffffffff'], (value) => value < 0n],
  ['uint64', 'LT', ['0x8000000000000000'], (value) => value >= 0n],
  ['int', 'LT', ['0'], (value) => BigInt.asIntN(32, value) < 0n],
  ['uint32', 'GT', ['0x7fffffff'], (value) => BigInt.asUintN(32, value) > 0x7fff_ffffn],
  [
    'int8',
    'InRange',
    ['-128:-1', '9:10'],
    (value) => {
      const byte = BigInt.asIntN(8, value);
      return byte < 0n || byte === 9n || byte === 10n;
    },
  ],
  ['int64', 'NotInRange', ['-10:10', '255'], (value) => value < -10n || (value > 10n && value !== 255n)],
  [
    'int64',
    'InMap',
    ['9', '127:128', '-9223372036854775808'],
    (value) => [9n, 127n, 128n, -(2n ** 63n)].includes(value),
  ],
  ['int64', 'InRange', spread, (value) => value >= 0n && value < 100_000n && value % 20n < 10n],
  ['int64', 'NotInRange', spread, (value) => !(value >= 0n && value < 100_000n && value % 20n < 10n)],
  ['int64', 'Mask', ['0x8', '0x80'], (value) => (value & 0x88n) !== 0n],
  ['int', 'Mask', ['0x80000000'], (value) => (value & 0x8000_0000n) !== 0n],
  ['uint64', 'Mask', ['0x8000000000000000'], (value) => value < 0n],
  ['uint8', 'Mask', ['0xff'], (value) => (value & 0xffn) !== 0n],
];

/** No option of prctl: the call fails, whatever the second argument. */
const option = -7n;

function policyFor(n: number, type: string, operator: string, values: readonly string[]): string {
  return policyOf(
    `case-${n}`,
    'sys_prctl',
    ['int', type],
    [
      {
        matchArgs: [
          { index: 0, operator: 'Equal', values: [String(option)] },
          { index: 1, operator, values },
        ],
      },
    ],
  );
}

export default scenario(
  'hooks compare numbers as their types say',
  { timeoutMs: 180_000 },
  async ({ run, log }) => {
    await withHooks(async (hooks) => {
      const input = numbers.map((number) => `prctl\t${option}\t${number}\t0\t0\t0\n`).join('');
      // A hook reads an argument as few types only.
      const types = [...new Set(cases.map(([type]) => type))];
      for (const some of [types.slice(0, 3), types.slice(3)]) {
        const chosen = cases.filter(([type]) => some.includes(type));
        const startMs = performance.now();
        await hooks.apply(
          ...chosen.map(([type, operator, values], n) => policyFor(n, type, operator, values)),
        );
        log(`${chosen.length} policies, applied in ${(performance.now() - startMs).toFixed(0)} ms`);
        hooks.events();
        const made = await run('calls', [], { input });
        assert.equal(made.code, 0, made.stderr);
        const events = hooks.events();
        for (const [n, [type, operator, values, holds]] of chosen.entries()) {
          const found = events
            .filter(({ policy }) => policy === `case-${n}`)
            .map(({ args }) => args[1]?.value);
          const expected = numbers.filter(holds).map((value) => extended(type, value));
          assert.deepEqual(found, expected, `${type} ${operator} ${values.slice(0, 4)}`);
        }
      }
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);

/** A number as an event shows it: cut to its type, and extended to 64 bits. */
function extended(type: string, value: bigint): bigint {
  const bits = Number(/\d+/.exec(type)?.[0] ?? 32);
  return BigInt.asUintN(64, type.startsWith('u') ? BigInt.asUintN(bits, value) : BigInt.asIntN(bits, value));
}
