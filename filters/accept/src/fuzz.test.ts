// SPDX-License-Identifier: Apache-2.0
// Fuzzes acceptance with module bytes. WEIR_SEED and WEIR_FUZZ_ROUNDS change what and how much.
import { describe, expect, it } from 'vitest';
import { assemble, body, functionType, i32, type Parts, parts } from './fixtures.js';
import { acceptModule } from './index.js';

function changed(change: (from: Parts) => void): Uint8Array {
  const from = parts();
  change(from);
  return assemble(from);
}

function withCode(instructions: readonly number[]): Uint8Array {
  return changed((from) => {
    from.functions.push([3]);
    from.codes.push(body(instructions));
  });
}

/** mulberry32 */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

function mutate(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  let result = [...bytes];
  for (let left = 1 + next(4); left > 0; left--) {
    const at = next(result.length);
    switch (next(5)) {
      case 0:
        result[at] = next(256);
        break;
      case 1:
        result.splice(at, next(8));
        break;
      case 2:
        result.splice(at, 0, ...Array.from({ length: next(8) }, () => next(256)));
        break;
      case 3:
        result[at] = [0x00, 0x7f, 0x80, 0xff][next(4)] as number;
        break;
      default:
        result = [...result.slice(0, at), ...result.slice(next(result.length))];
    }
  }
  return Uint8Array.from(result);
}

describe('fuzzing module bytes', () => {
  const seed = Number(process.env.WEIR_SEED ?? 20260102);
  const rounds = Number(process.env.WEIR_FUZZ_ROUNDS ?? 20_000);
  const engine = (
    globalThis as unknown as {
      WebAssembly: { validate(b: Uint8Array): boolean; Module: new (b: Uint8Array) => unknown };
    }
  ).WebAssembly;
  const rich = changed((from) => {
    from.tables = [[0x70, 1, 2, 2]];
    from.elements = [[0, 0x41, 0, 0x0b, 1, 1]];
    from.globals = [[i32, 1, 0x41, 5, 0x0b]];
    from.data = [[0, 0x41, 0, 0x0b, 2, 7, 8]];
    from.types.push(functionType([i32, i32], [i32, i32]));
    from.functions.push([3]);
    from.codes.push(
      body([0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b, 0x41, 0, 0x41, 0, 0x41, 4, 0xfc, 11, 0], [1, 2, i32]),
    );
  });

  it(`never throws, and accepts only what the engine takes too (seed ${seed})`, () => {
    const next = random(seed);
    const codes = new Set<string>();
    let accepted = 0;
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(rich, next);
      const result = acceptModule(bytes);
      if (result.ok) {
        accepted++;
        expect(engine.validate(bytes), `round ${round}`).toBe(true);
      } else {
        codes.add(result.code);
        expect(result.reason.length, `round ${round}`).toBeGreaterThan(0);
      }
    }
    // The canary: a fuzzer that reaches nothing would pass as well.
    expect(accepted).toBeGreaterThan(0);
    for (const code of ['malformed', 'section', 'import', 'export', 'manifest', 'invalid', 'memory']) {
      expect(codes, `no ${code} found`).toContain(code);
    }
  });

  it(`reads instructions as the engine does: what it walks and validates, it finds the same ends in (seed ${seed})`, () => {
    const next = random(seed + 1);
    let valid = 0;
    for (let round = 0; round < rounds / 5; round++) {
      const code = Array.from({ length: next(12) }, () =>
        next(3) === 0 ? next(256) : ([0x01, 0x41, 0x00, 0x1a, 0x0b, 0x02, 0x40][next(7)] as number),
      );
      const bytes = withCode(code);
      const result = acceptModule(bytes);
      // Whatever is refused as malformed must not be valid: the walk would have lost its way.
      if (!result.ok && result.code === 'malformed')
        expect(engine.validate(bytes), `round ${round}: ${result.reason}`).toBe(false);
      if (result.ok) valid++;
    }
    expect(valid).toBeGreaterThan(0);
  });
});
