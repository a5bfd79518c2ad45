// SPDX-License-Identifier: Apache-2.0
// The host with real modules, the hostile among them. They come from the built package: its worker is a file.
import { FilterHost, type FilterHostOptions, type FilterReport, type FilterSource } from '@weir/filter-host';
import { RecordFlag } from '@weir/schema';
import { BatchDecoder, BatchReader, type DecodedRecord } from '@weir/segment';
import { afterEach, describe, expect, it } from 'vitest';
import { assembleModule, eachRecord, type ModuleText, makeBatch, pid, pids } from './fixtures.js';

const hosts: FilterHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

interface Judged {
  verdicts: number[];
  records: DecodedRecord[];
  kept: number;
  dropped: number;
  heldBack: number;
  errors: number;
  annotationsLost: number;
  filterSet: number;
  alerts: { record: number; annotation: number }[];
}

async function start(modules: readonly (ModuleText | Uint8Array)[], options: FilterHostOptions = {}) {
  const reports: FilterReport[] = [];
  const host = await FilterHost.create({ onReport: (report) => reports.push(report), ...options });
  hosts.push(host);
  const sources = modules.map(
    (one): FilterSource => ({ bytes: one instanceof Uint8Array ? one : assembleModule(one) }),
  );
  const set = await host.setFilters(sources);
  return { host, reports, set };
}

async function judge(host: FilterHost, batch: Uint8Array): Promise<Judged> {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  const bytes = slot.bytes.slice(0, result.byteLength);
  const decoder = new BatchDecoder(new BatchReader(bytes));
  const view = new DataView(bytes.buffer);
  const judged: Judged = {
    ...result,
    verdicts: [...slot.verdicts.slice(0, result.recordCount)],
    records: Array.from({ length: result.recordCount }, (_, index) => decoder.record(index)),
    alerts: Array.from({ length: result.alertCount }, (_, index) => ({
      record: view.getUint32(result.alertsAt + index * 8, true),
      annotation: view.getUint32(result.alertsAt + index * 8 + 4, true),
    })),
  };
  host.release(slot);
  return judged;
}

const dropVerdict = '(i32.store8 (local.get $v) (i32.const 1))';
const done = '(i32.const 0)';
/** Drops events of odd pids. */
const dropsOdd: ModuleText = {
  name: 'drops-odd',
  filter: `${eachRecord(`(i32.store8 (local.get $v) (i32.and ${pid} (i32.const 1)))`)} ${done}`,
};
const dropsAll: ModuleText = { name: 'drops-all', filter: `${eachRecord(dropVerdict)} ${done}` };
const loops: ModuleText = { name: 'loops', filter: '(loop $for (br $for)) (i32.const 0)' };
/** Traps on events of pid 666. */
const traps: ModuleText = {
  name: 'traps',
  filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then (unreachable))) (if (i32.eq ${pid} (i32.const 1)) (then ${dropVerdict}))`)} ${done}`,
};

/** Writes one annotation at 1024 on the record of $i, with what the parts say, and tells the host of it. */
function annotation(
  parts: {
    record?: string;
    severity?: number;
    alert?: number;
    labels?: number;
    labelsAt?: number;
    message?: [number, number];
    count?: number;
    at?: number;
  } = {},
): string {
  const at = parts.at ?? 1024;
  return `
    (i32.store (i32.const 1024) ${parts.record ?? '(local.get $i)'})
    (i32.store8 offset=4 (i32.const 1024) (i32.const ${parts.severity ?? 4}))
    (i32.store8 offset=5 (i32.const 1024) (i32.const ${parts.alert ?? 0}))
    (i32.store16 offset=6 (i32.const 1024) (i32.const ${parts.labels ?? 0}))
    (i32.store offset=8 (i32.const 1024) (i32.const ${parts.labelsAt ?? 2048}))
    (i32.store offset=16 (i32.const 1024) (i32.const ${parts.message?.[0] ?? 0}))
    (i32.store offset=20 (i32.const 1024) (i32.const ${parts.message?.[1] ?? 0}))
    (i32.store offset=20 (local.get $call) (i32.const ${parts.count ?? 1}))
    (i32.store offset=24 (local.get $call) (i32.const ${at}))`;
}

/** Writes a label at 2048: name and value as address and length. */
function label(name: [number, number], value: [number, number], at = 2048): string {
  return [...name, ...value]
    .map((word, index) => `(i32.store offset=${index * 4} (i32.const ${at}) (i32.const ${word}))`)
    .join('\n');
}

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
    const at = '(i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 24)))';
    const { host } = await start(
      [
        {
          name: 'much',
          filter: `${eachRecord(`
            (i32.store ${at} (local.get $i))
            (i32.store offset=16 ${at} (i32.const 4096))
            (i32.store offset=20 ${at} (i32.const 100))`)}
            (i32.store offset=20 (local.get $call) (local.get $n))
            (i32.store offset=24 (local.get $call) (i32.const 8192)) ${done}`,
        },
      ],
      { batchBytesMax: batch.length, annotationBytesMax: 1024, slots: 1 },
    );
    const judged = await judge(host, batch);
    expect(judged.kept).toBe(64);
    expect(judged.annotationsLost).toBeGreaterThan(50);
    expect(judged.records.filter((record) => record.annotation !== undefined).length).toBeGreaterThan(2);
  });
});

describe('traps', () => {
  it('cost their event only: it is kept and marked, the others are judged', async () => {
    const { host, reports } = await start([traps]);
    const judged = await judge(host, pids(1, 2, 666, 1, 666, 3, 1));
    expect(judged.verdicts).toEqual([1, 0, 0, 1, 0, 0, 1]);
    expect(judged.errors).toBe(2);
    expect(judged.records.map((record) => record.flagBits & RecordFlag.filterError)).toEqual([
      0, 0, 32, 0, 32, 0, 0,
    ]);
    expect(judged.records[2]?.annotation).toMatchObject({
      error: true,
      labels: { 'filter.traps.error': expect.stringContaining('unreachable') },
    });
    expect(reports.map((report) => report.type)).toEqual(['trap', 'trap']);
    expect(host.status()[0]).toMatchObject({ traps: 2, events: 7, dropped: 3 });
  });

  it('on the first and the last event are like any other', async () => {
    const { host } = await start([traps]);
    expect((await judge(host, pids(666, 1, 666))).verdicts).toEqual([0, 1, 0]);
  });

  const kinds: [string, string][] = [
    ['a division by zero', '(drop (i32.div_u (i32.const 1) (i32.const 0)))'],
    ['a read outside of memory', '(drop (i32.load (i32.const -4)))'],
    ['endless recursion', '(call $deep)'],
    ['an indirect call of nothing', '(call_indirect (type $none) (i32.const 3))'],
  ];
  it.each(kinds)('of every kind are caught: %s', async (_, code) => {
    const { host } = await start([
      {
        name: 'kinds',
        rest: '(type $none (func)) (table 4 4 funcref) (func $deep (call $deep) (call $deep))',
        filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then ${code}))`)} ${done}`,
      },
    ]);
    expect(await judge(host, pids(1, 666, 2))).toMatchObject({ kept: 3, errors: 1 });
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('begin the filter anew: no state that was half changed is used again', async () => {
    const counts: ModuleText = {
      name: 'counts',
      // Drops every event after the first of a fresh instance.
      filter: `${eachRecord(`
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (if (i32.eq ${pid} (i32.const 666)) (then (unreachable)))
        (if (i32.gt_u (global.get $count) (i32.const 1)) (then ${dropVerdict}))`)} ${done}`,
    };
    const { host } = await start([counts]);
    expect((await judge(host, pids(1, 2, 666, 3, 4))).verdicts).toEqual([0, 1, 0, 0, 1]);
  });

  it('that are too many within the window quarantine the filter; the batch goes on', async () => {
    const { host, reports } = await start([traps, dropsOdd], { trapsMax: 3 });
    const judged = await judge(host, pids(666, 666, 666, 1, 3, 2));
    // Fail-open: what it had not judged is kept by it; the other filter judges all.
    expect(judged.verdicts).toEqual([0, 0, 0, 1, 1, 0]);
    expect(host.status()[0]?.quarantine).toMatchObject({ code: 'traps' });
    expect(reports.at(-1)).toMatchObject({ type: 'quarantine', filter: 'traps', code: 'traps' });
    expect((await judge(host, pids(1, 666))).errors).toBe(0);
  });

  it('that are few within the window do not, however many there were before', async () => {
    const { host } = await start([traps], { trapsMax: 3, trapWindowMs: 1000 });
    for (let second = 1n; second < 9n; second++) {
      await judge(host, makeBatch([{ pid: 666, timeNs: second * 1_000_000_000n }]));
    }
    expect(host.status()[0]).toMatchObject({ traps: 8 });
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('in a filter that fails closed hold back what it had not judged', async () => {
    const { host } = await start([{ ...traps, failMode: 'closed' }], { trapsMax: 1 });
    const batch = makeBatch([{ pid: 1 }, { pid: 666 }, { pid: 2 }, { pid: 3, kind: 'loss' }]);
    expect(await judge(host, batch)).toMatchObject({ verdicts: [1, 0, 2, 0], heldBack: 1 });
    expect(await judge(host, pids(5, 6))).toMatchObject({ verdicts: [2, 2], heldBack: 2 });
  });
});

describe('a filter that lies', () => {
  const lies: [string, string, RegExp][] = [
    ['answers what is no answer', '(i32.const 7)', /answered 7/],
    [
      'gives a verdict that is none',
      `${eachRecord('(i32.store8 (local.get $v) (i32.const 3))')} ${done}`,
      /verdict 3 on record 0/,
    ],
    ['asks to go on from where it began', '(i32.const 1)', /asks to go on from 0/],
    [
      'asks to go on from beyond the batch',
      '(i32.store offset=16 (local.get $call) (i32.const 99)) (i32.const 1)',
      /from 99/,
    ],
    [
      'traps with its cursor beyond the batch',
      '(i32.store offset=16 (local.get $call) (i32.const 99)) (unreachable)',
      /cursor on 99/,
    ],
    [
      'has annotations beyond its memory',
      `${annotation({ at: 0x7fffff00 })} ${done}`,
      /outside of its memory/,
    ],
    [
      'has annotations at the very end of its memory',
      `${annotation({ at: 40 * 65536 - 8 })} ${done}`,
      /outside of its memory/,
    ],
    ['has 4 billion annotations', `${annotation({ count: -1 })} ${done}`, /4294967295 annotations/],
    ['has more annotations than records', `${annotation({ count: 100 })} ${done}`, /100 annotations/],
    [
      'annotates a record that is not there',
      `${annotation({ record: '(i32.const 5)' })} ${done}`,
      /record 5/,
    ],
    ['judges how grave by a number that is none', `${annotation({ severity: 6 })} ${done}`, /severity 6/],
    ['raises half an alert', `${annotation({ alert: 2 })} ${done}`, /alert 2/],
    [
      'has a message beyond its memory',
      `${annotation({ message: [0x7fffffff, 100] })} ${done}`,
      /outside of its memory/,
    ],
    [
      'has a message whose end wraps around',
      `${annotation({ message: [-16, 400] })} ${done}`,
      /outside of its memory/,
    ],
    ['has a huge message', `${annotation({ message: [0, 0x100000] })} ${done}`, /message of 1048576 bytes/],
    ['has too many labels', `${annotation({ labels: 17 })} ${done}`, /17 labels/],
    [
      'has labels beyond its memory',
      `${annotation({ labels: 1, labelsAt: 40 * 65536 - 4 })} ${done}`,
      /outside of its memory/,
    ],
    [
      "has a label's name beyond its memory",
      `${label([0x7fffffff, 5], [0, 0])} ${annotation({ labels: 1 })} ${done}`,
      /name lies outside/,
    ],
    [
      "has a label's value beyond its memory",
      `${label([4096, 1], [0x7fffffff, 5])} ${annotation({ labels: 1 })} ${done}`,
      /outside of its memory/,
    ],
    [
      'has a huge label value',
      `${label([4096, 1], [0, 5000])} ${annotation({ labels: 1 })} ${done}`,
      /value of 5000 bytes/,
    ],
  ];
  it.each(lies)('is quarantined, nothing it said counts: %s', async (_, filter, reason) => {
    const liar: ModuleText = { name: 'lies', labels: ['x'], rest: '(data (i32.const 4096) "x")', filter };
    const { host, reports } = await start([liar, dropsOdd]);
    const judged = await judge(host, pids(1, 2, 3));
    expect(judged.verdicts).toEqual([1, 0, 1]);
    expect(judged.records.map((record) => record.annotation)).toEqual([undefined, undefined, undefined]);
    expect(host.status()[0]?.quarantine).toMatchObject({
      code: 'lying',
      reason: expect.stringMatching(reason),
    });
    expect(reports).toMatchObject([{ type: 'quarantine', filter: 'lies', code: 'lying' }]);
    expect(host.status()[1]).toMatchObject({ events: 3, dropped: 2 });
  });

  it('writes over the batch in its memory: nobody else sees that', async () => {
    const { host } = await start([
      {
        name: 'wipes',
        filter:
          '(memory.fill (i32.load (local.get $call)) (i32.const 0) (i32.load offset=4 (local.get $call))) (i32.const 0)',
      },
      dropsOdd,
    ]);
    const judged = await judge(host, pids(1, 2, 3));
    expect(judged.verdicts).toEqual([1, 0, 1]);
    expect(judged.records.map((record) => record.pid)).toEqual([1, 2, 3]);
  });

  it('drops what it was not asked about: that is passed over', async () => {
    const { host } = await start([
      {
        name: 'greedy',
        binds: { kinds: ['exec'] },
        filter:
          '(memory.fill (i32.load offset=12 (local.get $call)) (i32.const 1) (i32.load offset=8 (local.get $call))) (i32.const 0)',
      },
    ]);
    expect((await judge(host, makeBatch([{ pid: 1, kind: 'exec' }, { pid: 2 }]))).verdicts).toEqual([1, 0]);
  });
});

describe('memory', () => {
  it('cannot grow beyond the maximum: growing fails inside, nothing happens outside', async () => {
    const { host } = await start([
      {
        name: 'grows',
        filter: `(block $end (loop $more (br_if $end (i32.eq (memory.grow (i32.const 1)) (i32.const -1))) (br $more))) ${eachRecord(dropVerdict)} ${done}`,
      },
    ]);
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([1, 1]);
    expect(host.status()[0]?.memoryBytes).toBe(4 * 1024 * 1024);
    expect((await judge(host, pids(3))).verdicts).toEqual([1]);
  });

  const loads: [string, Partial<ModuleText>, RegExp][] = [
    ['gives no room for a batch', { reserve: '(i32.const 0)' }, /no room/],
    ['gives room outside of its memory', { reserve: '(i32.const 2555904)' }, /not within its memory/],
    ['gives room that is not aligned', { reserve: '(i32.const 65537)' }, /not within its memory/],
    ['traps in reserve', { reserve: '(unreachable)' }, /unreachable/],
    ['traps at start', { start: '(unreachable)' }, /unreachable/],
  ];
  it.each(loads)(
    'is checked at load: a filter that %s is refused, the list before stays',
    async (_, parts, reason) => {
      const { host, set } = await start([dropsOdd]);
      const bad = assembleModule({ ...dropsAll, ...parts, name: 'bad' });
      await expect(host.setFilters([{ bytes: bad }])).rejects.toMatchObject({
        code: 'load',
        message: expect.stringMatching(reason),
      });
      expect(await judge(host, pids(1, 2))).toMatchObject({ verdicts: [1, 0], filterSet: set.number });
    },
  );
});

describe('a runaway', () => {
  it('is stopped and quarantined; the batch is judged by the others, no event is lost', async () => {
    const { host, reports } = await start([dropsOdd, loops], { timeLimitMs: 50 });
    const results = await Promise.all([1, 2, 3, 4].map((n) => judge(host, pids(n, n + 1, n + 2))));
    expect(results.map((one) => one.verdicts)).toEqual([
      [1, 0, 1],
      [0, 1, 0],
      [1, 0, 1],
      [0, 1, 0],
    ]);
    expect(host.status()[1]?.quarantine).toMatchObject({
      code: 'timeout',
      reason: expect.stringMatching(/its limit is 50 ms/),
    });
    expect(host.status()[0]?.quarantine).toBeUndefined();
    expect(reports.map((report) => report.type)).toEqual(['quarantine', 'restart']);
  });

  it('that fails closed holds its events back, and only those', async () => {
    const { host } = await start([{ ...loops, failMode: 'closed', binds: { kinds: ['exec'] } }], {
      timeLimitMs: 50,
    });
    const batch = makeBatch([
      { pid: 1, kind: 'exec' },
      { pid: 2 },
      { pid: 3, kind: 'exec', flags: RecordFlag.protected },
    ]);
    expect(await judge(host, batch)).toMatchObject({ verdicts: [2, 0, 0], heldBack: 1, kept: 2 });
  });

  it('after marks were made on the batch leaves none of them twice', async () => {
    const marks: ModuleText = { name: 'marks', filter: `${eachRecord(annotation())} ${done}` };
    const { host } = await start([traps, marks, loops], { timeLimitMs: 50 });
    const judged = await judge(host, pids(666));
    expect(judged.errors).toBe(1);
    expect(judged.records[0]?.annotation).toMatchObject({ severity: 'high', error: true });
  });

  it.each([
    ['while it is started', { start: '(loop $for (br $for))' }],
    ['while it gives room', { reserve: '(loop $for (br $for)) (i32.const 0)' }],
  ] as [string, Partial<ModuleText>][])('%s is refused; the list before goes on', async (_, parts) => {
    const { host } = await start([dropsOdd], { timeLimitMs: 50, loadLimitMs: 100 });
    const bad = assembleModule({ ...dropsAll, ...parts, name: 'bad' });
    await expect(host.setFilters([{ bytes: bad }])).rejects.toMatchObject({ code: 'load' });
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([1, 0]);
  });

  it('among several is found each time', async () => {
    const { host } = await start(
      [loops, { ...loops, name: 'loops-too' }, dropsOdd, { ...loops, name: 'loops-as-well' }],
      { timeLimitMs: 50 },
    );
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([1, 0]);
    expect(host.status().map((one) => one.quarantine?.code)).toEqual([
      'timeout',
      'timeout',
      undefined,
      'timeout',
    ]);
  });

  it('stays quarantined while its module is the same, and is tried again as another', async () => {
    const module = assembleModule(loops);
    const { host } = await start([module], { timeLimitMs: 50 });
    await judge(host, pids(1));
    const same = await host.setFilters([{ bytes: module }, { bytes: assembleModule(dropsOdd) }]);
    expect(same.filters[0]?.quarantine?.code).toBe('timeout');
    const fixed = await host.setFilters([
      { bytes: assembleModule({ ...dropsAll, name: 'loops', version: '1.0.1' }) },
    ]);
    expect(fixed.filters[0]?.quarantine).toBeUndefined();
    expect((await judge(host, pids(1))).verdicts).toEqual([1]);
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
