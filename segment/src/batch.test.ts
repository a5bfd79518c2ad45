// SPDX-License-Identifier: Apache-2.0
// A batch: written, checked, decoded; and what is no batch, refused.
import {
  ANNOTATION_LABEL_COUNT_AT,
  ARGUMENT_BYTES,
  ARGUMENT_PAYLOAD_AT,
  ArgumentType,
  BATCH_HEADER_BYTE_LENGTH_AT,
  BATCH_HEADER_MAGIC_AT,
  BATCH_HEADER_PROCESS_COUNT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  BATCH_HEADER_VERSION_AT,
  EventKind,
  EXEC_RECORD_BINARY_AT,
  HOOK_RECORD_ARGUMENT_COUNT_AT,
  HOOK_RECORD_BYTES,
  HOOK_RECORD_DATA_COUNT_AT,
  LossStage,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_POD_INDEX_AT,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_PROCESS_INDEX_AT,
  RECORD_HEADER_SIZE_AT,
  RecordFlag,
  Severity,
} from '@weir/schema';
import { describe, expect, test } from 'vitest';
import { BatchReader, validateBatch } from './batch-reader.js';
import { BatchWriter, socketPayload } from './batch-writer.js';
import { BatchDecoder, decodeRecord, execId } from './decode.js';
import { SegmentError } from './error.js';
import { describeBatch, random } from './fixtures.js';
import { textToBytes } from './text.js';

const bootId = Uint8Array.from({ length: 16 }, (_, i) => i);

function sample(): Uint8Array<ArrayBuffer> {
  const writer = new BatchWriter({
    bootId,
    bootToUnixNs: 1_700_000_000_000_000_000n,
    node: 'node-1',
    cluster: 'c1',
    nodeLabels: { zone: 'a', empty: '' },
  });
  const pod = writer.pod({ namespace: 'default', name: 'web', labels: { app: 'web' }, flags: 1 });
  const shell = writer.process({
    pid: 7,
    startNs: 5n,
    execNs: 6n,
    parentPid: 1,
    parentExecNs: 2n,
    podIndex: pod,
    binary: '/bin/sh',
    arguments: ['-c', '', 'echo'],
    cwd: '/',
  });
  const binding = writer.binding({
    bindingId: 3,
    eventKind: EventKind.lsm,
    policyName: 'watch',
    functionName: 'file_open',
    tags: ['a', 'b'],
    argumentLabels: ['file', ''],
  });
  writer.event({
    kind: EventKind.exec,
    pid: 7,
    tid: 7,
    cpu: 1,
    sequence: 9n,
    timeNs: 6n,
    startNs: 5n,
    process: shell,
    uid: 1000,
    binary: '/bin/sh',
    arguments: ['-c', '', 'echo'],
    cwd: '/',
    environment: ['A=1', 'B='],
    annotation: { severity: Severity.high, message: 'shell', labels: { 'filter.x.y': 'z' } },
  });
  writer.event({
    kind: EventKind.lsm,
    pid: 7,
    sequence: 10n,
    process: shell,
    binding,
    flags: RecordFlag.monitor,
    arguments: [
      { type: ArgumentType.file, payload: Uint8Array.from([0x2f, 0xff, 0x0a, 0x1b]), value: 0o100644n },
      { type: ArgumentType.int32, value: 0xffff_ffff_ffff_ffffn },
    ],
    data: [{ type: ArgumentType.sock, payload: socketPayload({ family: 2, sourcePort: 80 }) }],
    returnValue: { type: ArgumentType.int32, value: BigInt.asUintN(64, -13n) },
    kernelStack: [1n, 2n],
  });
  writer.event({ kind: EventKind.exit, pid: 7, process: shell, status: 3, signal: 9 });
  writer.event({ kind: EventKind.loss, stage: LossStage.ringFull, count: 12n });
  return writer.finish();
}

describe('what was written', () => {
  test('is decoded as it was described', () => {
    const decoder = new BatchDecoder(new BatchReader(sample()));
    expect(decoder.node).toBe('node-1');
    expect(decoder.nodeLabels).toEqual({ zone: 'a', empty: '' });
    const exec = decoder.record(0);
    expect(exec.eventId).toBe('000102030405060708090a0b0c0d0e0f-1-9');
    expect(exec.timeNs).toBe(1_700_000_000_000_000_006n);
    expect(exec.exec?.arguments).toEqual(['-c', '', 'echo']);
    expect(exec.exec?.environment).toEqual(['A=1', 'B=']);
    expect(exec.exec?.argumentsOriginal).toBe(9);
    expect(exec.process?.execId).toBe(execId(textToBytes('node-1'), 6n, 7));
    expect(Buffer.from(exec.process?.execId ?? '', 'base64').toString()).toBe('node-1:6:7');
    expect(Buffer.from(exec.process?.parentExecId ?? '', 'base64').toString()).toBe('node-1:2:1');
    expect(exec.process?.pod?.labels).toEqual({ app: 'web' });
    expect(exec.process?.pod?.privileged).toBe(true);
    expect(exec.annotation).toEqual({
      severity: 'high',
      error: false,
      message: 'shell',
      labels: { 'filter.x.y': 'z' },
    });
    const hook = decoder.record(1);
    expect(hook.kind).toBe('lsm');
    expect(hook.flags).toEqual(['monitor']);
    expect(hook.hook?.binding?.tags).toEqual(['a', 'b']);
    expect(hook.hook?.arguments.map((a) => [a.type, a.label, a.signedValue])).toEqual([
      ['file', 'file', 0o100644n],
      ['int32', '', -1n],
    ]);
    expect(textToBytes(hook.hook?.arguments[0]?.text ?? '')).toEqual(
      Uint8Array.from([0x2f, 0xff, 0x0a, 0x1b]),
    );
    expect(hook.hook?.data[0]?.socket?.sourcePort).toBe(80);
    expect(hook.hook?.returnValue?.signedValue).toBe(-13n);
    expect(hook.hook?.kernelStack).toEqual([1n, 2n]);
    expect(decoder.record(2).exit).toEqual({ status: 3, signal: 9 });
    expect(decoder.record(3).loss).toEqual({ stage: 'ring_full', count: 12n });
  });

  test('is valid for every kind, also without records, and at any offset of its buffer', () => {
    expect(validateBatch(new BatchWriter().finish()).recordCount).toBe(0);
    const batch = describeBatch({ seed: 1, records: 400 });
    const moved = new Uint8Array(batch.length + 3);
    moved.set(batch, 3);
    const reader = new BatchReader(moved.subarray(3));
    expect(reader.recordCount).toBe(400);
    const kinds = new Set(Array.from({ length: 400 }, (_, i) => decodeRecord(reader, i).kind));
    expect(kinds.size).toBeGreaterThan(8);
  });
});

describe('a batch is refused', () => {
  function refuses(code: string, where: string, change: (view: DataView, bytes: Uint8Array) => void): void {
    const bytes = sample();
    change(new DataView(bytes.buffer), bytes);
    try {
      validateBatch(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(SegmentError);
      expect(error).toMatchObject({ code, where });
      return;
    }
    expect.unreachable(`${where} was let through`);
  }
  const { header } = new BatchReader(sample());
  const record = (i: number) => new BatchReader(sample()).recordAt(i);

  test.each([
    ['not-a-batch', 'header.magic', BATCH_HEADER_MAGIC_AT, 0],
    ['version', 'header.version', BATCH_HEADER_VERSION_AT, 2],
    ['truncated', 'header.byte_length', BATCH_HEADER_BYTE_LENGTH_AT, 0x7fffffff],
    ['out-of-bounds', 'header.offsets_at', BATCH_HEADER_RECORD_COUNT_AT, 0xffffffff],
    ['out-of-bounds', 'header.processes_at', BATCH_HEADER_PROCESS_COUNT_AT, 1000],
    ['out-of-bounds', 'processes[0].binary', header.processesAt + PROCESS_ENTRY_BINARY_AT, 0xfffffff0],
    ['out-of-bounds', 'processes[0].pod_index', header.processesAt + PROCESS_ENTRY_POD_INDEX_AT, 2],
    ['invalid', 'records[0]', header.offsetsAt, 100],
    ['invalid', 'records[1]', header.offsetsAt + 4, record(0) + 8],
    ['invalid', 'records[0].size', record(0) + RECORD_HEADER_SIZE_AT, 8],
    ['out-of-bounds', 'records[3].size', record(3) + RECORD_HEADER_SIZE_AT, 0x10000000],
    ['out-of-bounds', 'records[0].process_index', record(0) + RECORD_HEADER_PROCESS_INDEX_AT, 2],
    ['out-of-bounds', 'records[0].binary', record(0) + EXEC_RECORD_BINARY_AT + 4, 4096],
    ['out-of-bounds', 'records[0].annotation', record(0) + RECORD_HEADER_ANNOTATION_AT, 0xfffffff8],
  ])('%s: %s', (code, where, at, value) => {
    refuses(code, where, (view) => view.setUint32(at, value, true));
  });

  test.each([
    ['invalid', 'records[0].kind', record(0) + RECORD_HEADER_KIND_AT, 777],
    ['out-of-bounds', 'records[1].argument_count', record(1) + HOOK_RECORD_ARGUMENT_COUNT_AT, 5000],
    ['invalid', 'records[1].data_count', record(1) + HOOK_RECORD_DATA_COUNT_AT, 4],
  ])('%s: %s', (code, where, at, value) => {
    refuses(code, where, (view) => view.setUint16(at, value, true));
  });

  test('with more labels than there is room for', () => {
    refuses('out-of-bounds', 'records[0].annotation.label_count', (view) => {
      const annotation = view.getUint32(record(0) + RECORD_HEADER_ANNOTATION_AT, true);
      view.setUint16(annotation + ANNOTATION_LABEL_COUNT_AT, 0xffff, true);
    });
  });

  test('whose entries name the same bytes again and again', () => {
    const writer = new BatchWriter({ bootId });
    for (let i = 0; i < 2000; i++) writer.process({ pid: i });
    writer.process({ pid: 1, binary: 'x'.repeat(60_000) });
    const bytes = writer.finish();
    expect(validateBatch(bytes).processCount).toBe(2001);
    const view = new DataView(bytes.buffer);
    const { processesAt } = validateBatch(bytes);
    const span = (i: number) => processesAt + i * PROCESS_ENTRY_BYTES + PROCESS_ENTRY_BINARY_AT;
    const written = view.getBigUint64(span(2000), true);
    for (let i = 0; i < 2000; i++) view.setBigUint64(span(i), written, true);
    expect(() => validateBatch(bytes)).toThrow(
      expect.objectContaining({ code: 'too-large', where: 'batch' }),
    );
  });

  test('whose record names its own bytes again and again', () => {
    const writer = new BatchWriter({ bootId });
    const payload = 'x'.repeat(4000);
    const args = Array.from({ length: 20 }, (_, i) => ({
      type: ArgumentType.string,
      payload: i === 0 ? payload : '',
    }));
    writer.event({ kind: EventKind.kprobe, arguments: args });
    const bytes = writer.finish();
    const view = new DataView(bytes.buffer);
    const at = new BatchReader(bytes).recordAt(0) + HOOK_RECORD_BYTES + ARGUMENT_PAYLOAD_AT;
    for (let i = 1; i < 20; i++)
      view.setBigUint64(at + i * ARGUMENT_BYTES, view.getBigUint64(at, true), true);
    expect(() => validateBatch(bytes)).toThrow(
      expect.objectContaining({ code: 'too-large', where: 'records[0]' }),
    );
  });

  test('cut short anywhere', () => {
    const bytes = sample();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => validateBatch(bytes.subarray(0, length))).toThrow(SegmentError);
    }
  });
});

describe('fuzz', () => {
  /** Reads all of a batch; true where it was refused. */
  function readAll(bytes: Uint8Array): boolean {
    let reader: BatchReader;
    try {
      reader = new BatchReader(bytes);
    } catch (error) {
      if (!(error instanceof SegmentError)) throw error;
      return true;
    }
    const decoder = new BatchDecoder(reader);
    for (let i = 0; i < reader.recordCount; i++) decoder.record(i);
    return false;
  }

  test('bytes changed at random are refused by name or read within bounds', () => {
    const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
    const next = random(seed);
    let refused = 0;
    const rounds = Number(process.env.WEIR_FUZZ_ROUNDS ?? 3000);
    const base = describeBatch({ seed, records: 40 });
    for (let round = 0; round < rounds; round++) {
      const bytes = base.slice(0, next(20) === 0 ? next(base.length) : base.length);
      const view = new DataView(bytes.buffer);
      for (let change = 1 + next(4); change > 0 && bytes.length > 8; change--) {
        const at = next(bytes.length - 4);
        const interesting = [0, 1, 0xff, 0xffff, 0x7fffffff, 0xffffffff, bytes.length, next(2 ** 31)];
        if (next(2) === 0) view.setUint8(at, next(256));
        else view.setUint32(at & ~3, interesting[next(interesting.length)] ?? 0, true);
      }
      try {
        if (readAll(bytes)) refused++;
      } catch (error) {
        throw new Error(`seed ${seed}, round ${round}`, { cause: error });
      }
    }
    // The canary: a fuzzer that never hits a check checks nothing.
    expect(refused, `seed ${seed}`).toBeGreaterThan(rounds / 20);
    expect(refused, `seed ${seed}`).toBeLessThan(rounds);
  });
});
