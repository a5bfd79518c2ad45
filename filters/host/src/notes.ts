// SPDX-License-Identifier: Apache-2.0
// Owns what filters say of one batch beside their verdicts: kept while they run, laid out as annotations behind the
// batch in its slot when all have run. Hot where every record is annotated: no object a record. Bounded: what does
// not fit is counted.
import {
  ANNOTATION_BYTES,
  ANNOTATION_ERROR_AT,
  ANNOTATION_FILTER_INDEX_AT,
  ANNOTATION_LABEL_BYTES,
  ANNOTATION_LABEL_COUNT_AT,
  ANNOTATION_LABEL_NAME_AT,
  ANNOTATION_LABEL_VALUE_AT,
  ANNOTATION_MESSAGE_AT,
  ANNOTATION_SEVERITY_AT,
  RECORD_HEADER_ANNOTATION_AT,
} from '@weir/schema';
import { align8 } from './instance.js';
import type { MaskedField } from './masked.js';

/** Labels of one record, over all filters; what reads batches refuses more. */
const RECORD_LABELS_MAX = 256;
/** What a note takes in the slot without its text: an annotation, or an alert with its place in the list. */
const NOTE_BYTES = ANNOTATION_BYTES + 8;
/** Part of the room that is kept for why filters failed. */
const FAILURES_SHARE = 1 / 16;
const NOTE_WORDS = 8;
const LABEL_WORDS = 4;

// Columns of a note.
const NEXT = 0;
const RECORD = 1;
const KIND = 2; // severity, alert << 8, error << 9
const FILTER = 3;
const MESSAGE_AT = 4;
const MESSAGE_BYTES = 5;
const FIRST_LABEL = 6;
const LABELS = 7;

/** Where a text came to lie, if it lies in one of the fields. */
function movedIn(
  fields: readonly MaskedField[],
  at: number,
  length: number,
): { at: number; length: number } | undefined {
  let low = 0;
  let high = fields.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((fields[middle] as MaskedField).field.at <= at) low = middle + 1;
    else high = middle;
  }
  return fields[low - 1]?.moved(at, length);
}

interface Mark {
  readonly count: number;
  readonly labels: number;
  readonly textAt: number;
  readonly pointLeft: number;
  readonly lost: number;
}

export class Notes {
  /** Notes that did not fit, in this batch. */
  lost = 0;
  alertCount = 0;
  alertsAt = 0;
  #count = 0;
  #labelCount = 0;
  #records = 0;
  #textAt = 0;
  /** Bytes of text in the batch itself that notes may still point at. */
  #pointLeft = 0;
  #end = 0;
  #room = 0;
  /** What the filter at hand leaves to those after it: of the room, with that for reasons of failures; of text. */
  #kept = 0;
  #pointKept = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  readonly #notes: Int32Array;
  readonly #labels: Int32Array;
  readonly #first: Int32Array;
  readonly #last: Int32Array;
  readonly #notesMax: number;
  readonly #labelsMax: number;
  readonly #pointMax: number;

  constructor(recordsMax: number, annotationBytesMax: number, batchBytesMax: number) {
    this.#pointMax = batchBytesMax;
    this.#notesMax = Math.floor(annotationBytesMax / ANNOTATION_BYTES);
    this.#labelsMax = Math.floor(annotationBytesMax / ANNOTATION_LABEL_BYTES);
    this.#notes = new Int32Array(this.#notesMax * NOTE_WORDS);
    this.#labels = new Int32Array(this.#labelsMax * LABEL_WORDS);
    this.#first = new Int32Array(recordsMax);
    this.#last = new Int32Array(recordsMax);
  }

  /** Begins a batch of `records` records; text goes to `bytes` from `at` on, nothing beyond `end`. */
  begin(bytes: Uint8Array, at: number, end: number, records: number): void {
    this.#bytes = bytes;
    this.#textAt = at;
    this.#end = end;
    this.#room = end - at;
    this.#kept = 0;
    this.#pointKept = 0;
    this.#pointLeft = this.#pointMax;
    this.#count = 0;
    this.#labelCount = 0;
    this.lost = 0;
    this.alertCount = 0;
    this.alertsAt = 0;
    this.#records = records;
  }

  /**
   * Begins the turn of one of `filters` filters, `after` of which come after it. Half of the room is for all of them
   * alike, so that none can silence those after it; the other half is for whoever comes first.
   */
  turn(filters: number, after: number): void {
    const share = after / (2 * filters);
    this.#kept = Math.floor(this.#room * (share + FAILURES_SHARE));
    this.#pointKept = Math.floor(this.#pointMax * share);
  }

  /** Has `say` tell why a filter failed, for which there is room that nothing else takes. */
  failing(say: () => void): void {
    const kept = this.#kept;
    this.#kept = 0;
    say();
    this.#kept = kept;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether there is room for so many bytes beside the structs of all notes so far: text takes none from those. */
  #hasRoom(bytes: number): boolean {
    const structs = this.#count * NOTE_BYTES + this.#labelCount * ANNOTATION_LABEL_BYTES;
    return align8(this.#textAt) + structs + align8(bytes) <= this.#end - this.#kept;
  }

  /** A place to return to with `rollback`. */
  mark(): Mark {
    return {
      count: this.#count,
      labels: this.#labelCount,
      textAt: this.#textAt,
      pointLeft: this.#pointLeft,
      lost: this.lost,
    };
  }

  /** Forgets all notes since the mark. */
  rollback(mark: Mark): void {
    this.#count = mark.count;
    this.#labelCount = mark.labels;
    this.#textAt = mark.textAt;
    this.#pointLeft = mark.pointLeft;
    this.lost = mark.lost;
  }

  /**
   * Follows texts that lie in fields which something was masked in, and so moved: what was said in the words of the
   * batch says no more than these now do. The fields are sorted, and do not overlap.
   */
  move(fields: readonly MaskedField[]): void {
    const notes = this.#notes;
    for (let index = 0; index < this.#count; index++) {
      const at = index * NOTE_WORDS;
      const moved = movedIn(fields, notes[at + MESSAGE_AT] as number, notes[at + MESSAGE_BYTES] as number);
      if (moved === undefined) continue;
      notes[at + MESSAGE_AT] = moved.at;
      notes[at + MESSAGE_BYTES] = moved.length;
    }
    const labels = this.#labels;
    for (let index = 0; index < this.#labelCount; index++) {
      const at = index * LABEL_WORDS;
      const moved = movedIn(fields, labels[at + 2] as number, labels[at + 3] as number);
      if (moved === undefined) continue;
      labels[at + 2] = moved.at;
      labels[at + 3] = moved.length;
    }
  }

  /** Copies text into the slot; returns its offset there, or -1 where there is no room. */
  text(source: Uint8Array, at: number, length: number): number {
    const to = this.#textAt;
    if (!this.#hasRoom(length)) return -1;
    this.#bytes.set(source.subarray(at, at + length), to);
    this.#textAt = to + length;
    return to;
  }

  /**
   * Takes account of text that lies in the batch at `at` and is pointed at there. It takes no room here, but whoever
   * copies records out of the batch copies it for each note: all of it in a batch has at most as many bytes as a batch
   * may have. Returns `at`, or -1 where that is reached.
   */
  point(at: number, length: number): number {
    if (length > this.#pointLeft - this.#pointKept) return -1;
    this.#pointLeft -= length;
    return at;
  }

  /** Adds a note; labels follow by `label`. Returns false where there is no room. */
  add(
    record: number,
    severity: number,
    alert: boolean,
    error: boolean,
    filter: number,
    messageAt: number,
    messageBytes: number,
  ): boolean {
    if (this.#count >= this.#notesMax || !this.#hasRoom(NOTE_BYTES)) {
      this.lost++;
      return false;
    }
    const at = this.#count++ * NOTE_WORDS;
    const notes = this.#notes;
    notes[at + NEXT] = -1;
    notes[at + RECORD] = record;
    notes[at + KIND] = severity | (alert ? 0x100 : 0) | (error ? 0x200 : 0);
    notes[at + FILTER] = filter;
    notes[at + MESSAGE_AT] = messageBytes === 0 ? 0 : messageAt;
    notes[at + MESSAGE_BYTES] = messageBytes;
    notes[at + FIRST_LABEL] = this.#labelCount;
    notes[at + LABELS] = 0;
    return true;
  }

  /** Adds a label to the note that was added last. */
  label(nameAt: number, nameBytes: number, valueAt: number, valueBytes: number): void {
    const fits = this.#labelCount < this.#labelsMax && this.#hasRoom(ANNOTATION_LABEL_BYTES);
    if (!fits || nameAt < 0 || valueAt < 0) {
      this.lost++;
      return;
    }
    const at = this.#labelCount++ * LABEL_WORDS;
    this.#labels[at] = nameAt;
    this.#labels[at + 1] = nameBytes;
    this.#labels[at + 2] = valueBytes === 0 ? 0 : valueAt;
    this.#labels[at + 3] = valueBytes;
    const note = (this.#count - 1) * NOTE_WORDS + LABELS;
    this.#notes[note] = (this.#notes[note] as number) + 1;
  }

  /**
   * Lays the annotations out and points the records at them. Notes of one record become one annotation: the gravest
   * severity, the message of the gravest note, all labels in the order of the filters. Those of records that do not
   * go on are left out; alerts stay. Returns the end of what the slot now holds.
   */
  layOut(view: DataView, offsets: Uint32Array, offsetsAt: number, judgements: Uint8Array): number {
    if (this.#count === 0) return -1;
    const notes = this.#notes;
    this.#first.fill(-1, 0, this.#records);
    this.#last.fill(-1, 0, this.#records);
    // Chained here, not as they came: what was rolled back is in no chain.
    for (let index = 0; index < this.#count; index++) {
      const at = index * NOTE_WORDS;
      notes[at + NEXT] = -1;
      if (((notes[at + KIND] as number) & 0x100) !== 0) continue;
      const record = notes[at + RECORD] as number;
      if (judgements[record] !== 0) continue;
      const last = this.#last[record] as number;
      if (last < 0) this.#first[record] = index;
      else notes[last * NOTE_WORDS + NEXT] = index;
      this.#last[record] = index;
    }
    let to = align8(this.#textAt);
    for (let index = 0; index < this.#count; index++) {
      const at = index * NOTE_WORDS;
      const record = notes[at + RECORD] as number;
      if (((notes[at + KIND] as number) & 0x100) !== 0 || this.#first[record] !== index) continue;
      const end = this.#write(view, to, index);
      if (end < 0) {
        this.lost++;
        continue;
      }
      view.setUint32((offsets[offsetsAt + record] as number) + RECORD_HEADER_ANNOTATION_AT, to, true);
      to = end;
    }
    return this.#layOutAlerts(view, to);
  }

  /**
   * Lays out what there is so far for a filter that reads labels, has `use` look at it, and takes it back: more will
   * be said, and some records may still be dropped. `use` is given the end of what the slot holds, or -1.
   */
  show(
    view: DataView,
    offsets: Uint32Array,
    offsetsAt: number,
    judgements: Uint8Array,
    use: (end: number) => void,
  ): void {
    const { lost } = this;
    use(this.layOut(view, offsets, offsetsAt, judgements));
    this.lost = lost;
    this.alertCount = 0;
    this.alertsAt = 0;
    for (let index = 0; index < this.#count; index++) {
      const record = this.#notes[index * NOTE_WORDS + RECORD] as number;
      view.setUint32((offsets[offsetsAt + record] as number) + RECORD_HEADER_ANNOTATION_AT, 0, true);
    }
  }

  #layOutAlerts(view: DataView, start: number): number {
    let to = start;
    const notes = this.#notes;
    let alerts = 0;
    for (let index = 0; index < this.#count; index++) {
      if (((notes[index * NOTE_WORDS + KIND] as number) & 0x100) !== 0) alerts++;
    }
    if (alerts === 0) return to;
    const listAt = to;
    if (listAt + alerts * 8 > this.#end) {
      this.lost += alerts;
      return to;
    }
    to = listAt + alerts * 8;
    let written = 0;
    for (let index = 0; index < this.#count; index++) {
      const at = index * NOTE_WORDS;
      if (((notes[at + KIND] as number) & 0x100) === 0) continue;
      const end = this.#write(view, to, index);
      if (end < 0) {
        this.lost++;
        continue;
      }
      view.setUint32(listAt + written * 8, notes[at + RECORD] as number, true);
      view.setUint32(listAt + written * 8 + 4, to, true);
      written++;
      to = end;
    }
    this.alertsAt = listAt;
    this.alertCount = written;
    return to;
  }

  /** Writes one annotation from a chain of notes; returns its end, or -1 where there is no room. */
  #write(view: DataView, to: number, first: number): number {
    const notes = this.#notes;
    const labels = this.#labels;
    let labelCount = 0;
    for (let index = first; index >= 0; index = notes[index * NOTE_WORDS + NEXT] as number) {
      labelCount += notes[index * NOTE_WORDS + LABELS] as number;
    }
    if (labelCount > RECORD_LABELS_MAX) {
      this.lost++;
      labelCount = RECORD_LABELS_MAX;
    }
    const end = to + ANNOTATION_BYTES + labelCount * ANNOTATION_LABEL_BYTES;
    if (end > this.#end) return -1;
    let severity = -1;
    let error = 0;
    let message = first * NOTE_WORDS;
    let labelTo = to + ANNOTATION_BYTES;
    for (let index = first; index >= 0; index = notes[index * NOTE_WORDS + NEXT] as number) {
      const at = index * NOTE_WORDS;
      const kind = notes[at + KIND] as number;
      if ((kind & 0x200) !== 0) error = 1;
      const graver = (kind & 0xff) > severity;
      if (graver) severity = kind & 0xff;
      if (notes[at + MESSAGE_BYTES] !== 0 && (graver || notes[message + MESSAGE_BYTES] === 0)) message = at;
      const from = notes[at + FIRST_LABEL] as number;
      for (let n = 0; n < (notes[at + LABELS] as number) && labelTo < end; n++) {
        const label = (from + n) * LABEL_WORDS;
        view.setUint32(labelTo + ANNOTATION_LABEL_NAME_AT, labels[label] as number, true);
        view.setUint32(labelTo + ANNOTATION_LABEL_NAME_AT + 4, labels[label + 1] as number, true);
        view.setUint32(labelTo + ANNOTATION_LABEL_VALUE_AT, labels[label + 2] as number, true);
        view.setUint32(labelTo + ANNOTATION_LABEL_VALUE_AT + 4, labels[label + 3] as number, true);
        labelTo += ANNOTATION_LABEL_BYTES;
      }
    }
    view.setUint8(to + ANNOTATION_SEVERITY_AT, severity);
    view.setUint8(to + ANNOTATION_ERROR_AT, error);
    view.setUint16(to + ANNOTATION_LABEL_COUNT_AT, labelCount, true);
    view.setUint32(to + ANNOTATION_FILTER_INDEX_AT, notes[message + FILTER] as number, true);
    view.setUint32(to + ANNOTATION_MESSAGE_AT, notes[message + MESSAGE_AT] as number, true);
    view.setUint32(to + ANNOTATION_MESSAGE_AT + 4, notes[message + MESSAGE_BYTES] as number, true);
    return end;
  }
}
