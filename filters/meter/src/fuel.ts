// SPDX-License-Identifier: Apache-2.0
// Owns the host's side of metering: giving an instance its fuel, and reading what is left of it.
import { ANSWER_EXPORT, AT_EXPORT, RESERVE_EXPORT, RUN_EXPORT, SPENT_EXPORT, TOLD_EXPORT } from './driver.js';

/** Names of the globals that a metered module exports. */
export const FUEL_EXPORT = 'weir.fuel';
export const DEPTH_EXPORT = 'weir.depth';
/** Does not change: what the depth is refilled to. */
export const DEPTH_MAX_EXPORT = 'weir.depth.max';

interface Global<T> {
  value: T;
}

/** Which limit ended a call: its fuel, its depth, or neither (it returned, or trapped by itself). */
export type Exhausted = 'fuel' | 'depth' | undefined;

export interface Fuel {
  /**
   * What is left. Below zero once it has run out. After another trap it may be what was left a little earlier, at
   * the same point on every machine all the same.
   */
  remaining: bigint;
  /** Why a call that just trapped did so. */
  exhausted(): Exhausted;
  /** Makes ready for another call, after a trap too: with this fuel, and all of the depth. */
  refill(units: bigint): void;
}

/** The fuel of an instance of a metered module. @throws {TypeError} where it is of another one. */
export function fuelOf(instance: { exports: Record<string, unknown> }): Fuel {
  const fuel = instance.exports[FUEL_EXPORT] as Global<bigint> | undefined;
  const depth = instance.exports[DEPTH_EXPORT] as Global<number> | undefined;
  const depthMax = (instance.exports[DEPTH_MAX_EXPORT] as Global<number> | undefined)?.value;
  if (typeof fuel?.value !== 'bigint' || typeof depth?.value !== 'number' || typeof depthMax !== 'number') {
    throw new TypeError(`the module is not metered: it does not export ${FUEL_EXPORT} and ${DEPTH_EXPORT}`);
  }
  return {
    get remaining() {
      return fuel.value;
    },
    set remaining(units) {
      fuel.value = units;
    },
    exhausted: () => (depth.value < 0 ? 'depth' : fuel.value < 0n ? 'fuel' : undefined),
    refill(units) {
      fuel.value = units;
      depth.value = depthMax;
    },
  };
}

/** The loop that `driven` adds, and its accounts; see driver.ts. */
export interface Driver {
  /** Judges the records from one to another, at most to its `runEnd`; returns the next. @throws whatever the trap is, on record `at`. */
  run(
    call: number,
    verdicts: number,
    from: number,
    until: number,
    budget: number,
    share: number,
    capacity: number,
    spendMax: number,
  ): number;
  /**
   * Behind a run, even one that trapped: writes over the verdicts what became of the records from one to another of it, and
   * over those before them of the same 64. In the low half how many were dropped, in the high half how many passed over.
   */
  told(verdicts: number, from: number, next: number): number;
  readonly at: { readonly value: number };
  readonly answer: { readonly value: number };
  readonly reserve: { value: number };
  readonly spent: { value: number };
}

/** The loop of an instance. @throws {TypeError} where its module was not metered with `driven` */
export function driverOf({ exports }: { exports: Record<string, unknown> }): Driver {
  const run = exports[RUN_EXPORT];
  if (typeof run !== 'function')
    throw new TypeError(`the module is not driven: it does not export ${RUN_EXPORT}`);
  return {
    run: run as Driver['run'],
    told: exports[TOLD_EXPORT] as Driver['told'],
    at: exports[AT_EXPORT] as Global<number>,
    answer: exports[ANSWER_EXPORT] as Global<number>,
    reserve: exports[RESERVE_EXPORT] as Global<number>,
    spent: exports[SPENT_EXPORT] as Global<number>,
  };
}
