// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, it, vi } from 'vitest';
import { defaultBudget } from './budget.js';
import { engine } from './engine.js';
import { assembleModule } from './fixtures.js';
import { cleanText, FilterInstance } from './instance.js';
import { metered } from './loaded.js';

describe('what a filter logs', () => {
  afterEach(() => vi.restoreAllMocks());

  it('is made text only where somebody reads it', async () => {
    const writes = `
      (i32.store8 (i32.const 9000) (i32.const 27))
      (memory.fill (i32.const 9001) (i32.const 97) (i32.const 1))
      (loop $next
        (call $log (i32.const 4) (i32.const 9000) (i32.const 2))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $n) (i32.const 1000))))
      (i32.const 0)`;
    const module = await engine.compile(metered(assembleModule({ name: 'logs', filter: writes })));
    let lines = 0;
    const entry = {
      id: 'logs',
      row: 0,
      name: 'logs',
      version: '1.0.0',
      failClosed: false,
      binds: { kinds: [], policies: [], hooks: [], labels: [] },
      labels: [],
      redacts: [],
      readsLabels: false,
      budget: defaultBudget,
      config: undefined,
      module,
      quarantine: undefined,
    };
    const instance = new FilterInstance(entry, 65536, 10_000_000, () => lines++);
    const decode = vi.spyOn(TextDecoder.prototype, 'decode');
    instance.verdictsAt = instance.area + 1024;
    instance.begin(0);
    expect(instance.run(0, 1, 10_000_000, 10_000_000, 0, 10_000_000)).toBe(1);
    expect(lines).toBe(1000);
    expect(decode).not.toHaveBeenCalled();
    expect(instance.lastError).toBe('\uFFFDa');
    instance.forgetError();
    expect(instance.lastError).toBeUndefined();
  });

  it('has no control characters, and what is no UTF-8 replaced', () => {
    expect(cleanText(Uint8Array.from([0x61, 0x1b, 0x5b, 0xff, 0xe2, 0x80, 0xae, 0xc3, 0xa9]))).toBe(
      'a\uFFFD[\uFFFD\uFFFDé',
    );
  });
});
