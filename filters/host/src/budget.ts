// SPDX-License-Identifier: Apache-2.0
// Owns what a filter may use: what its manifest asks for, within what the host allows; and the averages by which a
// filter is stopped that passes every limit of one event and is too slow all the same.
import { type BudgetField, budgetFields, type FilterBudget } from '@weir/filter-accept';
import { FilterHostError } from './error.js';

/** All fields of a budget, in force. */
export type Budget = Readonly<Record<BudgetField, number>>;

/** What a filter may use that asks for nothing, where the host sets nothing else. */
export const defaultBudget: Budget = {
  fuelPerEvent: 50_000,
  fuelPerCall: 1_000_000,
  fuelPerBatch: 200_000_000,
  averageFuel: 20_000,
  averageNs: 20_000,
};

/** What a manifest may ask for where the host sets nothing else. */
const defaultCaps: Budget = {
  fuelPerEvent: 500_000,
  fuelPerCall: 10_000_000,
  // At most some 75 ms: below the limit of the watchdog.
  fuelPerBatch: 200_000_000,
  averageFuel: 100_000,
  averageNs: 100_000,
};

/**
 * What an event may cost on top for each byte beyond the first 1024 of it and of its processes' texts: in units of
 * fuel, and in ns. Who may run a program may give it long arguments, which must not stop a filter that reads them.
 */
export const FUEL_PER_LONG_BYTE = 400;

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

/** Events before an average counts: what a few cost says little. */
const EVENTS_MIN = 1000;
/** Events of a window; then another one begins. */
const EVENTS_MAX = 16_384;
/** Processor time before its average counts: the first calls run in code that the engine has not optimised yet. */
const TIME_MIN_NS = 100e6;

/** A sum over events since a window began. */
class Window {
  events = 0;
  sum = 0;

  add(events: number, amount: number): void {
    this.events += events;
    this.sum += amount;
  }

  get average(): number {
    return this.sum / this.events;
  }

  begin(): void {
    this.events = 0;
    this.sum = 0;
  }
}

/** The averages of one filter. Fuel and time have windows of their own: fuel is to be judged the same everywhere. */
export class Averages {
  readonly #budget: Budget;
  readonly #fuel = new Window();
  readonly #time = new Window();

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /**
   * Adds what a batch took; returns why the filter is to be stopped, if it is. What a batch took beyond its share of
   * the average does not count as far as its long texts allow for it.
   */
  add(events: number, fuel: number, processorNs: number, longBytes = 0): string | undefined {
    const { averageFuel, averageNs } = this.#budget;
    const overFuel = Math.max(fuel - averageFuel * events, 0);
    const overNs = Math.max(processorNs - averageNs * events, 0);
    const allowed = overFuel > 0 || overNs > 0 ? longBytes * FUEL_PER_LONG_BYTE : 0;
    this.#fuel.add(events, fuel - Math.min(overFuel, allowed));
    this.#time.add(events, processorNs - Math.min(overNs, allowed));
    const over = this.#overFuel() ?? this.#overTime();
    if (this.#fuel.events >= EVENTS_MAX) this.#fuel.begin();
    if (this.#time.events >= EVENTS_MAX && this.#time.sum >= TIME_MIN_NS) this.#time.begin();
    return over;
  }

  #overFuel(): string | undefined {
    const { events, average } = this.#fuel;
    const { averageFuel } = this.#budget;
    if (events < EVENTS_MIN || average <= averageFuel) return undefined;
    return `used ${Math.round(average)} units of fuel an event on average over ${events} events; its budget is ${averageFuel}`;
  }

  #overTime(): string | undefined {
    const { events, sum, average } = this.#time;
    const { averageNs } = this.#budget;
    if (events < EVENTS_MIN || sum < TIME_MIN_NS || average <= averageNs) return undefined;
    return `took ${Math.round(average)} ns of processor time an event on average over ${events} events; its budget is ${averageNs}`;
  }
}
