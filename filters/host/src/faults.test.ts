// SPDX-License-Identifier: Apache-2.0
// The host with modules that trap, lie, grow and run away. They come from the built package: its worker is a file.
import { RecordFlag } from '@weir/schema';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  annotation,
  assembleModule,
  closeHosts,
  counting,
  done,
  dropsAll,
  dropsOdd,
  dropVerdict,
  eachRecord,
  judge,
  label,
  loops,
  type ModuleText,
  makeBatch,
  pid,
  pids,
  runaway,
  start,
  traps,
} from './fixtures.js';

afterEach(closeHosts);

/** More fuel than the clock allows to burn: leaves a runaway to the watchdog. */
const endlessFuel = {
  fuelPerEvent: 2 ** 31 - 1,
  fuelPerEventMax: 2 ** 31 - 1,
  fuelPerLoad: Number.MAX_SAFE_INTEGER,
};

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

  it('have been told of once their batch is, however many batches the worker is ahead', async () => {
    const { host } = await start([traps, dropsAll], { trapsMax: 1 });
    const seen: (string | undefined)[] = [];
    const slots = [pids(2), pids(666), pids(2)].map((batch) => {
      const slot = host.acquire();
      if (slot === undefined) throw new Error('no slot is free');
      slot.bytes.set(batch);
      return { slot, result: host.run(slot, batch.length).then(() => note()) };
    });
    const note = () => void seen.push(host.status()[0]?.quarantine?.code);
    // No message is read before the worker has judged the last batch.
    const giveUpMs = performance.now() + 60_000;
    const last = slots.at(-1)?.slot.verdicts ?? new Uint8Array(0);
    while (last[0] !== 1 && performance.now() < giveUpMs);
    await Promise.all(slots.map(({ result }) => result));
    expect(seen).toEqual([undefined, 'traps', 'traps']);
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

describe('a runaway that fuel does not stop', () => {
  it('is stopped and quarantined; the batch is judged by the others, no event is lost', async () => {
    const { host, reports } = await start([dropsOdd, loops], { ...endlessFuel, timeLimitMs: 50 });
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
      ...endlessFuel,
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
    const { host } = await start([traps, marks, loops], { ...endlessFuel, timeLimitMs: 50 });
    const judged = await judge(host, pids(666));
    expect(judged.errors).toBe(1);
    expect(judged.records[0]?.annotation).toMatchObject({ severity: 'high', error: true });
  });

  it.each([
    ['while it is started', { start: '(loop $for (br $for))' }],
    ['while it gives room', { reserve: '(loop $for (br $for)) (i32.const 0)' }],
  ] as [string, Partial<ModuleText>][])('%s is refused; the list before goes on', async (_, parts) => {
    const { host } = await start([dropsOdd], { ...endlessFuel, timeLimitMs: 50, loadLimitMs: 100 });
    const bad = assembleModule({ ...dropsAll, ...parts, name: 'bad' });
    await expect(host.setFilters([{ bytes: bad }])).rejects.toMatchObject({ code: 'load' });
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([1, 0]);
  });

  it('costs the others nothing that they had said they would hand over', async () => {
    const runsAway: ModuleText = {
      name: 'runs-away',
      filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then ${runaway}))`)} ${done}`,
    };
    const { host, reports } = await start([counting('1.0.0', { binds: { kinds: ['exec'] } }), runsAway], {
      ...endlessFuel,
      timeLimitMs: 50,
    });
    const execs = (count: number, pidOf = (n: number) => n) =>
      Array.from(
        { length: count },
        (_, n) => ({ pid: pidOf(n), kind: 'exec', timeNs: 1_000_000_000n }) as const,
      );
    expect((await judge(host, makeBatch(execs(6)))).verdicts).toEqual([0, 0, 0, 0, 0, 0]);
    // With the answer to this one, what was told behind the one before has come.
    await judge(host, makeBatch([{ pid: 1, kind: 'exit', timeNs: 1_000_000_001n }]));
    expect((await judge(host, makeBatch([...execs(2), { pid: 666, kind: 'exit' }]))).verdicts).toEqual([
      1, 0, 0,
    ]);
    expect(reports.map(({ type }) => type)).toEqual(['quarantine', 'restart']);
    expect(host.status().map(({ quarantine }) => quarantine?.code)).toEqual([undefined, 'timeout']);
  });

  it('hands nothing over of a filter that can tell its state no more', async () => {
    const { rest = '' } = counting('');
    // The first time it tells it, the next time it traps.
    const once = rest.replace(
      '(i64.store (i32.const 2048)',
      '(if (i32.gt_u (global.get $count) (i32.const 6)) (then (unreachable))) (i64.store (i32.const 2048)',
    );
    const runsAway: ModuleText = {
      name: 'runs-away',
      filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then ${runaway}))`)} ${done}`,
    };
    const { host, reports } = await start([counting('1.0.0', { rest: once }), runsAway], {
      ...endlessFuel,
      timeLimitMs: 50,
    });
    const at = (second: number, ...numbers: number[]) =>
      makeBatch(numbers.map((number) => ({ pid: number, timeNs: BigInt(second) * 1_000_000_000n })));
    await judge(host, at(1, 1, 2, 3, 4, 5, 6));
    expect((await judge(host, at(3, 1))).verdicts).toEqual([1]);
    await judge(host, at(3, 1));
    // With the state that it told at first, this would be the seventh.
    expect((await judge(host, at(3, 666))).verdicts).toEqual([0]);
    expect(reports.map(({ type }) => type)).toEqual(['log', 'quarantine', 'restart']);
  });

  it('among several is found each time', async () => {
    const { host } = await start(
      [loops, { ...loops, name: 'loops-too' }, dropsOdd, { ...loops, name: 'loops-as-well' }],
      { ...endlessFuel, timeLimitMs: 50 },
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
    const { host } = await start([module], { ...endlessFuel, timeLimitMs: 50 });
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

describe('telling its state between batches', () => {
  const tells = (body: string, more = ''): ModuleText =>
    counting('1.0.0', {
      rest: `${more} (func (export "weir_state_save") (result i32) ${body})
        (func (export "weir_state_restore") (param i32 i32) (result i32) (i32.const 0))`,
    });
  const second = (number: number) => makeBatch([{ pid: 1, timeNs: BigInt(number) * 1_000_000_000n }]);

  it.each([
    ['it never ends', '(loop $for (br $for)) (i32.const 0)', /begins anew: it used up its fuel of 1000000/],
    ['it traps', '(unreachable)', /begins anew: .*unreachable/],
  ])(
    'where %s costs it its state, is counted as a trap, and is not asked for again',
    async (_, body, reason) => {
      const { host, reports } = await start([tells(body)]);
      for (let number = 1; number <= 20; number++) await judge(host, second(number));
      expect(reports).toMatchObject([{ type: 'log', text: expect.stringMatching(reason) }]);
      expect(host.status()[0]).toMatchObject({ traps: 1, events: 20 });
      expect(host.status()[0]?.quarantine).toBeUndefined();
    },
  );

  it('is one of the traps that stop a filter', async () => {
    // One trap on an event, and one on telling its state, in the same second.
    const { filter } = counting('1.0.0');
    const traps = {
      ...tells('(unreachable)'),
      filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then (unreachable)))`)} ${filter}`,
    };
    const { host, reports } = await start([traps], { trapsMax: 2 });
    // It is asked behind the batch.
    await judge(host, pids(666, 1));
    await vi.waitFor(() => expect(host.status()[0]).toMatchObject({ quarantine: { code: 'traps' } }), 10_000);
    expect(host.status()[0]).toMatchObject({ traps: 2 });
    const stopped = reports.find(({ type }) => type === 'quarantine');
    expect(stopped).toMatchObject({
      reason: expect.stringMatching(/2 times within .*on: telling its state/),
    });
  });

  it('that cannot be leaves the filter as it was, and is not asked for again', async () => {
    const { host, reports } = await start([tells('(i32.const -8)')]);
    const verdicts: number[] = [];
    for (let number = 1; number <= 7; number++)
      verdicts.push(...(await judge(host, second(number))).verdicts);
    expect(verdicts).toEqual([0, 0, 0, 0, 0, 0, 1]);
    expect(reports).toMatchObject([
      { type: 'log', text: expect.stringMatching(/cannot tell its state: .*outside of its memory/) },
    ]);
    expect(host.status()[0]).toMatchObject({ traps: 0 });
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('is in the account of the filter', async () => {
    const turns =
      '(local $k i32) (loop $t (local.set $k (i32.add (local.get $k) (i32.const 1))) (br_if $t (i32.lt_u (local.get $k) (i32.const 10000)))) (i32.const 0)';
    const { host } = await start([tells(turns)]);
    for (let number = 1; number <= 3; number++) await judge(host, second(number));
    expect(host.status()[0]?.fuel).toBeGreaterThan(2 * 10_000);
  });
});
