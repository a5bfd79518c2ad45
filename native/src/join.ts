// SPDX-License-Identifier: Apache-2.0
// Owns TableHandle and RecordJoin: the process table, and the making of batches from records over it. Both work on
// memory that the caller gives and shares.
import { type RawJoin, type RawTable, raw } from './addon.js';
import { badArgument, guard } from './error.js';

/** Most bytes of strings that one process entry can have. */
export const PROCESS_STRING_BYTES_MAX = 13_312;

export interface TableOptions {
  /** Most entries, 1 to 16,777,216. */
  readonly processesMax: number;
  /** Ended processes that are kept for late events. */
  readonly exitedMax: number;
  /** A process entry each, `processesMax + 1` of them; spans count from the start of the entry's strings. */
  readonly images: Uint32Array;
  /** Bytes of binaries, arguments and directories. */
  readonly arena: Uint8Array;
}

/** Counters of a table. */
export interface TableNumbers {
  readonly size: number;
  readonly seeds: number;
  readonly evictedRunning: number;
  readonly evictedExited: number;
  readonly refused: number;
  readonly adopted: number;
  readonly stringBytes: number;
  readonly stringsRefused: number;
}

/** What the entry in a slot is. */
export const slotState = { free: 0, current: 1, replaced: 2, exited: 3, seed: 4 } as const;

/** The process table of the addon. Slots are numbers from 1 on; 0 is none. */
export class TableHandle {
  readonly #raw: RawTable;
  readonly #numbers = new Float64Array(8);

  constructor(options: TableOptions) {
    const { processesMax, exitedMax, images, arena } = options;
    this.#raw = guard(() => raw().openTable(processesMax, exitedMax, images, arena));
  }

  /** Adds what /proc says of a process; 0 where there is nothing to do. Its image is the caller's to fill in. */
  seed(pid: number, startTicks: bigint): number {
    if (startTicks < 0n || startTicks > 0xffffffffffffn) throw badArgument('startTicks', 'is out of range');
    return this.#raw.seed(pid, Number(startTicks));
  }

  /** Slot of a seed that no event has shown yet. */
  seedOf(pid: number): number {
    return this.#raw.seedOf(pid);
  }

  /** Links a seed with the seed of its parent, unless that began after it. */
  linkSeeds(child: number, parent: number): void {
    this.#raw.linkSeeds(child, parent);
  }

  /** Gives an entry its strings, in the place of those it has. @returns false where there is no room */
  setStrings(slot: number, bytes: Uint8Array): boolean {
    return guard(() => this.#raw.setStrings(slot, bytes));
  }

  /** Where an entry's strings begin in the arena; -1 where it has none. */
  stringsAt(slot: number): number {
    return this.#raw.stringsAt(slot);
  }

  /** One of `slotState`. */
  state(slot: number): number {
    return this.#raw.state(slot);
  }

  numbers(): TableNumbers {
    const numbers = this.#numbers;
    this.#raw.numbers(numbers);
    const [size = 0, seeds = 0, evictedRunning = 0, evictedExited = 0, refused = 0, adopted = 0] = numbers;
    const [stringBytes = 0, stringsRefused = 0] = numbers.subarray(6);
    return { size, seeds, evictedRunning, evictedExited, refused, adopted, stringBytes, stringsRefused };
  }

  raw(): RawTable {
    return this.#raw;
  }
}

export interface RecordJoinOptions {
  readonly table: TableHandle;
  /** Generations above a process that are laid beside it. */
  readonly ancestors: number;
  readonly recordsMax: number;
  readonly batchBytesMax: number;
  /** Bytes that the caller lays at the end of each batch. */
  readonly trailerBytes: number;
  /** Number of a binding by its id; 0 where `numberOf` is to be asked. */
  readonly direct: Uint32Array;
  /** Bytes of the strings of each binding, by its number. */
  readonly bindingBytes: Uint32Array;
  /** Receives the numbers of the bindings of a batch, in order; as long as `bindingBytes`. */
  readonly bound: Uint32Array;
  /** Number of a binding whose id is not in `direct`; 0 where it is not known. */
  readonly numberOf: (id: number) => number;
  /** By CPU: one more than the highest number seen; records taken; those taken into this batch. */
  readonly next: Float64Array;
  readonly handled: Float64Array;
  readonly handledInBatch: Float64Array;
  /** Names of users: ids, where each name ends in `userNames`, and these. */
  readonly userIds: Uint32Array;
  readonly userEnds: Uint32Array;
  readonly userNames: Uint8Array;
}

/** What a batch that is made has so far, and counters. */
export interface JoinNumbers {
  readonly records: number;
  /** Where the last record ends. */
  readonly recordsEnd: number;
  readonly processes: number;
  readonly bindings: number;
  readonly bindingStringBytes: number;
  readonly orphans: number;
  readonly malformed: number;
  readonly unbound: number;
  readonly strange: number;
  /** Records that only brought the table up to date; they are in no batch. */
  readonly withheld: number;
}

export type Added = 'taken' | 'full' | 'unusable';
const added: readonly Added[] = ['taken', 'full', 'unusable'];

/** Makes batches: `begin`, then records by `add` and by `drainTo` of a ring, `measure`, `lay`. */
export class RecordJoin {
  readonly #raw: RawJoin;
  readonly #numbers = new Float64Array(10);

  constructor(options: RecordJoinOptions) {
    const { table, ...rest } = options;
    this.#raw = guard(() => raw().openJoin(table.raw(), rest));
  }

  /** Begins a batch in these bytes, at least `batchBytesMax`, and forgets one that was not laid. */
  begin(slot: Uint8Array): void {
    guard(() => this.#raw.begin(slot));
  }

  /** Adds a record. `unusable` is one that is none, or that no batch has room for. */
  add(record: Uint8Array): Added {
    return added[guard(() => this.#raw.add(record))] ?? 'unusable';
  }

  measure(): JoinNumbers {
    const numbers = this.#numbers;
    this.#raw.measure(numbers);
    const [records = 0, recordsEnd = 0, processes = 0, bindings = 0, bindingStringBytes = 0] = numbers;
    const [orphans = 0, malformed = 0, unbound = 0, strange = 0, withheld = 0] = numbers.subarray(5);
    return {
      records,
      recordsEnd,
      processes,
      bindings,
      bindingStringBytes,
      orphans,
      malformed,
      unbound,
      strange,
      withheld,
    };
  }

  /**
   * Lays record offsets behind the records, process entries behind these (on a multiple of 8), and their strings from
   * `stringsAt` on. The header, and what is between, is the caller's to lay.
   * @returns where all ends
   */
  lay(stringsAt: number): number {
    return guard(() => this.#raw.lay(stringsAt));
  }

  raw(): RawJoin {
    return this.#raw;
  }
}
