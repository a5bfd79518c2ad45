// SPDX-License-Identifier: Apache-2.0
// Owns the recording of live events into a segment: a fixture on which filters are tested.
import { BATCH_HEADER_RECORD_COUNT_AT } from '@weir/schema';
import { CHAIN_START, frameParts, readWholeFrames, sealSegment } from '@weir/segment';
import type { BatchObserver } from '../pipeline/pipeline.js';

/** Bytes of batches in one recording. */
const BYTES_MAX = 64 * 1024 * 1024;

/** Takes batches until so many events are there, the time is over or the signal aborts. */
export async function recordSegment(
  observe: (observer: BatchObserver) => () => void,
  options: { events: number; timeoutMs: number; signal: AbortSignal },
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let events = 0;
  let bytes = 0;
  await new Promise<void>((resolve) => {
    let stop = () => {};
    const timer = setTimeout(end, options.timeoutMs);
    function end(): void {
      stop();
      clearTimeout(timer);
      options.signal.removeEventListener('abort', end);
      resolve();
    }
    options.signal.addEventListener('abort', end);
    stop = observe((batch) => {
      const count = new DataView(batch.buffer, batch.byteOffset).getUint32(
        BATCH_HEADER_RECORD_COUNT_AT,
        true,
      );
      if (count === 0) return;
      // A copy: the bytes are the pipeline's.
      for (const part of frameParts(batch.slice(), new Uint8Array())) parts.push(part);
      events += count;
      bytes += batch.length;
      if (events >= options.events || bytes >= BYTES_MAX) end();
    });
  });
  const raw = Buffer.concat(parts);
  const sealed = await sealSegment({
    agentId: 'recording',
    chainId: '0'.repeat(32),
    sequence: 0n,
    previous: CHAIN_START,
    raw,
    frames: readWholeFrames(raw).frames,
  });
  return sealed.bytes;
}
