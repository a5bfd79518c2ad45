// SPDX-License-Identifier: Apache-2.0
// Owns telling whether a filter has used up its time: looks at the worker from the main thread, a few times within a
// limit. What counts is the processor time of the worker's thread, so that a busy machine, which leaves the worker
// waiting, condemns no filter; where that cannot be read, time on the clock.
import { readFileSync } from 'node:fs';
import { Control, Phase } from './shared.js';

/** A call that uses no processor time is stuck all the same; this many limits on the clock end it too. */
const CLOCK_FACTOR = 20;
/** Looks within one limit. */
const LOOKS = 5;

export interface WatchdogOptions {
  control: Int32Array;
  timeLimitMs: number;
  loadLimitMs: number;
  /** Processor time that the worker's thread has used, in ms, or undefined where it is not known. */
  cpuMs: () => number | undefined;
  nowMs: () => number;
  /** `usedMs` is processor time, where it is known. */
  onRunaway: (row: number, phase: number, usedMs: number, onClockMs: number) => void;
}

/** Reads the processor time of a thread from /proc, by its path there. */
export function threadCpuMs(path: string | undefined): number | undefined {
  if (path === undefined) return undefined;
  try {
    const [runNs] = readFileSync(path, 'utf8').split(' ');
    const value = Number(runNs) / 1e6;
    return Number.isFinite(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export class Watchdog {
  readonly #options: WatchdogOptions;
  #timer: NodeJS.Timeout | undefined;
  #call = -1;
  #cpuMs: number | undefined;
  #clockMs = 0;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  /** Looks on while there is work under way. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#call = -1;
    this.#timer = setInterval(() => this.#look(), Math.max(1, this.#options.timeLimitMs / LOOKS));
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const { control, cpuMs, nowMs } = this.#options;
    const phase = Atomics.load(control, Control.phase);
    if (phase === Phase.host) {
      this.#call = -1;
      return;
    }
    const call = Atomics.load(control, Control.calls);
    if (call !== this.#call) {
      this.#call = call;
      this.#cpuMs = cpuMs();
      this.#clockMs = nowMs();
      return;
    }
    const limitMs = phase === Phase.load ? this.#options.loadLimitMs : this.#options.timeLimitMs;
    const onClockMs = nowMs() - this.#clockMs;
    const now = cpuMs();
    const usedMs = this.#cpuMs !== undefined && now !== undefined ? now - this.#cpuMs : onClockMs;
    if (usedMs < limitMs && onClockMs < limitMs * CLOCK_FACTOR) return;
    this.stop();
    this.#options.onRunaway(Atomics.load(control, Control.row), phase, usedMs, onClockMs);
  }
}
