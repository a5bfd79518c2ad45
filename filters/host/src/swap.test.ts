// SPDX-License-Identifier: Apache-2.0
// Exchanging filters while events flow: nobody who looks at the stream can tell where a swap was. The state goes from
// version to version, so that each verdict hangs on all events before it: one that was lost, judged twice, or judged
// by nobody would show in every verdict after it.
import { afterEach, describe, expect, it } from 'vitest';
import {
  assembleModule,
  closeHosts,
  counting,
  done,
  dropVerdict,
  EVERY,
  eachRecord,
  judge,
  type ModuleText,
  makeBatch,
  pid,
  pids,
  start,
} from './fixtures.js';

afterEach(closeHosts);

describe('a swap', () => {
  it('is no gap in a stream of events: verdicts go on as if one version had judged them all', async () => {
    const { host } = await start([counting('1.0.0')]);
    const SWAPS = 8;
    let swaps = 0;
    let swapping = true;
    const sets = new Set<number>();
    const verdicts: number[] = [];
    let made = 0;
    const judgedBefore = { events: 0, dropped: 0 };
    const stream = async () => {
      const running: Promise<void>[] = [];
      // Several batches are always under way, so that each swap falls between two of them.
      while (swapping) {
        const batch = pids(...Array.from({ length: 1 + (made % 300) }, (_, index) => index));
        made += 1 + (made % 300);
        running.push(
          judge(host, batch).then((judged) => {
            verdicts.push(...judged.verdicts);
            sets.add(judged.filterSet);
          }),
        );
        if (running.length >= 3) await running.shift();
      }
      await Promise.all(running);
    };
    const swap = async () => {
      while (swaps < SWAPS) {
        const set = await host.setFilters([{ bytes: assembleModule(counting(`1.0.${++swaps}`)) }]);
        for (const one of set.replaced) {
          judgedBefore.events += one.events;
          judgedBefore.dropped += one.dropped;
        }
        // On until the new version has judged something.
        const before = verdicts.length;
        for (let turn = 0; turn < 1000 && verdicts.length === before; turn++) {
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      swapping = false;
    };
    await Promise.all([stream(), swap()]);
    expect(verdicts.length).toBe(made);
    const wrong = verdicts.findIndex((verdict, index) => (verdict === 1) !== ((index + 1) % EVERY === 0));
    expect(wrong, 'first event whose verdict tells of a swap').toBe(-1);
    expect(sets.size).toBeGreaterThan(SWAPS / 2);
    const last = host.status()[0];
    expect(judgedBefore.events + (last?.events ?? 0)).toBe(made);
    expect(judgedBefore.dropped + (last?.dropped ?? 0)).toBe(Math.floor(made / EVERY));
  });

  it('that is refused leaves the version before in force, with its state', async () => {
    const { host } = await start([counting('1.0.0')]);
    await judge(host, pids(1, 2, 3, 4, 5));
    const broken = counting('1.0.1', { start: '(unreachable)' });
    await expect(host.setFilters([{ bytes: assembleModule(broken) }])).rejects.toMatchObject({
      code: 'load',
    });
    expect((await judge(host, pids(1, 2, 3))).verdicts).toEqual([0, 1, 0]);
  });

  it('that is refused begins a version anew that trapped in giving its state', async () => {
    const half = (version: string): ModuleText => ({
      name: 'half',
      version,
      filter: `${eachRecord(`(if (global.get $half) (then ${dropVerdict}))`)} ${done}`,
      rest: `(global $half (mut i32) (i32.const 0))
        (func (export "weir_state_save") (result i32) (global.set $half (i32.const 1)) (unreachable))
        (func (export "weir_state_restore") (param i32 i32) (result i32) (i32.const 0))`,
    });
    // No events before: nobody has asked it for its state yet.
    const { host } = await start([half('1.0.0')]);
    const broken: ModuleText = { name: 'broken', filter: done, start: '(unreachable)' };
    await expect(
      host.setFilters([half('1.0.1'), broken].map((one) => ({ bytes: assembleModule(one) }))),
    ).rejects.toMatchObject({ code: 'load' });
    expect((await judge(host, pids(1, 2, 3))).verdicts).toEqual([0, 0, 0]);
  });

  it('to one that never ends in reading the state begins with fresh state, and says so', async () => {
    const { host, reports } = await start([counting('1.0.0')]);
    await judge(host, pids(1, 2, 3, 4, 5));
    const { rest = '' } = counting('');
    const endless = rest.replace('(global.set $count (i32.load (local.get $at)))', '(loop $for (br $for))');
    await host.setFilters([{ bytes: assembleModule(counting('1.0.1', { rest: endless })) }]);
    expect(reports.filter((report) => report.type === 'log')).toMatchObject([
      { text: expect.stringMatching(/does not take over the state of version 1\.0\.0: .*fuel/) },
    ]);
    expect((await judge(host, pids(1, 2, 3, 4, 5, 6, 7))).verdicts).toEqual([0, 0, 0, 0, 0, 0, 1]);
  });
});

describe('what a filter in quarantine does', () => {
  const lies: ModuleText = { name: 'lies', binds: { kinds: ['exec'] }, filter: '(i32.const 7)' };
  const batch = makeBatch(
    Array.from(
      { length: 100 },
      (_, index) => ({ pid: index, kind: index % 2 === 0 ? 'exec' : 'exit' }) as const,
    ),
  );

  it('failing open is let its events pass, whatever their number', async () => {
    const { host } = await start([lies]);
    for (let round = 0; round < 20; round++) expect((await judge(host, batch)).kept).toBe(100);
    expect(host.status()[0]).toMatchObject({ heldBack: 0, memoryBytes: 0 });
  });

  it('failing closed is hold back its own events, count each, and keep none of them', async () => {
    const { host } = await start([{ ...lies, failMode: 'closed' }, counting('1.0.0')]);
    for (let round = 0; round < 20; round++) {
      const judged = await judge(host, batch);
      expect(judged.heldBack).toBe(50);
      expect(judged.kept + judged.dropped).toBe(50);
    }
    const [closed, other] = host.status();
    // Nothing is kept for later: its memory is given back, and what is held back is a number.
    expect(closed).toMatchObject({ heldBack: 1000, memoryBytes: 0 });
    expect(other?.events).toBe(1000);
  });

  it('ends with a new version, which judges from the next batch on', async () => {
    const { host } = await start([{ ...lies, failMode: 'closed' }]);
    expect((await judge(host, batch)).heldBack).toBe(50);
    const mended: ModuleText = {
      ...lies,
      version: '1.0.1',
      filter: `${eachRecord(`(if (i32.lt_u ${pid} (i32.const 10)) (then ${dropVerdict}))`)} ${done}`,
    };
    await host.setFilters([{ bytes: assembleModule(mended) }]);
    expect(await judge(host, batch)).toMatchObject({ heldBack: 0, dropped: 5 });
  });
});
