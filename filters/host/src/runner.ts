// SPDX-License-Identifier: Apache-2.0
// Owns one filter's turn at a batch: which records it judges, its call, what of its answer is believed, and what
// happens when it traps or lies. Hot: a filter without bindings costs one copy of the batch, its call, and a pass
// over the verdict bytes. Its verdicts and notes count only once its whole turn is known to be sound.
import {
  BATCH_HEADER_BYTE_LENGTH_AT,
  FILTER_ANNOTATION_ALERT_AT,
  FILTER_ANNOTATION_BYTES,
  FILTER_ANNOTATION_LABEL_COUNT_AT,
  FILTER_ANNOTATION_LABELS_AT_AT,
  FILTER_ANNOTATION_MESSAGE_AT,
  FILTER_ANNOTATION_RECORD_AT,
  FILTER_ANNOTATION_REDACTIONS_AT_AT,
  FILTER_ANNOTATION_SEVERITY_AT,
  FILTER_CALL_ANNOTATION_COUNT_AT,
  FILTER_CALL_ANNOTATIONS_AT_AT,
  FILTER_CALL_BATCH_AT_AT,
  FILTER_CALL_BATCH_BYTES_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_CURSOR_AT,
  FILTER_CALL_RECORD_COUNT_AT,
  FILTER_CALL_RESERVED_AT,
  FILTER_CALL_VERDICTS_AT_AT,
  FILTER_LABEL_BYTES,
  FILTER_LABEL_NAME_AT,
  FILTER_LABEL_VALUE_AT,
  FILTER_SPAN_BYTES,
  FILTER_SPAN_PIECE_AT,
  FILTER_SPANS_BYTES,
  FILTER_SPANS_COUNT_AT,
  FilterAnswer,
  FilterMark,
  Severity,
} from '@weir/schema';
import { BackOff } from './back-off.js';
import { type BatchView, State } from './batch-view.js';
import { Binding } from './binding.js';
import { Averages, FUEL_PER_LONG_BYTE } from './budget.js';
import { copyBytes } from './copy.js';
import { align8, areaBytes, cleanText, describeError, FilterInstance } from './instance.js';
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

/** What a filter may say of one record. */
const MESSAGE_BYTES_MAX = 512;
const VALUE_BYTES_MAX = 1024;
const LABELS_MAX = 16;
const REDACTIONS_MAX = 64;
/** Annotations of one record: its own and a few alerts. */
const RECORD_ANNOTATIONS_MAX = 8;

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

/** Ends a filter's turn: it answered what cannot be, or ended where no record can be named. */
class Lie extends Error {
  constructor(
    message: string,
    readonly code: QuarantineCode = 'lying',
  ) {
    super(message);
  }
}

export class FilterRunner {
  readonly entry: FilterEntry;
  quarantined: boolean;
  readonly #context: RunnerContext;
  readonly #row: number;
  readonly #areaSize: number;
  readonly #binding: Binding;
  readonly #marks: Uint8Array;
  readonly #scratch: Scratch;
  /** Drops of this turn so far, in `scratch.dropWords`. */
  #dropCount = 0;
  readonly #labels = new Map<string, { text: Uint8Array; at: number; batch: number }>();
  readonly #errorLabel: Uint8Array;
  readonly #errorPosition: { at: number; batch: number } = { at: -1, batch: -1 };
  /** Masks what the filter wants masked; none where its manifest declares no field. */
  readonly #redactor: Redactor | undefined;
  /** Bytes of the batch as it is shown to the filter: with what others said, where it reads that. */
  #shownBytes = 0;
  #instance: FilterInstance | undefined;
  #averages: Averages;
  readonly #backOff = new BackOff();
  #trapTimesMs: number[] = [];
  #logLinesLeft: number;
  #labelsReported = 0;
  #batch = 0;

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
    this.#averages = new Averages(entry.budget);
    if (entry.redacts.length > 0) this.#redactor = new Redactor(entry.redacts);
    this.#logLinesLeft = context.bounds.logLinesMax;
    this.#binding = new Binding(entry.binds);
    const encoder = new TextEncoder();
    for (const label of entry.labels) {
      this.#labels.set(label, { text: encoder.encode(`filter.${entry.name}.${label}`), at: -1, batch: -1 });
    }
    this.#errorLabel = encoder.encode(`filter.${entry.name}.error`);
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
  #tryAgain(batch: BatchView): void {
    if (batch.recordCount === 0 || !this.#backOff.isOver(batch.timeMs(0))) return;
    try {
      this.load();
    } catch (error) {
      this.quarantine('load', `could not be started again after its quarantine: ${describeError(error)}`);
      return;
    }
    this.quarantined = false;
    this.#averages = new Averages(this.entry.budget);
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
    this.#batch++;
    this.#logLinesLeft = this.#context.bounds.logLinesMax;
    if (this.quarantined) this.#tryAgain(batch);
    if (this.quarantined && !this.entry.failClosed && this.#redactor === undefined) return 0;
    const judged = this.#select(batch, judgements, live);
    if (judged === 0) return 0;
    this.#redactor?.begin();
    if (this.quarantined) {
      const ended = this.#withoutFilter(batch, judgements, 0);
      this.#redactor?.apply(batch, notes);
      return ended;
    }
    const longBytes = batch.longBytes(this.#marks, FilterMark.judge);
    const start = this.#context.nowNs();
    const fuelBefore = this.#context.counters[this.#row + Counter.fuel] as number;
    const mark = notes.mark();
    let ended = 0;
    try {
      ended = this.#run(batch, judgements, judged, longBytes, notes);
    } catch (error) {
      if (!(error instanceof Lie)) throw error;
      // Nothing that it said of this batch is believed.
      notes.rollback(mark);
      this.#forgetLabels();
      this.quarantine(error.code, error.message, batch.timeMs(0));
      this.#redactor?.begin();
      ended = this.#withoutFilter(batch, judgements, 0);
    }
    this.#redactor?.apply(batch, notes);
    this.#count(Counter.events, judged);
    const end = this.#context.nowNs();
    const tookNs = end - start;
    const processorNs = this.#context.processorNs(tookNs, end);
    this.#count(Counter.nanoseconds, tookNs);
    this.#count(Counter.processorNs, processorNs);
    const fuel = (this.#context.counters[this.#row + Counter.fuel] as number) - fuelBefore;
    const over = this.#averages.add(judged, fuel, processorNs, longBytes);
    // Its verdicts on this batch stand; from the next one on it is in quarantine.
    if (over !== undefined && !this.quarantined) this.quarantine('budget', over, batch.timeMs(0));
    return ended;
  }

  /**
   * What becomes of the records that it was to judge, from one on, while it is in quarantine: they are held back or go
   * on, as its manifest says, and what it was to mask of them is masked as a whole.
   */
  #withoutFilter(batch: BatchView, judgements: Uint8Array, from: number): number {
    if (this.#redactor !== undefined) {
      for (let index = from; index < batch.recordCount; index++) {
        if (this.#marks[index] !== FilterMark.skip) this.#redactor.maskWhole(batch, index);
      }
    }
    return this.entry.failClosed ? this.#holdBack(batch, judgements, from) : 0;
  }

  #holdBack(batch: BatchView, judgements: Uint8Array, from: number): number {
    let held = 0;
    for (let index = from; index < batch.recordCount; index++) {
      if (this.#marks[index] !== FilterMark.judge) continue;
      if (((batch.states[index] as number) & State.protected) !== 0) continue;
      judgements[index] = Judgement.heldBack;
      held++;
    }
    this.#count(Counter.heldBack, held);
    return held;
  }

  #run(batch: BatchView, judgements: Uint8Array, judged: number, longBytes: number, notes: Notes): number {
    const { recordCount } = batch;
    const marks = this.#marks;
    this.#dropCount = 0;
    this.#scratch.dropWords.fill(0, 0, (recordCount + 3) >> 2);
    let from = 0;
    this.#handOver(batch, 0, judgements, notes);
    let errors = 0;
    let quarantineCode: QuarantineCode = 'traps';
    let quarantineReason: string | undefined;
    const { fuelPerBatch, fuelPerCall, fuelPerEvent } = this.entry.budget;
    let fuelLeft = fuelPerBatch;
    while (from < recordCount) {
      const instance = this.#instance as FilterInstance;
      let answer: unknown;
      let trap: string | undefined;
      let cause: TrapCause = 'trap';
      instance.forgetError();
      const left = from === 0 ? judged : this.#toJudge(from, recordCount);
      const fuel = Math.min(fuelLeft, fuelPerCall + fuelPerEvent * left + FUEL_PER_LONG_BYTE * longBytes);
      this.#context.enter(Phase.filter, this.entry.row);
      try {
        answer = instance.call(fuel);
      } catch (error) {
        cause = instance.cause;
        trap = cause === 'trap' ? (instance.lastError ?? describeError(error)) : instance.limitReached(fuel);
      }
      this.#context.leave();
      const used = Math.min(fuel, fuel - instance.fuelLeft);
      this.#count(Counter.fuel, used);
      fuelLeft -= used;
      instance.refresh();
      const cursor = instance.view.getUint32(instance.area + FILTER_CALL_CURSOR_AT, true);
      let until = recordCount;
      if (trap !== undefined) {
        if (cursor < from || cursor >= recordCount || marks[cursor] !== FilterMark.judge) {
          if (cause === 'fuel') throw new Lie(`${trap}, with no record at hand that it was to judge`, 'fuel');
          throw new Lie(
            `it trapped (${trap}) with its cursor on ${cursor}, which is no record that it was to judge`,
          );
        }
        until = cursor;
      } else if (answer === FilterAnswer.again) {
        if (cursor <= from || cursor > recordCount) {
          throw new Lie(
            `weir_filter asks to go on from ${cursor}; it was called from ${from} of ${recordCount}`,
          );
        }
        until = cursor;
      } else if (answer !== FilterAnswer.done) {
        throw new Lie(`weir_filter answered ${String(answer)}; answers are 0 (done) and 1 (again)`);
      }
      this.#readVerdicts(instance, batch, from, until);
      this.#readAnnotations(instance, batch, from, until, notes);
      from = until;
      if (trap === undefined) {
        if (from < recordCount) this.#markPassed(instance, from);
        continue;
      }
      errors++;
      from = cursor + 1;
      this.#trapped(batch, cursor, cause, trap, notes);
      if (fuelLeft <= 0) {
        quarantineCode = 'fuel';
        quarantineReason = `used up its fuel for a batch of ${fuelPerBatch} units`;
        break;
      }
      if (this.#tooManyTraps(batch.timeMs(cursor))) {
        quarantineReason = `trapped ${this.#trapTimesMs.length} times within ${this.#context.bounds.trapWindowMs} ms, the last time on: ${trap}`;
        break;
      }
      if (from < recordCount && !this.#restart(batch, from, judgements, notes)) {
        quarantineReason = undefined;
        break;
      }
    }
    this.#count(Counter.traps, errors);
    const memory = this.#instance?.memoryBytes;
    if (memory !== undefined) this.#context.counters[this.#row + Counter.memoryBytes] = memory;
    const seen = from < recordCount ? judged - this.#toJudge(from, recordCount) : judged;
    let ended = this.#apply(recordCount, seen);
    if (quarantineReason !== undefined) this.quarantine(quarantineCode, quarantineReason, batch.timeMs(0));
    if (this.quarantined) ended += this.#withoutFilter(batch, judgements, from);
    return ended;
  }

  /** How many records from `from` on it is still to judge. */
  #toJudge(from: number, recordCount: number): number {
    let count = 0;
    for (let index = from; index < recordCount; index++) {
      if (this.#marks[index] === FilterMark.judge) count++;
    }
    return count;
  }

  /** Puts the verdicts of its turn in force: those on the first `seen` records that it was to judge. */
  #apply(recordCount: number, seen: number): number {
    const count = this.#dropCount;
    if (count > 0) {
      const { dropWords, judgementWords } = this.#scratch;
      for (let word = 0; word << 2 < recordCount; word++) {
        judgementWords[word] = (judgementWords[word] as number) | (dropWords[word] as number);
      }
    }
    this.#count(Counter.kept, seen - count);
    this.#count(Counter.dropped, count);
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
    view.setUint32(area + FILTER_CALL_RECORD_COUNT_AT, batch.recordCount, true);
    view.setUint32(area + FILTER_CALL_VERDICTS_AT_AT, verdictsAt, true);
    view.setUint32(area + FILTER_CALL_RESERVED_AT, 0, true);
    bytes.set(this.#marks.subarray(0, batch.recordCount), verdictsAt);
    this.#markPassed(instance, from);
  }

  /** Prepares a call from `from` on: what lies before is passed over. */
  #markPassed(instance: FilterInstance, from: number): void {
    const { area, view, bytes } = instance;
    const verdictsAt = area + FILTER_CALL_BYTES + align8(this.#shownBytes);
    bytes.fill(FilterMark.skip, verdictsAt, verdictsAt + from);
    view.setUint32(area + FILTER_CALL_CURSOR_AT, from, true);
    view.setUint32(area + FILTER_CALL_ANNOTATION_COUNT_AT, 0, true);
    view.setUint32(area + FILTER_CALL_ANNOTATIONS_AT_AT, 0, true);
  }

  /**
   * Notes the drops among the verdicts on `from` to `until`, which come into force once the whole turn is known to be
   * sound. Four at once: an element of an array is dear where buffers can come to be detached, as those of memories
   * that grow are (5.2 ns an event one by one, 1.1 so).
   */
  #readVerdicts(instance: FilterInstance, batch: BatchView, from: number, until: number): void {
    const { markWords, dropWords } = this.#scratch;
    const { words } = instance;
    const { stateWords } = batch;
    // A multiple of 8, as are all parts of the area.
    const verdictsAt = (instance.area + FILTER_CALL_BYTES + align8(this.#shownBytes)) >> 2;
    let count = 0;
    let wrong = 0;
    for (let word = from >> 2; word << 2 < until; word++) {
      const mark = markWords[word] as number;
      const said = words[verdictsAt + word] as number;
      // Nothing was said: all are kept, or were not to be judged.
      if (said === mark) continue;
      const judged = ~mark & within(word << 2, from, until);
      wrong |= said & judged & 0xfefefefe;
      const drops = said & judged & ~(stateWords[word] as number) & EACH_BYTE;
      dropWords[word] = (dropWords[word] as number) | drops;
      count += Math.imul(drops, EACH_BYTE) >>> 24;
    }
    if (wrong !== 0) this.#refuseVerdicts(instance.bytes, verdictsAt << 2, from, until);
    this.#dropCount += count;
  }

  /** Says which verdict cannot be. */
  #refuseVerdicts(bytes: Uint8Array, verdictsAt: number, from: number, until: number): never {
    for (let index = from; index < until; index++) {
      const verdict = bytes[verdictsAt + index] as number;
      if (verdict <= 1 || this.#marks[index] !== FilterMark.judge) continue;
      throw new Lie(`verdict ${verdict} on record ${index}; verdicts are 0 (keep) and 1 (drop)`);
    }
    throw new Lie('verdicts are 0 (keep) and 1 (drop)');
  }

  #readAnnotations(
    instance: FilterInstance,
    batch: BatchView,
    from: number,
    until: number,
    notes: Notes,
  ): void {
    const { view, bytes, area } = instance;
    const count = view.getUint32(area + FILTER_CALL_ANNOTATION_COUNT_AT, true);
    if (count === 0) return;
    const at = view.getUint32(area + FILTER_CALL_ANNOTATIONS_AT_AT, true);
    const most = (until - from + 1) * RECORD_ANNOTATIONS_MAX;
    if (count > most) throw new Lie(`${count} annotations on ${until - from} records`);
    if (at + count * FILTER_ANNOTATION_BYTES > bytes.length) {
      throw new Lie(`${count} annotations at ${at} lie outside of its memory of ${bytes.length} bytes`);
    }
    let last = from;
    let ofRecord = 0;
    for (let index = 0; index < count; index++) {
      const note = at + index * FILTER_ANNOTATION_BYTES;
      const record = view.getUint32(note + FILTER_ANNOTATION_RECORD_AT, true);
      // It trapped or stopped on this record: what it had begun to say of it does not count.
      if (record === until && until < batch.recordCount) return;
      if (record < last || record >= until || this.#marks[record] === FilterMark.skip) {
        throw new Lie(`annotation ${index} is on record ${record}, which is not the next that it judged`);
      }
      ofRecord = record === last ? ofRecord + 1 : 1;
      if (ofRecord > RECORD_ANNOTATIONS_MAX) {
        throw new Lie(`more than ${RECORD_ANNOTATIONS_MAX} annotations on record ${record}`);
      }
      last = record;
      this.#readAnnotation(instance, batch, note, record, notes);
    }
  }

  /** Where `length` bytes at an address of the filter lie in the slot: in the batch itself, or copied behind it. */
  #place(instance: FilterInstance, batch: BatchView, address: number, length: number, notes: Notes): number {
    if (length === 0) return 0;
    if (address + length > instance.bytes.length) {
      throw new Lie(`text of ${length} bytes at ${address} lies outside of its memory`);
    }
    const batchAt = instance.area + FILTER_CALL_BYTES;
    if (address >= batchAt && address + length <= batchAt + batch.byteLength) return address - batchAt;
    return notes.text(instance.bytes, address, length);
  }

  #readAnnotation(
    instance: FilterInstance,
    batch: BatchView,
    note: number,
    record: number,
    notes: Notes,
  ): void {
    const { view, bytes } = instance;
    const severity = view.getUint8(note + FILTER_ANNOTATION_SEVERITY_AT);
    const alert = view.getUint8(note + FILTER_ANNOTATION_ALERT_AT);
    const labelCount = view.getUint16(note + FILTER_ANNOTATION_LABEL_COUNT_AT, true);
    const labelsAt = view.getUint32(note + FILTER_ANNOTATION_LABELS_AT_AT, true);
    const messageAt = view.getUint32(note + FILTER_ANNOTATION_MESSAGE_AT, true);
    const messageBytes = view.getUint32(note + FILTER_ANNOTATION_MESSAGE_AT + 4, true);
    if (severity > Severity.critical) throw new Lie(`severity ${severity} on record ${record}`);
    if (alert > 1) throw new Lie(`alert ${alert} on record ${record}; it is 0 or 1`);
    if (messageBytes > MESSAGE_BYTES_MAX) {
      throw new Lie(`a message of ${messageBytes} bytes; at most ${MESSAGE_BYTES_MAX} are allowed`);
    }
    if (labelCount > LABELS_MAX)
      throw new Lie(`${labelCount} labels on record ${record}; at most ${LABELS_MAX}`);
    if (labelsAt + labelCount * FILTER_LABEL_BYTES > bytes.length) {
      throw new Lie(`${labelCount} labels at ${labelsAt} lie outside of its memory`);
    }
    this.#readRedactions(instance, batch, note, record, notes);
    const placed = this.#place(instance, batch, messageAt, messageBytes, notes);
    if (placed < 0) notes.lost++;
    if (
      !notes.add(record, severity, alert === 1, false, this.entry.row, placed, placed < 0 ? 0 : messageBytes)
    )
      return;
    this.#count(alert === 1 ? Counter.alerts : Counter.annotations, 1);
    for (let index = 0; index < labelCount; index++) {
      const at = labelsAt + index * FILTER_LABEL_BYTES;
      const nameAt = view.getUint32(at + FILTER_LABEL_NAME_AT, true);
      const nameBytes = view.getUint32(at + FILTER_LABEL_NAME_AT + 4, true);
      const valueAt = view.getUint32(at + FILTER_LABEL_VALUE_AT, true);
      const valueBytes = view.getUint32(at + FILTER_LABEL_VALUE_AT + 4, true);
      if (nameAt + nameBytes > bytes.length) throw new Lie(`a label's name lies outside of its memory`);
      if (valueBytes > VALUE_BYTES_MAX) {
        throw new Lie(`a label's value of ${valueBytes} bytes; at most ${VALUE_BYTES_MAX} are allowed`);
      }
      const label = this.#declared(bytes, nameAt, nameBytes);
      if (label === undefined) continue;
      if (label.batch !== this.#batch) {
        label.at = notes.text(label.text, 0, label.text.length);
        label.batch = this.#batch;
      }
      notes.label(
        label.at,
        label.text.length,
        this.#place(instance, batch, valueAt, valueBytes, notes),
        valueBytes,
      );
    }
  }

  #readRedactions(
    instance: FilterInstance,
    batch: BatchView,
    note: number,
    record: number,
    notes: Notes,
  ): void {
    const { view, bytes } = instance;
    const at = view.getUint32(note + FILTER_ANNOTATION_REDACTIONS_AT_AT, true);
    if (at === 0) return;
    if (this.#redactor === undefined) {
      throw new Lie(`a redaction on record ${record}; its manifest says that it redacts nothing`);
    }
    const count =
      at + FILTER_SPANS_BYTES <= bytes.length ? view.getUint32(at + FILTER_SPANS_COUNT_AT, true) : 0;
    if (count > REDACTIONS_MAX) {
      throw new Lie(`${count} redactions on record ${record}; at most ${REDACTIONS_MAX} are allowed`);
    }
    if (at + FILTER_SPANS_BYTES + count * FILTER_SPAN_BYTES > bytes.length) {
      throw new Lie(`redactions at ${at} lie outside of its memory`);
    }
    const batchAt = instance.area + FILTER_CALL_BYTES;
    for (let index = 0; index < count; index++) {
      const piece = at + FILTER_SPANS_BYTES + index * FILTER_SPAN_BYTES + FILTER_SPAN_PIECE_AT;
      const from = view.getUint32(piece, true) - batchAt;
      const length = view.getUint32(piece + 4, true);
      const wrong = this.#redactor.add(batch, record, from, length);
      if (wrong === undefined) continue;
      // As a trap: what the record holds may be crafted, and must not end the filter at once.
      this.#count(Counter.traps, 1);
      this.#trapped(batch, record, 'trap', wrong, notes);
      if (this.#tooManyTraps(batch.timeMs(record))) throw new Lie(wrong);
      return;
    }
  }

  /** The declared label of this name; else it is refused, counted, and reported a few times. */
  #declared(
    bytes: Uint8Array,
    at: number,
    length: number,
  ): { text: Uint8Array; at: number; batch: number } | undefined {
    let name = '';
    for (let index = 0; index < Math.min(length, 64); index++)
      name += String.fromCharCode(bytes[at + index] as number);
    const label = length <= 63 ? this.#labels.get(name) : undefined;
    if (label === undefined) {
      this.#count(Counter.labelsRefused, 1);
      if (this.#labelsReported++ < 8) {
        const shown = cleanText(bytes.slice(at, at + Math.min(length, 64)));
        this.#context.post({
          type: 'label',
          row: this.entry.row,
          reason: `label ${JSON.stringify(shown)} is not one that its manifest declares (${[...this.#labels.keys()].join(', ')})`,
        });
      }
    }
    return label;
  }

  #forgetLabels(): void {
    for (const label of this.#labels.values()) label.batch = -1;
    this.#errorPosition.batch = -1;
  }

  #trapped(batch: BatchView, record: number, cause: TrapCause, reason: string, notes: Notes): void {
    batch.flagError(record);
    this.#redactor?.addWhole(record);
    this.#context.post({ type: 'trap', row: this.entry.row, cause, reason, record });
    const position = this.#errorPosition;
    if (position.batch !== this.#batch) {
      position.at = notes.text(this.#errorLabel, 0, this.#errorLabel.length);
      position.batch = this.#batch;
    }
    if (!notes.add(record, Severity.none, false, true, this.entry.row, 0, 0)) return;
    const text = new TextEncoder().encode(reason).subarray(0, MESSAGE_BYTES_MAX);
    notes.label(position.at, this.#errorLabel.length, notes.text(text, 0, text.length), text.length);
  }

  /** Counts a trap at an event's time; traps older than the window are forgotten. */
  #tooManyTraps(timeMs: number): boolean {
    const { trapsMax, trapWindowMs } = this.#context.bounds;
    this.#trapTimesMs = this.#trapTimesMs.filter((time) => Math.abs(timeMs - time) <= trapWindowMs);
    this.#trapTimesMs.push(timeMs);
    return this.#trapTimesMs.length >= trapsMax;
  }

  /** Begins anew after a trap: what a trap left half done in the filter's state is worth nothing. */
  #restart(batch: BatchView, from: number, judgements: Uint8Array, notes: Notes): boolean {
    try {
      this.load();
    } catch (error) {
      this.quarantine('load', `could not be started again after a trap: ${describeError(error)}`);
      return false;
    }
    this.#handOver(batch, from, judgements, notes);
    return true;
  }
}
