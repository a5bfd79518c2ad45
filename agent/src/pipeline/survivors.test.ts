// SPDX-License-Identifier: Apache-2.0
import {
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_PROCESSES_AT_AT,
  EventKind,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
} from '@weir/schema';
import { BatchReader, BatchWriter, decodeRecord } from '@weir/segment';
import { expect, it } from 'vitest';
import { slotViews } from '../join/join.js';
import { Survivors } from './survivors.js';

/** Many processes that share one path and one run of arguments, as forks of one process do, so far from each other. */
function forks(count: number, distance: number): Uint8Array {
  const writer = new BatchWriter({});
  for (let index = 0; index < count; index++) {
    const pid = 100 + index;
    const startNs = BigInt(1000 + index);
    const process = writer.process({
      pid,
      startNs,
      execNs: startNs,
      binary: index === 0 ? `/${'b'.repeat(29_999)}` : '/b',
      arguments: [index === 0 ? 'a'.repeat(4000) : 'a'],
    });
    writer.event({ kind: EventKind.exit, pid, tid: pid, startNs, timeNs: 1n, process, status: 0 });
  }
  const batch = writer.finish();
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const at = view.getUint32(BATCH_HEADER_PROCESSES_AT_AT, true);
  const entries = view.getUint32(BATCH_HEADER_PROCESS_COUNT_AT, true);
  const strings = view.getUint32(at + PROCESS_ENTRY_BINARY_AT, true);
  for (let entry = 0; entry < entries; entry++) {
    const to = at + entry * PROCESS_ENTRY_BYTES;
    view.setUint32(to + PROCESS_ENTRY_BINARY_AT, strings, true);
    view.setUint32(to + PROCESS_ENTRY_BINARY_AT + 4, 2000, true);
    view.setUint32(to + PROCESS_ENTRY_ARGUMENTS_AT, strings + distance, true);
    view.setUint32(to + PROCESS_ENTRY_ARGUMENTS_AT + 4, 2000, true);
  }
  return batch;
}

it.each([2001, 6765, 10_946, 17_711])(
  'copies what entries share once, whatever lies between (%d bytes)',
  (distance) => {
    const batch = forks(300, distance);
    const source = slotViews(new Uint8Array(2 * 1024 * 1024));
    source.bytes.set(batch);
    const target = slotViews(new Uint8Array(3 * 1024 * 1024));
    const verdicts = new Uint8Array(300);
    verdicts[0] = 1;
    const survivors = new Survivors(16_384, 2 * 1024 * 1024);
    const alerts = { count: 0, at: 0 };
    const length = survivors.extract(source, batch.length, verdicts, 0, 299, alerts, () => 1n, target);
    expect(length).toBeLessThan(batch.length);
    const last = decodeRecord(new BatchReader(target.bytes.slice(0, length)), 298);
    expect(last.process?.binary.length).toBe(2000);
  },
);
