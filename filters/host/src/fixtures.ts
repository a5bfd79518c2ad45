// SPDX-License-Identifier: Apache-2.0
// Owns modules and batches for the host's tests. The modules are written in WebAssembly's text form against the bare
// ABI, without the SDK, so that they can do what no SDK would let them.
import { FilterHost, type FilterHostOptions, type FilterReport, type FilterSource } from '@weir/filter-host';
import { ArgumentType, EventKind } from '@weir/schema';
import { BatchDecoder, BatchReader, BatchWriter, type DecodedRecord } from '@weir/segment';
import binaryen from 'binaryen';

export interface ModuleText {
  name: string;
  version?: string;
  failMode?: 'open' | 'closed';
  binds?: { kinds?: string[]; policies?: string[]; hooks?: string[]; labels?: string[] };
  labels?: string[];
  redacts?: string[];
  budget?: Record<string, number>;
  /** Body of weir_filter: `$call` is the address of the call; must leave an i32. */
  filter: string;
  /** Body of weir_start. */
  start?: string;
  /** Body of weir_reserve, `$bytes` given; must leave an i32. */
  reserve?: string;
  /** Further definitions. */
  rest?: string;
}

/** Locals and offsets that every body can use. */
const locals = '(local $i i32) (local $n i32) (local $v i32) (local $a i32)';

/** A loop over the records: `body` runs for each that is to be judged, with $i its index, $v the address of its verdict byte. */
export function eachRecord(body: string): string {
  return `
    (local.set $n (i32.load offset=8 (local.get $call)))
    (local.set $i (i32.load offset=16 (local.get $call)))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $i) (local.get $n)))
      (local.set $v (i32.add (i32.load offset=12 (local.get $call)) (local.get $i)))
      (if (i32.eqz (i32.load8_u (local.get $v))) (then
        (i32.store offset=16 (local.get $call) (local.get $i))
        ${body}))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))`;
}

/** Address of the record of $i. */
export const record = `(i32.add (i32.load (local.get $call)) (i32.load (i32.add (i32.add (i32.load (local.get $call)) (i32.load offset=16 (i32.load (local.get $call)))) (i32.shl (local.get $i) (i32.const 2)))))`;
/** The pid of the record of $i. */
export const pid = `(i32.load offset=32 ${record})`;

export function assembleModule(text: ModuleText): Uint8Array {
  const module = binaryen.parseText(`(module
    (import "weir" "log" (func $log (param i32 i32 i32)))
    (memory (export "memory") 40 64)
    (global $count (mut i32) (i32.const 0))
    ${text.rest ?? ''}
    (func (export "weir_abi_version") (result i32) (i32.const 1))
    ${text.start === undefined ? '' : `(func (export "weir_start") ${locals} ${text.start})`}
    (func (export "weir_reserve") (param $bytes i32) (result i32) ${text.reserve ?? '(i32.const 65536)'})
    (func (export "weir_filter") (param $call i32) (result i32) ${locals} ${text.filter}))`);
  module.setFeatures(binaryen.Features.All);
  const binary = module.emitBinary();
  module.dispose();
  const manifest = new TextEncoder().encode(
    JSON.stringify({
      abi: 1,
      name: text.name,
      version: text.version ?? '1.0.0',
      failMode: text.failMode ?? 'open',
      binds: text.binds ?? {},
      labels: text.labels ?? [],
      redacts: text.redacts ?? [],
      ...(text.budget === undefined ? {} : { budget: text.budget }),
    }),
  );
  const name = new TextEncoder().encode('weir.manifest');
  const length = 1 + name.length + manifest.length;
  const leb = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Uint8Array.from([...binary, 0, ...leb, name.length, ...name, ...manifest]);
}

export interface EventText {
  kind?: 'exec' | 'kprobe' | 'exit' | 'loss' | 'alert';
  pid: number;
  flags?: number;
  policy?: string;
  path?: string;
  /** Of its process, which it has then. */
  arguments?: readonly string[];
  timeNs?: bigint;
}

export function makeBatch(events: readonly EventText[]): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  const policies = new Map<string, number>();
  for (const [index, event] of events.entries()) {
    const process = event.arguments && {
      process: writer.process({ pid: event.pid, startNs: 1n, execNs: 1n, arguments: event.arguments }),
    };
    const common = {
      pid: event.pid,
      startNs: 1n,
      flags: event.flags ?? 0,
      timeNs: event.timeNs ?? 1_000_000_000n,
      sequence: BigInt(index),
      ...process,
    };
    const kind = event.kind ?? 'kprobe';
    if (kind === 'kprobe') {
      const policy = event.policy ?? 'files';
      let binding = policies.get(policy);
      if (binding === undefined) {
        binding = writer.binding({ bindingId: 1, eventKind: EventKind.kprobe, policyName: policy });
        policies.set(policy, binding);
      }
      writer.event({
        ...common,
        kind: EventKind.kprobe,
        binding,
        arguments: [{ type: ArgumentType.file, payload: event.path ?? '/etc/hosts' }],
      });
    } else if (kind === 'loss') writer.event({ ...common, kind: EventKind.loss, count: 3n });
    else if (kind === 'exec') writer.event({ ...common, kind: EventKind.exec });
    else if (kind === 'alert') writer.event({ ...common, kind: EventKind.alert });
    else writer.event({ ...common, kind: EventKind.exit });
  }
  return writer.finish();
}

/** A batch of events with these pids. */
export function pids(...numbers: number[]): Uint8Array {
  return makeBatch(numbers.map((number) => ({ pid: number })));
}

const hosts: FilterHost[] = [];

/** Closes what `start` has started. */
export async function closeHosts(): Promise<void> {
  for (const host of hosts.splice(0)) await host.close();
}

export interface Judged {
  verdicts: number[];
  records: DecodedRecord[];
  kept: number;
  dropped: number;
  heldBack: number;
  errors: number;
  annotationsLost: number;
  filterSet: number;
  alerts: { record: number; annotation: number }[];
}

export async function start(modules: readonly (ModuleText | Uint8Array)[], options: FilterHostOptions = {}) {
  const reports: FilterReport[] = [];
  const host = await FilterHost.create({ onReport: (report) => reports.push(report), ...options });
  hosts.push(host);
  const sources = modules.map(
    (one): FilterSource => ({ bytes: one instanceof Uint8Array ? one : assembleModule(one) }),
  );
  const set = await host.setFilters(sources);
  return { host, reports, set };
}

export async function judge(host: FilterHost, batch: Uint8Array): Promise<Judged> {
  const slot = await host.acquireWhenFree();
  slot.bytes.set(batch);
  const result = await host.run(slot, batch.length);
  const bytes = slot.bytes.slice(0, result.byteLength);
  const decoder = new BatchDecoder(new BatchReader(bytes));
  const view = new DataView(bytes.buffer);
  const judged: Judged = {
    ...result,
    verdicts: [...slot.verdicts.slice(0, result.recordCount)],
    records: Array.from({ length: result.recordCount }, (_, index) => decoder.record(index)),
    alerts: Array.from({ length: result.alertCount }, (_, index) => ({
      record: view.getUint32(result.alertsAt + index * 8, true),
      annotation: view.getUint32(result.alertsAt + index * 8 + 4, true),
    })),
  };
  host.release(slot);
  return judged;
}

export const dropVerdict = '(i32.store8 (local.get $v) (i32.const 1))';
export const done = '(i32.const 0)';
/** Drops events of odd pids. */
export const dropsOdd: ModuleText = {
  name: 'drops-odd',
  filter: `${eachRecord(`(i32.store8 (local.get $v) (i32.and ${pid} (i32.const 1)))`)} ${done}`,
};
export const dropsAll: ModuleText = { name: 'drops-all', filter: `${eachRecord(dropVerdict)} ${done}` };
/**
 * Never ends, and waits for memory at each turn: what time allows comes long before what fuel allows, on any machine. Of a
 * loop that does nothing, fast machines make all the turns that fuel pays for before the watchdog has looked a few times.
 */
export const runaway = `(loop $for
  (local.set $a (i32.add
    (i32.load (i32.and (local.get $a) (i32.const 0x1ffffc)))
    (i32.mul (local.get $a) (i32.const 1664525))))
  (i32.store (i32.and (local.get $a) (i32.const 0x1ffffc)) (i32.const 0x3c6ef35f))
  (br $for))`;
export const loops: ModuleText = { name: 'loops', filter: `${runaway} (i32.const 0)` };
/** Traps on events of pid 666. */
export const traps: ModuleText = {
  name: 'traps',
  filter: `${eachRecord(`(if (i32.eq ${pid} (i32.const 666)) (then (unreachable))) (if (i32.eq ${pid} (i32.const 1)) (then ${dropVerdict}))`)} ${done}`,
};

/** Writes one annotation at 1024 on the record of $i, with what the parts say, and tells the host of it. */
export function annotation(
  parts: {
    record?: string;
    severity?: number;
    alert?: number;
    labels?: number;
    labelsAt?: number;
    message?: [number, number];
    count?: number;
    at?: number;
  } = {},
): string {
  const at = parts.at ?? 1024;
  return `
    (i32.store (i32.const 1024) ${parts.record ?? '(local.get $i)'})
    (i32.store8 offset=4 (i32.const 1024) (i32.const ${parts.severity ?? 4}))
    (i32.store8 offset=5 (i32.const 1024) (i32.const ${parts.alert ?? 0}))
    (i32.store16 offset=6 (i32.const 1024) (i32.const ${parts.labels ?? 0}))
    (i32.store offset=8 (i32.const 1024) (i32.const ${parts.labelsAt ?? 2048}))
    (i32.store offset=16 (i32.const 1024) (i32.const ${parts.message?.[0] ?? 0}))
    (i32.store offset=20 (i32.const 1024) (i32.const ${parts.message?.[1] ?? 0}))
    (i32.store offset=20 (local.get $call) (i32.const ${parts.count ?? 1}))
    (i32.store offset=24 (local.get $call) (i32.const ${at}))`;
}

/** Writes a label at 2048: name and value as address and length. */
export function label(name: [number, number], value: [number, number], at = 2048): string {
  return [...name, ...value]
    .map((word, index) => `(i32.store offset=${index * 4} (i32.const ${at}) (i32.const ${word}))`)
    .join('\n');
}

export const EVERY = 7;

/** Counts all events that any version has seen, and drops each one at a multiple of EVERY. */
export function counting(version: string, more: Partial<ModuleText> = {}): ModuleText {
  return {
    name: 'counting',
    version,
    filter: `${eachRecord(`
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (if (i32.eqz (i32.rem_u (global.get $count) (i32.const ${EVERY}))) (then ${dropVerdict}))`)} ${done}`,
    rest: `
      (func (export "weir_state_save") (result i32)
        (i64.store (i32.const 2048) (i64.const 1))
        (i32.store (i32.const 2056) (i32.const 3000))
        (i32.store (i32.const 2060) (i32.const 4))
        (i32.store (i32.const 3000) (global.get $count))
        (i32.const 2048))
      (func (export "weir_state_restore") (param $at i32) (param $bytes i32) (result i32)
        (global.set $count (i32.load (local.get $at)))
        (i32.const 1))`,
    ...more,
  };
}
