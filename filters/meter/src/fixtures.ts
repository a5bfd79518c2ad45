// SPDX-License-Identifier: Apache-2.0
// Owns what the tests of metering share: writing small modules byte by byte, random valid ones among them, and
// the engine's interface as the tests use it.
import { Writer } from './bytes.js';
import { EMPTY_BLOCK, Op, Type } from './opcodes.js';

export type Code = readonly number[];

export interface Instance {
  exports: Record<string, unknown>;
}

interface TestEngine {
  validate(bytes: Uint8Array): boolean;
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object, imports?: object) => Instance;
}

export const testEngine = (globalThis as unknown as { WebAssembly: TestEngine }).WebAssembly;

export function instantiate(bytes: Uint8Array, imports: object = {}): Instance {
  return new testEngine.Instance(new testEngine.Module(bytes), imports);
}

export const u32 = (value: number): number[] => [...new Writer(8).u32(value).bytes];
export const signed = (value: number | bigint): number[] => [...new Writer(16).signed(value).bytes];
const text = (value: string): number[] => [...new Writer(32).name(value).bytes];
const vector = (items: readonly Code[]): number[] => [...u32(items.length), ...items.flat()];
export const section = (id: number, contents: Code): number[] => [id, ...u32(contents.length), ...contents];
export const custom = (name: string, contents: Code): number[] => section(0, [...text(name), ...contents]);

export const i32 = (value: number): number[] => [Op.i32Const, ...signed(value)];
export const i64 = (value: bigint): number[] => [Op.i64Const, ...signed(value)];
export const f32 = (value: number): number[] => [
  Op.f32Const,
  ...new Uint8Array(new Float32Array([value]).buffer),
];
export const f64 = (value: number): number[] => [
  Op.f64Const,
  ...new Uint8Array(new Float64Array([value]).buffer),
];
export const get = (local: number): number[] => [Op.localGet, ...u32(local)];
export const set = (local: number): number[] => [Op.localSet, ...u32(local)];
export const call = (index: number): number[] => [Op.call, ...u32(index)];

export interface TestFunction {
  parameters?: Code;
  results?: Code;
  /** Types of locals, each on its own. */
  locals?: Code;
  code: Code;
  name?: string;
}

export interface TestModule {
  functions: readonly TestFunction[];
  /** Types of imported functions, of module `env`, by name. */
  imports?: Record<string, { parameters: Code; results: Code }>;
  memory?: { minimum: number; maximum: number };
  table?: { minimum: number; maximum: number };
  /** Functions put into the table from 0 on. */
  elements?: Code;
  globals?: readonly { type: number; value: Code }[];
  exportGlobals?: boolean;
  passiveData?: Code;
  customs?: Code;
}

/** The bytes of a module. Types: one a function, imported ones first, in order. */
export function assemble(from: TestModule): Uint8Array {
  const { functions, imports = {}, memory, table, elements, globals = [], passiveData, customs = [] } = from;
  const imported = Object.entries(imports);
  const types = [
    ...imported.map(([, type]) => type),
    ...functions.map(({ parameters = [], results = [] }) => ({ parameters, results })),
  ];
  const part = (id: number, items: readonly Code[]) => (items.length > 0 ? section(id, vector(items)) : []);
  const exports = functions.flatMap(({ name }, index) =>
    name === undefined ? [] : [[...text(name), 0, ...u32(imported.length + index)]],
  );
  if (memory !== undefined) exports.push([...text('memory'), 2, 0]);
  if (from.exportGlobals) {
    for (const index of globals.keys()) exports.push([...text(`g${index}`), 3, ...u32(index)]);
  }
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...part(
      1,
      types.map(({ parameters, results }) => [
        0x60,
        ...u32(parameters.length),
        ...parameters,
        ...u32(results.length),
        ...results,
      ]),
    ),
    ...part(
      2,
      imported.map(([name], index) => [...text('env'), ...text(name), 0, ...u32(index)]),
    ),
    ...part(
      3,
      functions.map((_, index) => u32(imported.length + index)),
    ),
    ...part(4, table === undefined ? [] : [[0x70, 1, ...u32(table.minimum), ...u32(table.maximum)]]),
    ...part(5, memory === undefined ? [] : [[1, ...u32(memory.minimum), ...u32(memory.maximum)]]),
    ...part(
      6,
      globals.map(({ type, value }) => [type, 1, ...value, Op.end]),
    ),
    ...part(7, exports),
    ...part(
      9,
      elements === undefined
        ? []
        : [[0, ...i32(0), Op.end, ...u32(elements.length), ...elements.flatMap((index) => u32(index))]],
    ),
    ...(passiveData === undefined ? [] : section(12, [1])),
    ...part(
      10,
      functions.map(({ locals = [], code }) => {
        const body = [...vector(locals.map((type) => [1, type])), ...code, Op.end];
        return [...u32(body.length), ...body];
      }),
    ),
    ...part(11, passiveData === undefined ? [] : [[1, ...u32(passiveData.length), ...passiveData]]),
    ...customs,
  ]);
}

/** Random numbers that a seed determines (mulberry32). */
export function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

const numeric = [Type.i32, Type.i64, Type.f32, Type.f64];
const PAGE_MASK = 0xffff;

export interface Signature {
  parameters: number[];
  results: number[];
}

/** Instructions by what they take and give. */
const unaryOps: Record<number, readonly (readonly [number, number])[]> = {
  [Type.i32]: [
    ...[0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1].map((op) => [op, Type.i32] as const),
    ...[0x50, 0xa7].map((op) => [op, Type.i64] as const),
  ],
  [Type.i64]: [
    ...[0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4].map((op) => [op, Type.i64] as const),
    ...[0xac, 0xad].map((op) => [op, Type.i32] as const),
  ],
  [Type.f32]: [
    ...[0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x91].map((op) => [op, Type.f32] as const),
    [0xb2, Type.i32],
    [0xb5, Type.i64],
    [0xb6, Type.f64],
  ],
  [Type.f64]: [
    ...[0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f].map((op) => [op, Type.f64] as const),
    [0xb7, Type.i32],
    [0xba, Type.i64],
    [0xbb, Type.f32],
  ],
};
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
const binaryOps: Record<number, readonly (readonly [number, number])[]> = {
  [Type.i32]: [
    ...range(0x6a, 0x78).map((op) => [op, Type.i32] as const),
    ...range(0x46, 0x4f).map((op) => [op, Type.i32] as const),
    ...range(0x51, 0x5a).map((op) => [op, Type.i64] as const),
    ...range(0x5b, 0x60).map((op) => [op, Type.f32] as const),
    ...range(0x61, 0x66).map((op) => [op, Type.f64] as const),
  ],
  [Type.i64]: range(0x7c, 0x8a).map((op) => [op, Type.i64] as const),
  [Type.f32]: range(0x92, 0x97).map((op) => [op, Type.f32] as const),
  [Type.f64]: range(0xa0, 0xa5).map((op) => [op, Type.f64] as const),
};

/** What a random program may do. */
export interface RandomOptions {
  /** Look at the bits of floats, so that one NaN can be told from another. */
  floatBits: boolean;
}

/** Writes one random function. All loops are counted down, so that most programs end. */
class RandomFunction {
  readonly locals: number[] = [];
  /** Result types of the blocks around, from the outermost; a loop takes nothing. */
  readonly #labels: (number | undefined)[] = [];
  #left: number;

  constructor(
    readonly random: (below: number) => number,
    readonly self: number,
    readonly signatures: readonly Signature[],
    readonly options: RandomOptions,
  ) {
    this.#left = 20 + random(120);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.random(list.length)] as T;
  }

  #localOf(type: number): number | undefined {
    const own = this.signatures[this.self] as Signature;
    const types = [...own.parameters, ...this.locals];
    const fits = [...types.keys()].filter(
      (index) => types[index] === type && !this.#counters.includes(index),
    );
    return fits.length === 0 ? undefined : this.#pick(fits);
  }

  readonly #counters: number[] = [];

  #newLocal(type: number): number {
    const own = this.signatures[this.self] as Signature;
    return own.parameters.length + this.locals.push(type) - 1;
  }

  #constant(type: number): number[] {
    const { random } = this;
    const odd = [0, 1, -1, 2, 255, 0x7fffffff, -0x80000000, random(1000)];
    switch (type) {
      case Type.i32:
        return i32(this.#pick(odd) | 0);
      case Type.i64:
        return i64(BigInt.asIntN(64, BigInt(this.#pick(odd)) * (random(3) === 0 ? 0x100000001n : 1n)));
      case Type.f32:
        return f32(this.#pick([0, -0, 1, -1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e30, random(100)]));
      default:
        return f64(this.#pick([0, -0, 1, -1.5, Number.NaN, Number.NEGATIVE_INFINITY, 1e300, random(100)]));
    }
  }

  /** An address within the first page, mostly. */
  #address(depth: number): number[] {
    const code = this.expression(Type.i32, depth - 1);
    return this.random(30) === 0 ? code : [...code, ...i32(PAGE_MASK - 64), 0x71];
  }

  expression(type: number, depth: number): number[] {
    const { random } = this;
    this.#left--;
    if (depth <= 0 || this.#left < 0) {
      const local = random(2) === 0 ? this.#localOf(type) : undefined;
      return local === undefined ? this.#constant(type) : get(local);
    }
    switch (random(13)) {
      case 0: {
        const local = this.#localOf(type);
        return local === undefined ? this.#constant(type) : get(local);
      }
      case 1:
        return [Op.globalGet, numeric.indexOf(type as 0x7f)];
      case 2: {
        const [op, from] = this.#pick(unaryOps[type] as (typeof unaryOps)[number]);
        return [...this.expression(from, depth - 1), op];
      }
      case 3:
      case 4: {
        const [op, from] = this.#pick(binaryOps[type] as (typeof binaryOps)[number]);
        return [...this.expression(from, depth - 1), ...this.expression(from, depth - 1), op];
      }
      case 5: {
        const local = this.#localOf(type);
        if (local === undefined) return this.#constant(type);
        return [...this.expression(type, depth - 1), Op.localTee, ...u32(local)];
      }
      case 6:
        return this.#load(type, depth);
      case 7:
        return [
          ...this.expression(type, depth - 1),
          ...this.expression(type, depth - 1),
          ...this.expression(Type.i32, depth - 1),
          Op.select,
        ];
      case 8: {
        this.#labels.push(type);
        const code = [
          Op.block,
          type,
          ...this.statements(depth - 1),
          ...this.expression(type, depth - 1),
          ...(random(2) === 0 ? [...this.expression(Type.i32, depth - 1), Op.brIf, 0] : []),
          Op.end,
        ];
        this.#labels.pop();
        return code;
      }
      case 9: {
        const condition = this.expression(Type.i32, depth - 1);
        this.#labels.push(type);
        const code = [
          ...condition,
          Op.if,
          type,
          ...this.expression(type, depth - 1),
          Op.else,
          ...this.statements(depth - 1),
          ...this.expression(type, depth - 1),
          Op.end,
        ];
        this.#labels.pop();
        return code;
      }
      case 10:
        return this.#call(type, depth) ?? this.#constant(type);
      case 11:
        if (type === Type.i32) {
          return this.#pick([
            [Op.memorySize, 0],
            [...i32(random(2)), Op.memoryGrow, 0],
            [...this.expression(Type.f64, depth - 1), 0xfc, 2],
            ...(this.options.floatBits ? [[...this.expression(Type.f32, depth - 1), 0xbc]] : []),
          ]);
        }
        if (type === Type.i64) {
          return this.options.floatBits
            ? [...this.expression(Type.f64, depth - 1), 0xbd]
            : [...this.expression(Type.f32, depth - 1), 0xfc, 4];
        }
        return this.#constant(type);
      default:
        return this.#constant(type);
    }
  }

  #load(type: number, depth: number): number[] {
    const ops: Record<number, readonly (readonly [number, number])[]> = {
      [Type.i32]: [
        [0x28, 2],
        [0x2c, 0],
        [0x2d, 0],
        [0x2f, 1],
      ],
      [Type.i64]: [
        [0x29, 3],
        [0x31, 0],
        [0x35, 2],
      ],
      [Type.f32]: [[0x2a, 2]],
      [Type.f64]: [[0x2b, 3]],
    };
    const [op, align] = this.#pick(ops[type] as (typeof ops)[number]);
    return [...this.#address(depth), op, this.random(align + 1), ...u32(this.random(64))];
  }

  #store(depth: number): number[] {
    const ops = [
      [0x36, 2, Type.i32],
      [0x37, 3, Type.i64],
      [0x3a, 0, Type.i32],
      ...(this.options.floatBits
        ? [
            [0x38, 2, Type.f32],
            [0x39, 3, Type.f64],
          ]
        : []),
    ];
    const [op, align, type] = this.#pick(ops) as [number, number, number];
    return [...this.#address(depth), ...this.expression(type, depth - 1), op, align, 0];
  }

  /** Calls a function further on, or any one through the table: at most a few deep, which a global counts. */
  #call(type: number, depth: number): number[] | undefined {
    const all = [...this.signatures.keys()];
    const fits = all.filter((index) => {
      const { results } = this.signatures[index] as Signature;
      return results.length === 1 && results[0] === type;
    });
    const later = fits.filter((index) => index > this.self);
    const parameters = (index: number) =>
      (this.signatures[index] as Signature).parameters.flatMap((one) => this.expression(one, depth - 1));
    const guard = numeric.length;
    if (fits.length > 0 && this.random(3) === 0) {
      const index = this.#pick(fits);
      const through =
        this.random(2) === 0 ? call(index + 1) : [...i32(index), Op.callIndirect, ...u32(index + 1), 0];
      this.#labels.push(type);
      const given = parameters(index);
      this.#labels.pop();
      const count = (by: number) => [Op.globalGet, guard, ...i32(by), 0x6a, Op.globalSet, guard];
      return [
        ...[Op.globalGet, guard, ...i32(3), Op.i32LtS, Op.if, type],
        ...count(1),
        ...given,
        ...through,
        ...count(-1),
        ...[Op.else, ...this.#constant(type), Op.end],
      ];
    }
    if (later.length === 0) return undefined;
    const index = this.#pick(later);
    return [...parameters(index), ...call(index + 1)];
  }

  #branch(depth: number): number[] {
    // Only to labels that take nothing: a counted loop is left alone, it would not be counted.
    const targets = [...this.#labels.keys()]
      .map((index) => this.#labels.length - 1 - index)
      .filter((label) => this.#labels[this.#labels.length - 1 - label] === undefined);
    // All of it lies in a block, as br_table needs a label for what is out of range.
    this.#labels.push(undefined);
    const condition = this.expression(Type.i32, depth - 1);
    this.#labels.pop();
    if (targets.length === 0) {
      const { results } = this.signatures[this.self] as Signature;
      return [
        ...[Op.block, EMPTY_BLOCK, ...condition, Op.if, EMPTY_BLOCK],
        ...results.flatMap((type) => this.expression(type, 0)),
        ...[Op.return, Op.end, Op.end],
      ];
    }
    if (this.random(3) > 0) {
      const label = u32(this.#pick(targets) + 1);
      return [Op.block, EMPTY_BLOCK, ...condition, Op.brIf, ...label, Op.end];
    }
    const labels = Array.from({ length: 1 + this.random(4) }, () => this.#pick(targets));
    return [
      ...[Op.block, EMPTY_BLOCK],
      ...condition,
      ...[Op.brTable, ...u32(labels.length)],
      ...labels.flatMap((label) => u32(label + 1)),
      ...[0, Op.end],
    ];
  }

  statement(depth: number): number[] {
    const { random } = this;
    this.#left--;
    if (this.#left < 0 || depth <= 0) return [];
    switch (random(10)) {
      case 0:
      case 1: {
        const type = this.#pick(numeric);
        const local = this.#localOf(type) ?? this.#newLocal(type);
        return [...this.expression(type, depth - 1), ...set(local)];
      }
      case 2: {
        const which = random(numeric.length);
        return [...this.expression(numeric[which] as number, depth - 1), Op.globalSet, which];
      }
      case 3:
        return this.#store(depth);
      case 4: {
        const counter = this.#newLocal(Type.i32);
        this.#counters.push(counter);
        this.#labels.push(undefined, 0);
        const code = [
          ...[...i32(1 + random(4)), ...set(counter)],
          ...[Op.block, EMPTY_BLOCK, Op.loop, EMPTY_BLOCK],
          ...this.statements(depth - 1),
          ...[...get(counter), ...i32(1), Op.i32Sub, Op.localTee, ...u32(counter), Op.brIf, 0],
          ...[Op.end, Op.end],
        ];
        this.#labels.pop();
        this.#labels.pop();
        return code;
      }
      case 5: {
        const condition = this.expression(Type.i32, depth - 1);
        this.#labels.push(undefined);
        const code = [
          ...[...condition, Op.if, EMPTY_BLOCK],
          ...this.statements(depth - 1),
          ...(random(2) === 0 ? [Op.else, ...this.statements(depth - 1)] : []),
          Op.end,
        ];
        this.#labels.pop();
        return code;
      }
      case 6:
        return this.#branch(depth);
      case 7: {
        const bounded = (code: number[], mask: number) => [...code, ...i32(mask), 0x71];
        const length = bounded(this.expression(Type.i32, depth - 1), 0xfff);
        const to = bounded(this.expression(Type.i32, depth - 1), 0x7fff);
        return this.#pick([
          [...to, ...this.expression(Type.i32, depth - 1), ...length, 0xfc, 11, 0],
          [...to, ...to, ...length, 0xfc, 10, 0, 0],
          [...to, ...i32(random(4)), ...i32(random(4)), 0xfc, 8, 0, 0],
        ]);
      }
      case 8:
        return [...this.expression(Type.i32, depth - 1), ...call(0)];
      default:
        return [...this.expression(this.#pick(numeric), depth - 1), Op.drop];
    }
  }

  statements(depth: number): number[] {
    return Array.from({ length: 1 + this.random(3) }, () => this.statement(depth)).flat();
  }

  code(): number[] {
    const { results } = this.signatures[this.self] as Signature;
    return [
      ...this.statements(5),
      ...this.statements(5),
      ...results.flatMap((type) => this.expression(type, 4)),
    ];
  }
}

/** The global of a random module that it leaves alone. */
export const SPARE_GLOBAL = 5;

/**
 * A random valid module, its functions' code changed at last by `change`: all its functions `f0`… are exported; it imports
 * `env.seen (i32) -> ()`. The last of them is of the type `last`, where that is given, and gives 0 where it comes to its end.
 */
export function randomModule(
  seed: number,
  options: RandomOptions,
  change: (code: Code) => Code = (code) => code,
  last?: Signature,
): { bytes: Uint8Array; signatures: readonly Signature[] } {
  const random = randomOf(seed);
  const types = (most: number) =>
    Array.from({ length: random(most + 1) }, () => numeric[random(4)] as number);
  const signatures = Array.from({ length: 3 + random(5) }, () => ({
    parameters: types(3),
    results: random(4) === 0 ? types(3) : [numeric[random(4)] as number],
  }));
  if (last !== undefined) signatures[signatures.length - 1] = last;
  const functions = signatures.map(({ parameters, results }, index) => {
    const writer = new RandomFunction(random, index, signatures, options);
    const ends = last !== undefined && index === signatures.length - 1;
    const code = [...writer.code(), ...(ends ? [Op.drop, ...i32(0)] : [])];
    return { parameters, results, locals: writer.locals, code: change(code), name: `f${index}` };
  });
  const bytes = assemble({
    functions,
    imports: { seen: { parameters: [Type.i32], results: [] } },
    memory: { minimum: 1, maximum: 3 },
    table: { minimum: functions.length, maximum: functions.length },
    elements: functions.map((_, index) => index + 1),
    globals: [
      { type: Type.i32, value: i32(1) },
      { type: Type.i64, value: i64(2n) },
      { type: Type.f32, value: f32(3) },
      { type: Type.f64, value: f64(4) },
      { type: Type.i32, value: i32(0) },
      { type: Type.i64, value: i64(0n) },
    ],
    exportGlobals: true,
    passiveData: [1, 2, 3, 4, 5],
  });
  return { bytes, signatures };
}
