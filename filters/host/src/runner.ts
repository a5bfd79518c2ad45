// SPDX-License-Identifier: Apache-2.0
// Owns one filter's turn at a batch: which records it judges, its calls, what of its answers is believed, and what
// happens when it traps or lies. What becomes of an event hangs on the events before it alone, not on how they fall into
// batches: each has fuel of its own, and a trap, a lie or an empty reserve takes effect behind its event. Hot: a filter
// without bindings costs one copy of the batch, the loop within the module (see the meter's driver), and a pass over the
// verdict bytes.
import {
  BATCH_HEADER_BYTE_LENGTH_AT,
  FILTER_CALL_ANNOTATIONS_AT_AT,
  FILTER_CALL_BATCH_AT_AT,
  FILTER_CALL_BATCH_BYTES_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_RESERVED_AT,
  FILTER_CALL_VERDICTS_AT_AT,
  FilterAnswer,
  FilterMark,
} from '@weir/schema';
import { AnswerReader, Fault, Lie } from './answer.js';
import { BackOff } from './back-off.js';
import { type BatchView, State } from './batch-view.js';
import { Binding } from './binding.js';
import { AverageTime, FUEL_PER_LONG_BYTE, NS_PER_LONG_BYTE, Reserve } from './budget.js';
import { copyBytes } from './copy.js';
import { align8, areaBytes, cleanText, describeError, FilterInstance, StateError } from './instance.js';
import type { Notes } from './notes.js';
import { Redactor } from './redaction.js';
import { EACH_BYTE, type Scratch, within } from './scratch.js';
import {
  type Bounds,
  Counter,
  type FilterEntry,
  Phase,
  quarantineCodes,
  type WorkerMessage,
} from './shared.js';
import { Judgement, type QuarantineCode, type TrapCause } from './types.js';

/** What the runner needs of the worker around it. */
export interface RunnerContext {
  bounds: Bounds;
  counters: Float64Array;
  post(message: WorkerMessage): void;
  /** Says to the main thread what runs, so that its watchdog can tell. */
  enter(phase: number, row: number): void;
  leave(): void;
  nowNs(): number;
  /** Processor time of what has just ended and took so long by the clock; see ProcessorShare. */
  processorNs(tookNs: number, nowNs: number): number;
}

/** Fuel after which the loop within the module is left, so that time is looked at: at most some 10 ms. */
const SLICE_FUEL = 20_000_000;
/** Fuel for telling its state between two batches: a list of places in memory, which is some hundred units. */
const SAVE_FUEL = 1_000_000;

export class FilterRunner {
  readonly entry: FilterEntry;
  quarantined: boolean;
  readonly #context: RunnerContext;
  readonly #row: number;
  readonly #areaSize: number;
  readonly #binding: Binding;
  readonly #marks: Uint8Array;
  readonly #scratch: Scratch;
  /** Whether it judges all records of the batch, and may drop each. */
  #decidesAll = false;
  /** Drops of this turn so far. */
  #dropCount = 0;
  readonly #answers: AnswerReader;
  /** Masks what the filter wants masked; none where its manifest declares no field. */
  readonly #redactor: Redactor | undefined;
  /** Bytes of the batch as it is shown to the filter: with what others said, where it reads that. */
  #shownBytes = 0;
  #instance: FilterInstance | undefined;
  #averageTime: AverageTime;
  /** Fuel beyond the average that its events may still cost. */
  #reserve: Reserve;
  readonly #backOff = new BackOff();
  #trapTimesMs: number[] = [];
  /** Whether it is asked for its state between batches: not again once that failed. */
  #tellsState = true;
  /** Whether handing over its state trapped: what that left half done is worth nothing. */
  #halfDone = false;
  #logLinesLeft: number;

  constructor(entry: FilterEntry, scratch: Scratch, context: RunnerContext) {
    this.entry = entry;
    this.quarantined = entry.quarantine !== undefined;
    if (entry.quarantine !== undefined) this.#backOff.begin(entry.quarantine, undefined);
    this.#context = context;
    this.#row = entry.row * Counter.columns;
    this.#marks = scratch.marks;
    this.#scratch = scratch;
    const { annotationBytesMax, batchBytesMax, recordsMax } = context.bounds;
    this.#areaSize = areaBytes(batchBytesMax + (entry.readsLabels ? annotationBytesMax : 0), recordsMax);
    this.#averageTime = new AverageTime(entry.budget);
    this.#reserve = new Reserve(entry.budget);
    if (entry.redacts.length > 0) this.#redactor = new Redactor(entry.redacts);
    this.#logLinesLeft = context.bounds.logLinesMax;
    this.#binding = new Binding(entry.binds);
    this.#answers = new AnswerReader(entry, {
      redactor: this.#redactor,
      count: (column, by) => this.#count(column, by),
      post: (message) => context.post(message),
      spend: (fuel) => this.#reserve.take(fuel, 0),
    });
  }

  /** Makes the instance. @throws {Error} that says why it cannot be used. */
  load(): void {
    this.#context.enter(Phase.load, this.entry.row);
    try {
      const { fuelPerLoad } = this.#context.bounds;
      this.#instance = new FilterInstance(this.entry, this.#areaSize, fuelPerLoad, this.#onLog);
      this.#context.counters[this.#row + Counter.memoryBytes] = this.#instance.memoryBytes;
    } catch (error) {
      throw new Error(describeError(error), { cause: error });
    } finally {
      this.#context.leave();
    }
  }

  /**
   * Takes over the state of the version before, where that has some and this one reads it. Whatever goes wrong, this
   * one begins with fresh state, and it is logged.
   */
  takeOver(old: FilterRunner): void {
    const from = old.#instance;
    if (from === undefined || this.#instance?.takesState !== true) return;
    const { fuelPerLoad } = this.#context.bounds;
    const say = (level: number, text: string) =>
      this.#context.post({ type: 'log', row: this.entry.row, level, text });
    const which = `version ${old.entry.version}`;
    let state: Uint8Array | undefined;
    this.#context.enter(Phase.load, this.entry.row);
    try {
      state = from.saveState(this.#areaSize, fuelPerLoad);
      if (state === undefined) return;
      const taken = this.#instance.restoreState(state, fuelPerLoad);
      say(1, taken ? `took over the state of ${which}` : `does not read the state of ${which}`);
    } catch (error) {
      const failed = state === undefined ? from : this.#instance;
      const reason = failed.cause === 'trap' ? describeError(error) : failed.limitReached(fuelPerLoad);
      say(2, `does not take over the state of ${which}: ${reason}`);
      if (state !== undefined) this.load();
      else if (!(error instanceof StateError)) old.#halfDone = true;
    } finally {
      this.#context.leave();
    }
  }

  /**
   * Gives the main thread what the filter would hand over to its next version: it outlives the worker. `timeMs` is that of
   * the last event.
   */
  checkpoint(timeMs: number): void {
    const instance = this.#instance;
    if (this.quarantined || !this.#tellsState || instance?.takesState !== true) return;
    const start = this.#context.nowNs();
    const fuel = Math.min(SAVE_FUEL, this.#context.bounds.fuelPerLoad);
    let state: Uint8Array | undefined;
    let failure: unknown;
    this.#context.enter(Phase.load, this.entry.row);
    try {
      state = instance.saveState(this.#areaSize, fuel);
    } catch (error) {
      failure = error;
    } finally {
      this.#context.leave();
    }
    // Not out of its reserve: where batches end is not to stop a filter.
    this.#count(Counter.fuel, Math.min(fuel, fuel - instance.fuelLeft));
    this.#context.post({ type: 'state', row: this.entry.row, state });
    if (failure !== undefined) this.#cannotTell(instance, failure, fuel, timeMs);
    const end = this.#context.nowNs();
    this.#count(Counter.nanoseconds, end - start);
    this.#count(Counter.processorNs, this.#context.processorNs(end - start, end));
  }

  /** Telling its state failed: it is not asked again, and begins anew where it trapped. */
  #cannotTell(instance: FilterInstance, failure: unknown, fuel: number, timeMs: number): void {
    this.#tellsState = false;
    const reason = instance.cause === 'trap' ? describeError(failure) : instance.limitReached(fuel);
    const trapped = !(failure instanceof StateError);
    const text = `cannot tell its state${trapped ? ', and begins anew' : ''}: ${reason}`;
    this.#context.post({ type: 'log', row: this.entry.row, level: 2, text });
    if (!trapped) return;
    this.#count(Counter.traps, 1);
    if (this.#tooManyTraps(timeMs)) {
      this.#quarantineForTraps(`telling its state: ${reason}`, timeMs);
      return;
    }
    this.#halfDone = true;
    this.recover();
  }

  #quarantineForTraps(reason: string, timeMs: number): void {
    const often = `trapped ${this.#trapTimesMs.length} times within ${this.#context.bounds.trapWindowMs} ms`;
    this.quarantine('traps', `${often}, the last time on: ${reason}`, timeMs);
  }

  /** Has it begin anew, where a trap in handing over its state left it half changed. */
  recover(): void {
    if (!this.#halfDone) return;
    this.#halfDone = false;
    this.#tellsState = false;
    this.#context.post({ type: 'state', row: this.entry.row, state: undefined });
    this.#reload(undefined);
  }

  #reload(timeMs: number | undefined): void {
    try {
      this.load();
    } catch (error) {
      this.quarantine('load', `could not be started again after a trap: ${describeError(error)}`, timeMs);
    }
  }

  /** Takes what it was when the worker before was last asked; whatever goes wrong, it begins with fresh state. */
  resume(state: Uint8Array): void {
    this.#context.enter(Phase.load, this.entry.row);
    try {
      this.#instance?.restoreState(state, this.#context.bounds.fuelPerLoad);
    } catch {
      this.load();
    } finally {
      this.#context.leave();
    }
  }

  #onLog = (level: number, bytes: Uint8Array): void => {
    if (this.#logLinesLeft <= 0) {
      this.#count(Counter.logLinesLost, 1);
      return;
    }
    this.#logLinesLeft--;
    this.#context.post({ type: 'log', row: this.entry.row, level, text: cleanText(bytes) });
  };

  #count(column: number, by: number): void {
    const at = this.#row + column;
    this.#context.counters[at] = (this.#context.counters[at] as number) + by;
  }

  /** `timeMs` is that of the event that brought it about, where there is one. */
  quarantine(code: QuarantineCode, reason: string, timeMs?: number): void {
    this.quarantined = true;
    const lastsMs = this.#backOff.begin(code, timeMs);
    const ends = lastsMs === 0 ? '' : `; it is tried again after ${lastsMs / 1000} s`;
    this.#instance = undefined;
    this.#context.counters[this.#row + Counter.memoryBytes] = 0;
    this.#context.counters[this.#row + Counter.quarantine] = 1 + quarantineCodes.indexOf(code);
    this.#context.post({ type: 'quarantine', row: this.entry.row, code, reason: `${reason}${ends}` });
  }

  /** Ends a quarantine that has lasted long enough: the filter begins anew, with fresh state. */
  #release(timeMs: number): void {
    try {
      this.load();
    } catch (error) {
      this.quarantine(
        'load',
        `could not be started again after its quarantine: ${describeError(error)}`,
        timeMs,
      );
      return;
    }
    this.quarantined = false;
    this.#averageTime = new AverageTime(this.entry.budget);
    this.#reserve = new Reserve(this.entry.budget);
    this.#trapTimesMs = [];
    this.#context.counters[this.#row + Counter.quarantine] = 0;
    this.#context.post({ type: 'release', row: this.entry.row });
  }

  /** Writes which records it judges; returns how many. */
  #select(batch: BatchView, judgements: Uint8Array, live: number): number {
    const marks = this.#marks;
    const count = batch.recordCount;
    const binding = this.#binding;
    if (binding.isOpen && live === count && batch.unseen === 0) {
      marks.fill(FilterMark.judge, 0, count);
      return count;
    }
    const { states } = batch;
    let judged = 0;
    for (let index = 0; index < count; index++) {
      const bound =
        judgements[index] === Judgement.keep &&
        ((states[index] as number) & State.unseen) === 0 &&
        (binding.isOpen || binding.takes(batch, index));
      marks[index] = bound ? FilterMark.judge : FilterMark.skip;
      if (bound) judged++;
    }
    return judged;
  }

  /**
   * Takes its turn: changes `judgements` (0 goes on) and adds to `notes`.
   * Returns how many records do not go on because of it.
   */
  judge(batch: BatchView, judgements: Uint8Array, live: number, notes: Notes): number {
    this.#answers.begin();
    this.#logLinesLeft = this.#context.bounds.logLinesMax;
    const passesBy = !this.entry.failClosed && this.#redactor === undefined;
    const wakes = this.quarantined && !this.#backOff.outlasts(batch.times.fromMs, batch.times.untilMs);
    if (this.quarantined && passesBy && !wakes) return 0;
    const judged = this.#select(batch, judgements, live);
    if (judged === 0 && !wakes) return 0;
    if (this.#redactor !== undefined) {
      // Measured as it was handed over, for the filters behind it too: what it masks is shorter.
      batch.longOf(0);
      this.#redactor.begin();
    }
    this.#decidesAll = judged === batch.recordCount && batch.protected === 0;
    this.#dropCount = 0;
    let heldBack = 0;
    let at = 0;
    while (at < batch.recordCount) {
      const from = at;
      if (!this.quarantined) {
        at = this.#run(batch, judgements, from, judged, notes);
        continue;
      }
      at = from > 0 || wakes ? this.#quarantinedUntil(batch, from) : batch.recordCount;
      heldBack += this.#withoutFilter(batch, judgements, from, at);
      if (at < batch.recordCount) this.#release(batch.timeMs(at));
    }
    this.#redactor?.apply(batch, notes);
    return this.#dropCount + heldBack;
  }

  /** The first record from one on at whose time its quarantine is over, whether it is bound to that or not. */
  #quarantinedUntil(batch: BatchView, from: number): number {
    const { recordCount } = batch;
    for (let index = from; this.#backOff.ends && index < recordCount; index++) {
      if (this.#backOff.isOver(batch.timeMs(index))) return index;
    }
    return recordCount;
  }

  /**
   * What becomes of the records that it was to judge, from one to another, while it is in quarantine: they are held back
   * or go on, as its manifest says, and what it was to mask of them is masked as a whole.
   */
  #withoutFilter(batch: BatchView, judgements: Uint8Array, from: number, until: number): number {
    if (this.#redactor !== undefined) {
      for (let index = from; index < until; index++) {
        if (this.#marks[index] !== FilterMark.skip) this.#redactor.maskWhole(batch, index);
      }
    }
    return this.entry.failClosed ? this.#holdBack(batch, judgements, from, until) : 0;
  }

  #holdBack(batch: BatchView, judgements: Uint8Array, from: number, until: number): number {
    let held = 0;
    for (let index = from; index < until; index++) {
      if (this.#marks[index] !== FilterMark.judge) continue;
      if (((batch.states[index] as number) & State.protected) !== 0) continue;
      judgements[index] = Judgement.heldBack;
      held++;
    }
    this.#count(Counter.heldBack, held);
    return held;
  }

  /** Has it judge from a record on; returns the first that it does not: it is in quarantine from there on. */
  #run(batch: BatchView, judgements: Uint8Array, from: number, judged: number, notes: Notes): number {
    // Measures the batch, once for all filters: that is not this one's time.
    batch.longOf(from);
    const start = this.#context.nowNs();
    const fuelBefore = this.#fuel();
    this.#handOver(batch, from, judgements, notes);
    const dropsBefore = this.#dropCount;
    let at = from;
    /** Fuel when time was looked at last. */
    let lookedAt = fuelBefore;
    this.#context.enter(Phase.filter, this.entry.row);
    while (at < batch.recordCount && !this.quarantined) {
      at = this.#step(batch, at, judgements, notes);
      if (this.#fuel() - lookedAt < SLICE_FUEL) continue;
      lookedAt = this.#fuel();
      this.#lookAtTime(batch, from, at, start);
      this.#context.enter(Phase.filter, this.entry.row);
    }
    this.#context.leave();
    const memory = this.#instance?.memoryBytes;
    if (memory !== undefined) this.#context.counters[this.#row + Counter.memoryBytes] = memory;
    const seen = from === 0 && at === batch.recordCount ? judged : this.#toJudge(from, at);
    const drops = this.#dropCount - dropsBefore;
    this.#count(Counter.events, seen);
    this.#count(Counter.dropped, drops);
    this.#count(Counter.kept, seen - drops);
    const end = this.#context.nowNs();
    const tookNs = end - start;
    const processorNs = this.#context.processorNs(tookNs, end);
    this.#count(Counter.nanoseconds, tookNs);
    this.#count(Counter.processorNs, processorNs);
    const over = this.#averageTime.add(seen, processorNs, batch.longBytes(this.#marks, from, at));
    // Its verdicts so far stand; time, unlike fuel, is looked at behind a batch.
    if (over !== undefined && !this.quarantined)
      this.quarantine('budget', over, batch.timeMs(Math.max(at - 1, 0)));
    return at;
  }

  #fuel(): number {
    return this.#context.counters[this.#row + Counter.fuel] as number;
  }

  /** Stops a filter that has taken too long for what it has judged in this turn, before the watchdog has to. */
  #lookAtTime(batch: BatchView, from: number, at: number, startNs: number): void {
    if (this.quarantined) return;
    const now = this.#context.nowNs();
    const { timeLimitMs } = this.#context.bounds;
    if (now - startNs < timeLimitMs * 1e6) return;
    const events = this.#toJudge(from, at);
    const allowedNs =
      timeLimitMs * 1e6 +
      events * this.entry.budget.averageNs +
      batch.longBytes(this.#marks, from, at) * NS_PER_LONG_BYTE;
    const usedNs = this.#context.processorNs(now - startNs, now);
    if (usedNs <= allowedNs) return;
    const ms = (ns: number) => Math.round(ns / 1e6);
    this.quarantine(
      'timeout',
      `took ${ms(usedNs)} ms of processor time for ${events} events of a batch; its limit is ${ms(allowedNs)} ms`,
    );
  }

  /** One run of the loop within the module, which ends at the latest with an event that something is said of. */
  #step(batch: BatchView, from: number, judgements: Uint8Array, notes: Notes): number {
    const instance = this.#instance as FilterInstance;
    const { fuelPerEvent } = this.entry.budget;
    const { fuelPerEventMax } = this.#context.bounds;
    const reserve = this.#reserve;
    const allowance = batch.longOf(from) * FUEL_PER_LONG_BYTE;
    const fuel = Math.min(fuelPerEvent + allowance, fuelPerEventMax);
    const share = reserve.shareOf(allowance);
    const until = batch.alikeUntil(from);
    let next: number;
    let trap: string | undefined;
    let cause: TrapCause = 'trap';
    instance.forgetError();
    instance.begin(reserve.left);
    try {
      next = instance.run(from, until, fuel, share, reserve.capacity, SLICE_FUEL);
      instance.refresh();
      this.#spend(instance, 0);
    } catch (error) {
      cause = instance.cause;
      trap =
        cause === 'trap' ? (instance.lastErrorOfRecord ?? describeError(error)) : instance.limitReached(fuel);
      instance.refresh();
      // The record that it was at, whose fuel is not accounted for yet.
      next = instance.at + 1;
      this.#spend(instance, Math.min(fuel, fuel - instance.fuelLeft), share);
    }
    const last = next - 1;
    // As it stands now; the bytes of those before may have been written to since.
    const verdict = instance.bytes[instance.verdictsAt + last] as number;
    const ended =
      trap !== undefined ||
      instance.hasSaid ||
      instance.answer !== FilterAnswer.done ||
      (verdict > 1 && this.#marks[last] === FilterMark.judge);
    const mark = ended ? notes.mark() : undefined;
    const counts = instance.tellVerdicts(from, next);
    try {
      if (this.#decidesAll && !ended && counts <= 0xffff) {
        this.#takeVerdicts(instance, judgements, from, next, counts);
      } else this.#readVerdicts(instance, batch, from, ended ? last : next);
      if (ended && this.#wasPassed(instance, last) !== (this.#marks[last] === FilterMark.skip)) {
        this.#refuseCalls(last);
      }
      if (trap === undefined && ended) {
        if (verdict > 1) {
          throw new Lie(last, `verdict ${verdict} on record ${last}; verdicts are 0 (keep) and 1 (drop)`);
        }
        this.#believe(instance, batch, last, next, notes);
        this.#readVerdicts(instance, batch, last, next);
      }
    } catch (error) {
      if (mark !== undefined) {
        notes.rollback(mark);
        this.#answers.forget();
      }
      if (error instanceof Lie) {
        this.quarantine('lying', error.message, batch.timeMs(error.record));
        return error.record;
      }
      if (!(error instanceof Fault)) throw error;
      cause = error.trapCause;
      trap = error.message;
    }
    if (trap !== undefined) this.#fail(batch, last, cause, trap, notes);
    if (!this.quarantined && this.#reserve.left < 0) {
      this.quarantine('budget', this.#reserve.exceeded, batch.timeMs(last));
    }
    if (trap !== undefined && !this.quarantined && next < batch.recordCount) {
      this.#handOver(batch, next, judgements, notes);
    }
    return next;
  }

  /** Takes account of what the loop has used, and of what it could not account for itself. */
  #spend(instance: FilterInstance, more: number, share = 0): void {
    this.#reserve.left = instance.reserve;
    if (more > 0) this.#reserve.take(more, share);
    this.#count(Counter.fuel, instance.spent + more);
  }

  /** A trap on a record: it costs the record its verdict, and the filter its state. */
  #fail(batch: BatchView, record: number, cause: TrapCause, reason: string, notes: Notes): void {
    this.#trapped(batch, record, cause, reason, notes);
    this.#count(Counter.traps, 1);
    const timeMs = batch.timeMs(record);
    if (this.#tooManyTraps(timeMs)) {
      this.#quarantineForTraps(reason, timeMs);
      return;
    }
    // What a trap left half done in the filter's state is worth nothing.
    this.#reload(timeMs);
    if (this.quarantined) return;
    const fuel = (this.#instance as FilterInstance).loadFuel;
    this.#count(Counter.fuel, fuel);
    this.#reserve.take(fuel, 0);
    this.#context.enter(Phase.filter, this.entry.row);
  }

  /** Reads what it said of a record. @throws {Lie} {Fault} */
  #believe(instance: FilterInstance, batch: BatchView, record: number, next: number, notes: Notes): void {
    const { answer } = instance;
    if (answer === FilterAnswer.again) {
      if (instance.cursor !== next) {
        throw new Lie(
          record,
          `weir_filter asks to go on from ${instance.cursor}; it was called for record ${record} alone`,
        );
      }
    } else if (answer !== FilterAnswer.done) {
      throw new Lie(record, `weir_filter answered ${answer}; answers are 0 (done) and 1 (again)`);
    }
    this.#answers.read(instance, batch, record, notes);
  }

  /** How many records from one to another it is to judge. */
  #toJudge(from: number, until: number): number {
    const { markWords } = this.#scratch;
    let count = 0;
    for (let word = from >> 2; word << 2 < until; word++) {
      const judged = ~(markWords[word] as number) & within(word << 2, from, until);
      count += Math.imul(judged & EACH_BYTE, EACH_BYTE) >>> 24;
    }
    return count;
  }

  /** Copies the batch in, and what it is to judge from `from` on. */
  #handOver(batch: BatchView, from: number, judgements: Uint8Array, notes: Notes): void {
    const instance = this.#instance as FilterInstance;
    const { area, view, bytes } = instance;
    const batchAt = area + FILTER_CALL_BYTES;
    this.#shownBytes = batch.byteLength;
    if (this.entry.readsLabels) {
      notes.show(batch.view, batch.words, batch.offsetsAt, judgements, (end) => {
        if (end >= 0) this.#shownBytes = align8(end);
        copyBytes(bytes, batchAt, batch.bytes.subarray(0, this.#shownBytes));
      });
      view.setUint32(batchAt + BATCH_HEADER_BYTE_LENGTH_AT, this.#shownBytes, true);
    } else copyBytes(bytes, batchAt, batch.bytes.subarray(0, batch.byteLength));
    const verdictsAt = batchAt + align8(this.#shownBytes);
    view.setUint32(area + FILTER_CALL_BATCH_AT_AT, batchAt, true);
    view.setUint32(area + FILTER_CALL_BATCH_BYTES_AT, this.#shownBytes, true);
    view.setUint32(area + FILTER_CALL_VERDICTS_AT_AT, verdictsAt, true);
    view.setUint32(area + FILTER_CALL_RESERVED_AT, 0, true);
    view.setUint32(area + FILTER_CALL_ANNOTATIONS_AT_AT, 0, true);
    bytes.set(this.#marks.subarray(0, batch.recordCount), verdictsAt);
    // What lies before is over.
    bytes.fill(FilterMark.skip, verdictsAt, verdictsAt + from);
    instance.verdictsAt = verdictsAt;
  }

  /** Puts the verdicts on `from` to `until` in force, so many drops among them, where all may be dropped and none was before. */
  #takeVerdicts(
    instance: FilterInstance,
    judgements: Uint8Array,
    from: number,
    until: number,
    drops: number,
  ): void {
    if (drops === 0) return;
    const at = instance.verdictsAt;
    judgements.set(instance.bytes.subarray(at + from, at + until), from);
    this.#dropCount += drops;
  }

  /**
   * Puts the verdicts on `from` to `until` in force. Four at once: an element of an array is dear where buffers can come
   * to be detached, as those of memories that grow are (5.2 ns an event one by one, 1.1 so).
   */
  #readVerdicts(instance: FilterInstance, batch: BatchView, from: number, until: number): void {
    const { markWords, judgementWords } = this.#scratch;
    const { words } = instance;
    const { stateWords } = batch;
    // A multiple of 8, as are all parts of the area.
    const verdictsAt = instance.verdictsAt >> 2;
    let count = 0;
    for (let word = from >> 2; word << 2 < until; word++) {
      const mark = markWords[word] as number;
      const said = words[verdictsAt + word] as number;
      // Nothing was said: all are kept, or were not to be judged.
      if (said === mark) continue;
      const asked = within(word << 2, from, until);
      // They differ by drops alone, where it was called for what it was to judge.
      if (((said ^ mark) & asked & 0xfefefefe) !== 0) {
        this.#dropCount += count;
        this.#refuseWord(instance, batch, Math.max(word << 2, from), until);
      }
      const drops = said & ~mark & asked & ~(stateWords[word] as number) & EACH_BYTE;
      if (drops === 0) continue;
      judgementWords[word] = (judgementWords[word] as number) | drops;
      count += Math.imul(drops, EACH_BYTE) >>> 24;
    }
    this.#dropCount += count;
  }

  /** Finds the record that it was called for, or was not, against what it was told; those before it stand. `from` is in its word. */
  #refuseWord(instance: FilterInstance, batch: BatchView, from: number, until: number): never {
    for (let index = from; index < until; index++) {
      if (this.#wasPassed(instance, index) === (this.#marks[index] === FilterMark.skip)) continue;
      if (index > from) this.#readVerdicts(instance, batch, from, index);
      this.#refuseCalls(index);
    }
    this.#refuseCalls(from);
  }

  #wasPassed(instance: FilterInstance, record: number): boolean {
    return instance.bytes[instance.verdictsAt + record] === FilterMark.skip;
  }

  /** What it is to judge stands in memory that it can write to; what it was called for, does not. */
  #refuseCalls(record: number): never {
    throw new Lie(record, `it changed whether it is called for record ${record}`);
  }

  #trapped(batch: BatchView, record: number, cause: TrapCause, reason: string, notes: Notes): void {
    batch.flagError(record);
    this.#redactor?.addWhole(record);
    this.#context.post({ type: 'trap', row: this.entry.row, cause, reason, record });
    this.#answers.fail(record, reason, notes);
  }

  /** Counts a trap at an event's time; traps older than the window are forgotten. */
  #tooManyTraps(timeMs: number): boolean {
    const { trapsMax, trapWindowMs } = this.#context.bounds;
    this.#trapTimesMs = this.#trapTimesMs.filter((time) => Math.abs(timeMs - time) <= trapWindowMs);
    this.#trapTimesMs.push(timeMs);
    return this.#trapTimesMs.length >= trapsMax;
  }
}
