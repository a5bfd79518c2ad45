// SPDX-License-Identifier: Apache-2.0
// What becomes of an event hangs on the events before it, not on how they fall into batches.
import { afterEach, describe, expect, it } from 'vitest';
import {
  annotation,
  closeHosts,
  done,
  dropVerdict,
  type EventText,
  eachRecord,
  judge,
  type ModuleText,
  makeBatch,
  pid,
  start,
} from './fixtures.js';

afterEach(closeHosts);

const EVENTS = 1000;
const SIZES = [1, 7, 64, 1000];

/** As many turns of a loop as the pid says. */
const burn = `
  (local.set $a ${pid})
  (loop $turn
    (local.set $a (i32.sub (local.get $a) (i32.const 1)))
    (br_if $turn (i32.gt_s (local.get $a) (i32.const 0))))`;
/** Drops each third event that a fresh instance sees. */
const count = `
  (global.set $count (i32.add (global.get $count) (i32.const 1)))
  (if (i32.eqz (i32.rem_u (global.get $count) (i32.const 3))) (then ${dropVerdict}))`;

/** Events a second of their time apart; some cost much, two cost more than an event has. */
function stream(): EventText[] {
  return Array.from({ length: EVENTS }, (_, index) => ({
    pid: index === 333 || index === 700 ? 5_000_000 : index % 6 === 0 ? 9000 : (index * 7) % 50,
    kind: index % 5 === 0 ? 'exec' : 'kprobe',
    path: '/'.padEnd(index % 401 === 0 ? 3000 : 20, 'p/'),
    timeNs: BigInt(index) * 1_000_000_000n,
  }));
}

/** What became of each event, and of the filters, where they came in batches of this size. */
async function judgedBy(modules: readonly ModuleText[], size: number, events = stream()) {
  const { host, reports } = await start(modules);
  const told: unknown[] = [];
  const sums = { errors: 0, heldBack: 0, alerts: 0 };
  for (let from = 0; from < events.length; from += size) {
    const judged = await judge(host, makeBatch(events.slice(from, from + size)));
    for (const [index, { flagBits, annotation: said }] of judged.records.entries()) {
      told.push([from + index, judged.verdicts[index], flagBits, said?.severity, said?.labels]);
    }
    sums.errors += judged.errors;
    sums.heldBack += judged.heldBack;
    sums.alerts += judged.alerts.length;
  }
  // Which record of its batch it was is all that may differ.
  const inWords = (reason: string) => reason.replace(/record \d+/g, 'a record');
  const filters = host.status().map(({ events: seen, kept, dropped, traps, fuel, quarantine, heldBack }) => {
    const stopped = quarantine && { code: quarantine.code, reason: inWords(quarantine.reason) };
    // How far it ran on behind a lie is of no interest: nothing that it said there counts.
    const used = stopped?.code === 'lying' ? undefined : fuel;
    return { seen, kept, dropped, traps, used, quarantine: stopped, heldBack };
  });
  const kinds = reports.map((report) => [report.type, 'reason' in report ? inWords(report.reason) : '']);
  return { told, sums, filters, kinds };
}

/** Judges the stream in batches of each size, and gives what became of it, which must be the same. */
function check(...modules: ModuleText[]) {
  return checkOn(stream(), modules);
}

async function checkOn(events: EventText[], modules: readonly ModuleText[]) {
  const [first, ...others] = await Promise.all(SIZES.map((size) => judgedBy(modules, size, events)));
  for (const [index, other] of others.entries()) {
    expect(other, `batches of ${SIZES[index + 1]} against ${SIZES[0]}`).toEqual(first);
  }
  return first as Awaited<ReturnType<typeof judgedBy>>;
}

describe('batches of 1, 7, 64 and 1000 events give the same', () => {
  it('verdicts, state and traps of a filter that runs out of fuel on some', async () => {
    const { filters, sums } = await check({
      name: 'burns',
      filter: `${eachRecord(`${count} ${burn}`)} ${done}`,
    });
    expect(filters).toMatchObject([{ traps: 2, dropped: 332, quarantine: undefined }]);
    expect(sums.errors).toBe(2);
  });

  it('reasons of traps, whatever it logged of events before', async () => {
    const { told } = await check({
      name: 'logs',
      rest: '(data (i32.const 4096) "fine")',
      filter: `${eachRecord(`
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (if (i32.eq (global.get $count) (i32.const 333)) (then (call $log (i32.const 4) (i32.const 4096) (i32.const 4))))
        (if (i32.eq ${pid} (i32.const 5000000)) (then (unreachable)))`)} ${done}`,
    });
    expect(JSON.stringify(told)).toContain('unreachable');
    expect(JSON.stringify(told)).not.toContain('fine');
  });

  it('verdicts where its reserve runs out, and where it is tried again by the time of events', async () => {
    const { filters, kinds } = await check({
      name: 'burns',
      failMode: 'closed',
      budget: { averageFuel: 1000, fuelPerEvent: 150_000 },
      filter: `${eachRecord(`${count} ${burn}`)} ${done}`,
    });
    expect(kinds.map(([kind]) => kind)).toContain('release');
    expect(filters[0]?.heldBack).toBeGreaterThan(50);
    expect(filters[0]?.dropped).toBeGreaterThan(50);
  });

  it('verdicts of two filters of which one lies in mid-stream', async () => {
    const { filters } = await check(
      {
        name: 'lies',
        filter: `${eachRecord(`${count} (if (i32.eq ${pid} (i32.const 5000000)) (then (i32.store8 (local.get $v) (i32.const 9))))`)} ${done}`,
      },
      { name: 'counts', filter: `${eachRecord(count)} ${done}` },
    );
    expect(filters[0]).toMatchObject({ seen: 333, dropped: 111, quarantine: { code: 'lying' } });
    expect(filters[1]).toMatchObject({ quarantine: undefined, traps: 0 });
  });

  it('annotations, which are paid for', async () => {
    const { sums, filters } = await check({
      name: 'says',
      binds: { kinds: ['exec'] },
      filter: `${eachRecord(`${count} ${annotation({ alert: 1 })} ${burn}`)} ${done}`,
    });
    expect(sums.alerts).toBe(199);
    expect(filters[0]?.traps).toBe(1);
  });

  it('fuel of filters behind a redactor, which masks while it is in quarantine too', async () => {
    const events = stream()
      .slice(0, 200)
      .map((event, index) => ({
        ...event,
        pid: index === 90 ? 5_000_000 : index,
        arguments: ['a'.repeat(4000)],
      }));
    const { filters } = await checkOn(events, [
      {
        name: 'lies',
        redacts: ['process.arguments'],
        filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 5000000)) (then (i32.store8 (local.get $v) (i32.const 9))))`)} ${done}`,
      },
      {
        name: 'burns',
        // More than an event without long texts has.
        filter: `${eachRecord(`${count} ${burn.replace(pid, '(i32.const 100000)')}`)} ${done}`,
      },
    ]);
    expect(filters[0]).toMatchObject({ seen: 90, quarantine: { code: 'lying' } });
    expect(filters[1]).toMatchObject({ seen: 200, dropped: 66, traps: 0, quarantine: undefined });
  });

  it('verdicts in batches longer than a run of the loop within the module', async () => {
    const events: EventText[] = Array.from({ length: 5000 }, (_, index) => ({
      pid: index % 977 === 0 ? 5_000_000 : index % 50,
      kind: index % 7 === 0 ? 'exec' : 'kprobe',
    }));
    const modules: ModuleText[] = [
      { name: 'some', binds: { kinds: ['kprobe'] }, filter: `${eachRecord(count)} ${done}` },
      { name: 'rest', filter: `${eachRecord(`${count} ${burn}`)} ${done}` },
    ];
    const [whole, pieces] = await Promise.all([5000, 700].map((size) => judgedBy(modules, size, events)));
    expect(whole).toEqual(pieces);
    expect(whole?.filters).toMatchObject([{ seen: 4285, dropped: 1428, traps: 0 }, { traps: 5 }]);
  });

  it('events, where a filter forges verdicts on those behind: that it did so shows where there are any', async () => {
    const forges: ModuleText = {
      name: 'forges',
      filter: `
        (local.set $v (i32.add (i32.load offset=12 (local.get $call)) (i32.load offset=16 (local.get $call))))
        (memory.fill (i32.add (local.get $v) (i32.const 1)) (i32.const 1) (i32.const 99)) ${done}`,
    };
    const judged = await Promise.all(SIZES.map((size) => judgedBy([forges], size)));
    expect(judged.map(({ filters }) => filters[0]?.quarantine?.code)).toEqual([
      undefined,
      'lying',
      'lying',
      'lying',
    ]);
    for (const { told, filters } of judged) {
      expect(told).toEqual(judged[0]?.told);
      expect(filters[0]?.dropped).toBe(0);
    }
  });
});
