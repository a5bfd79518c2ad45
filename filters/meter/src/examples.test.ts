// SPDX-License-Identifier: Apache-2.0
// The example filters, metered and not, on the bare ABI: what they leave in their memory is compared byte by byte, so
// their verdicts, annotations and state are.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  ArgumentType,
  EventKind,
  FILTER_CALL_ANNOTATION_COUNT_AT,
  FILTER_CALL_BATCH_AT_AT,
  FILTER_CALL_BATCH_BYTES_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_RECORD_COUNT_AT,
  FILTER_CALL_VERDICTS_AT_AT,
} from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { describe, expect, it } from 'vitest';
import { type Instance, instantiate } from './fixtures.js';
import { fuelOf, meterModule } from './index.js';

const RECORDS = 600;
const folder = join(dirname(fileURLToPath(import.meta.url)), '../../examples/build');
// Built by `npm run build:filters`.
const names = readdirSync(folder).filter((name) => name.endsWith('.wasm'));

/** Programs run from memory and from disk, bursts of them, files of every sort. */
function batch(round: number): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  const shell = writer.process({ pid: 2, startNs: 2n, binary: '/bin/sh', arguments: ['-c', 'x'] });
  const processes = Array.from({ length: 8 }, (_, index) =>
    writer.process({
      pid: 100 + index,
      startNs: BigInt(100 + index),
      parentIndex: shell,
      binary: index % 3 === 0 ? '/memfd:x (deleted)' : '/usr/bin/python3',
      arguments: ['a', 'b'],
      cwd: '/tmp',
    }),
  );
  const binding = writer.binding({
    eventKind: EventKind.kprobe,
    policyName: 'files',
    functionName: 'security_file_open',
  });
  for (let index = 0; index < RECORDS; index++) {
    const common = {
      pid: 100 + (index % 8),
      timeNs: BigInt(round * RECORDS + index) * 10_000_000n,
      process: processes[index % 8] as number,
      parent: shell,
    };
    if (index % 2 === 0) {
      const binary = index % 14 === 0 ? '/memfd:evil (deleted)' : '/usr/bin/id';
      writer.event({ ...common, kind: EventKind.exec, binary, arguments: ['id'] });
    } else {
      const path = ['/proc/self/status', '/usr/lib/libc.so.6', '/etc/shadow', '/var/log/x.log'][
        index % 4
      ] as string;
      writer.event({
        ...common,
        kind: EventKind.kprobe,
        binding,
        arguments: [{ type: ArgumentType.file, payload: path }],
      });
    }
  }
  return writer.finish();
}

/** Judges a few batches; returns the whole memory after each, and how many records were dropped or annotated. */
function run(bytes: Uint8Array): { memories: Uint8Array[]; drops: number; notes: number; fuel: bigint } {
  const instance: Instance = instantiate(bytes, { weir: { log() {} } });
  const exports = instance.exports as Record<string, (value?: number) => number>;
  const fuel = 'weir.fuel' in instance.exports ? fuelOf(instance) : undefined;
  fuel?.refill(1n << 40n);
  exports.weir_start?.();
  const batches = [0, 1, 2].map(batch);
  const size = Math.max(...batches.map((one) => one.length));
  const area =
    (exports.weir_reserve as (value: number) => number)(FILTER_CALL_BYTES + size + 8 + RECORDS) >>> 0;
  const memories: Uint8Array[] = [];
  let drops = 0;
  let notes = 0;
  for (const one of batches) {
    const { buffer } = instance.exports.memory as unknown as { buffer: ArrayBuffer };
    const memory = new Uint8Array(buffer);
    const view = new DataView(buffer);
    const batchAt = area + FILTER_CALL_BYTES;
    const verdictsAt = batchAt + ((one.length + 7) & ~7);
    memory.fill(0, area, verdictsAt + RECORDS);
    memory.set(one, batchAt);
    view.setUint32(area + FILTER_CALL_BATCH_AT_AT, batchAt, true);
    view.setUint32(area + FILTER_CALL_BATCH_BYTES_AT, one.length, true);
    view.setUint32(area + FILTER_CALL_RECORD_COUNT_AT, RECORDS, true);
    view.setUint32(area + FILTER_CALL_VERDICTS_AT_AT, verdictsAt, true);
    expect((exports.weir_filter as (value: number) => number)(area)).toBe(0);
    const after = new Uint8Array((instance.exports.memory as unknown as { buffer: ArrayBuffer }).buffer);
    for (const verdict of after.subarray(verdictsAt, verdictsAt + RECORDS)) drops += verdict;
    notes += new DataView(after.buffer).getUint32(area + FILTER_CALL_ANNOTATION_COUNT_AT, true);
    memories.push(after.slice());
  }
  return { memories, drops, notes, fuel: (1n << 40n) - (fuel?.remaining ?? 0n) };
}

describe('an example filter', () => {
  it.each(names)('judges the same metered and not metered, with the same fuel each time: %s', (name) => {
    const bytes = readFileSync(join(folder, name));
    const plain = run(bytes);
    const metered = meterModule(bytes);
    const once = run(metered);
    expect(
      once.memories.every(
        (memory, index) => Buffer.compare(memory, plain.memories[index] as Uint8Array) === 0,
      ),
    ).toBe(true);
    expect([once.drops, once.notes]).toEqual([plain.drops, plain.notes]);
    for (let again = 0; again < 2; again++) expect(run(metered).fuel).toBe(once.fuel);
  });

  it('is there, and some of them say something', () => {
    const said = names
      .map((name) => run(readFileSync(join(folder, name))))
      .map(({ drops, notes }) => drops + notes);
    expect(Math.max(...said)).toBeGreaterThan(0);
  });
});
