// SPDX-License-Identifier: Apache-2.0
// Owns a filter on the main thread: from its bytes to what the worker is told of it, its row of counters, its status.
import { createHash } from 'node:crypto';
import { type AcceptancePolicy, acceptModule, type FilterBudget } from '@weir/filter-accept';
import { MeterError, meterModule } from '@weir/filter-meter';
import {
  EventKind,
  FILTER_CALL_ANNOTATION_COUNT_AT,
  FILTER_CALL_CURSOR_AT,
  FILTER_CALL_RECORD_COUNT_AT,
} from '@weir/schema';
import { type Budget, budgetOf } from './budget.js';
import { engine } from './engine.js';
import { FilterHostError } from './error.js';
import { Counter, type FilterEntry, quarantineCodes } from './shared.js';
import type { FilterSource, FilterStatus, QuarantineCode } from './types.js';

/** What the host lets filters be and use. */
export interface Allowed {
  readonly acceptance: Partial<AcceptancePolicy> | undefined;
  /** What a filter may use that asks for nothing. */
  readonly budget: Budget;
  readonly budgetCaps: FilterBudget | undefined;
}

export interface Loaded {
  readonly entry: FilterEntry;
  readonly description: Pick<FilterStatus, 'name' | 'version' | 'digest' | 'manifest'>;
  quarantine: { code: QuarantineCode; reason: string } | undefined;
  /** What it would hand over, as it was last told: for a worker that takes the place of one that was stopped. */
  state?: Uint8Array | undefined;
}

/** Rows of counters, shared with the worker. A row is one filter's until it has been replaced. */
export class CounterRows {
  readonly buffer: SharedArrayBuffer;
  readonly #values: Float64Array;
  readonly #free: number[] = [];

  constructor(rows: number) {
    this.buffer = new SharedArrayBuffer(rows * Counter.columns * 8);
    this.#values = new Float64Array(this.buffer);
    for (let row = rows - 1; row >= 0; row--) this.#free.push(row);
  }

  take(): number {
    const row = this.#free.pop();
    if (row === undefined) throw new FilterHostError('too-many', 'no row of counters is free');
    this.#values.fill(0, row * Counter.columns, (row + 1) * Counter.columns);
    return row;
  }

  give(row: number): void {
    this.#free.push(row);
  }

  get(row: number, column: number): number {
    return this.#values[row * Counter.columns + column] as number;
  }

  set(row: number, column: number, value: number): void {
    this.#values[row * Counter.columns + column] = value;
  }

  /** Why the worker has quarantined the filter of a row, if it has. */
  quarantine(row: number): QuarantineCode | undefined {
    return quarantineCodes[this.get(row, Counter.quarantine) - 1];
  }

  setQuarantine(row: number, code: QuarantineCode): void {
    this.set(row, Counter.quarantine, 1 + quarantineCodes.indexOf(code));
    this.set(row, Counter.memoryBytes, 0);
  }
}

const hash = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

const driven = {
  name: 'weir_filter',
  cursorAt: FILTER_CALL_CURSOR_AT,
  recordCountAt: FILTER_CALL_RECORD_COUNT_AT,
};
// The loop writes both as one word.
if (FILTER_CALL_ANNOTATION_COUNT_AT !== FILTER_CALL_CURSOR_AT + 4) {
  throw new Error('the cursor of a call and its count of annotations do not lie side by side');
}

/** The module as it is run: its fuel and its depth of calls counted, its NaNs made canonical, called record by record. */
export function metered(bytes: Uint8Array): Uint8Array {
  try {
    return meterModule(bytes, { driven });
  } catch (error) {
    if (!(error instanceof MeterError)) throw error;
    throw new FilterHostError('refused', `the filter is refused (${error.code}): ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * Checks and compiles a filter. One whose module and configuration are already in force is that one.
 * @throws {FilterHostError} refused
 */
export async function prepare(
  source: FilterSource,
  inForce: readonly Loaded[],
  rows: CounterRows,
  allowed: Allowed,
): Promise<Loaded> {
  const accepted = acceptModule(source.bytes, allowed.acceptance);
  if (!accepted.ok) {
    throw new FilterHostError('refused', `the filter is refused (${accepted.code}): ${accepted.reason}`);
  }
  const { manifest } = accepted;
  const digest = hash(source.bytes);
  const id = source.config === undefined ? digest : `${digest}:${hash(source.config)}`;
  const same = inForce.find((one) => one.entry.id === id);
  if (same !== undefined) return same;
  const budget = budgetOf(manifest.budget, allowed.budget, allowed.budgetCaps);
  const module = await engine.compile(metered(source.bytes));
  return {
    description: { name: manifest.name, version: manifest.version, digest, manifest },
    quarantine: undefined,
    entry: {
      id,
      row: rows.take(),
      name: manifest.name,
      version: manifest.version,
      failClosed: manifest.failMode === 'closed',
      binds: {
        kinds: manifest.binds.kinds.map((kind) => EventKind[kind]),
        policies: manifest.binds.policies,
        hooks: manifest.binds.hooks ?? [],
        labels: manifest.binds.labels ?? [],
      },
      labels: manifest.labels,
      redacts: manifest.redacts,
      budget,
      readsLabels: manifest.reads.includes('labels'),
      config: source.config === undefined ? undefined : new TextEncoder().encode(source.config),
      module,
      quarantine: undefined,
    },
  };
}

export function statusOf(one: Loaded, rows: CounterRows): FilterStatus {
  const counter = (column: number) => rows.get(one.entry.row, column);
  return {
    ...one.description,
    ...(one.quarantine === undefined ? {} : { quarantine: one.quarantine }),
    events: counter(Counter.events),
    kept: counter(Counter.kept),
    dropped: counter(Counter.dropped),
    traps: counter(Counter.traps),
    nanoseconds: counter(Counter.nanoseconds),
    processorNs: counter(Counter.processorNs),
    memoryBytes: counter(Counter.memoryBytes),
    annotations: counter(Counter.annotations),
    alerts: counter(Counter.alerts),
    labelsRefused: counter(Counter.labelsRefused),
    logLinesLost: counter(Counter.logLinesLost),
    fuel: counter(Counter.fuel),
    heldBack: counter(Counter.heldBack),
  };
}
