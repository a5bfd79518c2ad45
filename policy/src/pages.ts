// SPDX-License-Identifier: Apache-2.0
// Owns how the policies on one hook are parted where they want more than a program takes (selectors, values that are
// read, look-ups): into pages, each a program of its own on the same function. What enforces is on the first page: a
// program that makes a call fail keeps those behind it from running, and only where it is the last has everybody seen
// the call.
import { Action as ActionBit, limits } from '@weir/schema';
import type { HookPlan, PlannedSelector } from './plan-types.js';

/** Whose demands on a hook are not parted into pages. */
export const ofOne =
  'of this policy or of all that cannot be parted (they do more than post events, or are on an LSM hook)';

/** What a selector may do besides events, in the kernel. */
const acting =
  (1 << ActionBit.sigkill) |
  (1 << ActionBit.signal) |
  (1 << ActionBit.override) |
  (1 << ActionBit.notifyenforcer) |
  (1 << ActionBit.cleanupenforcernotification);

export function doesMoreThanPost({ actions, returnActions = 0, isEnforcer }: PlannedSelector): boolean {
  return isEnforcer === true || ((actions | returnActions) & acting) !== 0;
}

/** What a policy wants on a hook, in all its hooks on that function together. */
export interface Demand {
  readonly policyId: number;
  /** Of the hook, without a page. */
  readonly key: string;
  readonly selectors: number;
  /** What it reads, by names that are the same for the same. */
  readonly readings: ReadonlySet<string>;
  /** How often a selector has something looked up in the same way, by the name of the way. */
  readonly lookUps: ReadonlyMap<string, number>;
  /** It does more than to post events. */
  readonly enforces: boolean;
}

/** The page of each policy on each hook; 0 where it is not named. */
export type Pages = ReadonlyMap<string, number>;

/** Key of a policy on a hook in `Pages`. */
export function placeOf(policyId: number, key: string): string {
  return `${policyId} ${key}`;
}

/** Key of a page of a hook. */
export function pageKey(key: string, page: number): string {
  return page === 0 ? key : `${key}#${page}`;
}

/** The pages of hooks that are in force. */
export function pagesOf(hooks: Iterable<HookPlan>): Pages {
  const pages = new Map<string, number>();
  for (const { key, page = 0, bindings } of hooks) {
    const plain = page === 0 ? key : key.slice(0, -`#${page}`.length);
    for (const { policyId } of bindings) pages.set(placeOf(policyId, plain), page);
  }
  return pages;
}

/** What is on a page. */
class Page {
  #selectors = 0;
  readonly #readings = new Set<string>();
  readonly #lookUps = new Map<string, number>();

  hasRoom({ selectors, readings, lookUps }: Demand): boolean {
    if (this.#selectors + selectors > limits.selectors_per_hook) return false;
    let read = this.#readings.size;
    for (const reading of readings) if (!this.#readings.has(reading)) read++;
    let dimensions = 0;
    for (const count of this.#lookUps.values()) dimensions += count;
    for (const [way, count] of lookUps) dimensions += Math.max(0, count - (this.#lookUps.get(way) ?? 0));
    return read <= limits.slots_per_hook && dimensions <= limits.dimensions_per_hook;
  }

  put({ selectors, readings, lookUps }: Demand): void {
    this.#selectors += selectors;
    for (const reading of readings) this.#readings.add(reading);
    for (const [way, count] of lookUps) this.#lookUps.set(way, Math.max(count, this.#lookUps.get(way) ?? 0));
  }
}

/**
 * Gives each policy a page on each of its hooks: the former one where there is room, so that policies which stay in force
 * stay where they are; else the first with room. Those that enforce come first, and only on the first page: where they
 * are too many, it is overfull.
 */
export function assignPages(demands: readonly Demand[], former: Pages): Pages {
  const assigned = new Map<string, number>();
  const pages = new Map<string, Page>();
  const put = (demand: Demand, number: number) => {
    const { policyId, key } = demand;
    assigned.set(placeOf(policyId, key), number);
    const page = pages.get(pageKey(key, number)) ?? new Page();
    pages.set(pageKey(key, number), page);
    page.put(demand);
  };
  const hasRoom = (demand: Demand, number: number) =>
    (pages.get(pageKey(demand.key, number)) ?? new Page()).hasRoom(demand);
  for (const demand of demands) if (demand.enforces) put(demand, 0);
  const others = demands.filter(({ enforces }) => !enforces);
  const formerPage = ({ policyId, key }: Demand) => former.get(placeOf(policyId, key));
  for (const demand of others) {
    const number = formerPage(demand);
    if (number !== undefined && hasRoom(demand, number)) put(demand, number);
  }
  for (const demand of others) {
    if (assigned.has(placeOf(demand.policyId, demand.key))) continue;
    let number = 0;
    // One that is more than a page by itself gets an empty one, and is refused there.
    while (!hasRoom(demand, number) && pages.has(pageKey(demand.key, number))) number++;
    put(demand, number);
  }
  return assigned;
}
