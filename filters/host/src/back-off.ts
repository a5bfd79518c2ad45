// SPDX-License-Identifier: Apache-2.0
// Owns when a filter's quarantine ends by itself, by the time of events. What events can bring about must not blind a
// filter for good: who can make events could else switch it off. What only the filter does (lies, a start that fails)
// ends with another module alone.
import type { QuarantineCode } from './types.js';

const FIRST_MS = 60_000;
/** The longest; and how long a filter runs before its next quarantine is as short as the first. */
const LONGEST_MS = 3_600_000;

const passing: ReadonlySet<QuarantineCode> = new Set<QuarantineCode>(['budget', 'traps']);

export class BackOff {
  #nextMs = FIRST_MS;
  /** How long the quarantine lasts, 0 where it does not end by itself. */
  #lastsMs = 0;
  /** When it began; not known before the first event after. */
  #sinceMs: number | undefined;
  #endedMs: number | undefined;

  /** A quarantine begins; each is twice as long as the one before. Returns how long, 0 where it does not end by itself. */
  begin(code: QuarantineCode, timeMs: number | undefined): number {
    this.#lastsMs = 0;
    if (!passing.has(code)) return 0;
    const ranMs = (timeMs ?? 0) - (this.#endedMs ?? Number.POSITIVE_INFINITY);
    if (ranMs >= LONGEST_MS) this.#nextMs = FIRST_MS;
    this.#sinceMs = timeMs;
    this.#lastsMs = this.#nextMs;
    this.#nextMs = Math.min(this.#nextMs * 2, LONGEST_MS);
    return this.#lastsMs;
  }

  /** Whether the quarantine ends by itself at all. */
  get ends(): boolean {
    return this.#lastsMs > 0;
  }

  /**
   * Whether no event from one time to another ends the quarantine. Then it is as if each had been asked about: it says the
   * same for many events at once.
   */
  outlasts(fromMs: number, untilMs: number): boolean {
    const sinceMs = Math.min(this.#sinceMs ?? fromMs, fromMs);
    if (this.ends && untilMs - sinceMs >= this.#lastsMs) return false;
    this.#sinceMs = sinceMs;
    return true;
  }

  /** Whether the quarantine ends with an event of this time. A clock that was put back does not make it longer. */
  isOver(timeMs: number): boolean {
    if (this.#lastsMs === 0) return false;
    this.#sinceMs = Math.min(this.#sinceMs ?? timeMs, timeMs);
    if (timeMs - this.#sinceMs < this.#lastsMs) return false;
    this.#lastsMs = 0;
    this.#endedMs = timeMs;
    return true;
  }
}
