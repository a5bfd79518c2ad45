// SPDX-License-Identifier: Apache-2.0
// Owns one filter's instance inside the worker: made anew after a trap, its memory read with suspicion. Addresses
// that come from a filter are compared with its memory before they are used; nothing of the filter is trusted.
import { type Driver, driverOf, type Fuel, fuelOf, runEnd } from '@weir/filter-meter';
import {
  FILTER_CALL_ANNOTATION_COUNT_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_CURSOR_AT,
  FILTER_SPAN_BYTES,
  FILTER_SPAN_PIECE_AT,
  FILTER_SPANS_BYTES,
  FILTER_SPANS_COUNT_AT,
} from '@weir/schema';
import { engine, type WasmMemory } from './engine.js';
import type { FilterEntry } from './shared.js';
import type { TrapCause } from './types.js';

const LOG_BYTES_MAX = 512;
const LEVEL_MAX = 4;
const STATE_PIECES_MAX = 64;

export function align8(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** Bytes that a filter reserves for a batch: the call, the batch, the verdicts. */
export function areaBytes(batchBytes: number, records: number): number {
  return FILTER_CALL_BYTES + align8(batchBytes) + align8(records);
}

export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return 'threw what is no error';
  // The engine's errors say by their name what they are; the host's own say all in words.
  return error.name === 'Error' ? error.message : `${error.name}: ${error.message}`;
}

const text = new TextDecoder();

/** Text of a filter, made harmless: control characters would move the cursor of whoever reads it. */
export function cleanText(bytes: Uint8Array): string {
  return text.decode(bytes).replace(/\p{C}/gu, '\uFFFD');
}

/** What a filter hands over cannot be; it is itself as it was. */
export class StateError extends Error {}

export class FilterInstance {
  /** Address of the area, and how large a batch it takes. */
  area = 0;
  /** Address of the verdicts on the batch that was handed over. */
  verdictsAt = 0;
  /** Fuel that loading it has taken. */
  readonly loadFuel: number;
  bytes: Buffer<ArrayBuffer>;
  words: Int32Array;
  view: DataView;
  /** What the filter logged last at the gravest level, as it wrote it. */
  readonly #lastError = new Uint8Array(LOG_BYTES_MAX);
  #lastErrorBytes = -1;
  /** The record that had been begun when it logged that. */
  #lastErrorAt = 0;
  readonly #memory: WasmMemory;
  readonly #driver: Driver;
  readonly #save: (() => number) | undefined;
  readonly #restore: ((at: number, bytes: number) => number) | undefined;
  readonly #fuel: Fuel;

  /**
   * `fuel` is for all of loading.
   * @throws {Error} whose message says why the filter cannot be used.
   */
  constructor(
    entry: FilterEntry,
    areaSize: number,
    fuel: number,
    onLog: (level: number, bytes: Uint8Array) => void,
  ) {
    let memory: WasmMemory | undefined;
    const log = (level: number, address: number, length: number): void => {
      if (memory === undefined) return;
      const bytes = new Uint8Array(memory.buffer);
      const at = address >>> 0;
      const end = Math.min(at + Math.min(length >>> 0, LOG_BYTES_MAX), bytes.length);
      if (at >= bytes.length) return;
      // As bytes: whether anyone reads it is known only later, and a filter may write many.
      const line = bytes.subarray(at, end);
      const grave = Math.min(Math.max(level, 0), LEVEL_MAX);
      if (grave === LEVEL_MAX) {
        this.#lastError.set(line);
        this.#lastErrorBytes = line.length;
        this.#lastErrorAt = this.at;
      }
      onLog(grave, line);
    };
    const instance = new engine.Instance(entry.module, { weir: { log } });
    const { exports } = instance;
    this.#fuel = fuelOf(instance);
    memory = exports.memory as WasmMemory;
    this.#memory = memory;
    this.#driver = driverOf(instance);
    this.#save = exports.weir_state_save as (() => number) | undefined;
    this.#restore = exports.weir_state_restore as ((at: number, bytes: number) => number) | undefined;
    this.bytes = Buffer.from(memory.buffer);
    this.words = new Int32Array(memory.buffer);
    this.view = new DataView(memory.buffer);
    this.#fuel.refill(BigInt(fuel));
    try {
      this.#load(entry, areaSize, exports);
    } catch (error) {
      if (this.cause === 'trap') {
        // What it said before it trapped tells more than the engine does.
        const trapped = error instanceof Error && error.name === 'RuntimeError';
        throw trapped && this.lastError !== undefined ? new Error(this.lastError, { cause: error }) : error;
      }
      throw new Error(this.limitReached(fuel), { cause: error });
    }
    this.loadFuel = fuel - this.fuelLeft;
  }

  #load(entry: FilterEntry, areaSize: number, exports: Record<string, unknown>): void {
    (exports.weir_start as (() => void) | undefined)?.();
    const version = (exports.weir_abi_version as () => unknown)();
    if (version !== 1) throw new Error(`weir_abi_version says ${String(version)}; its manifest says 1`);
    const reserve = exports.weir_reserve as (bytes: number) => number;
    if (entry.config !== undefined) this.#configure(exports, entry.config, reserve);
    this.area = reserve(areaSize) >>> 0;
    this.refresh();
    if (this.area === 0) throw new Error(`weir_reserve has no room for ${areaSize} bytes`);
    if (this.area % 8 !== 0 || this.area + areaSize > this.bytes.length) {
      throw new Error(`weir_reserve gave ${areaSize} bytes at ${this.area}, which is not within its memory`);
    }
  }

  /** What the filter logged last at the gravest level: the reason of its own abort. */
  get lastError(): string | undefined {
    if (this.#lastErrorBytes < 0) return undefined;
    return cleanText(this.#lastError.subarray(0, this.#lastErrorBytes));
  }

  /** The same, where it did so on the record that was begun last: why that trapped, whatever came before it. */
  get lastErrorOfRecord(): string | undefined {
    return this.#lastErrorAt === this.at ? this.lastError : undefined;
  }

  /** Has `lastError` be that of what comes next. */
  forgetError(): void {
    this.#lastErrorBytes = -1;
  }

  get memoryBytes(): number {
    return this.bytes.length;
  }

  #configure(exports: Record<string, unknown>, config: Uint8Array, reserve: (bytes: number) => number): void {
    const configure = exports.weir_configure as ((at: number, bytes: number) => unknown) | undefined;
    if (configure === undefined) throw new Error('it is given a configuration but exports no weir_configure');
    const at = reserve(config.length) >>> 0;
    this.refresh();
    if (at === 0 || at + config.length > this.bytes.length) {
      throw new Error(`weir_reserve has no room for a configuration of ${config.length} bytes`);
    }
    this.bytes.set(config, at);
    const answer = configure(at, config.length);
    if (answer !== 0) {
      throw new Error(
        `weir_configure refuses its configuration: ${this.lastError ?? `answer ${String(answer)}`}`,
      );
    }
  }

  /**
   * What the filter hands over to its next version, in a copy: nothing where it has nothing, or more than `bytesMax`.
   * @throws {StateError} where it lies; whatever the trap is where it traps
   */
  saveState(bytesMax: number, fuel: number): Uint8Array | undefined {
    if (this.#save === undefined) return undefined;
    this.#fuel.refill(BigInt(fuel));
    const at = this.#save() >>> 0;
    this.refresh();
    if (at === 0) return undefined;
    const outside = () => new StateError('its state lies outside of its memory');
    if (at + FILTER_SPANS_BYTES > this.bytes.length) throw outside();
    const count = this.view.getUint32(at + FILTER_SPANS_COUNT_AT, true);
    if (count > STATE_PIECES_MAX) {
      throw new StateError(`its state has ${count} pieces; at most ${STATE_PIECES_MAX} are allowed`);
    }
    if (at + FILTER_SPANS_BYTES + count * FILTER_SPAN_BYTES > this.bytes.length) throw outside();
    const pieces: Uint8Array[] = [];
    let total = 0;
    for (let index = 0; index < count; index++) {
      const piece = at + FILTER_SPANS_BYTES + index * FILTER_SPAN_BYTES + FILTER_SPAN_PIECE_AT;
      const from = this.view.getUint32(piece, true);
      const length = this.view.getUint32(piece + 4, true);
      if (from + length > this.bytes.length) throw outside();
      total += length;
      if (total > bytesMax) throw new StateError(`its state has more than ${bytesMax} bytes`);
      pieces.push(this.bytes.subarray(from, from + length));
    }
    return Buffer.concat(pieces);
  }

  /** Whether it reads what an older version hands over. */
  get takesState(): boolean {
    return this.#restore !== undefined;
  }

  /**
   * Hands it the state of an older version. Returns false where it does not take it.
   * @throws {Error} where it traps; its state is then worth nothing.
   */
  restoreState(state: Uint8Array, fuel: number): boolean {
    if (this.#restore === undefined) return false;
    this.#fuel.refill(BigInt(fuel));
    this.bytes.set(state, this.area);
    const taken = this.#restore(this.area, state.length);
    this.refresh();
    return taken > 0;
  }

  /** Looks at the memory again, which has another buffer once it has grown. */
  refresh(): void {
    if (this.#memory.buffer !== this.bytes.buffer) {
      this.bytes = Buffer.from(this.#memory.buffer);
      this.words = new Int32Array(this.#memory.buffer);
      this.view = new DataView(this.#memory.buffer);
    }
  }

  /** Makes ready for a run of the loop within the module: what is left of the reserve, and nothing said so far. */
  begin(reserve: number): void {
    this.#driver.reserve.value = reserve;
    this.#driver.spent.value = 0;
    this.view.setUint32(this.area + FILTER_CALL_ANNOTATION_COUNT_AT, 0, true);
  }

  /**
   * Has it judge the records from one to another, each with so much fuel; returns the next. It ends behind a record that
   * something is said of, that took the reserve below 0, or all of them together above `spendMax`, and before `runEnd`.
   * @throws whatever the trap is, on record `at`.
   */
  run(from: number, until: number, fuel: number, share: number, capacity: number, spendMax: number): number {
    const end = Math.min(until, runEnd(from));
    return this.#driver.run(this.area, this.verdictsAt, from, end, fuel, share, capacity, spendMax) >>> 0;
  }

  /**
   * Has the verdict bytes on the records of the last run be what they were behind each record: the filter may have written
   * others since. Returns how many were dropped, and 65,536 for each that it was not called for.
   */
  tellVerdicts(from: number, next: number): number {
    return this.#driver.told(this.verdictsAt, from, next);
  }

  /** The record that was begun last. */
  get at(): number {
    return this.#driver.at.value >>> 0;
  }

  /** What weir_filter returned last. */
  get answer(): number {
    return this.#driver.answer.value;
  }

  get reserve(): number {
    return this.#driver.reserve.value;
  }

  /** Fuel of the calls of the last run that returned. */
  get spent(): number {
    return this.#driver.spent.value;
  }

  /** Whether anything is said of the record that was judged last. */
  get hasSaid(): boolean {
    return this.view.getUint32(this.area + FILTER_CALL_ANNOTATION_COUNT_AT, true) !== 0;
  }

  get cursor(): number {
    return this.view.getUint32(this.area + FILTER_CALL_CURSOR_AT, true);
  }

  /** Fuel left; below 0 where it ran out. */
  get fuelLeft(): number {
    return Number(this.#fuel.remaining);
  }

  /** What a trap came from. */
  get cause(): TrapCause {
    return this.#fuel.exhausted() ?? 'trap';
  }

  /** Says which limit a call ran into that was given this much fuel. */
  limitReached(fuel: number): string {
    return this.cause === 'depth'
      ? 'its calls nest too deeply'
      : `it used up its fuel of ${fuel} units: it runs for ever, or costs too much`;
  }
}
