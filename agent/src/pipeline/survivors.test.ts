// SPDX-License-Identifier: Apache-2.0
import {
  ANNOTATION_BYTES,
  ANNOTATION_LABEL_BYTES,
  ANNOTATION_LABEL_COUNT_AT,
  ANNOTATION_LABEL_VALUE_AT,
  ANNOTATION_SEVERITY_AT,
  ArgumentType,
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
import { Survivors, survivorBytes } from './survivors.js';

const MIB = 1024 * 1024;

/** So many records of hooks with a path of so many bytes each. */
function hooks(count: number, pathBytes: number): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  const binding = writer.binding({ bindingId: 1, eventKind: EventKind.kprobe, policyName: 'files' });
  for (let index = 0; index < count; index++) {
    writer.event({
      kind: EventKind.kprobe,
      pid: 100 + index,
      startNs: 1n,
      sequence: BigInt(index),
      binding,
      arguments: [{ type: ArgumentType.file, payload: 'p'.repeat(pathBytes) }],
    });
  }
  return writer.finish();
}

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

it('loses what is said of records where that has no room, never the records and alerts', () => {
  const batch = hooks(4, 2000);
  const source = slotViews(new Uint8Array(2 * MIB));
  source.bytes.set(batch);
  const count = 64;
  const labels = 16;
  const noteBytes = ANNOTATION_BYTES + labels * ANNOTATION_LABEL_BYTES;
  const { view } = source;
  const at = batch.length;
  const end = at + count * (8 + noteBytes);
  // Each label's value is 1000 bytes of the batch, and begins one byte further on than the one before it.
  for (let index = 0; index < count; index++) {
    const note = at + count * 8 + index * noteBytes;
    view.setUint32(at + index * 8, index % 4, true);
    view.setUint32(at + index * 8 + 4, note, true);
    view.setUint8(note + ANNOTATION_SEVERITY_AT, 4);
    view.setUint16(note + ANNOTATION_LABEL_COUNT_AT, labels, true);
    for (let label = 0; label < labels; label++) {
      const to = note + ANNOTATION_BYTES + label * ANNOTATION_LABEL_BYTES;
      view.setUint32(to, 400, true);
      view.setUint32(to + 4, 4, true);
      view.setUint32(to + ANNOTATION_LABEL_VALUE_AT, index * labels + label, true);
      view.setUint32(to + ANNOTATION_LABEL_VALUE_AT + 4, 1000, true);
    }
  }
  const target = slotViews(new Uint8Array(256 * 1024));
  const survivors = new Survivors(16_384, 2 * MIB);
  const length = survivors.extract(source, end, new Uint8Array(4), 0, 4, { count, at }, () => 1n, target);
  const reader = new BatchReader(target.bytes.slice(0, length));
  expect(reader.header.recordCount).toBe(4 + count);
  const alerts = Array.from({ length: count }, (_, index) => decodeRecord(reader, 4 + index));
  const told = alerts.filter(({ annotation }) => annotation !== undefined).length;
  expect(told).toBeGreaterThan(5);
  expect(survivors.annotationsLost).toBe(count - told);
  expect(survivors.annotationsLost).toBeGreaterThan(0);
  expect(survivors.alertsLost).toBe(0);
});

it('has room for all alerts behind a batch that is full', () => {
  const batch = hooks(4000, 340);
  expect(batch.length).toBeGreaterThan(1.9 * MIB);
  expect(batch.length).toBeLessThan(2 * MIB);
  const annotationBytes = MIB / 2;
  const source = slotViews(new Uint8Array(2 * MIB + annotationBytes));
  source.bytes.set(batch);
  const count = 20_000;
  const end = batch.length + count * 8;
  for (let index = 0; index < count; index++) {
    source.view.setUint32(batch.length + index * 8, index % 4000, true);
  }
  const target = slotViews(new Uint8Array(survivorBytes(2 * MIB, annotationBytes)));
  const survivors = new Survivors(16_384, 2 * MIB);
  const alerts = { count, at: batch.length };
  const length = survivors.extract(source, end, new Uint8Array(4000), 0, 4000, alerts, () => 1n, target);
  const reader = new BatchReader(target.bytes.slice(0, length));
  expect(reader.header.recordCount).toBe(4000 + count);
  expect(decodeRecord(reader, 3999 + count).kind).toBe('alert');
  expect(survivors.alertsLost).toBe(0);
});
