// SPDX-License-Identifier: Apache-2.0
// What filters cost: ns an event in one simple filter and in ten stateful ones, copy of the batch included, against
// the same predicate in plain JavaScript on JSON and on objects; how long a swap takes in mid-stream, and that it
// loses nothing.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildFilter } from '@weir/filter-compile';
import { FilterHost } from '@weir/filter-host';
import { ArgumentType, EventKind } from '@weir/schema';
import { BatchWriter } from '@weir/segment';

const tiny = process.argv.includes('--tiny');
const RECORDS = 3000;
const ROUNDS = tiny ? 20 : 1000;
const SWAPS = tiny ? 4 : 40;

const simple = (version) => `
import { drop, Event, keep, Verdict } from '@weir/filter-sdk';
// ${version}
export function filter(event: Event): Verdict {
  const path = event.argument(0).path;
  if (path.startsWith('/proc/') || path.endsWith('.so')) return drop();
  return keep();
}
`;
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

const folder = await mkdtemp(join(tmpdir(), 'weir-bench-filters-'));
let built = 0;
async function build(name, version, source) {
  const path = join(folder, String(built++));
  await mkdir(path);
  await writeFile(join(path, 'filter.ts'), source);
  await writeFile(join(path, 'filter.json'), JSON.stringify({ name, version, labels: ['path'] }));
  return (await buildFilter({ source: path })).bytes;
}

/** Events of a node: paths of every sort, 64 processes with parents. */
function events() {
  const paths = [
    '/proc/self/status',
    '/usr/lib/x86_64-linux-gnu/libc.so',
    '/etc/passwd',
    '/var/log/app/today.log',
    '/home/u/project/src/main.c',
  ];
  return Array.from({ length: RECORDS }, (_, index) => ({
    process_kprobe: {
      process: {
        exec_id: `id-${index % 64}`,
        pid: 1000 + (index % 64),
        uid: 1000,
        cwd: '/home/u',
        binary: '/usr/bin/python3',
        arguments: 'server.py --port 8080',
        flags: 'execve',
        start_time: '2026-01-02T03:04:05.000000000Z',
        auid: 1000,
        parent_exec_id: 'p',
        refcnt: 2,
      },
      parent: {
        exec_id: 'p',
        pid: 900,
        uid: 0,
        cwd: '/',
        binary: '/usr/lib/systemd/systemd',
        arguments: '--user',
        flags: 'procFS',
        start_time: '2026-01-01T00:00:00.000000000Z',
        auid: 4294967295,
        refcnt: 70,
      },
      function_name: 'security_file_open',
      args: [{ file_arg: { path: paths[index % paths.length], permission: '-rw-r--r--' } }],
      action: 'KPROBE_ACTION_POST',
      policy_name: 'files',
    },
    node_name: 'node-1',
    time: '2026-01-02T03:04:06.000000000Z',
  }));
}

function batchOf(list) {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'bench' });
  const parent = writer.process({
    pid: 900,
    startNs: 9n,
    binary: '/usr/lib/systemd/systemd',
    arguments: ['--user'],
  });
  const processes = Array.from({ length: 64 }, (_, index) =>
    writer.process({
      pid: 1000 + index,
      startNs: BigInt(1000 + index),
      parentIndex: parent,
      binary: '/usr/bin/python3',
      arguments: ['server.py', '--port', '8080'],
      cwd: '/home/u',
    }),
  );
  const binding = writer.binding({
    eventKind: EventKind.kprobe,
    policyName: 'files',
    functionName: 'security_file_open',
  });
  for (const [index, event] of list.entries()) {
    writer.event({
      kind: EventKind.kprobe,
      pid: 1000 + (index % 64),
      timeNs: BigInt(index) * 1000n,
      process: processes[index % 64],
      parent,
      binding,
      arguments: [{ type: ArgumentType.file, payload: event.process_kprobe.args[0].file_arg.path }],
    });
  }
  return writer.finish();
}

async function judge(host, batch) {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  host.release(slot);
  return result;
}

const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];

/**
 * ns an event in the filters (their counters), and from hand-over to result. Medians over the batches: other work on
 * the machine stretches some batches many times over.
 */
async function measure(modules, batch) {
  const host = await FilterHost.create({ timeLimitMs: 1000 });
  await host.setFilters(modules.map((bytes) => ({ bytes })));
  const spent = () => host.status().reduce((sum, one) => sum + one.nanoseconds, 0);
  for (let round = 0; round < 20; round++) await judge(host, batch);
  const inside = [];
  const wall = [];
  let dropped = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const before = spent();
    const started = process.hrtime.bigint();
    dropped += (await judge(host, batch)).dropped;
    wall.push(Number(process.hrtime.bigint() - started) / RECORDS);
    inside.push((spent() - before) / RECORDS);
  }
  await host.close();
  return { inside: median(inside), wall: median(wall), dropped, count: ROUNDS * RECORDS };
}

/** The same predicate in plain JavaScript. */
function plain(texts) {
  const predicate = (event) => {
    const path = event.process_kprobe?.args[0]?.file_arg?.path ?? '';
    return path.startsWith('/proc/') || path.endsWith('.so');
  };
  const rounds = Math.max(3, ROUNDS / 20);
  const time = (work) => {
    const times = [];
    for (let round = 0; round < rounds; round++) {
      const started = process.hrtime.bigint();
      for (const one of work.list) if (predicate(work.event(one))) dropped++;
      times.push(Number(process.hrtime.bigint() - started) / work.list.length);
    }
    return median(times);
  };
  let dropped = 0;
  const json = time({ list: texts, event: (text) => JSON.parse(text) });
  const decoded = time({ list: texts.map((text) => JSON.parse(text)), event: (object) => object });
  return { json, decoded, dropped };
}

async function swaps(batch) {
  const modules = await Promise.all(
    [1, 2].map((version) => build('swapped', `1.0.${version}`, simple(version))),
  );
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
  await host.setFilters([{ bytes: modules[0] }]);
  let made = 0;
  let seen = 0;
  let swapping = true;
  const stream = async () => {
    while (swapping) {
      const result = await judge(host, batch);
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
  const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
  return {
    swapMs: median(times),
    compileMs: median(compiles),
    swapMaxMs: times.at(-1),
    made,
    lost: made - seen,
    judgedTwice: judged - made,
    moduleBytes: padded[0].length,
  };
}

const list = events();
const batch = batchOf(list);
const one = await measure([await build('simple', '1.0.0', simple(0))], batch);
const tenModules = [];
for (let index = 0; index < 10; index++)
  tenModules.push(await build(`stateful-${index}`, '1.0.0', stateful(index)));
const ten = await measure(tenModules, batch);
const js = plain(list.map((event) => JSON.stringify(event)));
const swapped = await swaps(batch);
await rm(folder, { recursive: true, force: true });

const round = (value) => Math.round(value * 100) / 100;
console.log(
  `batch: ${RECORDS} events, ${batch.length} bytes (${Math.round(batch.length / RECORDS)} an event); ${one.count} events judged, ${one.dropped} dropped`,
);
console.log(
  `swaps: ${SWAPS} of a module of ${swapped.moduleBytes} bytes in mid-stream, ${swapped.made} events`,
);
console.log(
  JSON.stringify({
    bench: 'filters',
    nsPerEvent1: round(one.inside),
    nsPerEvent1Wall: round(one.wall),
    nsPerEvent10: round(ten.inside),
    nsPerEvent10Wall: round(ten.wall),
    swapMs: round(swapped.swapMs),
    swapMaxMs: round(swapped.swapMaxMs),
    compileMs: round(swapped.compileMs),
    lost: swapped.lost,
    judgedTwice: swapped.judgedTwice,
    plainJsonNs: round(js.json),
    plainObjectsNs: round(js.decoded),
    ratioToJson: round(js.json / one.inside),
    ratioToObjects: round(js.decoded / one.inside),
  }),
);
