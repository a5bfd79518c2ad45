// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { Accounting } from './accounting.js';

/** The join's part: a record with a number has come. */
function came(accounting: Accounting, cpu: number, sequence: number): void {
  accounting.next[cpu] = Math.max(accounting.next[cpu] ?? 0, sequence + 1);
  accounting.handled[cpu] = (accounting.handled[cpu] ?? 0) + 1;
}

describe('numbers that never came', () => {
  test('are missed by what comes after them', () => {
    const accounting = new Accounting(2, new Uint8Array(16));
    came(accounting, 1, 0);
    came(accounting, 1, 3);
    expect(accounting.settle()).toEqual([]);
    expect(accounting.settle()).toEqual([{ cpu: 1, count: 2 }]);
    expect(accounting.settle()).toEqual([]);
  });

  test('are missed where nothing comes after them', () => {
    const accounting = new Accounting(2, new Uint8Array(16));
    came(accounting, 0, 0);
    const looked = () => {
      accounting.numbered([3, 0], true);
      return accounting.settle();
    };
    // Numbered; missing; still missing.
    expect(looked()).toEqual([]);
    expect(looked()).toEqual([]);
    expect(looked()).toEqual([{ cpu: 0, count: 2 }]);
    expect(looked()).toEqual([]);
    accounting.told([{ cpu: 0, count: 2 }]);
    expect(accounting.totals()).toEqual({ next: 3, handled: 1, dropped: 0, lost: 2 });
  });

  test('are not those that wait in the ring', () => {
    const accounting = new Accounting(1, new Uint8Array(16));
    for (let turn = 0; turn < 5; turn++) {
      accounting.numbered([2], false);
      expect(accounting.settle()).toEqual([]);
    }
    came(accounting, 0, 0);
    came(accounting, 0, 1);
    for (let turn = 0; turn < 5; turn++) {
      accounting.numbered([2], true);
      expect(accounting.settle()).toEqual([]);
    }
    expect(accounting.totals()).toEqual({ next: 2, handled: 2, dropped: 0, lost: 0 });
  });

  test('are not those that have a number and are not in the ring yet', () => {
    const accounting = new Accounting(1, new Uint8Array(16));
    // At each look another one is on its way.
    for (let sequence = 0; sequence < 5; sequence++) {
      accounting.numbered([sequence + 1], true);
      expect(accounting.settle()).toEqual([]);
      came(accounting, 0, sequence);
    }
  });
});
