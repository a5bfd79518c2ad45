// SPDX-License-Identifier: Apache-2.0
// The host with modules that use up their fuel or their depth of calls.
import { RecordFlag } from '@weir/schema';
import { afterEach, describe, expect, it } from 'vitest';
import {
  assembleModule,
  closeHosts,
  done,
  dropsAll,
  dropVerdict,
  eachRecord,
  judge,
  loops,
  type ModuleText,
  makeBatch,
  pid,
  pids,
  start,
} from './fixtures.js';

afterEach(closeHosts);

/** Runs for ever on the pid 666, drops the others. */
const sometimes: ModuleText = {
  name: 'sometimes',
  filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then (loop $for (br $for)))) ${dropVerdict}`)} ${done}`,
};
/** Drops every event after the first that it sees: a lost state would show. */
const remembers: ModuleText = {
  name: 'remembers',
  filter: `${eachRecord(`
    (if (global.get $count) (then ${dropVerdict}))
    (global.set $count (i32.const 1))`)} ${done}`,
};

describe('a filter that uses up its fuel', () => {
  it('costs its event only; the others are judged, the other filters keep their state', async () => {
    const { host, reports } = await start([sometimes, remembers]);
    expect((await judge(host, pids(666))).verdicts).toEqual([0]);
    const judged = await judge(host, pids(1, 666, 2, 3));
    expect(judged.verdicts).toEqual([1, 1, 1, 1]);
    expect(judged.errors).toBe(1);
    expect(reports.map((report) => report.type)).toEqual(['trap', 'trap']);
    expect(reports[1]).toMatchObject({
      filter: 'sometimes',
      cause: 'fuel',
      record: 1,
      reason: expect.stringMatching(/its fuel of 1000000 units/),
    });
    expect(host.status().map((one) => one.quarantine)).toEqual([undefined, undefined]);
  });

  it('marks the event with the reason', async () => {
    const { host } = await start([sometimes]);
    const judged = await judge(host, pids(1, 666));
    expect(judged.records[1]?.flagBits).toBe(RecordFlag.filterError);
    expect(judged.records[1]?.annotation).toMatchObject({
      error: true,
      labels: { 'filter.sometimes.error': expect.stringMatching(/fuel/) },
    });
  });

  it('uses the same fuel for the same events each time', async () => {
    const used: number[] = [];
    for (let run = 0; run < 3; run++) {
      const { host } = await start([sometimes, remembers]);
      for (const batch of [pids(1, 2, 3), pids(666, 4), pids(5, 666, 6, 666)]) await judge(host, batch);
      used.push(...host.status().map((one) => one.fuel));
    }
    expect(used[0]).toBeGreaterThan(3_000_000);
    expect(used[1]).toBeGreaterThan(100);
    expect(used).toEqual([used[0], used[1], used[0], used[1], used[0], used[1]]);
  });

  it('is quarantined behind the event that its reserve runs out with, for that reason', async () => {
    // 1000 events' average and 20 events of a million: the 21st of these is beyond it.
    const budget = { averageFuel: 10 };
    const { host, reports } = await start([{ ...sometimes, budget }], { trapsMax: 1000 });
    const judged = await judge(host, pids(1, ...new Array<number>(21).fill(666), 2));
    expect(judged.verdicts).toEqual([1, ...new Array<number>(22).fill(0)]);
    expect(judged.errors).toBe(21);
    expect(host.status()[0]?.quarantine).toEqual({
      code: 'budget',
      reason: expect.stringMatching(
        /^used 20010000 units of fuel more than its events may cost; its budget is 10 an event on average; it is tried/,
      ),
    });
    expect(reports.filter((report) => report.type === 'restart')).toEqual([]);
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([0, 0]);
  });

  it('pays for being loaded again', async () => {
    const heavy: ModuleText = {
      ...sometimes,
      start:
        '(loop $turn (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $turn (i32.lt_u (local.get $a) (i32.const 5000000))))',
    };
    const { host } = await start([heavy]);
    expect(host.status()[0]?.fuel).toBe(0);
    await judge(host, pids(1, 666, 2));
    expect(host.status()[0]?.fuel).toBeGreaterThan(40_000_000);
    expect(host.status()[0]?.quarantine?.code).toBe('budget');
  });

  it('is quarantined after so many traps, like one that traps by itself', async () => {
    const { host } = await start([sometimes], { trapsMax: 3 });
    await judge(host, pids(666, 1, 666, 1));
    expect(host.status()[0]?.quarantine).toBeUndefined();
    await judge(host, pids(666, 1));
    expect(host.status()[0]?.quarantine).toMatchObject({
      code: 'traps',
      reason: expect.stringMatching(/fuel/),
    });
  });

  it('and fails closed holds back what it had not judged', async () => {
    const { host } = await start([{ ...sometimes, failMode: 'closed' }], { trapsMax: 1 });
    const batch = makeBatch([{ pid: 1 }, { pid: 666 }, { pid: 2 }, { pid: 3, flags: RecordFlag.protected }]);
    expect((await judge(host, batch)).verdicts).toEqual([1, 0, 2, 0]);
  });

  it('before it names the record costs that all the same', async () => {
    const { host, reports } = await start([{ ...loops, binds: { kinds: ['exec'] } }]);
    const batch = makeBatch([{ pid: 1 }, { pid: 2, kind: 'exec' }]);
    expect(await judge(host, batch)).toMatchObject({ verdicts: [0, 0], errors: 1 });
    expect(reports).toMatchObject([{ type: 'trap', cause: 'fuel', record: 1 }]);
  });

  it('while it is loaded is refused', async () => {
    const { host } = await start([dropsAll]);
    const bad = assembleModule({ ...dropsAll, name: 'bad', start: '(loop $for (br $for))' });
    await expect(host.setFilters([{ bytes: bad }])).rejects.toMatchObject({
      code: 'load',
      message: expect.stringMatching(/fuel of 200000000 units/),
    });
    expect((await judge(host, pids(1))).verdicts).toEqual([1]);
  });
});

describe('a filter whose calls nest too deeply', () => {
  it('costs its event only, for that reason', async () => {
    const { host, reports } = await start([
      {
        name: 'deep',
        rest: '(func $deep (call $deep) (call $deep))',
        filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then (call $deep))) ${dropVerdict}`)} ${done}`,
      },
    ]);
    expect((await judge(host, pids(1, 666, 2))).verdicts).toEqual([1, 0, 1]);
    expect(reports).toMatchObject([{ type: 'trap', cause: 'depth', reason: 'its calls nest too deeply' }]);
    expect((await judge(host, pids(3))).verdicts).toEqual([1]);
  });
});

describe('a module that cannot be metered', () => {
  it('is refused', async () => {
    const { host } = await start([]);
    const bad = assembleModule({
      ...dropsAll,
      rest: '(global $g (export "weir.fuel") (mut i64) (i64.const 0))',
    });
    await expect(host.setFilters([{ bytes: bad }])).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringMatching(/\(export\).*"weir.fuel"/),
    });
  });
});

describe('a budget', () => {
  /** About 10,000 units on each event, below every limit of one event. */
  const slow: ModuleText = {
    name: 'slow',
    filter: `${eachRecord(`
      (local.set $a (i32.const 1000))
      (loop $turn
        (local.set $a (i32.sub (local.get $a) (i32.const 1)))
        (br_if $turn (local.get $a)))
      ${dropVerdict}`)} ${done}`,
  };
  const many = pids(...Array.from({ length: 1000 }, (_, index) => index));

  it('of average fuel stops a filter that passes every other limit, at the same event each time', async () => {
    for (let run = 0; run < 2; run++) {
      const { host, reports } = await start([
        { ...slow, budget: { averageFuel: 5000, fuelPerEvent: 20_000 } },
      ]);
      const dropped: number[] = [];
      for (let batch = 0; batch < 3; batch++) dropped.push((await judge(host, many)).dropped);
      // Each costs 10,070 where 5,000 are its share; 1,000 shares and 20 events of 20,000 are the reserve.
      expect(dropped).toEqual([1000, 65, 0]);
      expect(host.status()[0]?.quarantine).toEqual({
        code: 'budget',
        reason: expect.stringMatching(
          /^used 5400000 units of fuel more than its events may cost; its budget is 5000 an event on average; it is tried again after 60 s$/,
        ),
      });
      expect(reports.map((report) => report.type)).toEqual(['quarantine']);
    }
  });

  it('of average time stops a filter too', async () => {
    const { host } = await start([{ ...slow, budget: { averageNs: 1, averageFuel: 50_000 } }]);
    for (let round = 0; round < 2000 && host.status()[0]?.quarantine === undefined; round++) {
      await judge(host, many);
    }
    expect(host.status()[0]?.quarantine).toMatchObject({
      code: 'budget',
      reason: expect.stringMatching(/ns of processor time an event/),
    });
    expect(host.status()[0]?.processorNs).toBeGreaterThan(0);
  });

  it('that is kept stops nothing', async () => {
    const { host } = await start([{ ...slow, budget: { averageFuel: 50_000, averageNs: 100_000 } }]);
    for (let round = 0; round < 5; round++) expect((await judge(host, many)).dropped).toBe(1000);
  });

  it('holds back the events of one that fails closed from there on', async () => {
    const budget = { averageFuel: 5000, fuelPerEvent: 20_000 };
    const { host } = await start([{ ...slow, failMode: 'closed', budget }]);
    await judge(host, many);
    expect(await judge(host, many)).toMatchObject({ heldBack: 935, dropped: 65 });
    expect(await judge(host, many)).toMatchObject({ heldBack: 1000, dropped: 0 });
  });

  it('gives the fuel of an event that the manifest asks for', async () => {
    const { host } = await start([
      { ...slow, name: 'poor', budget: { fuelPerEvent: 5000 } },
      { ...slow, name: 'rich' },
    ]);
    expect(await judge(host, pids(1))).toMatchObject({ errors: 1, dropped: 1 });
    expect(host.status().map((one) => one.traps)).toEqual([1, 0]);
  });

  it('beyond what the host allows refuses the filter, with field and figure', async () => {
    const { host } = await start([], { budgetCaps: { averageFuel: 4000 } });
    const refused = host.setFilters([{ bytes: assembleModule({ ...slow, budget: { averageFuel: 5000 } }) }]);
    await expect(refused).rejects.toMatchObject({
      code: 'refused',
      message: expect.stringMatching(/budget.averageFuel is 5000; at most 4000/),
    });
  });
});
