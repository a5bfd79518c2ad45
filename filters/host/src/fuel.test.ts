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
      reason: expect.stringMatching(/its fuel of 1200000 units/),
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

  it('is quarantined once its fuel for the batch is used up, for that reason', async () => {
    const { host, reports } = await start([sometimes], { fuelPerBatch: 3_000_000 });
    const judged = await judge(host, pids(1, 666, 2, 666, 3, 666, 4));
    expect(judged.verdicts).toEqual([1, 0, 1, 0, 1, 0, 0]);
    expect(host.status()[0]).toMatchObject({
      fuel: 3_000_000,
      quarantine: { code: 'fuel', reason: expect.stringMatching(/3000000 units/) },
    });
    expect(reports.filter((report) => report.type === 'restart')).toEqual([]);
    expect((await judge(host, pids(1, 2))).verdicts).toEqual([0, 0]);
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
    const { host } = await start([{ ...sometimes, failMode: 'closed' }], { fuelPerBatch: 1_000_000 });
    const batch = makeBatch([{ pid: 1 }, { pid: 666 }, { pid: 2 }, { pid: 3, flags: RecordFlag.protected }]);
    expect((await judge(host, batch)).verdicts).toEqual([1, 0, 2, 0]);
  });

  it('before it names a record that it judges is quarantined at once', async () => {
    const { host } = await start([{ ...loops, binds: { kinds: ['exec'] } }]);
    const batch = makeBatch([{ pid: 1 }, { pid: 2, kind: 'exec' }]);
    expect((await judge(host, batch)).verdicts).toEqual([0, 0]);
    expect(host.status()[0]?.quarantine?.code).toBe('fuel');
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
      const { host, reports } = await start([{ ...slow, budget: { averageFuel: 5000 } }]);
      // What was judged stands; from the next batch on it is passed by.
      expect((await judge(host, many)).dropped).toBe(1000);
      expect((await judge(host, many)).dropped).toBe(0);
      expect(host.status()[0]?.quarantine).toEqual({
        code: 'budget',
        reason: expect.stringMatching(
          /^used \d+ units of fuel an event on average over 1000 events; its budget is 5000; it is tried again after 60 s$/,
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

  it('holds back the events of one that fails closed from the next batch on', async () => {
    const { host } = await start([{ ...slow, failMode: 'closed', budget: { averageFuel: 5000 } }]);
    await judge(host, many);
    expect(await judge(host, many)).toMatchObject({ heldBack: 1000, dropped: 0 });
  });

  it('gives the fuel of an event that the manifest asks for', async () => {
    const { host } = await start([
      { ...slow, name: 'poor', budget: { fuelPerEvent: 10, fuelPerCall: 5000 } },
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
