// SPDX-License-Identifier: Apache-2.0
// Owns what is left of a judged batch: the records that were kept, the alerts that filters derived, and only those
// entries that they refer to, as a batch of its own in memory of its own. So the slot can be used again at once.
//
// Hot: about 40 ns a record that is kept, 3 ns one that is dropped; one copy of the whole where all are kept.

import { copyRanges } from '@weir/native';
import {
  ALERT_RECORD_BYTES,
  ALERT_RECORD_CAUSE_CPU_AT,
  ALERT_RECORD_CAUSE_SEQUENCE_AT,
  ALERT_RECORD_SEVERITY_AT,
  ANNOTATION_BYTES,
  ANNOTATION_LABEL_BYTES,
  ANNOTATION_LABEL_COUNT_AT,
  ANNOTATION_LABEL_VALUE_AT,
  ANNOTATION_MESSAGE_AT,
  ANNOTATION_SEVERITY_AT,
  BATCH_HEADER_BINDING_COUNT_AT,
  BATCH_HEADER_BINDINGS_AT_AT,
  BATCH_HEADER_BYTE_LENGTH_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_CLUSTER_NAME_AT,
  BATCH_HEADER_NODE_LABELS_AT,
  BATCH_HEADER_NODE_NAME_AT,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_POD_COUNT_AT,
  BATCH_HEADER_PODS_AT_AT,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BINDING_ENTRY_ARGUMENT_LABELS_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_POLICY_NAME_AT,
  EventKind,
  HOOK_RECORD_BINDING_INDEX_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_BYTES,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
  RECORD_HEADER_SEQUENCE_AT,
  RECORD_HEADER_SIZE_AT,
  RecordFlag,
} from '@weir/schema';
import { AGENT_CPU } from '@weir/segment';
import type { SlotViews } from '../join/join.js';

const SIZE = RECORD_HEADER_SIZE_AT / 4;
const KIND = RECORD_HEADER_KIND_AT / 4;
const PROCESS = RECORD_HEADER_PROCESS_INDEX_AT / 4;
const PARENT = RECORD_HEADER_PARENT_INDEX_AT / 4;
const ANNOTATION = RECORD_HEADER_ANNOTATION_AT / 4;
const BINDING = HOOK_RECORD_BINDING_INDEX_AT / 4;
const PROCESS_WORDS = PROCESS_ENTRY_BYTES / 4;
const BINDING_WORDS = BINDING_ENTRY_BYTES / 4;
/** An alert's record and its offset. */
const ALERT_BYTES = ALERT_RECORD_BYTES + 4;
/** Padding between the parts of a batch, and at its end. */
const ALIGNMENT_BYTES = 32;

const hookKinds = new Set<number>([
  EventKind.kprobe,
  EventKind.tracepoint,
  EventKind.loader,
  EventKind.uprobe,
  EventKind.lsm,
  EventKind.usdt,
]);
const isHook = Uint8Array.from({ length: 64 }, (_, kind) => (hookKinds.has(kind) ? 1 : 0));

/**
 * Runs of bytes that several entries share are copied once. All of a batch are remembered, by exact match: what is
 * copied twice could make the survivors larger than the batch. Six spans an entry are at most 53,000 in 2 MiB.
 */
const SHARED = 65_536;
/** Words of a place in the table of runs: number of the batch that it was filled for, so that the table need not be emptied; where the run is in the source, its length, where it is in the target. */
const SHARED_WORDS = 4;
/** Runs that wait to be copied in one call. */
const COPIES_MAX = 4096;

/** Alerts of a batch, as the filter host tells of them. */
export interface Alerts {
  readonly count: number;
  /** Where the pairs (record, annotation) begin in the slot. */
  readonly at: number;
}

/**
 * Bytes that hold the survivors of any batch: the batch; as much again, for text of it that annotations point at; and
 * what is said of it, where each note (24 bytes in the slot) may be an alert, which takes a record (88), an offset (4)
 * and up to 7 bytes before its annotation.
 */
export function survivorBytes(batchBytesMax: number, annotationBytesMax: number): number {
  return batchBytesMax * 2 + annotationBytesMax * 6;
}

export class Survivors {
  readonly #processes: Uint32Array;
  readonly #processList: Uint32Array;
  #processCount = 0;
  readonly #bindings: Uint32Array;
  readonly #bindingList: Uint32Array;
  #bindingCount = 0;
  readonly #offsets: Uint32Array;
  readonly #ranges: Uint32Array;
  readonly #shared = new Uint32Array(SHARED * SHARED_WORDS);
  readonly #copies = new Uint32Array(COPIES_MAX * 3);
  #copyCount = 0;
  #batch = 0;
  #source: SlotViews | undefined;
  #target: SlotViews | undefined;
  #end = 0;
  /** Alerts for which there was no room: they are counted as lost. */
  alertsLost = 0;
  /** Annotations for whose text there was no room: their records go on without. */
  annotationsLost = 0;

  constructor(recordsMax: number, batchBytesMax: number) {
    const processesMax = Math.ceil(batchBytesMax / PROCESS_ENTRY_BYTES) + 1;
    this.#processes = new Uint32Array(processesMax);
    this.#processList = new Uint32Array(processesMax);
    this.#bindings = new Uint32Array(recordsMax + 1);
    this.#bindingList = new Uint32Array(recordsMax + 1);
    this.#offsets = new Uint32Array(recordsMax * 2);
    this.#ranges = new Uint32Array(recordsMax * 3);
  }

  /**
   * Writes what is kept of the batch in `source` into `target`, which has as many bytes as a slot, or `survivorBytes`
   * so that nothing is lost.
   * @param keep value of a verdict byte that goes on
   * @param alertSequence numbers alerts; it is made to rise
   * @returns bytes of the new batch
   */
  extract(
    source: SlotViews,
    byteLength: number,
    verdicts: Uint8Array,
    keep: number,
    kept: number,
    alerts: Alerts,
    alertSequence: () => bigint,
    target: SlotViews,
  ): number {
    const count = source.view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    if (kept === count && alerts.count === 0) {
      target.bytes.set(source.bytes.subarray(0, byteLength));
      return byteLength;
    }
    this.#source = source;
    this.#target = target;
    this.#batch = (this.#batch + 1) >>> 0 || 1;
    this.#processCount = 0;
    this.#bindingCount = 0;
    this.#copyCount = 0;
    const { view } = source;
    const processes = view.getUint32(BATCH_HEADER_PROCESS_COUNT_AT, true);
    const bindings = view.getUint32(BATCH_HEADER_BINDING_COUNT_AT, true);
    this.#processes.fill(0, 0, processes + 1);
    this.#bindings.fill(0, 0, bindings + 1);
    target.bytes.set(source.bytes.subarray(0, BATCH_HEADER_BYTES));
    this.#end = BATCH_HEADER_BYTES;
    let records = this.#records(count, verdicts, keep);
    records = this.#alerts(alerts, records, alertSequence, target.bytes.length - byteLength);
    this.#finish(records);
    return this.#end;
  }

  #records(count: number, verdicts: Uint8Array, keep: number): number {
    const source = this.#source as SlotViews;
    const from = source.words;
    const to = (this.#target as SlotViews).words;
    const offsetsAt = source.view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true) >> 2;
    let end = this.#end >> 2;
    let records = 0;
    for (let index = 0; index < count; index++) {
      if (verdicts[index] !== keep) continue;
      const at = (from[offsetsAt + index] as number) >> 2;
      const size = (from[at + SIZE] as number) >> 2;
      this.#ranges[records * 3] = at << 2;
      this.#ranges[records * 3 + 1] = end << 2;
      this.#ranges[records * 3 + 2] = size << 2;
      this.#offsets[records++] = end << 2;
      end += size;
    }
    copyRanges((this.#target as SlotViews).bytes, source.bytes, this.#ranges, records);
    this.#end = end << 2;
    for (let index = 0; index < records; index++) {
      const end = (this.#offsets[index] as number) >> 2;
      const process = to[end + PROCESS] as number;
      if (process !== 0) to[end + PROCESS] = this.#process(process);
      const parent = to[end + PARENT] as number;
      if (parent !== 0) to[end + PARENT] = this.#process(parent);
      const kind = (to[end + KIND] as number) & 0xffff;
      if (kind < 64 && isHook[kind] === 1) {
        const binding = to[end + BINDING] as number;
        if (binding !== 0) to[end + BINDING] = this.#binding(binding);
      }
    }
    return records;
  }

  /** 1 + new index of a process entry, given 1 + the old one. */
  #process(old: number): number {
    let mapped = this.#processes[old] as number;
    if (mapped === 0) {
      this.#processList[this.#processCount++] = old - 1;
      mapped = this.#processCount;
      this.#processes[old] = mapped;
    }
    return mapped;
  }

  #binding(old: number): number {
    let mapped = this.#bindings[old] as number;
    if (mapped === 0) {
      this.#bindingList[this.#bindingCount++] = old - 1;
      mapped = this.#bindingCount;
      this.#bindings[old] = mapped;
    }
    return mapped;
  }

  /** Adds what alerts have room in what the batch itself leaves: they come before the text of annotations. */
  #alerts(alerts: Alerts, records: number, alertSequence: () => bigint, room: number): number {
    const source = this.#source as SlotViews;
    const target = this.#target as SlotViews;
    const offsetsAt = source.view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
    const most = Math.min(
      this.#offsets.length,
      records + Math.max(0, Math.floor((room - ALIGNMENT_BYTES) / ALERT_BYTES)),
    );
    let count = records;
    for (let index = 0; index < alerts.count; index++) {
      if (count === most) {
        this.alertsLost++;
        continue;
      }
      const record = source.view.getUint32(alerts.at + index * 8, true);
      const annotation = source.view.getUint32(alerts.at + index * 8 + 4, true);
      const cause = source.view.getUint32(offsetsAt + record * 4, true);
      const at = this.#end;
      target.bytes.set(source.bytes.subarray(cause, cause + RECORD_HEADER_BYTES), at);
      const { view } = target;
      view.setUint32(at + RECORD_HEADER_SIZE_AT, ALERT_RECORD_BYTES, true);
      view.setUint16(at + RECORD_HEADER_KIND_AT, EventKind.alert, true);
      view.setUint16(at + RECORD_HEADER_FLAGS_AT, RecordFlag.protected, true);
      view.setBigUint64(at + RECORD_HEADER_SEQUENCE_AT, alertSequence(), true);
      view.setUint32(at + RECORD_HEADER_CPU_AT, AGENT_CPU, true);
      view.setUint32(at + RECORD_HEADER_ANNOTATION_AT, annotation, true);
      for (const field of [RECORD_HEADER_PROCESS_INDEX_AT, RECORD_HEADER_PARENT_INDEX_AT]) {
        const old = source.view.getUint32(cause + field, true);
        view.setUint32(at + field, old === 0 ? 0 : this.#process(old), true);
      }
      view.setBigUint64(
        at + ALERT_RECORD_CAUSE_SEQUENCE_AT,
        source.view.getBigUint64(cause + RECORD_HEADER_SEQUENCE_AT, true),
        true,
      );
      view.setUint32(
        at + ALERT_RECORD_CAUSE_CPU_AT,
        source.view.getUint32(cause + RECORD_HEADER_CPU_AT, true),
        true,
      );
      const severity = annotation === 0 ? 0 : source.view.getUint8(annotation + ANNOTATION_SEVERITY_AT);
      view.setUint32(at + ALERT_RECORD_SEVERITY_AT, severity, true);
      this.#offsets[count++] = at;
      this.#end += ALERT_RECORD_BYTES;
    }
    return count;
  }

  /** Has a run of bytes copied behind what is there, or finds the copy that is there. Returns its new offset. */
  #bytes(offset: number, length: number): number {
    const shared = this.#shared;
    let place = (Math.imul(offset, 0x9e3779b1) >>> 16) * SHARED_WORDS;
    for (let steps = 0; shared[place] === this.#batch && steps < SHARED; steps++) {
      if (shared[place + 1] === offset && shared[place + 2] === length) return shared[place + 3] as number;
      place = (place + SHARED_WORDS) % (SHARED * SHARED_WORDS);
    }
    const at = this.#end;
    shared[place] = this.#batch;
    shared[place + 1] = offset;
    shared[place + 2] = length;
    shared[place + 3] = at;
    this.#copy(offset, at, length);
    this.#end = at + length;
    return at;
  }

  /** Has a run of bytes copied by the next `#copyAll`. */
  #copy(from: number, to: number, length: number): void {
    if (this.#copyCount === COPIES_MAX) this.#copyAll();
    const put = this.#copyCount++ * 3;
    this.#copies[put] = from;
    this.#copies[put + 1] = to;
    this.#copies[put + 2] = length;
  }

  #copyAll(): void {
    const target = (this.#target as SlotViews).bytes;
    copyRanges(target, (this.#source as SlotViews).bytes, this.#copies, this.#copyCount);
    this.#copyCount = 0;
  }

  #spans(words: Uint32Array, first: number, last: number): void {
    for (let at = first; at <= last; at += 2) {
      const length = words[at + 1] as number;
      if (length !== 0) words[at] = this.#bytes(words[at] as number, length);
    }
  }

  #finish(records: number): void {
    const source = this.#source as SlotViews;
    const target = this.#target as SlotViews;
    const from = source.words;
    const to = target.words;
    const processesFrom = source.view.getUint32(BATCH_HEADER_PROCESSES_AT_AT, true) >> 2;
    const bindingsFrom = source.view.getUint32(BATCH_HEADER_BINDINGS_AT_AT, true) >> 2;
    // Parents of what is kept are kept; the list grows as it is walked.
    for (let index = 0; index < this.#processCount; index++) {
      const at = processesFrom + (this.#processList[index] as number) * PROCESS_WORDS;
      const parent = from[at + PROCESS_ENTRY_PARENT_INDEX_AT / 4] as number;
      if (parent !== 0) this.#process(parent);
    }
    const offsetsAt = this.#end;
    for (let index = 0; index < records; index++)
      to[(offsetsAt >> 2) + index] = this.#offsets[index] as number;
    const processesAt = (offsetsAt + records * 4 + 7) & ~7;
    const bindingsAt = processesAt + this.#processCount * PROCESS_ENTRY_BYTES;
    this.#end = bindingsAt + this.#bindingCount * BINDING_ENTRY_BYTES;
    for (let index = 0; index < this.#processCount; index++) {
      const at = (processesFrom + (this.#processList[index] as number) * PROCESS_WORDS) << 2;
      this.#copy(at, processesAt + index * PROCESS_ENTRY_BYTES, PROCESS_ENTRY_BYTES);
    }
    // Before they are looked at.
    this.#copyAll();
    for (let index = 0; index < this.#processCount; index++) {
      const at = processesFrom + (this.#processList[index] as number) * PROCESS_WORDS;
      const put = (processesAt >> 2) + index * PROCESS_WORDS;
      const parent = from[at + PROCESS_ENTRY_PARENT_INDEX_AT / 4] as number;
      to[put + PROCESS_ENTRY_PARENT_INDEX_AT / 4] = parent === 0 ? 0 : (this.#processes[parent] as number);
      this.#spans(to, put + PROCESS_ENTRY_BINARY_AT / 4, put + PROCESS_ENTRY_ENVIRONMENT_AT / 4);
    }
    for (let index = 0; index < this.#bindingCount; index++) {
      const at = bindingsFrom + (this.#bindingList[index] as number) * BINDING_WORDS;
      const put = (bindingsAt >> 2) + index * BINDING_WORDS;
      for (let word = 0; word < BINDING_WORDS; word++) to[put + word] = from[at + word] as number;
      this.#spans(to, put + BINDING_ENTRY_POLICY_NAME_AT / 4, put + BINDING_ENTRY_ARGUMENT_LABELS_AT / 4);
    }
    const { view } = target;
    for (const at of [BATCH_HEADER_NODE_NAME_AT, BATCH_HEADER_CLUSTER_NAME_AT, BATCH_HEADER_NODE_LABELS_AT]) {
      const length = view.getUint32(at + 4, true);
      if (length !== 0) view.setUint32(at, this.#bytes(view.getUint32(at, true), length), true);
    }
    // Last: what has no room is theirs.
    this.#annotations(records);
    this.#copyAll();
    const end = this.#end;
    this.#end = (end + 7) & ~7;
    target.bytes.fill(0, end, this.#end);
    view.setUint32(BATCH_HEADER_BYTE_LENGTH_AT, this.#end, true);
    view.setUint32(BATCH_HEADER_RECORD_COUNT_AT, records, true);
    view.setUint32(BATCH_HEADER_OFFSETS_AT_AT, offsetsAt, true);
    view.setUint32(BATCH_HEADER_PROCESS_COUNT_AT, this.#processCount, true);
    view.setUint32(BATCH_HEADER_PROCESSES_AT_AT, this.#processCount === 0 ? 0 : processesAt, true);
    view.setUint32(BATCH_HEADER_POD_COUNT_AT, 0, true);
    view.setUint32(BATCH_HEADER_PODS_AT_AT, 0, true);
    view.setUint32(BATCH_HEADER_BINDING_COUNT_AT, this.#bindingCount, true);
    view.setUint32(BATCH_HEADER_BINDINGS_AT_AT, this.#bindingCount === 0 ? 0 : bindingsAt, true);
  }

  /** Moves the annotations of the records: the struct, its labels behind it, and their strings, or none of these. */
  #annotations(records: number): void {
    const source = this.#source as SlotViews;
    const target = this.#target as SlotViews;
    const { words, view } = target;
    for (let index = 0; index < records; index++) {
      const record = (this.#offsets[index] as number) >> 2;
      const old = words[record + ANNOTATION] as number;
      if (old === 0) continue;
      const labels = source.view.getUint16(old + ANNOTATION_LABEL_COUNT_AT, true);
      const length = ANNOTATION_BYTES + labels * ANNOTATION_LABEL_BYTES;
      const at = (this.#end + 7) & ~7;
      let most = length + source.view.getUint32(old + ANNOTATION_MESSAGE_AT + 4, true);
      for (let label = old + ANNOTATION_BYTES; label < old + length; label += ANNOTATION_LABEL_BYTES) {
        most += source.view.getUint32(label + 4, true);
        most += source.view.getUint32(label + ANNOTATION_LABEL_VALUE_AT + 4, true);
      }
      if (at + most > target.bytes.length - 8) {
        words[record + ANNOTATION] = 0;
        this.annotationsLost++;
        continue;
      }
      target.bytes.fill(0, this.#end, at);
      target.bytes.set(source.bytes.subarray(old, old + length), at);
      this.#end = at + length;
      const move = (span: number) => {
        const bytes = view.getUint32(span + 4, true);
        if (bytes !== 0) view.setUint32(span, this.#bytes(view.getUint32(span, true), bytes), true);
      };
      move(at + ANNOTATION_MESSAGE_AT);
      for (let label = 0; label < labels; label++) {
        const from = at + ANNOTATION_BYTES + label * ANNOTATION_LABEL_BYTES;
        move(from);
        move(from + ANNOTATION_LABEL_VALUE_AT);
      }
      words[record + ANNOTATION] = at;
    }
  }
}
