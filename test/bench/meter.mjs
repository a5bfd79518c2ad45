// SPDX-License-Identifier: Apache-2.0
// What metering costs: loops over the bytes of a path, recursion, and the example filters, metered and not, in
// percent (built by `npm run build:filters`); and how long a unit of fuel takes at worst, in both tiers of the engine.
import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fuelOf, meterModule } from '@weir/filter-meter';
import {
  ArgumentType,
  EventKind,
  FILTER_CALL_BATCH_AT_AT,
  FILTER_CALL_BATCH_BYTES_AT,
  FILTER_CALL_BYTES,
  FILTER_CALL_CURSOR_AT,
  FILTER_CALL_RECORD_COUNT_AT,
  FILTER_CALL_VERDICTS_AT_AT,
} from '@weir/schema';
import asc from 'assemblyscript/asc';
import { beginBatch } from './support/filter-events.mjs';

const tiny = process.argv.includes('--tiny');
const ROUNDS = tiny ? 4 : 60;
const FUEL = 1n << 50n;

const source = `
export function hash(at: i32, n: i32): u32 {
  let h: u32 = 2166136261;
  for (let i = 0; i < n; i++) { h ^= load<u8>(at + i); h *= 16777619; }
  return h;
}
export function lastSlash(at: i32, n: i32): i32 {
  for (let i = n - 1; i >= 0; i--) if (load<u8>(at + i) == 0x2f) return i;
  return -1;
}
export function contains(at: i32, n: i32, what: i32, length: i32): bool {
  for (let i = 0; i + length <= n; i++) {
    let j = 0;
    while (j < length && load<u8>(at + i + j) == load<u8>(what + j)) j++;
    if (j == length) return true;
  }
  return false;
}
function fibonacci(n: i32): i32 { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

export function runHash(at: i32, n: i32, times: i32): u32 {
  let s: u32 = 0; for (let t = 0; t < times; t++) s += hash(at, n); return s;
}
export function runLastSlash(at: i32, n: i32, times: i32): u32 {
  let s: u32 = 0; for (let t = 0; t < times; t++) s += lastSlash(at, n); return s;
}
export function runContains(at: i32, n: i32, times: i32): u32 {
  let s: u32 = 0; for (let t = 0; t < times; t++) s += u32(contains(at, n, at + n - 5, 5)); return s;
}
export function runFibonacci(at: i32, n: i32, times: i32): u32 {
  let s: u32 = 0; for (let t = 0; t < times; t++) s += fibonacci(12); return s;
}
export function sqrts(at: i32, n: i32, times: i32): f64 {
  let s: f64 = 1; for (let t = 0; t < times; t++) s = Math.sqrt(s + <f64>t) * 1.5 + 0.25; return s;
}
`;
/** Bodies of loops that make the most of a unit of fuel. */
const hogs = `
let x: i64 = 1; let y: i32 = 3;
function nothing(): void { y++; }
function again(n: i32): void { if (n > 0) again(n - 1); }
function other(): void { y--; }
let table: (() => void)[] = [nothing, other];
export function empty(n: i32): void { for (let i = 0; i < n; i++) y = i; }
export function divisions(n: i32): void { let v: i64 = 0x7fffffffffffffff; for (let i = 1; i < n; i++) v = v / (<i64>i | 3) + 0x7ffffffffff; x = v; }
export function remainders(n: i32): void { let v: i32 = 7; for (let i = 1; i < n; i++) v = 0x7fffffff % (v | 1) + i; y = v; }
export function roots(n: i32): void { let v: f64 = 2; for (let i = 0; i < n; i++) v = Math.sqrt(v) + 1.7; x = <i64>v; }
export function chase(n: i32): void { let p: i32 = 1; for (let i = 0; i < n; i++) p = (load<i32>(0x20000 + (p & 0x1ffffc)) + p * 1103515245 + 12345); y = p; }
export function scattered(n: i32): void { let p: u32 = 1; for (let i = 0; i < n; i++) { p = p * 1664525 + 1013904223; store<i32>(0x20000 + ((p >> 10) & 0x1ffffc), i); } }
export function calls(n: i32): void { for (let i = 0; i < n; i += 500) again(500); }
export function indirect(n: i32): void { for (let i = 0; i < n; i++) table[i & 1](); }
export function fills(n: i32): void { for (let i = 0; i < n; i += 100) memory.fill(0x20000, 1, 7); }
export function largeFills(n: i32): void { for (let i = 0; i < n; i += 10000) memory.fill(0x20000, 1, 0x300000); }
export function largeCopies(n: i32): void { for (let i = 0; i < n; i += 10000) memory.copy(0x20000, 0x200001, 0x1f0000); }
export function vectorRoots(n: i32): void { let v = f64x2.splat(2); for (let i = 0; i < n; i++) v = f64x2.add(f64x2.sqrt(v), f64x2.splat(1.7)); v128.store(0x20000, v); }
export function vectorQuotients(n: i32): void { let v = f64x2.splat(2); for (let i = 0; i < n; i++) v = f64x2.div(f64x2.splat(7.5), v); v128.store(0x20000, v); }
export function truncations(n: i32): void { let v: f64 = 7.5; for (let i = 0; i < n; i++) v = <f64>(<u32>v) + 1.5; x = <i64>v; }
/** Each reads a part of two lines of the cache that was just written to: no processor has that at hand. */
export function acrossLines(n: i32): void { let v: i32 = 1; for (let i = 0; i < n; i++) { store<i32>(0x2003d, v); v = load<i32>(0x2003e) + i; } y = v; }
export function grows(n: i32): void { for (let i = 0; i < n; i += 2000) memory.grow(0); }
`;

async function compile(text, pages) {
  let bytes;
  const { error, stderr } = await asc.main(
    [
      ...['a.ts', '--outFile', 'a.wasm', '-O3', '--runtime', 'stub'],
      ...['--initialMemory', String(pages), '--maximumMemory', '64', '--use', 'abort=', '--enable', 'simd'],
    ],
    {
      readFile: (name) => (name === 'a.ts' ? text : null),
      writeFile: (_, contents) => {
        bytes = contents;
      },
      listFiles: () => [],
    },
  );
  if (error !== null) throw new Error(stderr.toString());
  return bytes;
}

const instantiate = (bytes, imports = {}) => new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
const percent = (with_, without) => Math.round((with_ / without - 1) * 1000) / 10;
const round = (value) => Math.round(value * 100) / 100;

/** Runs variants of the same work in turn; ns for each, the best of the rounds: other work on the machine only adds. */
function compare(variants, work, count) {
  const best = {};
  for (let index = 0; index < ROUNDS; index++) {
    for (const [name, instance] of Object.entries(variants)) {
      if (instance.exports['weir.fuel'] !== undefined) fuelOf(instance).refill(FUEL);
      const started = process.hrtime.bigint();
      work(instance);
      const ns = Number(process.hrtime.bigint() - started) / count;
      if (index > ROUNDS / 4) best[name] = Math.min(best[name] ?? Number.POSITIVE_INFINITY, ns);
    }
  }
  return best;
}

const loopsModule = await compile(source, 2);
const loopVariants = {
  plain: instantiate(loopsModule),
  fuel: instantiate(meterModule(loopsModule, { measures: { depth: false, nan: false } })),
  depth: instantiate(meterModule(loopsModule, { measures: { fuel: false, nan: false } })),
  nan: instantiate(meterModule(loopsModule, { measures: { fuel: false, depth: false } })),
  all: instantiate(meterModule(loopsModule)),
};
const path = new TextEncoder().encode('/usr/lib/x86_64-linux-gnu/perl5/5.34/auto/List/Util/Util.so');
for (const { exports } of Object.values(loopVariants)) new Uint8Array(exports.memory.buffer).set(path, 1024);
const loops = {};
for (const [name, times] of [
  ['runHash', 20_000],
  ['runLastSlash', 50_000],
  ['runContains', 10_000],
  ['runFibonacci', 500],
  ['sqrts', 50_000],
]) {
  const ns = compare(loopVariants, ({ exports }) => exports[name](1024, path.length, times), times);
  loops[name] = {
    plainNs: round(ns.plain),
    meteredNs: round(ns.all),
    percent: percent(ns.all, ns.plain),
    fuelPercent: percent(ns.fuel, ns.plain),
    depthPercent: percent(ns.depth, ns.plain),
    nanPercent: percent(ns.nan, ns.plain),
  };
  console.log(`${name}: ${JSON.stringify(loops[name])}`);
}

// The example filters, on the bare ABI, over one batch of events of the kinds that they judge.
const RECORDS = 2000;
function batch() {
  const { writer, parent, processes, binding } = beginBatch();
  for (let index = 0; index < RECORDS; index++) {
    const common = {
      pid: 1000 + (index % 64),
      timeNs: BigInt(index) * 1_000_000n,
      process: processes[index % 64],
      parent,
    };
    if (index % 2 === 0) {
      writer.event({ ...common, kind: EventKind.exec, binary: '/usr/bin/python3', arguments: ['server.py'] });
    } else {
      const payload =
        index % 6 === 1 ? '/proc/self/status' : `/usr/lib/x86_64-linux-gnu/lib${index % 100}.so.6`;
      writer.event({
        ...common,
        kind: EventKind.kprobe,
        binding,
        arguments: [{ type: ArgumentType.file, payload }],
      });
    }
  }
  return writer.finish();
}

function prepare(bytes, events) {
  const instance = instantiate(bytes, { weir: { log() {} } });
  const { exports } = instance;
  if (exports['weir.fuel'] !== undefined) fuelOf(instance).refill(FUEL);
  exports.weir_start?.();
  const area = exports.weir_reserve(FILTER_CALL_BYTES + events.length + RECORDS + 64) >>> 0;
  return { exports, area };
}

/** Judges the whole batch, which is copied in once, so that only the filter is measured. */
function judge({ exports, area }, events) {
  const memory = new Uint8Array(exports.memory.buffer);
  const view = new DataView(exports.memory.buffer);
  const batchAt = area + FILTER_CALL_BYTES;
  const verdictsAt = batchAt + ((events.length + 7) & ~7);
  memory.fill(0, area, batchAt);
  memory.fill(0, verdictsAt, verdictsAt + RECORDS);
  memory.set(events, batchAt);
  view.setUint32(area + FILTER_CALL_BATCH_AT_AT, batchAt, true);
  view.setUint32(area + FILTER_CALL_BATCH_BYTES_AT, events.length, true);
  view.setUint32(area + FILTER_CALL_VERDICTS_AT_AT, verdictsAt, true);
  // A filter judges one event a call. The agent's loop lies within the module; one out here is the same for both.
  return () => {
    let answer = 0;
    for (let index = 0; index < RECORDS; index++) {
      view.setUint32(area + FILTER_CALL_CURSOR_AT, index, true);
      view.setUint32(area + FILTER_CALL_RECORD_COUNT_AT, index + 1, true);
      answer |= exports.weir_filter(area);
    }
    return answer;
  };
}

const built = join(dirname(fileURLToPath(import.meta.url)), '../../filters/examples/build');
const filters = {};
const events = batch();
for (const file of (await readdir(built)).filter((name) => name.endsWith('.wasm')).sort()) {
  const bytes = await readFile(join(built, file));
  const name = file.slice(0, -'.wasm'.length);
  const started = process.hrtime.bigint();
  const metered = meterModule(bytes);
  const rewriteMs = Number(process.hrtime.bigint() - started) / 1e6;
  const variants = { plain: prepare(bytes, events), all: prepare(metered, events) };
  let answer = 0;
  const ns = compare(
    variants,
    (instance) => {
      const call = judge(instance, events);
      answer |= call();
    },
    RECORDS,
  );
  const fuel = fuelOf(variants.all);
  fuel.refill(FUEL);
  judge(variants.all, events)();
  filters[name] = {
    plainNs: round(ns.plain),
    meteredNs: round(ns.all),
    percent: percent(ns.all, ns.plain),
    unitsPerEvent: Math.round(Number(FUEL - fuel.remaining) / RECORDS),
    bytes: bytes.length,
    meteredBytes: metered.length,
    rewriteMs: round(rewriteMs),
    answer,
  };
  console.log(`${name}: ${JSON.stringify(filters[name])}`);
}

// How long a unit takes at worst. A process of its own for each tier.
const hogModule = meterModule(await compile(hogs, 64));
const script = `
  const bytes = Buffer.from(require('node:fs').readFileSync(0, 'utf8'), 'base64');
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { abort() {} } });
  const result = {};
  for (const name of Object.keys(exports)) {
    if (typeof exports[name] !== 'function' || name === '_start') continue;
    let best = Infinity;
    for (let round = 0; round < ${tiny ? 2 : 8}; round++) {
      exports['weir.fuel'].value = 1n << 50n;
      // Processor time: what else the machine does is not the unit's.
      const started = process.cpuUsage();
      exports[name](${tiny ? 20_000 : 2_000_000});
      const { user, system } = process.cpuUsage(started);
      const ns = (user + system) * 1000;
      best = Math.min(best, ns / Number((1n << 50n) - exports['weir.fuel'].value));
    }
    result[name] = Math.round(best * 1000) / 1000;
  }
  console.log(JSON.stringify(result));
`;
const perUnit = {};
for (const [tier, flags] of [
  ['baseline', ['--liftoff', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering']],
  ['optimised', ['--no-liftoff', '--no-wasm-lazy-compilation']],
]) {
  const input = Buffer.from(hogModule).toString('base64');
  perUnit[tier] = JSON.parse(
    execFileSync(process.execPath, [...flags, '-e', script], { input, encoding: 'utf8' }),
  );
  console.log(`ns a unit, ${tier}: ${JSON.stringify(perUnit[tier])}`);
}

console.log(
  JSON.stringify({
    bench: 'meter',
    rounds: ROUNDS,
    loopPercent: loops.runHash.percent,
    loops,
    filters,
    nsPerUnitMax: {
      baseline: Math.max(...Object.values(perUnit.baseline)),
      optimised: Math.max(...Object.values(perUnit.optimised)),
    },
  }),
);
