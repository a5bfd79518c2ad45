// SPDX-License-Identifier: Apache-2.0
// Owns RingReader: reads a BPF ring buffer in batches. What was read stays in the ring, and the kernel may not
// overwrite it, until `commit` says that it is safe elsewhere.
import { type RawRing, raw } from './addon.js';
import { badArgument, guard, NativeError } from './error.js';
import type { RecordJoin } from './join.js';
import { type BpfMap, mapTypes } from './map.js';

export interface RingReaderOptions {
  /**
   * Called when there is something to read that no drain has taken. Calls are coalesced: after one, there is none
   * before the next `drain`.
   */
  readonly onReady: () => void;
  /** How often the waiting thread looks at the ring by itself, since programs may submit without a wake-up. 10 by default. */
  readonly pollIntervalMs?: number;
}

/** What a drain did. */
export interface DrainResult {
  /** Records copied; their offsets, from the start of `target`, are in `offsets`. */
  records: number;
  /** Bytes written to `target`, from `byteOffset` on; a multiple of 8. */
  bytes: number;
  /** Give this to `commit` once these records, and all before them, are safe. */
  position: number;
  /** Records that programs had discarded, skipped on the way. */
  discarded: number;
  /** True where committed records are left: `target` or `offsets` was full. */
  more: boolean;
  /** Above 0 where the next record has that many bytes and would not fit even an empty range: give a larger target. */
  oversizedBytes: number;
}

/** A reader of a ring buffer map. There may be one a ring. */
export class RingReader {
  readonly #raw: RawRing;
  readonly #numbers = new Float64Array(4);
  #closed = false;
  readonly capacityBytes: number;

  constructor(map: BpfMap, options: RingReaderOptions) {
    if (map.type !== mapTypes.ringbuf) throw badArgument('map', `${map.name} is not a ring buffer`);
    if (typeof options.onReady !== 'function') throw badArgument('onReady', 'is not a function');
    const pollIntervalMs = options.pollIntervalMs ?? 10;
    if (!Number.isInteger(pollIntervalMs) || pollIntervalMs < 1 || pollIntervalMs > 10_000) {
      throw badArgument('pollIntervalMs', `${pollIntervalMs} is not a whole number from 1 to 10000`);
    }
    this.#raw = guard(() => raw().openRing(map.raw(), options.onReady, pollIntervalMs));
    this.capacityBytes = this.#raw.capacityBytes();
  }

  /**
   * Copies records from the read position on into `target`, each on a multiple of 8, without giving their room in
   * the ring back. Further drains go on from there; several may be waiting for their commit.
   * @param byteOffset where in `target` to begin, a multiple of 8
   * @param offsets receives the offset of each record, from the start of `target`
   */
  drain(target: Uint8Array, byteOffset: number, offsets: Uint32Array, recordsMax: number): DrainResult {
    const ring = this.raw();
    if (byteOffset % 8 !== 0 || byteOffset < 0 || byteOffset > target.byteLength) {
      throw badArgument(
        'byteOffset',
        `${byteOffset} is not a multiple of 8 within ${target.byteLength} bytes`,
      );
    }
    if (recordsMax < 0 || recordsMax > offsets.length) {
      throw badArgument('recordsMax', `${recordsMax} is more than the ${offsets.length} offsets`);
    }
    const numbers = this.#numbers;
    const records = ring.drain(target, byteOffset, offsets, recordsMax, numbers);
    const oversized = numbers[3] ?? 0;
    return {
      records,
      bytes: numbers[0] ?? 0,
      position: numbers[1] ?? 0,
      discarded: numbers[2] ?? 0,
      more: oversized !== 0,
      oversizedBytes: Math.max(oversized, 0),
    };
  }

  /**
   * Reads records straight into the batch that a join has begun, until that is full. Otherwise as `drain`; `bytes` and
   * `oversizedBytes` are 0.
   */
  drainTo(join: RecordJoin, recordsMax: number): DrainResult {
    const ring = this.raw();
    const numbers = this.#numbers;
    const records = guard(() => ring.drainTo(join.raw(), recordsMax, numbers));
    return {
      records,
      bytes: 0,
      position: numbers[1] ?? 0,
      discarded: numbers[2] ?? 0,
      more: numbers[3] !== 0,
      oversizedBytes: 0,
    };
  }

  /** Gives the room of all records up to `position` (of a drain) back to the kernel. */
  commit(position: number): void {
    guard(() => this.raw().commit(position));
  }

  /** Bytes of the ring that are in use: not yet read, or read and not committed. */
  pendingBytes(): number {
    return this.raw().pendingBytes();
  }

  /** Bytes of the ring that no drain has read. */
  unreadBytes(): number {
    return this.raw().unreadBytes();
  }

  /** How often the waiting thread has woken since the start: a measure of idle cost. */
  wakeUps(): number {
    return this.raw().wakeUps();
  }

  /** Lets the process end though the reader is open. */
  unref(): void {
    this.raw().unref();
  }

  ref(): void {
    this.raw().ref();
  }

  /** Ends the waiting thread. `onReady` is not called after it. What was not committed stays in the ring. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private raw(): RawRing {
    if (this.#closed) throw new NativeError('BAD_STATE', 'the ring reader is closed');
    return this.#raw;
  }
}
