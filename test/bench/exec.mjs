// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- exec`: what vfork, exec and exit of a small program cost with the process sensor attached, to
// without. Both are measured in turns in one run; the ratio is the median of the rounds' ratios of processor time
// (programs run in the task that they tell of, and other load on the machine does not count).
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { enableProgramStats, openObject, RingReader, whyNothingLoads } from '@weir/native';
import { EventKind, KernelCounter, readRecordHeader } from '@weir/schema';

const tiny = process.argv.includes('--tiny');
const rounds = tiny ? 3 : 31;
const cycles = tiny ? 20 : 400;
const folder = dirname(fileURLToPath(import.meta.url));
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

run();
const processorRatios = [];
const wallRatios = [];
const base = [];
const attached = [];
for (let round = 0; round < rounds; round++) {
  const measure = (withPrograms) => {
    if (!withPrograms) return run();
    const links = attach();
    const result = run();
    detach(links);
    drain();
    return result;
  };
  // Which comes first alternates, so that a drift of the machine favours neither.
  const first = measure(round % 2 === 0);
  const second = measure(round % 2 !== 0);
  const [on, off] = round % 2 === 0 ? [first, second] : [second, first];
  processorRatios.push(on.processorNs / off.processorNs);
  wallRatios.push(on.wallNs / off.wallNs);
  base.push(off.processorNs / cycles / 1000);
  attached.push(on.processorNs / cycles / 1000);
}

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
  ratio: rounded(median(processorRatios), 4),
  wallRatio: rounded(median(wallRatios), 4),
  goal: 1.05,
  rounds,
  cyclesPerRound: cycles,
  processorUsWithout: rounded(median(base), 1),
  processorUsWith: rounded(median(attached), 1),
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
