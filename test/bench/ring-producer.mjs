// SPDX-License-Identifier: Apache-2.0
// The producer of the bench `ring`, in a process of its own so that its cost is not the agent's. Arguments: ids of
// the maps `events` and `counters`, path of the object, what to do: `setup`, `fill BYTES`, `flat MS` or
// `pace RATE MS`, and the lap to begin with. Prints what it wrote as JSON.
import { openMapById, openObject } from '@weir/native';
import {
  ArgumentType,
  EventKind,
  EXEC_RECORD_BYTES,
  EXIT_RECORD_BYTES,
  ExecFlag,
  HOOK_RECORD_BYTES,
  makeArgument,
  makeExecRecord,
  makeExitRecord,
  makeHookRecord,
  writeArgument,
  writeExecRecord,
  writeExitRecord,
  writeHookRecord,
} from '@weir/schema';

const [eventsId, countersId, objectPath, binding, action, ...numbers] = process.argv.slice(2);
const PROCESSES = 5000;
const PARENTS = 50;
const PER_LAP = PROCESSES * 10;
const PREPARED_BYTES = 512;
const started = 1_000_000_000_000n;

function strings(record, fixed, parts) {
  let end = fixed;
  for (const [name, text] of parts) {
    record[name] = { offset: end, length: text.length };
    end += text.length;
  }
  return Math.ceil(end / 8) * 8;
}

function put(bytes, index, fixedStart, fixedBytes, record, parts, write) {
  const at = index * PREPARED_BYTES;
  const view = new DataView(bytes.buffer, at + 8, PREPARED_BYTES - 8);
  record.size = strings(record, fixedBytes, parts);
  if (record.size > PREPARED_BYTES - 8) throw new Error(`a record has ${record.size} bytes`);
  write(view, record);
  let end = fixedBytes;
  for (const [, text] of parts) {
    bytes.set(Buffer.from(text), at + 8 + end);
    end += text.length;
  }
  new DataView(bytes.buffer).setUint32(at, record.size, true);
  new DataView(bytes.buffer).setUint32(at + 4, fixedStart ? 1 : 0, true);
}

const pidOf = (process) => 10_000 + process;
const parentPid = (process) => 100 + (process % PARENTS);
const header = (kind, pid, startNs) => ({ kind, pid, tid: pid, startNs, cgroupId: 42n });

function exec(bytes, index, pid, startNs, parent, fixedStart) {
  const record = makeExecRecord({
    ...header(EventKind.exec, pid, startNs),
    parentPid: parent,
    parentStartNs: started,
    uid: 1000,
    gid: 1000,
    euid: 1000,
    egid: 1000,
    auid: 4294967295,
    namespacePid: pid,
    execFlags: ExecFlag.execve,
    inode: 1234n,
    links: 1,
    mode: 0o100755,
  });
  put(
    bytes,
    index,
    fixedStart,
    EXEC_RECORD_BYTES,
    record,
    [
      ['binary', '/usr/bin/python3.11'],
      ['arguments', `${'--option=value\0'.repeat(14).slice(0, 199)}x`],
      ['cwd', '/srv/app'],
      ['cgroupName', 'app.service'],
    ],
    (view, r) => writeExecRecord(view, 0, r),
  );
}

function hook(bytes, index, pid, startNs, path) {
  const record = makeHookRecord({
    ...header(EventKind.kprobe, pid, startNs),
    bindingId: Number(binding),
    argumentCount: 1,
    action: 1,
  });
  const payloadAt = HOOK_RECORD_BYTES + 24;
  const at = index * PREPARED_BYTES;
  const view = new DataView(bytes.buffer, at + 8, PREPARED_BYTES - 8);
  record.size = Math.ceil((payloadAt + path.length) / 8) * 8;
  writeHookRecord(view, 0, record);
  writeArgument(
    view,
    HOOK_RECORD_BYTES,
    makeArgument({
      type: ArgumentType.file,
      originalLength: path.length,
      value: 0o100644n,
      payload: { offset: payloadAt, length: path.length },
    }),
  );
  bytes.set(Buffer.from(path), at + 8 + payloadAt);
  new DataView(bytes.buffer).setUint32(at, record.size, true);
}

/** PARENTS parents and PROCESSES execs that never change, then a lap: each process ends once and begins anew. */
function prepare() {
  const total = PARENTS + PROCESSES + PER_LAP;
  const bytes = new Uint8Array(total * PREPARED_BYTES);
  for (let parent = 0; parent < PARENTS; parent++) exec(bytes, parent, 100 + parent, started, 1, true);
  for (let process = 0; process < PROCESSES; process++) {
    exec(bytes, PARENTS + process, pidOf(process), started, parentPid(process), true);
  }
  let seed = 42;
  const random = (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const order = Array.from({ length: PROCESSES }, (_, index) => index);
  for (let index = PROCESSES - 1; index > 0; index--) {
    const other = random(index + 1);
    [order[index], order[other]] = [order[other], order[index]];
  }
  const ended = new Uint8Array(PROCESSES);
  let index = PARENTS + PROCESSES;
  for (const process of order) {
    const pid = pidOf(process);
    put(
      bytes,
      index++,
      false,
      EXIT_RECORD_BYTES,
      makeExitRecord(header(EventKind.exit, pid, started)),
      [],
      (view, r) => writeExitRecord(view, 0, r),
    );
    ended[process] = 1;
    exec(bytes, index++, pid, started + 1n, parentPid(process), false);
    for (let more = 0; more < 8; more++) {
      const other = random(PROCESSES);
      const startNs = started + BigInt(ended[other]);
      if (more === 3) exec(bytes, index++, pidOf(other), startNs, parentPid(other), false);
      else hook(bytes, index++, pidOf(other), startNs, `/srv/app/data/${other}/records/${random(1e6)}.json`);
    }
  }
  return { bytes, total };
}

const events = openMapById(Number(eventsId));
const counters = openMapById(Number(countersId));
const { bytes, total } = prepare();
const object = openObject({
  path: objectPath,
  reuseMaps: { events, counters },
  maxEntries: { prepared: total },
}).load();
const map = object.map('prepared');
const keys = new Uint8Array(Uint32Array.from({ length: total }, (_, index) => index).buffer);
map.updateBatch(keys, bytes, total);
const program = object.program('produce');
const results = object.map('results');

function run(count, first, base, cycle, lap, untilFull = 0) {
  program.testRun({
    context: new Uint8Array(Uint32Array.of(count, first, base, cycle, lap, untilFull).buffer),
  });
}
function result(index) {
  const value = new Uint8Array(8);
  results.lookup(new Uint8Array(Uint32Array.of(index).buffer), value);
  return Number(new DataView(value.buffer).getBigUint64(0, true));
}

const lap = Number(numbers.at(-1));
let done = 0;
/** Goes on in the lap. */
function lapOn(count, untilFull) {
  run(count, done, PARENTS + PROCESSES, PER_LAP, lap, untilFull);
  done += count;
}
const startMs = performance.now();
if (action === 'setup') run(PARENTS + PROCESSES, 0, 0, PARENTS + PROCESSES, 0);
else if (action === 'fill') {
  // Whole laps, so that the next run can go on behind them.
  for (let laps = Number(numbers[0]); laps > 0; laps--) lapOn(PER_LAP, 0);
} else if (action === 'flat') {
  const endMs = startMs + Number(numbers[0]);
  while (performance.now() < endMs) for (let part = 0; part < 10; part++) lapOn(PER_LAP / 10, 0);
} else if (action === 'pace') {
  const [rate, ms] = numbers.map(Number);
  // As many every two milliseconds as are due.
  const endMs = startMs + ms;
  while (performance.now() < endMs) {
    const due = Math.floor(((performance.now() - startMs) / 1000) * rate);
    if (due > done) lapOn(due - done, 0);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  if (done % PER_LAP !== 0) lapOn(PER_LAP - (done % PER_LAP), 0);
}
console.log(
  JSON.stringify({
    written: result(0),
    failed: result(1),
    laps: done / PER_LAP,
    ms: performance.now() - startMs,
  }),
);
