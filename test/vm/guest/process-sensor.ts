// SPDX-License-Identifier: Apache-2.0
// Runs the process sensor (bpf/process.bpf.c) by itself for tests, on the host as in a guest, and reads its records.
// Of what it reads it keeps only what descends from the test's own process, and the account of sequence numbers.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type BpfLink,
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  openObject,
  type ProgramStats,
  RingReader,
} from '@weir/native';
import {
  type CloneRecord,
  EventKind,
  type ExecRecord,
  type ExitRecord,
  FailurePlace,
  KernelCounter,
  readCloneRecord,
  readExecRecord,
  readExitRecord,
  readRecordHeader,
  type Span,
} from '@weir/schema';

/** A record with its payloads, as text of one character a byte. */
export type ProcessRecord =
  | {
      readonly kind: 'exec';
      readonly record: ExecRecord;
      readonly binary: string;
      readonly arguments: string;
      readonly cwd: string;
      readonly cgroupName: string;
    }
  | { readonly kind: 'clone'; readonly record: CloneRecord; readonly cgroupName: string }
  | { readonly kind: 'exit'; readonly record: ExitRecord };

export type ExecEvent = Extract<ProcessRecord, { kind: 'exec' }>;
export type CloneEvent = Extract<ProcessRecord, { kind: 'clone' }>;
export type ExitEvent = Extract<ProcessRecord, { kind: 'exit' }>;

export const programNames = ['process_exec', 'process_clone', 'process_exit'] as const;
export type ProgramName = (typeof programNames)[number];

const drainBytes = 1024 * 1024;
const drainRecords = 8192;

/** Returns the path of a built object of bpf/, found by walking up: here, from a bundle, in the guest. */
export function bpfObjectPath(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const path = join(folder, 'bpf', 'build', name);
    if (existsSync(path)) return path;
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`bpf/build/${name} is not there: run make -C bpf`);
    folder = parent;
  }
}

function perCpuSum(map: BpfMap, index: number): bigint {
  const values = map.lookupPerCpu(new Uint8Array(Uint32Array.of(index).buffer)) ?? [];
  return values.reduce((sum, value) => sum + Buffer.from(value).readBigUInt64LE(), 0n);
}

export class ProcessSensor {
  readonly #object: BpfObject;
  readonly #maps: { readonly events: BpfMap; readonly counters: BpfMap; readonly failures: BpfMap };
  readonly #shared: Readonly<Record<string, BpfMap>>;
  readonly #programs: ReadonlyMap<ProgramName, BpfProgram>;
  readonly #reader: RingReader;
  readonly #target = new Uint8Array(drainBytes);
  readonly #offsets = new Uint32Array(drainRecords);
  readonly #descendants = new Set<number>([process.pid]);
  readonly #sequences = new Map<number, { count: bigint; highest: bigint }>();
  readonly #records: ProcessRecord[] = [];
  #links: BpfLink[] = [];

  constructor(options: { readonly ringBytes?: number } = {}) {
    this.#object = openObject({
      path: bpfObjectPath('process.bpf.o'),
      ...(options.ringBytes === undefined ? {} : { maxEntries: { events: options.ringBytes } }),
    }).load();
    this.#maps = {
      events: this.#object.map('events'),
      counters: this.#object.map('counters'),
      failures: this.#object.map('failures'),
    };
    const shared = ['events', 'counters', 'failures', 'process_states', 'scratch_claims', 'scratch_slots'];
    this.#shared = Object.fromEntries(shared.map((name) => [name, this.#object.map(name)]));
    this.#programs = new Map(programNames.map((name) => [name, this.#object.program(name)]));
    this.#reader = new RingReader(this.#maps.events, { onReady: () => {} });
    this.#reader.unref();
    this.attach();
  }

  attach(): void {
    // Clone first: else a child could be seen without its birth.
    for (const name of ['process_clone', 'process_exit', 'process_exec'] as const) {
      const program = this.#programs.get(name);
      if (program !== undefined) this.#links.push(program.attach());
    }
  }

  detach(): void {
    for (const link of this.#links) link.close();
    this.#links = [];
  }

  /** The maps that a further object must share; the caller closes none. */
  sharedMaps(): Readonly<Record<string, BpfMap>> {
    return this.#shared;
  }

  /** Reads what is there now, and returns all records so far of processes that this one made. */
  records(): readonly ProcessRecord[] {
    for (;;) {
      const result = this.#reader.drain(this.#target, 0, this.#offsets, drainRecords);
      for (let index = 0; index < result.records; index++) this.#take(this.#offsets[index] ?? 0);
      this.#reader.commit(result.position);
      if (!result.more) return this.#records;
    }
  }

  /** Forgets the records so far. */
  clear(): void {
    this.records();
    this.#records.length = 0;
  }

  counter(name: keyof typeof KernelCounter): bigint {
    return perCpuSum(this.#maps.counters, KernelCounter[name]);
  }

  /** Counts of failures above 0, by place. */
  failures(): Record<string, bigint> {
    const all = Object.entries(FailurePlace).map(
      ([name, index]) => [name, perCpuSum(this.#maps.failures, index)] as const,
    );
    return Object.fromEntries(all.filter(([, value]) => value > 0n));
  }

  /** Of all processes on the machine: records read, and sequence numbers that no record had. Drain before. */
  account(): { read: bigint; missing: bigint } {
    let read = 0n;
    let missing = 0n;
    for (const { count, highest } of this.#sequences.values()) {
      read += count;
      missing += highest + 1n - count;
    }
    return { read, missing };
  }

  stats(name: ProgramName): ProgramStats {
    const program = this.#programs.get(name);
    if (program === undefined) throw new Error(`there is no program ${name}`);
    return program.stats();
  }

  close(): void {
    this.detach();
    this.#reader.close();
    for (const program of this.#programs.values()) program.close();
    for (const map of [...Object.values(this.#maps), ...Object.values(this.#shared)]) map.close();
    this.#object.close();
  }

  #take(at: number): void {
    const target = this.#target;
    const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    const header = readRecordHeader(view, at);
    if (header.size % 8 !== 0) throw new Error(`a record of ${header.size} bytes`);
    const sequence = this.#sequences.get(header.cpu) ?? { count: 0n, highest: -1n };
    sequence.count += 1n;
    if (header.sequence > sequence.highest) sequence.highest = header.sequence;
    this.#sequences.set(header.cpu, sequence);

    const text = (span: Span): string =>
      Buffer.from(target.subarray(at + span.offset, at + span.offset + span.length)).toString('latin1');
    if (header.kind === EventKind.clone) {
      const record = readCloneRecord(view, at);
      if (!this.#descendants.has(record.parentPid)) {
        // A stranger has the number now.
        this.#descendants.delete(record.pid);
        return;
      }
      this.#descendants.add(record.pid);
      this.#records.push({ kind: 'clone', record, cgroupName: text(record.cgroupName) });
    } else if (header.kind === EventKind.exec) {
      if (!this.#descendants.has(header.pid)) return;
      const record = readExecRecord(view, at);
      this.#records.push({
        kind: 'exec',
        record,
        binary: text(record.binary),
        arguments: text(record.arguments),
        cwd: text(record.cwd),
        cgroupName: text(record.cgroupName),
      });
    } else if (header.kind === EventKind.exit) {
      if (!this.#descendants.has(header.pid)) return;
      this.#records.push({ kind: 'exit', record: readExitRecord(view, at) });
    } else {
      throw new Error(`a record of kind ${header.kind}`);
    }
  }
}
