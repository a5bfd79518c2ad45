// SPDX-License-Identifier: Apache-2.0
// Owns the main-thread side of the filter host: slots, the list of filters, and the life of the worker. A worker that
// is stopped takes no event with it: batches stay in their slots, and the next worker judges them from the start.

import { existsSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import {
  BATCH_HEADER_BYTE_LENGTH_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  FILTERS_MAX,
} from '@weir/schema';
import { defaultBudget, FUEL_PER_EVENT_MAX } from './budget.js';
import { FilterHostError } from './error.js';
import { type Allowed, CounterRows, type Loaded, prepare, statusOf } from './loaded.js';
import {
  type Bounds,
  type ConfigMessage,
  Control,
  Phase,
  Result,
  type WorkerData,
  type WorkerMessage,
} from './shared.js';
import { SlotPool } from './slots.js';
import type {
  BatchResult,
  FilterHostOptions,
  FilterReport,
  FilterSet,
  FilterSource,
  FilterStatus,
  QuarantineCode,
  Slot,
} from './types.js';
import { threadCpuMs, Watchdog } from './watchdog.js';

/** Workers that may end by themselves, one after the other, before all filters are quarantined. */
const CRASHES_MAX = 3;

interface Pending {
  slot: Slot;
  inputBytes: number;
  again: boolean;
  resolve: (result: BatchResult) => void;
  reject: (error: Error) => void;
}

interface Swap {
  number: number;
  loaded: Loaded[];
  postedMs: number;
  compileMs: number;
  resolve: (set: FilterSet) => void;
  reject: (error: Error) => void;
}

/** The error of a list that one of its filters keeps from coming into force. */
function blame(
  swap: Swap | undefined,
  row: number,
  reason: string,
): { readonly name: string; readonly error: FilterHostError } {
  const index = swap?.loaded.findIndex((one) => one.entry.row === row) ?? -1;
  const name = swap?.loaded[index]?.entry.name ?? 'unknown';
  const error = new FilterHostError('load', `filter ${name} ${reason}`);
  if (index >= 0) error.source = index;
  return { name, error };
}

const defaults = {
  slots: 4,
  batchBytesMax: 1024 * 1024,
  annotationBytesMax: 512 * 1024,
  recordsMax: 16384,
  filtersMax: FILTERS_MAX,
  timeLimitMs: 100,
  loadLimitMs: 1000,
  trapsMax: 16,
  trapWindowMs: 60_000,
  logLinesMax: 16,
  ...defaultBudget,
  fuelPerEventMax: FUEL_PER_EVENT_MAX,
  fuelPerLoad: 200_000_000,
};

/** Runs filters, in order, over batches, in one worker. The worker is started with the first filter. */
export class FilterHost {
  readonly #options: Required<Omit<FilterHostOptions, 'acceptance' | 'budgetCaps' | 'onReport'>>;
  readonly #allowed: Allowed;
  readonly #onReport: (report: FilterReport) => void;
  readonly #bounds: Bounds;
  readonly #slots: SlotPool;
  readonly #rows: CounterRows;
  /** Batches under way, in the order in which they were handed over. */
  #pending: Pending[] = [];
  #filters: Loaded[] = [];
  #setNumber = 0;
  #nextSetNumber = 1;
  #swap: Swap | undefined;
  #swapQueue: Promise<unknown> = Promise.resolve();
  #worker: Worker | undefined;
  #control: Int32Array = new Int32Array(0);
  #watchdog: Watchdog | undefined;
  #restarting: Promise<void> | undefined;
  #crashes = 0;
  #closed = false;

  static async create(options: FilterHostOptions = {}): Promise<FilterHost> {
    return new FilterHost(options);
  }

  private constructor(options: FilterHostOptions) {
    const { acceptance, budgetCaps, onReport, ...rest } = options;
    this.#options = { ...defaults, ...rest };
    this.#allowed = { acceptance, budget: this.#options, budgetCaps };
    this.#onReport = onReport ?? (() => undefined);
    for (const [name, value] of Object.entries(this.#options)) {
      if (!Number.isInteger(value) || value < 1) {
        throw new FilterHostError('option', `${name} must be a whole number above 0, not ${String(value)}`);
      }
    }
    this.#bounds = {
      slots: this.#options.slots,
      batchBytesMax: (this.#options.batchBytesMax + 7) & ~7,
      annotationBytesMax: (this.#options.annotationBytesMax + 7) & ~7,
      recordsMax: this.#options.recordsMax,
      filtersMax: this.#options.filtersMax,
      trapsMax: this.#options.trapsMax,
      trapWindowMs: this.#options.trapWindowMs,
      logLinesMax: this.#options.logLinesMax,
      fuelPerLoad: this.#options.fuelPerLoad,
      // The loop within a module counts in 32 bits.
      fuelPerEventMax: Math.min(this.#options.fuelPerEventMax, 2 ** 31 - 1),
      timeLimitMs: this.#options.timeLimitMs,
    };
    this.#slots = new SlotPool(this.#bounds);
    // Rows for the filters in force and for those that are about to replace them.
    this.#rows = new CounterRows(this.#bounds.filtersMax * 2);
  }

  /** Takes a free slot, or undefined where all are in use. */
  acquire(): Slot | undefined {
    this.#open();
    return this.#slots.acquire();
  }

  /** Takes a slot as soon as one is free, first come first served. */
  acquireWhenFree(): Promise<Slot> {
    this.#open();
    return this.#slots.acquireWhenFree();
  }

  /** Gives a slot back. */
  release(slot: Slot): void {
    if (this.#closed) return;
    this.#checkSlot(slot);
    this.#slots.release(slot);
  }

  #checkSlot(slot: Slot): void {
    this.#slots.check(slot);
    if (this.#pending.some((pending) => pending.slot === slot)) {
      throw new FilterHostError('slot', `slot ${slot.index} holds a batch that is being judged`);
    }
  }

  /**
   * Judges the batch that is the first `byteLength` bytes of the slot. Results come in the order of the calls. The
   * batch is trusted to be the agent's own: only its header is looked at.
   */
  run(slot: Slot, byteLength: number): Promise<BatchResult> {
    this.#open();
    this.#checkSlot(slot);
    this.#checkHeader(slot, byteLength);
    if (this.#filters.length === 0 && this.#swap === undefined && this.#pending.length === 0) {
      return Promise.resolve(this.#untouched(slot, byteLength));
    }
    return new Promise((resolve, reject) => {
      const pending: Pending = { slot, inputBytes: byteLength, again: false, resolve, reject };
      this.#pending.push(pending);
      if (this.#restarting === undefined) this.#submit(pending);
    });
  }

  #checkHeader(slot: Slot, byteLength: number): void {
    const { batchBytesMax, recordsMax } = this.#bounds;
    if (byteLength < BATCH_HEADER_BYTES || byteLength > batchBytesMax) {
      throw new FilterHostError(
        'batch',
        `a batch of ${byteLength} bytes; ${BATCH_HEADER_BYTES} to ${batchBytesMax} are allowed`,
      );
    }
    const view = new DataView(slot.bytes.buffer, 0, BATCH_HEADER_BYTES);
    const said = view.getUint32(BATCH_HEADER_BYTE_LENGTH_AT, true);
    if (said !== byteLength)
      throw new FilterHostError('batch', `the batch says ${said} bytes, the caller ${byteLength}`);
    const records = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    if (records > recordsMax)
      throw new FilterHostError('batch', `${records} records; at most ${recordsMax} are allowed`);
    const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
    if (offsetsAt % 4 !== 0 || offsetsAt + records * 4 > byteLength) {
      throw new FilterHostError('batch', `record offsets at ${offsetsAt} lie outside of the batch`);
    }
  }

  #untouched(slot: Slot, byteLength: number): BatchResult {
    const recordCount = new DataView(slot.bytes.buffer).getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    slot.verdicts.fill(0, 0, recordCount);
    return {
      slot,
      byteLength,
      recordCount,
      kept: recordCount,
      dropped: 0,
      heldBack: 0,
      errors: 0,
      annotationsLost: 0,
      alertCount: 0,
      alertsAt: 0,
      filterSet: this.#setNumber,
    };
  }

  #submit(pending: Pending): void {
    const control = this.#control;
    const at = Control.ring + this.#bounds.slots + pending.slot.index * Result.words;
    control[at + Result.inputBytes] = pending.inputBytes;
    control[at + Result.again] = pending.again ? 1 : 0;
    const submitted = Atomics.load(control, Control.submitted);
    control[Control.ring + ((submitted >>> 0) % this.#bounds.slots)] = pending.slot.index;
    Atomics.add(control, Control.submitted, 1);
    this.#wake();
    this.#watchdog?.start();
  }

  #wake(): void {
    Atomics.add(this.#control, Control.wake, 1);
    Atomics.notify(this.#control, Control.wake);
  }

  /**
   * Checks, compiles and puts a list of filters in force at the next batch boundary, all or nothing: where one is
   * refused or cannot be loaded, the list before stays in force. A filter whose module and configuration are as
   * before keeps its instance, its state and its quarantine.
   */
  setFilters(list: readonly FilterSource[]): Promise<FilterSet> {
    this.#open();
    const result = this.#swapQueue.then(() => this.#setFilters(list));
    this.#swapQueue = result.catch(() => undefined);
    return result;
  }

  async #setFilters(list: readonly FilterSource[]): Promise<FilterSet> {
    this.#open();
    if (list.length > this.#bounds.filtersMax) {
      throw new FilterHostError(
        'too-many',
        `${list.length} filters; at most ${this.#bounds.filtersMax} are allowed`,
      );
    }
    const started = performance.now();
    const loaded: Loaded[] = [];
    const taken: number[] = [];
    try {
      for (const source of list) {
        const one = await prepare(source, this.#filters, this.#rows, this.#allowed);
        if (!this.#filters.includes(one)) taken.push(one.entry.row);
        if (loaded.some((other) => other.entry.name === one.entry.name)) {
          throw new FilterHostError(
            'duplicate',
            `two filters are named ${one.entry.name}: their labels could not be told apart`,
          );
        }
        loaded.push(one);
      }
      this.#open();
    } catch (error) {
      for (const row of taken) this.#rows.give(row);
      if (error instanceof FilterHostError && error.code !== 'closed') error.source = loaded.length;
      throw error;
    }
    const compileMs = performance.now() - started;
    await this.#restarting;
    this.#open();
    const before = this.#filters;
    const number = this.#nextSetNumber++;
    if (this.#worker === undefined && loaded.length > 0) this.#startWorker();
    if (this.#worker === undefined) {
      this.#setNumber = number;
      return { number, swapMs: 0, compileMs, filters: [], replaced: [] };
    }
    try {
      return await new Promise<FilterSet>((resolve, reject) => {
        this.#swap = { number, loaded, postedMs: performance.now(), compileMs, resolve, reject };
        this.#postConfig(number, loaded, false);
        this.#watchdog?.start();
      });
    } finally {
      this.#swap = undefined;
      const inForce = new Set(this.#filters);
      for (const one of new Set([...before, ...loaded])) {
        if (!inForce.has(one)) this.#rows.give(one.entry.row);
      }
    }
  }

  #postConfig(number: number, loaded: readonly Loaded[], tolerant: boolean): void {
    const entries = loaded.map((one) => ({
      ...one.entry,
      quarantine: one.quarantine?.code,
      state: tolerant ? one.state : undefined,
    }));
    const message: ConfigMessage = { number, entries, tolerant };
    this.#worker?.postMessage(message);
    Atomics.add(this.#control, Control.configured, 1);
    this.#wake();
  }

  #startWorker(): void {
    const { slots } = this.#bounds;
    const controlBuffer = new SharedArrayBuffer((Control.ring + slots + slots * Result.words) * 4);
    this.#control = new Int32Array(controlBuffer);
    const data: WorkerData = {
      bounds: this.#bounds,
      control: controlBuffer,
      counters: this.#rows.buffer,
      slots: this.#slots.buffers,
    };
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: data,
      name: 'weir-filters',
      // The worker's own heap holds little: batches and filters' memories are outside of it.
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    });
    this.#worker = worker;
    let cpuPath: string | undefined;
    const watchdog = new Watchdog({
      control: this.#control,
      timeLimitMs: this.#options.timeLimitMs,
      loadLimitMs: this.#options.loadLimitMs,
      cpuMs: () => threadCpuMs(cpuPath),
      nowMs: () => performance.now(),
      onRunaway: (row, phase, usedMs, onClockMs) => {
        if (this.#worker === worker) this.#onRunaway(row, phase, usedMs, onClockMs);
      },
    });
    this.#watchdog = watchdog;
    worker.on('message', (message: WorkerMessage) => {
      if (message.type === 'thread') {
        const path = `/proc/self/task/${message.id}/schedstat`;
        if (existsSync(path)) cpuPath = path;
      } else if (this.#worker === worker) this.#onMessage(message);
    });
    // 'error' is followed by 'exit'; both are an end that nobody asked for.
    let failure = 'it ended by itself';
    worker.on('error', (error) => {
      failure = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.#worker === worker && this.#restarting === undefined && !this.#closed) this.#onCrash(failure);
    });
  }

  #loadedOf(row: number): Loaded | undefined {
    const find = (list: readonly Loaded[] | undefined) => list?.find((one) => one.entry.row === row);
    return find(this.#filters) ?? find(this.#swap?.loaded);
  }

  #onMessage(message: WorkerMessage): void {
    if (message.type === 'done') {
      this.#crashes = 0;
      this.#complete(message.completed);
      return;
    }
    if (message.type === 'applied') {
      this.#onApplied(message);
      return;
    }
    if (message.type === 'thread') return;
    const loaded = this.#loadedOf(message.row);
    if (loaded === undefined) return;
    const { name: filter, version } = loaded.entry;
    switch (message.type) {
      case 'state':
        loaded.state = message.state;
        break;
      case 'trap':
        loaded.state = undefined;
        this.#report({
          type: 'trap',
          filter,
          version,
          cause: message.cause,
          reason: message.reason,
          record: message.record,
        });
        break;
      case 'quarantine':
        this.#quarantine(loaded, message.code, message.reason);
        break;
      case 'release':
        loaded.quarantine = undefined;
        loaded.state = undefined;
        this.#report({ type: 'release', filter, version, reason: 'is tried again after its quarantine' });
        break;
      case 'label':
        this.#report({ type: 'label', filter, version, reason: message.reason });
        break;
      case 'log':
        this.#report({ type: 'log', filter, version, level: message.level, text: message.text });
        break;
    }
  }

  #report(report: FilterReport): void {
    this.#onReport(report);
  }

  #quarantine(loaded: Loaded, code: QuarantineCode, reason: string): void {
    loaded.quarantine = { code, reason };
    // It begins anew, if ever.
    loaded.state = undefined;
    const { name: filter, version, failClosed } = loaded.entry;
    this.#report({
      type: 'quarantine',
      filter,
      version,
      code,
      reason,
      failMode: failClosed ? 'closed' : 'open',
    });
  }

  #onApplied(message: { number: number; error?: { row: number; reason: string } }): void {
    const swap = this.#swap;
    if (swap === undefined || swap.number !== message.number) {
      this.#idle();
      return;
    }
    if (message.error !== undefined) {
      swap.reject(blame(swap, message.error.row, `cannot be loaded: ${message.error.reason}`).error);
    } else {
      const swapMs = performance.now() - swap.postedMs;
      // The worker has judged its last batch with them: these counters are final.
      const replaced = this.#filters
        .filter((one) => !swap.loaded.includes(one))
        .map((one) => statusOf(one, this.#rows));
      this.#filters = swap.loaded;
      this.#setNumber = swap.number;
      swap.resolve({
        number: swap.number,
        swapMs,
        compileMs: swap.compileMs,
        filters: this.status(),
        replaced,
      });
    }
    this.#swap = undefined;
    this.#idle();
  }

  #idle(): void {
    if (this.#pending.length === 0 && this.#swap === undefined) this.#watchdog?.stop();
  }

  /**
   * Resolves the first so many batches of this worker. Not all that it has completed by now: what it reported of the later
   * ones is still to be read.
   */
  #complete(completed: number): void {
    const control = this.#control;
    const underWay = (Atomics.load(control, Control.submitted) - completed) | 0;
    while (this.#pending.length > underWay) {
      const pending = this.#pending.shift() as Pending;
      const at = Control.ring + this.#bounds.slots + pending.slot.index * Result.words;
      const word = (index: number) => control[at + index] as number;
      pending.resolve({
        slot: pending.slot,
        byteLength: word(Result.byteLength),
        recordCount: word(Result.recordCount),
        kept: word(Result.kept),
        dropped: word(Result.dropped),
        heldBack: word(Result.heldBack),
        errors: word(Result.errors),
        annotationsLost: word(Result.annotationsLost),
        alertCount: word(Result.alertCount),
        alertsAt: word(Result.alertsAt),
        filterSet: word(Result.filterSet),
      });
    }
    this.#idle();
  }

  #onRunaway(row: number, phase: number, usedMs: number, onClockMs: number): void {
    const limit = phase === Phase.load ? this.#options.loadLimitMs : this.#options.timeLimitMs;
    const what = phase === Phase.load ? 'to load' : 'for one batch';
    const reason = `took ${Math.round(usedMs)} ms of processor time (${Math.round(onClockMs)} ms by the clock) ${what}; its limit is ${limit} ms`;
    this.#restart(() => this.#condemn(row, 'timeout', reason));
  }

  #onCrash(failure: string): void {
    const inFilter = Atomics.load(this.#control, Control.phase) !== Phase.host;
    const row = Atomics.load(this.#control, Control.row);
    this.#crashes++;
    this.#restart(() => {
      const reason = `the worker ended: ${failure}`;
      if (inFilter) return this.#condemn(row, 'crash', reason);
      if (this.#crashes >= CRASHES_MAX) {
        for (const one of this.#filters) {
          if (one.quarantine === undefined) this.#quarantine(one, 'crash', reason);
        }
      }
      return reason;
    });
  }

  /** Quarantines the filter of a row, or refuses the list that would have brought it; returns what to report. */
  #condemn(row: number, code: QuarantineCode, reason: string): string {
    const current = this.#filters.find((one) => one.entry.row === row);
    if (current !== undefined) {
      this.#quarantine(current, code, reason);
      this.#rows.setQuarantine(row, code);
      return `filter ${current.entry.name} ${reason}`;
    }
    const swap = this.#swap;
    this.#swap = undefined;
    const { name, error } = blame(swap, row, reason);
    swap?.reject(error);
    return `filter ${name} ${reason}`;
  }

  #restart(condemn: () => string): void {
    const started = performance.now();
    const worker = this.#worker;
    this.#watchdog?.stop();
    this.#restarting = (async () => {
      await worker?.terminate();
      if (this.#closed) return;
      // What it had completed stands; who was running is known only as long as its control block is this one.
      this.#complete(Atomics.load(this.#control, Control.completed));
      const reason = condemn();
      for (const one of this.#filters) {
        const code = this.#rows.quarantine(one.entry.row);
        if (code !== undefined && one.quarantine === undefined) {
          this.#quarantine(one, code, 'its reason was lost with the worker');
        }
      }
      this.#startWorker();
      this.#postConfig(this.#setNumber, this.#filters, true);
      const swap = this.#swap;
      if (swap !== undefined) this.#postConfig(swap.number, swap.loaded, false);
      for (const pending of this.#pending) {
        pending.again = true;
        this.#restore(pending);
        this.#submit(pending);
      }
      if (this.#pending.length > 0 || swap !== undefined) this.#watchdog?.start();
      this.#restarting = undefined;
      this.#report({ type: 'restart', reason, durationMs: performance.now() - started });
    })();
  }

  /** The header may say the length of a result that was never told. */
  #restore(pending: Pending): void {
    new DataView(pending.slot.bytes.buffer).setUint32(BATCH_HEADER_BYTE_LENGTH_AT, pending.inputBytes, true);
  }

  /** Filters in force, in order, with their counters. */
  status(): FilterStatus[] {
    return this.#filters.map((one) => statusOf(one, this.#rows));
  }

  #open(): void {
    if (this.#closed) throw new FilterHostError('closed', 'the filter host is closed');
  }

  /** Stops the worker. Batches under way are rejected: judge them again, or let them go unjudged. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watchdog?.stop();
    const error = new FilterHostError('closed', 'the filter host was closed');
    for (const pending of this.#pending.splice(0)) pending.reject(error);
    this.#slots.close(error);
    this.#swap?.reject(error);
    await this.#restarting;
    await this.#worker?.terminate();
    this.#worker = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
