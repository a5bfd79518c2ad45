// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { filterLine } from './filter-line.js';

test('a filter is shown with its costs', () => {
  const line = filterLine({
    name: 'miner',
    version: '1.0.0',
    state: 'loaded',
    events: 1000,
    kept: 900,
    dropped: 100,
    traps: 1,
    cpuNs: 5_000_000,
    memoryBytes: 1_048_576,
    fuel: 860_000,
    heldBack: 0,
  });
  expect(line).toBe(
    'filter miner 1.0.0 loaded, kept 900, dropped 100, traps 1, 5 ms of processor (5000 ns and 860 units of fuel an event), 1024 KiB',
  );
});

test('one in quarantine with the code and the reason, made harmless', () => {
  const line = filterLine({
    name: 'slow',
    state: 'quarantined',
    code: 'budget',
    reason: 'a\u001b[2J',
    heldBack: 3,
    labelsRefused: 4,
    logLinesLost: 5,
  });
  expect(line).toMatch(
    /^filter slow {2}quarantined \(budget\), .*, held back 3, labels refused 4, log lines lost 5, .*: a/,
  );
  expect(line).not.toContain('\u001b');
});
