// SPDX-License-Identifier: Apache-2.0
// Runs records through the join and the survivors, and reads the batch back as the archive would.
import { uptime } from 'node:os';
import { BATCH_HEADER_OFFSETS_AT_AT, EventKind, ExecFlag, RecordFlag } from '@weir/schema';
import { BatchDecoder, BatchReader, BatchWriter, type EventDescription, validateBatch } from '@weir/segment';
import { describe, expect, it } from 'vitest';
import { Users } from '../identity/users.js';
import { Survivors } from '../pipeline/survivors.js';
import { ProcessTable, type ProcessTableOptions } from '../process/table.js';
import { Accounting, decodeAccounting } from './accounting.js';
import { Bindings } from './bindings.js';
import { Join, type Joined, type SlotViews, slotViews } from './join.js';
import { lossRecord } from './own-record.js';

const container = '0123456789abcdef'.repeat(4);

function setup(options: ProcessTableOptions = {}, ancestors = 1, batchBytesMax = 1 << 20) {
  const table = new ProcessTable(options);
  const bindings = new Bindings();
  const accounting = new Accounting(4, new Uint8Array(16));
  const users = new Users([[0, Uint8Array.from(Buffer.from('root'))]]);
  const join = new Join({
    table,
    bindings,
    accounting,
    users,
    bootId: new Uint8Array(16).fill(7),
    nodeName: 'node-1',
    clusterName: 'cluster-1',
    nodeLabels: { zone: 'a' },
    ancestors,
    recordsMax: 4096,
    batchBytesMax,
  });
  return { table, bindings, accounting, join };
}

/** The records of a batch that BatchWriter made, as they would come from the ring, one after the other. */
function recordsOf(events: readonly EventDescription[]): Uint8Array[] {
  const writer = new BatchWriter({});
  for (const event of events) writer.event(event);
  const batch = writer.finish();
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
  return events.map((_, index) => {
    const at = view.getUint32(offsetsAt + index * 4, true);
    return batch.slice(at, at + view.getUint32(at, true));
  });
}

/** A decoder by the number of the record in the batch. */
function decode(batch: Uint8Array) {
  validateBatch(batch);
  const reader = new BatchReader(batch);
  const decoder = new BatchDecoder(reader);
  return {
    recordCount: reader.header.recordCount,
    processCount: reader.header.processCount,
    record: (index: number) => decoder.record(index),
  };
}

/** A batch of all these records. */
function makeBatch(join: Join, slot: SlotViews, records: readonly Uint8Array[]): Joined {
  join.begin(slot);
  for (const record of records) expect(join.add(record)).toBe('taken');
  return join.finish(slot) as Joined;
}

function run(join: Join, events: readonly EventDescription[], slotBytes = 1 << 20) {
  const slot = slotViews(new Uint8Array(new SharedArrayBuffer(slotBytes)));
  const joined = makeBatch(join, slot, recordsOf(events));
  const batch = Uint8Array.from(slot.bytes.subarray(0, joined.byteLength));
  return { slot, joined, batch, decoder: decode(batch) };
}

const exec = (pid: number, startNs: bigint, timeNs: bigint, more: Partial<EventDescription> = {}) =>
  ({ kind: EventKind.exec, pid, tid: pid, startNs, timeNs, uid: 0, ...more }) as EventDescription;
const clone = (pid: number, startNs: bigint, parentPid: number, parentStartNs: bigint) =>
  ({
    kind: EventKind.clone,
    pid,
    tid: pid,
    startNs,
    timeNs: startNs,
    parentPid,
    parentStartNs,
  }) as EventDescription;

describe('join', () => {
  it('takes from withheld records what it needs to know of processes, and lays them nowhere', () => {
    const { join, accounting, table } = setup();
    const flags = RecordFlag.withheld;
    const { joined, decoder } = run(join, [
      exec(10, 1000n, 1100n, { binary: '/usr/bin/bash', arguments: ['quiet'], flags, sequence: 0n }),
      { ...clone(11, 2000n, 10, 1000n), flags, sequence: 1n } as EventDescription,
      exec(11, 2000n, 2100n, { binary: '/bin/true', sequence: 2n }),
      {
        kind: EventKind.exit,
        pid: 10,
        tid: 10,
        startNs: 1000n,
        timeNs: 2200n,
        status: 3,
        flags,
        sequence: 3n,
      },
    ]);
    expect([joined.records, joined.withheld, decoder.recordCount]).toEqual([1, 3, 1]);
    const told = decoder.record(0);
    expect([told.process?.binary, told.parent?.binary]).toEqual(['/bin/true', '/usr/bin/bash']);
    expect(told.parent?.arguments).toEqual(['quiet']);
    expect(told.flags).toEqual([]);
    expect(accounting.totals()).toMatchObject({ next: 4, handled: 4 });
    expect(accounting.handledInBatch[0]).toBe(4);
    expect([...table.slots()].filter((slot) => table.isExited(slot))).toHaveLength(1);

    const only = run(join, [exec(12, 1n, 2n, { binary: '/bin/ls', flags, sequence: 4n })]);
    expect([only.joined.records, only.joined.withheld, only.decoder.recordCount]).toEqual([0, 1, 0]);
  });

  it('gives an exec its process and its parent, each laid once', () => {
    const { join } = setup();
    const { decoder } = run(join, [
      exec(10, 1000n, 1100n, { binary: '/usr/bin/bash', arguments: ['-c', 'true'], cwd: '/' }),
      clone(11, 2000n, 10, 1000n),
      exec(11, 2000n, 2100n, { binary: '/bin/true', cwd: '/root' }),
      { kind: EventKind.exit, pid: 11, tid: 11, startNs: 2000n, timeNs: 2200n, status: 3 },
    ]);
    const records = Array.from({ length: decoder.recordCount }, (_, index) => decoder.record(index));
    expect(decoder.processCount).toBe(3);
    const [bash, child, exec11, exit] = records;
    expect(bash?.process?.binary).toBe('/usr/bin/bash');
    expect(bash?.process?.arguments).toEqual(['-c', 'true']);
    expect(bash?.process?.userName).toBe('root');
    expect(child?.process?.binary).toBe('/usr/bin/bash');
    expect(child?.parent?.binary).toBe('/usr/bin/bash');
    expect(exec11?.process?.binary).toBe('/bin/true');
    expect(exec11?.parent?.execNs).toBe(1100n);
    expect(exit?.process?.binary).toBe('/bin/true');
    expect(exit?.process?.flags).toContain('exited');
  });

  it('keeps the parent that made a child, as it was then, when the parent calls exec', () => {
    const { join } = setup();
    const first = run(join, [
      exec(10, 1000n, 1100n, { binary: '/bin/sh' }),
      clone(11, 2000n, 10, 1000n),
      exec(10, 1000n, 2500n, { binary: '/bin/next' }),
      exec(11, 2000n, 2600n, { binary: '/bin/child' }),
      clone(12, 2700n, 10, 1000n),
    ]).decoder;
    expect(first.record(3).parent?.binary).toBe('/bin/sh');
    expect(first.record(3).parent?.execNs).toBe(1100n);
    expect(first.record(4).parent?.binary).toBe('/bin/next');
  });

  it('gives no event the program that came before one whose exec was lost', () => {
    const { join } = setup();
    const exit = (execNs: bigint, timeNs: bigint) =>
      ({ kind: EventKind.exit, pid: 10, tid: 10, startNs: 1000n, execNs, timeNs }) as EventDescription;
    const { decoder } = run(join, [
      exec(9, 900n, 950n, { binary: '/bin/sh' }),
      clone(10, 1000n, 9, 900n),
      exec(10, 1000n, 1100n, { binary: '/bin/one', uid: 7, execNs: 1100n }),
      exit(1100n, 1200n),
      exit(1300n, 1400n),
      exit(1300n, 1500n),
    ]);
    const seen = [3, 4, 5].map((index) => decoder.record(index));
    expect(seen.map(({ process }) => [process?.binary, process?.execNs, process?.uid])).toEqual([
      ['/bin/one', 1100n, 7],
      ['', 1300n, 7],
      ['', 1300n, 7],
    ]);
    expect(seen.map(({ flags }) => flags.includes('orphan'))).toEqual([false, true, false]);
    expect(seen.map(({ parent }) => parent?.binary)).toEqual(['/bin/sh', '/bin/sh', '/bin/sh']);
    expect(join.orphans).toBe(1);
  });

  it('never gives a reused pid the parent or the name of the one before', () => {
    const { join } = setup();
    const { decoder } = run(join, [
      exec(10, 1000n, 1100n, { binary: '/bin/one' }),
      { kind: EventKind.exit, pid: 10, tid: 10, startNs: 1000n, timeNs: 1200n },
      clone(11, 5000n, 10, 4000n),
      { kind: EventKind.exit, pid: 10, tid: 10, startNs: 4000n, timeNs: 4200n },
    ]);
    expect(decoder.record(2).parent).toBeUndefined();
    expect(decoder.record(3).process?.binary).toBe('');
    expect(decoder.record(3).flags).toContain('orphan');
  });

  it('gives no parent at all where no ancestors are asked for', () => {
    const { join } = setup({}, 0);
    // In the first batch the stranger has the number that the parent had in none.
    run(join, [
      exec(10, 1000n, 1100n, { binary: '/bin/parent' }),
      exec(50, 1000n, 1200n, { binary: '/bin/x' }),
    ]);
    const { decoder } = run(join, [
      exec(50, 1000n, 1300n, { binary: '/bin/stranger' }),
      exec(51, 1000n, 1300n, { binary: '/bin/stranger' }),
      clone(11, 2000n, 10, 1000n),
    ]);
    expect(decoder.record(2).process?.binary).toBe('/bin/parent');
    expect(decoder.record(2).parent).toBeUndefined();
  });

  it('says of the first program after a fork that it is so, and not of the next', () => {
    const { join } = setup();
    const { decoder } = run(join, [
      exec(10, 1000n, 1100n, { binary: '/bin/sh', execFlags: ExecFlag.execve }),
      clone(11, 2000n, 10, 1000n),
      exec(11, 2000n, 2100n, { binary: '/bin/first', execFlags: ExecFlag.execve }),
    ]);
    const next = run(join, [exec(11, 2000n, 2200n, { binary: '/bin/next', execFlags: ExecFlag.execve })]);
    expect(decoder.record(2).process?.flags).toEqual(expect.arrayContaining(['execve', 'clone']));
    expect(next.decoder.record(0).process?.flags).not.toContain('clone');
  });

  it('keeps what comes after a run of short lives with long arguments', () => {
    const { join } = setup({ stringBytesMax: 1 << 20 });
    let startNs = 1000n;
    for (let round = 0; round < 60; round++) {
      const lives: EventDescription[] = [];
      for (let index = 0; index < 10; index++) {
        const pid = 100 + (round * 10 + index);
        startNs += 10n;
        const { binary, cwd } = { binary: `/${'b'.repeat(4000)}`, cwd: `/${'c'.repeat(4000)}` };
        lives.push(exec(pid, startNs, startNs, { binary, cwd, arguments: ['a'.repeat(4000)] }));
        lives.push({ kind: EventKind.exit, pid, tid: pid, startNs, timeNs: startNs + 1n, status: 0 });
      }
      run(join, lives);
    }
    const later = Array.from({ length: 500 }, (_, index) =>
      exec(5000 + index, 900_000n, 900_001n, { binary: '/usr/bin/xmrig', arguments: ['--pool'] }),
    );
    const { decoder } = run(join, later);
    for (let index = 0; index < later.length; index++) {
      expect(decoder.record(index).process?.binary).toBe('/usr/bin/xmrig');
    }
  });

  it('reads the container id of a cgroup name at exec, and of a clone into another cgroup', () => {
    const { join } = setup();
    const { decoder } = run(join, [
      exec(10, 1000n, 1100n, { binary: '/bin/a', cgroupId: 5n, cgroupName: `docker-${container}.scope` }),
      exec(20, 1000n, 1100n, { binary: '/bin/b', cgroupId: 1n, cgroupName: 'user.slice' }),
      {
        ...clone(21, 1500n, 20, 1000n),
        cgroupId: 6n,
        cgroupName: `cri-containerd-${container}.scope`,
      } as EventDescription,
      { ...clone(11, 1500n, 10, 1000n), cgroupId: 5n } as EventDescription,
    ]);
    expect(decoder.record(0).process?.containerId).toBe(container);
    expect(decoder.record(0).process?.userName).toBe('');
    expect(decoder.record(1).process?.containerId).toBe('');
    expect(decoder.record(2).process?.containerId).toBe(container);
    expect(decoder.record(2).process?.binary).toBe('/bin/b');
    expect(decoder.record(3).process?.containerId).toBe(container);
  });

  it('binds hook records to their policy, and leaves one that it does not know unbound', () => {
    const { join, bindings } = setup();
    bindings.set({
      bindingId: 70_000,
      eventKind: EventKind.kprobe,
      policyName: 'files',
      functionName: 'security_file_open',
      tags: ['one', 'two'],
    });
    const hook = { kind: EventKind.kprobe, pid: 5, tid: 5, startNs: 1n, timeNs: 2n } as const;
    const { decoder } = run(join, [
      { ...hook, bindingId: 70_000 },
      { ...hook, bindingId: 70_000 },
      { ...hook, bindingId: 3 },
    ]);
    expect(decoder.record(0).hook?.binding?.policyName).toBe('files');
    expect(decoder.record(1).hook?.binding?.tags).toEqual(['one', 'two']);
    expect(decoder.record(2).hook?.binding).toBeUndefined();
    expect(join.unbound).toBe(1);
  });

  it('adopts a process from /proc by its pid and clock tick, and no other', () => {
    const { join, table } = setup();
    table.seed(10, 123n); // 1.23 s
    table.seed(20, 123n);
    const { decoder } = run(join, [
      { kind: EventKind.exit, pid: 10, tid: 10, startNs: 1_234_567_890n, timeNs: 9n ** 10n },
      { kind: EventKind.exit, pid: 20, tid: 20, startNs: 1_240_000_000n, timeNs: 9n ** 10n },
    ]);
    expect(decoder.record(0).flags).not.toContain('orphan');
    expect(decoder.record(0).process?.startNs).toBe(1_234_567_890n);
    expect(decoder.record(1).flags).toContain('orphan');
    expect(table.handle.numbers().seeds).toBe(0);
  });

  it('takes from the kernel when the program of a process from /proc began, unless it is a later one', () => {
    const { join, table } = setup();
    table.seed(10, 100n); // began at 1 s
    table.seed(20, 100n);
    const hour = 3_600_000_000_000n;
    const later = BigInt(Math.round(uptime() * 1e9)) + hour;
    const { decoder } = run(join, [
      {
        kind: EventKind.exit,
        pid: 10,
        tid: 10,
        startNs: 1_000_000_001n,
        execNs: 1_100_000_000n,
        timeNs: hour,
      },
      { kind: EventKind.exit, pid: 20, tid: 20, startNs: 1_000_000_001n, execNs: later, timeNs: later },
    ]);
    expect(decoder.record(0).flags).not.toContain('orphan');
    expect(decoder.record(0).process?.flags).toContain('procfs');
    expect(decoder.record(0).process?.execNs).toBe(1_100_000_000n);
    expect(decoder.record(1).flags).toContain('orphan');
    expect(decoder.record(1).process?.flags).not.toContain('procfs');
  });

  it('leaves what does not fit to the next batch', () => {
    const { join } = setup({}, 1, 128 * 1024);
    const events = Array.from({ length: 200 }, (_, index) =>
      exec(100 + index, 1n, 2n, { binary: `/bin/${index}`, arguments: ['x'.repeat(2000)] }),
    );
    const left = recordsOf(events);
    const seen: string[] = [];
    const slot = slotViews(new Uint8Array(1 << 20));
    while (left.length > 0) {
      join.begin(slot);
      while (left[0] !== undefined && join.add(left[0]) === 'taken') left.shift();
      const joined = join.finish(slot) as Joined;
      expect(joined.byteLength).toBeLessThanOrEqual(128 * 1024);
      const decoder = decode(slot.bytes.slice(0, joined.byteLength));
      expect(decoder.recordCount).toBe(joined.records);
      for (let index = 0; index < joined.records; index++)
        seen.push(decoder.record(index).process?.binary ?? '');
    }
    expect(seen).toEqual(events.map((_, index) => `/bin/${index}`));
  });

  it('stays within its bounds whatever comes, and counts what it evicts', () => {
    const { join, table } = setup({ processesMax: 64, stringBytesMax: 64 * 1024, exitedMax: 8 });
    let seed = 12345;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    let now = 1000n;
    for (let round = 0; round < 300; round++) {
      const events = Array.from({ length: 20 }, (): EventDescription => {
        const pid = 1 + random(120);
        const startNs = BigInt(pid * 10 + random(2));
        now += 10n;
        const kind = random(4);
        if (kind === 0) return clone(pid, startNs, 1 + random(120), BigInt((1 + random(120)) * 10));
        if (kind === 1) {
          return exec(pid, startNs, now, {
            binary: `/bin/${pid}`,
            arguments: ['a'.repeat(random(3000))],
            parentPid: 1 + random(120),
            parentStartNs: BigInt((1 + random(120)) * 10),
          } as Partial<EventDescription>);
        }
        if (kind === 2) return { kind: EventKind.exit, pid, tid: pid, startNs, timeNs: now };
        return { kind: EventKind.kprobe, pid, tid: pid, startNs, timeNs: now, bindingId: 1 };
      });
      const { decoder } = run(join, events);
      for (let index = 0; index < decoder.recordCount; index++) {
        const record = decoder.record(index);
        if (record.process === undefined) continue;
        expect(record.process.pid).toBe(events[index]?.pid);
        expect(record.process.startNs).toBe(events[index]?.startNs);
        const binary = record.process.binary;
        // A child has its parent's binary until it calls exec; an exec record's own is certain.
        if (events[index]?.kind === EventKind.exec && binary !== '')
          expect(binary).toBe(`/bin/${record.pid}`);
        if (record.parent !== undefined) {
          expect(record.parent.pid).toBe(record.process.parentPid);
          expect(record.parent.startNs).toBe(record.process.parentStartNs);
        }
      }
      expect(table.handle.numbers().size).toBeLessThanOrEqual(64);
      expect(table.handle.numbers().stringBytes).toBeLessThanOrEqual(64 * 1024);
    }
    const { evictedExited, evictedRunning } = table.handle.numbers();
    expect(evictedExited + evictedRunning).toBeGreaterThan(0);
  });
});

describe('survivors', () => {
  it('are a valid batch with only what they refer to', () => {
    const { join, bindings } = setup();
    bindings.set({ bindingId: 1, eventKind: EventKind.kprobe, policyName: 'p', functionName: 'f' });
    const events: EventDescription[] = [];
    for (let pid = 10; pid < 40; pid++) {
      events.push(exec(pid, BigInt(pid), BigInt(pid * 2), { binary: `/bin/${pid}` }));
      events.push(clone(pid + 100, BigInt(pid + 1), pid, BigInt(pid)));
      events.push({
        kind: EventKind.kprobe,
        pid: pid + 100,
        tid: 1,
        startNs: BigInt(pid + 1),
        timeNs: 5n,
        bindingId: 1,
      });
    }
    const { slot, joined } = run(join, events);
    const verdicts = Uint8Array.from(events, (_, index) => (index % 9 === 2 ? 0 : 1));
    const kept = verdicts.filter((verdict) => verdict === 0).length;
    const target = slotViews(new Uint8Array(1 << 20));
    const survivors = new Survivors(4096, 1 << 20);
    const length = survivors.extract(
      slot,
      joined.byteLength,
      verdicts,
      0,
      kept,
      { count: 0, at: 0 },
      () => 1n,
      target,
    );
    const batch = target.bytes.slice(0, length);
    expect(length).toBeLessThan(joined.byteLength / 3);
    const decoder = decode(batch);
    expect(decoder.recordCount).toBe(kept);
    for (let index = 0; index < kept; index++) {
      const record = decoder.record(index);
      const pid = 10 + index * 3 + 100;
      expect(record.pid).toBe(pid);
      expect(record.process?.binary).toBe(`/bin/${pid - 100}`);
      expect(record.parent?.binary).toBe(`/bin/${pid - 100}`);
      expect(record.hook?.binding?.policyName).toBe('p');
    }
    expect(decoder.processCount).toBe(kept * 2);
  });
});

/** What the join notes of a record. */
function note(books: Accounting, cpu: number, sequence: number): void {
  books.next[cpu] = Math.max(books.next[cpu] ?? 0, sequence + 1);
  books.handled[cpu] = (books.handled[cpu] ?? 0) + 1;
}

describe('accounting', () => {
  it('counts a gap as lost only when it has lasted', () => {
    const books = new Accounting(2, new Uint8Array(16));
    for (const sequence of [0, 1, 3, 4]) note(books, 0, sequence);
    expect(books.settle()).toEqual([]);
    note(books, 0, 2);
    expect(books.settle()).toEqual([]);
    note(books, 0, 8);
    expect(books.settle()).toEqual([]);
    expect(books.settle()).toEqual([{ cpu: 0, count: 3 }]);
    books.told([{ cpu: 0, count: 3 }]);
    expect(books.totals()).toEqual({ next: 9, handled: 6, dropped: 0, lost: 3 });
  });

  it('has a loss in its bytes only once that was told of, and finds it once', () => {
    const bootId = new Uint8Array(16).fill(7);
    const books = new Accounting(1, bootId);
    note(books, 0, 4);
    books.settle();
    expect(books.settle()).toEqual([{ cpu: 0, count: 4 }]);
    expect(books.settle()).toEqual([]);
    const untold = decodeAccounting(books.encode(), bootId) ?? [];
    expect(untold).toEqual([{ next: 5, handled: 1, dropped: 0, lost: 0 }]);
    // Killed before it was told of: the next agent finds it again, and what came since.
    const next = new Accounting(1, bootId);
    const gone = next.resume(untold, [10]);
    expect(gone).toEqual([{ cpu: 0, count: 9 }]);
    expect(next.settle()).toEqual([]);
    next.told(gone);
    expect(decodeAccounting(next.encode(), bootId)).toEqual([{ next: 10, handled: 1, dropped: 0, lost: 9 }]);
  });

  it('makes a loss record that is valid', () => {
    const { join } = setup();
    const slot = slotViews(new Uint8Array(1 << 20));
    const joined = makeBatch(join, slot, [lossRecord(0, 17n, { timeNs: 5n, sequence: 6n })]);
    const batch = slot.bytes.slice(0, joined.byteLength);
    expect(decode(batch).record(0).loss).toMatchObject({ count: 17n, stage: 'ring_full' });
  });
});
