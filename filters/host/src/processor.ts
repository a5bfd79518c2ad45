// SPDX-License-Identifier: Apache-2.0
// Owns telling processor time from time on the clock. A look at a thread's processor time costs more than a batch, so
// it is taken now and then, and what filters took by the clock is scaled by what it said last: a machine that leaves
// the worker waiting makes no filter slow.
import { readFileSync } from 'node:fs';

/** Time at work between two looks. */
const LOOK_NS = 50e6;
/** What took so long by the clock is looked at by itself: several times the grain of what the kernel says. */
const LONG_NS = 20e6;

/** Processor time that the calling thread has used, in ns; undefined where that cannot be read. */
export function ownProcessorNs(): number | undefined {
  try {
    const [runNs] = readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ');
    const value = Number(runNs);
    return Number.isFinite(value) && value > 0 ? value : undefined;
  } catch {
    return undefined;
  }
}

export class ProcessorShare {
  /** Processor time for each ns on the clock at work, at most 1; 1 where it is not known. */
  share = 1;
  readonly #processorNs: () => number | undefined;
  #last: number | undefined;
  #busyNs = 0;
  #begunNs = 0;

  constructor(processorNs: () => number | undefined) {
    this.#processorNs = processorNs;
    this.#last = processorNs();
  }

  /** The thread begins to work. */
  begin(nowNs: number): void {
    this.#begunNs = nowNs;
  }

  /** It waits again. */
  end(nowNs: number): void {
    this.#worked(nowNs);
    if (this.#busyNs >= LOOK_NS) this.#look();
  }

  /** Processor time of what has just ended and took so long by the clock. */
  of(tookNs: number, nowNs: number): number {
    if (tookNs >= LONG_NS) {
      this.#worked(nowNs);
      this.#look();
    }
    return tookNs * this.share;
  }

  #worked(nowNs: number): void {
    this.#busyNs += nowNs - this.#begunNs;
    this.#begunNs = nowNs;
  }

  #look(): void {
    const now = this.#processorNs();
    if (now !== undefined && this.#last !== undefined && this.#busyNs > 0) {
      this.share = Math.min(1, (now - this.#last) / this.#busyNs);
    }
    this.#last = now;
    this.#busyNs = 0;
  }
}
