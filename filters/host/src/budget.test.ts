// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { AverageTime, budgetOf, defaultBudget, Reserve } from './budget.js';
import { ProcessorShare } from './processor.js';

const defaults = defaultBudget;

describe('a budget', () => {
  it('is the default where the manifest asks for nothing', () => {
    expect(budgetOf(undefined, defaults, undefined)).toEqual(defaults);
  });

  it('is what the manifest asks for, below the default or above it', () => {
    expect(budgetOf({ averageFuel: 100, averageNs: 90_000 }, defaults, undefined)).toEqual({
      ...defaults,
      averageFuel: 100,
      averageNs: 90_000,
    });
  });

  it('is refused above the cap, by field and figure', () => {
    expect(() => budgetOf({ averageNs: 5001 }, defaults, { averageNs: 5000 })).toThrow(
      'budget.averageNs is 5001; at most 5000 is allowed here',
    );
    expect(() => budgetOf({ fuelPerEvent: 10_000_001 }, defaults, undefined)).toThrow('at most 10000000');
  });

  it('is the cap where that is below the default', () => {
    expect(budgetOf({}, defaults, { averageFuel: 7 }).averageFuel).toBe(7);
  });
});

describe('the reserve of fuel', () => {
  it('is that of a thousand events, and of twenty that use all they have', () => {
    expect(new Reserve(defaults).capacity).toBe(1000 * 20_000 + 20 * 1_000_000);
  });

  it('grows by what an event leaves of its share, up to what it was', () => {
    const reserve = new Reserve(defaults);
    reserve.take(50_000, reserve.shareOf(0));
    expect(reserve.left).toBe(reserve.capacity - 30_000);
    reserve.take(1000, reserve.shareOf(0));
    expect(reserve.left).toBe(reserve.capacity - 11_000);
    reserve.take(0, reserve.shareOf(0));
    expect(reserve.left).toBe(reserve.capacity);
  });

  it('has long texts pay for themselves', () => {
    const reserve = new Reserve(defaults);
    reserve.take(400_000, reserve.shareOf(400_000));
    expect(reserve.left).toBe(reserve.capacity);
  });
});

describe('the average of time', () => {
  it('says nothing of less than a thousand events', () => {
    const average = new AverageTime(defaults);
    expect(average.add(999, 999e9)).toBeUndefined();
    expect(average.add(1, 0)).toMatch(/took 999000000 ns of processor time an event .* over 1000 events/);
  });

  it('lets a dear event pass among many cheap ones', () => {
    const average = new AverageTime(defaults);
    average.add(5000, 5000 * 100);
    expect(average.add(1, 50e6)).toBeUndefined();
  });

  it('does not count what long texts allow for', () => {
    expect(new AverageTime(defaults).add(10_000, 304e6, 260_000)).toBeUndefined();
    expect(new AverageTime(defaults).add(10_000, 305e6, 260_000)).toMatch('ns of processor time');
  });

  it('counts once the filter has run for a tenth of a second', () => {
    const average = new AverageTime(defaults);
    expect(average.add(2000, 99e6)).toBeUndefined();
    expect(average.add(1, 1e6)).toMatch(/took 49975 ns of processor time an event .* over 2001 events/);
  });

  it('counts however little an event takes', () => {
    const average = new AverageTime({ ...defaults, averageNs: 1000 });
    let over: string | undefined;
    for (let batch = 0; batch < 100 && over === undefined; batch++) over = average.add(1000, 2e6);
    expect(over).toMatch('took 2000 ns of processor time an event on average over 50000 events');
  });

  it('begins anew with each window, so that what was cheap long ago pays for nothing', () => {
    const average = new AverageTime(defaults);
    expect(average.add(16_384, 101e6)).toBeUndefined();
    expect(average.add(1000, 101e6)).toMatch('over 1000 events');
  });
});

describe('the share of processor time', () => {
  it('is all where it cannot be read', () => {
    const share = new ProcessorShare(() => undefined);
    share.begin(0);
    share.end(60e6);
    expect(share.of(5e6, 60e6)).toBe(5e6);
  });

  it('is what the thread was given of the time that it was at work, looked at now and then', () => {
    let ns = 1e6;
    const share = new ProcessorShare(() => ns);
    ns += 20e6;
    share.begin(1000e6);
    share.end(1049e6);
    expect(share.share).toBe(1);
    // What it waits between two batches does not count.
    share.begin(5000e6);
    share.end(5001e6);
    expect(share.share).toBeCloseTo(0.4);
    ns += 70e6;
    share.begin(6000e6);
    share.end(6060e6);
    expect(share.share).toBe(1);
  });

  it('is looked at for what took long by the clock, so that one long wait is told from long work', () => {
    let ns = 1e6;
    const share = new ProcessorShare(() => ns);
    share.begin(0);
    ns += 3e6;
    expect(share.of(30e6, 30e6)).toBeCloseTo(3e6);
    ns += 40e6;
    expect(share.of(40e6, 70e6)).toBeCloseTo(40e6);
  });
});
