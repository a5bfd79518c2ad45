// SPDX-License-Identifier: Apache-2.0
// Owns the slots: who has one, and who waits for one.
import { FilterHostError } from './error.js';
import { type Bounds, slotBytes } from './shared.js';
import type { Slot } from './types.js';

/** Callers that may wait for a slot. */
const WAITERS_MAX = 1024;

export class SlotPool {
  readonly buffers: readonly SharedArrayBuffer[];
  readonly #slots: readonly Slot[];
  readonly #free: Slot[];
  readonly #taken = new Set<number>();
  readonly #waiters: { resolve: (slot: Slot) => void; reject: (error: Error) => void }[] = [];

  constructor(bounds: Bounds) {
    const layout = slotBytes(bounds);
    this.buffers = Array.from({ length: bounds.slots }, () => new SharedArrayBuffer(layout.total));
    this.#slots = this.buffers.map((buffer, index) => ({
      index,
      bytes: new Uint8Array(buffer, 0, layout.verdicts),
      verdicts: new Uint8Array(buffer, layout.verdicts, bounds.recordsMax),
    }));
    this.#free = [...this.#slots];
  }

  acquire(): Slot | undefined {
    const slot = this.#free.pop();
    if (slot !== undefined) this.#taken.add(slot.index);
    return slot;
  }

  acquireWhenFree(): Promise<Slot> {
    const slot = this.acquire();
    if (slot !== undefined) return Promise.resolve(slot);
    if (this.#waiters.length >= WAITERS_MAX) {
      return Promise.reject(new FilterHostError('slot', `${WAITERS_MAX} callers wait for a slot already`));
    }
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** @throws {FilterHostError} where the caller does not have the slot. */
  check(slot: Slot): void {
    if (this.#taken.has(slot.index) && this.#slots[slot.index] === slot) return;
    throw new FilterHostError(
      'slot',
      `slot ${slot.index} is not taken: it was released before, or is another host's`,
    );
  }

  release(slot: Slot): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) {
      waiter.resolve(slot);
      return;
    }
    this.#taken.delete(slot.index);
    this.#free.push(slot);
  }

  /** Turns away whoever waits. */
  close(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
