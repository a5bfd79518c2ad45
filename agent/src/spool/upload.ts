// SPDX-License-Identifier: Apache-2.0
// Owns the upload of sealed segments: one at a time, oldest first, again and again until each is acknowledged.
import { setTimeout as delay } from 'node:timers/promises';
import type { SealedSegment } from './sealed.js';
import type { Spool } from './spool.js';

/** Where segments go. */
export interface Uploader {
  /**
   * Stores one segment. `duplicate`: it is there already, by its digest. `refused`: it never will be taken (its
   * bytes are wrong); it is given up and its records are counted as lost. Everything that may pass (no network,
   * no right to upload, an error of the server) is thrown, and tried again.
   */
  put(segment: SealedSegment, signal: AbortSignal): Promise<'stored' | 'duplicate' | 'refused'>;
}

export interface UploadOptions {
  /** First wait after a failure; doubled each time. Default 250. */
  readonly delayMinMs?: number;
  /** Longest wait. Default 30,000. */
  readonly delayMaxMs?: number;
  /** An attempt is given up after this. Default 60,000. */
  readonly attemptMs?: number;
  /** From 0 to 1; spreads the waits of many agents. Default Math.random. */
  readonly random?: () => number;
  readonly onFailure?: (error: unknown, segment: SealedSegment, waitMs: number) => void;
  readonly onStored?: (segment: SealedSegment, outcome: 'stored' | 'duplicate' | 'refused') => void;
}

/** Uploads until the signal aborts or the spool is closed and empty. Never throws for a failed upload. */
export async function uploadSegments(
  spool: Spool,
  uploader: Uploader,
  signal: AbortSignal,
  options: UploadOptions = {},
): Promise<void> {
  const { delayMinMs = 250, delayMaxMs = 30_000, attemptMs = 60_000, random = Math.random } = options;
  let failures = 0;
  for (;;) {
    const segment = await spool.nextSealed(signal);
    if (segment === undefined) return;
    try {
      const attempt = AbortSignal.any([signal, AbortSignal.timeout(attemptMs)]);
      const outcome = await uploader.put(segment, attempt);
      await spool.acknowledge(segment, outcome);
      options.onStored?.(segment, outcome);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      const most = Math.min(delayMaxMs, delayMinMs * 2 ** Math.min(failures, 20));
      const waitMs = most * (0.5 + random() / 2);
      failures++;
      options.onFailure?.(error, segment, waitMs);
      await delay(waitMs, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
    }
  }
}
