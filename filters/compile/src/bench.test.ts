// SPDX-License-Identifier: Apache-2.0
import { defaultBudget } from '@weir/filter-host';
import { expect, it } from 'vitest';
import { type BenchResult, formatBench } from './bench.js';

const result: BenchResult = {
  name: 'slow',
  version: '1.0.0',
  fixtureEvents: 10,
  events: 1000,
  judged: 1000,
  dropped: 0,
  traps: 0,
  nsPerEvent: 100,
  eventsPerSecond: 1e7,
  fuelPerEvent: 500,
  memoryBytes: 65_536,
  budget: defaultBudget,
  madeUp: true,
};

it('a measurement within the budget says nothing of it', () => {
  expect(formatBench(result)).not.toContain('budget');
});

it('one beyond it says what an agent would do', () => {
  const text = formatBench({
    ...result,
    fuelPerEvent: 20_001,
    nsPerEvent: 300,
    budget: { ...defaultBudget, averageNs: 299 },
  });
  expect(text).toContain('beyond its budget of 20000 units of fuel an event: an agent would stop it');
  expect(text).toContain('beyond its budget of 299 ns an event');
});
