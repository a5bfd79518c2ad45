// SPDX-License-Identifier: Apache-2.0
// Fuzzes a running host: with batches of any shape, over filters written by chance from what attacks are made of.
// WEIR_SEED and WEIR_FUZZ_ROUNDS change what and how much. What must hold whatever the filters do: the host answers,
// every event has exactly one verdict, the books of the filters add up, events are as they were.
import { RecordFlag } from '@weir/schema';
import { afterEach, describe, expect, it } from 'vitest';
import {
  annotation,
  closeHosts,
  done,
  dropVerdict,
  type EventText,
  eachRecord,
  judge,
  label,
  type ModuleText,
  makeBatch,
  pid,
  start,
} from '../../filters/host/src/fixtures.js';

afterEach(closeHosts);

const seed = Number(process.env.WEIR_SEED ?? 20260103);
const rounds = Number(process.env.WEIR_FUZZ_ROUNDS ?? 60);

/** mulberry32 */
function random(from: number): (below: number) => number {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

type Next = (below: number) => number;

/** Numbers at which things go wrong. */
function number(next: Next): number {
  const edges = [0, 1, 7, 8, 255, 1024, 4096, 65535, 65536, 2_621_440, 0x7fffffff, -1, -8, -24, -2147483648];
  return next(3) === 0 ? next(100_000) : (edges[next(edges.length)] as number);
}

function statement(next: Next): string {
  const when = (code: string) =>
    `(if (i32.eq (i32.rem_u ${pid} (i32.const ${1 + next(9)})) (i32.const 0)) (then ${code}))`;
  switch (next(9)) {
    case 0:
      return when(dropVerdict);
    case 1:
      return when(`(i32.store8 (local.get $v) (i32.const ${next(4) === 0 ? next(256) : 1}))`);
    case 2:
      return when('(unreachable)');
    case 3:
      return when(`(drop (i32.load (i32.const ${number(next)})))`);
    case 4:
      return `${label([4096, 1], [next(3) === 0 ? number(next) : 8192, next(1100)])} ${annotation({
        severity: next(8) === 0 ? next(256) : next(6),
        alert: next(2),
        labels: next(8) === 0 ? next(20) : 1,
        count: next(8) === 0 ? number(next) : 1,
        message: next(3) === 0 ? [number(next), number(next)] : [8192, next(513)],
      })}`;
    case 5:
      return when(`(i32.store offset=${4 * next(8)} (local.get $call) (i32.const ${number(next)}))`);
    case 6:
      return '(drop (memory.grow (i32.const 1)))';
    case 7:
      return when('(loop $for (br $for))');
    default:
      return when(
        `(call $log (i32.const ${next(6)}) (i32.const ${number(next)}) (i32.const ${number(next)}))`,
      );
  }
}

function filter(index: number, next: Next): ModuleText {
  const kinds = ['exec', 'exit', 'kprobe', 'loss'];
  const body = eachRecord(Array.from({ length: 1 + next(3) }, () => statement(next)).join('\n'));
  return {
    name: `filter-${index}`,
    failMode: next(3) === 0 ? 'closed' : 'open',
    labels: ['x'],
    binds: {
      kinds: next(3) === 0 ? kinds.filter(() => next(2) === 0) : [],
      policies: next(4) === 0 ? ['files'] : [],
    },
    rest: '(data (i32.const 4096) "x")',
    filter: `${body} ${next(20) === 0 ? `(i32.const ${next(4)})` : done}`,
  };
}

function batch(next: Next): EventText[] {
  const kinds = ['exec', 'exit', 'kprobe', 'kprobe', 'loss', 'alert'] as const;
  return Array.from({ length: next(5) === 0 ? next(3) : next(200) }, () => ({
    pid: 1 + next(1000),
    kind: kinds[next(kinds.length)] as (typeof kinds)[number],
    flags: next(6) === 0 ? RecordFlag.protected : 0,
    policy: ['files', 'net'][next(2)] as string,
    path: '/'.padEnd(1 + next(next(10) === 0 ? 4000 : 40), 'p/'),
    timeNs: BigInt(next(1_000_000)) * 1_000_000n,
  }));
}

describe('fuzzing batches and filters', () => {
  it(`loses nothing, judges nothing twice, and never fails (seed ${seed})`, async () => {
    const found = { traps: 0, quarantined: 0, dropped: 0, heldBack: 0, alerts: 0, labels: 0 };
    for (let round = 0; round < rounds; round++) {
      const next = random(seed + round);
      const modules = Array.from({ length: 1 + next(4) }, (_, index) => filter(index, next));
      const options = { fuelPerEvent: 100_000, averageFuel: 1 + next(2000), trapsMax: 4 + next(40) };
      const { host } = await start(modules, options);
      const sums = { kept: 0, dropped: 0, heldBack: 0, errors: 0 };
      for (let turn = 0; turn < 5; turn++) {
        const events = batch(next);
        const where = `seed ${seed + round}, batch ${turn}`;
        const judged = await judge(host, makeBatch(events));
        expect(judged.verdicts.length, where).toBe(events.length);
        expect(judged.kept + judged.dropped + judged.heldBack, where).toBe(events.length);
        expect(judged.verdicts.filter((verdict) => verdict === 0).length, where).toBe(judged.kept);
        for (const [index, event] of events.entries()) {
          expect(judged.records[index]?.pid, where).toBe(event.pid);
          const mustGoOn =
            event.flags === RecordFlag.protected || event.kind === 'loss' || event.kind === 'alert';
          if (mustGoOn) expect(judged.verdicts[index], `${where}, event ${index}`).toBe(0);
          for (const name of Object.keys(judged.records[index]?.annotation?.labels ?? {})) {
            expect(name, where).toMatch(/^filter\.filter-\d\.(x|error)$/);
            found.labels++;
          }
        }
        sums.dropped += judged.dropped;
        sums.heldBack += judged.heldBack;
        sums.errors += judged.errors;
        found.alerts += judged.alerts.length;
      }
      const status = host.status();
      // Each drop is one filter's.
      expect(
        status.reduce((sum, one) => sum + one.dropped, 0),
        `seed ${seed + round}`,
      ).toBe(sums.dropped);
      for (const one of status) {
        expect(one.traps).toBeLessThanOrEqual(one.events);
        if (one.quarantine !== undefined) {
          found.quarantined++;
          expect(one.quarantine.reason.length).toBeGreaterThan(0);
        }
      }
      found.traps += sums.errors;
      found.dropped += sums.dropped;
      found.heldBack += sums.heldBack;
      await closeHosts();
    }
    // The canary: a fuzzer that reaches nothing would pass as well.
    for (const [what, count] of Object.entries(found)) expect(count, `no ${what}`).toBeGreaterThan(0);
  });
});
