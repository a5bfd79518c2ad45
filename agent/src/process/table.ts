// SPDX-License-Identifier: Apache-2.0
// Owns the process table as the agent sees it: who runs, who ran, and who made whom. The addon keeps it, for the join
// walks it with every record (native/addon/process_table.h says how); here are its memory and what is asked seldom.
import { slotState, TableHandle } from '@weir/native';
import { PROCESS_ENTRY_BYTES } from '@weir/schema';
import { bytesToText } from '@weir/segment';

export const IMAGE_WORDS = PROCESS_ENTRY_BYTES / 4;
/** Bytes an entry takes in the addon: its slot, two buckets, three lists, and its piece of strings. */
const INDEX_BYTES = 64 + 2 * 4 + 3 * 4 + 24 + 4;

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
  /** What the join works with. */
  readonly handle: TableHandle;
  /** A process entry each, as a batch has it; spans count from the start of the entry's strings. */
  readonly images: Uint32Array;
  readonly #arena: Uint8Array;

  constructor(options: ProcessTableOptions = {}) {
    const max = options.processesMax ?? 32_768;
    this.processesMax = max;
    this.images = new Uint32Array((max + 1) * IMAGE_WORDS);
    this.#arena = new Uint8Array(Math.ceil((options.stringBytesMax ?? 24 * 1024 * 1024) / 64) * 64);
    this.handle = new TableHandle({
      processesMax: max,
      exitedMax: options.exitedMax ?? 4096,
      images: this.images,
      arena: this.#arena,
    });
  }

  /**
   * Upper bound of what the table can take: an image and its indices for each entry, the strings, and 9 bytes for each
   * 64 of these by which free pieces are known.
   */
  get bytesMax(): number {
    return (
      (this.processesMax + 1) * (PROCESS_ENTRY_BYTES + INDEX_BYTES) +
      Math.ceil(this.#arena.length * (1 + 9 / 64))
    );
  }

  isExited(slot: number): boolean {
    return this.handle.state(slot) === slotState.exited;
  }

  /**
   * Adds what /proc says of a process. `startTicks` is its start in clock ticks. Where an event has told of the
   * process already, that is left as it is.
   * @returns the slot to fill in, 0 where there is nothing to do
   */
  seed(pid: number, startTicks: bigint): number {
    return this.handle.seed(pid, startTicks);
  }

  /** All entries in use. */
  *slots(): Generator<number> {
    for (let slot = 1; slot <= this.processesMax; slot++) {
      if (this.handle.state(slot) !== slotState.free) yield slot;
    }
  }

  /** Text of a span of an entry's image. */
  textOf(slot: number, offset: number, length: number): string {
    return bytesToText(this.#view(slot, offset, length));
  }

  /** Bytes of a span of an entry's image, copied. */
  bytesOf(slot: number, offset: number, length: number): Uint8Array {
    return this.#view(slot, offset, length).slice();
  }

  #view(slot: number, offset: number, length: number): Uint8Array {
    const start = this.handle.stringsAt(slot);
    return start < 0 ? new Uint8Array() : this.#arena.subarray(start + offset, start + offset + length);
  }
}
