// SPDX-License-Identifier: Apache-2.0
// Owns which processes the archive has events of, so that no filter drops a program that one of them goes on to run: what
// the archive tells of a process would break off there. Bounded: of very many processes the latest are known. Hot: a few
// ns for each survivor, and a look at the kind of each record.

import { Judgement } from '@weir/filter-host';
import {
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  EventKind,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PID_AT,
  RECORD_HEADER_START_NS_AT,
  RecordFlag,
} from '@weir/schema';
import type { SlotViews } from '../join/join.js';

/** Processes that are known where their numbers spread well. */
const PROCESSES_MAX = 32_768;
/** Places for one number; the one that was taken longest ago is taken again. */
const WAYS = 4;
/** A process: pid, and the halves of when it started. */
const WORDS = 3;

export class ArchivedProcesses {
  readonly #buckets: number;
  readonly #table: Uint32Array;
  /** Which place of a bucket is taken next. */
  readonly #next: Uint8Array;

  constructor(processesMax = PROCESSES_MAX) {
    this.#buckets = 2 ** Math.ceil(Math.log2(Math.max(processesMax / WAYS, 1)));
    this.#table = new Uint32Array(this.#buckets * WAYS * WORDS);
    this.#next = new Uint8Array(this.#buckets);
  }

  /** Has no filter drop the execs of processes of which something is in the archive. Comes before the filters. */
  protect({ words, view }: SlotViews): void {
    const count = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true) >> 2;
    for (let index = 0; index < count; index++) {
      const at = words[offsetsAt + index] as number;
      // Kind and flags share a word.
      const word = words[(at + RECORD_HEADER_KIND_AT) >> 2] as number;
      if ((word & 0xffff) !== EventKind.exec || !this.#find(words, at)) continue;
      view.setUint16(at + RECORD_HEADER_FLAGS_AT, (word >>> 16) | RecordFlag.protected, true);
    }
  }

  /** Notes the processes of what goes to the archive. */
  note({ words, view }: SlotViews, verdicts: Uint8Array): void {
    const count = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
    const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true) >> 2;
    for (let index = 0; index < count; index++) {
      if (verdicts[index] !== Judgement.keep) continue;
      const at = words[offsetsAt + index] as number;
      const pid = words[(at + RECORD_HEADER_PID_AT) >> 2] as number;
      if (pid === 0 || this.#find(words, at)) continue;
      const start = (at + RECORD_HEADER_START_NS_AT) >> 2;
      const bucket = this.#bucket(pid, words[start] as number);
      const way = this.#next[bucket] as number;
      this.#next[bucket] = (way + 1) % WAYS;
      const to = (bucket * WAYS + way) * WORDS;
      this.#table[to] = pid;
      this.#table[to + 1] = words[start] as number;
      this.#table[to + 2] = words[start + 1] as number;
    }
  }

  #bucket(pid: number, startLow: number): number {
    const mixed = Math.imul(pid ^ (startLow >>> 10), 0x9e3779b1);
    return (mixed >>> 15) & (this.#buckets - 1);
  }

  /** Whether the process of the record at an address is known. */
  #find(words: Uint32Array, at: number): boolean {
    const pid = words[(at + RECORD_HEADER_PID_AT) >> 2] as number;
    const start = (at + RECORD_HEADER_START_NS_AT) >> 2;
    const low = words[start] as number;
    const high = words[start + 1] as number;
    const table = this.#table;
    const from = this.#bucket(pid, low) * WAYS * WORDS;
    for (let to = from; to < from + WAYS * WORDS; to += WORDS) {
      if (table[to] === pid && table[to + 1] === low && table[to + 2] === high) return true;
    }
    return false;
  }
}
