// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import {
  assemble,
  type Code,
  call,
  custom,
  f64,
  get,
  type Instance,
  i32,
  i64,
  instantiate,
  randomModule,
  randomOf,
  set,
  type TestModule,
  testEngine,
  u32,
} from './fixtures.js';
import { fuelOf, MeterError, type MeterErrorCode, meterModule } from './index.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';

const PAGE = 65536;

function func(instance: Instance, name: string): (...values: unknown[]) => unknown {
  return instance.exports[name] as (...values: unknown[]) => unknown;
}

const endless: Code = [Op.loop, EMPTY_BLOCK, Op.br, 0, Op.end];

/** Modules that go on for ever, or nearly so, if nothing stops them. All begin at `run`, which takes nothing. */
const attacks: Record<string, TestModule> = {
  'an endless loop': { functions: [{ name: 'run', code: endless }] },
  'an endless loop within a loop': {
    functions: [{ name: 'run', code: [Op.loop, EMPTY_BLOCK, ...endless, Op.br, 0, Op.end] }],
  },
  'an endless loop of calls': {
    functions: [
      { name: 'run', code: [Op.loop, EMPTY_BLOCK, ...call(1), Op.br, 0, Op.end] },
      { code: [...i32(0), Op.drop] },
    ],
  },
  'direct recursion': { functions: [{ name: 'run', code: call(0) }] },
  'mutual recursion': {
    functions: [{ name: 'run', code: call(1) }, { code: call(2) }, { code: call(0) }],
  },
  'indirect recursion': {
    functions: [{ name: 'run', code: [...i32(0), Op.callIndirect, 0, 0] }],
    table: { minimum: 1, maximum: 1 },
    elements: [0],
  },
  'recursion with a thousand locals': {
    functions: [
      {
        name: 'run',
        locals: new Array<number>(1000).fill(Type.i64),
        code: [
          ...Array.from({ length: 1000 }, (_, n) => [
            ...i64(BigInt(n)),
            Op.globalGet,
            0,
            0x7c,
            ...set(n),
          ]).flat(),
          ...call(0),
          ...Array.from({ length: 1000 }, (_, n) => [
            ...get(n),
            Op.globalGet,
            0,
            0x7c,
            Op.globalSet,
            0,
          ]).flat(),
        ],
      },
    ],
    globals: [{ type: Type.i64, value: i64(3n) }],
  },
  'recursion with a thousand operands': {
    functions: [
      {
        name: 'run',
        code: [
          ...new Array<number[]>(1000).fill([Op.globalGet, 0]).flat(),
          ...call(0),
          ...new Array<number[]>(1000).fill([Op.globalSet, 0]).flat(),
        ],
      },
    ],
    globals: [{ type: Type.i64, value: i64(3n) }],
  },
  // Values that are made before and after the call: an optimiser keeps all of them in the frame.
  'recursion with a thousand common values': {
    functions: [
      { name: 'run', code: [Op.globalGet, 0, ...call(1), Op.drop] },
      {
        parameters: [Type.i64],
        results: [Type.i64],
        locals: [Type.i64],
        code: [
          ...Array.from({ length: 1000 }, (_, n) => [
            ...[...get(0), ...i64(BigInt(n * 77 + 3)), 0x7e],
            ...[...get(1), 0x85, ...set(1)],
          ]).flat(),
          ...[...get(1), ...call(1), ...set(1)],
          ...Array.from({ length: 1000 }, (_, n) => [
            ...[...get(0), ...i64(BigInt(n * 77 + 3)), 0x7e],
            ...[...get(1), 0x7c, ...set(1)],
          ]).flat(),
          ...get(1),
        ],
      },
    ],
    globals: [{ type: Type.i64, value: i64(3n) }],
  },
  // No function calls itself, but all of them together would fill the stack.
  'a chain of two thousand functions with large frames': {
    functions: Array.from({ length: 2000 }, (_, index) => ({
      ...(index === 0 ? { name: 'run' } : {}),
      locals: new Array<number>(100).fill(Type.i64),
      code: [
        ...Array.from({ length: 100 }, (_, n) => [Op.globalGet, 0, ...set(n)]).flat(),
        ...(index < 1999 ? call(index + 1) : []),
        ...Array.from({ length: 100 }, (_, n) => [...get(n), Op.globalSet, 0]).flat(),
      ],
    })),
    globals: [{ type: Type.i64, value: i64(3n) }],
  },
  'calls that double at each level': {
    functions: Array.from({ length: 60 }, (_, index) => ({
      ...(index === 0 ? { name: 'run' } : {}),
      code: index < 59 ? [...call(index + 1), ...call(index + 1)] : [],
    })),
  },
  'large fills in a loop': {
    functions: [
      {
        name: 'run',
        code: [
          ...[Op.loop, EMPTY_BLOCK, ...i32(0), ...i32(7), ...i32(16 * PAGE), 0xfc, 11, 0, Op.br, 0, Op.end],
        ],
      },
    ],
    memory: { minimum: 16, maximum: 16 },
  },
  'large copies in a loop': {
    functions: [
      {
        name: 'run',
        code: [
          ...[
            Op.loop,
            EMPTY_BLOCK,
            ...i32(0),
            ...i32(1),
            ...i32(15 * PAGE),
            0xfc,
            10,
            0,
            0,
            Op.br,
            0,
            Op.end,
          ],
        ],
      },
    ],
    memory: { minimum: 16, maximum: 16 },
  },
  'large table fills in a loop': {
    functions: [
      {
        name: 'run',
        code: [
          ...[Op.loop, EMPTY_BLOCK, ...i32(0), Op.refNull, 0x70, ...i32(4096), 0xfc, 17, 0, Op.br, 0, Op.end],
        ],
      },
    ],
    table: { minimum: 4096, maximum: 4096 },
  },
  'asking for memory in a loop': {
    functions: [
      { name: 'run', code: [Op.loop, EMPTY_BLOCK, ...i32(1), Op.memoryGrow, 0, Op.drop, Op.br, 0, Op.end] },
    ],
    memory: { minimum: 1, maximum: 4 },
  },
};

interface Ends {
  message: string;
  exhausted: string | undefined;
  remaining: string;
}

function endOf(instance: Instance, units: bigint): Ends {
  const fuel = fuelOf(instance);
  fuel.refill(units);
  let message = 'returned';
  try {
    func(instance, 'run')();
  } catch (error) {
    message = (error as Error).message;
  }
  return { message, exhausted: fuel.exhausted(), remaining: String(fuel.remaining) };
}

/** What a process of its own, in one tier of the engine alone, comes to: for each module, two calls. */
function endsInTier(flags: readonly string[], modules: readonly Uint8Array[], units: bigint): Ends[][] {
  const script = `
    const modules = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
    const ends = modules.map((bytes) => {
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(bytes, 'base64')));
      const depth = exports['weir.depth'].value;
      return [0, 1].map(() => {
        exports['weir.fuel'].value = ${units}n;
        exports['weir.depth'].value = depth;
        let message = 'returned';
        try { exports.run(); } catch (error) { message = error.message; }
        const exhausted =
          exports['weir.depth'].value < 0 ? 'depth' : exports['weir.fuel'].value < 0n ? 'fuel' : undefined;
        return { message, exhausted, remaining: String(exports['weir.fuel'].value) };
      });
    });
    console.log(JSON.stringify(ends));
  `;
  const input = JSON.stringify(modules.map((bytes) => Buffer.from(bytes).toString('base64')));
  return JSON.parse(
    execFileSync(process.execPath, [...flags, '-e', script], { input, encoding: 'utf8', maxBuffer: 1 << 24 }),
  );
}

describe('a module that goes on for ever', () => {
  const units = 3_000_000n;
  const metered = Object.values(attacks).map((attack) => meterModule(assemble(attack)));

  it.each(Object.keys(attacks))('ends by its fuel or its depth: %s', (name) => {
    const module = metered[Object.keys(attacks).indexOf(name)] as Uint8Array;
    const first = endOf(instantiate(module), units);
    expect(first.message).toBe('unreachable');
    expect(first.exhausted).toBe(/recursion|chain/.test(name) ? 'depth' : 'fuel');
    // Again, in an instance that has run before and in new ones.
    const instance = instantiate(module);
    for (let run = 0; run < 3; run++) expect(endOf(instance, units)).toEqual(first);
    expect(endOf(instantiate(module), units)).toEqual(first);
  });

  it('ends at the same point in the baseline tier and in the optimising one', () => {
    const baseline = endsInTier(
      ['--liftoff', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering'],
      metered,
      units,
    );
    const optimised = endsInTier(['--no-liftoff', '--no-wasm-lazy-compilation'], metered, units);
    const here = metered.map((module) => endOf(instantiate(module), units));
    for (const [index, name] of Object.keys(attacks).entries()) {
      expect(optimised[index], name).toEqual(baseline[index]);
      expect(baseline[index], name).toEqual([here[index], here[index]]);
    }
  });

  it('would overflow the stack of the engine if depth were not counted', () => {
    // The canary of the tests above: an overflow is what they would see.
    const module = meterModule(assemble(attacks['direct recursion'] as TestModule), {
      measures: { depth: false },
    });
    expect(endOf(instantiate(module), 1n << 40n).message).toMatch(/call stack/);
  });
});

describe('fuel', () => {
  const counting = assemble({
    functions: [
      {
        name: 'run',
        parameters: [Type.i32],
        code: [
          ...[Op.loop, EMPTY_BLOCK],
          ...[...get(0), ...i32(1), Op.i32Sub, Op.localTee, 0, Op.brIf, 0, Op.end],
        ],
      },
    ],
  });

  it('is charged for the instructions of a loop at each turn', () => {
    const instance = instantiate(meterModule(counting));
    const fuel = fuelOf(instance);
    const used = (turns: number): bigint => {
      fuel.refill(1_000_000n);
      func(instance, 'run')(turns);
      return 1_000_000n - fuel.remaining;
    };
    // get, const, sub, tee, br_if, and 4 for the turn.
    expect(used(101) - used(1)).toBe(900n);
  });

  it('is enough when it is just enough, and not when one unit is missing', () => {
    const instance = instantiate(meterModule(counting));
    const fuel = fuelOf(instance);
    fuel.refill(1_000_000n);
    func(instance, 'run')(50);
    const needed = 1_000_000n - fuel.remaining;
    fuel.refill(needed);
    func(instance, 'run')(50);
    expect(fuel.remaining).toBe(0n);
    fuel.refill(needed - 1n);
    expect(() => func(instance, 'run')(50)).toThrow('unreachable');
    expect(fuel.exhausted()).toBe('fuel');
    // And all is well again with new fuel.
    fuel.refill(needed);
    func(instance, 'run')(50);
    expect(fuel.exhausted()).toBeUndefined();
  });

  it('is charged for the dearer of two ways, whichever is taken', () => {
    const branch = (then: number, otherwise: number) =>
      assemble({
        functions: [
          {
            name: 'run',
            parameters: [Type.i32],
            code: [
              ...[...get(0), Op.if, EMPTY_BLOCK],
              ...new Array<number[]>(then).fill([...i32(0), Op.drop]).flat(),
              Op.else,
              ...new Array<number[]>(otherwise).fill([...i32(0), Op.drop]).flat(),
              Op.end,
            ],
          },
        ],
      });
    const used = (bytes: Uint8Array, taken: number) => {
      const instance = instantiate(meterModule(bytes));
      const fuel = fuelOf(instance);
      fuel.refill(1000n);
      func(instance, 'run')(taken);
      return 1000n - fuel.remaining;
    };
    const even = used(branch(10, 10), 1);
    expect(even).toBe(22n);
    expect(used(branch(10, 3), 0)).toBe(even);
    expect(used(branch(2, 10), 1)).toBe(even);
    expect(used(branch(2, 3), 1)).toBe(8n);
  });

  it('is charged for what lies before, in and after a loop, whichever way that is left', () => {
    const some = (count: number): Code => new Array<number[]>(count).fill([...i32(0), Op.drop]).flat();
    const used = (code: Code): bigint => {
      const instance = instantiate(meterModule(assemble({ functions: [{ name: 'run', code }] })));
      const fuel = fuelOf(instance);
      fuel.refill(1000n);
      func(instance, 'run')();
      return 1000n - fuel.remaining;
    };
    const loop = (...code: Code): Code => [Op.loop, EMPTY_BLOCK, ...code, Op.end];
    const block = (...code: Code): Code => [Op.block, EMPTY_BLOCK, ...code, Op.end];
    // To its end; by a branch out of it, of one loop and of two; by a return, where what follows is not charged.
    expect(used([...some(10), ...loop(...some(3)), ...some(2)])).toBe(30n);
    expect(used([...block(...some(10), ...loop(...some(3), Op.br, 1)), ...some(2)])).toBe(31n);
    expect(
      used([...block(...some(10), ...loop(...some(3), ...loop(...some(4), Op.br, 2))), ...some(2)]),
    ).toBe(39n);
    expect(used([...some(10), ...loop(...some(3), ...loop(...some(4), Op.return)), ...some(2)])).toBe(35n);
    // Deeper in than it is left: the dearest way counts.
    const either = [...i32(0), Op.brIf, 1, ...some(4)];
    expect(used([...block(...some(10), ...loop(...some(3), ...either)), ...some(2)])).toBe(40n);
  });

  it('is charged for what takes long in vectors as for the same without', () => {
    const used = (value: Code, op: Code, drops = 1): bigint => {
      const code = [...value, ...op, ...new Array<number>(drops).fill(Op.drop)];
      const instance = instantiate(meterModule(assemble({ functions: [{ name: 'run', code }] })));
      const fuel = fuelOf(instance);
      fuel.refill(1000n);
      func(instance, 'run')();
      return 1000n - fuel.remaining;
    };
    const vector = [...f64(2), 0xfd, 0x14];
    const two = [...vector, ...vector];
    const plain = used(vector, []);
    const plainTwo = used(two, [], 2) - 1n;
    for (const root of [0xe3, 0xef]) expect(used(vector, [0xfd, ...u32(root)]) - plain).toBe(16n);
    for (const quotient of [0xe7, 0xf3]) expect(used(two, [0xfd, ...u32(quotient)]) - plainTwo).toBe(16n);
    for (const long of [0x74, 0x94, 0xf8, 0xfe]) expect(used(vector, [0xfd, ...u32(long)]) - plain).toBe(6n);
    expect(used(f64(2), [0x9f]) - used(f64(2), [])).toBe(16n);
    for (const checked of [[0xaa], [0xfc, 2]]) expect(used(f64(2), checked) - used(f64(2), [])).toBe(6n);
    expect(used(two, [0xfd, ...u32(0xf0)]) - plainTwo).toBe(1n);
  });

  it('is charged for a bulk operation by its length, 16 bytes a unit', () => {
    const instance = instantiate(
      meterModule(
        assemble({
          functions: [
            {
              name: 'run',
              parameters: [Type.i32],
              code: [...i32(0), ...i32(0), ...get(0), 0xfc, 11, 0],
            },
          ],
          memory: { minimum: 16, maximum: 16 },
        }),
      ),
    );
    const fuel = fuelOf(instance);
    const used = (length: number) => {
      fuel.refill(1_000_000n);
      func(instance, 'run')(length);
      return 1_000_000n - fuel.remaining;
    };
    expect(used(PAGE * 16) - used(0)).toBe(BigInt(PAGE));
    // A length that is out of bounds is charged before it traps.
    fuel.refill(1_000_000n);
    expect(() => func(instance, 'run')(-1)).toThrow();
    expect(fuel.exhausted()).toBe('fuel');
  });

  it('is zero before the host gives any, unless a start function needs some', () => {
    const starts: TestModule = { functions: [{ code: [...i32(1), Op.globalSet, 0] }] };
    const bytes = assemble({
      ...starts,
      globals: [{ type: Type.i32, value: i32(0) }],
      exportGlobals: true,
    });
    const at = bytes.indexOf(10, 8 + 6);
    const withStart = (): Uint8Array => {
      // The start section goes in front of the code.
      const code = findSection(bytes, 10);
      return Uint8Array.from([...bytes.subarray(0, code), 8, 1, 0, ...bytes.subarray(code)]);
    };
    expect(at).toBeGreaterThan(0);
    expect(() => instantiate(meterModule(withStart()))).toThrow('unreachable');
    const instance = instantiate(meterModule(withStart(), { fuel: 10n }));
    expect((instance.exports.g0 as { value: number }).value).toBe(1);
  });

  it('is refused for an instance that is not metered', () => {
    expect(() => fuelOf(instantiate(counting))).toThrow(/not metered/);
  });
});

function findSection(bytes: Uint8Array, id: number): number {
  let at = 8;
  while (at < bytes.length && bytes[at] !== id) {
    const start = at++;
    let length = 0;
    let shift = 0;
    let byte: number;
    do {
      byte = bytes[at++] as number;
      length |= (byte & 0x7f) << shift;
      shift += 7;
    } while (byte >= 0x80);
    at += length;
    if (at <= start) break;
  }
  return at;
}

describe('depth', () => {
  const recursive = meterModule(
    assemble({
      functions: [
        {
          name: 'run',
          parameters: [Type.i32],
          results: [Type.i32],
          code: [
            ...[...get(0), 0x45, Op.if, EMPTY_BLOCK, ...i32(7), Op.return, Op.end],
            ...[...get(0), ...i32(1), Op.i32Sub, ...call(0)],
          ],
        },
      ],
    }),
  );

  it('allows a thousand calls of a small function, and not one more', () => {
    const instance = instantiate(recursive);
    const fuel = fuelOf(instance);
    fuel.refill(1_000_000n);
    expect(func(instance, 'run')(999)).toBe(7);
    // Given back on every way out.
    for (let times = 0; times < 10; times++) expect(func(instance, 'run')(999)).toBe(7);
    expect(() => func(instance, 'run')(1000)).toThrow('unreachable');
    expect(fuel.exhausted()).toBe('depth');
    fuel.refill(1_000_000n);
    expect(func(instance, 'run')(999)).toBe(7);
  });

  it('is not counted for functions that cannot call themselves', () => {
    const plain = assemble({
      functions: [{ name: 'run', code: call(1) }, { code: [...endless] }],
    });
    const instance = instantiate(meterModule(plain));
    const before = (instance.exports['weir.depth'] as { value: number }).value;
    expect(endOf(instance, 1000n).exhausted).toBe('fuel');
    expect((instance.exports['weir.depth'] as { value: number }).value).toBe(before);
  });

  it('is given back by a branch to the function, a table of branches, and with several results', () => {
    const results = [Type.i32, Type.i64];
    const bytes = assemble({
      functions: [
        {
          name: 'run',
          parameters: [Type.i32],
          results,
          code: [
            ...[...i32(5), ...i64(6n), ...get(0), ...i32(1), 0x46, Op.brIf, 0],
            ...[Op.drop, Op.drop],
            ...[...i32(8), ...i64(9n), ...get(0), Op.brTable, 1, 0, 0],
          ],
        },
        { name: 'other', parameters: [Type.i32], results, code: [...get(0), ...call(0)] },
        {
          name: 'loops',
          parameters: [Type.i32],
          results,
          code: [Op.loop, EMPTY_BLOCK, ...i32(1), ...i64(2n), Op.return, Op.end, Op.unreachable],
        },
        {
          name: 'again',
          parameters: [Type.i32],
          results,
          code: [
            ...[...get(0), 0x45, Op.if, EMPTY_BLOCK, ...i32(3), ...i64(4n), Op.return, Op.end],
            ...[...get(0), ...i32(1), Op.i32Sub, ...call(3)],
          ],
        },
      ],
    });
    const instance = instantiate(meterModule(bytes));
    const fuel = fuelOf(instance);
    fuel.refill(100_000n);
    expect(func(instance, 'run')(1)).toEqual([5, 6n]);
    expect(func(instance, 'run')(2)).toEqual([8, 9n]);
    expect(func(instance, 'other')(1)).toEqual([5, 6n]);
    expect(func(instance, 'loops')(1)).toEqual([1, 2n]);
    for (let times = 0; times < 20; times++) expect(func(instance, 'again')(200)).toEqual([3, 4n]);
  });
});

describe('NaNs', () => {
  const CANONICAL = 0x7ff8000000000000n;

  /** A function of i64 bits of an f64, `op` on it (twice where it takes two), bits of the result. */
  const bitsOf = (op: number, operands: number): Uint8Array =>
    assemble({
      functions: [
        {
          name: 'run',
          parameters: [Type.i64, Type.i64],
          results: [Type.i64],
          code: [...get(0), 0xbf, ...(operands === 2 ? [...get(1), 0xbf] : []), op, 0xbd],
        },
      ],
    });

  it.each([
    [0x9b, 1],
    [0x9c, 1],
    [0x9d, 1],
    [0x9e, 1],
    [0x9f, 1],
    [0xa0, 2],
    [0xa1, 2],
    [0xa2, 2],
    [0xa3, 2],
    [0xa4, 2],
    [0xa5, 2],
  ])('have the same bits whichever instruction makes them: 0x%s', (op, operands) => {
    const instance = instantiate(meterModule(bitsOf(op, operands), { fuel: 1_000_000n }));
    const odd = [0x7ff8000000000001n, 0xfff8000000000000n, 0x7ff0000000000123n, 0xfff0abc000000000n];
    for (const nan of odd) {
      for (const other of [...odd, 0x3ff0000000000000n]) {
        expect(BigInt.asUintN(64, func(instance, 'run')(nan, other) as bigint)).toBe(CANONICAL);
      }
    }
  });

  it('are left alone by what moves bits only', () => {
    const instance = instantiate(meterModule(bitsOf(0x9a, 1), { fuel: 1000n }));
    expect(BigInt.asUintN(64, func(instance, 'run')(0x7ff8000000000123n, 0n) as bigint)).toBe(
      0xfff8000000000123n,
    );
  });

  it('are canonical in vectors too', () => {
    // f64x2: sqrt(-1), sqrt(4); f32x4: the same by parts. Bits by extract_lane.
    const lanes = (splat: Code, op: Code, extract: Code, result: number): Uint8Array =>
      assemble({ functions: [{ name: 'run', results: [result], code: [...splat, ...op, ...extract] }] });
    const double = lanes([...f64(-1), 0xfd, 0x14], [0xfd, ...u32(0xef)], [0xfd, 0x1d, 1], Type.i64);
    const value = func(instantiate(meterModule(double, { fuel: 1000n })), 'run')() as bigint;
    expect(BigInt.asUintN(64, value)).toBe(CANONICAL);
    const good = lanes([...f64(4), 0xfd, 0x14], [0xfd, ...u32(0xef)], [0xfd, 0x1d, 1], Type.i64);
    expect(func(instantiate(meterModule(good, { fuel: 1000n })), 'run')()).toBe(0x4000000000000000n);
    const single = lanes([...f64(-1), 0xb6, 0xfd, 0x13], [0xfd, ...u32(0xe3)], [0xfd, 0x1b, 3], Type.i32);
    expect(func(instantiate(meterModule(single, { fuel: 1000n })), 'run')()).toBe(0x7fc00000);
  });
});

function withCode(...code: number[]): Uint8Array {
  return assemble({ functions: [{ name: 'run', code }], memory: { minimum: 1, maximum: 1 } });
}

const refused: [string, Uint8Array, MeterErrorCode, RegExp][] = [
  ['is empty', new Uint8Array(0), 'malformed', /magic/],
  ['ends within a section', assemble({ functions: [{ code: [] }] }).slice(0, 12), 'malformed', /ends within/],
  ['uses atomics', withCode(...i32(0), 0xfe, 0x10, 2, 0, Op.drop), 'feature', /threads/],
  ['uses relaxed SIMD', withCode(0xfd, 0x80, 0x02), 'feature', /relaxed SIMD/],
  ['uses tail calls', withCode(0x12, 0), 'feature', /tail calls/],
  ['uses exceptions', withCode(0x08, 0), 'feature', /exceptions/],
  ['uses garbage collection', withCode(0xfb, 0, 0), 'feature', /garbage collection/],
  ['uses a second memory', withCode(...i32(0), 0x28, 0x42, 1, 0, Op.drop), 'feature', /several memories/],
  ['uses an instruction that is not known', withCode(0xff), 'feature', /0xff/],
  ['uses a vector instruction that is not known', withCode(0xfd, 0x9a, 0x01), 'feature', /0xfd 0x9a/],
  ['does not type-check', withCode(...i32(0)), 'invalid', /does not validate/],
  [
    'has a constant beyond its bits',
    withCode(0x41, 0xff, 0xff, 0xff, 0xff, 0x1f, Op.drop),
    'malformed',
    /32 bits/,
  ],
  [
    'exports a reserved name',
    assemble({ functions: [{ name: 'weir.fuel', code: [] }] }),
    'reserved',
    /"weir.fuel"/,
  ],
  [
    'has too many locals',
    assemble({ functions: [{ locals: new Array<number>(4097).fill(Type.i32), code: [] }] }),
    'limit',
    /4096 locals/,
  ],
];

describe('metering refuses a module that', () => {
  it.each(refused)('%s', (_, bytes, code, reason) => {
    let error: unknown;
    try {
      meterModule(bytes);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(MeterError);
    expect(error).toMatchObject({ code });
    expect((error as MeterError).message).toMatch(reason);
  });

  it('sets its own globals, which have no number that it could name', () => {
    const bytes = withCode(...i64(1n << 40n), Op.globalSet, 0);
    expect(() => meterModule(bytes)).toThrow(/does not validate/);
  });
});

describe('the sections of a module', () => {
  it('are kept, but for those whose offsets moved', () => {
    const bytes = assemble({
      functions: [{ name: 'run', code: [] }],
      customs: [
        ...custom('name', [0, 2, 1, 0x61]),
        ...custom('weir.manifest', [0x7b, 0x7d]),
        ...custom('.debug_info', [1, 2, 3]),
        ...custom('sourceMappingURL', [0]),
      ],
    });
    const metered = new testEngine.Module(meterModule(bytes));
    const { customSections } = testEngine.Module as unknown as {
      customSections(module: object, name: string): ArrayBuffer[];
    };
    const read = (name: string) => customSections(metered, name).map((one) => [...new Uint8Array(one)]);
    expect(read('name')).toEqual([[0, 2, 1, 0x61]]);
    expect(read('weir.manifest')).toEqual([[0x7b, 0x7d]]);
    expect(read('.debug_info')).toEqual([]);
    expect(read('sourceMappingURL')).toEqual([]);
  });

  it('may be missing', () => {
    const empty = Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
    expect(fuelOf(instantiate(meterModule(empty))).remaining).toBe(0n);
  });
});

describe('bytes that were changed', () => {
  const seed = 20_260;

  it(`are refused by a MeterError, or give a valid module (seed ${seed})`, () => {
    const random = randomOf(seed);
    const counts = { refused: 0, metered: 0 };
    const codes = new Set<string>();
    const bases = [
      ...Array.from({ length: 6 }, (_, index) => randomModule(index + 1, { floatBits: true }).bytes),
      assemble(attacks['indirect recursion'] as TestModule),
    ];
    for (let round = 0; round < 6000; round++) {
      const bytes = (bases[round % bases.length] as Uint8Array).slice();
      const changes = 1 + random(3);
      for (let change = 0; change < changes; change++) {
        const at = 8 + random(bytes.length - 8);
        bytes[at] = random(3) === 0 ? random(256) : (bytes[at] as number) ^ (1 << random(8));
      }
      const cut = random(10) === 0 ? bytes.subarray(0, random(bytes.length)) : bytes;
      try {
        const metered = meterModule(cut);
        counts.metered++;
        expect(testEngine.validate(metered), `round ${round}`).toBe(true);
      } catch (error) {
        if (!(error instanceof MeterError)) throw error;
        expect(error.offset).toBeLessThanOrEqual(cut.length);
        codes.add(error.code);
        counts.refused++;
      }
    }
    // Both must have been reached, or the fuzzer shows nothing.
    expect(counts.metered).toBeGreaterThan(100);
    expect(counts.refused).toBeGreaterThan(100);
    expect([...codes]).toEqual(expect.arrayContaining(['malformed', 'feature', 'invalid']));
  });
});
