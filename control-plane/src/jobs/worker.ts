// SPDX-License-Identifier: Apache-2.0
// Owns the worker of jobs: leases one at a time, runs it, completes it or gives it back. A job whose worker died is
// leased by another when its lease ends, so a job's work must be harmless when done twice.
import type { FilterConfig } from '../api/types.js';
import type { Clock, Log } from '../ports.js';
import type { Store } from '../store/store.js';

export interface JobContext {
  readonly payload: FilterConfig;
  /** Aborted when the worker closes, or the lease is over. */
  readonly signal: AbortSignal;
}

/** What runs a kind of job. */
export type JobHandler = (context: JobContext) => Promise<void>;

export interface JobWorkerOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly owner: string;
  readonly handlers: Readonly<Record<string, JobHandler>>;
  /** How long an idle worker waits before it looks again, unless woken. */
  readonly idleMs?: number;
  readonly leaseMs?: number;
  readonly attemptsMax?: number;
}

/** First pause before a job is tried again; doubled with each try. */
const retryMs = 1_000;
const keepDoneMs = 24 * 3_600_000;

export class JobWorker {
  readonly #options: JobWorkerOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #woken = false;

  constructor(options: JobWorkerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#loop();
  }

  /** Makes an idle worker look at once. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Lets the job at hand end, then stops. */
  async close(): Promise<void> {
    this.#abort.abort();
    this.wake();
    await this.#running;
  }

  async #loop(): Promise<void> {
    const { store, clock, log, idleMs = 1_000 } = this.#options;
    let pruneAtMs = clock.nowMs();
    while (!this.#abort.signal.aborted) {
      this.#woken = false;
      try {
        if (await this.runOne()) continue;
        if (clock.nowMs() >= pruneAtMs) {
          await store.pruneJobs(clock.nowMs() - keepDoneMs);
          pruneAtMs = clock.nowMs() + 60_000;
        }
      } catch (cause) {
        log({ level: 'error', message: 'the worker could not reach the store', reason: String(cause) });
      }
      await this.#idle(idleMs);
    }
  }

  #idle(ms: number): Promise<void> {
    if (this.#woken || this.#abort.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  /** Leases and runs one job; is false where there is none. */
  async runOne(): Promise<boolean> {
    const { store, clock, log, owner, handlers, leaseMs = 120_000, attemptsMax = 8 } = this.#options;
    const job = await store.leaseJob(Object.keys(handlers), owner, clock.nowMs(), leaseMs);
    if (job === undefined) return false;
    const lease = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(leaseMs)]);
    try {
      const handler = handlers[job.kind];
      if (handler === undefined) throw new Error(`no handler for jobs of kind ${job.kind}`);
      // A job that ended its worker each time comes here by its lease alone.
      if (job.attempts > attemptsMax) throw new Error('its workers ended before it did');
      await handler({ payload: job.payload, signal: lease });
      await store.completeJob(job.id, owner, clock.nowMs());
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      const last = job.attempts >= attemptsMax;
      log({
        level: last ? 'error' : 'warn',
        message: 'a job failed',
        kind: job.kind,
        job: job.id,
        attempts: job.attempts,
        reason,
      });
      const pauseMs = Math.min(retryMs * 2 ** (job.attempts - 1), 300_000);
      await store.failJob(job.id, owner, reason, last ? undefined : clock.nowMs() + pauseMs);
    }
    return true;
  }
}
