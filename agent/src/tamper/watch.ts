// SPDX-License-Identifier: Apache-2.0
// Owns the watch over the agent itself: whether its programs are attached, its maps as it wrote them, the kernel's
// tracing switched on, and whether it ran at all meanwhile. What is found is said once, when it begins; where the agent
// mends, that it was mended is said with it.
import { readFileSync, writeFileSync } from 'node:fs';

/** How often it looks. What is found within five seconds must be found twice over. */
export const WATCH_MS = 2000;
/** Longer than this between two looks, and the agent was stopped: no load of its own delays it so long. */
export const STOPPED_MS = 5 * WATCH_MS;
const FTRACE_SWITCH = '/proc/sys/kernel/ftrace_enabled';

export interface TamperWatchOptions {
  /** Compares what is in force with what the kernel has, and puts it right where asked to. */
  inspect(mend: boolean): Promise<readonly string[]>;
  /** Programs of the sensor that are attached no more. */
  detached(): readonly string[];
  /** Whether programs are attached to functions: these alone stop with the kernel's function tracing. */
  hasFunctionHooks(): boolean;
  /** Tells of it. */
  say(message: string): void;
  /** A look that failed; the next one comes all the same. */
  onError(error: unknown): void;
  readonly mend: boolean;
  /** Milliseconds of a clock that stands still while the machine sleeps. */
  now?(): number;
}

export class TamperWatch {
  readonly #options: TamperWatchOptions;
  #timer: NodeJS.Timeout | undefined;
  #current = new Set<string>();
  #lastMs: number;
  #looking: Promise<void> = Promise.resolve();
  /** How often something was found. */
  count = 0;
  /** What is wrong now. */
  get current(): readonly string[] {
    return [...this.#current];
  }

  constructor(options: TamperWatchOptions) {
    this.#options = options;
    this.#lastMs = this.#now();
  }

  #now(): number {
    return this.#options.now?.() ?? performance.now();
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.look(), WATCH_MS).unref();
  }

  /** Looks once; looks that are asked for meanwhile come after it. */
  look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#look())
      .catch((error: unknown) => this.#options.onError(error));
    return this.#looking;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    const { inspect, detached, mend } = this.#options;
    const now = this.#now();
    const sinceMs = now - this.#lastMs;
    this.#lastMs = now;
    if (sinceMs > STOPPED_MS) this.tell(`the agent did not run for ${Math.round(sinceMs / 1000)} s`);
    const found = [
      ...(await inspect(mend)),
      ...detached().map((name) => `${name}: its program is attached no more`),
      ...this.#tracing(),
    ];
    for (const message of found) {
      // What is mended begins anew each time.
      if (mend || !this.#current.has(message)) this.tell(message);
    }
    this.#current = new Set(found);
    // A look that took long is no stop.
    this.#lastMs = this.#now();
  }

  /** Counts a finding and says it: one of the watch's own, or of the start. */
  tell(message: string): void {
    this.count++;
    this.#options.say(message);
  }

  #tracing(): string[] {
    if (!this.#options.hasFunctionHooks()) return [];
    try {
      if (readFileSync(FTRACE_SWITCH, 'latin1').trim() !== '0') return [];
      if (this.#options.mend) writeFileSync(FTRACE_SWITCH, '1');
    } catch {
      // A kernel without the switch cannot be switched off.
      return [];
    }
    return ['kernel.ftrace_enabled is 0: hooks on functions do not run'];
  }
}
