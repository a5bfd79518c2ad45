// SPDX-License-Identifier: Apache-2.0
// Puts policies in force for a scenario, by the agent's own PolicySet, and reads the hook records of the processes
// that descend from the scenario's own.

import { HookKernel, PolicySet, readHostNamespaces } from '@weir/agent/policy';
import {
  type BpfLink,
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  openObject,
  RingReader,
} from '@weir/native';
import {
  ARGUMENT_BYTES,
  EventKind,
  HOOK_RECORD_BYTES,
  KernelCounter,
  limits,
  RecordFlag,
  readArgument,
  readCloneRecord,
  readHookRecord,
  readRecordHeader,
  sharedMapNames,
} from '@weir/schema';
import { bpfObjectPath } from './process-sensor.js';

export interface HookEventArgument {
  readonly type: number;
  readonly index: number;
  readonly flags: number;
  readonly value: bigint;
  /** One character a byte. */
  readonly payload: string;
}

export interface HookEvent {
  readonly pid: number;
  readonly timeNs: bigint;
  readonly sequence: bigint;
  readonly flags: number;
  readonly policyName: string;
  readonly symbol: string;
  readonly hookIndex: number;
  readonly selectorIndex: number;
  readonly action: number;
  readonly signal: number;
  readonly error: number;
  readonly arguments: readonly HookEventArgument[];
}

/** Kinds of the records that hooks make. */
const hookKinds: readonly number[] = [EventKind.kprobe, EventKind.lsm, EventKind.tracepoint];
const drainBytes = 1024 * 1024;
const drainRecords = 8192;
const sensorPrograms = ['process_clone', 'process_exit', 'process_exec'] as const;

/** The process sensor and a set of policies. `close` takes all out of the kernel. */
export class HookGuest {
  readonly policies: PolicySet;
  readonly #object: BpfObject;
  readonly #maps: Record<string, BpfMap>;
  readonly #programs: BpfProgram[] = [];
  readonly #links: BpfLink[] = [];
  readonly #kernel: HookKernel;
  readonly #reader: RingReader;
  readonly #target = new Uint8Array(drainBytes);
  readonly #offsets = new Uint32Array(drainRecords);
  readonly #descendants = new Set<number>([process.pid]);
  #events: HookEvent[] = [];

  constructor() {
    this.#object = openObject({ path: bpfObjectPath('process.bpf.o') }).load();
    this.#maps = Object.fromEntries(sharedMapNames.map((name) => [name, this.#object.map(name)]));
    for (const name of sensorPrograms) {
      const program = this.#object.program(name);
      this.#programs.push(program);
      this.#links.push(program.attach());
    }
    const events = this.#maps.events;
    if (events === undefined) throw new Error('there is no map of events');
    this.#reader = new RingReader(events, { onReady: () => {} });
    this.#reader.unref();
    this.#kernel = new HookKernel({ objectPath: bpfObjectPath('hook.bpf.o'), sharedMaps: this.#maps });
    this.policies = new PolicySet({
      kernel: this.#kernel,
      hostNamespaces: readHostNamespaces(),
      realPath: () => undefined,
    });
  }

  /** Reads what is there now, and takes the events of descendants so far. */
  take(): HookEvent[] {
    for (;;) {
      const result = this.#reader.drain(this.#target, 0, this.#offsets, drainRecords);
      for (let index = 0; index < result.records; index++) this.#read(this.#offsets[index] ?? 0);
      this.#reader.commit(result.position);
      if (!result.more) break;
    }
    const events = this.#events;
    this.#events = [];
    return events;
  }

  counter(name: keyof typeof KernelCounter): bigint {
    const key = new Uint8Array(Uint32Array.of(KernelCounter[name]).buffer);
    const values = this.#maps.counters?.lookupPerCpu(key) ?? [];
    return values.reduce((sum, value) => sum + Buffer.from(value).readBigUInt64LE(), 0n);
  }

  async close(): Promise<void> {
    await this.policies.close();
    this.#kernel.close();
    for (const link of this.#links) link.close();
    this.#reader.close();
    for (const program of this.#programs) program.close();
    for (const map of Object.values(this.#maps)) map.close();
    this.#object.close();
  }

  #read(at: number): void {
    const target = this.#target;
    const view = new DataView(target.buffer, target.byteOffset, target.byteLength);
    const header = readRecordHeader(view, at);
    if (header.kind === EventKind.clone) {
      if (this.#descendants.has(readCloneRecord(view, at).parentPid)) this.#descendants.add(header.pid);
      return;
    }
    const isHook = hookKinds.includes(header.kind);
    if (!isHook || !this.#descendants.has(header.pid) || header.pid === process.pid) return;
    const record = readHookRecord(view, at);
    const binding = this.policies.binding(record.bindingId);
    if (binding === undefined) throw new Error(`no policy has the binding ${record.bindingId}`);
    const first = at + HOOK_RECORD_BYTES;
    this.#events.push({
      pid: header.pid,
      timeNs: header.timeNs,
      sequence: header.sequence,
      flags: header.flags,
      policyName: binding.policyName,
      symbol: binding.symbol,
      hookIndex: binding.hookIndex,
      selectorIndex: record.selectorIndex,
      action: record.action,
      signal: record.actionSignal,
      error: record.actionError,
      arguments: Array.from(
        { length: Math.min(record.argumentCount, limits.arguments_per_hook) },
        (_, index) => {
          const {
            type,
            index: number,
            flags,
            value,
            payload,
          } = readArgument(view, first + index * ARGUMENT_BYTES);
          const bytes = target.subarray(at + payload.offset, at + payload.offset + payload.length);
          return { type, index: number, flags, value, payload: Buffer.from(bytes).toString('latin1') };
        },
      ),
    });
  }
}

/** Whether something of an event was not to be decided, or is cut. */
export function isWhole(event: HookEvent): boolean {
  return (event.flags & (RecordFlag.undecided | RecordFlag.truncated)) === 0;
}
