// SPDX-License-Identifier: Apache-2.0
// Owns the waiting of long polls: who changes a release on this replica wakes them at once; what another replica
// changed is seen by one shared look at the store in each interval, however many wait.

export interface ReleaseWatchOptions {
  /** Looks up what is in force: any text that changes with it. */
  readonly look: () => Promise<string>;
  readonly intervalMs?: number;
  /** Polls that may wait at once; one more is answered without waiting. */
  readonly waitersMax?: number;
}

export class ReleaseWatch {
  readonly #look: () => Promise<string>;
  readonly #intervalMs: number;
  readonly #waitersMax: number;
  /** Who waits, and what it knows to be in force. */
  readonly #waiters = new Map<() => void, string>();
  #generation = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: ReleaseWatchOptions) {
    this.#look = options.look;
    this.#intervalMs = options.intervalMs ?? 500;
    this.#waitersMax = options.waitersMax ?? 10_000;
  }

  /** Counts announcements. Read it before looking at the store, and hand it to `wait`, so that none is missed. */
  get generation(): number {
    return this.#generation;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** Wakes all who wait. */
  announce(): void {
    this.#generation++;
    for (const wake of [...this.#waiters.keys()]) wake();
  }

  /**
   * Waits until there is an announcement after `generation`, or the store has something else than `known`, at most
   * `timeoutMs`. Never rejects; is false where nobody may wait (any more), so that whoever asks does not go round.
   */
  wait(generation: number, known: string, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (generation !== this.#generation) return Promise.resolve(true);
    const full = this.#closed || this.#waiters.size >= this.#waitersMax;
    if (full || timeoutMs <= 0 || signal?.aborted === true) return Promise.resolve(false);
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        this.#waiters.delete(wake);
        resolve(true);
      };
      const timer = setTimeout(wake, timeoutMs);
      signal?.addEventListener('abort', wake, { once: true });
      this.#waiters.set(wake, known);
      this.#schedule();
    });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.announce();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#closed || this.#waiters.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#look()
        .then((now) => {
          for (const [wake, known] of [...this.#waiters]) if (known !== now) wake();
        })
        // The store is away: polls end by their own time, and the next look tries again.
        .catch(() => {})
        .finally(() => {
          this.#timer = undefined;
          this.#schedule();
        });
    }, this.#intervalMs);
  }
}
