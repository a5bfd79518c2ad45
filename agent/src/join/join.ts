// SPDX-License-Identifier: Apache-2.0
// Owns the join: records become a batch. Each record gets the numbers of its process, its parent and its binding, and
// each of these is laid into the batch once.
//
// The addon does what is done for each record and each process (native/addon/join.h says how, and what it costs); here
// is what is done once a batch: its bindings, its header.
import { type Added, RecordJoin } from '@weir/native';
import {
  BATCH_HEADER_BATCH_SEQUENCE_AT,
  BATCH_HEADER_BINDING_COUNT_AT,
  BATCH_HEADER_BINDINGS_AT_AT,
  BATCH_HEADER_BOOT_ID_AT,
  BATCH_HEADER_BOOT_TO_UNIX_NS_AT,
  BATCH_HEADER_BYTE_LENGTH_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_CLUSTER_NAME_AT,
  BATCH_HEADER_HEADER_BYTES_AT,
  BATCH_HEADER_MAGIC_AT,
  BATCH_HEADER_NODE_LABELS_AT,
  BATCH_HEADER_NODE_NAME_AT,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BATCH_HEADER_RELEASE_SEQUENCE_AT,
  BATCH_HEADER_VERSION_AT,
  BINDING_ENTRY_ARGUMENT_LABELS_AT,
  BINDING_ENTRY_BYTES,
  BINDING_ENTRY_POLICY_NAME_AT,
  PROCESS_ENTRY_BYTES,
} from '@weir/schema';
import { BATCH_MAGIC, BATCH_VERSION } from '@weir/segment';
import type { Users } from '../identity/users.js';
import type { ProcessTable } from '../process/table.js';
import type { Accounting } from './accounting.js';
import { BINDINGS_MAX, type Bindings } from './bindings.js';

export interface JoinOptions {
  readonly table: ProcessTable;
  readonly bindings: Bindings;
  readonly accounting: Accounting;
  readonly users: Users;
  readonly bootId: Uint8Array;
  readonly nodeName: string;
  readonly clusterName: string;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** Generations above a process that are laid beside it, at most 16. 1 by default: the parent. */
  readonly ancestors?: number;
  /** Most records of a batch. */
  readonly recordsMax: number;
  /** Most bytes of a batch. */
  readonly batchBytesMax: number;
}

/** A batch that was made. */
export interface Joined {
  readonly byteLength: number;
  readonly records: number;
  /** Records that came, are in the books, and only brought the table of processes up to date. */
  readonly withheld: number;
}

/** One slot's memory, seen in the ways that are needed. */
export interface SlotViews {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
}

export function slotViews(bytes: Uint8Array): SlotViews {
  return {
    bytes,
    words: new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2),
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  };
}

export class Join {
  /** Records go into the batch through it: by `add`, or from a ring by `drainTo`. */
  readonly handle: RecordJoin;
  readonly #bindings: Bindings;
  /** Numbers of the bindings of the batch. */
  readonly #bound = new Uint32Array(BINDINGS_MAX + 1);
  readonly #header: { bootId: Uint8Array; node: Uint8Array; cluster: Uint8Array; labels: Uint8Array };
  #batchSequence = 0n;
  /** Sequence of the rollout in force. */
  releaseSequence = 0;
  bootToUnixNs = 0n;

  constructor(options: JoinOptions) {
    const { table, bindings, accounting, users, recordsMax, batchBytesMax } = options;
    this.#bindings = bindings;
    const encoder = new TextEncoder();
    const labels = Object.entries(options.nodeLabels ?? {}).flat();
    this.#header = {
      bootId: options.bootId,
      node: encoder.encode(options.nodeName),
      cluster: encoder.encode(options.clusterName),
      labels: encoder.encode(labels.map((text) => `${text}\0`).join('')),
    };
    const names = users.packed();
    this.handle = new RecordJoin({
      table: table.handle,
      ancestors: options.ancestors ?? 1,
      recordsMax,
      batchBytesMax,
      trailerBytes: this.#header.node.length + this.#header.cluster.length + this.#header.labels.length,
      direct: bindings.direct,
      bindingBytes: bindings.stringBytes,
      bound: this.#bound,
      numberOf: (id) => bindings.numberOf(id),
      next: accounting.next,
      handled: accounting.handled,
      handledInBatch: accounting.handledInBatch,
      userIds: names.ids,
      userEnds: names.ends,
      userNames: names.names,
    });
  }

  /** Records whose process was not in the table. */
  get orphans(): number {
    return this.handle.measure().orphans;
  }

  /** Records whose shape was wrong: never, or the ring is not ours. Those that are none are left out. */
  get malformed(): number {
    return this.handle.measure().malformed;
  }

  /** Records whose binding was not known. */
  get unbound(): number {
    return this.handle.measure().unbound;
  }

  /** Begins a batch in a slot. */
  begin(slot: SlotViews): void {
    this.handle.begin(slot.bytes);
  }

  add(record: Uint8Array): Added {
    return this.handle.add(record);
  }

  /**
   * Lays what the records refer to behind them. Undefined where there is no record. A batch of none but withheld ones is
   * empty, and goes the way of all: its books are written, and then the ring has its room back.
   */
  finish(slot: SlotViews): Joined | undefined {
    const { records, recordsEnd, processes, bindings, bindingStringBytes, withheld } = this.handle.measure();
    if (records + withheld === 0) return undefined;
    const { bytes, view } = slot;
    const processesAt = (recordsEnd + records * 4 + 7) & ~7;
    const bindingsAt = processesAt + processes * PROCESS_ENTRY_BYTES;
    const bindingStringsAt = bindingsAt + bindings * BINDING_ENTRY_BYTES;
    let end = this.handle.lay(bindingStringsAt + bindingStringBytes);
    this.#layBindings(slot, bindingsAt, bindings, bindingStringsAt);
    bytes.fill(0, 0, BATCH_HEADER_BYTES);
    view.setUint32(BATCH_HEADER_MAGIC_AT, BATCH_MAGIC, true);
    view.setUint16(BATCH_HEADER_VERSION_AT, BATCH_VERSION, true);
    view.setUint16(BATCH_HEADER_HEADER_BYTES_AT, BATCH_HEADER_BYTES, true);
    view.setUint32(BATCH_HEADER_RECORD_COUNT_AT, records, true);
    view.setUint32(BATCH_HEADER_OFFSETS_AT_AT, recordsEnd, true);
    view.setUint32(BATCH_HEADER_PROCESS_COUNT_AT, processes, true);
    view.setUint32(BATCH_HEADER_PROCESSES_AT_AT, processes === 0 ? 0 : processesAt, true);
    view.setUint32(BATCH_HEADER_BINDING_COUNT_AT, bindings, true);
    view.setUint32(BATCH_HEADER_BINDINGS_AT_AT, bindings === 0 ? 0 : bindingsAt, true);
    view.setUint32(BATCH_HEADER_RELEASE_SEQUENCE_AT, this.releaseSequence, true);
    view.setBigInt64(BATCH_HEADER_BOOT_TO_UNIX_NS_AT, this.bootToUnixNs, true);
    view.setBigUint64(BATCH_HEADER_BATCH_SEQUENCE_AT, this.#batchSequence++, true);
    bytes.set(this.#header.bootId, BATCH_HEADER_BOOT_ID_AT);
    end = this.#text(slot, BATCH_HEADER_NODE_NAME_AT, this.#header.node, end);
    end = this.#text(slot, BATCH_HEADER_CLUSTER_NAME_AT, this.#header.cluster, end);
    end = this.#text(slot, BATCH_HEADER_NODE_LABELS_AT, this.#header.labels, end);
    const byteLength = (end + 7) & ~7;
    bytes.fill(0, end, byteLength);
    view.setUint32(BATCH_HEADER_BYTE_LENGTH_AT, byteLength, true);
    return { byteLength, records, withheld };
  }

  #text(slot: SlotViews, at: number, text: Uint8Array, end: number): number {
    if (text.length === 0) return end;
    slot.bytes.set(text, end);
    slot.view.setUint32(at, end, true);
    slot.view.setUint32(at + 4, text.length, true);
    return end + text.length;
  }

  #layBindings({ words, bytes }: SlotViews, bindingsAt: number, count: number, stringsAt: number): void {
    let end = stringsAt;
    for (let index = 0; index < count; index++) {
      const laid = this.#bindings.laid[this.#bound[index] as number];
      if (laid === undefined) continue;
      const to = (bindingsAt + index * BINDING_ENTRY_BYTES) >> 2;
      words.set(laid.entry, to);
      for (let at = BINDING_ENTRY_POLICY_NAME_AT; at <= BINDING_ENTRY_ARGUMENT_LABELS_AT; at += 8) {
        if (words[to + at / 4 + 1] !== 0) words[to + at / 4] = (words[to + at / 4] as number) + end;
      }
      bytes.set(laid.strings, end);
      end += laid.strings.length;
    }
  }
}
