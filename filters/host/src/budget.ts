// SPDX-License-Identifier: Apache-2.0
// Owns what a filter may use: what its manifest asks for, within what the host allows; and the accounts by which a
// filter is stopped that passes every limit of one event and is too slow all the same.
import { type BudgetField, budgetFields, type FilterBudget } from '@weir/filter-accept';
import { FilterHostError } from './error.js';

/** All fields of a budget, in force. */
export type Budget = Readonly<Record<BudgetField, number>>;

/** What a filter may use that asks for nothing, where the host sets nothing else. */
export const defaultBudget: Budget = {
  fuelPerEvent: 1_000_000,
  averageFuel: 20_000,
  averageNs: 20_000,
};

/** What a manifest may ask for where the host sets nothing else. */
const defaultCaps: Budget = {
  fuelPerEvent: 10_000_000,
  averageFuel: 100_000,
  averageNs: 100_000,
};

/** What an event may cost with all that its long texts allow for: some 20 ms, far below the limit of the watchdog. */
export const FUEL_PER_EVENT_MAX = 50_000_000;

/**
 * What an event may cost on top for each byte beyond the first 1024 of it and of its processes' texts: in units of
 * fuel, and in ns. Who may run a program may give it long arguments, which must not stop a filter that reads them.
 */
export const FUEL_PER_LONG_BYTE = 400;
export const NS_PER_LONG_BYTE = 400;

/**
 * The budget of one filter. What it does not ask for is the default, or the cap where that is lower.
 * @throws {FilterHostError} refused, where it asks for more than the cap.
 */
export function budgetOf(
  asked: FilterBudget | undefined,
  defaults: Budget,
  caps: FilterBudget | undefined,
): Budget {
  const budget: Partial<Record<BudgetField, number>> = {};
  for (const field of budgetFields) {
    const cap = caps?.[field] ?? Math.max(defaultCaps[field], defaults[field]);
    const wanted = asked?.[field];
    if (wanted !== undefined && wanted > cap) {
      throw new FilterHostError(
        'refused',
        `the filter is refused (budget): budget.${field} is ${wanted}; at most ${cap} is allowed here`,
      );
    }
    budget[field] = wanted ?? Math.min(defaults[field], cap);
  }
  return budget as Budget;
}

/** Events whose average a filter may use at once. */
const RESERVE_EVENTS = 1000;
/** Events that may use all of their fuel on top: traps by that are for the count of traps to stop. */
const RESERVE_TRAPS = 20;

/**
 * The fuel that a filter's events may cost beyond their average. Each event adds its share and takes what it used, so
 * that a filter is stopped behind the same event wherever batches begin.
 */
export class Reserve {
  readonly capacity: number;
  readonly #budget: Budget;
  left: number;

  constructor(budget: Budget) {
    this.#budget = budget;
    this.capacity = Math.min(
      RESERVE_EVENTS * budget.averageFuel + RESERVE_TRAPS * budget.fuelPerEvent,
      2 ** 30,
    );
    this.left = this.capacity;
  }

  /** What an event adds: the average, and what its long texts allow for. */
  shareOf(allowance: number): number {
    // Added to a full reserve it still fits in 32 bits.
    return Math.min(this.#budget.averageFuel + allowance, 2 ** 30 - 1);
  }

  take(fuel: number, share: number): void {
    this.left = Math.min(this.left + share - fuel, this.capacity);
  }

  /** Why the filter is to be stopped, once nothing is left. */
  get exceeded(): string {
    return `used ${this.capacity} units of fuel more than its events may cost; its budget is ${this.#budget.averageFuel} an event on average`;
  }
}

/** Events before an average of time counts: what a few cost says little. */
const EVENTS_MIN = 1000;
/** Events of a window; then another one begins. */
const EVENTS_MAX = 16_384;
/** Processor time before its average counts: the first calls run in code that the engine has not optimised yet. */
const TIME_MIN_NS = 100e6;

/** The average processor time of one filter's events. Not the same on every machine: it is looked at behind a batch. */
export class AverageTime {
  readonly #budget: Budget;
  #events = 0;
  #sum = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /**
   * Adds what a batch took; returns why the filter is to be stopped, if it is. What it took beyond its share of the
   * average does not count as far as its long texts allow for it.
   */
  add(events: number, processorNs: number, longBytes = 0): string | undefined {
    const { averageNs } = this.#budget;
    const over = Math.max(processorNs - averageNs * events, 0);
    this.#events += events;
    this.#sum += processorNs - Math.min(over, longBytes * NS_PER_LONG_BYTE);
    if (this.#events < EVENTS_MIN || this.#sum < TIME_MIN_NS) return undefined;
    const average = this.#sum / this.#events;
    const window = this.#events;
    if (window >= EVENTS_MAX) {
      this.#events = 0;
      this.#sum = 0;
    }
    if (average <= averageNs) return undefined;
    return `took ${Math.round(average)} ns of processor time an event on average over ${window} events; its budget is ${averageNs}`;
  }
}
