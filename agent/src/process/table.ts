// SPDX-License-Identifier: Apache-2.0
// Owns the process table: who runs, who ran, and who made whom.
//
// An entry is an execution: exec puts a new entry in the place of the old one, which stays for as long as children
// made before the exec refer to it. So a child keeps the parent that made it, as it was then. The identity of a
// process is (pid, start_ns); an entry is found by both halves, never by the pid alone, so a reused pid can never
// lend its name. /proc tells the start only to 10 ms: entries that were found there (seeds) wait beside the hash
// until an event with the same pid and the same 10 ms shows the exact start.
//
// An entry goes when nothing refers to it: after an exec at once, after an exit when `exitedMax` later ones have
// ended, since events can come late. All memory is taken at the start (`bytesMax` says how much at the most; pages
// that were never used cost nothing). When the table is full, the oldest that has exited goes; else one that runs,
// and that is counted.
//
// Hot: look-up 15 to 40 ns; an exec about 150 ns with its strings. Slots are numbers from 1 on; 0 is none.
import {
  ExecFlag,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_CGROUP_ID_AT,
  PROCESS_ENTRY_EXEC_FLAGS_AT,
  PROCESS_ENTRY_EXEC_NS_AT,
  PROCESS_ENTRY_PARENT_EXEC_NS_AT,
  PROCESS_ENTRY_PARENT_PID_AT,
  PROCESS_ENTRY_PARENT_START_NS_AT,
  PROCESS_ENTRY_PID_AT,
  PROCESS_ENTRY_START_NS_AT,
} from '@weir/schema';
import { bytesToText } from '@weir/segment';
import { Strings } from './strings.js';

export const IMAGE_WORDS = PROCESS_ENTRY_BYTES / 4;
const PID = PROCESS_ENTRY_PID_AT / 4;
const START = PROCESS_ENTRY_START_NS_AT / 4;
const EXEC = PROCESS_ENTRY_EXEC_NS_AT / 4;
const PARENT_START = PROCESS_ENTRY_PARENT_START_NS_AT / 4;
const PARENT_EXEC = PROCESS_ENTRY_PARENT_EXEC_NS_AT / 4;
const PARENT_PID = PROCESS_ENTRY_PARENT_PID_AT / 4;
const CGROUP = PROCESS_ENTRY_CGROUP_ID_AT / 4;
const FLAGS = PROCESS_ENTRY_EXEC_FLAGS_AT / 4;

const NS_PER_TICK = 10_000_000n;

const State = {
  free: 0,
  /** Found by its identity. */
  current: 1,
  /** Replaced by an exec; only children refer to it. */
  replaced: 2,
  /** Ended; still found by its identity. */
  exited: 3,
  /** Found in /proc; its exact start is not known. */
  seed: 4,
} as const;

export interface ProcessTableOptions {
  /** Most entries. 32,768 by default. */
  readonly processesMax?: number;
  /** Bytes of binaries, arguments and directories. 24 MiB by default. */
  readonly stringBytesMax?: number;
  /** Ended processes that are kept for late events. 4,096 by default. */
  readonly exitedMax?: number;
}

export class ProcessTable {
  readonly processesMax: number;
  readonly exitedMax: number;
  readonly strings: Strings;
  /** A process entry each, as a batch has it; spans count from the start of the entry's strings. */
  readonly images: Uint32Array;
  readonly imageBytes: Uint8Array;
  readonly parent: Int32Array;
  readonly string: Uint32Array;
  /** Number of the batch in which the entry was last laid out, and its index there. */
  readonly stamp: Uint32Array;
  readonly index: Uint32Array;
  /** Children that refer to it. */
  readonly children: Uint32Array;
  readonly #state: Uint8Array;
  readonly #queued: Uint8Array;
  readonly #next: Int32Array;
  readonly #heads: Int32Array;
  readonly #hashShift: number;
  readonly #exited: Uint32Array;
  #exitedHead = 0;
  #exitedCount = 0;
  readonly #freeSlots: Uint32Array;
  #freeCount: number;
  readonly #leaving: Uint32Array;
  #leavingCount = 0;
  #hand = 1;
  /** Slot that must not be evicted though it has no number in the batch yet. */
  #pinned = 0;
  readonly #seeds = new Map<number, number>();
  /** Batch that is being joined: entries in it are not evicted. */
  batch = 1;
  /** Counters for metrics. */
  evictedRunning = 0;
  evictedExited = 0;
  refused = 0;
  adopted = 0;

  constructor(options: ProcessTableOptions = {}) {
    const max = options.processesMax ?? 32_768;
    this.processesMax = max;
    this.exitedMax = Math.min(options.exitedMax ?? 4096, max);
    this.strings = new Strings(max, options.stringBytesMax ?? 24 * 1024 * 1024);
    this.images = new Uint32Array((max + 1) * IMAGE_WORDS);
    this.imageBytes = new Uint8Array(this.images.buffer);
    this.parent = new Int32Array(max + 1);
    this.string = new Uint32Array(max + 1);
    this.stamp = new Uint32Array(max + 1);
    this.index = new Uint32Array(max + 1);
    this.children = new Uint32Array(max + 1);
    this.#state = new Uint8Array(max + 1);
    this.#queued = new Uint8Array(max + 1);
    this.#next = new Int32Array(max + 1);
    const bits = Math.max(4, Math.ceil(Math.log2(max * 2)));
    this.#heads = new Int32Array(1 << bits);
    this.#hashShift = 32 - bits;
    this.#exited = new Uint32Array(max);
    this.#leaving = new Uint32Array(max);
    this.#freeSlots = new Uint32Array(max);
    for (let slot = 0; slot < max; slot++) this.#freeSlots[slot] = max - slot;
    this.#freeCount = max;
  }

  /** Upper bound of what the table can take: 352 bytes an entry (indices and free lists included), and the strings. */
  get bytesMax(): number {
    const perEntry = PROCESS_ENTRY_BYTES + 4 * 9 + 2 + 4 * 8 + 5 * 4 + 1;
    return (this.processesMax + 1) * perEntry + this.strings.bytes.length;
  }

  /** Entries in use. */
  get size(): number {
    return this.processesMax - this.#freeCount;
  }

  get seeds(): number {
    return this.#seeds.size;
  }

  #hash(pid: number, startLow: number): number {
    const mixed = Math.imul(pid, 0x9e3779b1) ^ Math.imul(startLow, 0x85ebca6b);
    return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> this.#hashShift;
  }

  /** Finds a process by its identity; 0 where it is not known. */
  find(pid: number, startLow: number, startHigh: number): number {
    const images = this.images;
    let slot = this.#heads[this.#hash(pid, startLow)] as number;
    while (slot !== 0) {
      const at = slot * IMAGE_WORDS;
      if (
        images[at + PID] === pid &&
        images[at + START] === startLow &&
        images[at + START + 1] === startHigh
      ) {
        return slot;
      }
      slot = this.#next[slot] as number;
    }
    return this.#seeds.size === 0 ? 0 : this.#adopt(pid, startLow, startHigh);
  }

  /** A seed with this pid that began in the same clock tick is this process: it gets its exact start. */
  #adopt(pid: number, startLow: number, startHigh: number): number {
    const slot = this.#seeds.get(pid);
    if (slot === undefined) return 0;
    const at = slot * IMAGE_WORDS;
    const exact = (BigInt(startHigh) << 32n) | BigInt(startLow);
    const seeded =
      (BigInt(this.images[at + START + 1] as number) << 32n) | BigInt(this.images[at + START] as number);
    if (exact / NS_PER_TICK !== seeded / NS_PER_TICK) {
      // Another process has the pid now: the one that was seeded has ended, and its exit was not seen.
      if (exact > seeded) {
        this.#seeds.delete(pid);
        this.#state[slot] = State.replaced;
        if (this.children[slot] === 0) this.#leave(slot);
      }
      return 0;
    }
    this.#seeds.delete(pid);
    this.#setTime(at + START, startLow, startHigh);
    this.#setTime(at + EXEC, startLow, startHigh);
    this.#state[slot] = State.current;
    this.#link(slot);
    this.adopted++;
    return slot;
  }

  #setTime(at: number, low: number, high: number): void {
    this.images[at] = low;
    this.images[at + 1] = high;
  }

  #link(slot: number): void {
    const at = slot * IMAGE_WORDS;
    const head = this.#hash(this.images[at + PID] as number, this.images[at + START] as number);
    this.#next[slot] = this.#heads[head] as number;
    this.#heads[head] = slot;
  }

  #unlink(slot: number): void {
    const at = slot * IMAGE_WORDS;
    const head = this.#hash(this.images[at + PID] as number, this.images[at + START] as number);
    let current = this.#heads[head] as number;
    if (current === slot) {
      this.#heads[head] = this.#next[slot] as number;
      return;
    }
    while (current !== 0) {
      const following = this.#next[current] as number;
      if (following === slot) {
        this.#next[current] = this.#next[slot] as number;
        return;
      }
      current = following;
    }
  }

  /** A slot with an empty image; 0 where there is none to be had. */
  #take(): number {
    if (this.#freeCount === 0 && !this.#evict()) {
      this.refused++;
      return 0;
    }
    const slot = this.#freeSlots[--this.#freeCount] as number;
    const at = slot * IMAGE_WORDS;
    this.images.fill(0, at, at + IMAGE_WORDS);
    this.parent[slot] = 0;
    this.string[slot] = 0;
    this.stamp[slot] = 0;
    this.children[slot] = 0;
    this.#queued[slot] = 0;
    return slot;
  }

  /** Makes a free slot: of the oldest that has ended, else of one that runs and has no children. */
  #evict(): boolean {
    for (let tries = this.#exitedCount; tries > 0; tries--) {
      const slot = this.#dequeue();
      if (this.#state[slot] !== State.exited || this.children[slot] !== 0) continue;
      if (this.stamp[slot] === this.batch || slot === this.#pinned) {
        this.#enqueue(slot);
        continue;
      }
      this.evictedExited++;
      this.#free(slot);
      return true;
    }
    for (let tries = this.processesMax; tries > 0; tries--) {
      const slot = this.#hand;
      this.#hand = slot === this.processesMax ? 1 : slot + 1;
      const state = this.#state[slot];
      if ((state !== State.current && state !== State.seed) || this.children[slot] !== 0) continue;
      if (this.stamp[slot] === this.batch || slot === this.#pinned) continue;
      this.evictedRunning++;
      this.#free(slot);
      return true;
    }
    return false;
  }

  #free(slot: number): void {
    const state = this.#state[slot];
    if (state === State.free) return;
    if (state === State.current || state === State.exited) this.#unlink(slot);
    if (state === State.seed) this.#seeds.delete(this.images[slot * IMAGE_WORDS + PID] as number);
    this.#state[slot] = State.free;
    this.strings.release(this.string[slot] as number);
    this.string[slot] = 0;
    const parent = this.parent[slot] as number;
    this.parent[slot] = 0;
    this.#freeSlots[this.#freeCount++] = slot;
    if (parent !== 0) this.#unrefer(parent);
  }

  #unrefer(slot: number): void {
    const left = (this.children[slot] as number) - 1;
    this.children[slot] = left;
    if (left > 0) return;
    const state = this.#state[slot];
    if (state === State.replaced || (state === State.exited && this.#queued[slot] === 0)) this.#leave(slot);
  }

  /** Frees a slot at the end of the batch: its entry may have been promised to a record already. */
  #leave(slot: number): void {
    if (this.#queued[slot] === 2) return;
    this.#queued[slot] = 2;
    if (this.#leavingCount < this.#leaving.length) this.#leaving[this.#leavingCount++] = slot;
  }

  #enqueue(slot: number): void {
    this.#exited[(this.#exitedHead + this.#exitedCount) % this.#exited.length] = slot;
    this.#exitedCount++;
    this.#queued[slot] = 1;
  }

  #dequeue(): number {
    const slot = this.#exited[this.#exitedHead] as number;
    this.#exitedHead = (this.#exitedHead + 1) % this.#exited.length;
    this.#exitedCount--;
    if (this.#queued[slot] === 1) this.#queued[slot] = 0;
    return slot;
  }

  /** Ends a batch: what has left is freed, and of the ended ones those beyond `exitedMax`. */
  endBatch(): void {
    while (this.#leavingCount > 0) {
      const slot = this.#leaving[--this.#leavingCount] as number;
      // A late child may have come to refer to it.
      if (this.#queued[slot] !== 2) continue;
      this.#queued[slot] = 0;
      if (this.children[slot] === 0) this.#free(slot);
    }
    while (this.#exitedCount > this.exitedMax) {
      const slot = this.#dequeue();
      if (this.#state[slot] === State.exited && this.children[slot] === 0) this.#free(slot);
    }
    this.batch = this.batch === 0xffffffff ? 1 : this.batch + 1;
  }

  #setParent(slot: number, parent: number): void {
    this.parent[slot] = parent;
    const at = slot * IMAGE_WORDS;
    if (parent === 0) return;
    this.children[parent] = (this.children[parent] as number) + 1;
    const from = parent * IMAGE_WORDS;
    this.images[at + PARENT_PID] = this.images[from + PID] as number;
    this.#setTime(
      at + PARENT_START,
      this.images[from + START] as number,
      this.images[from + START + 1] as number,
    );
    this.#setTime(
      at + PARENT_EXEC,
      this.images[from + EXEC] as number,
      this.images[from + EXEC + 1] as number,
    );
  }

  /**
   * Makes the entry of an identity that is not in the table. Its strings, credentials and parent are the caller's
   * to fill in; `exec_ns` begins as the start.
   */
  add(pid: number, startLow: number, startHigh: number): number {
    const slot = this.#take();
    if (slot === 0) return 0;
    const at = slot * IMAGE_WORDS;
    this.images[at + PID] = pid;
    this.#setTime(at + START, startLow, startHigh);
    this.#setTime(at + EXEC, startLow, startHigh);
    this.#state[slot] = State.current;
    this.#link(slot);
    return slot;
  }

  /** Puts an entry for a new execution in the place of `previous`, with its parent; 0 where there is no room. */
  replace(previous: number): number {
    this.#pinned = previous;
    const slot = this.#take();
    this.#pinned = 0;
    if (slot === 0) return 0;
    const at = slot * IMAGE_WORDS;
    const from = previous * IMAGE_WORDS;
    const images = this.images;
    images[at + PID] = images[from + PID] as number;
    this.#setTime(at + START, images[from + START] as number, images[from + START + 1] as number);
    images[at + PARENT_PID] = images[from + PARENT_PID] as number;
    this.#setTime(
      at + PARENT_START,
      images[from + PARENT_START] as number,
      images[from + PARENT_START + 1] as number,
    );
    this.#setTime(
      at + PARENT_EXEC,
      images[from + PARENT_EXEC] as number,
      images[from + PARENT_EXEC + 1] as number,
    );
    const parent = this.parent[previous] as number;
    this.parent[slot] = parent;
    if (parent !== 0) this.children[parent] = (this.children[parent] as number) + 1;
    this.#unlink(previous);
    this.#state[previous] = State.replaced;
    if (this.children[previous] === 0) this.#leave(previous);
    this.#state[slot] = State.current;
    this.#link(slot);
    return slot;
  }

  /** Says who made a process, where the table knows the maker; else only its identity. */
  setParent(slot: number, pid: number, startLow: number, startHigh: number): void {
    const parent = pid === 0 ? 0 : this.find(pid, startLow, startHigh);
    if (parent !== 0 && parent !== slot) {
      this.#setParent(slot, parent);
      return;
    }
    const at = slot * IMAGE_WORDS;
    this.images[at + PARENT_PID] = pid;
    this.#setTime(at + PARENT_START, startLow, startHigh);
  }

  /** What a fork leaves as it was: image and strings of the parent. The caller then says what differs. */
  inherit(slot: number): void {
    const parent = this.parent[slot] as number;
    if (parent === 0) return;
    const at = slot * IMAGE_WORDS;
    const from = parent * IMAGE_WORDS;
    // Credentials to the end: all that lies behind the identity, reference count and cgroup.
    for (let word = CGROUP; word < IMAGE_WORDS; word++)
      this.images[at + word] = this.images[from + word] as number;
    const kept =
      ExecFlag.rootcwd |
      ExecFlag.truncatedBinary |
      ExecFlag.truncatedArguments |
      ExecFlag.truncatedCwd |
      ExecFlag.unlinked |
      ExecFlag.memfd |
      ExecFlag.inInitTree |
      ExecFlag.unreadableArguments;
    this.images[at + FLAGS] = ((this.images[from + FLAGS] as number) & kept) | ExecFlag.clone;
    this.string[slot] = this.strings.share(this.string[parent] as number);
  }

  /** Marks a process as ended. It is kept for late events and for its children. */
  exit(slot: number): void {
    if (this.#state[slot] !== State.current) return;
    this.#state[slot] = State.exited;
    const at = slot * IMAGE_WORDS + FLAGS;
    this.images[at] = (this.images[at] as number) | ExecFlag.exited;
    if (this.#exitedCount === this.#exited.length) {
      const oldest = this.#dequeue();
      if (this.#state[oldest] === State.exited && this.children[oldest] === 0) this.#leave(oldest);
    }
    this.#enqueue(slot);
  }

  isExited(slot: number): boolean {
    return this.#state[slot] === State.exited;
  }

  /**
   * Adds what /proc says of a process. `startTicks` is its start in clock ticks. Where an event has told of the
   * process already, that is left as it is.
   * @returns the slot to fill in, 0 where there is nothing to do
   */
  seed(pid: number, startTicks: bigint): number {
    if (this.#seeds.has(pid)) return 0;
    const slot = this.#take();
    if (slot === 0) return 0;
    const at = slot * IMAGE_WORDS;
    const start = startTicks * NS_PER_TICK;
    this.images[at + PID] = pid;
    this.#setTime(at + START, Number(start & 0xffffffffn), Number(start >> 32n));
    this.#setTime(at + EXEC, Number(start & 0xffffffffn), Number(start >> 32n));
    this.images[at + FLAGS] = ExecFlag.procfs;
    this.#state[slot] = State.seed;
    this.#seeds.set(pid, slot);
    return slot;
  }

  /** All entries in use. */
  *slots(): Generator<number> {
    for (let slot = 1; slot <= this.processesMax; slot++) {
      if (this.#state[slot] !== State.free) yield slot;
    }
  }

  /** Text of a span of an entry's image. */
  textOf(slot: number, offset: number, length: number): string {
    const string = this.string[slot] as number;
    if (string === 0 || length === 0) return '';
    const at = (this.strings.start[string] as number) * 4 + offset;
    return bytesToText(this.strings.bytes.subarray(at, at + length));
  }

  /** Slot of a seed that has not been adopted. */
  seedOf(pid: number): number {
    return this.#seeds.get(pid) ?? 0;
  }

  /** Links a seed with the seed of its parent, unless that began after it. */
  linkSeeds(child: number, parent: number): void {
    const start = (slot: number) => {
      const at = slot * IMAGE_WORDS + START;
      return (BigInt(this.images[at + 1] as number) << 32n) | BigInt(this.images[at] as number);
    };
    if (parent !== 0 && child !== parent && this.parent[child] === 0 && start(parent) <= start(child)) {
      this.#setParent(child, parent);
    }
  }
}
