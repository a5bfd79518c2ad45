// SPDX-License-Identifier: Apache-2.0
// Owns the losses that the numbers of events do not show: of those that had come and were counted as handled (refused
// by the spool, held back by a filter, given up by the upload), and of those that were never numbered.
//
// Each is *owed* until a batch that holds its loss record is stored. What is owed stands in the books beside every
// batch, so that after a kill the next agent tells of it. The books of a batch say what was owed once that batch is
// stored: neither what it tells itself, nor what befell a batch after it. Therefore all goes one after the other, in
// the order of the batches.
//
// A number that never came (ring_full, agent_down) is owed by the books of the CPUs (join/accounting.ts), until its
// record is in a batch. Where that batch is refused, it is owed here.
import { LossStage, lossStageNames } from '@weir/schema';
import { type Contents, contentsOf, type ToldLoss } from './spool/index.js';

const STAGES = Object.keys(lossStageNames).length;
const MAGIC = 0x3273_6f6c;
/**
 * Behind the books of the CPUs: f64 scratch_busy, f64 throttled, f64 given up, f64 owed for each stage, u32 length of
 * this, u32 magic.
 */
const FIXED = 3;
const BYTES = (FIXED + STAGES) * 8 + 8;
/** With more CPUs the spool would not take the books. */
export const BOOKS_CPUS_MAX = 2040;

/** Counters of the kernel that count losses: up to where these are owed or told of. */
export type CountedLosses = Pick<LossBooks, 'scratchBusy' | 'throttled'>;

export interface LossBooks {
  /** By stage: lost, and not told of by any batch that is stored. */
  readonly owed: readonly number[];
  /** Up to here the kernel's counter scratch_busy is owed or told of. */
  readonly scratchBusy: number;
  /** Up to here the kernel's counter throttled is. */
  readonly throttled: number;
  /** Up to here the events of segments that the spool gave up are. */
  readonly givenUp: number;
}

const noBooks: LossBooks = { owed: new Array(STAGES).fill(0), scratchBusy: 0, throttled: 0, givenUp: 0 };

function joinBooks(accounting: Uint8Array, books: LossBooks): Uint8Array {
  const bytes = new Uint8Array(accounting.length + BYTES);
  bytes.set(accounting);
  const view = new DataView(bytes.buffer, accounting.length);
  view.setFloat64(0, books.scratchBusy, true);
  view.setFloat64(8, books.throttled, true);
  view.setFloat64(16, books.givenUp, true);
  for (let stage = 0; stage < STAGES; stage++)
    view.setFloat64((FIXED + stage) * 8, books.owed[stage] ?? 0, true);
  view.setUint32(BYTES - 8, BYTES, true);
  view.setUint32(BYTES - 4, MAGIC, true);
  return bytes;
}

/** Parts what was kept beside a batch: the books of the CPUs, and those of the losses. */
export function splitBooks(bytes: Uint8Array | undefined): {
  accounting: Uint8Array | undefined;
  losses: LossBooks;
} {
  const none = { accounting: bytes, losses: noBooks };
  if (bytes === undefined || bytes.length < 8) return none;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(bytes.length - 8, true);
  if (view.getUint32(bytes.length - 4, true) !== MAGIC || length < FIXED * 8 + 8 || length > bytes.length)
    return none;
  const at = bytes.length - length;
  const number = (index: number) => {
    const value = view.getFloat64(at + index * 8, true);
    return Number.isSafeInteger(value) && value > 0 ? value : 0;
  };
  // An agent of another version may know more stages, or fewer.
  const stages = Math.min(STAGES, Math.floor((length - FIXED * 8 - 8) / 8));
  return {
    accounting: bytes.subarray(0, at),
    losses: {
      owed: Array.from({ length: stages }, (_, stage) => number(FIXED + stage)),
      scratchBusy: number(0),
      throttled: number(1),
      givenUp: number(2),
    },
  };
}

export interface LossesOptions {
  /** The spool; without one nothing is owed: who looks is told once. */
  readonly store?: { append(batch: Uint8Array, accounting: Uint8Array): Promise<boolean> };
  /** Puts a loss record into the next batch. Its number, or undefined where there was no room for it. */
  readonly say: (stage: number, count: number, onTaken: () => void) => bigint | undefined;
  /** Counts a loss, for status and metrics. */
  readonly note: (stage: number, count: number) => void;
  /** Counts records of the agent's own, other than of losses, that are lost with a batch. */
  readonly noteOwn: (count: number) => void;
  readonly onError: (error: unknown) => void;
}

export class Losses {
  readonly #options: LossesOptions;
  readonly #owed = new Float64Array(STAGES);
  /** Of what is owed: no record of it is on its way. */
  readonly #unsaid = new Float64Array(STAGES);
  /** Stages whose record waits for a batch. */
  readonly #queued = new Set<number>();
  /** Loss records that are in a batch, or wait for one. */
  #saidCount = 0;
  /** Of these, those whose loss the books of the CPUs owe. */
  readonly #numbers = new Set<bigint>();
  #order: Promise<unknown> = Promise.resolve();
  #scratchBusy = 0;
  #throttled = 0;
  #givenUp = 0;

  constructor(options: LossesOptions) {
    this.#options = options;
  }

  /** Goes on from an earlier agent's books: what it owed is told of by this one. */
  resume(books: LossBooks, counted: CountedLosses, givenUp: number): void {
    this.#scratchBusy = counted.scratchBusy;
    this.#throttled = counted.throttled;
    this.#givenUp = books.givenUp;
    for (const [stage, count] of books.owed.entries()) if (count > 0) this.#owe(stage, count);
    this.gaveUp(givenUp);
  }

  #owe(stage: number, count: number): void {
    this.#options.note(stage, count);
    this.#owed[stage] = (this.#owed[stage] as number) + count;
    this.#unsaid[stage] = (this.#unsaid[stage] as number) + count;
  }

  /** Takes a loss, after what befell the batches before it, and tells of it. */
  lose(stage: number, count: number): void {
    void this.#inOrder(() => this.#owe(stage, count)).then(() => this.tell());
  }

  /** Takes what the kernel's counter has counted since it was last looked at. */
  sawScratchBusy(total: number): void {
    if (total <= this.#scratchBusy) return;
    this.#owe(LossStage.scratchBusy, total - this.#scratchBusy);
    this.#scratchBusy = total;
    this.tell();
  }

  /** As `sawScratchBusy`, of the counter of what throttles held back. */
  sawThrottled(total: number): void {
    if (total <= this.#throttled) return;
    this.#owe(LossStage.throttled, total - this.#throttled);
    this.#throttled = total;
    this.tell();
  }

  /** Takes what the spool has given up since it was last looked at. */
  gaveUp(total: number): void {
    if (total <= this.#givenUp) return;
    this.#owe(LossStage.upload, total - this.#givenUp);
    this.#givenUp = total;
    this.tell();
  }

  /** Tells of numbers that never came; the books of the CPUs owe them. */
  tellNumbers(stage: number, count: number, onTaken: () => void): void {
    this.#options.note(stage, count);
    const sequence = this.#options.say(stage, count, onTaken);
    if (sequence === undefined || this.#options.store === undefined) return;
    this.#saidCount++;
    this.#numbers.add(sequence);
  }

  /** Sends a record of each loss that is owed and of which none is on its way. One a stage waits at a time. */
  tell(): void {
    for (let stage = 0; stage < STAGES; stage++) {
      const count = this.#unsaid[stage] as number;
      if (count === 0 || this.#queued.has(stage)) continue;
      this.#queued.add(stage);
      const sequence = this.#options.say(stage, count, () => this.#queued.delete(stage));
      if (sequence === undefined) {
        this.#queued.delete(stage);
        continue;
      }
      this.#unsaid[stage] = 0;
      if (this.#options.store === undefined) this.#owed[stage] = 0;
      else this.#saidCount++;
    }
  }

  /** Whether something is owed of which no record is on its way. */
  get untold(): boolean {
    return this.#unsaid.some((count) => count > 0);
  }

  /** Stores a batch, with the books beside it. Never throws. */
  append(batch: Uint8Array, accounting: Uint8Array): Promise<boolean> {
    return this.#inOrder(async () => {
      // Few batches hold a record of a loss; the others are not looked through.
      const told = this.#saidCount > 0 ? contentsOf(batch).told : [];
      const owed = this.#owed.slice();
      for (const { sequence, stage, count } of told) {
        if (!this.#numbers.has(sequence)) owed[stage] = Math.max(0, (owed[stage] ?? 0) - count);
      }
      const books = {
        owed: [...owed],
        scratchBusy: this.#scratchBusy,
        throttled: this.#throttled,
        givenUp: this.#givenUp,
      };
      this.#refusedAs = LossStage.sink;
      const stored = await this.#options.store
        ?.append(batch, joinBooks(accounting, books))
        .catch((error: unknown) => this.#options.onError(error));
      if (stored === true) {
        for (const loss of told) this.#settled(loss, true);
        return true;
      }
      // It is told of at the next `tell`: a record on its own, at once, would be refused as well.
      this.#lostContents(contentsOf(batch), this.#refusedAs);
      return false;
    });
  }

  #refusedAs: number = LossStage.sink;

  /** The store says why it refuses the batch that it was given. */
  refused(stage: number): void {
    this.#refusedAs = stage;
  }

  /** Takes all of a batch as lost. */
  lostBatch(batch: Uint8Array, stage: number): void {
    // Now: its memory is used again.
    const contents = contentsOf(batch);
    void this.#inOrder(() => this.#lostContents(contents, stage));
  }

  #lostContents({ numbered, own, told }: Contents, stage: number): void {
    if (numbered > 0) this.#owe(stage, numbered);
    if (own > 0) this.#options.noteOwn(own);
    for (const loss of told) this.#settled(loss, false);
  }

  /** A record of a loss has arrived, or has gone with its batch and is to be told again. */
  #settled({ sequence, stage, count }: ToldLoss, stored: boolean): void {
    const add = (to: Float64Array, by: number) => {
      to[stage] = Math.max(0, (to[stage] as number) + by);
    };
    this.#saidCount--;
    const isNumber = this.#numbers.delete(sequence);
    if (stored && !isNumber) add(this.#owed, -count);
    if (stored) return;
    if (isNumber) add(this.#owed, count);
    add(this.#unsaid, count);
  }

  /** Waits until all that was begun is done. */
  async idle(): Promise<void> {
    await this.#order;
  }

  #inOrder<T>(work: () => T | Promise<T>): Promise<T> {
    const result = this.#order.then(work);
    this.#order = result.catch(() => undefined);
    return result;
  }
}
