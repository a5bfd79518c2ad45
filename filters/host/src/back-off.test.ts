// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it } from 'vitest';
import { BackOff } from './back-off.js';
import { closeHosts, judge, makeBatch, start, traps } from './fixtures.js';

const MINUTE = 60_000;

describe('a quarantine', () => {
  it('that events brought about ends after a minute, then two, at most an hour', () => {
    const backOff = new BackOff();
    const lasted: number[] = [];
    let now = 1000;
    for (let turn = 0; turn < 9; turn++) {
      lasted.push(backOff.begin('budget', now) / MINUTE);
      now += (lasted.at(-1) as number) * MINUTE;
      expect(backOff.isOver(now - 1)).toBe(false);
      expect(backOff.isOver(now)).toBe(true);
    }
    expect(lasted).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  it('is as short as the first one after an hour without', () => {
    const backOff = new BackOff();
    backOff.begin('traps', 0);
    expect(backOff.isOver(MINUTE)).toBe(true);
    expect(backOff.begin('traps', 61 * MINUTE - 1)).toBe(2 * MINUTE);
    expect(backOff.isOver(63 * MINUTE)).toBe(true);
    expect(backOff.begin('budget', 123 * MINUTE)).toBe(MINUTE);
  });

  it('that the filter alone is to blame for does not end', () => {
    for (const code of ['lying', 'load', 'timeout', 'crash'] as const) {
      const backOff = new BackOff();
      expect(backOff.begin(code, 0)).toBe(0);
      expect(backOff.isOver(1e12)).toBe(false);
    }
  });

  it('counts from the first event where it is not known when it began', () => {
    const backOff = new BackOff();
    backOff.begin('budget', undefined);
    expect(backOff.isOver(1e12)).toBe(false);
    expect(backOff.isOver(1e12 + MINUTE)).toBe(true);
  });
});

describe('many events at once', () => {
  it('are as each asked about', () => {
    for (const [from, until] of [
      [5000, 5000 + MINUTE - 1],
      [2e6, 3e6],
      [1000, 1000 + MINUTE - 1],
    ] as const) {
      const [one, other] = [new BackOff(), new BackOff()];
      for (const backOff of [one, other]) backOff.begin('budget', 2e6);
      const each = [until, from].every((timeMs) => !one.isOver(timeMs));
      expect(other.outlasts(from, until)).toBe(each);
      expect(other.isOver(from + MINUTE - 1)).toBe(false);
      expect(other.isOver(from + MINUTE)).toBe(true);
    }
    const [backOff, forEver] = [new BackOff(), new BackOff()];
    backOff.begin('budget', undefined);
    expect(backOff.outlasts(0, MINUTE)).toBe(false);
    forEver.begin('lying', 0);
    expect(forEver.outlasts(0, 1e15)).toBe(true);
  });
});

describe('a clock that is put back', () => {
  it('makes no quarantine longer', () => {
    const backOff = new BackOff();
    backOff.begin('budget', 1e12);
    expect(backOff.isOver(5000)).toBe(false);
    expect(backOff.isOver(5000 + MINUTE)).toBe(true);
  });
});

describe('a filter whose quarantine ends', () => {
  afterEach(closeHosts);
  const at = (seconds: number, ...numbers: number[]) =>
    makeBatch(numbers.map((pid) => ({ pid, timeNs: BigInt(seconds) * 1_000_000_000n })));

  it('judges again, with fresh state, and says so', async () => {
    const { host, reports } = await start([traps], { trapsMax: 2 });
    await judge(host, at(10, 666, 666));
    expect(host.status()[0]?.quarantine).toMatchObject({
      code: 'traps',
      reason: expect.stringMatching(/; it is tried again after 60 s$/),
    });
    expect((await judge(host, at(69, 1))).verdicts).toEqual([0]);
    expect((await judge(host, at(70, 1))).verdicts).toEqual([1]);
    expect(host.status()[0]?.quarantine).toBeUndefined();
    expect(reports.at(-1)).toMatchObject({ type: 'release', filter: 'traps' });
    // The traps before count no more.
    await judge(host, at(70, 666));
    expect(host.status()[0]?.quarantine).toBeUndefined();
    await judge(host, at(70, 666));
    expect(host.status()[0]?.quarantine?.reason).toMatch(/after 120 s$/);
  });
});
