// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { assemble, get, i32, instantiate, set, type TestFunction, u32 } from './fixtures.js';
import { driverOf, fuelOf, MeterError, meterModule } from './index.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';

const CURSOR_AT = 16;
const RECORD_COUNT_AT = 8;
const VERDICTS = 1024;
/** A word for each record: how many turns of a loop it takes. */
const TURNS = 2048;
/** A byte for each record: what is answered. */
const ANSWERS = 3072;
const CAPACITY = 100_000;

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
    ...[...cursor, 0x2d, 0, ...u32(ANSWERS)],
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
    expect([driver.at.value, driver.passed.value]).toEqual([2, 2]);
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

  it('is refused where it has no such function', () => {
    for (const functions of [[], [{ name: 'judge', code: [] }]]) {
      const other = assemble({ functions, memory: { minimum: 1, maximum: 1 } });
      const driven = { name: 'judge', cursorAt: CURSOR_AT, recordCountAt: RECORD_COUNT_AT };
      expect(() => meterModule(other, { driven })).toThrow(MeterError);
    }
  });
});
