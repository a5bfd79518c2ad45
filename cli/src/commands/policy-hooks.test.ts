// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { hookRows } from './policy-hooks.js';

test('each policy on each hook has a row, with what is not known marked', () => {
  const hook = {
    hook: 'security_file_open',
    type: 'fentry',
    hits: 9,
    skipped: 2,
    undecided: 1,
    memoryBytes: 4097,
  };
  const counts = {
    matches: 8,
    posted: 5,
    rateLimited: 1,
    lost: 2,
    enforced: 3,
    enforceFailed: 4,
    throttled: 0,
  };
  const rows = hookRows([
    {
      ...hook,
      nsPerRun: 99.6,
      policies: [
        { name: 'a', namespace: '', selectors: 1, counts },
        { name: 'b', namespace: 'shop', selectors: 1 },
      ],
    },
    {
      ...hook,
      hook: 'file_open',
      type: 'lsm',
      policies: [{ name: 'a', namespace: '', selectors: 2, counts }],
    },
  ]);
  expect(rows).toEqual([
    ['a', 'security_file_open', 'fentry', 9, 8, 5, 1, 3, 2, 6, 1, 100, 5],
    ['shop/b', 'security_file_open', 'fentry', 9, '?', '?', '?', '?', '?', '?', 1, 100, 5],
    ['a', 'file_open', 'lsm', 9, 8, 5, 1, 3, 2, 6, 1, '-', 5],
  ]);
});
