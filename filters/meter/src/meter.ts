// SPDX-License-Identifier: Apache-2.0
// Owns putting the metered module together: types and globals are added behind those that are there, so that no
// index changes; custom sections are kept where they still say what is true.
import { Writer } from './bytes.js';
import {
  type Callee,
  DRIVER_TYPE,
  type Driven,
  driverBody,
  driverGlobals,
  RUN_EXPORT,
  TOLD_EXPORT,
} from './driver.js';
import { canBeWithin, type EmitContext, emitFunction, emitWithin, type Measures } from './emit.js';
import { engine } from './engine.js';
import { MeterError } from './error.js';
import { DEPTH_EXPORT, DEPTH_MAX_EXPORT, FUEL_EXPORT } from './fuel.js';
import { LATCH_GLOBALS, latchAt, latchBodies, latchTypes } from './latch.js';
import { functionType, type ModuleShape, parseModule, type Section, sectionOrder } from './module.js';
import { Op, Type } from './opcodes.js';
import { planFunctions } from './plan.js';
import { type FunctionScan, scanFunction } from './scan.js';

export interface MeterOptions {
  /** Fuel that an instance has before the host gives it any: for a start function, which runs before that. Default 0. */
  fuel?: bigint;
  /** Depth of calls. A function that can call itself takes one while it runs, more where its frame is large. Default 1000. */
  depthMax?: number;
  /** Default 4096. */
  functionsMax?: number;
  /** Parameters and locals of one function. Default 4096. */
  localsMax?: number;
  /** Adds a loop that calls a function record by record: see driver.ts. */
  driven?: Driven;
  /** For measuring what each part costs; a filter never runs without all of them. */
  measures?: Partial<Measures>;
}

/** Beyond this the engine's own stack could end first (see docs/decisions). */
const DEPTH_LIMIT = 2000;
const FUEL_LIMIT = 2n ** 62n;
const TYPES_MAX = 4096;

const Id = { type: 1, function: 3, global: 6, export: 7, code: 10 } as const;

/** Sections that hold offsets into code, which moved, or are of no use where the module runs, are left out. */
function isKept(section: Section): boolean {
  return section.id !== 0 || section.name === 'name' || section.name.startsWith('weir.');
}

/**
 * Rewrites a module so that its work is bounded, at the same point on every machine: fuel is counted down as it runs,
 * the depth of its calls too, and every NaN it makes has the same bits. It behaves as before otherwise.
 *
 * @throws {MeterError} where the module is malformed, invalid, or uses what cannot be made so.
 */
export function meterModule(bytes: Uint8Array, options: MeterOptions = {}): Uint8Array {
  const { fuel = 0n, depthMax = 1000, functionsMax = 4096, localsMax = 4096 } = options;
  if (fuel < 0n || fuel > FUEL_LIMIT) throw new RangeError(`fuel must be 0 to ${FUEL_LIMIT}, not ${fuel}`);
  if (!Number.isInteger(depthMax) || depthMax < 1 || depthMax > DEPTH_LIMIT) {
    throw new RangeError(`depthMax must be a whole number from 1 to ${DEPTH_LIMIT}, not ${depthMax}`);
  }
  // What is validated must be what is read: shared memory could change meanwhile.
  const input = new Uint8Array(bytes);
  const shape = parseModule(input, { typesMax: TYPES_MAX, functionsMax, localsMax });
  const scans = shape.bodies.map((_, index) => scanFunction(shape, index, localsMax));
  if (!engine.validate(input)) {
    throw new MeterError(
      'invalid',
      0,
      'does not validate: its types, indexes or constants do not fit together',
    );
  }
  const plans = planFunctions(shape, scans, depthMax);
  const measures: Measures = { fuel: true, depth: true, nan: true, ...options.measures };
  const types = [...shape.types];
  const context: EmitContext = {
    shape,
    plans,
    fuelGlobal: shape.importedGlobals + shape.globals,
    depthGlobal: shape.importedGlobals + shape.globals + 1,
    measures,
    resultType(results) {
      const same = (one: readonly number[]): boolean =>
        one.length === results.length && one.every((type, index) => type === results[index]);
      const found = types.findIndex((type) => type.parameters.length === 0 && same(type.results));
      return found >= 0 ? found : types.push({ parameters: [], results }) - 1;
    },
  };
  const driven = drivenFunction(shape, options.driven?.name);
  const code = new Writer(input.length * 2);
  code.u32(scans.length + (driven === undefined ? 0 : 1 + latchTypes.length));
  for (const [index, scan] of scans.entries()) {
    const body = emitFunction(context, scan, plans[index] as (typeof plans)[number]);
    code.u32(body.length).raw(body);
  }
  const added: number[] = [];
  if (driven !== undefined && options.driven !== undefined) {
    const firstGlobal = context.depthGlobal + 2;
    const latch = latchAt(
      firstGlobal + driverGlobals.length,
      shape.importedFunctions.length + shape.functions.length + 1,
    );
    const layout = options.driven;
    const { fuelGlobal } = context;
    const filter = calleeOf(context, scans, driven);
    const bodies = [driverBody({ layout, filter, fuelGlobal, firstGlobal, latch }), ...latchBodies(latch)];
    for (const body of bodies) code.u32(body.length).raw(body);
    for (const type of [DRIVER_TYPE, ...latchTypes]) added.push(types.push(type) - 1);
  }
  return assemble(shape, {
    [Id.type]: withTypes(shape, types.slice(shape.types.length)),
    ...(added.length === 0 ? {} : { [Id.function]: withFunctions(shape, added) }),
    [Id.global]: withGlobals(shape, fuel, depthMax, driven !== undefined),
    [Id.export]: withExports(shape, context, driven !== undefined),
    ...(scans.length > 0 ? { [Id.code]: code } : {}),
  });
}

/** Index of the function that is to be driven. */
function drivenFunction(shape: ModuleShape, name: string | undefined): number | undefined {
  if (name === undefined) return undefined;
  const index = shape.exportedNames.get(name);
  const type = index === undefined ? undefined : functionType(shape, index, 0);
  const isOne = (list: readonly number[]) => list.length === 1 && list[0] === Type.i32;
  if (index === undefined || type === undefined || !isOne(type.parameters) || !isOne(type.results)) {
    throw new MeterError('invalid', 0, `exports no ${name} of type (i32) -> (i32)`);
  }
  return index;
}

/** How the loop reaches it: as a part of itself where that pays, since a call takes as long as a simple filter does. */
function calleeOf(context: EmitContext, scans: readonly FunctionScan[], index: number): Callee {
  const own = index - context.shape.importedFunctions.length;
  const scan = scans[own];
  const plan = context.plans[own];
  if (scan === undefined || plan === undefined || !canBeWithin(context.shape, scan, plan)) return { index };
  return { within: (place) => emitWithin(context, scan, plan, place) };
}

/** The contents of a section behind its count, which is written anew. */
function grown(shape: ModuleShape, id: number, before: number, added: number): Writer {
  const section = shape.sections.find((one) => one.id === id);
  const out = new Writer().u32(before + added);
  if (section === undefined) return out;
  let at = section.start;
  while ((shape.bytes[at] as number) >= 0x80) at++;
  return out.raw(shape.bytes.subarray(at + 1, section.end));
}

function withFunctions(shape: ModuleShape, types: readonly number[]): Writer {
  const out = grown(shape, Id.function, shape.functions.length, types.length);
  for (const type of types) out.u32(type);
  return out;
}

function withTypes(shape: ModuleShape, added: ModuleShape['types']): Writer | undefined {
  if (added.length === 0) return undefined;
  const out = grown(shape, Id.type, shape.types.length, added.length);
  for (const { parameters, results } of added) {
    out.byte(0x60).u32(parameters.length).raw(parameters).u32(results.length).raw(results);
  }
  return out;
}

function withGlobals(shape: ModuleShape, fuel: bigint, depthMax: number, driven: boolean): Writer {
  const more = driven ? driverGlobals.length : 0;
  const latched = driven ? LATCH_GLOBALS : 0;
  const out = grown(shape, Id.global, shape.globals, 3 + more + latched);
  out.byte(Type.i64).byte(1).byte(Op.i64Const).signed(fuel).byte(Op.end);
  for (const mutable of [1, 0]) {
    out.byte(Type.i32).byte(mutable).byte(Op.i32Const).signed(depthMax).byte(Op.end);
  }
  for (let left = more; left > 0; left--) {
    out.byte(Type.i32).byte(1).byte(Op.i32Const).signed(0).byte(Op.end);
  }
  for (let left = latched; left > 0; left--) {
    out.byte(Type.i64).byte(1).byte(Op.i64Const).signed(0).byte(Op.end);
  }
  return out;
}

function withExports(shape: ModuleShape, context: EmitContext, driven: boolean): Writer {
  const out = grown(shape, Id.export, shape.exports, driven ? 5 + driverGlobals.length : 3);
  out.name(FUEL_EXPORT).byte(3).u32(context.fuelGlobal);
  out.name(DEPTH_EXPORT).byte(3).u32(context.depthGlobal);
  out
    .name(DEPTH_MAX_EXPORT)
    .byte(3)
    .u32(context.depthGlobal + 1);
  if (!driven) return out;
  for (const [index, name] of driverGlobals.entries()) {
    out
      .name(name)
      .byte(3)
      .u32(context.depthGlobal + 2 + index);
  }
  const run = shape.importedFunctions.length + shape.functions.length;
  out.name(RUN_EXPORT).byte(0).u32(run);
  return out
    .name(TOLD_EXPORT)
    .byte(0)
    .u32(run + latchTypes.length);
}

function assemble(shape: ModuleShape, replaced: Record<number, Writer | undefined>): Uint8Array {
  const { bytes } = shape;
  const out = new Writer(bytes.length * 2).raw(bytes.subarray(0, 8));
  const waiting = Object.keys(replaced)
    .map(Number)
    .filter((id) => replaced[id] !== undefined && !shape.sections.some((section) => section.id === id));
  const place = (id: number): number => sectionOrder[id] as number;
  const put = (id: number): void => {
    const contents = (replaced[id] as Writer).bytes;
    out.byte(id).u32(contents.length).raw(contents);
  };
  for (const section of shape.sections) {
    if (section.id !== 0) {
      // A section that the module has not goes in front of the first one that comes behind it.
      while (waiting.length > 0 && place(waiting[0] as number) < place(section.id))
        put(waiting.shift() as number);
    }
    if (replaced[section.id] !== undefined) put(section.id);
    else if (isKept(section)) copy(out, bytes, section);
  }
  for (const id of waiting) put(id);
  return out.bytes.slice();
}

function copy(out: Writer, bytes: Uint8Array, section: Section): void {
  const contents = bytes.subarray(section.start, section.end);
  out.byte(section.id);
  if (section.id !== 0) {
    out.u32(contents.length).raw(contents);
    return;
  }
  const name = new Writer(32).name(section.name).bytes;
  out
    .u32(name.length + contents.length)
    .raw(name)
    .raw(contents);
}
