// SPDX-License-Identifier: Apache-2.0
// Owns the public types of the filter host.
import type { AcceptancePolicy, FilterBudget, FilterManifest } from '@weir/filter-accept';

/** A filter to run: its module, and the JSON that configures it (UTF-8 or text), where it takes one. */
export interface FilterSource {
  bytes: Uint8Array;
  config?: string;
}

export interface FilterHostOptions {
  /** Batches that can be under way at once. Default 4. */
  slots?: number;
  /** Largest batch. Default 1 MiB. */
  batchBytesMax?: number;
  /** Room for what filters say of one batch. Default 512 KiB. */
  annotationBytesMax?: number;
  /** Most records of a batch. Default 16384. */
  recordsMax?: number;
  /** Most filters. Default 128. */
  filtersMax?: number;
  /**
   * Processor time in ms that a filter may take for one batch beyond the average of its events, and without coming back to
   * the host, which stops the worker. Default 100.
   */
  timeLimitMs?: number;
  /** Time for loading one filter (start, configure, reserve), in ms. Default 1000. */
  loadLimitMs?: number;
  /**
   * Fuel of an event. A unit is about an instruction; an event that uses more traps, at the same point on every machine.
   * Default 1,000,000. Of this and the two that follow, a manifest may ask for more or less: see `budgetCaps`.
   */
  fuelPerEvent?: number;
  /** Fuel that an event has at most, with what its long texts allow for. Default 50,000,000. */
  fuelPerEventMax?: number;
  /** Average fuel of an event; a filter that has used too much beyond it is quarantined. Default 20,000. */
  averageFuel?: number;
  /** The same for processor time in ns, which is not the same on every machine. Default 20,000. */
  averageNs?: number;
  /** The most that a manifest may ask for, by field; a filter that asks for more is refused. */
  budgetCaps?: FilterBudget;
  /** Fuel for loading one filter. Default 200,000,000. */
  fuelPerLoad?: number;
  /** Traps within the window after which a filter is quarantined. Default 16. */
  trapsMax?: number;
  /** Length of that window in ms of event time. Default 60000. */
  trapWindowMs?: number;
  /** Log lines that a filter may write for one batch; the rest is counted. Default 16. */
  logLinesMax?: number;
  acceptance?: Partial<AcceptancePolicy>;
  /** Called for each report, outside of the path of events. */
  onReport?: (report: FilterReport) => void;
}

/** One buffer for one batch. It is the caller's between `acquire` and `run`, and between the result and `release`. */
export interface Slot {
  readonly index: number;
  /** Shared memory: the batch from offset 0 on, then, once judged, its annotations. */
  readonly bytes: Uint8Array;
  /** One byte a record, valid once judged: 0 keep, 1 drop, 2 held back (see `Judgement`). */
  readonly verdicts: Uint8Array;
}

/** Values of the bytes in `Slot.verdicts`. Only `keep` goes on. */
export const Judgement = {
  keep: 0,
  /** A filter dropped it. */
  drop: 1,
  /** A quarantined filter that fails closed is bound to it: count it as lost, stage `filter`. */
  heldBack: 2,
} as const;

export interface BatchResult {
  slot: Slot;
  /** Bytes of the batch with its annotations; also written into its header. */
  byteLength: number;
  recordCount: number;
  kept: number;
  dropped: number;
  heldBack: number;
  /** Records on which a filter trapped; they are kept and carry the flag filter_error. */
  errors: number;
  /** Annotations that did not fit into the slot. */
  annotationsLost: number;
  /** Derived alerts: `alertCount` pairs of u32 (index of the record that caused it, offset of its annotation), at `alertsAt`. */
  alertCount: number;
  alertsAt: number;
  /** Number of the filter set that judged it; see `setFilters`. */
  filterSet: number;
}

export type QuarantineCode =
  /** It took longer than its limit for a batch. */
  | 'timeout'
  /** Its events cost more on average, in fuel or in time, than its budget. */
  | 'budget'
  /** It trapped too often. */
  | 'traps'
  /** It could not be started, configured, or given room for a batch. */
  | 'load'
  /** It answered with addresses, counts or verdicts that cannot be. */
  | 'lying'
  /** The worker ended by itself while it ran, or did so again and again. */
  | 'crash';

/** What ended a filter's call: what it did itself, or that its fuel or its depth of calls was used up. */
export type TrapCause = 'trap' | 'fuel' | 'depth';

export type FilterReport =
  | { type: 'trap'; filter: string; version: string; cause: TrapCause; reason: string; record: number }
  | {
      type: 'quarantine';
      filter: string;
      version: string;
      code: QuarantineCode;
      reason: string;
      failMode: 'open' | 'closed';
    }
  /** A quarantine that ends by itself has ended: the filter judges again, with fresh state. */
  | { type: 'release'; filter: string; version: string; reason: string }
  | { type: 'label'; filter: string; version: string; reason: string }
  | { type: 'log'; filter: string; version: string; level: number; text: string }
  /** The worker was stopped (or ended by itself) and another one started: filters go on from what they last handed over. */
  | { type: 'restart'; reason: string; durationMs: number };

export interface FilterStatus {
  name: string;
  version: string;
  /** SHA-256 of the module, hexadecimal. */
  digest: string;
  manifest: FilterManifest;
  quarantine?: { code: QuarantineCode; reason: string };
  /** Records judged by it. */
  events: number;
  kept: number;
  dropped: number;
  traps: number;
  /** Time in the filter by the clock, copy of the batch included. */
  nanoseconds: number;
  /** Of it, processor time. */
  processorNs: number;
  memoryBytes: number;
  annotations: number;
  alerts: number;
  /** Labels that its manifest does not declare. */
  labelsRefused: number;
  /** Log lines beyond its allowance. */
  logLinesLost: number;
  /** Fuel that it has used on batches. */
  fuel: number;
  /** Records that it has held back: it fails closed, and is in quarantine. */
  heldBack: number;
}

export interface FilterSet {
  /** Rises with each set; `BatchResult.filterSet` says under which a batch was judged. */
  number: number;
  /** From the hand-over to the worker to its being in force, in ms. Compilation is not in it. */
  swapMs: number;
  compileMs: number;
  filters: FilterStatus[];
  /** Those that are no longer in force, with their last counters. */
  replaced: FilterStatus[];
}

/** Stable codes of `FilterHostError`. */
export type FilterHostErrorCode =
  | 'option'
  | 'load'
  | 'refused'
  | 'duplicate'
  | 'too-many'
  | 'closed'
  | 'slot'
  | 'batch'
  | 'worker';
