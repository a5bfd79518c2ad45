// SPDX-License-Identifier: Apache-2.0
import { EventKind } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { BindingTable } from './bindings.js';

const binding = {
  policyId: 1,
  hookIndex: 0,
  policyName: 'p',
  policyNamespace: '',
  message: '',
  tags: [],
  argumentLabels: [],
  eventKind: EventKind.kprobe,
  ignoreMissing: false,
};

describe('numbers of bindings', () => {
  it('are the same for the same content, and in a row for functions that share a program', () => {
    const table = new BindingTable();
    const first = table.idOf(['a', 'b', 'c'], binding);
    expect([0, 1, 2].map((place) => table.get(first + place)?.symbol)).toEqual(['a', 'b', 'c']);
    expect(table.idOf(['a', 'b', 'c'], binding)).toBe(first);
    const other = table.idOf(['a'], binding);
    expect(other).toBe(first + 3);
    expect(table.idOf(['a'], binding, 'sched')).toBe(other + 1);
    expect(table.get(other + 1)).toMatchObject({ symbol: 'a', subsystem: 'sched' });
  });

  it('are forgotten whole, the oldest first, beyond the bound; those in force never', () => {
    const table = new BindingTable();
    const many = Array.from({ length: 10_000 }, (_, n) => `call${n}`);
    const kept = table.idOf(['kept'], binding);
    const old = table.idOf(many, binding);
    const young = table.idOf(many, { ...binding, policyId: 2 });
    table.prune(new Set([kept]));
    expect([table.get(old), table.get(old + 9_999)]).toEqual([undefined, undefined]);
    expect([kept, young, young + 9_999].map((id) => table.get(id)?.symbol)).toEqual([
      'kept',
      'call0',
      'call9999',
    ]);
    expect(table.size).toBe(10_001);
    // What is forgotten gets a number of its own again.
    expect(table.idOf(many, binding)).toBe(young + 10_000);
  });
});
