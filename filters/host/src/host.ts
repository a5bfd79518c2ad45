// SPDX-License-Identifier: Apache-2.0
// Owns the main-thread side of the filter host.
import type {
  BatchResult,
  FilterHostErrorCode,
  FilterHostOptions,
  FilterSet,
  FilterSource,
  FilterStatus,
  Slot,
} from './types.js';

export class FilterHostError extends Error {
  constructor(
    readonly code: FilterHostErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'FilterHostError';
  }
}

/** Runs filters, in order, over batches, in one worker. */
export declare class FilterHost {
  static create(options?: FilterHostOptions): Promise<FilterHost>;
  /** Takes a free slot, or undefined where all are in use. */
  acquire(): Slot | undefined;
  /** Takes a slot as soon as one is free, first come first served. */
  acquireWhenFree(): Promise<Slot>;
  /** Gives a slot back. */
  release(slot: Slot): void;
  /** Judges the batch in the slot: its first `byteLength` bytes. */
  run(slot: Slot, byteLength: number): Promise<BatchResult>;
  /** Checks, compiles and puts a list of filters in force at the next batch boundary. All or nothing. */
  setFilters(list: readonly FilterSource[]): Promise<FilterSet>;
  status(): FilterStatus[];
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
