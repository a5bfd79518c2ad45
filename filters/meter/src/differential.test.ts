// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { Reader } from './bytes.js';
import { Decoder } from './decode.js';
import {
  type Code,
  type Instance,
  i64,
  instantiate,
  randomModule,
  randomOf,
  SPARE_GLOBAL,
  testEngine,
} from './fixtures.js';
import { fuelOf, type MeterOptions, meterModule } from './index.js';
import { Op, Type } from './opcodes.js';

const FUEL = 20_000_000n;
const SEEDS = 150;

interface Outcome {
  results: unknown[];
  seen: number[];
  memory: string;
  globals: unknown[];
  exhausted: boolean;
  fuel: bigint[];
}

function argument(type: number, random: (below: number) => number): unknown {
  if (type === Type.i64) return BigInt(random(0xffffffff)) << BigInt(random(32));
  if (type === Type.i32) return random(0xffffffff) | 0;
  return [0, 1.5, -7, Number.NaN, 1e20][random(5)];
}

/** Calls every function a few times. Bits of floats are compared where `bits` says so, else a NaN is a NaN. */
function run(
  instance: Instance,
  seen: number[],
  seed: number,
  calls: readonly number[][],
  bits: boolean,
): Outcome {
  const random = randomOf(seed + 1_000_000);
  const fuel = 'weir.fuel' in instance.exports ? fuelOf(instance) : undefined;
  const outcome: Outcome = { results: [], seen, memory: '', globals: [], exhausted: false, fuel: [] };
  for (let round = 0; round < 3; round++) {
    for (const [index, parameters] of calls.entries()) {
      fuel?.refill(FUEL);
      const values = parameters.map((type) => argument(type, random));
      try {
        outcome.results.push((instance.exports[`f${index}`] as (...values: unknown[]) => unknown)(...values));
      } catch (error) {
        outcome.results.push((error as Error).message);
        if (fuel?.exhausted() !== undefined) outcome.exhausted = true;
      }
      if (fuel !== undefined) outcome.fuel.push(fuel.remaining);
      // What the guard counts is left as it was where a call trapped.
      (instance.exports.g4 as { value: number }).value = 0;
    }
  }
  const memory = new Uint8Array((instance.exports.memory as { buffer: ArrayBuffer }).buffer);
  outcome.memory = `${memory.length}:${memory.reduce((sum, byte, at) => (Math.imul(sum, 31) + byte * (at | 1)) | 0, 7)}`;
  outcome.globals = [0, 1, 2, 3].map((index) => {
    const { value } = instance.exports[`g${index}`] as { value: number | bigint };
    return typeof value === 'number' && bits
      ? [...new Uint8Array(new Float64Array([value]).buffer)].join()
      : value;
  });
  return outcome;
}

function outcomeOf(bytes: Uint8Array, seed: number, calls: readonly number[][], bits: boolean): Outcome {
  const seen: number[] = [];
  return run(
    instantiate(bytes, { env: { seen: (value: number) => seen.push(value) } }),
    seen,
    seed,
    calls,
    bits,
  );
}

function compare(seed: number, floatBits: boolean, options: MeterOptions): 'same' | 'exhausted' {
  const { bytes, signatures } = randomModule(seed, { floatBits });
  expect(testEngine.validate(bytes), `seed ${seed} makes a valid module`).toBe(true);
  const metered = meterModule(bytes, options);
  expect(testEngine.validate(metered), `seed ${seed} is valid once metered`).toBe(true);
  const calls = signatures.map(({ parameters }) => parameters);
  const got = outcomeOf(metered, seed, calls, floatBits);
  const again = outcomeOf(metered, seed, calls, floatBits);
  expect(again, `seed ${seed} twice`).toEqual(got);
  if (got.exhausted) return 'exhausted';
  const wanted = outcomeOf(bytes, seed, calls, floatBits);
  expect({ ...got, fuel: [] }, `seed ${seed}`).toEqual({ ...wanted, fuel: [] });
  return 'same';
}

describe('random programs do the same metered and not metered', () => {
  it('with all of metering, where no program looks at the bits of a NaN', () => {
    let same = 0;
    for (let seed = 1; seed <= SEEDS; seed++) if (compare(seed, false, {}) === 'same') same++;
    // A canary: programs that all run out of fuel would show nothing.
    expect(same).toBeGreaterThan(SEEDS * 0.9);
  });

  it('bit by bit, where NaNs are left as the engine makes them', () => {
    let same = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      if (compare(seed + 5000, true, { measures: { nan: false } }) === 'same') same++;
    }
    expect(same).toBeGreaterThan(SEEDS * 0.9);
  });

  it('with every function counted in depth', () => {
    for (let seed = 1; seed <= 40; seed++) compare(seed + 9000, false, { depthMax: 60 });
  });
});

/** Counts every instruction where it stands, but for those that only mark where blocks are. */
function counted(code: Code): Code {
  const bytes = Uint8Array.from(code);
  const decoder = new Decoder(new Reader(bytes, 0, bytes.length));
  const marks: number[] = [Op.nop, Op.block, Op.loop, Op.else, Op.end];
  const out: number[] = [];
  while (!decoder.reader.done) {
    const op = decoder.next();
    if (!marks.includes(op)) {
      out.push(...[Op.globalGet, SPARE_GLOBAL], ...i64(1n), ...[0x7c, Op.globalSet, SPARE_GLOBAL]);
    }
    out.push(...bytes.subarray(decoder.at, decoder.reader.at));
  }
  return out;
}

describe('fuel', () => {
  it('is charged for every instruction that is run', () => {
    let instructions = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const options = { floatBits: false };
      const { bytes, signatures } = randomModule(seed, options);
      const counting = instantiate(randomModule(seed, options, counted).bytes, { env: { seen() {} } });
      const metered = instantiate(meterModule(bytes), { env: { seen() {} } });
      const fuel = fuelOf(metered);
      const count = counting.exports[`g${SPARE_GLOBAL}`] as { value: bigint };
      for (const [index, { parameters }] of signatures.entries()) {
        const random = randomOf(seed);
        const values = parameters.map((type) => argument(type, random));
        fuel.refill(FUEL);
        count.value = 0n;
        const ends = [metered, counting].map(({ exports }) => {
          (exports.g4 as { value: number }).value = 0;
          try {
            (exports[`f${index}`] as (...values: unknown[]) => unknown)(...values);
            return undefined;
          } catch (error) {
            return (error as Error).message;
          }
        });
        if (fuel.exhausted() !== undefined) break;
        expect(ends[0], `seed ${seed}`).toBe(ends[1]);
        // After a trap, what a loop had used may not be written back.
        if (ends[0] !== undefined) continue;
        expect(FUEL - fuel.remaining, `seed ${seed}, f${index}`).toBeGreaterThanOrEqual(count.value);
        instructions += Number(count.value);
      }
    }
    expect(instructions).toBeGreaterThan(100_000);
  });
});
