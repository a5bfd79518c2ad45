// SPDX-License-Identifier: Apache-2.0
// Owns what each function is charged, and how: at its entry the cost of the dearest way through it, each loop gone
// through once; on the way back to a loop's head, the cost of the dearest way through the loop. So all that is run is
// charged before it runs, a unit is about an instruction, and a loop that ends in its first turn is not charged again.
import { Reader } from './bytes.js';
import { Decoder } from './decode.js';
import { MeterError } from './error.js';
import { callGraph, calls } from './graph.js';
import type { ModuleShape } from './module.js';
import { baseCost, CALL_COST, IMPORT_COST, INDIRECT_COST, Op, TURN_COST } from './opcodes.js';
import type { FunctionScan } from './scan.js';

/** Where a function's fuel is counted down. */
export type Charging =
  /** By whoever calls it: it is small, without loops, and all that it calls is so too. */
  | 'caller'
  /** In the global: it has no loops, so it is charged once. */
  | 'global'
  /** In a local, which is written back before whatever may look at the global: it has loops. */
  | 'local';

export interface FunctionPlan {
  charging: Charging;
  entryCost: number;
  /** Of another turn, in the order of the loops. */
  loopCosts: readonly number[];
  /** What its frame takes of the depth while it runs; 0 where it is not counted. */
  depth: number;
}

/** A function of at most this cost is charged by its callers. */
const CALLER_COST_MAX = 256;
/** Words of a frame that cost one of depth. A small frame is about 100 bytes, so one is at most some 230. */
const WORDS_PER_DEPTH = 16;

/** A function or a loop, and the ways from its head. */
interface Scope {
  /** The dearest way to where the walk is; of an outer scope, to the head of the loop within. */
  cost: number;
  /** The dearest way to anywhere. */
  highest: number;
  /** The dearest way to its head, from the function's own: outer scopes stand still while the walk is in it. */
  before: number;
  parent: Scope | undefined;
  loop: number;
}

interface Label {
  /** The dearest way to its end, -1 where none is known. */
  cost: number;
  scope: Scope;
  op: number;
  /** Of an `if`: the cost at its condition. */
  entry: number;
  hasElse: boolean;
}

/** Ways end here. */
const NOWHERE = -1;

/** The dearest ways through a function and through each of its loops. */
function costs(
  shape: ModuleShape,
  scan: FunctionScan,
  plans: readonly (FunctionPlan | undefined)[],
): { entry: number; loops: number[] } {
  const decoder = new Decoder(new Reader(shape.bytes, scan.codeStart, scan.body.end));
  const imported = shape.importedFunctions.length;
  const root: Scope = { cost: 0, highest: 0, before: 0, parent: undefined, loop: -1 };
  let scope = root;
  const labels: Label[] = [{ cost: NOWHERE, scope, op: Op.block, entry: 0, hasElse: false }];
  const loops: number[] = [];
  const branch = (depth: number): void => {
    const label = labels[labels.length - 1 - depth];
    if (label === undefined) throw new MeterError('malformed', decoder.at, `label ${depth} does not exist`);
    if (label.op === Op.loop) return;
    // Not scope by scope: tables of branches name tens of thousands of labels, a thousand loops further out.
    label.cost = Math.max(label.cost, scope.before + scope.cost - label.scope.before);
  };
  for (;;) {
    const op = decoder.next();
    const reached = scope.cost !== NOWHERE;
    if (reached) {
      let cost = baseCost(op);
      if (op === Op.callIndirect) cost += INDIRECT_COST;
      else if (op === Op.call) {
        const callee = plans[decoder.index - imported];
        if (decoder.index < imported) cost += IMPORT_COST;
        else cost += CALL_COST + (callee?.charging === 'caller' ? callee.entryCost : 0);
      }
      scope.cost += cost;
      if (scope.cost > scope.highest) scope.highest = scope.cost;
    }
    switch (op) {
      case Op.block:
      case Op.if:
        labels.push({ cost: NOWHERE, scope, op, entry: scope.cost, hasElse: false });
        break;
      case Op.loop:
        scope = {
          cost: reached ? 0 : NOWHERE,
          highest: 0,
          before: scope.before + scope.cost,
          parent: scope,
          loop: loops.length,
        };
        loops.push(0);
        labels.push({ cost: NOWHERE, scope, op, entry: 0, hasElse: false });
        break;
      case Op.else: {
        const label = labels[labels.length - 1] as Label;
        label.hasElse = true;
        label.cost = Math.max(label.cost, scope.cost);
        scope.cost = label.entry;
        break;
      }
      case Op.end: {
        const label = labels.pop() as Label;
        if (labels.length === 0) return { entry: Math.max(1, root.highest), loops };
        if (label.op === Op.loop) {
          loops[scope.loop] = TURN_COST + scope.highest;
          const ended = scope;
          scope = ended.parent as Scope;
          scope.highest = Math.max(scope.highest, scope.cost + ended.highest);
          scope.cost = ended.cost === NOWHERE ? NOWHERE : scope.cost + ended.cost;
          break;
        }
        scope.cost = Math.max(scope.cost, label.cost);
        if (label.op === Op.if && !label.hasElse) scope.cost = Math.max(scope.cost, label.entry);
        break;
      }
      case Op.br:
        if (reached) branch(decoder.index);
        scope.cost = NOWHERE;
        break;
      case Op.brIf:
        if (reached) branch(decoder.index);
        break;
      case Op.brTable:
        if (reached) for (const label of decoder.labels) branch(label);
        scope.cost = NOWHERE;
        break;
      case Op.return:
      case Op.unreachable:
        scope.cost = NOWHERE;
        break;
      default:
        break;
    }
  }
}

/** Plans all functions of a module. `depthMax` is the depth that a call from outside may take. */
export function planFunctions(
  shape: ModuleShape,
  scans: readonly FunctionScan[],
  depthMax: number,
): FunctionPlan[] {
  const imported = shape.importedFunctions.length;
  const own = (indexes: Iterable<number>): number[] =>
    [...indexes].map((index) => index - imported).filter((index) => index >= 0 && index < scans.length);
  const referenced = own(shape.referenced);
  const { components, recursive } = callGraph(scans, referenced);
  // Called from outside or through a table: nobody could charge for it.
  const entered = new Set([...referenced, ...own(shape.exported)]);
  const plans: (FunctionPlan | undefined)[] = new Array<FunctionPlan | undefined>(scans.length);
  for (const index of components.flat()) {
    const scan = scans[index];
    if (scan === undefined) continue;
    const { entry, loops } = costs(shape, scan, plans);
    const byCaller =
      !scan.loops &&
      !scan.bulk &&
      !scan.callsIndirectly &&
      recursive[index] === 0 &&
      !entered.has(index) &&
      entry <= CALLER_COST_MAX &&
      [...scan.callees].every((callee) => plans[callee]?.charging === 'caller');
    plans[index] = {
      charging: byCaller ? 'caller' : scan.loops ? 'local' : 'global',
      entryCost: entry,
      loopCosts: loops,
      depth: recursive[index] === 1 ? depthOf(scan) : 0,
    };
  }
  const planned = plans as FunctionPlan[];
  if (plainDepth(scans, referenced, components, planned) > depthMax) {
    // Too much could lie on the stack uncounted: count all.
    for (const [index, plan] of planned.entries()) plan.depth = depthOf(scans[index] as FunctionScan);
  }
  return planned;
}

function depthOf(scan: FunctionScan): number {
  return 1 + Math.floor(scan.frameWords / WORDS_PER_DEPTH);
}

/** The most that functions that are not counted can have on the stack at once: each of them is there once at most. */
function plainDepth(
  scans: readonly FunctionScan[],
  referenced: readonly number[],
  components: readonly (readonly number[])[],
  plans: readonly FunctionPlan[],
): number {
  const successors = calls(scans, referenced);
  const below = new Float64Array(scans.length + 1);
  let highest = 0;
  for (const component of components) {
    let most = 0;
    // Not known yet, so 0, are those of the component itself: more than one only where all of them are counted.
    for (const index of component) {
      for (const to of successors[index] as readonly number[]) most = Math.max(most, below[to] as number);
    }
    for (const index of component) {
      const scan = scans[index];
      below[index] = most + (scan !== undefined && plans[index]?.depth === 0 ? depthOf(scan) : 0);
      highest = Math.max(highest, below[index] as number);
    }
  }
  return highest;
}
