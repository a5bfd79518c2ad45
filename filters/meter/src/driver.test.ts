// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { canBeWithin } from './emit.js';
import {
  assemble,
  call,
  f32,
  f64,
  get,
  i32,
  i64,
  instantiate,
  randomModule,
  randomOf,
  set,
  type TestFunction,
  u32,
} from './fixtures.js';
import { driverOf, fuelOf, MeterError, meterModule, runEnd } from './index.js';
import { parseModule } from './module.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';
import { type FunctionPlan, planFunctions } from './plan.js';
import { type FunctionScan, scanFunction } from './scan.js';

// WEIR_SEED and WEIR_FUZZ_ROUNDS change what is tried at random, and how much.
const SEED = Number(process.env.WEIR_SEED ?? 1);
const ROUNDS = Number(process.env.WEIR_FUZZ_ROUNDS ?? 300);

/** Of a record; enough for most random programs. */
const FUEL = 20_000_000;

const CURSOR_AT = 16;
const RECORD_COUNT_AT = 8;
const VERDICTS = 1024;
/** A word for each record: how many turns of a loop it takes. */
const TURNS = 2048;
/** A byte for each record: what is answered. */
const ANSWERS = 3072;
const CAPACITY = 100_000;
/** An answer that has this bit is no answer, but a verdict with the rest of it. */
const VERDICT = 0x40;

const cursor = [...get(0), 0x28, 2, CURSOR_AT];
const judge: TestFunction = {
  name: 'judge',
  parameters: [Type.i32],
  results: [Type.i32],
  locals: [Type.i32],
  code: [
    ...[...cursor, ...i32(2), 0x74, 0x28, 2, ...u32(TURNS), ...set(1)],
    ...[Op.block, EMPTY_BLOCK, Op.loop, EMPTY_BLOCK, ...get(1), 0x45, Op.brIf, 1],
    ...[...get(1), ...i32(1), Op.i32Sub, ...set(1), Op.br, 0, Op.end, Op.end],
    ...[...cursor, 0x2d, 0, ...u32(ANSWERS), Op.localTee, 1, ...i32(VERDICT), 0x71],
    ...[Op.if, Type.i32, ...cursor, ...get(1), ...i32(VERDICT), Op.i32Sub, 0x3a, 0, ...u32(VERDICTS)],
    ...[...i32(0), Op.else, ...get(1), Op.end],
  ],
};
const module = assemble({ functions: [judge], memory: { minimum: 1, maximum: 1 } });

/** A driven instance whose records take so many turns. */
function start(turns: readonly number[]) {
  const driven = { name: 'judge', cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
  const instance = instantiate(meterModule(module, { driven }));
  const driver = driverOf(instance);
  const fuel = fuelOf(instance);
  fuel.refill(0n);
  driver.reserve.value = CAPACITY;
  const view = new DataView((instance.exports.memory as { buffer: ArrayBuffer }).buffer);
  for (const [index, count] of turns.entries()) view.setUint32(TURNS + index * 4, count, true);
  const run = (from = 0, { budget = 1_000_000, share = 1_000_000, spendMax = 1_000_000_000 } = {}) =>
    driver.run(0, VERDICTS, from, turns.length, budget, share, CAPACITY, spendMax);
  return { driver, fuel, view, run };
}

describe('a driven module', () => {
  it('is called for each record that is not passed over, and told which', () => {
    const { driver, view, run } = start([0, 0, 0, 0]);
    view.setUint8(VERDICTS + 1, 255);
    view.setUint8(VERDICTS + 3, 255);
    view.setUint32(CURSOR_AT + 4, 77, true);
    expect(run()).toBe(4);
    expect(driver.at.value).toBe(2);
    expect(driver.told(VERDICTS, 0, 4)).toBe(2 << 16);
    expect([CURSOR_AT, RECORD_COUNT_AT, CURSOR_AT + 4].map((at) => view.getUint32(at, true))).toEqual([
      2, 3, 0,
    ]);
  });

  it('gives each record fuel of its own: what one uses is not the next one\u2019s to miss', () => {
    const alone = start([90]);
    alone.run();
    const one = alone.driver.spent.value;
    const many = start([90, 90, 90]);
    expect(many.run(0, { budget: one })).toBe(3);
    expect(many.driver.spent.value).toBe(3 * one);
    const short = start([0, 90, 0]);
    expect(() => short.run(0, { budget: one - 1 })).toThrow();
    expect([short.driver.at.value, short.fuel.exhausted()]).toEqual([1, 'fuel']);
  });

  it('comes back behind a record that it answers for, or that something is said of', () => {
    const { driver, view, run } = start([0, 0, 0]);
    view.setUint8(ANSWERS + 1, 5);
    expect([run(), driver.answer.value]).toEqual([2, 5]);
    expect([run(2), driver.answer.value]).toEqual([3, 0]);
  });

  it('comes back behind the record that takes the reserve below nothing, or too much in all', () => {
    const each = start([90]);
    each.run();
    const used = each.driver.spent.value;
    const turns = new Array<number>(200).fill(90);
    const share = used - 1000;
    const scarce = start(turns);
    expect(scarce.run(0, { share })).toBe(CAPACITY / 1000 + 1);
    expect(scarce.driver.reserve.value).toBe(-1000);
    // What is left of a share goes into the reserve, and no more than it holds.
    const rich = start(turns);
    rich.driver.reserve.value = CAPACITY - 10;
    expect(rich.run(0, { share: used + 1 })).toBe(200);
    expect(rich.driver.reserve.value).toBe(CAPACITY);
    const long = start(turns);
    expect(long.run(0, { spendMax: used * 10 })).toBe(11);
  });

  it('ends behind a verdict that is none', () => {
    const { view, run } = start([0, 0, 0, 0]);
    view.setUint8(ANSWERS + 1, VERDICT | 1);
    view.setUint8(ANSWERS + 2, VERDICT | 2);
    expect(run()).toBe(3);
  });

  it('is refused where it has no such function', () => {
    for (const functions of [[], [{ name: 'judge', code: [] }]]) {
      const other = assemble({ functions, memory: { minimum: 1, maximum: 1 } });
      const driven = { name: 'judge', cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
      expect(() => meterModule(other, { driven })).toThrow(MeterError);
    }
  });
});

/** Judges so many records: it drops, traps, answers and passes over as a seed says, and forges what it did before. */
function judgeAtRandom(seed: number, records: number) {
  const random = randomOf(seed);
  const verdictsAt = 8192;
  const marks = Uint8Array.from({ length: (records + 7) & ~7 }, () => (random(4) === 0 ? 255 : 0));
  const says = Uint8Array.from({ length: records }, () => {
    const one = random(60);
    return one === 0 ? 9 : one === 1 ? 7 : one < 20 ? 1 : 0;
  });
  const saysAt = verdictsAt + marks.length;
  const judgeOne: TestFunction = {
    name: 'judge',
    parameters: [Type.i32],
    results: [Type.i32],
    locals: [Type.i32],
    code: [
      // All verdicts before are forged, and then it says what it is to say: a verdict, 7 (an answer) or 9 (a trap).
      ...[...i32(verdictsAt), ...i32(1), ...cursor, 0xfc, 0x0b, 0],
      ...[...cursor, 0x2d, 0, ...u32(saysAt), ...set(1)],
      ...[...get(1), ...i32(9), 0x46, Op.if, EMPTY_BLOCK, Op.unreachable, Op.end],
      ...[...get(1), ...i32(7), 0x46, Op.if, EMPTY_BLOCK, ...i32(7), Op.return, Op.end],
      ...[...cursor, ...get(1), 0x3a, 0, ...u32(verdictsAt), ...i32(0)],
    ],
  };
  const pages = Math.ceil((saysAt + records) / 65536);
  const driven = { name: 'judge', cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
  const bytes = assemble({ functions: [judgeOne], memory: { minimum: pages, maximum: pages } });
  const instance = instantiate(meterModule(bytes, { driven }));
  const driver = driverOf(instance);
  const fuel = fuelOf(instance);
  const memory = new Uint8Array((instance.exports.memory as { buffer: ArrayBuffer }).buffer);
  memory.set(marks, verdictsAt);
  memory.set(says, saysAt);
  const got: number[] = [];
  let trapped = 0;
  for (let at = 0; at < records; ) {
    driver.reserve.value = CAPACITY;
    driver.spent.value = 0;
    fuel.refill(0n);
    let next: number;
    const until = Math.min(records, runEnd(at), at + 1 + random(5000));
    try {
      next = driver.run(0, verdictsAt, at, until, 1_000_000, 1_000_000, CAPACITY, 1_000_000_000);
    } catch {
      next = driver.at.value + 1;
      trapped++;
    }
    const counts = driver.told(verdictsAt, at, next);
    const told = memory.subarray(verdictsAt + at, verdictsAt + next);
    expect([counts & 0xffff, counts >>> 16], `seed ${seed}: records ${at} to ${next}`).toEqual([
      told.filter((one) => one === 1).length,
      told.filter((one) => one === 255).length,
    ]);
    got.push(...told);
    at = next;
  }
  const wanted = Array.from(says, (one, index) => (marks[index] === 255 ? 255 : one === 1 ? 1 : 0));
  expect(got, `seed ${seed}`).toEqual(wanted);
  const judged = (say: number) => says.filter((one, index) => one === say && marks[index] === 0).length;
  expect(trapped).toBe(judged(9));
  return { trapped, dropped: judged(1) };
}

describe('what was taken down of each record', () => {
  it(`is told as it was behind the record, whatever was written over it since (seeds from ${SEED})`, () => {
    let trapped = 0;
    let dropped = 0;
    for (let seed = SEED; seed < SEED + ROUNDS / 5; seed++) {
      const one = judgeAtRandom(seed, 1 + ((seed * 997) % 9000));
      trapped += one.trapped;
      dropped += one.dropped;
    }
    expect([trapped > ROUNDS / 3, dropped > ROUNDS * 3]).toEqual([true, true]);
  });
});

describe('a function that is written into the loop', () => {
  /** Runs the last function of a module over a few records by the loop, and by calls from outside that do as the loop does. */
  function compare(seed: number): boolean {
    const last = { parameters: [Type.i32], results: [Type.i32] };
    const { bytes, signatures } = randomModule(seed, { floatBits: false }, undefined, last);
    const name = `f${signatures.length - 1}`;
    const driven = { name, cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
    const metered = meterModule(bytes, { driven });
    const records = 6;
    // Where random programs seldom write to.
    const verdicts = 0xfff0;
    const outcome = (byLoop: boolean) => {
      const seen: number[] = [];
      const instance = instantiate(metered, { env: { seen: (value: number) => seen.push(value) } });
      const { exports } = instance;
      const driver = driverOf(instance);
      const fuel = fuelOf(instance);
      const memory = exports.memory as { buffer: ArrayBuffer };
      const results: unknown[] = [];
      const loop = (from: number): number => {
        const next = driver.run(0, verdicts, from, records, FUEL, 2 ** 30, 2 ** 30, 2 ** 31 - 1);
        results.push(driver.answer.value);
        return next;
      };
      /** Where a call trapped. */
      let begun = 0;
      const calls = (from: number): number => {
        let answer = 0;
        for (let record = from; record < records; record++) {
          let view = new DataView(memory.buffer);
          if (view.getUint8(verdicts + record) !== 0) continue;
          begun = record;
          view.setUint32(CURSOR_AT, record, true);
          view.setUint32(CURSOR_AT + 4, 0, true);
          view.setUint32(RECORD_COUNT_AT, record + 1, true);
          fuel.remaining = BigInt(FUEL);
          answer = (exports[name] as (at: number) => number)(0);
          view = new DataView(memory.buffer);
          const ends = answer | view.getUint32(CURSOR_AT + 4, true) | (view.getUint8(verdicts + record) >> 1);
          if (ends === 0) continue;
          results.push(answer);
          return record + 1;
        }
        results.push(answer);
        return records;
      };
      for (let at = 0; at < records; ) {
        (exports.g4 as { value: number }).value = 0;
        driver.reserve.value = 0;
        driver.spent.value = 0;
        fuel.refill(0n);
        try {
          at = (byLoop ? loop : calls)(at);
        } catch (error) {
          results.push((error as Error).message);
          at = (byLoop ? driver.at.value : begun) + 1;
        }
        results.push(at, fuel.remaining, fuel.exhausted());
      }
      const bytesNow = new Uint8Array(memory.buffer);
      const sum = bytesNow.reduce((all, byte, at) => (Math.imul(all, 31) + byte * (at | 1)) | 0, 7);
      const globals = [0, 1, 2, 3].map((index) => (exports[`g${index}`] as { value: unknown }).value);
      return { results, seen, length: bytesNow.length, sum, globals };
    };
    expect(outcome(true), `seed ${seed}`).toEqual(outcome(false));
    const shape = parseModule(bytes, { typesMax: 4096, functionsMax: 4096, localsMax: 4096 });
    const scans = shape.bodies.map((_, index) => scanFunction(shape, index, 4096));
    const plans = planFunctions(shape, scans, 1000);
    const index = scans.length - 1;
    return canBeWithin(shape, scans[index] as FunctionScan, plans[index] as FunctionPlan);
  }

  it(`does, uses and traps as one that is called does (seeds from ${SEED})`, () => {
    let within = 0;
    for (let seed = SEED; seed < SEED + ROUNDS; seed++) if (compare(seed)) within++;
    // A canary: functions that are all called would show nothing.
    expect(within).toBeGreaterThan(ROUNDS / 5);
  });

  it('begins with locals of nothing on each record', () => {
    const types = [Type.i32, Type.i64, Type.f32, Type.f64];
    const counts = [
      [...get(1), ...i32(1), Op.i32Add, ...set(1), ...get(1)],
      [...get(2), ...i64(1n), 0x7c, ...set(2), ...get(2), 0xa7],
      [...get(3), ...f32(1), 0x92, ...set(3), ...get(3), 0xa8],
      [...get(4), ...f64(1), 0xa0, ...set(4), ...get(4), 0xaa],
    ];
    const code = [...counts.flat(), Op.i32Add, Op.i32Add, Op.i32Add];
    const bytes = assemble({
      functions: [{ ...judge, locals: types, code: [...code, ...i32(4), Op.i32Sub] }],
      memory: { minimum: 1, maximum: 1 },
    });
    const driven = { name: 'judge', cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
    const instance = instantiate(meterModule(bytes, { driven }));
    fuelOf(instance).refill(0n);
    // It answers what they hold beyond one each.
    expect(driverOf(instance).run(0, VERDICTS, 0, 10, FUEL, FUEL, FUEL, FUEL)).toBe(10);
  });

  it('is called where it can come to call itself, or is large', () => {
    const one = (code: number[]) => {
      const bytes = assemble({ functions: [{ ...judge, code }], memory: { minimum: 1, maximum: 1 } });
      const shape = parseModule(bytes, { typesMax: 4096, functionsMax: 4096, localsMax: 4096 });
      const scan = scanFunction(shape, 0, 4096);
      return canBeWithin(shape, scan, planFunctions(shape, [scan], 1000)[0] as FunctionPlan);
    };
    expect(one([...get(0)])).toBe(true);
    expect(one([...get(0), ...call(0)])).toBe(false);
    expect(one([...new Array<number>(5000).fill(Op.nop), ...get(0)])).toBe(false);
  });
});
