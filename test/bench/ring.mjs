// SPDX-License-Identifier: Apache-2.0
// What an event costs the agent, from the ring to the spool: the agent as it ships, with one filter that drops nine
// in ten, 5,000 live processes, 70 % hook events with a path, 20 % execs with 200 bytes of arguments, 10 % exits.
//
//   recordsPerSecond, cpuNsPerRecord   a ring that was filled before is drained
//   flatOut…                           the ring is filled as fast as a program can meanwhile
//   paced…                             200,000 a second
//   unaccounted                        numbered - handled - counted as lost, over all of it
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent, readConfig } from '@weir/agent';
import { buildFilter } from '@weir/filter-compile';
import { whyNothingLoads } from '@weir/native';

const reason = process.getuid?.() === 0 ? whyNothingLoads() : 'it needs root';
if (reason !== undefined) {
  console.log(JSON.stringify({ skipped: reason }));
  process.exit(0);
}
const tiny = process.argv.includes('--tiny');
const LAPS = tiny ? 1 : 16;
const FLAT_MS = tiny ? 200 : 3000;
const PACED_MS = tiny ? 500 : 5000;
const IDLE_MS = tiny ? 300 : 5000;
const RATE = 200_000;
const here = fileURLToPath(new URL('.', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'weir-bench-ring-'));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const source = join(folder, 'filter');
mkdirSync(source);
writeFileSync(
  join(source, 'filter.json'),
  JSON.stringify({ name: 'one-in-ten', version: '1.0.0', labels: [] }),
);
writeFileSync(
  join(source, 'filter.ts'),
  `import { drop, Event, keep, Verdict } from '@weir/filter-sdk';
export function filter(event: Event): Verdict {
  if (event.argument(0).path.startsWith('/etc/')) return keep();
  return event.process.pid % 10 == 0 ? keep() : drop();
}
`,
);
const filter = (await buildFilter({ source })).bytes;

const object = join(folder, 'ring.bpf.o');
const includes = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
execFileSync('clang', [
  '-g',
  '-O2',
  '-target',
  'bpf',
  '-mcpu=v3',
  `-I${includes}`,
  '-c',
  '-o',
  object,
  join(here, 'ring.bpf.c'),
]);

const ringBytes = tiny ? 32 * 1024 * 1024 : 512 * 1024 * 1024;
const parsed = readConfig([
  '--data',
  join(folder, 'data'),
  '--socket',
  join(folder, 'agent.sock'),
  '--ring-bytes',
  String(ringBytes),
  '--pin',
  'none',
  '--spool-bytes',
  String(8 * 1024 ** 3),
  '--node',
  'bench',
]);
const agent = await Agent.start(parsed.config, { agentId: 'bench', clusterName: 'bench', nodeLabels: {} });
await agent.desired.applyFilters([{ name: 'one-in-ten', bytes: filter }]);
const ids = [agent.sharedMaps.events.id, agent.sharedMaps.counters.id].map(String);
const producer = [join(here, 'ring-producer.mjs'), ...ids, object, '1'];
let lap = 0;

/** Runs the producer while this thread waits: nothing is drained meanwhile. */
function produceBlocked(...action) {
  const done = spawnSync(process.execPath, [...producer, ...action.map(String), String(lap)], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (done.status !== 0) throw new Error('the producer failed');
  const answer = JSON.parse(done.stdout);
  lap += answer.laps;
  return answer;
}
async function produce(...action) {
  const child = spawn(process.execPath, [...producer, ...action.map(String), String(lap)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  if (code !== 0) throw new Error('the producer failed');
  const answer = JSON.parse(text);
  lap += answer.laps;
  return answer;
}
/** Waits until all that was numbered was handled or has been lost. Returns the books of then, or of when it gave up. */
async function settled(limitMs) {
  const end = performance.now() + limitMs;
  for (;;) {
    await agent.pipeline.drained();
    const books = agent.books();
    const { produced, next, handled, lost } = books;
    const isSettled = agent.status().ring.pendingBytes === 0 && produced === next && handled + lost === next;
    if (isSettled || performance.now() >= end) return books;
    await sleep(20);
  }
}
function cpuNs(from) {
  const used = process.cpuUsage(from);
  return (used.user + used.system) * 1000;
}
/** Processor time of each thread, by its name: which part of the agent costs what. */
function threads() {
  const times = new Map();
  for (const id of readdirSync('/proc/self/task')) {
    try {
      const [, name, rest] = /\((.*)\) (.*)/.exec(readFileSync(`/proc/self/task/${id}/stat`, 'utf8'));
      const fields = rest.split(' ');
      times.set(`${name}/${id}`, (Number(fields[11]) + Number(fields[12])) * 1e7);
    } catch {
      // It has ended.
    }
  }
  return times;
}
function byThread(before, records) {
  const parts = [];
  for (const [name, ns] of threads()) {
    const spent = (ns - (before.get(name) ?? 0)) / records;
    if (spent >= 5) parts.push(`${name} ${spent.toFixed(0)}`);
  }
  return parts.join(', ');
}
async function measured(work) {
  const handled = agent.books().handled;
  const before = threads();
  const cpu = process.cpuUsage();
  const start = performance.now();
  const answer = await work();
  const records = agent.books().handled - handled;
  return {
    records,
    ms: performance.now() - start,
    cpuNs: cpuNs(cpu),
    answer,
    threads: byThread(before, records),
  };
}

produceBlocked('setup');
await settled(10_000);
// Once for the engine to compile what is hot.
produceBlocked('fill', tiny ? 1 : 8);
await settled(60_000);

const filled = produceBlocked('fill', LAPS);
const profile = process.argv.includes('--profile') ? new Session() : undefined;
if (profile !== undefined) {
  profile.connect();
  await profile.post('Profiler.enable');
  await profile.post('Profiler.start');
}
const drained = await measured(async () => {
  const before = agent.books().handled;
  agent.pipeline.pump();
  // Without looking meanwhile: that would cost more than what is measured.
  do await agent.pipeline.drained();
  while (agent.books().handled - before < filled.written);
});
console.log(
  `drained ${drained.records} records in ${drained.ms.toFixed(0)} ms; the ring had no room for ${filled.failed}; ns a record by thread: ${drained.threads}`,
);
if (profile !== undefined) {
  const answer = await profile.post('Profiler.stop');
  writeFileSync('ring.cpuprofile', JSON.stringify(answer.profile));
}
await settled(20_000);

const flat = await measured(async () => {
  const answer = await produce('flat', FLAT_MS);
  await settled(60_000);
  return answer;
});
console.log(
  `flat out: ${flat.records} handled, ${flat.answer.failed} without room, ${(flat.records / flat.answer.ms / 1000).toFixed(2)} M/s`,
);

const losses = () => Object.values(agent.losses).reduce((sum, count) => sum + count, 0);
const lostBefore = losses();
const paced = await measured(async () => {
  const answer = await produce('pace', RATE, PACED_MS);
  await settled(20_000);
  return answer;
});
await settled(20_000);
const pacedLost = losses() - lostBefore;

const idle = await measured(() => sleep(IDLE_MS));
// The node has processes of its own, of which there may be an event at any time.
const books = await settled(20_000);
const status = agent.status();
console.log(
  `losses ${JSON.stringify(status.losses)}, ${agent.pipeline.stats.records} in ${agent.pipeline.stats.batches} batches, dropped ${agent.pipeline.stats.dropped}, resident ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`,
);
await agent.close();
rmSync(folder, { recursive: true, force: true });
console.log(
  JSON.stringify({
    recordsPerSecond: Math.round((drained.records / drained.ms) * 1000),
    cpuNsPerRecord: Math.round(drained.cpuNs / drained.records),
    unaccounted: books.produced - books.handled - books.lost,
    flatOutRecordsPerSecond: Math.round((flat.records / flat.ms) * 1000),
    flatOutCpuNsPerRecord: Math.round(flat.cpuNs / flat.records),
    pacedLost,
    pacedCpuNsPerRecord: Math.round(paced.cpuNs / paced.records),
    idleCpuPercent: Number(((idle.cpuNs / 1e6 / idle.ms) * 100).toFixed(2)),
  }),
);
