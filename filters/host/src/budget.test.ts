// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { Averages, budgetOf, defaultBudget } from './budget.js';
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
    expect(() => budgetOf({ fuelPerEvent: 500_001 }, defaults, undefined)).toThrow('at most 500000');
  });

  it('is the cap where that is below the default', () => {
    expect(budgetOf({}, defaults, { averageFuel: 7 }).averageFuel).toBe(7);
  });
});

describe('averages', () => {
  it('say nothing of less than a thousand events', () => {
    const averages = new Averages(defaults);
    expect(averages.add(999, 999 * 1_000_000, 999e9)).toBeUndefined();
    expect(averages.add(1, 0, 0)).toMatch(/999000 units of fuel an event on average over 1000 events/);
  });

  it('let a dear event pass among many cheap ones', () => {
    const averages = new Averages(defaults);
    averages.add(5000, 5000 * 100, 0);
    expect(averages.add(1, 50_000_000, 0)).toBeUndefined();
  });

  it('are at their limit allowed, beyond it not', () => {
    expect(new Averages(defaults).add(1000, 20_000_000, 0)).toBeUndefined();
    expect(new Averages(defaults).add(1000, 20_000_001, 0)).toMatch('its budget is 20000');
  });

  it('do not count what long texts allow for, and nothing is left over of that for other events', () => {
    const averages = new Averages(defaults);
    expect(averages.add(1000, 24_000_000, 0, 10_000)).toBeUndefined();
    expect(averages.add(1000, 20_000_000, 0, 10_000)).toBeUndefined();
    expect(averages.add(1000, 24_000_400, 0, 10_000)).toMatch('its budget is 20000');
    expect(new Averages(defaults).add(10_000, 0, 304e6, 260_000)).toBeUndefined();
    expect(new Averages(defaults).add(10_000, 0, 305e6, 260_000)).toMatch('ns of processor time');
  });

  it('of time count once the filter has run for a tenth of a second', () => {
    const averages = new Averages(defaults);
    expect(averages.add(2000, 0, 99e6)).toBeUndefined();
    expect(averages.add(1, 0, 1e6)).toMatch(/took 49975 ns of processor time an event .* over 2001 events/);
  });

  it('of time count however little an event takes', () => {
    const averages = new Averages({ ...defaults, averageNs: 1000 });
    let over: string | undefined;
    for (let batch = 0; batch < 100 && over === undefined; batch++) over = averages.add(1000, 0, 2e6);
    expect(over).toMatch('took 2000 ns of processor time an event on average over 50000 events');
  });

  it('begin anew with each window, so that what was cheap long ago pays for nothing', () => {
    const averages = new Averages(defaults);
    expect(averages.add(16_384, 0, 0)).toBeUndefined();
    expect(averages.add(1000, 20_001_000, 0)).toMatch('over 1000 events');
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
