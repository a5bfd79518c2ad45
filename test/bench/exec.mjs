// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- exec`: what vfork, exec and exit of a small program cost beside a whole agent (alone, spool on, no
// policy), to without (`ratio`), and with the kernel programs of its process sensor alone (`kernelRatio`). With and without
// are measured in turns in one run; a ratio is the median of the rounds' ratios of the load's own processor time
// (kernel programs run in the task that they tell of, and other load on the machine does not count); of wall time,
// in which the agent's reading takes part too, beside it. What the agent itself used is `agentUs`, for each cycle.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AgentClient } from '@weir/agent/client';
import { enableProgramStats, openObject, RingReader, whyNothingLoads } from '@weir/native';
import { EventKind, KernelCounter, readRecordHeader } from '@weir/schema';

const tiny = process.argv.includes('--tiny');
const rounds = tiny ? 3 : 31;
const agentRounds = tiny ? 2 : 15;
const cycles = tiny ? 20 : 400;
const folder = dirname(fileURLToPath(import.meta.url));
const agentPath = join(folder, '../../agent/dist/main.js');
/** An agent that does not start, read or end in this time is broken. */
const agentMs = 60_000;
/** Ticks of /proc/pid/stat: USER_HZ is 100 on every Linux of ours. */
const usPerTick = 10_000;
const objectPath = join(folder, '../../bpf/build/process.bpf.o');
const programs = { clone: 'process_clone', exec: 'process_exec', exit: 'process_exit' };

const why = existsSync(objectPath) ? whyNothingLoads() : 'bpf/build is not built: run make -C bpf';
if (why !== undefined) {
  console.log(JSON.stringify({ bench: 'exec', skipped: why }));
  process.exit(0);
}

const scratch = mkdtempSync(join(tmpdir(), 'weir-bench-'));
const load = join(scratch, 'exec');
execFileSync('gcc', ['-O2', '-Wall', '-static', '-o', load, join(folder, 'exec.c')]);
const run = () => JSON.parse(execFileSync(load, [String(cycles), '/bin/true', '--a-typical', 'argument']));

const object = openObject({ path: objectPath }).load();
const events = object.map('events');
const counters = object.map('counters');
const reader = new RingReader(events, { onReady: () => {} });
const loaded = Object.fromEntries(
  Object.entries(programs).map(([kind, name]) => [kind, object.program(name)]),
);
const attach = () => Object.values(loaded).map((program) => program.attach());
const detach = (links) => {
  for (const link of links) link.close();
};

const counter = (name) =>
  counters
    .lookupPerCpu(new Uint8Array(Uint32Array.of(KernelCounter[name]).buffer))
    .reduce((sum, value) => sum + Number(Buffer.from(value).readBigUInt64LE()), 0);
const target = new Uint8Array(1024 * 1024);
const offsets = new Uint32Array(16384);
const bytes = { clone: [0, 0], exec: [0, 0], exit: [0, 0] };
const kinds = { [EventKind.clone]: 'clone', [EventKind.exec]: 'exec', [EventKind.exit]: 'exit' };
const drain = () => {
  const view = new DataView(target.buffer);
  for (let more = true; more; ) {
    const result = reader.drain(target, 0, offsets, offsets.length);
    for (let index = 0; index < result.records; index++) {
      const header = readRecordHeader(view, offsets[index]);
      const sum = bytes[kinds[header.kind]];
      sum[0] += 1;
      sum[1] += header.size;
    }
    reader.commit(result.position);
    more = result.more;
  }
};
const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
const rounded = (value, digits) => Number(value.toFixed(digits));

/** Measures without and with something in turns; which comes first alternates, so that a drift favours neither. */
const compare = async (rounds, withIt) => {
  const processorRatios = [];
  const wallRatios = [];
  const without = [];
  const beside = [];
  for (let round = 0; round < rounds; round++) {
    const measure = async (on) => (on ? await withIt() : run());
    const first = await measure(round % 2 === 0);
    const second = await measure(round % 2 !== 0);
    const [on, off] = round % 2 === 0 ? [first, second] : [second, first];
    processorRatios.push(on.processorNs / off.processorNs);
    wallRatios.push(on.wallNs / off.wallNs);
    without.push(off.processorNs / cycles / 1000);
    beside.push(on.processorNs / cycles / 1000);
  }
  return {
    ratio: rounded(median(processorRatios), 4),
    wallRatio: rounded(median(wallRatios), 4),
    processorUsWithout: rounded(median(without), 1),
    processorUsWith: rounded(median(beside), 1),
  };
};

run();
const kernel = await compare(rounds, () => {
  const links = attach();
  const result = run();
  detach(links);
  drain();
  return result;
});

const within = (work, what) =>
  Promise.race([
    work,
    new Promise((_, reject) =>
      setTimeout(() => reject(new Error(`the agent did not ${what}`)), agentMs).unref(),
    ),
  ]);
const agentTicks = (pid) => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
};
const agentUs = [];
let agentHandled = 0;
let agentLost = 0;
const besideAgent = await compare(agentRounds, async () => {
  const data = mkdtempSync(join(scratch, 'agent-'));
  const socket = join(data, 'agent.sock');
  const args = ['--data', join(data, 'data'), '--socket', socket, '--pin', 'none', '--node', 'bench'];
  const agent = spawn(process.execPath, [agentPath, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(agent, 'exit');
  try {
    let said = '';
    await within(
      new Promise((resolve, reject) => {
        agent.stderr.setEncoding('utf8').on('data', (text) => {
          said += text;
          if (/ready on/.test(said)) resolve();
        });
        ended.then(() => reject(new Error(`the agent ended: ${said}`)));
      }),
      'start',
    );
    const client = new AgentClient(socket);
    const atRest = agentTicks(agent.pid);
    const result = run();
    const { produced } = (await client.status()).events;
    // What it has still to read is of this round too.
    const all = async () => {
      for (;;) {
        const { events, losses } = await client.status();
        const lost = Object.values(losses).reduce((sum, count) => sum + count, 0);
        if (events.handled + lost >= produced) return { handled: events.handled, lost };
      }
    };
    const { handled, lost } = await within(all(), 'read all');
    agentUs.push(((agentTicks(agent.pid) - atRest) * usPerTick) / cycles);
    agentHandled += handled;
    agentLost += lost;
    return result;
  } finally {
    agent.kill('SIGTERM');
    await within(ended, 'end').catch((error) => {
      agent.kill('SIGKILL');
      throw error;
    });
    rmSync(data, { recursive: true });
  }
});

// Statistics cost time themselves, so they are taken apart.
const stats = enableProgramStats();
const links = attach();
const before = Object.entries(loaded).map(([kind, program]) => [kind, program.stats()]);
for (let round = 0; round < (tiny ? 1 : 5); round++) {
  run();
  drain();
}
const runNs = {};
for (const [kind, was] of before) {
  const now = loaded[kind].stats();
  runNs[kind] = Math.round(Number(now.runTimeNs - was.runTimeNs) / Number(now.runCount - was.runCount));
}
detach(links);
stats.close();
drain();

const read = Object.values(bytes).reduce((sum, [count]) => sum + count, 0);
const result = {
  bench: 'exec',
  ...besideAgent,
  goal: 1.05,
  agentUs: rounded(median(agentUs), 1),
  agentRounds,
  agentHandled,
  agentLost,
  kernelRatio: kernel.ratio,
  kernelWallRatio: kernel.wallRatio,
  kernelProcessorUsWithout: kernel.processorUsWithout,
  kernelProcessorUsWith: kernel.processorUsWith,
  kernelRounds: rounds,
  cyclesPerRound: cycles,
  runNs,
  bytesPerRecord: Object.fromEntries(
    Object.entries(bytes).map(([kind, [count, sum]]) => [kind, Math.round(sum / Math.max(1, count))]),
  ),
  produced: counter('produced'),
  lost: counter('ringFull') + counter('scratchBusy'),
  unaccounted: counter('produced') - counter('ringFull') - read,
};
reader.close();
for (const program of Object.values(loaded)) program.close();
events.close();
counters.close();
object.close();
rmSync(scratch, { recursive: true });
console.log(JSON.stringify(result));
