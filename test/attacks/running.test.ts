// SPDX-License-Identifier: Apache-2.0
// Modules that get in and then attack, in a real host between two filters that keep a count: no event is lost or
// judged twice, the two keep their state and their verdicts, and whatever is done to the attacker names its reason.
import { BatchReader } from '@weir/segment';
import { afterEach, describe, expect, it } from 'vitest';
import { slotViews } from '../../agent/src/join/join.js';
import { Survivors, survivorBytes } from '../../agent/src/pipeline/survivors.js';
import {
  assembleModule,
  closeHosts,
  done,
  eachRecord,
  judge,
  label,
  type ModuleText,
  makeBatch,
  pids,
  start,
} from '../../filters/host/src/fixtures.js';
import { innocent, type RunningAttack, runningAttacks } from './running.js';

afterEach(closeHosts);

const ROUNDS = 6;
const EVENTS = 40;

/** Pids of a batch; one event of each is what the attackers wait for. */
function batchPids(round: number): number[] {
  return Array.from({ length: EVENTS }, (_, index) =>
    index === 7 + round ? 666 : 1000 + round * EVENTS + index,
  );
}

/** What two counting filters, one after the other, make of events that nobody between them drops. */
class Model {
  #before = 0;
  #after = 0;
  beforeSaw = 0;
  afterSaw = 0;

  verdict(): number {
    this.beforeSaw++;
    if (++this.#before % 3 === 0) return 1;
    this.afterSaw++;
    return ++this.#after % 5 === 0 ? 1 : 0;
  }
}

async function run(attack: RunningAttack) {
  const module: ModuleText = { name: 'attacker', ...attack.module };
  const { host, reports } = await start([innocent('before', 3), module, innocent('after', 5)]);
  const model = new Model();
  for (let round = 0; round < ROUNDS; round++) {
    const numbers = batchPids(round);
    const judged = await judge(host, pids(...numbers));
    expect(judged.verdicts, `batch ${round}`).toEqual(numbers.map(() => model.verdict()));
    expect(judged.kept + judged.dropped + judged.heldBack).toBe(EVENTS);
    // What the filters see and what they are told of leaves the events as they were.
    expect(judged.records.map(({ pid }) => pid)).toEqual(numbers);
    for (const { annotation } of judged.records) {
      for (const name of Object.keys(annotation?.labels ?? {}))
        expect(name).toMatch(/^filter\.attacker\.(x|error)$/);
    }
  }
  const [before, attacker, after] = host.status();
  expect(before).toMatchObject({ events: model.beforeSaw, traps: 0 });
  expect(after).toMatchObject({ events: model.afterSaw, traps: 0 });
  expect([before?.quarantine, after?.quarantine]).toEqual([undefined, undefined]);
  expect(before?.kept).toBe(model.afterSaw);
  // None of this needs the watchdog: a worker that was stopped would have lost the counts.
  expect(reports.filter(({ type }) => type === 'restart')).toEqual([]);
  return { attacker, reports };
}

const of = (outcome: RunningAttack['outcome']) =>
  runningAttacks.filter((attack) => attack.outcome === outcome);

describe(`${runningAttacks.length} filters that attack the host that runs them`, () => {
  it('are at least 40, each another', () => {
    expect(runningAttacks.length).toBeGreaterThanOrEqual(40);
    expect(new Set(runningAttacks.map(({ name }) => name)).size).toBe(runningAttacks.length);
  });

  it.each(of('traps'))('costs its own events their verdict, and says why: $name', async (attack) => {
    const { attacker, reports } = await run(attack);
    // The event may have been dropped by the filter before it.
    expect(attacker?.traps).toBeGreaterThan(0);
    expect(attacker?.quarantine).toBeUndefined();
    const trapped = reports.filter((report) => report.type === 'trap');
    expect(trapped).toHaveLength(attacker?.traps ?? 0);
    for (const report of trapped) {
      expect(report).toMatchObject({ filter: 'attacker', cause: attack.code });
      expect(report.reason).toMatch(attack.reason ?? /./);
    }
  });

  it.each(of('quarantined'))('is quarantined at once, and the reason said: $name', async (attack) => {
    const { attacker, reports } = await run(attack);
    expect(attacker?.quarantine).toMatchObject({
      code: attack.code,
      reason: expect.stringMatching(attack.reason ?? /./),
    });
    expect(reports.filter(({ type }) => type === 'quarantine')).toHaveLength(1);
    expect(attacker).toMatchObject({ annotations: expect.any(Number), memoryBytes: 0 });
  });

  it.each(of('harmless'))('comes to nothing: $name', async (attack) => {
    const { attacker } = await run(attack);
    expect(attacker).toMatchObject({ traps: 0, dropped: 0 });
    expect(attacker?.quarantine).toBeUndefined();
    expect(attacker?.memoryBytes).toBeLessThanOrEqual(4 * 1024 * 1024);
  });

  it.each(of('refused'))('is refused as it is loaded, the list before stays: $name', async (attack) => {
    const list = [innocent('before', 3), innocent('after', 5)];
    const { host, set } = await start(list);
    const model = new Model();
    const numbers = batchPids(0);
    expect((await judge(host, pids(...numbers))).verdicts).toEqual(numbers.map(() => model.verdict()));
    const modules = [...list, { name: 'attacker', ...attack.module }].map((one) => ({
      bytes: assembleModule(one),
    }));
    await expect(host.setFilters(modules)).rejects.toMatchObject({
      code: 'load',
      message: expect.stringMatching(attack.reason ?? /./),
    });
    const judged = await judge(host, pids(...numbers));
    expect(judged.filterSet).toBe(set.number);
    expect(judged.verdicts).toEqual(numbers.map(() => model.verdict()));
  });
});

describe('attackers together', () => {
  it('do no more than each alone: every one is stopped, the two keep their counts', async () => {
    const attackers = runningAttacks
      .filter(({ outcome }) => outcome !== 'refused')
      .slice(0, 90)
      .map((attack, index) => ({ ...attack.module, name: `attacker-${index}` }));
    const { host, reports } = await start([innocent('before', 3), ...attackers, innocent('after', 5)]);
    const model = new Model();
    for (let round = 0; round < ROUNDS; round++) {
      const numbers = batchPids(round);
      const judged = await judge(host, pids(...numbers));
      expect(judged.verdicts).toEqual(numbers.map(() => model.verdict()));
    }
    const status = host.status();
    expect(status.at(0)).toMatchObject({ events: model.beforeSaw });
    expect(status.at(-1)).toMatchObject({ events: model.afterSaw });
    expect([status.at(0)?.quarantine, status.at(-1)?.quarantine]).toEqual([undefined, undefined]);
    expect(reports.filter(({ type }) => type === 'restart')).toEqual([]);
  });

  it('that fail closed hold back only what they are bound to, and it is counted', async () => {
    const { host } = await start([
      innocent('before', 3),
      { name: 'attacker', failMode: 'closed', binds: { kinds: ['exec'] }, filter: '(i32.const 7)' },
      innocent('after', 5),
    ]);
    const batch = makeBatch([
      { pid: 1, kind: 'exec' },
      { pid: 2, kind: 'kprobe' },
      { pid: 3, kind: 'exec' },
      { pid: 4, kind: 'exec' },
      { pid: 5, kind: 'loss' },
    ]);
    let heldBack = 0;
    for (let round = 0; round < 3; round++) {
      const judged = await judge(host, batch);
      expect(judged.kept + judged.dropped + judged.heldBack).toBe(5);
      expect(judged.heldBack).toBeGreaterThan(0);
      heldBack += judged.heldBack;
      // A loss is held back by nobody.
      expect(judged.verdicts[4]).toBe(0);
    }
    expect(host.status()[1]).toMatchObject({ heldBack });
  });
});

describe('a version that hands over its state', () => {
  const spans = (at: number, count: number, from: number, length: number) => `
    (i32.store (i32.const ${at}) (i32.const ${count}))
    (i32.store offset=8 (i32.const ${at}) (i32.const ${from}))
    (i32.store offset=12 (i32.const ${at}) (i32.const ${length}))`;
  const saves = (body: string) =>
    `(func $deep (call $deep) (call $deep)) (func (export "weir_state_save") (result i32) ${body})`;
  const restores = (body: string) =>
    `(func (export "weir_state_restore") (param i32 i32) (result i32) ${body})`;
  const good = {
    save: saves(`${spans(512, 1, 1024, 64)} (i32.const 512)`),
    restore: restores('(i32.const 1)'),
  };
  const attempts: [string, string, string, RegExp][] = [
    ['gives an address beyond its memory', saves('(i32.const -8)'), good.restore, /outside of its memory/],
    [
      'gives four billion pieces',
      saves(`${spans(512, -1, 0, 0)} (i32.const 512)`),
      good.restore,
      /4294967295 pieces/,
    ],
    [
      'gives a piece beyond its memory',
      saves(`${spans(512, 1, -64, 128)} (i32.const 512)`),
      good.restore,
      /outside of its memory/,
    ],
    [
      'gives a piece of 4 GiB',
      saves(`${spans(512, 1, 0, -1)} (i32.const 512)`),
      good.restore,
      /outside of its memory/,
    ],
    [
      'gives more than there is room for',
      saves(`${spans(512, 1, 0, 2500000)} (i32.const 512)`),
      good.restore,
      /more than \d+ bytes/,
    ],
    ['loops for ever as it gives', saves('(loop $for (br $for)) (i32.const 0)'), good.restore, /./],
    ['calls for ever as it gives', saves('(call $deep) (i32.const 0)'), good.restore, /./],
    ['traps as it gives', saves('(unreachable)'), good.restore, /unreachable/],
    ['loops for ever as it takes', good.save, restores('(loop $for (br $for)) (i32.const 0)'), /./],
    ['traps as it takes', good.save, restores('(unreachable)'), /unreachable/],
  ];
  it.each(attempts)(
    'begins anew, and the reason is logged, where it %s',
    async (_, save, restore, reason) => {
      const before = innocent('before', 3);
      const after = innocent('after', 5);
      const old: ModuleText = { name: 'attacker', version: '1.0.0', rest: save, filter: '(i32.const 0)' };
      const fresh: ModuleText = {
        name: 'attacker',
        version: '2.0.0',
        rest: restore,
        filter: '(i32.const 0)',
      };
      const { host, reports } = await start([before, old, after]);
      const model = new Model();
      const numbers = batchPids(0);
      expect((await judge(host, pids(...numbers))).verdicts).toEqual(numbers.map(() => model.verdict()));
      await host.setFilters([before, fresh, after].map((one) => ({ bytes: assembleModule(one) })));
      expect((await judge(host, pids(...numbers))).verdicts).toEqual(numbers.map(() => model.verdict()));
      expect(host.status().map(({ version, quarantine }) => [version, quarantine])).toEqual([
        ['1.0.0', undefined],
        ['2.0.0', undefined],
        ['1.0.0', undefined],
      ]);
      const logged = reports.flatMap((report) => (report.type === 'log' ? [report.text] : []));
      expect(logged).toHaveLength(1);
      expect(logged[0]).toMatch(/does not take over the state of version 1\.0\.0/);
      expect(logged[0]).toMatch(reason);
      expect(reports.filter(({ type }) => type === 'restart')).toEqual([]);
    },
  );
});

describe('a filter that floods', () => {
  it('with annotations loses its own, counted; events and the others’ labels stay', async () => {
    const flood: ModuleText = {
      name: 'flood',
      labels: ['x'],
      rest: '(data (i32.const 4096) "x")',
      // Eight alerts an event, each with sixteen labels of 1024 bytes, from one place in memory.
      filter: `
        ${Array.from({ length: 16 }, (_, index) => label([4096, 1], [16384, 1024], 8192 + index * 16)).join('\n')}
        (local.set $i (i32.load offset=16 (local.get $call)))
        (loop $fill
          (i32.store offset=24576 (i32.mul (local.get $a) (i32.const 24)) (local.get $i))
          (i32.store offset=24580 (i32.mul (local.get $a) (i32.const 24)) (i32.const 0x00100104))
          (i32.store offset=24584 (i32.mul (local.get $a) (i32.const 24)) (i32.const 8192))
          (i32.store offset=24588 (i32.mul (local.get $a) (i32.const 24)) (i32.const 0))
          (i32.store offset=24592 (i32.mul (local.get $a) (i32.const 24)) (i32.const 16384))
          (i32.store offset=24596 (i32.mul (local.get $a) (i32.const 24)) (i32.const 512))
          (local.set $a (i32.add (local.get $a) (i32.const 1)))
          (br_if $fill (i32.lt_u (local.get $a) (i32.const 8))))
        (if (i32.eqz (i32.load8_u (i32.add (i32.load offset=12 (local.get $call)) (local.get $i))))
          (then (i32.store offset=20 (local.get $call) (i32.const 8))))
        (i32.store offset=24 (local.get $call) (i32.const 24576))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (i32.store offset=16 (local.get $call) (local.get $i))
        (i32.lt_u (local.get $i) (i32.load offset=8 (local.get $call)))`,
    };
    const { host } = await start([innocent('before', 3), flood, innocent('after', 5)]);
    const model = new Model();
    const numbers = batchPids(0);
    const judged = await judge(host, pids(...numbers));
    expect(judged.verdicts).toEqual(numbers.map(() => model.verdict()));
    expect(judged.annotationsLost).toBeGreaterThan(100);
    expect(judged.alerts.length).toBeGreaterThan(0);
    expect(host.status()[1]?.quarantine).toBeUndefined();
  });

  it('values of labels that overlap within the batch find an end, and cost no event and no alert', async () => {
    const note = '(i32.add (i32.const 1024) (i32.mul (local.get $a) (i32.const 24)))';
    const labels = '(i32.add (i32.const 8192) (i32.mul (local.get $a) (i32.const 256)))';
    const flood: ModuleText = {
      name: 'flood',
      labels: ['x'],
      rest: `
        (data (i32.const 4096) "x")
        (func $labels (param $to i32) (param $batch i32) (local $k i32)
          (loop $next
            (i32.store (local.get $to) (i32.const 4096))
            (i32.store offset=4 (local.get $to) (i32.const 1))
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (i32.store offset=8 (local.get $to)
              (i32.add (local.get $batch) (i32.rem_u (global.get $count) (i32.const 1500))))
            (i32.store offset=12 (local.get $to)
              (i32.sub (i32.const 1024) (i32.and (i32.div_u (global.get $count) (i32.const 1500)) (i32.const 63))))
            (local.set $to (i32.add (local.get $to) (i32.const 16)))
            (local.set $k (i32.add (local.get $k) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $k) (i32.const 16)))))`,
      filter: `${eachRecord(`
        (local.set $a (i32.const 0))
        (loop $notes
          (i32.store ${note} (local.get $i))
          (i32.store8 offset=4 ${note} (i32.const 4))
          (i32.store8 offset=5 ${note} (i32.const 1))
          (i32.store16 offset=6 ${note} (i32.const 16))
          (i32.store offset=8 ${note} ${labels})
          (call $labels ${labels} (i32.load (local.get $call)))
          (local.set $a (i32.add (local.get $a) (i32.const 1)))
          (br_if $notes (i32.lt_u (local.get $a) (i32.const 8))))
        (i32.store offset=20 (local.get $call) (i32.const 8))
        (i32.store offset=24 (local.get $call) (i32.const 1024))`)} ${done}`,
    };
    const batchBytesMax = 2 * 1024 * 1024;
    const annotationBytesMax = 512 * 1024;
    const { host } = await start([flood], { batchBytesMax, annotationBytesMax });
    const batch = makeBatch(
      Array.from({ length: 60 }, (_, index) => ({ pid: index + 1, path: 'p'.repeat(100) })),
    );
    const slot = await host.acquireWhenFree();
    slot.bytes.set(batch);
    const result = await host.run(slot, batch.length);
    expect(result).toMatchObject({ kept: 60, alertCount: 480 });
    expect(result.annotationsLost).toBeGreaterThan(100);
    const survivors = new Survivors(16_384, batchBytesMax);
    const target = slotViews(new Uint8Array(survivorBytes(batchBytesMax, annotationBytesMax)));
    const length = survivors.extract(
      slotViews(slot.bytes),
      result.byteLength,
      slot.verdicts,
      0,
      result.kept,
      { count: result.alertCount, at: result.alertsAt },
      () => 1n,
      target,
    );
    host.release(slot);
    expect(new BatchReader(target.bytes.slice(0, length)).header.recordCount).toBe(540);
    expect(survivors).toMatchObject({ alertsLost: 0, annotationsLost: 0 });
    expect(host.status()[0]?.quarantine).toBeUndefined();
  });

  it('the log writes sixteen lines a batch, the rest is counted', async () => {
    const { host, reports } = await start([
      {
        name: 'chatter',
        filter:
          '(loop $for (call $log (i32.const 1) (i32.const 4096) (i32.const 1)) (local.set $a (i32.add (local.get $a) (i32.const 1))) (br_if $for (i32.lt_u (local.get $a) (i32.const 900)))) (i32.const 0)',
      },
    ]);
    await judge(host, pids(1));
    expect(reports.filter(({ type }) => type === 'log')).toHaveLength(16);
    expect(host.status()[0]?.logLinesLost).toBe(884);
  });
});
