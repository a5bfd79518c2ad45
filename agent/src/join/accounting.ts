// SPDX-License-Identifier: Apache-2.0
// Owns the books: for each CPU, what the kernel has numbered, what came, and what was lost. They go beside every
// batch into the spool, so that after a kill it is known what was produced and never came.
//
//   next = handled + lost + gap        for each CPU
//
// A program that interrupts another between number and output puts its later number into the ring first. So a gap
// counts as lost only when it was there at two `settle` calls in a row.
//
// A loss goes into the books with the batch that holds its loss record, and not before: books that know of a loss
// which is told of nowhere would hide it for good, should the agent be killed in between.

/** What the agent keeps beside each batch. Little-endian: version u32, CPUs u32, boot id, then four f64 a CPU. */
const VERSION = 1;
const HEAD_BYTES = 24;
const CPU_BYTES = 32;
/** CPUs that are kept: the spool takes 64 KiB. */
export const CPUS_MAX = 2046;

export interface CpuBooks {
  /** One more than the highest number seen, or known of. */
  readonly next: number;
  /** Records that came and went on to be judged. */
  readonly handled: number;
  /** Of these, dropped by a verdict, or withheld from the start. */
  readonly dropped: number;
  /** Numbers that never came, and were told of. */
  readonly lost: number;
}

/** What one CPU has lost. */
export interface CpuLoss {
  readonly cpu: number;
  readonly count: number;
}

export class Accounting {
  readonly cpus: number;
  readonly bootId: Uint8Array;
  // Numbers stay exact up to 2^53: at ten million records a second for 28 years.
  // The join, in the addon, notes each record in `next`, `handled` and `handledInBatch`.
  readonly next: Float64Array;
  readonly handled: Float64Array;
  readonly dropped: Float64Array;
  readonly lost: Float64Array;
  readonly #gapBefore: Float64Array;
  /** What the kernel had numbered when that was last asked. */
  readonly #numberedBefore: Float64Array;
  /** Found to be lost, its record not yet in a batch. */
  readonly #untold: Float64Array;
  /** Records of each CPU in the batch that is made. */
  readonly handledInBatch: Float64Array;

  constructor(cpus: number, bootId: Uint8Array) {
    this.cpus = Math.min(cpus, CPUS_MAX);
    this.bootId = bootId;
    this.next = new Float64Array(this.cpus);
    this.handled = new Float64Array(this.cpus);
    this.dropped = new Float64Array(this.cpus);
    this.lost = new Float64Array(this.cpus);
    this.handledInBatch = new Float64Array(this.cpus);
    this.#gapBefore = new Float64Array(this.cpus);
    this.#numberedBefore = new Float64Array(this.cpus);
    this.#untold = new Float64Array(this.cpus);
  }

  noteDropped(cpu: number, count: number): void {
    this.dropped[cpu] = (this.dropped[cpu] as number) + count;
  }

  gap(cpu: number): number {
    return Math.max(
      0,
      (this.next[cpu] as number) -
        (this.handled[cpu] as number) -
        (this.lost[cpu] as number) -
        (this.#untold[cpu] as number),
    );
  }

  /** Puts losses into the books: their record is in the batch that is made. */
  told(losses: readonly CpuLoss[]): void {
    for (const { cpu, count } of losses) {
      this.#untold[cpu] = (this.#untold[cpu] as number) - count;
      this.lost[cpu] = (this.lost[cpu] as number) + count;
    }
  }

  /**
   * Takes what the kernel has numbered by now. A loss shows in the numbers of what comes after it; where nothing comes
   * any more, it shows in this: what had a number at the last call is in the ring since, or nowhere.
   * @param ringIsRead whether all that is in the ring has been read
   */
  numbered(produced: readonly number[], ringIsRead: boolean): void {
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const before = this.#numberedBefore[cpu] as number;
      if (ringIsRead && before > (this.next[cpu] as number)) this.next[cpu] = before;
      this.#numberedBefore[cpu] = produced[cpu] ?? 0;
    }
  }

  /** Takes as lost what was missing at the last call and still is. What it returns is to be told of, then `told`. */
  settle(): CpuLoss[] {
    const found: CpuLoss[] = [];
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const gap = this.gap(cpu);
      const count = Math.min(gap, this.#gapBefore[cpu] as number);
      if (count > 0) {
        this.#untold[cpu] = (this.#untold[cpu] as number) + count;
        found.push({ cpu, count });
      }
      this.#gapBefore[cpu] = gap - count;
    }
    return found;
  }

  /**
   * Goes on from what an earlier agent of the same boot had written, given what the kernel has numbered by now.
   * @returns what was numbered and never accounted for: lost with that agent; to be told of, then `told`
   */
  resume(books: readonly CpuBooks[], produced: readonly number[]): CpuLoss[] {
    const found: CpuLoss[] = [];
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const before = books[cpu] ?? { next: 0, handled: 0, dropped: 0, lost: 0 };
      const next = Math.max(before.next, produced[cpu] ?? 0);
      const count = Math.max(0, next - before.handled - before.lost);
      this.next[cpu] = next;
      this.handled[cpu] = before.handled;
      this.dropped[cpu] = before.dropped;
      this.lost[cpu] = before.lost;
      this.#untold[cpu] = count;
      if (count > 0) found.push({ cpu, count });
    }
    return found;
  }

  /** The books as bytes, to be written beside a batch. */
  encode(): Uint8Array {
    const bytes = new Uint8Array(HEAD_BYTES + this.cpus * CPU_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, VERSION, true);
    view.setUint32(4, this.cpus, true);
    bytes.set(this.bootId.subarray(0, 16), 8);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      const at = HEAD_BYTES + cpu * CPU_BYTES;
      view.setFloat64(at, this.next[cpu] as number, true);
      view.setFloat64(at + 8, this.handled[cpu] as number, true);
      view.setFloat64(at + 16, this.dropped[cpu] as number, true);
      view.setFloat64(at + 24, this.lost[cpu] as number, true);
    }
    return bytes;
  }

  /** Brings what was dropped up to date in bytes that `encode` made when the batch was joined: verdicts come later. */
  encodeDropped(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let cpu = 0; cpu < this.cpus; cpu++) {
      view.setFloat64(HEAD_BYTES + cpu * CPU_BYTES + 16, this.dropped[cpu] as number, true);
    }
  }

  /** Sum over all CPUs. */
  totals(): CpuBooks {
    const sum = (values: Float64Array) => values.reduce((total, value) => total + value, 0);
    return {
      next: sum(this.next),
      handled: sum(this.handled),
      dropped: sum(this.dropped),
      lost: sum(this.lost),
    };
  }
}

/** Reads what `encode` wrote; undefined where it is not that, or of another boot. */
export function decodeAccounting(bytes: Uint8Array | undefined, bootId: Uint8Array): CpuBooks[] | undefined {
  if (bytes === undefined || bytes.length < HEAD_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cpus = view.getUint32(4, true);
  if (view.getUint32(0, true) !== VERSION || bytes.length !== HEAD_BYTES + cpus * CPU_BYTES) return undefined;
  if (!bootId.every((byte, index) => bytes[8 + index] === byte)) return undefined;
  return Array.from({ length: cpus }, (_, cpu) => {
    const at = HEAD_BYTES + cpu * CPU_BYTES;
    return {
      next: view.getFloat64(at, true),
      handled: view.getFloat64(at + 8, true),
      dropped: view.getFloat64(at + 16, true),
      lost: view.getFloat64(at + 24, true),
    };
  });
}
