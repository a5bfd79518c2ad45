// SPDX-License-Identifier: Apache-2.0
// What attackers among the filters cost the others: events a second of ten stateful filters alone and with attackers
// between them, from the first batch on, the attack and its end included; what those cost that stay below every limit;
// and how soon the watchdog ends what fuel does not. The two runs take turns, batch by batch: the machine's other work
// falls on both.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildFilter } from '@weir/filter-compile';
import { FilterHost } from '@weir/filter-host';
import binaryen from 'binaryen';
import { batchOf, events, RECORDS } from './support/filter-events.mjs';

const tiny = process.argv.includes('--tiny');
const ROUNDS = tiny ? 10 : 400;
const INNOCENTS = 10;

const stateful = (index) => `
import { Counters, Event, keep, Severity, Verdict } from '@weir/filter-sdk';
const counters = new Counters(8192, 10_000_000_000);
export function filter(event: Event): Verdict {
  const process = event.process;
  if (process.binary.startsWith('/opt/') || process.hasAncestor('/opt/**')) return keep();
  const path = event.argument(0).path;
  if (path.glob('/home/*/.ssh/**')) return keep().severity(Severity.medium).label('path', path);
  const key = process.startNs * 31 + process.pid + ${index};
  if (counters.add(key, event.bootTimeNs) == 1_000_000_000) return keep().severity(Severity.low);
  return keep();
}
`;

const folder = await mkdtemp(join(tmpdir(), 'weir-bench-attacks-'));
async function build(name, source) {
  const path = join(folder, name);
  await mkdir(path);
  await writeFile(join(path, 'filter.ts'), source);
  await writeFile(join(path, 'filter.json'), JSON.stringify({ name, version: '1.0.0', labels: ['path'] }));
  return (await buildFilter({ source: path })).bytes;
}

/** A module against the bare ABI; `body` runs for each event, with $i its index and $call the call. */
function attacker(name, body, { rest = '', after = '(i32.const 0)' } = {}) {
  const module = binaryen.parseText(`(module
    (import "weir" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 40 64)
    ${rest}
    (func (export "weir_abi_version") (result i32) (i32.const 1))
    (func (export "weir_reserve") (param i32) (result i32) (i32.const 65536))
    (func (export "weir_filter") (param $call i32) (result i32) (local $i i32) (local $v i32)
      (local.set $i (i32.load offset=16 (local.get $call)))
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $call))))
        (local.set $v (i32.add (i32.load offset=12 (local.get $call)) (local.get $i)))
        (if (i32.eqz (i32.load8_u (local.get $v))) (then
          (i32.store offset=16 (local.get $call) (local.get $i))
          ${body}))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      ${after}))`);
  module.setFeatures(binaryen.Features.All);
  const binary = module.emitBinary();
  module.dispose();
  const section = new TextEncoder().encode(
    `\x0dweir.manifest${JSON.stringify({ abi: 1, name, version: '1.0.0', labels: ['x'] })}`,
  );
  return Uint8Array.from([
    ...binary,
    0,
    ...(section.length < 128 ? [section.length] : [(section.length & 127) | 128, section.length >> 7]),
    ...section,
  ]);
}

/** Attackers that are stopped: by fuel, by depth, by traps, as liars. */
const stopped = [
  attacker('loops', '(loop $for (br $for))'),
  attacker('recurses', '(call $deep)', { rest: '(func $deep (call $deep) (call $deep))' }),
  attacker(
    'fills',
    '(loop $for (memory.fill (i32.const 1048576) (i32.const 7) (i32.const 1000000)) (br $for))',
  ),
  attacker('grows', '(loop $for (drop (memory.grow (i32.const 1))) (br $for))'),
  attacker('traps', '(unreachable)'),
  attacker('reads-beyond', '(drop (i32.load (i32.const -4)))'),
  attacker('chatters', '(loop $for (call $log (i32.const 1) (i32.const 0) (i32.const 64)) (br $for))'),
  attacker('lies', '(i32.store8 (local.get $v) (i32.const 3))'),
  attacker(
    'annotates-beyond',
    '(i32.store offset=20 (local.get $call) (i32.const 1)) (i32.store offset=24 (local.get $call) (i32.const -1))',
  ),
  attacker('answers-wrongly', '', { after: '(i32.const 7)' }),
];
/** Waits for memory at each turn, so that it takes long for the fuel it uses: the watchdog has to end it. */
const runaway = attacker(
  'runs-away',
  `(loop $for
    (local.set $v (i32.add
      (i32.load (i32.and (local.get $v) (i32.const 0x1ffffc)))
      (i32.mul (local.get $v) (i32.const 1664525))))
    (i32.store (i32.and (local.get $v) (i32.const 0x1ffffc)) (i32.const 0x3c6ef35f))
    (br $for))`,
);
/** One that stays below every limit: it hoards memory and wipes its copy of the batch, batch after batch. */
const below = [
  attacker('hoards', '', {
    after: `(drop (memory.grow (i32.const 1)))
      (memory.fill (i32.load (local.get $call)) (i32.const 255) (i32.load offset=4 (local.get $call)))
      (i32.const 0)`,
  }),
];

async function judge(host, batch) {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const started = process.hrtime.bigint();
  const result = await host.run(slot, batch.length);
  const ns = Number(process.hrtime.bigint() - started);
  host.release(slot);
  return { ns, seen: result.kept + result.dropped + result.heldBack };
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0;
const sum = (list) => list.reduce((total, value) => total + value, 0);

async function makeHost(modules) {
  const reports = [];
  const host = await FilterHost.create({ onReport: (report) => reports.push(report), timeLimitMs: 1000 });
  await host.setFilters(modules.map((bytes) => ({ bytes })));
  const innocents = () => host.status().filter(({ name }) => name.startsWith('innocent'));
  return { host, reports, innocents, ns: [], seen: 0 };
}

const batch = batchOf(events());
const innocents = await Promise.all(
  Array.from({ length: INNOCENTS }, (_, index) => build(`innocent-${index}`, stateful(index))),
);
const between = (attackers) =>
  innocents.flatMap((one, index) => [one, ...attackers.filter((_, other) => other % INNOCENTS === index)]);

/** Both take their batches in turn; the second is the one under attack. */
async function compare(attackers) {
  const alone = await makeHost(innocents);
  // So that both run what the engine has compiled well, as an agent does that is attacked.
  for (let round = 0; round < 20; round++) await judge(alone.host, batch);
  const attacked = await makeHost(innocents);
  for (let round = 0; round < 20; round++) await judge(attacked.host, batch);
  await attacked.host.setFilters(between(attackers).map((bytes) => ({ bytes })));
  const before = attacked.innocents().map(({ events }) => events);
  const spent = (one) => sum(one.innocents().map(({ nanoseconds }) => nanoseconds));
  const [aloneBefore, attackedBefore] = [spent(alone), spent(attacked)];
  for (let round = 0; round < ROUNDS; round++) {
    for (const one of round % 2 === 0 ? [alone, attacked] : [attacked, alone]) {
      const { ns, seen } = await judge(one.host, batch);
      one.ns.push(ns);
      one.seen += seen;
    }
  }
  const judgedTwice = sum(
    attacked.innocents().map(({ events }, index) => events - before[index] - ROUNDS * RECORDS),
  );
  const result = {
    aloneNs: median(alone.ns) / RECORDS,
    attackedNs: median(attacked.ns) / RECORDS,
    aloneInsideNs: (spent(alone) - aloneBefore) / (ROUNDS * RECORDS),
    attackedInsideNs: (spent(attacked) - attackedBefore) / (ROUNDS * RECORDS),
    attackMs: sum(attacked.ns.slice(0, 3)) / 1e6,
    aloneTotalMs: sum(alone.ns) / 1e6,
    attackedTotalMs: sum(attacked.ns) / 1e6,
    lost: ROUNDS * RECORDS - attacked.seen,
    judgedTwice,
    quarantined: attacked.host.status().filter(({ quarantine }) => quarantine !== undefined).length,
    quarantinedInnocents: attacked.innocents().filter(({ quarantine }) => quarantine !== undefined).length,
    restarts: attacked.reports.filter(({ type }) => type === 'restart').length,
  };
  await alone.host.close();
  await attacked.host.close();
  return result;
}

/** From a batch handed over to its result, where fuel stops nothing: the limit, then the watchdog. */
async function watchdog() {
  const times = [];
  const used = [];
  const rounds = tiny ? 1 : 5;
  while (used.length < rounds) {
    const endless = 2 ** 31 - 1;
    const host = await FilterHost.create({
      fuelPerEvent: endless,
      fuelPerEventMax: endless,
      timeLimitMs: 100,
    });
    await host.setFilters([{ bytes: runaway }, { bytes: innocents[0] }]);
    const { ns } = await judge(host, batch);
    const { reason } = host.status()[0].quarantine;
    const [, ms] = /took (\d+) ms/.exec(reason) ?? [];
    if (ms === undefined) throw new Error(`the watchdog stops nothing: ${reason}`);
    times.push(ns / 1e6);
    used.push(Number(ms));
    await host.close();
  }
  return { wall: median(times), worst: Math.max(...used) };
}

const attack = await compare(stopped);
const quiet = await compare(below);
const ended = await watchdog();
await rm(folder, { recursive: true, force: true });

const round = (value, digits = 1) => Math.round(value * 10 ** digits) / 10 ** digits;
const percent = (more, less) => round((more / less - 1) * 100);
console.log(
  `batch: ${RECORDS} events, ${batch.length} bytes; ${ROUNDS} batches each alone and under attack by ${stopped.length} filters, ${attack.quarantined} of them quarantined`,
);
console.log(
  JSON.stringify({
    bench: 'attacks',
    attackers: stopped.length,
    quarantined: attack.quarantined,
    quarantinedInnocents: attack.quarantinedInnocents,
    restarts: attack.restarts,
    eventsPerSecondAlone: Math.round(1e9 / attack.aloneNs),
    eventsPerSecondAttacked: Math.round(1e9 / attack.attackedNs),
    costPercent: percent(attack.attackedNs, attack.aloneNs),
    costInsidePercent: percent(attack.attackedInsideNs, attack.aloneInsideNs),
    attackMs: round(attack.attackMs),
    lost: attack.lost + quiet.lost,
    judgedTwice: attack.judgedTwice + quiet.judgedTwice,
    belowLimitsCostPercent: percent(quiet.attackedNs, quiet.aloneNs),
    watchdogLimitMs: 100,
    watchdogProcessorMsWorst: round(ended.worst),
    watchdogWallMs: round(ended.wall),
  }),
);
