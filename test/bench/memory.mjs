// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- memory`: resident memory of the agent, all threads and child processes, as it ships: at rest, and the
// most under 200,000 events a second (70 % hooks with a path, 20 % execs, 10 % exits over 5,000 live processes, one
// filter that drops nine in ten, spool on).
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildFilter } from '@weir/filter-compile';
import { whyNothingLoads } from '@weir/native';

const tiny = process.argv.includes('--tiny');
const RATE = 200_000;
const LOAD_MS = tiny ? 500 : 20_000;
const REST_MS = tiny ? 300 : 10_000;
const here = fileURLToPath(new URL('.', import.meta.url));
const why = existsSync(join(here, '../../bpf/build/process.bpf.o'))
  ? whyNothingLoads()
  : 'bpf/build is not built';
if (why !== undefined) {
  console.log(JSON.stringify({ bench: 'memory', skipped: why }));
  process.exit(0);
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const folder = mkdtempSync(join(tmpdir(), 'weir-bench-memory-'));

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
  return event.process.pid % 10 == 0 ? keep() : drop();
}
`,
);
const module = join(folder, 'filter.wasm');
await buildFilter({ source, outFile: module });
const object = join(folder, 'ring.bpf.o');
const includes = `/usr/include/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`;
const flags = ['-g', '-O2', '-target', 'bpf', '-mcpu=v3', `-I${includes}`, '-c', '-o', object];
execFileSync('clang', [...flags, join(here, 'ring.bpf.c')]);

const agent = spawn(
  process.execPath,
  [
    join(here, 'support/agent-host.mjs'),
    module,
    ...[
      '--data',
      join(folder, 'data'),
      '--socket',
      join(folder, 'agent.sock'),
      '--pin',
      'none',
      '--node',
      'bench',
    ],
  ],
  { stdio: ['pipe', 'pipe', 'inherit'] },
);
const lines = createInterface({ input: agent.stdout })[Symbol.asyncIterator]();
const answer = async () => JSON.parse((await lines.next()).value);
const ask = () => {
  agent.stdin.write('\n');
  return answer();
};

/**
 * Resident bytes of a process and of all that it has started. The ring is mapped twice, one mapping behind the other, so
 * that a record never breaks off: its pages are there once, and are counted once (of a page that is mapped twice, Pss
 * counts half for each).
 */
function residentBytes(pid) {
  let sum = 0;
  try {
    let ring = false;
    for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
      if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) ring = line.endsWith('anon_inode:bpf-map');
      const found = /^(Rss|Pss): +(\d+) kB$/.exec(line);
      if (found?.[1] === (ring ? 'Pss' : 'Rss')) sum += Number(found[2]) * 1024;
    }
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const children = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
      for (const child of children === '' ? [] : children.split(' ')) sum += residentBytes(child);
    }
  } catch {
    // It has ended.
  }
  return sum;
}
const megabytes = (bytes) => Number((bytes / 1e6).toFixed(1));

let lap = 0;
async function produce(...action) {
  const args = [
    join(here, 'ring-producer.mjs'),
    String(ids.events),
    String(ids.counters),
    object,
    '1',
    ...action.map(String),
    String(lap),
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error('the producer failed');
  const done = JSON.parse(text);
  lap += done.laps;
  return done;
}

const ids = await answer();
await sleep(REST_MS);
const idle = residentBytes(agent.pid);
await produce('setup');
let most = residentBytes(agent.pid);
const sampler = setInterval(() => {
  most = Math.max(most, residentBytes(agent.pid));
}, 250);
const done = await produce('pace', RATE, LOAD_MS);
most = Math.max(most, residentBytes(agent.pid));
clearInterval(sampler);
const { books, losses } = await ask();
const lost = Object.values(losses).reduce((sum, count) => sum + count, 0);
await sleep(tiny ? 0 : 5000);
const after = residentBytes(agent.pid);
agent.stdin.end();
await once(agent, 'exit');
rmSync(folder, { recursive: true, force: true });
console.log(
  `${done.written} written in ${(done.ms / 1000).toFixed(1)} s, ${done.failed} without room; handled ${books.handled}; ${megabytes(after)} MB five seconds later`,
);
console.log(
  JSON.stringify({
    bench: 'memory',
    idleMB: megabytes(idle),
    loadMB: megabytes(most),
    recordsPerSecond: Math.round((done.written / done.ms) * 1000),
    handled: books.handled,
    lost,
    goals: { idleMB: 120, loadMB: 200 },
  }),
);
