// SPDX-License-Identifier: Apache-2.0
// Owns the join: drained records become a batch. Each record gets the numbers of its process, its parent and its
// binding, and each of these is laid into the batch once.
//
// Hot: budget 300 ns a record with the drain, for 70 % hook records, 20 % execs, 10 % exits over 5,000 processes.
// Nothing is allocated for a record: typed arrays over the slot, offsets from the schema, hashing of integers, u64
// as pairs of u32.
//
// Two passes. The first walks the records in order, brings the process table up to date, and gives out the numbers;
// the sizes are known after it. The second lays the entries and their strings down behind the records, without a gap.

import { copyRanges } from '@weir/native';
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
  CLONE_RECORD_CGROUP_NAME_AT,
  CLONE_RECORD_NAMESPACE_PID_AT,
  CLONE_RECORD_NAMESPACES_AT,
  CLONE_RECORD_PARENT_PID_AT,
  CLONE_RECORD_PARENT_START_NS_AT,
  EventKind,
  EXEC_RECORD_ARGUMENTS_AT,
  EXEC_RECORD_BINARY_AT,
  EXEC_RECORD_BYTES,
  EXEC_RECORD_CGROUP_NAME_AT,
  EXEC_RECORD_CWD_AT,
  EXEC_RECORD_ENVIRONMENT_AT,
  EXEC_RECORD_PARENT_PID_AT,
  EXEC_RECORD_PARENT_START_NS_AT,
  EXEC_RECORD_UID_AT,
  HOOK_RECORD_BINDING_ID_AT,
  HOOK_RECORD_BINDING_INDEX_AT,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CGROUP_ID_AT,
  PROCESS_ENTRY_CONTAINER_ID_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_ENVIRONMENT_AT,
  PROCESS_ENTRY_EXEC_NS_AT,
  PROCESS_ENTRY_NAMESPACE_PID_AT,
  PROCESS_ENTRY_NAMESPACES_AT,
  PROCESS_ENTRY_PARENT_EXEC_NS_AT,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  PROCESS_ENTRY_PARENT_PID_AT,
  PROCESS_ENTRY_PARENT_START_NS_AT,
  PROCESS_ENTRY_REFERENCE_COUNT_AT,
  PROCESS_ENTRY_START_NS_AT,
  PROCESS_ENTRY_UID_AT,
  PROCESS_ENTRY_USER_NAME_AT,
  RECORD_HEADER_CGROUP_ID_AT,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PARENT_INDEX_AT,
  RECORD_HEADER_PID_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
  RECORD_HEADER_SEQUENCE_AT,
  RECORD_HEADER_SIZE_AT,
  RECORD_HEADER_START_NS_AT,
  RECORD_HEADER_TIME_NS_AT,
  RecordFlag,
} from '@weir/schema';
import { AGENT_CPU, BATCH_MAGIC, BATCH_VERSION } from '@weir/segment';
import { CONTAINER_ID_LENGTH, containerIdAt } from '../identity/container.js';
import type { Users } from '../identity/users.js';
import { PIECE_BYTES_MAX } from '../process/strings.js';
import { IMAGE_WORDS, type ProcessTable } from '../process/table.js';
import type { Accounting } from './accounting.js';
import type { Bindings } from './bindings.js';

/** Most entries that one record can add: its process, and the ancestors. */
export const ANCESTORS_MAX = 16;
/** Users whose names are laid into one batch. */
const USERS_MAX = 256;
const USER_NAME_BYTES_MAX = 64;

// Word positions in a record.
const R_SIZE = RECORD_HEADER_SIZE_AT / 4;
const R_KIND = RECORD_HEADER_KIND_AT / 4;
const R_TIME = RECORD_HEADER_TIME_NS_AT / 4;
const R_SEQUENCE = RECORD_HEADER_SEQUENCE_AT / 4;
const R_CPU = RECORD_HEADER_CPU_AT / 4;
const R_PID = RECORD_HEADER_PID_AT / 4;
const R_PROCESS = RECORD_HEADER_PROCESS_INDEX_AT / 4;
const R_START = RECORD_HEADER_START_NS_AT / 4;
const R_CGROUP = RECORD_HEADER_CGROUP_ID_AT / 4;
const R_PARENT = RECORD_HEADER_PARENT_INDEX_AT / 4;
const R_BINDING_ID = HOOK_RECORD_BINDING_ID_AT / 4;
const R_BINDING = HOOK_RECORD_BINDING_INDEX_AT / 4;
// Word positions in a process entry.
const P_PARENT_INDEX = PROCESS_ENTRY_PARENT_INDEX_AT / 4;
const P_START = PROCESS_ENTRY_START_NS_AT / 4;
const P_EXEC = PROCESS_ENTRY_EXEC_NS_AT / 4;
const P_PARENT_START = PROCESS_ENTRY_PARENT_START_NS_AT / 4;
const P_PARENT_EXEC = PROCESS_ENTRY_PARENT_EXEC_NS_AT / 4;
const P_PARENT_PID = PROCESS_ENTRY_PARENT_PID_AT / 4;
const P_CGROUP = PROCESS_ENTRY_CGROUP_ID_AT / 4;
const P_UID = PROCESS_ENTRY_UID_AT / 4;
const P_NAMESPACES = PROCESS_ENTRY_NAMESPACES_AT / 4;
const P_NAMESPACE_PID = PROCESS_ENTRY_NAMESPACE_PID_AT / 4;
const P_REFERENCES = PROCESS_ENTRY_REFERENCE_COUNT_AT / 4;
const P_BINARY = PROCESS_ENTRY_BINARY_AT / 4;
const P_ARGUMENTS = PROCESS_ENTRY_ARGUMENTS_AT / 4;
const P_CWD = PROCESS_ENTRY_CWD_AT / 4;
const P_CONTAINER = PROCESS_ENTRY_CONTAINER_ID_AT / 4;
const P_USER = PROCESS_ENTRY_USER_NAME_AT / 4;
const P_ENVIRONMENT = PROCESS_ENTRY_ENVIRONMENT_AT / 4;
const IDENTITY_WORDS = (PROCESS_ENTRY_REFERENCE_COUNT_AT - PROCESS_ENTRY_UID_AT) / 4;
const EXEC_WORDS = EXEC_RECORD_BYTES / 4;

const hookKinds = new Set<number>([
  EventKind.kprobe,
  EventKind.tracepoint,
  EventKind.loader,
  EventKind.uprobe,
  EventKind.lsm,
  EventKind.usdt,
]);
const isHook = Uint8Array.from({ length: 64 }, (_, kind) => (hookKinds.has(kind) ? 1 : 0));

export interface JoinOptions {
  readonly table: ProcessTable;
  readonly bindings: Bindings;
  readonly accounting: Accounting;
  readonly users: Users;
  readonly bootId: Uint8Array;
  readonly nodeName: string;
  readonly clusterName: string;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** Generations above a process that are laid beside it. 1 by default: the parent. */
  readonly ancestors?: number;
  /** Most records of a batch. */
  readonly recordsMax: number;
  /** Most bytes of a batch. */
  readonly batchBytesMax: number;
}

/** What became of a call of `join`. */
export interface Joined {
  /** Bytes of the batch, 0 where no record went into it. */
  byteLength: number;
  /** Records that are in it; the rest did not fit. */
  taken: number;
  /** Bytes of the slot up to the end of the last record that is in it. */
  recordsEnd: number;
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
  readonly #table: ProcessTable;
  readonly #bindings: Bindings;
  readonly #accounting: Accounting;
  readonly #users: Users;
  readonly #ancestors: number;
  readonly #bytesMax: number;
  /** Slots of the process entries of the batch, in order. */
  readonly #listed: Uint32Array;
  readonly #imageRanges: Uint32Array;
  readonly #stringRanges: Uint32Array;
  #listedCount = 0;
  #stringWords = 0;
  readonly #boundNumbers: Uint32Array;
  #boundCount = 0;
  #boundStringBytes = 0;
  readonly #userIds = new Uint32Array(USERS_MAX);
  readonly #userAt = new Uint32Array(USERS_MAX);
  readonly #userLength = new Uint32Array(USERS_MAX);
  #userCount = 0;
  readonly #header: { bootId: Uint8Array; node: Uint8Array; cluster: Uint8Array; labels: Uint8Array };
  readonly #reserveBytes: number;
  #batchSequence = 0n;
  /** Sequence of the rollout in force. */
  releaseSequence = 0;
  bootToUnixNs = 0n;
  /** Records whose process was not in the table. */
  orphans = 0;
  /** Records whose shape was wrong: never, or the ring is not ours. They are left out. */
  malformed = 0;
  /** Bindings that were not known. */
  unbound = 0;
  /** Told of a process that was not in the table and has an entry with little in it now. */
  onOrphan: ((slot: number, pid: number) => void) | undefined;

  constructor(options: JoinOptions) {
    this.#table = options.table;
    this.#bindings = options.bindings;
    this.#accounting = options.accounting;
    this.#users = options.users;
    this.#ancestors = Math.min(options.ancestors ?? 1, ANCESTORS_MAX);
    this.#bytesMax = options.batchBytesMax;
    this.#listed = new Uint32Array(
      Math.ceil(options.batchBytesMax / PROCESS_ENTRY_BYTES) + ANCESTORS_MAX + 2,
    );
    this.#imageRanges = new Uint32Array(this.#listed.length * 3);
    this.#stringRanges = new Uint32Array(this.#listed.length * 3);
    this.#boundNumbers = new Uint32Array(options.recordsMax + 1);
    const encoder = new TextEncoder();
    const labels = Object.entries(options.nodeLabels ?? {}).flat();
    this.#header = {
      bootId: options.bootId,
      node: encoder.encode(options.nodeName),
      cluster: encoder.encode(options.clusterName),
      labels: encoder.encode(labels.map((text) => `${text}\0`).join('')),
    };
    const { node, cluster, labels: labelBytes } = this.#header;
    // What one more record may add at the most, and what every batch ends with.
    this.#reserveBytes =
      (2 + this.#ancestors) * (PROCESS_ENTRY_BYTES + PIECE_BYTES_MAX) +
      USERS_MAX * USER_NAME_BYTES_MAX +
      node.length +
      cluster.length +
      labelBytes.length +
      BINDING_ENTRY_BYTES +
      64;
  }

  /** Bytes that the part of a batch behind its records can come to for one record: a batch needs more than this. */
  get reserveBytes(): number {
    return this.#reserveBytes;
  }

  /**
   * Makes a batch of records that lie in a slot behind the room of the header.
   * @param offsets where each record is, from the start of the slot, in order and without gaps
   * @param recordsEnd where the last one ends
   * @param keep called before the entries are laid over the records that did not fit, where there are such
   */
  join(
    slot: SlotViews,
    offsets: Uint32Array,
    count: number,
    recordsEnd: number,
    keep?: (taken: number, end: number) => void,
  ): Joined {
    const { words } = slot;
    this.#listedCount = 0;
    this.#stringWords = 0;
    this.#boundCount = 0;
    this.#boundStringBytes = 0;
    this.#userCount = 0;
    let taken = 0;
    let end = BATCH_HEADER_BYTES;
    for (; taken < count; taken++) {
      const used =
        end +
        taken * 4 +
        this.#listedCount * PROCESS_ENTRY_BYTES +
        this.#stringWords * 4 +
        this.#boundCount * BINDING_ENTRY_BYTES +
        this.#boundStringBytes;
      const at = offsets[taken] as number;
      const next = taken + 1 < count ? (offsets[taken + 1] as number) : recordsEnd;
      // What is larger than the slot was never drained; one record always fits.
      if (used + (next - at) + 4 + this.#reserveBytes > this.#bytesMax) break;
      this.#record(words, slot.bytes, at >> 2, next - at);
      end = next;
    }
    if (taken === 0) return { byteLength: 0, taken, recordsEnd: end };
    if (taken < count) keep?.(taken, end);
    const byteLength = this.#lay(slot, offsets, taken, end);
    this.#table.endBatch();
    return { byteLength, taken, recordsEnd: end };
  }

  #record(words: Uint32Array, bytes: Uint8Array, at: number, room: number): void {
    const kindAndFlags = words[at + R_KIND] as number;
    const kind = kindAndFlags & 0xffff;
    const cpu = words[at + R_CPU] as number;
    if (cpu !== AGENT_CPU) {
      this.#accounting.note(
        cpu,
        (words[at + R_SEQUENCE + 1] as number) * 4294967296 + (words[at + R_SEQUENCE] as number),
      );
    }
    if ((words[at + R_SIZE] as number) !== room) {
      this.malformed++;
      words[at + R_SIZE] = room;
    }
    const pid = words[at + R_PID] as number;
    if (pid === 0) return;
    const low = words[at + R_START] as number;
    const high = words[at + R_START + 1] as number;
    const table = this.#table;
    let slot = table.find(pid, low, high);
    if (kind === EventKind.exec) slot = this.#exec(words, bytes, at, slot, pid, low, high);
    else if (kind === EventKind.clone) slot = this.#clone(words, bytes, at, slot, pid, low, high);
    else if (slot === 0) {
      this.orphans++;
      words[at + R_KIND] = kindAndFlags | (RecordFlag.orphan << 16);
      slot = table.add(pid, low, high);
      if (slot !== 0) this.onOrphan?.(slot, pid);
    }
    if (slot === 0) return;
    words[at + R_PROCESS] = 1 + this.#list(slot);
    const parent = table.parent[slot] as number;
    words[at + R_PARENT] = parent === 0 ? 0 : 1 + (table.index[parent] as number);
    if (kind === EventKind.exit) table.exit(slot);
    else if (kind < 64 && isHook[kind] === 1)
      words[at + R_BINDING] = this.#bind(words[at + R_BINDING_ID] as number);
  }

  #bind(id: number): number {
    const number = this.#bindings.numberOf(id);
    const laid = this.#bindings.laid[number];
    if (laid === undefined) {
      this.unbound++;
      return 0;
    }
    if (laid.stamp !== this.#table.batch) {
      laid.stamp = this.#table.batch;
      laid.index = this.#boundCount;
      this.#boundNumbers[this.#boundCount++] = number;
      this.#boundStringBytes += laid.strings.length;
    }
    return 1 + laid.index;
  }

  /** Gives a process its number in the batch, and its ancestors theirs. */
  #list(slot: number): number {
    const table = this.#table;
    const batch = table.batch;
    let current = slot;
    for (let generation = 0; current !== 0 && generation <= this.#ancestors; generation++) {
      // A process that is there as another's ancestor may lack its own.
      if (table.stamp[current] !== batch) {
        table.stamp[current] = batch;
        table.index[current] = this.#listedCount;
        this.#listed[this.#listedCount++] = current;
        const string = table.string[current] as number;
        if (string !== 0 && table.strings.stamp[string] !== batch) {
          table.strings.stamp[string] = batch;
          this.#stringWords += (table.strings.lengthWords[string] as number) + 1;
        }
      }
      current = table.parent[current] as number;
    }
    return table.index[slot] as number;
  }

  #exec(
    words: Uint32Array,
    bytes: Uint8Array,
    at: number,
    found: number,
    pid: number,
    low: number,
    high: number,
  ): number {
    const table = this.#table;
    const slot = found !== 0 ? table.replace(found) : table.add(pid, low, high);
    if (slot === 0) return 0;
    const images = table.images;
    const to = slot * IMAGE_WORDS;
    if (table.parent[slot] === 0) {
      const parentAt = at + EXEC_RECORD_PARENT_START_NS_AT / 4;
      table.setParent(
        slot,
        words[at + EXEC_RECORD_PARENT_PID_AT / 4] as number,
        words[parentAt] as number,
        words[parentAt + 1] as number,
      );
    }
    images[to + P_EXEC] = words[at + R_TIME] as number;
    images[to + P_EXEC + 1] = words[at + R_TIME + 1] as number;
    images[to + P_CGROUP] = words[at + R_CGROUP] as number;
    images[to + P_CGROUP + 1] = words[at + R_CGROUP + 1] as number;
    const identity = at + EXEC_RECORD_UID_AT / 4;
    for (let word = 0; word < IDENTITY_WORDS; word++)
      images[to + P_UID + word] = words[identity + word] as number;
    const size = words[at + R_SIZE] as number;
    const payload = size - EXEC_RECORD_BYTES;
    if (payload <= 0) return slot;
    const string = table.strings.take(payload);
    if (string === 0) return slot;
    table.string[slot] = string;
    table.strings.copyIn(string, words, at + EXEC_WORDS);
    this.#span(words, at + EXEC_RECORD_BINARY_AT / 4, images, to + P_BINARY, size);
    this.#span(words, at + EXEC_RECORD_ARGUMENTS_AT / 4, images, to + P_ARGUMENTS, size);
    this.#span(words, at + EXEC_RECORD_CWD_AT / 4, images, to + P_CWD, size);
    this.#span(words, at + EXEC_RECORD_ENVIRONMENT_AT / 4, images, to + P_ENVIRONMENT, size);
    const name = words[at + EXEC_RECORD_CGROUP_NAME_AT / 4] as number;
    const nameLength = words[at + EXEC_RECORD_CGROUP_NAME_AT / 4 + 1] as number;
    if (nameLength >= CONTAINER_ID_LENGTH && name >= EXEC_RECORD_BYTES && name + nameLength <= size) {
      const container = containerIdAt(bytes, at * 4 + name, nameLength);
      if (container >= 0) {
        images[to + P_CONTAINER] = container - at * 4 - EXEC_RECORD_BYTES;
        images[to + P_CONTAINER + 1] = CONTAINER_ID_LENGTH;
      }
    }
    return slot;
  }

  /** A span of an exec record as the span of an image; one that leaves the record is left empty. */
  #span(words: Uint32Array, from: number, images: Uint32Array, to: number, size: number): void {
    const offset = words[from] as number;
    const length = words[from + 1] as number;
    if (length === 0) return;
    if (offset < EXEC_RECORD_BYTES || offset + length > size) {
      this.malformed++;
      return;
    }
    images[to] = offset - EXEC_RECORD_BYTES;
    images[to + 1] = length;
  }

  #clone(
    words: Uint32Array,
    bytes: Uint8Array,
    at: number,
    found: number,
    pid: number,
    low: number,
    high: number,
  ): number {
    const table = this.#table;
    // It can be there already: /proc showed it before its event came.
    if (found !== 0 && table.parent[found] !== 0) return found;
    const slot = found !== 0 ? found : table.add(pid, low, high);
    if (slot === 0) return 0;
    const parentAt = at + CLONE_RECORD_PARENT_START_NS_AT / 4;
    table.setParent(
      slot,
      words[at + CLONE_RECORD_PARENT_PID_AT / 4] as number,
      words[parentAt] as number,
      words[parentAt + 1] as number,
    );
    if (found !== 0) return slot;
    table.inherit(slot);
    const images = table.images;
    const to = slot * IMAGE_WORDS;
    const cgroupLow = words[at + R_CGROUP] as number;
    const cgroupHigh = words[at + R_CGROUP + 1] as number;
    const moved = images[to + P_CGROUP] !== cgroupLow || images[to + P_CGROUP + 1] !== cgroupHigh;
    images[to + P_CGROUP] = cgroupLow;
    images[to + P_CGROUP + 1] = cgroupHigh;
    const namespaces = at + CLONE_RECORD_NAMESPACES_AT / 4;
    for (let word = 0; word < 10; word++)
      images[to + P_NAMESPACES + word] = words[namespaces + word] as number;
    images[to + P_NAMESPACE_PID] = words[at + CLONE_RECORD_NAMESPACE_PID_AT / 4] as number;
    if (moved) this.#moveToContainer(words, bytes, at, slot);
    return slot;
  }

  /** A child that was made into another cgroup than its parent's: strings of its own, with its own container. */
  #moveToContainer(words: Uint32Array, bytes: Uint8Array, at: number, slot: number): void {
    const { strings, images, string } = this.#table;
    const to = slot * IMAGE_WORDS;
    images[to + P_CONTAINER] = 0;
    images[to + P_CONTAINER + 1] = 0;
    const name = words[at + CLONE_RECORD_CGROUP_NAME_AT / 4] as number;
    const length = words[at + CLONE_RECORD_CGROUP_NAME_AT / 4 + 1] as number;
    if (length < CONTAINER_ID_LENGTH || name + length > (words[at + R_SIZE] as number)) return;
    const container = containerIdAt(bytes, at * 4 + name, length);
    if (container < 0) return;
    const shared = string[slot] as number;
    const sharedBytes = shared === 0 ? 0 : (strings.lengthWords[shared] as number) * 4;
    const own = strings.take(sharedBytes + CONTAINER_ID_LENGTH);
    if (own === 0) return;
    const start = (strings.start[own] as number) * 4;
    const from = (strings.start[shared] as number) * 4;
    strings.bytes.copyWithin(start, from, from + sharedBytes);
    for (let index = 0; index < CONTAINER_ID_LENGTH; index++) {
      strings.bytes[start + sharedBytes + index] = bytes[container + index] as number;
    }
    strings.release(shared);
    string[slot] = own;
    images[to + P_CONTAINER] = sharedBytes;
    images[to + P_CONTAINER + 1] = CONTAINER_ID_LENGTH;
  }

  /** The second pass. Returns the length of the batch. */
  #lay(slot: SlotViews, offsets: Uint32Array, taken: number, recordsEnd: number): number {
    const { words, view, bytes } = slot;
    const offsetsAt = recordsEnd;
    for (let index = 0; index < taken; index++) words[(offsetsAt >> 2) + index] = offsets[index] as number;
    const processesAt = (offsetsAt + taken * 4 + 7) & ~7;
    const bindingsAt = processesAt + this.#listedCount * PROCESS_ENTRY_BYTES;
    let end = bindingsAt + this.#boundCount * BINDING_ENTRY_BYTES;
    end = this.#layBindings(words, bytes, bindingsAt, end);
    end = this.#layProcesses(words, bytes, processesAt, end);
    bytes.fill(0, 0, BATCH_HEADER_BYTES);
    view.setUint32(BATCH_HEADER_MAGIC_AT, BATCH_MAGIC, true);
    view.setUint16(BATCH_HEADER_VERSION_AT, BATCH_VERSION, true);
    view.setUint16(BATCH_HEADER_HEADER_BYTES_AT, BATCH_HEADER_BYTES, true);
    view.setUint32(BATCH_HEADER_RECORD_COUNT_AT, taken, true);
    view.setUint32(BATCH_HEADER_OFFSETS_AT_AT, offsetsAt, true);
    view.setUint32(BATCH_HEADER_PROCESS_COUNT_AT, this.#listedCount, true);
    view.setUint32(BATCH_HEADER_PROCESSES_AT_AT, this.#listedCount === 0 ? 0 : processesAt, true);
    view.setUint32(BATCH_HEADER_BINDING_COUNT_AT, this.#boundCount, true);
    view.setUint32(BATCH_HEADER_BINDINGS_AT_AT, this.#boundCount === 0 ? 0 : bindingsAt, true);
    view.setUint32(BATCH_HEADER_RELEASE_SEQUENCE_AT, this.releaseSequence, true);
    view.setBigInt64(BATCH_HEADER_BOOT_TO_UNIX_NS_AT, this.bootToUnixNs, true);
    view.setBigUint64(BATCH_HEADER_BATCH_SEQUENCE_AT, this.#batchSequence++, true);
    bytes.set(this.#header.bootId, BATCH_HEADER_BOOT_ID_AT);
    end = this.#text(slot, BATCH_HEADER_NODE_NAME_AT, this.#header.node, end);
    end = this.#text(slot, BATCH_HEADER_CLUSTER_NAME_AT, this.#header.cluster, end);
    end = this.#text(slot, BATCH_HEADER_NODE_LABELS_AT, this.#header.labels, end);
    const padded = (end + 7) & ~7;
    bytes.fill(0, end, padded);
    view.setUint32(BATCH_HEADER_BYTE_LENGTH_AT, padded, true);
    return padded;
  }

  #text(slot: SlotViews, at: number, text: Uint8Array, end: number): number {
    if (text.length === 0) return end;
    slot.bytes.set(text, end);
    slot.view.setUint32(at, end, true);
    slot.view.setUint32(at + 4, text.length, true);
    return end + text.length;
  }

  #layBindings(words: Uint32Array, bytes: Uint8Array, bindingsAt: number, stringsAt: number): number {
    let end = stringsAt;
    for (let index = 0; index < this.#boundCount; index++) {
      const laid = this.#bindings.laid[this.#boundNumbers[index] as number];
      if (laid === undefined) continue;
      const to = (bindingsAt + index * BINDING_ENTRY_BYTES) >> 2;
      words.set(laid.entry, to);
      for (let at = BINDING_ENTRY_POLICY_NAME_AT; at <= BINDING_ENTRY_ARGUMENT_LABELS_AT; at += 8) {
        if (words[to + at / 4 + 1] !== 0) words[to + at / 4] = (words[to + at / 4] as number) + end;
      }
      bytes.set(laid.strings, end);
      end += laid.strings.length;
    }
    return end;
  }

  /**
   * Lays the entries and their strings down. The bytes are copied by two calls of the addon, one for all images and
   * one for all strings; what differs from the image is then put right in place.
   */
  #layProcesses(words: Uint32Array, bytes: Uint8Array, processesAt: number, stringsAt: number): number {
    const table = this.#table;
    const { images, imageBytes, strings, parent, children, batch } = table;
    const imageRanges = this.#imageRanges;
    const stringRanges = this.#stringRanges;
    let stringCount = 0;
    let end = (stringsAt + 3) & ~3;
    for (let index = 0; index < this.#listedCount; index++) {
      const slot = this.#listed[index] as number;
      imageRanges[index * 3] = slot * PROCESS_ENTRY_BYTES;
      imageRanges[index * 3 + 1] = processesAt + index * PROCESS_ENTRY_BYTES;
      imageRanges[index * 3 + 2] = PROCESS_ENTRY_BYTES;
      const string = table.string[slot] as number;
      // The stamp is the batch's number once room is counted, and its negative once a place is given.
      if (string === 0 || (strings.stamp[string] as number) !== batch) continue;
      strings.placed[string] = end;
      strings.stamp[string] = -batch >>> 0;
      const length = (strings.lengthWords[string] as number) << 2;
      stringRanges[stringCount * 3] = (strings.start[string] as number) << 2;
      stringRanges[stringCount * 3 + 1] = end;
      stringRanges[stringCount * 3 + 2] = length;
      stringCount++;
      end += length;
    }
    copyRanges(bytes, imageBytes, imageRanges, this.#listedCount);
    copyRanges(bytes, strings.bytes, stringRanges, stringCount);
    for (let index = 0; index < this.#listedCount; index++) {
      const slot = this.#listed[index] as number;
      const to = (processesAt >> 2) + index * IMAGE_WORDS;
      words[to + P_REFERENCES] = 1 + (children[slot] as number);
      const above = parent[slot] as number;
      if (above !== 0) {
        // An entry from /proc may have got its exact start since.
        const aboveAt = above * IMAGE_WORDS;
        words[to + P_PARENT_INDEX] = table.stamp[above] === batch ? 1 + (table.index[above] as number) : 0;
        words[to + P_PARENT_PID] = images[aboveAt] as number;
        words[to + P_PARENT_START] = images[aboveAt + P_START] as number;
        words[to + P_PARENT_START + 1] = images[aboveAt + P_START + 1] as number;
        words[to + P_PARENT_EXEC] = images[aboveAt + P_EXEC] as number;
        words[to + P_PARENT_EXEC + 1] = images[aboveAt + P_EXEC + 1] as number;
      }
      const placed = strings.placed[table.string[slot] as number] as number;
      for (let span = P_BINARY; span <= P_ENVIRONMENT; span += 2) {
        if (words[to + span + 1] !== 0) words[to + span] = (words[to + span] as number) + placed;
      }
      // A user id in a container is another user than on the node.
      if (words[to + P_CONTAINER + 1] === 0) end = this.#layUser(words, bytes, to, end);
    }
    return end;
  }

  #layUser(words: Uint32Array, bytes: Uint8Array, to: number, end: number): number {
    const uid = words[to + P_UID] as number;
    let index = 0;
    while (index < this.#userCount && this.#userIds[index] !== uid) index++;
    let after = end;
    if (index === this.#userCount) {
      if (index === USERS_MAX) return end;
      this.#userCount++;
      this.#userIds[index] = uid;
      const name = this.#users.nameOf(uid);
      const length = name === undefined ? 0 : Math.min(name.length, USER_NAME_BYTES_MAX - 4);
      this.#userAt[index] = end;
      this.#userLength[index] = length;
      if (name !== undefined) {
        for (let byte = 0; byte < length; byte++) bytes[end + byte] = name[byte] as number;
        after = (end + length + 3) & ~3;
        bytes.fill(0, end + length, after);
      }
    }
    const length = this.#userLength[index] as number;
    if (length === 0) return after;
    words[to + P_USER] = this.#userAt[index] as number;
    words[to + P_USER + 1] = length;
    return after;
  }
}
