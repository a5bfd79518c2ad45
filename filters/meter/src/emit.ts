// SPDX-License-Identifier: Apache-2.0
// Owns writing a function anew: as it was, with what counts fuel and depth and makes NaNs canonical put in between.
//
//   entry:   depth -= w, trap below zero; fuel -= cost, trap below zero
//   block    (only where something is to be done on the way out)
//     ...    as before; where a branch goes back to a loop's head, fuel -= cost of a turn, trap below zero; `return` becomes a branch to the block's end, labels stay what they were, for the block takes
//            the place of the function's own label
//   end
//   exit:    write the fuel back; depth += w
//
// Within another function (`emitWithin`) the same is written with its locals behind those of that function, which a
// turn of a loop there finds as a call would: the parameter given, all others nothing.
import { Reader, Writer } from './bytes.js';
import { Decoder } from './decode.js';
import type { ModuleShape } from './module.js';
import {
  BULK_BYTES_SHIFT,
  type Bulk,
  bulkOf,
  ELEMENT_COST,
  EMPTY_BLOCK,
  ignoresNanBits,
  Nan,
  nanOf,
  Op,
  PAGE_COST,
  Type,
} from './opcodes.js';
import type { FunctionPlan } from './plan.js';
import { declaredLocals, type FunctionScan } from './scan.js';

/** What is the same for all functions of a module. */
export interface EmitContext {
  shape: ModuleShape;
  plans: readonly FunctionPlan[];
  fuelGlobal: number;
  depthGlobal: number;
  measures: Measures;
  /** Index of the function type () -> results, which is added where there is none. */
  resultType(results: readonly number[]): number;
}

/** What is put in; all of it but for measuring what each part costs. */
export interface Measures {
  fuel: boolean;
  depth: boolean;
  nan: boolean;
}

const QUIET_F32 = [0x00, 0x00, 0xc0, 0x7f];
const QUIET_F64 = [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf8, 0x7f];

/** What a local is before anything is set, by its type. */
const NOTHING: Record<number, readonly number[]> = {
  [Type.i32]: [Op.i32Const, 0],
  [Type.i64]: [Op.i64Const, 0],
  [Type.f32]: [Op.f32Const, 0, 0, 0, 0],
  [Type.f64]: [Op.f64Const, 0, 0, 0, 0, 0, 0, 0, 0],
};

/** A function that is written into another one. */
export interface Within {
  /** Takes its parameters from their locals, and leaves its results on the stack. */
  code: Uint8Array;
  /** Types of the locals that it needs behind its parameters. */
  locals: readonly number[];
}

class FunctionWriter {
  readonly #out = new Writer(1024);
  /** Of the blocks around: what a turn costs, 0 where it is no loop. */
  readonly #turnCosts: number[] = [];
  readonly #extra: number[] = [];
  readonly #scratch = new Map<string, number>();
  readonly #context: EmitContext;
  readonly #scan: FunctionScan;
  readonly #plan: FunctionPlan;
  readonly #decoder: Decoder;
  readonly #charges: boolean;
  readonly #inLocal: boolean;
  readonly #depth: number;
  /** Whether something is to be done on the way out. */
  readonly #wraps: boolean;
  /** Up to here the body is written. */
  #copied: number;
  /** Locals of the function that it is written into, in front of its own; 0 where it is one of its own. */
  readonly #base: number;
  /** A local of that function with the fuel that it is to begin with. */
  readonly #given: number | undefined;

  constructor(
    context: EmitContext,
    scan: FunctionScan,
    plan: FunctionPlan,
    within?: { base: number; given: number },
  ) {
    const base = within?.base ?? 0;
    this.#base = base;
    this.#given = within?.given;
    this.#context = context;
    this.#scan = scan;
    this.#plan = plan;
    this.#decoder = new Decoder(new Reader(context.shape.bytes, scan.codeStart, scan.body.end));
    this.#charges = context.measures.fuel && plan.charging !== 'caller';
    this.#inLocal = this.#charges && plan.charging === 'local';
    this.#depth = context.measures.depth ? plan.depth : 0;
    this.#wraps = this.#inLocal || this.#depth > 0 || base > 0;
    this.#copied = scan.codeStart;
  }

  write(): Uint8Array {
    const out = this.#out;
    this.#enter();
    if (this.#wraps) out.byte(Op.block).raw(this.#blockType());
    this.#body();
    if (this.#wraps) {
      this.#leave();
      out.byte(Op.end);
    }
    return this.#withLocals();
  }

  /** The same without a frame of its own: its code, and the types of its locals behind its parameters. */
  writeWithin(): Within {
    const declared = declaredLocals(this.#context.shape, this.#scan);
    const out = this.#out;
    for (const [index, type] of declared.entries()) {
      out.raw(NOTHING[type] as readonly number[]);
      out.byte(Op.localSet).u32(this.#base + this.#scan.type.parameters.length + index);
    }
    // Where it is charged in the global at once, that need not be set before.
    if (this.#inLocal || !this.#charges) this.#setFuel();
    this.#enter();
    out.byte(Op.block).raw(this.#blockType());
    this.#body();
    this.#leave();
    return { code: out.bytes, locals: [...declared, ...this.#extra] };
  }

  /** A local of its own, made on first use. */
  #local(name: string, type: number): number {
    let index = this.#scratch.get(name);
    if (index === undefined) {
      index = this.#base + this.#scan.locals + this.#extra.length;
      this.#extra.push(type);
      this.#scratch.set(name, index);
    }
    return index;
  }

  #withLocals(): Uint8Array {
    const { shape } = this.#context;
    const { groups, groupsStart, codeStart } = this.#scan;
    const all = new Writer(this.#out.length + 64);
    all.u32(groups + this.#extra.length).raw(shape.bytes.subarray(groupsStart, codeStart));
    for (const type of this.#extra) all.u32(1).byte(type);
    return all.raw(this.#out.bytes).bytes;
  }

  #blockType(): ArrayLike<number> {
    const { results } = this.#scan.type;
    if (results.length === 0) return [EMPTY_BLOCK];
    if (results.length === 1) return results;
    return new Writer(5).signed(this.#context.resultType(results)).bytes;
  }

  #copyTo(end: number): void {
    this.#out.raw(this.#context.shape.bytes.subarray(this.#copied, end));
    this.#copied = end;
  }

  #enter(): void {
    if (this.#depth > 0) {
      const { depthGlobal } = this.#context;
      const depth = this.#local('depth', Type.i32);
      this.#out.byte(Op.globalGet).u32(depthGlobal).byte(Op.i32Const).signed(this.#depth).byte(Op.i32Sub);
      this.#out.byte(Op.localTee).u32(depth).byte(Op.globalSet).u32(depthGlobal);
      this.#out.byte(Op.localGet).u32(depth).byte(Op.i32Const).byte(0).byte(Op.i32LtS);
      this.#out.byte(Op.if).byte(EMPTY_BLOCK).byte(Op.unreachable).byte(Op.end);
    }
    if (this.#inLocal && this.#given === undefined) this.#reload();
    if (this.#charges) {
      this.#charge(() => this.#out.byte(Op.i64Const).signed(this.#plan.entryCost), this.#given);
    }
  }

  #setFuel(): void {
    this.#out.byte(Op.localGet).u32(this.#given as number);
    this.#out.byte(Op.globalSet).u32(this.#context.fuelGlobal);
  }

  #leave(): void {
    if (this.#inLocal) this.#writeBack();
    if (this.#depth > 0) {
      this.#out.byte(Op.localGet).u32(this.#local('depth', Type.i32));
      this.#out.byte(Op.i32Const).signed(this.#depth).byte(Op.i32Add);
      this.#out.byte(Op.globalSet).u32(this.#context.depthGlobal);
    }
  }

  #writeBack(): void {
    const fuel = this.#local('fuel', Type.i64);
    this.#out.byte(Op.localGet).u32(fuel).byte(Op.globalSet).u32(this.#context.fuelGlobal);
  }

  #reload(): void {
    const fuel = this.#local('fuel', Type.i64);
    this.#out.byte(Op.globalGet).u32(this.#context.fuelGlobal).byte(Op.localSet).u32(fuel);
  }

  /**
   * Takes what `amount` leaves on the stack off the fuel, or off what the local `from` has. What lies on the stack below
   * stays as it is.
   */
  #charge(amount: () => void, from?: number): void {
    const out = this.#out;
    const { fuelGlobal } = this.#context;
    const fuel = this.#local('fuel', Type.i64);
    if (from !== undefined) out.byte(Op.localGet).u32(from);
    else if (this.#inLocal) out.byte(Op.localGet).u32(fuel);
    else out.byte(Op.globalGet).u32(fuelGlobal);
    amount();
    out.byte(Op.i64Sub).byte(Op.localTee).u32(fuel);
    if (!this.#inLocal) out.byte(Op.globalSet).u32(fuelGlobal).byte(Op.localGet).u32(fuel);
    out.byte(Op.i64Const).byte(0).byte(Op.i64LtS).byte(Op.if).byte(EMPTY_BLOCK);
    if (this.#inLocal) this.#writeBack();
    out.byte(Op.unreachable).byte(Op.end);
  }

  /** Charges by the length on top of the stack, and leaves it there. */
  #chargeLength(bulk: Bulk): void {
    const out = this.#out;
    const length = this.#local('length', Type.i32);
    out.byte(Op.localTee).u32(length);
    this.#charge(() => {
      out.byte(Op.localGet).u32(length).byte(Op.i64ExtendI32U).byte(Op.i64Const);
      if (bulk === 'bytes') out.signed(BULK_BYTES_SHIFT).byte(Op.i64ShrU);
      else out.signed(bulk === 'pages' ? PAGE_COST : ELEMENT_COST).byte(Op.i64Mul);
    });
  }

  /** Replaces the value on top of the stack by the one NaN where it is any. */
  #canonical(nan: number): void {
    const out = this.#out;
    if (nan === Nan.f32 || nan === Nan.f64) {
      const single = nan === Nan.f32;
      const value = single ? this.#local('f32', Type.f32) : this.#local('f64', Type.f64);
      out.byte(Op.localTee).u32(value);
      if (single) out.byte(Op.f32Const).raw(QUIET_F32);
      else out.byte(Op.f64Const).raw(QUIET_F64);
      out.byte(Op.localGet).u32(value).byte(Op.localGet).u32(value);
      out.byte(single ? Op.f32Eq : Op.f64Eq).byte(Op.select);
      return;
    }
    const single = nan === Nan.f32x4;
    const value = this.#local('v128', Type.v128);
    const quiet = single ? QUIET_F32 : QUIET_F64;
    out.byte(Op.localTee).u32(value).byte(0xfd).u32(0x0c);
    for (let bytes = 0; bytes < 16; bytes += quiet.length) out.raw(quiet);
    out.byte(Op.localGet).u32(value).byte(Op.localGet).u32(value);
    out.byte(0xfd).u32((single ? Op.f32x4Eq : Op.f64x2Eq) & 0xff);
    out.byte(0xfd).u32(Op.v128Bitselect & 0xff);
  }

  #body(): void {
    const { measures } = this.#context;
    const { reader } = this.#decoder;
    const costs = this.#turnCosts;
    let loop = 0;
    let made: number = Nan.none;
    for (;;) {
      const op = this.#decoder.next();
      if (made !== Nan.none && !ignoresNanBits(made, op)) {
        this.#copyTo(this.#decoder.at);
        this.#canonical(made);
      }
      made = measures.nan ? nanOf(op) : Nan.none;
      switch (op) {
        case Op.block:
        case Op.if:
          costs.push(0);
          break;
        case Op.loop:
          costs.push(this.#plan.loopCosts[loop++] as number);
          break;
        case Op.end:
          if (costs.length === 0) {
            this.#copyTo(reader.at);
            return;
          }
          costs.pop();
          break;
        case Op.br:
        case Op.brIf:
          if (this.#charges) this.#branch(this.#turnCost(this.#decoder.index));
          break;
        case Op.brTable:
          if (this.#charges) {
            this.#branch(Math.max(...this.#decoder.labels.map((label) => this.#turnCost(label))));
          }
          break;
        case Op.return:
          if (!this.#wraps) break;
          this.#copyTo(this.#decoder.at);
          this.#out.byte(Op.br).u32(costs.length);
          this.#copied = reader.at;
          break;
        case Op.localGet:
        case Op.localSet:
        case Op.localTee:
          if (this.#base === 0) break;
          this.#copyTo(this.#decoder.at);
          this.#out.byte(op).u32(this.#base + this.#decoder.index);
          this.#copied = reader.at;
          break;
        case Op.call:
        case Op.callIndirect:
          this.#call(op);
          break;
        default: {
          const bulk = bulkOf(op);
          if (bulk === undefined || !this.#charges) break;
          this.#copyTo(this.#decoder.at);
          this.#chargeLength(bulk);
        }
      }
    }
  }

  /** What a branch to a label costs: a turn where it is a loop's. */
  #turnCost(label: number): number {
    const costs = this.#turnCosts;
    // The function's own label is no loop's.
    return costs[costs.length - 1 - label] ?? 0;
  }

  /** Charges before a branch, whether it is taken or not: what it takes stays on the stack. */
  #branch(cost: number): void {
    if (cost === 0) return;
    this.#copyTo(this.#decoder.at);
    this.#charge(() => this.#out.byte(Op.i64Const).signed(cost));
  }

  /** A function that is called may look at the global; imported ones, and those that are charged here, do not. */
  #call(op: number): void {
    if (!this.#inLocal) return;
    const { shape, plans } = this.#context;
    if (op === Op.call) {
      const callee = this.#decoder.index - shape.importedFunctions.length;
      if (callee < 0 || plans[callee]?.charging === 'caller') return;
    }
    this.#copyTo(this.#decoder.at);
    this.#writeBack();
    this.#copyTo(this.#decoder.reader.at);
    this.#reload();
  }
}

/** The body of a function as it is to be, without its size. */
export function emitFunction(context: EmitContext, scan: FunctionScan, plan: FunctionPlan): Uint8Array {
  return new FunctionWriter(context, scan, plan).write();
}

/** Bytes of code, and locals, beyond which a function is worth a call: what the call takes is little of what it does. */
const WITHIN_BYTES_MAX = 4096;
const WITHIN_LOCALS_MAX = 64;

/** Whether a function can be written into another one: it cannot come to call itself, is small, and holds numbers. */
export function canBeWithin(shape: ModuleShape, scan: FunctionScan, plan: FunctionPlan): boolean {
  return (
    plan.depth === 0 &&
    scan.body.end - scan.codeStart <= WITHIN_BYTES_MAX &&
    scan.locals <= WITHIN_LOCALS_MAX &&
    declaredLocals(shape, scan).every((type) => NOTHING[type] !== undefined)
  );
}

/**
 * The body of a function, to be put into one with `base` locals in front of its parameters. It begins with the fuel that
 * the local `given` has, and leaves what it had in the global.
 */
export function emitWithin(
  context: EmitContext,
  scan: FunctionScan,
  plan: FunctionPlan,
  within: { base: number; given: number },
): Within {
  return new FunctionWriter(context, scan, plan, within).writeWithin();
}
