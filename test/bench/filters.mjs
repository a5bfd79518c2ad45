// SPDX-License-Identifier: Apache-2.0
// What filters cost: ns an event in one simple filter, in ten and in a hundred stateful ones, copy of the batch
// included, against the same predicate in plain JavaScript on JSON and on objects; what each safety measure adds; how
// long a swap takes in mid-stream, that it loses nothing, and how much longer the batch beside it takes.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildFilter } from '@weir/filter-compile';
import { FilterHost } from '@weir/filter-host';
import { costsOf } from './support/filter-costs.mjs';
import { batchOf, events, RECORDS, simple, stateful } from './support/filter-events.mjs';

const tiny = process.argv.includes('--tiny');
const ROUNDS = tiny ? 20 : 1000;
const SWAPS = tiny ? 4 : 40;
/** Rounds come in so many runs; the least of their medians counts, since other work on the machine only adds. */
const RUNS = tiny ? 2 : 10;

const folder = await mkdtemp(join(tmpdir(), 'weir-bench-filters-'));
let built = 0;
async function build(name, version, source) {
  const path = join(folder, String(built++));
  await mkdir(path);
  await writeFile(join(path, 'filter.ts'), source);
  await writeFile(join(path, 'filter.json'), JSON.stringify({ name, version, labels: ['path'] }));
  return (await buildFilter({ source: path })).bytes;
}

/** The same module under other names of the same length, in its manifest. */
function renamed(bytes, name, count) {
  const at = Buffer.from(bytes).indexOf(`"${name}"`) + 1;
  return Array.from({ length: count }, (_, index) => {
    const copy = Buffer.from(bytes);
    copy.write(name.slice(0, -3) + String(index).padStart(3, '0'), at);
    return copy;
  });
}

async function judge(host, batch) {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  host.release(slot);
  return result;
}

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
const spentBy = (host) => host.status().reduce((sum, one) => sum + one.nanoseconds, 0);

/** ns an event in the filters (their counters), and from hand-over to result. */
async function measure(modules, batch, rounds = ROUNDS) {
  const host = await FilterHost.create({ timeLimitMs: 1000 });
  await host.setFilters(modules.map((bytes) => ({ bytes })));
  for (let round = 0; round < Math.min(20, rounds); round++) await judge(host, batch);
  const inside = [];
  const wall = [];
  let dropped = 0;
  for (let run = 0; run < RUNS; run++) {
    const runInside = [];
    const runWall = [];
    for (let round = 0; round < rounds / RUNS; round++) {
      const before = spentBy(host);
      const started = process.hrtime.bigint();
      dropped += (await judge(host, batch)).dropped;
      runWall.push(Number(process.hrtime.bigint() - started) / RECORDS);
      runInside.push((spentBy(host) - before) / RECORDS);
    }
    inside.push(median(runInside));
    wall.push(median(runWall));
  }
  await host.close();
  return {
    inside: Math.min(...inside),
    worst: Math.max(...inside),
    wall: Math.min(...wall),
    dropped,
    count: rounds * RECORDS,
  };
}

/** Percent that the watchdog adds: a host whose watchdog looks every 20 ms, and one whose looks never come, in turn. */
async function watchdogCost(bytes, batch) {
  const hosts = {
    looks: await FilterHost.create({ timeLimitMs: 100 }),
    never: await FilterHost.create({ timeLimitMs: 2_000_000_000 }),
  };
  for (const host of Object.values(hosts)) await host.setFilters([{ bytes }]);
  const best = {};
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, host] of Object.entries(hosts)) {
      const before = spentBy(host);
      await judge(host, batch);
      if (round >= ROUNDS >> 2)
        best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, spentBy(host) - before);
    }
  }
  for (const host of Object.values(hosts)) await host.close();
  return (best.looks / best.never - 1) * 100;
}

/** The same predicate in plain JavaScript. */
function plain(texts) {
  const predicate = (event) => {
    const path = event.process_kprobe?.args[0]?.file_arg?.path ?? '';
    return path.startsWith('/proc/') || path.endsWith('.so');
  };
  let dropped = 0;
  const time = (list, event, rounds) => {
    const times = [];
    for (let round = 0; round < rounds; round++) {
      const started = process.hrtime.bigint();
      for (const one of list) if (predicate(event(one))) dropped++;
      times.push(Number(process.hrtime.bigint() - started) / list.length);
    }
    return Math.min(...times);
  };
  const json = time(texts, (text) => JSON.parse(text), Math.max(3, ROUNDS / 50));
  const objects = texts.map((text) => JSON.parse(text));
  const decoded = time(objects, (object) => object, Math.max(3, ROUNDS / 5));
  return { json, decoded, dropped };
}

async function swaps(batch) {
  const first = await build('swapped', '1.0.1', simple(1));
  // The same with 100 KB of module around it, as a large filter has.
  const padded = await Promise.all(
    [1, 2].map((version) =>
      build(
        'swapped',
        `2.0.${version}`,
        `${simple(version)}\nconst table = memory.data<u8>([${Array.from({ length: 100_000 }, (_, i) => (i * version) & 255).join(',')}]);\nexport function unused(): usize { return table; }\n`.replace(
          'return drop()',
          'return load<u8>(table + (<usize>path.length & 1023)) == 77 ? keep() : drop()',
        ),
      ),
    ),
  );
  const host = await FilterHost.create({ timeLimitMs: 1000 });
  await host.setFilters([{ bytes: first }]);
  let made = 0;
  let seen = 0;
  let swapping = true;
  // How long batches take, by the set that judged them: the first under each set is the one that waited for the swap.
  const steady = [];
  const beside = [];
  const stream = async () => {
    let set = -1;
    while (swapping) {
      const started = performance.now();
      const result = await judge(host, batch);
      (result.filterSet === set ? steady : beside).push(performance.now() - started);
      set = result.filterSet;
      made += RECORDS;
      seen += result.kept + result.dropped;
    }
  };
  const times = [];
  const compiles = [];
  let judged = 0;
  const swap = async () => {
    for (let index = 0; index < SWAPS; index++) {
      const set = await host.setFilters([{ bytes: padded[index % 2] }]);
      times.push(set.swapMs);
      compiles.push(set.compileMs);
      for (const one of set.replaced) judged += one.events;
    }
    swapping = false;
  };
  await Promise.all([stream(), swap()]);
  for (const one of host.status()) judged += one.events;
  await host.close();
  return {
    swapMs: median(times),
    compileMs: median(compiles),
    swapMaxMs: times.at(-1),
    batchMs: median(steady),
    batchBesideSwapMs: median(beside),
    made,
    lost: made - seen,
    judgedTwice: judged - made,
    moduleBytes: padded[0].length,
  };
}

const list = events();
const batch = batchOf(list);
const simpleModule = await build('simple', '1.0.0', simple(0));
const statefulModule = await build('stateful-000', '1.0.0', stateful(0));
const hundred = renamed(statefulModule, 'stateful-000', 100);
const one = await measure([simpleModule], batch);
const js = plain(list.map((event) => JSON.stringify(event)));
const ten = await measure(hundred.slice(0, 10), batch);
const all = await measure(hundred, batch, Math.max(RUNS, ROUNDS / 10));
const costs = {
  simple: costsOf(simpleModule, batch, ROUNDS),
  stateful: costsOf(statefulModule, batch, ROUNDS),
};
const watchdogPercent = await watchdogCost(simpleModule, batch);
const swapped = await swaps(batch);
await rm(folder, { recursive: true, force: true });

const round = (value) => Math.round(value * 100) / 100;
console.log(
  `batch: ${RECORDS} events, ${batch.length} bytes (${Math.round(batch.length / RECORDS)} an event); ${one.count} events judged, ${one.dropped} dropped`,
);
console.log(
  `swaps: ${SWAPS} of a module of ${swapped.moduleBytes} bytes in mid-stream, ${swapped.made} events`,
);
for (const [name, cost] of Object.entries(costs)) console.log(`${name}: ${JSON.stringify(cost)}`);
console.log(
  JSON.stringify({
    bench: 'filters',
    nsPerEvent1: round(one.inside),
    nsPerEvent1Worst: round(one.worst),
    nsPerEvent1Wall: round(one.wall),
    nsPerEvent10: round(ten.inside),
    nsPerEvent10Worst: round(ten.worst),
    nsPerEvent10Wall: round(ten.wall),
    nsPerEvent100: round(all.inside),
    nsPerEvent100Wall: round(all.wall),
    swapMs: round(swapped.swapMs),
    swapMaxMs: round(swapped.swapMaxMs),
    compileMs: round(swapped.compileMs),
    batchMs: round(swapped.batchMs),
    batchBesideSwapMs: round(swapped.batchBesideSwapMs),
    lost: swapped.lost,
    judgedTwice: swapped.judgedTwice,
    plainJsonNs: round(js.json),
    plainObjectsNs: round(js.decoded),
    ratioToJson: round(js.json / one.inside),
    ratioToObjects: round(js.decoded / one.inside),
    fuelPercent: costs.simple.fuelPercent,
    fuelPercentStateful: costs.stateful.fuelPercent,
    depthPercent: costs.simple.depthPercent,
    nanPercent: costs.simple.nanPercent,
    copyPercent: costs.simple.copyPercent,
    copyNs: round(costs.simple.copyNs),
    // What the host does beside the copy and the call: what to judge, what of the answer is believed.
    beliefNs: round(one.inside - costs.simple.meteredNs - costs.simple.copyNs),
    watchdogPercent: round(watchdogPercent),
  }),
);
