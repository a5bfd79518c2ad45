// SPDX-License-Identifier: Apache-2.0
// Owns the memory and the messages that the main thread and the worker share.
//
// Main writes a batch into a slot, puts the slot's index into the ring of submissions, counts SUBMITTED up and wakes
// the worker by WAKE. The worker judges, writes the slot's result words, counts COMPLETED up and posts a message that says
// the count: as fast as Atomics.waitAsync (70 against 78 µs there and back), in order with its reports, so that whoever is
// told of a batch was told before of what befell the filters in it, and it keeps the process alive.
import type { Binds } from './binding.js';
import type { Budget } from './budget.js';
import type { WasmModule } from './engine.js';
import type { QuarantineCode, TrapCause } from './types.js';

/** Words of the control block (Int32). */
export const Control = {
  /** Changes whenever there is something for the worker. */
  wake: 0,
  submitted: 1,
  completed: 2,
  /** Configurations posted. */
  configured: 3,
  /** What the worker does: see Phase. */
  phase: 4,
  /** Row of the filter that it does it with. */
  row: 5,
  /** Counts the calls into filters, so that two looks at the same call can be told from looks at two. */
  calls: 6,
  ring: 16,
} as const;

export const Phase = { host: 0, load: 1, filter: 2 } as const;

/** Words of a slot's result. */
export const Result = {
  byteLength: 0,
  recordCount: 1,
  kept: 2,
  dropped: 3,
  heldBack: 4,
  errors: 5,
  annotationsLost: 6,
  alertCount: 7,
  alertsAt: 8,
  filterSet: 9,
  /** Main: bytes of the batch as it was handed over. */
  inputBytes: 10,
  /** Main: 1 where the batch may carry marks of a run that was broken off. */
  again: 11,
  words: 16,
} as const;

/** Columns of a filter's row of counters (Float64). */
export const Counter = {
  events: 0,
  kept: 1,
  dropped: 2,
  traps: 3,
  nanoseconds: 4,
  memoryBytes: 5,
  annotations: 6,
  alerts: 7,
  labelsRefused: 8,
  logLinesLost: 9,
  /** 1 + index in quarantineCodes, 0 where it is not quarantined. Survives a worker whose messages were lost. */
  quarantine: 10,
  fuel: 11,
  heldBack: 12,
  processorNs: 13,
  columns: 14,
} as const;

export const quarantineCodes: readonly QuarantineCode[] = [
  'timeout',
  'traps',
  'load',
  'lying',
  'crash',
  'budget',
];

export interface Bounds {
  slots: number;
  batchBytesMax: number;
  annotationBytesMax: number;
  recordsMax: number;
  filtersMax: number;
  trapsMax: number;
  trapWindowMs: number;
  logLinesMax: number;
  fuelPerLoad: number;
  fuelPerEventMax: number;
  timeLimitMs: number;
}

/** What the worker is started with. */
export interface WorkerData {
  bounds: Bounds;
  control: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  slots: readonly SharedArrayBuffer[];
}

/** A filter as the worker is told of it. */
export interface FilterEntry {
  /** Digest of module and configuration: the same id keeps its instance and state. */
  id: string;
  row: number;
  name: string;
  version: string;
  failClosed: boolean;
  binds: Binds;
  labels: readonly string[];
  redacts: readonly string[];
  readsLabels: boolean;
  budget: Budget;
  config: Uint8Array | undefined;
  module: WasmModule;
  /** Why it is in quarantine from the start. */
  quarantine: QuarantineCode | undefined;
  /** After a restart: its state, as the worker before was last told it. */
  state?: Uint8Array | undefined;
}

export interface ConfigMessage {
  number: number;
  entries: readonly FilterEntry[];
  /** After a restart: what cannot be loaded is quarantined. Otherwise the whole set is refused. */
  tolerant: boolean;
}

export type WorkerMessage =
  /** Which thread it is, for its processor time. */
  | { type: 'thread'; id: string }
  /** `completed` as it was then: later batches have reports of their own on the way. */
  | { type: 'done'; completed: number }
  | { type: 'applied'; number: number; error?: { row: number; reason: string } }
  | { type: 'trap'; row: number; cause: TrapCause; reason: string; record: number }
  | { type: 'quarantine'; row: number; code: QuarantineCode; reason: string }
  /** Its quarantine is over. */
  | { type: 'release'; row: number }
  /** What it would hand over, if anything: kept in case the worker has to be stopped. */
  | { type: 'state'; row: number; state: Uint8Array | undefined }
  | { type: 'label'; row: number; reason: string }
  | { type: 'log'; row: number; level: number; text: string };

export function slotBytes(bounds: Bounds): { annotations: number; verdicts: number; total: number } {
  const annotations = bounds.batchBytesMax;
  const verdicts = annotations + bounds.annotationBytesMax;
  return { annotations, verdicts, total: verdicts + bounds.recordsMax };
}
