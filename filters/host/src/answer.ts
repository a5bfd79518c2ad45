// SPDX-License-Identifier: Apache-2.0
// Owns what is believed of what a filter says of a record: its annotations are read with suspicion, kept as notes, and
// paid for out of the fuel that the event has left.
import {
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
  FILTER_CALL_BYTES,
  FILTER_LABEL_BYTES,
  FILTER_LABEL_NAME_AT,
  FILTER_LABEL_VALUE_AT,
  FILTER_SPAN_BYTES,
  FILTER_SPAN_PIECE_AT,
  FILTER_SPANS_BYTES,
  FILTER_SPANS_COUNT_AT,
  Severity,
} from '@weir/schema';
import type { BatchView } from './batch-view.js';
import { cleanText, type FilterInstance } from './instance.js';
import type { Notes } from './notes.js';
import type { Redactor } from './redaction.js';
import { Counter, type FilterEntry, type WorkerMessage } from './shared.js';
import type { TrapCause } from './types.js';

/** What a filter may say of one record. */
const MESSAGE_BYTES_MAX = 512;
const VALUE_BYTES_MAX = 1024;
const LABELS_MAX = 16;
const REDACTIONS_MAX = 64;
/** Annotations of one record: its own and a few alerts. */
const RECORD_ANNOTATIONS_MAX = 8;
/** What reading an annotation and a label of it costs its filter: the host does so outside of what is metered. */
const ANNOTATION_FUEL = 300;
const LABEL_FUEL = 200;

/** Ends a filter's turn: on this record it answered what cannot be. */
export class Lie extends Error {
  constructor(
    readonly record: number,
    message: string,
  ) {
    super(message);
  }
}

/** Costs the record its verdict, as a trap of the filter's own does. */
export class Fault extends Error {
  constructor(
    message: string,
    readonly trapCause: TrapCause,
  ) {
    super(message);
  }
}

export interface AnswerContext {
  /** Masks what the filter wants masked; none where its manifest declares no field. */
  readonly redactor: Redactor | undefined;
  count(column: number, by: number): void;
  post(message: WorkerMessage): void;
  /** Takes fuel off the filter's reserve. */
  spend(fuel: number): void;
}

export class AnswerReader {
  readonly #entry: FilterEntry;
  readonly #context: AnswerContext;
  readonly #redactor: Redactor | undefined;
  readonly #labels = new Map<string, { text: Uint8Array; at: number; batch: number }>();
  readonly #errorLabel: Uint8Array;
  readonly #errorPosition: { at: number; batch: number } = { at: -1, batch: -1 };
  /** Pieces that it has masked of the record at hand, and the fuel that what it says of it may still cost. */
  #redactions = 0;
  #fuelLeft = 0;
  #labelsReported = 0;
  #batch = 0;

  constructor(entry: FilterEntry, context: AnswerContext) {
    this.#entry = entry;
    this.#context = context;
    this.#redactor = context.redactor;
    const encoder = new TextEncoder();
    for (const label of entry.labels) {
      this.#labels.set(label, { text: encoder.encode(`filter.${entry.name}.${label}`), at: -1, batch: -1 });
    }
    this.#errorLabel = encoder.encode(`filter.${entry.name}.error`);
  }

  /** Begins a batch: no label's text lies in it yet. */
  begin(): void {
    this.#batch++;
  }

  /** Forgets where texts of labels lie: they were rolled back. */
  forget(): void {
    for (const label of this.#labels.values()) label.batch = -1;
    this.#errorPosition.batch = -1;
  }

  /** Notes that the filter failed on a record, and why. */
  fail(record: number, reason: string, notes: Notes): void {
    notes.failing(() => this.#fail(record, reason, notes));
  }

  #fail(record: number, reason: string, notes: Notes): void {
    const position = this.#errorPosition;
    if (position.batch !== this.#batch) {
      position.at = notes.text(this.#errorLabel, 0, this.#errorLabel.length);
      position.batch = this.#batch;
    }
    if (!notes.add(record, Severity.none, false, true, this.#entry.row, 0, 0)) return;
    const text = new TextEncoder().encode(reason).subarray(0, MESSAGE_BYTES_MAX);
    notes.label(position.at, this.#errorLabel.length, notes.text(text, 0, text.length), text.length);
  }

  /** Reads what is said of the record that was judged last. @throws {Lie} {Fault} */
  read(instance: FilterInstance, batch: BatchView, record: number, notes: Notes): void {
    const { view, bytes, area } = instance;
    const count = view.getUint32(area + FILTER_CALL_ANNOTATION_COUNT_AT, true);
    if (count === 0) return;
    const at = view.getUint32(area + FILTER_CALL_ANNOTATIONS_AT_AT, true);
    if (count > RECORD_ANNOTATIONS_MAX) {
      throw new Lie(
        record,
        `${count} annotations on record ${record}; at most ${RECORD_ANNOTATIONS_MAX} are allowed`,
      );
    }
    if (at + count * FILTER_ANNOTATION_BYTES > bytes.length) {
      throw new Lie(
        record,
        `${count} annotations at ${at} lie outside of its memory of ${bytes.length} bytes`,
      );
    }
    this.#redactions = 0;
    this.#fuelLeft = instance.fuelLeft;
    for (let index = 0; index < count; index++) {
      const note = at + index * FILTER_ANNOTATION_BYTES;
      const said = view.getUint32(note + FILTER_ANNOTATION_RECORD_AT, true);
      if (said !== record) {
        throw new Lie(record, `annotation ${index} is on record ${said}; it was called for record ${record}`);
      }
      this.#readAnnotation(instance, batch, note, record, notes);
    }
  }

  /** Where `length` bytes of a filter lie in the slot: in the batch itself, or copied behind it; -1 without room. */
  #place(
    instance: FilterInstance,
    batch: BatchView,
    record: number,
    address: number,
    length: number,
    notes: Notes,
  ): number {
    if (length === 0) return 0;
    if (address + length > instance.bytes.length) {
      throw new Lie(record, `text of ${length} bytes at ${address} lies outside of its memory`);
    }
    const batchAt = instance.area + FILTER_CALL_BYTES;
    if (address >= batchAt && address + length <= batchAt + batch.byteLength) {
      return notes.point(address - batchAt, length);
    }
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
    if (severity > Severity.critical) throw new Lie(record, `severity ${severity} on record ${record}`);
    if (alert > 1) throw new Lie(record, `alert ${alert} on record ${record}; it is 0 or 1`);
    if (messageBytes > MESSAGE_BYTES_MAX) {
      throw new Lie(record, `a message of ${messageBytes} bytes; at most ${MESSAGE_BYTES_MAX} are allowed`);
    }
    if (labelCount > LABELS_MAX)
      throw new Lie(record, `${labelCount} labels on record ${record}; at most ${LABELS_MAX}`);
    if (labelsAt + labelCount * FILTER_LABEL_BYTES > bytes.length) {
      throw new Lie(record, `${labelCount} labels at ${labelsAt} lie outside of its memory`);
    }
    this.#charge(ANNOTATION_FUEL + LABEL_FUEL * labelCount);
    this.#readRedactions(instance, batch, note, record);
    const placed = this.#place(instance, batch, record, messageAt, messageBytes, notes);
    if (placed < 0) notes.lost++;
    if (
      !notes.add(record, severity, alert === 1, false, this.#entry.row, placed, placed < 0 ? 0 : messageBytes)
    )
      return;
    this.#context.count(alert === 1 ? Counter.alerts : Counter.annotations, 1);
    for (let index = 0; index < labelCount; index++) {
      const at = labelsAt + index * FILTER_LABEL_BYTES;
      const nameAt = view.getUint32(at + FILTER_LABEL_NAME_AT, true);
      const nameBytes = view.getUint32(at + FILTER_LABEL_NAME_AT + 4, true);
      const valueAt = view.getUint32(at + FILTER_LABEL_VALUE_AT, true);
      const valueBytes = view.getUint32(at + FILTER_LABEL_VALUE_AT + 4, true);
      if (nameAt + nameBytes > bytes.length)
        throw new Lie(record, `a label's name lies outside of its memory`);
      if (valueBytes > VALUE_BYTES_MAX) {
        throw new Lie(
          record,
          `a label's value of ${valueBytes} bytes; at most ${VALUE_BYTES_MAX} are allowed`,
        );
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
        this.#place(instance, batch, record, valueAt, valueBytes, notes),
        valueBytes,
      );
    }
  }

  #readRedactions(instance: FilterInstance, batch: BatchView, note: number, record: number): void {
    const { view, bytes } = instance;
    const at = view.getUint32(note + FILTER_ANNOTATION_REDACTIONS_AT_AT, true);
    if (at === 0) return;
    if (this.#redactor === undefined) {
      throw new Lie(record, `a redaction on record ${record}; its manifest says that it redacts nothing`);
    }
    const count =
      at + FILTER_SPANS_BYTES <= bytes.length ? view.getUint32(at + FILTER_SPANS_COUNT_AT, true) : 0;
    this.#redactions += count;
    if (this.#redactions > REDACTIONS_MAX) {
      throw new Lie(
        record,
        `${this.#redactions} redactions on record ${record}; at most ${REDACTIONS_MAX} are allowed`,
      );
    }
    if (at + FILTER_SPANS_BYTES + count * FILTER_SPAN_BYTES > bytes.length) {
      throw new Lie(record, `redactions at ${at} lie outside of its memory`);
    }
    const batchAt = instance.area + FILTER_CALL_BYTES;
    for (let index = 0; index < count; index++) {
      const piece = at + FILTER_SPANS_BYTES + index * FILTER_SPAN_BYTES + FILTER_SPAN_PIECE_AT;
      const from = view.getUint32(piece, true) - batchAt;
      const length = view.getUint32(piece + 4, true);
      const wrong = this.#redactor.add(batch, record, from, length);
      this.#charge(this.#redactor.cost);
      if (wrong !== undefined) throw new Fault(wrong, 'trap');
    }
  }

  /** Takes what the host does for it off the fuel that the event at hand has left. @throws {Fault} where that is too little */
  #charge(fuel: number): void {
    const taken = Math.min(fuel, this.#fuelLeft);
    this.#fuelLeft -= taken;
    this.#context.spend(taken);
    this.#context.count(Counter.fuel, taken);
    if (taken < fuel) throw new Fault('it used up the fuel of its event with what it says of it', 'fuel');
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
      this.#context.count(Counter.labelsRefused, 1);
      if (this.#labelsReported++ < 8) {
        const shown = cleanText(bytes.slice(at, at + Math.min(length, 64)));
        this.#context.post({
          type: 'label',
          row: this.#entry.row,
          reason: `label ${JSON.stringify(shown)} is not one that its manifest declares (${[...this.#labels.keys()].join(', ')})`,
        });
      }
    }
    return label;
  }
}
