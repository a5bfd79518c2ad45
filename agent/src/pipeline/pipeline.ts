// SPDX-License-Identifier: Apache-2.0
// Owns the way of events through the agent: ring → slot → join → filters → survivors → sinks → ring's room given back.
//
// Everything that waits is bounded: batches at the filters by the host's slots, batches at the spool by the buffers
// of survivors. Where all are in use nothing is drained, the ring fills, and what it has no room for the kernel
// counts. The ring's consumer position moves only when the spool has written what was read up to it.
import type { BatchResult, FilterHost, Slot } from '@weir/filter-host';
import { Judgement } from '@weir/filter-host';
import type { RingReader } from '@weir/native';
import { BATCH_HEADER_OFFSETS_AT_AT, LossStage, RECORD_HEADER_CPU_AT } from '@weir/schema';
import type { Accounting } from '../join/accounting.js';
import { type Join, type SlotViews, slotViews } from '../join/join.js';
import { ArchivedProcesses } from './archived.js';
import { Survivors, survivorBytes } from './survivors.js';

/** Where batches of survivors go to be kept. The spool is one. */
export interface BatchStore {
  /**
   * Takes a batch and what the agent has accounted for up to it. The bytes do not change until it answers.
   * @returns false where it was refused and counted as lost by the store
   */
  append(batch: Uint8Array, accounting: Uint8Array): Promise<boolean>;
}

/** Who looks at survivors as they pass: it must be done with the bytes when it returns. */
export type BatchObserver = (batch: Uint8Array) => void;

export interface PipelineOptions {
  readonly ring: Pick<RingReader, 'drainTo' | 'commit' | 'unreadBytes'>;
  readonly host: FilterHost;
  readonly join: Join;
  readonly accounting: Accounting;
  /** Without one, survivors are only observed. */
  readonly store?: BatchStore;
  readonly recordsMax: number;
  readonly batchBytesMax: number;
  /** Room for annotations in a slot, as the host has it. */
  readonly annotationBytesMax: number;
  /** Batches of survivors that may wait for the store. 4 by default. */
  readonly outputsMax?: number;
  /** The boot-time clock, in nanoseconds. */
  readonly nowNs: () => bigint;
  readonly onError: (error: unknown) => void;
}

export interface PipelineStats {
  batches: number;
  records: number;
  kept: number;
  dropped: number;
  heldBack: number;
  alerts: number;
  alertsLost: number;
  annotationsLost: number;
  filterErrors: number;
  discarded: number;
  /** Of processes, that only keep their table whole. */
  withheld: number;
  /** Own records that found no room in the queue. */
  ownLost: number;
  /** Records that were neither judged nor kept: the host was closed under them. */
  unjudged: number;
}

interface Output {
  readonly views: SlotViews;
}

/** A record of the agent's own that waits for a batch. */
interface OwnRecord {
  readonly bytes: Uint8Array;
  readonly onTaken: (() => void) | undefined;
}

/** A batch on its way. */
interface Work {
  readonly slot: Slot;
  readonly views: SlotViews;
  readonly output: Output;
  readonly position: number;
  readonly books: Uint8Array | undefined;
  /** Records of each CPU that were handled with it; those that are withheld are not in it. */
  readonly handled: Float64Array;
  readonly withheld: number;
  released: boolean;
}

/** Few records wait this long after the last batch. */
const LINGER_MS = 50;
/** With this much in the ring nothing waits. */
const LINGER_BYTES = 64 * 1024;
/** Records of the agent's own that wait for a batch. */
const OWN_MAX = 1024;

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #survivors: Survivors;
  /** Processes of which something was given to the store. */
  readonly #archived: ArchivedProcesses | undefined;
  readonly #slots: (SlotViews | undefined)[] = [];
  readonly #outputs: Output[] = [];
  readonly #observers = new Set<BatchObserver>();
  readonly #own: OwnRecord[] = [];
  #pumping = false;
  #lastBatchMs = 0;
  #linger: NodeJS.Timeout | undefined;
  #stopped = false;
  #inFlight = 0;
  #idle: (() => void)[] = [];
  #lastSequence = 0n;
  readonly stats: PipelineStats = {
    batches: 0,
    records: 0,
    kept: 0,
    dropped: 0,
    heldBack: 0,
    alerts: 0,
    alertsLost: 0,
    annotationsLost: 0,
    filterErrors: 0,
    discarded: 0,
    withheld: 0,
    ownLost: 0,
    unjudged: 0,
  };

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#survivors = new Survivors(options.recordsMax, options.batchBytesMax);
    if (options.store !== undefined) this.#archived = new ArchivedProcesses();
    const outputBytes = survivorBytes(options.batchBytesMax, options.annotationBytesMax);
    for (let index = 0; index < (options.outputsMax ?? 4); index++) {
      this.#outputs.push({ views: slotViews(new Uint8Array(new ArrayBuffer(outputBytes))) });
    }
  }

  /** Shows every batch of survivors to an observer, until the returned function is called. */
  observe(observer: BatchObserver): () => void {
    this.#observers.add(observer);
    return () => {
      this.#observers.delete(observer);
    };
  }

  /**
   * Puts a record of the agent's own (a loss, tampering) into the next batch.
   * @param onTaken called when it is in one, before the books are written beside that
   * @returns false where there was no room for it
   */
  say(record: Uint8Array, onTaken?: () => void): boolean {
    if (this.#own.length >= OWN_MAX) {
      this.stats.ownLost++;
      return false;
    }
    this.#own.push({ bytes: record, onTaken });
    this.pump();
    return true;
  }

  /** A number for a record of the agent's own: the boot-time clock, made to rise. */
  nextSequence(): bigint {
    const now = this.#options.nowNs();
    this.#lastSequence = now > this.#lastSequence ? now : this.#lastSequence + 1n;
    return this.#lastSequence;
  }

  /**
   * Called when the ring has something. A few records wait a little for more, since a batch costs the same for one as
   * for a hundred; many go at once.
   */
  ready(): void {
    const nowMs = performance.now();
    const dueMs = this.#lastBatchMs + LINGER_MS;
    if (nowMs >= dueMs || this.#options.ring.unreadBytes() >= LINGER_BYTES) {
      this.pump();
      return;
    }
    this.#linger ??= setTimeout(() => {
      this.#linger = undefined;
      this.pump();
    }, dueMs - nowMs);
  }

  /** Drains as long as there is something and room for it. Called when the ring says so and when room was freed. */
  pump(): void {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    try {
      while (this.#work() && this.#outputs.length > 0 && this.#step()) {
        // Each step takes a slot and a buffer of survivors; both are few.
      }
    } catch (error) {
      this.#options.onError(error);
    } finally {
      this.#pumping = false;
    }
  }

  #work(): boolean {
    return this.#own.length > 0 || this.#options.ring.unreadBytes() > 0;
  }

  #views(slot: Slot): SlotViews {
    let views = this.#slots[slot.index];
    if (views === undefined) {
      views = slotViews(slot.bytes);
      this.#slots[slot.index] = views;
    }
    return views;
  }

  /** Fills one slot and hands it to the filters. False where nothing came of it. */
  #step(): boolean {
    const { host, join, recordsMax, ring, accounting } = this.#options;
    const slot = host.acquire();
    if (slot === undefined) return false;
    const views = this.#views(slot);
    join.begin(views);
    // First: the ring may have more than the batch has room for.
    let own = 0;
    while (own < this.#own.length && join.add((this.#own[own] as OwnRecord).bytes) !== 'full') own++;
    const drained = ring.drainTo(join.handle, recordsMax);
    this.stats.discarded += drained.discarded;
    const joined = join.finish(views);
    for (const { onTaken } of this.#own.splice(0, own)) onTaken?.();
    if (joined === undefined) {
      host.release(slot);
      if (this.#inFlight === 0) ring.commit(drained.position);
      return false;
    }
    this.onJoined?.(views.view);
    this.#archived?.protect(views);
    const output = this.#outputs.pop() as Output;
    this.#inFlight++;
    this.#lastBatchMs = performance.now();
    this.stats.batches++;
    this.stats.records += joined.records;
    this.stats.withheld += joined.withheld;
    // As of this batch: later ones are joined before this one is written.
    const books = this.#options.store === undefined ? undefined : accounting.encode();
    const work: Work = {
      slot,
      views,
      output,
      position: drained.position,
      books,
      handled: accounting.handledInBatch.slice(),
      withheld: joined.withheld,
      released: false,
    };
    host
      .run(slot, joined.byteLength)
      .then((result) => this.#judged(result, work))
      .catch((error: unknown) => {
        this.stats.unjudged += joined.records;
        this.onUnjudged?.(work.released ? output.views.bytes : views.bytes);
        if (!this.#stopped) this.#options.onError(error);
        if (!work.released) host.release(slot);
      })
      .finally(() => {
        this.#outputs.push(output);
        this.#inFlight--;
        if (this.#inFlight === 0) for (const wake of this.#idle.splice(0)) wake();
        this.pump();
      });
    return true;
  }

  async #judged(result: BatchResult, work: Work): Promise<void> {
    const { views, output, position, books } = work;
    const { stats } = this;
    stats.kept += result.kept;
    stats.dropped += result.dropped;
    stats.heldBack += result.heldBack;
    stats.alerts += result.alertCount;
    stats.annotationsLost += result.annotationsLost;
    stats.filterErrors += result.errors;
    if (result.dropped + work.withheld > 0) this.#noteDropped(result, work);
    this.#archived?.note(views, result.slot.verdicts);
    const annotationsLost = this.#survivors.annotationsLost;
    const length = this.#survivors.extract(
      views,
      result.byteLength,
      result.slot.verdicts,
      Judgement.keep,
      result.kept,
      { count: result.alertCount, at: result.alertsAt },
      () => this.nextSequence(),
      output.views,
    );
    stats.alertsLost = this.#survivors.alertsLost;
    stats.annotationsLost += this.#survivors.annotationsLost - annotationsLost;
    this.#options.host.release(result.slot);
    work.released = true;
    const batch = output.views.bytes.subarray(0, length);
    for (const observer of this.#observers) observer(batch);
    const { store, ring } = this.#options;
    if (result.heldBack > 0) this.onLost?.(result.heldBack, LossStage.filter);
    // The room of the slot is free: the next batch can be made while this one is written.
    if (store !== undefined && books !== undefined) {
      this.#options.accounting.encodeDropped(books);
      queueMicrotask(() => this.pump());
      await store.append(batch, books);
    }
    if (!this.#stopped) ring.commit(position);
  }

  /** Shown each batch when it is joined, before filters see it. It must be done with the bytes when it returns. */
  onJoined: ((batch: DataView) => void) | undefined;
  /** Told of records that a filter which fails closed has held back, before what is left goes to the store. */
  onLost: ((count: number, stage: number) => void) | undefined;
  /** Told of a batch that failed: its records are lost. It must be done with the bytes when it returns. */
  onUnjudged: ((batch: Uint8Array) => void) | undefined;

  /** All that was handled with the batch but those that were not dropped: these are few, and are looked at anyhow. */
  #noteDropped(result: BatchResult, { views, handled }: Work): void {
    const { words, view } = views;
    const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true) >> 2;
    const verdicts = result.slot.verdicts;
    for (let index = 0; index < result.recordCount; index++) {
      if (verdicts[index] === Judgement.drop) continue;
      const cpu = words[((words[offsetsAt + index] as number) + RECORD_HEADER_CPU_AT) >> 2] as number;
      if (cpu < handled.length) handled[cpu] = (handled[cpu] as number) - 1;
    }
    for (const [cpu, count] of handled.entries()) {
      if (count > 0) this.#options.accounting.noteDropped(cpu, count);
    }
  }

  /** Waits until nothing is on its way. */
  async drained(): Promise<void> {
    this.pump();
    while (this.#inFlight > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
      this.pump();
    }
  }

  /** Drains no more, and waits for what is on its way. */
  async stop(): Promise<void> {
    clearTimeout(this.#linger);
    while (this.#inFlight > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#stopped = true;
  }
}
