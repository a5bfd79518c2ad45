// SPDX-License-Identifier: Apache-2.0
// Brings policies into the kernel for scenarios, as the agent does, and reads the events of their hooks. The process
// sensor runs beside them, as it keeps what is known of processes up to date.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  HookKernel,
  type PolicyOutcome,
  PolicySet,
  type PolicySetOptions,
  readHostNamespaces,
} from '@weir/agent/policy';
import { type BpfLink, type BpfMap, type BpfObject, openObject, RingReader } from '@weir/native';
import { parsePolicies } from '@weir/policy';
import {
  ARGUMENT_BYTES,
  actionNames,
  EventKind,
  HOOK_RECORD_BYTES,
  IMA_HASH_BYTES,
  KernelCounter,
  RecordFlag,
  readArgument,
  readHookRecord,
  readImaHash,
  readRecordHeader,
  sharedMapNames,
} from '@weir/schema';
import { bpfObjectPath, programNames } from './process-sensor.js';

export interface HookEventArgument {
  readonly type: number;
  readonly index: number;
  readonly flags: number;
  /** Bytes before the payload was cut. */
  readonly original: number;
  readonly value: bigint;
  readonly text: string;
}

export interface HookEvent {
  readonly kind: number;
  readonly policy: string;
  readonly bindingId: number;
  readonly symbol: string;
  readonly pid: number;
  readonly timeNs: bigint;
  readonly flags: number;
  readonly selector: number;
  readonly action: string;
  readonly error: number;
  readonly signal: number;
  readonly undecided: number;
  /** How many of `args`, the last ones, are data. */
  readonly dataCount: number;
  readonly kernelStack: readonly bigint[];
  readonly userStack: readonly bigint[];
  /** Of the file that the hook is about: the kernel's number of the algorithm, and the digest in hexadecimal. */
  readonly imaHash: { readonly algorithm: number; readonly digest: string } | undefined;
  /** Of a place in a program: its offset in the file. */
  readonly offset: bigint;
  readonly args: readonly HookEventArgument[];
  /** What the call returned, where the event says it. */
  readonly returned: HookEventArgument | undefined;
  readonly returnAction: string;
}

/** Kinds of records that hooks make. */
const hookKinds = new Set<number>([
  EventKind.kprobe,
  EventKind.tracepoint,
  EventKind.loader,
  EventKind.uprobe,
  EventKind.lsm,
  EventKind.usdt,
]);
const drainBytes = 4 * 1024 * 1024;
const drainRecords = 32_768;

export class Hooks {
  readonly set: PolicySet;
  readonly #kernel: HookKernel;
  readonly #object: BpfObject;
  readonly #links: BpfLink[] = [];
  readonly #maps: Record<string, BpfMap>;
  readonly #ring: RingReader;
  readonly #target = new Uint8Array(drainBytes);
  readonly #offsets = new Uint32Array(drainRecords);
  #read = 0n;

  /** @param preventionPath another object than the one beside hook.bpf.o, for what keeps calls from taking effect */
  constructor(
    objectPath = bpfObjectPath('hook.bpf.o'),
    preventionPath?: string,
    options: Pick<PolicySetOptions, 'refusedActions'> = {},
  ) {
    this.#object = openObject({ path: bpfObjectPath('process.bpf.o') }).load();
    for (const name of programNames) {
      const program = this.#object.program(name);
      this.#links.push(program.attach());
      program.close();
    }
    this.#maps = Object.fromEntries(sharedMapNames.map((name) => [name, this.#object.map(name)]));
    this.#kernel = new HookKernel({
      objectPath,
      ...(preventionPath === undefined ? {} : { preventionPath }),
      sharedMaps: this.#maps,
    });
    this.set = new PolicySet({ kernel: this.#kernel, hostNamespaces: readHostNamespaces(), ...options });
    const events = this.#maps.events;
    if (events === undefined) throw new Error('there is no map events');
    this.#ring = new RingReader(events, { onReady: () => {} });
    this.#ring.unref();
  }

  /** Applies policies, given as text, and expects all to be loaded. */
  async apply(...texts: readonly string[]): Promise<PolicyOutcome[]> {
    const outcomes = await this.tryApply(...texts);
    for (const { name, state, reason } of outcomes) {
      if (state !== 'loaded') throw new Error(`${name} was refused: ${reason}`);
    }
    return outcomes;
  }

  tryApply(...texts: readonly string[]): Promise<PolicyOutcome[]> {
    return this.set.apply(texts.flatMap((text) => parsePolicies(text)));
  }

  /** The events of hooks since the last call. */
  events(): HookEvent[] {
    const events: HookEvent[] = [];
    const target = this.#target;
    const view = new DataView(target.buffer);
    for (;;) {
      const result = this.#ring.drain(target, 0, this.#offsets, drainRecords);
      for (let i = 0; i < result.records; i++) {
        const at = this.#offsets[i] ?? 0;
        this.#read++;
        const { kind } = readRecordHeader(view, at);
        if (hookKinds.has(kind)) events.push(this.#event(view, at));
      }
      this.#ring.commit(result.position);
      if (!result.more) return events;
    }
  }

  #event(view: DataView, at: number): HookEvent {
    const record = readHookRecord(view, at);
    const binding = this.set.binding(record.bindingId);
    const stack = ({ offset, length }: { readonly offset: number; readonly length: number }) =>
      Array.from({ length: length / 8 }, (_, n) => view.getBigUint64(at + offset + 8 * n, true));
    const all = Array.from({ length: record.argumentCount }, (_, n): HookEventArgument => {
      const argument = readArgument(view, at + HOOK_RECORD_BYTES + n * ARGUMENT_BYTES);
      const from = at + argument.payload.offset;
      return {
        type: argument.type,
        index: argument.index,
        flags: argument.flags,
        original: argument.originalLength,
        value: argument.value,
        text: Buffer.from(this.#target.subarray(from, from + argument.payload.length)).toString('latin1'),
      };
    });
    return {
      kind: record.kind,
      policy: binding?.policyName ?? `(unknown binding ${record.bindingId})`,
      bindingId: record.bindingId,
      symbol: binding?.symbol ?? '',
      pid: record.pid,
      timeNs: record.timeNs,
      flags: record.flags,
      selector: record.selectorIndex,
      action: actionNames[record.action] ?? String(record.action),
      error: record.actionError,
      signal: record.actionSignal,
      undecided: record.undecidedTerms,
      dataCount: record.dataCount,
      kernelStack: stack(record.kernelStack),
      userStack: stack(record.userStack),
      imaHash: (record.flags & RecordFlag.imaHash) === 0 ? undefined : this.#hash(view, at + record.size),
      offset: record.functionOffset,
      args: all.slice(0, all.length - record.hasReturn),
      returned: record.hasReturn === 1 ? all.at(-1) : undefined,
      returnAction: actionNames[record.returnAction] ?? String(record.returnAction),
    };
  }

  #hash(view: DataView, end: number) {
    const { algorithm, digest } = readImaHash(view, end - IMA_HASH_BYTES);
    return { algorithm, digest: Buffer.from(digest).toString('hex') };
  }

  /** Ids of the hooks' maps, by name: whoever has one can change what is in the kernel. */
  mapIds(): Record<string, number> {
    return this.#kernel.mapIds();
  }

  /** How many records of any kind were read. */
  get read(): bigint {
    return this.#read;
  }

  counter(name: keyof typeof KernelCounter): bigint {
    const values = this.#maps.counters?.lookupPerCpu(
      new Uint8Array(Uint32Array.of(KernelCounter[name]).buffer),
    );
    return (values ?? []).reduce((sum, value) => sum + Buffer.from(value).readBigUInt64LE(), 0n);
  }

  async close(): Promise<void> {
    await this.set.close();
    this.#kernel.close();
    this.#ring.close();
    for (const link of this.#links) link.close();
    for (const map of Object.values(this.#maps)) map.close();
    this.#object.close();
  }
}

/** Runs a body with hooks, and detaches them whatever comes. */
export async function withHooks(
  body: (hooks: Hooks) => Promise<void>,
  options: Pick<PolicySetOptions, 'refusedActions'> = {},
): Promise<void> {
  const hooks = new Hooks(undefined, undefined, options);
  try {
    await body(hooks);
  } finally {
    await hooks.close();
  }
}

const libraryFolder = join(bpfObjectPath('hook.bpf.o'), '../../../policy/library');

/** The names of all policies of the library. */
export function libraryNames(): string[] {
  return readdirSync(libraryFolder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/** A policy of the library, by its name. */
export function libraryPolicy(name: string): string {
  return readFileSync(join(libraryFolder, `${name}.yaml`), 'utf8');
}

/** A policy of one hook, as text. */
export function policyOf(
  name: string,
  call: string,
  args: readonly string[],
  selectors: readonly object[],
  options: readonly { readonly name: string; readonly value: string }[] = [],
): string {
  const isSyscall = call.startsWith('sys_');
  return JSON.stringify({
    apiVersion: 'cilium.io/v1alpha1',
    kind: 'TracingPolicy',
    metadata: { name },
    spec: {
      ...(options.length > 0 ? { options } : {}),
      kprobes: [
        {
          call,
          syscall: isSyscall,
          args: args.map((type, index) => ({ index, type })),
          selectors,
        },
      ],
    },
  });
}

/** A policy with the given lists of hooks, as text. */
export function policyWith(
  name: string,
  lists: Readonly<Record<string, readonly object[]>>,
  options: readonly { readonly name: string; readonly value: string }[] = [],
): string {
  return JSON.stringify({
    apiVersion: 'cilium.io/v1alpha1',
    kind: 'TracingPolicy',
    metadata: { name },
    spec: { ...(options.length > 0 ? { options } : {}), ...lists },
  });
}
