// SPDX-License-Identifier: Apache-2.0
// The host with real modules that do what they should. They come from the built package: its worker is a file.
import { RecordFlag } from '@weir/schema';
import { afterEach, describe, expect, it } from 'vitest';
import {
  annotation,
  assembleModule,
  closeHosts,
  done,
  dropsAll,
  dropsOdd,
  dropVerdict,
  eachRecord,
  judge,
  label,
  type ModuleText,
  makeBatch,
  pid,
  pids,
  start,
  traps,
} from './fixtures.js';

afterEach(closeHosts);

describe('verdicts', () => {
  it('keeps everything where there is no filter, without a worker', async () => {
    const { host } = await start([]);
    expect(await judge(host, pids(1, 2))).toMatchObject({ verdicts: [0, 0], kept: 2, dropped: 0 });
  });

  it('drops what a filter drops', async () => {
    const { host } = await start([dropsOdd]);
    expect(await judge(host, pids(1, 2, 3, 4, 5))).toMatchObject({
      verdicts: [1, 0, 1, 0, 1],
      kept: 2,
      dropped: 3,
    });
  });

  it('takes an empty batch', async () => {
    const { host } = await start([dropsOdd]);
    expect(await judge(host, pids())).toMatchObject({ verdicts: [], kept: 0 });
  });

  it('does not show a dropped event to later filters', async () => {
    const { host } = await start([
      dropsOdd,
      { ...dropsAll, name: 'second', filter: `${eachRecord('')} ${done}` },
    ]);
    await judge(host, pids(1, 2, 3, 4, 5));
    expect(host.status().map((one) => [one.events, one.dropped])).toEqual([
      [5, 3],
      [2, 0],
    ]);
  });

  it('lets no filter drop what is protected', async () => {
    const { host } = await start([dropsAll]);
    const batch = makeBatch([{ pid: 1, flags: RecordFlag.protected }, { pid: 2 }, { pid: 3, kind: 'loss' }]);
    expect((await judge(host, batch)).verdicts).toEqual([0, 1, 0]);
  });

  it('shows no filter the alerts that filters raise', async () => {
    const { host } = await start([dropsAll]);
    expect((await judge(host, makeBatch([{ pid: 1, kind: 'alert' }]))).verdicts).toEqual([0]);
    expect(host.status()[0]?.events).toBe(0);
  });

  it('binds a filter to kinds', async () => {
    const { host } = await start([{ ...dropsAll, binds: { kinds: ['exec', 'exit'] } }]);
    const batch = makeBatch([{ pid: 1, kind: 'exec' }, { pid: 2 }, { pid: 3, kind: 'exit' }]);
    expect((await judge(host, batch)).verdicts).toEqual([1, 0, 1]);
  });

  it('binds a filter to policies; events of none are not its own', async () => {
    const { host } = await start([{ ...dropsAll, binds: { policies: ['files', 'net'] } }]);
    const batch = makeBatch([
      { pid: 1 },
      { pid: 2, policy: 'other' },
      { pid: 3, kind: 'exec' },
      { pid: 4, policy: 'net' },
    ]);
    expect((await judge(host, batch)).verdicts).toEqual([1, 0, 0, 1]);
  });
});

describe('annotations', () => {
  const text = '(data (i32.const 4096) "shellvaluea program")';
  it('puts labels under the name of the filter, with severity and message', async () => {
    const { host } = await start([
      {
        name: 'marks',
        labels: ['shell'],
        rest: text,
        filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 2)) (then ${label([4096, 5], [4101, 5])} ${annotation({ labels: 1, message: [4106, 9] })}))`)} ${done}`,
      },
    ]);
    const { records } = await judge(host, pids(1, 2, 3));
    expect(records.map((record) => record.annotation)).toEqual([
      undefined,
      { severity: 'high', error: false, message: 'a program', labels: { 'filter.marks.shell': 'value' } },
      undefined,
    ]);
  });

  it('joins what several filters say: the gravest severity, every label', async () => {
    const mark = (name: string, severity: number): ModuleText => ({
      name,
      labels: ['shell'],
      rest: text,
      filter: `${eachRecord(`${label([4096, 5], [4101, 5])} ${annotation({ labels: 1, severity, message: severity === 4 ? [4106, 9] : [4096, 5] })}`)} ${done}`,
    });
    const { host } = await start([mark('one', 2), mark('two', 4), mark('three', 3)]);
    const { records } = await judge(host, pids(7));
    expect(records[0]?.annotation).toEqual({
      severity: 'high',
      error: false,
      message: 'a program',
      labels: { 'filter.one.shell': 'value', 'filter.two.shell': 'value', 'filter.three.shell': 'value' },
    });
  });

  it('leaves out those of events that are dropped, but not their alerts', async () => {
    const { host } = await start([
      {
        name: 'alerts',
        rest: text,
        filter: `${eachRecord(annotation({ alert: 1, message: [4106, 9] }))} ${done}`,
      },
      dropsAll,
    ]);
    const judged = await judge(host, pids(7));
    expect(judged.dropped).toBe(1);
    expect(judged.alerts.map((alert) => alert.record)).toEqual([0]);
    expect(host.status()[0]).toMatchObject({ alerts: 1, annotations: 0 });
  });

  const forged: [string, string][] = [
    ['a name with a dot', 'shell.other'],
    ["another filter's prefix", 'filter.other.ok'],
    ['a name that is not declared', 'cluster'],
    ["the host's own", 'error'],
    ['no name', ''],
    ["a prototype's", '__proto__'],
  ];
  it.each(forged)('refuses a label with %s, counts and reports it', async (_, name) => {
    const { host, reports } = await start([
      {
        name: 'forges',
        labels: ['shell'],
        rest: `(data (i32.const 4096) "${name}")`,
        filter: `${eachRecord(`${label([4096, name.length], [4096, 1])} ${annotation({ labels: 1 })}`)} ${done}`,
      },
    ]);
    const { records } = await judge(host, pids(7));
    expect(records[0]?.annotation?.labels).toEqual({});
    expect(host.status()[0]?.labelsRefused).toBe(1);
    expect(reports).toMatchObject([
      {
        type: 'label',
        filter: 'forges',
        reason: expect.stringContaining('not one that its manifest declares'),
      },
    ]);
  });

  it('counts annotations that do not fit, and keeps the events', async () => {
    const batch = pids(...Array.from({ length: 64 }, (_, index) => index));
    const { host } = await start(
      [
        {
          name: 'much',
          filter: `${eachRecord(annotation({ message: [4096, 100] }))} ${done}`,
        },
      ],
      { batchBytesMax: batch.length, annotationBytesMax: 1024, slots: 1 },
    );
    const judged = await judge(host, batch);
    expect(judged.kept).toBe(64);
    expect(judged.annotationsLost).toBeGreaterThan(50);
    expect(judged.records.filter((record) => record.annotation !== undefined).length).toBeGreaterThan(2);
  });

  it('keeps room for what filters after one say that would take it all, and for why they fail', async () => {
    const batch = pids(...Array.from({ length: 64 }, (_, index) => (index === 63 ? 666 : index * 2)));
    const much: ModuleText = {
      name: 'much',
      filter: `${eachRecord(annotation({ message: [4096, 100], severity: 1 }))} ${done}`,
    };
    const little: ModuleText = {
      name: 'little',
      filter: `${eachRecord(`(if (i32.eqz ${pid}) (then ${annotation({ message: [4096, 1], severity: 5 })}))`)} ${done}`,
    };
    const options = { batchBytesMax: batch.length, annotationBytesMax: 4096, slots: 1 };
    const { host } = await start([much, little, { ...much, name: 'more' }, traps], options);
    const judged = await judge(host, batch);
    expect(judged.kept).toBe(64);
    expect(judged.annotationsLost).toBeGreaterThan(50);
    expect(judged.records[0]?.annotation?.severity).toBe('critical');
    expect(judged.records[63]?.annotation?.labels['filter.traps.error']).toContain('unreachable');
  });
});

describe('a hot swap', () => {
  it('in mid-stream loses no event and judges none twice', async () => {
    // Each version counts what it judges; together they must have judged each event once.
    const version = (number: number): ModuleText => ({
      name: 'swapped',
      version: `1.0.${number}`,
      filter: `${eachRecord(number % 2 === 0 ? '' : dropVerdict)} ${done}`,
    });
    const modules = Array.from({ length: 8 }, (_, number) => assembleModule(version(number)));
    const { host } = await start([modules[0] as Uint8Array], { slots: 3 });
    let judgedByVersions = 0;
    let made = 0;
    let seen = 0;
    let mixed = 0;
    const sets = new Set<number>();
    const stream = async (): Promise<void> => {
      for (let n = 0; n < 150; n++) {
        const judged = await judge(host, pids(...Array.from({ length: 10 }, (_, i) => i + 1)));
        made += 10;
        seen += judged.kept + judged.dropped;
        if (judged.kept !== 0 && judged.dropped !== 0) mixed++;
        sets.add(judged.filterSet);
      }
    };
    const swap = async (): Promise<void> => {
      for (const module of modules.slice(1)) {
        const set = await host.setFilters([{ bytes: module }]);
        for (const one of set.replaced) judgedByVersions += one.events;
      }
    };
    await Promise.all([stream(), stream(), swap()]);
    for (const one of host.status()) judgedByVersions += one.events;
    expect(seen).toBe(made);
    expect(judgedByVersions).toBe(made);
    expect(mixed).toBe(0);
    expect(sets.size).toBeGreaterThan(2);
  });

  it('keeps the instance and state of a filter that stays', async () => {
    const once: ModuleText = {
      name: 'once',
      filter: `${eachRecord(`(if (global.get $count) (then ${dropVerdict})) (global.set $count (i32.const 1))`)} ${done}`,
    };
    const module = assembleModule(once);
    const { host } = await start([module]);
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([0, 1]);
    await host.setFilters([
      { bytes: assembleModule({ ...dropsOdd, binds: { kinds: ['exit'] } }) },
      { bytes: module },
    ]);
    expect((await judge(host, pids(3))).verdicts).toEqual([1]);
    expect(host.status().find((one) => one.name === 'once')?.events).toBe(3);
  });

  it('refuses a module that acceptance refuses, and two of one name', async () => {
    const { host } = await start([dropsOdd]);
    await expect(host.setFilters([{ bytes: new Uint8Array(8) }])).rejects.toMatchObject({ code: 'refused' });
    const twice = [dropsAll, { ...dropsOdd, name: 'drops-all' }].map((one) => ({
      bytes: assembleModule(one),
    }));
    await expect(host.setFilters(twice)).rejects.toMatchObject({ code: 'duplicate' });
    expect((await judge(host, pids(1))).verdicts).toEqual([1]);
  });

  it('to an empty list lets everything pass', async () => {
    const { host } = await start([dropsAll]);
    await host.setFilters([]);
    expect((await judge(host, pids(1))).verdicts).toEqual([0]);
  });
});

describe('logs', () => {
  it('are reported, cleaned, and bounded for a batch', async () => {
    const { host, reports } = await start(
      [
        {
          name: 'talks',
          rest: '(data (i32.const 4096) "hello \\1b[31m\\00")',
          filter: `${eachRecord('(call $log (i32.const 1) (i32.const 4096) (i32.const 12))')} (call $log (i32.const 1) (i32.const -5) (i32.const 100)) ${done}`,
        },
      ],
      { logLinesMax: 2 },
    );
    await judge(host, pids(1, 2, 3, 4));
    expect(reports).toEqual([
      { type: 'log', filter: 'talks', version: '1.0.0', level: 1, text: 'hello \uFFFD[31m\uFFFD' },
      { type: 'log', filter: 'talks', version: '1.0.0', level: 1, text: 'hello \uFFFD[31m\uFFFD' },
    ]);
    expect(host.status()[0]?.logLinesLost).toBe(2);
  });
});

describe('slots', () => {
  it("are handed out in turn and refused when they are not the caller's", async () => {
    const { host } = await start([], { slots: 1 });
    const slot = host.acquire();
    expect(slot).toBeDefined();
    expect(host.acquire()).toBeUndefined();
    const waiting = host.acquireWhenFree();
    if (slot !== undefined) host.release(slot);
    const again = await waiting;
    expect(again).toBe(slot);
    host.release(again);
    expect(() => host.release(again)).toThrow(/not taken/);
    expect(() => host.run(again, 200)).toThrow(/not taken/);
  });

  it('refuse a batch whose header cannot be', async () => {
    const { host } = await start([], { recordsMax: 4, batchBytesMax: 4096 });
    const slot = host.acquire();
    if (slot === undefined) throw new Error('no slot');
    const batch = pids(1, 2);
    slot.bytes.set(batch);
    expect(() => host.run(slot, batch.length - 8)).toThrow(/the batch says/);
    expect(() => host.run(slot, 5000)).toThrow(/allowed/);
    const many = pids(1, 2, 3, 4, 5);
    slot.bytes.set(many);
    expect(() => host.run(slot, many.length)).toThrow(/5 records; at most 4/);
  });

  it('reject what is under way when the host is closed, in every state', async () => {
    const { host } = await start([dropsAll]);
    const slot = host.acquire();
    if (slot === undefined) throw new Error('no slot');
    const batch = pids(1);
    slot.bytes.set(batch);
    const result = host.run(slot, batch.length);
    const rejected = expect(result).rejects.toMatchObject({ code: 'closed' });
    await host.close();
    await host.close();
    await rejected;
    expect(() => host.acquire()).toThrow(/closed/);
    expect(() => host.setFilters([])).toThrow(/closed/);
  });
});

describe('verdicts of many', () => {
  it('count for each event alone, whatever lies beside it: traps, other kinds, what cannot be dropped', async () => {
    // Traps on 666, drops 1 and 3.
    const judges: ModuleText = {
      name: 'judges',
      binds: { kinds: ['kprobe', 'loss'] },
      filter: `${eachRecord(`
        (if (i32.eq ${pid} (i32.const 666)) (then (unreachable)))
        (if (i32.and ${pid} (i32.const 1)) (then ${dropVerdict}))`)} ${done}`,
    };
    const { host } = await start([judges, { ...judges, name: 'again' }], { trapsMax: 1_000_000 });
    let state = 20260105;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let round = 0; round < 200; round++) {
      const events = Array.from({ length: 1 + random(23) }, () => ({
        pid: [0, 1, 2, 3, 666][random(random(3) === 0 ? 5 : 4)] as number,
        kind: (['kprobe', 'kprobe', 'kprobe', 'exit', 'loss'] as const)[random(5)] as 'kprobe',
        flags: random(8) === 0 ? RecordFlag.protected : 0,
      }));
      const judged = await judge(host, makeBatch(events));
      const expected = events.map(({ pid, kind, flags }) =>
        kind === 'kprobe' && flags === 0 && pid % 2 === 1 ? 1 : 0,
      );
      expect(judged.verdicts, JSON.stringify(events)).toEqual(expected);
      expect(judged.dropped).toBe(expected.filter((one) => one === 1).length);
    }
    const [first, second] = host.status();
    expect((first?.kept ?? 0) + (first?.dropped ?? 0)).toBe(first?.events);
    expect((second?.kept ?? 0) + (second?.dropped ?? 0)).toBe(second?.events);
  });
});
