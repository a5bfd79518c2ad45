// SPDX-License-Identifier: Apache-2.0
// What masking costs its filter: the host looks pieces up outside of what is metered.
import { BATCH_HEADER_PROCESSES_AT_AT, EventKind, PROCESS_ENTRY_CWD_AT } from '@weir/schema';
import { BatchWriter } from '@weir/segment';
import { afterEach, describe, expect, it } from 'vitest';
import { annotation, closeHosts, done, eachRecord, judge, type ModuleText, start } from './fixtures.js';

afterEach(closeHosts);

/** So many processes, each the parent of the next, with a working directory each. */
function lineage(count: number): { writer: BatchWriter; process: (pid: number) => number } {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  const indexes = [0];
  for (let pid = 1; pid <= count; pid++) {
    const startNs = BigInt(pid);
    const parentIndex = indexes[pid - 1] ?? 0;
    indexes.push(writer.process({ pid, startNs, execNs: startNs, cwd: `/home/${pid}`, parentIndex }));
  }
  return { writer, process: (pid) => indexes[pid] ?? 0 };
}

/** Exits of a process with many ancestors, and where the working directory of the eldest lies. */
function exits(count: number): { batch: Uint8Array; at: number } {
  const { writer, process: indexOf } = lineage(60);
  const process = indexOf(60);
  for (let index = 0; index < count; index++) {
    writer.event({ kind: EventKind.exit, pid: 60, startNs: 60n, process, sequence: BigInt(index) });
  }
  const batch = writer.finish();
  const view = new DataView(batch.buffer, batch.byteOffset);
  const first = view.getUint32(BATCH_HEADER_PROCESSES_AT_AT, true);
  return { batch, at: view.getUint32(first + PROCESS_ENTRY_CWD_AT, true) };
}

/** Has the first byte at `at` masked so often on the first record, in notes of as many pieces each. */
function masks(at: number, notes: number, pieces: number, more: Partial<ModuleText> = {}): ModuleText {
  const piece = (index: number) => `
    (i32.store offset=${4104 + index * 8} (i32.const 0) (i32.add (i32.load (local.get $call)) (i32.const ${at})))
    (i32.store offset=${4108 + index * 8} (i32.const 0) (i32.const 1))`;
  const note = (index: number) => `
    (i32.store offset=${1024 + index * 24} (i32.const 0) (local.get $i))
    (i32.store offset=${1036 + index * 24} (i32.const 0) (i32.const 4096))`;
  const many = (count: number, one: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => one(index));
  return {
    name: 'masks',
    redacts: ['process.arguments', 'process.environment', 'process.cwd'],
    filter: `${eachRecord(`
      (if (i32.eqz (local.get $i)) (then
        ${annotation({ severity: 0, count: notes })}
        (i32.store (i32.const 4096) (i32.const ${pieces}))
        ${many(pieces, piece).join('')} ${many(notes, note).join('')}))`)} ${done}`,
    ...more,
  };
}

describe('masking', () => {
  it('is paid for, piece by piece, by the fields that are looked at', async () => {
    const { batch, at } = exits(1);
    const fuel: number[] = [];
    for (const pieces of [1, 2, 3]) {
      const { host } = await start([masks(at, 1, pieces)]);
      const judged = await judge(host, batch);
      expect(judged.records[0]?.process?.pid).toBe(60);
      expect(host.status()[0]).toMatchObject({ traps: 0 });
      fuel.push(host.status()[0]?.fuel ?? 0);
    }
    const [one = 0, two = 0, three = 0] = fuel;
    expect(two - one).toBe(three - two);
    // 60 working directories are looked at, beside what the filter itself does.
    expect(two - one).toBeGreaterThan(60 * 16);
  });

  it('beyond the fuel of its event costs the event, all of which is masked', async () => {
    const { batch, at } = exits(2);
    const { host, reports } = await start([masks(at, 1, 60, { budget: { fuelPerEvent: 10_000 } })]);
    const judged = await judge(host, batch);
    expect(reports).toMatchObject([{ type: 'trap', cause: 'fuel', record: 0 }]);
    expect(judged.records[0]?.process?.cwd).toBe('*');
    expect(judged.errors).toBe(1);
    expect(host.status()[0]?.traps).toBe(1);
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('of more than 64 pieces of a record, in however many notes, is a lie', async () => {
    const { batch, at } = exits(1);
    const { host } = await start([masks(at, 2, 32)]);
    await judge(host, batch);
    expect(host.status()[0]?.quarantine).toBeUndefined();
    const { host: other } = await start([masks(at, 2, 33)]);
    await judge(other, batch);
    expect(other.status()[0]?.quarantine).toMatchObject({
      code: 'lying',
      reason: expect.stringMatching(/66 redactions on record 0; at most 64/),
    });
  });

  it('as a whole, in quarantine, takes all ancestors that any record of the batch reaches, each once', async () => {
    const { host } = await start([{ ...masks(0, 1, 1), filter: '(i32.const 7)' }]);
    // The youngest does not reach the eldest; who is nearer to these does, by way of those that are masked already.
    for (const pids of [
      [80, 60, 80],
      [60, 80],
      [80, 75, 70, 60],
    ]) {
      const { writer, process } = lineage(80);
      for (const pid of pids) {
        const startNs = BigInt(pid);
        writer.event({ kind: EventKind.exit, pid, startNs, process: process(pid), sequence: startNs });
      }
      const batch = writer.finish();
      const slot = await host.acquireWhenFree();
      slot.bytes.set(batch);
      const { byteLength, kept } = await host.run(slot, batch.length);
      const after = Buffer.from(slot.bytes.slice(0, byteLength));
      host.release(slot);
      expect([kept, Buffer.from(batch).includes('/home/1')]).toEqual([pids.length, true]);
      expect(after.includes('/home')).toBe(false);
    }
  });
});
