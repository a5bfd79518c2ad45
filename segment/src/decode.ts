// SPDX-License-Identifier: Apache-2.0
// Owns the turning of a record into a plain object: for JSON, the archive's rows and tests. A cold path: each call
// allocates. Text in it has the escapes of text.ts, so that the bytes can be had back.
import {
  ANNOTATION_BYTES,
  ANNOTATION_LABEL_BYTES,
  ARGUMENT_BYTES,
  type Argument,
  ArgumentType,
  actionNames,
  argumentFlagNames,
  argumentTypeNames,
  BINDING_ENTRY_BYTES,
  BPF_ARGUMENT_BYTES,
  type BpfArgument,
  CREDENTIAL_ARGUMENT_BYTES,
  type CredentialArgument,
  EventKind,
  eventKindNames,
  execFlagNames,
  HOOK_RECORD_BYTES,
  IMA_HASH_BYTES,
  lossStageNames,
  MODULE_ARGUMENT_BYTES,
  type ModuleArgument,
  PERF_EVENT_ARGUMENT_BYTES,
  type PerfEventArgument,
  POD_ENTRY_BYTES,
  PROCESS_ENTRY_BYTES,
  type ProcessEntry,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_KIND_AT,
  RecordFlag,
  type RecordHeader,
  readAlertRecord,
  readAnnotation,
  readAnnotationLabel,
  readArgument,
  readBindingEntry,
  readBpfArgument,
  readCloneRecord,
  readCredentialArgument,
  readExecRecord,
  readExitRecord,
  readHookRecord,
  readImaHash,
  readLossRecord,
  readModuleArgument,
  readPerfEventArgument,
  readPodEntry,
  readProcessEntry,
  readRecordHeader,
  readSocketArgument,
  readTamperRecord,
  readThrottleRecord,
  readUserNamespaceArgument,
  recordFlagNames,
  SOCKET_ARGUMENT_BYTES,
  type SocketArgument,
  type Span,
  severityNames,
  throttleScopeNames,
  USER_NAMESPACE_ARGUMENT_BYTES,
  type UserNamespaceArgument,
} from '@weir/schema';
import type { BatchReader } from './batch-reader.js';
import { bytesToText } from './text.js';

/** The CPU number of records that the agent makes itself. Their sequence is the boot-time clock, made to rise. */
export const AGENT_CPU = 0xffffffff;

export interface DecodedPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly containerId: string;
  readonly containerName: string;
  readonly imageId: string;
  readonly imageName: string;
  readonly workload: string;
  readonly workloadKind: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Nanoseconds since 1970, 0n where not known. */
  readonly containerStartUnixNs: bigint;
  readonly containerPid: number;
  readonly privileged: boolean;
  readonly maybeExecProbe: boolean;
}

/** Credentials, namespaces and file of a process, as in the batch. */
export type DecodedIdentity = Pick<
  ProcessEntry,
  | 'uid'
  | 'gid'
  | 'euid'
  | 'egid'
  | 'suid'
  | 'sgid'
  | 'fsuid'
  | 'fsgid'
  | 'auid'
  | 'securebits'
  | 'capPermitted'
  | 'capEffective'
  | 'capInheritable'
  | 'namespaces'
  | 'namespacePid'
  | 'execFlags'
  | 'inode'
  | 'links'
  | 'mode'
>;

export interface DecodedProcess extends DecodedIdentity {
  /** Its index in the batch, from 0. */
  readonly index: number;
  readonly execId: string;
  /** Empty where the parent is not known. */
  readonly parentExecId: string;
  readonly pid: number;
  readonly parentPid: number;
  readonly startNs: bigint;
  readonly execNs: bigint;
  /** When the execution began, nanoseconds since 1970. */
  readonly startTimeNs: bigint;
  readonly cgroupId: bigint;
  readonly flags: readonly string[];
  readonly referenceCount: number;
  readonly binary: string;
  readonly arguments: readonly string[];
  readonly cwd: string;
  readonly containerId: string;
  readonly userName: string;
  readonly environment: readonly string[];
  readonly pod: DecodedPod | undefined;
}

export interface DecodedBinding {
  readonly bindingId: number;
  readonly eventKind: number;
  readonly policyName: string;
  readonly policyNamespace: string;
  readonly functionName: string;
  readonly subsystem: string;
  readonly provider: string;
  readonly message: string;
  readonly tags: readonly string[];
  readonly argumentLabels: readonly string[];
}

export interface DecodedAnnotation {
  /** severity: "none" where no filter judged it. */
  readonly severity: string;
  readonly error: boolean;
  readonly message: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface DecodedArgument {
  /** argument_type. */
  readonly type: string;
  readonly typeNumber: number;
  readonly index: number;
  readonly label: string;
  readonly flags: readonly string[];
  readonly flagBits: number;
  readonly originalLength: number;
  /** As 64 bits without sign; `signedValue` is the same with it. */
  readonly value: bigint;
  readonly signedValue: bigint;
  readonly payload: Uint8Array;
  /** The payload as text, for types whose payload is text or bytes. */
  readonly text: string | undefined;
  readonly socket: SocketArgument | undefined;
  readonly credential: CredentialArgument | undefined;
  readonly userNamespace: UserNamespaceArgument | undefined;
  readonly bpf: BpfArgument | undefined;
  readonly perfEvent: PerfEventArgument | undefined;
  readonly module: ModuleArgument | undefined;
}

export interface DecodedExec extends DecodedIdentity {
  readonly parentStartNs: bigint;
  readonly parentPid: number;
  readonly argumentsOriginal: number;
  readonly binary: string;
  readonly arguments: readonly string[];
  readonly cwd: string;
  readonly cgroupName: string;
  readonly environment: readonly string[];
}

export interface DecodedHook {
  readonly bindingId: number;
  readonly binding: DecodedBinding | undefined;
  readonly selectorIndex: number;
  readonly action: string;
  readonly returnAction: string;
  readonly actionError: number;
  readonly actionSignal: number;
  readonly functionOffset: bigint;
  readonly undecidedTerms: number;
  readonly arguments: readonly DecodedArgument[];
  readonly data: readonly DecodedArgument[];
  readonly returnValue: DecodedArgument | undefined;
  readonly kernelStack: readonly bigint[];
  readonly userStack: readonly bigint[];
  /** Of the file that an LSM hook is about, as IMA has it. */
  readonly imaHash: ImaHashFacts | undefined;
}

export interface ImaHashFacts {
  /** The kernel's hash_algo. */
  readonly algorithm: number;
  readonly digest: Uint8Array;
}

/** That a throttle began or ended to hold events back. */
export interface ThrottleFacts {
  readonly type: 'start' | 'stop';
  readonly scope: string;
  readonly heldBack: bigint;
  readonly cgroupName: string;
  readonly policyName: string;
}

export interface DecodedRecord {
  readonly eventId: string;
  /** event_kind. */
  readonly kind: string;
  readonly kindNumber: number;
  readonly flags: readonly string[];
  readonly flagBits: number;
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint;
  readonly bootTimeNs: bigint;
  readonly cpu: number;
  readonly sequence: bigint;
  readonly pid: number;
  readonly tid: number;
  readonly startNs: bigint;
  readonly cgroupId: bigint;
  readonly process: DecodedProcess | undefined;
  readonly parent: DecodedProcess | undefined;
  readonly annotation: DecodedAnnotation | undefined;
  readonly exec?: DecodedExec;
  readonly clone?: {
    readonly parentStartNs: bigint;
    readonly parentPid: number;
    readonly namespacePid: number;
    readonly namespaces: readonly number[];
    readonly cgroupName: string;
  };
  readonly exit?: { readonly status: number; readonly signal: number };
  readonly hook?: DecodedHook;
  readonly loss?: { readonly stage: string; readonly count: bigint };
  readonly throttle?: ThrottleFacts;
  readonly alert?: { readonly causeSequence: bigint; readonly causeCpu: number; readonly severity: string };
  readonly tamper?: { readonly message: string };
}

/** The id of an execution: base64 of `node:exec_ns:pid`. */
export function execId(node: Uint8Array, execNs: bigint, pid: number): string {
  return Buffer.concat([node, Buffer.from(`:${execNs}:${pid}`)]).toString('base64');
}

/** The id of an event: boot id, CPU and sequence. */
export function eventId(bootId: string, cpu: number, sequence: bigint): string {
  return `${bootId}-${cpu}-${sequence}`;
}

/** Names of the bits that are set, lowest first; a bit without a name is `bit_<n>`. */
export function flagNames(bits: number, names: Readonly<Record<number, string>>): string[] {
  const set: string[] = [];
  for (let rest = bits | 0; rest !== 0; rest &= rest - 1) {
    const n = 31 - Math.clz32(rest & -rest);
    set.push(names[2 ** n] ?? `bit_${n}`);
  }
  return set;
}

function nameOf(value: number, names: Readonly<Record<number, string>>): string {
  return names[value] ?? String(value);
}

/** Splits at NUL bytes. A closing NUL ends the last string. @param closed every string is followed by NUL. */
function splitNul(bytes: Uint8Array, closed: boolean): string[] {
  if (bytes.length === 0) return [];
  const text = bytesToText(bytes).split('\0');
  if (closed && text.at(-1) === '') text.pop();
  return text;
}

function pairs(bytes: Uint8Array): Record<string, string> {
  const parts = splitNul(bytes, true);
  const entries: [string, string][] = [];
  for (let i = 0; i < parts.length; i += 2) entries.push([parts[i] ?? '', parts[i + 1] ?? '']);
  return Object.fromEntries(entries);
}

const textTypes: ReadonlySet<number> = new Set([
  ArgumentType.string,
  ArgumentType.charBuf,
  ArgumentType.charIovec,
  ArgumentType.constBuf,
  ArgumentType.filename,
  ArgumentType.fd,
  ArgumentType.file,
  ArgumentType.path,
  ArgumentType.dentry,
  ArgumentType.kiocb,
  ArgumentType.iovIter,
  ArgumentType.linuxBinprm,
  ArgumentType.dataLoc,
  ArgumentType.sockaddrUn,
  ArgumentType.netDevice,
]);

/** Payload structs by argument type: the key in {@link DecodedArgument}, the size, the reader. */
const structTypes: ReadonlyMap<number, readonly [string, number, (view: DataView, at: number) => unknown]> =
  new Map([
    [ArgumentType.sock, ['socket', SOCKET_ARGUMENT_BYTES, readSocketArgument] as const],
    [ArgumentType.socket, ['socket', SOCKET_ARGUMENT_BYTES, readSocketArgument] as const],
    [ArgumentType.skb, ['socket', SOCKET_ARGUMENT_BYTES, readSocketArgument] as const],
    [ArgumentType.sockaddr, ['socket', SOCKET_ARGUMENT_BYTES, readSocketArgument] as const],
    [ArgumentType.cred, ['credential', CREDENTIAL_ARGUMENT_BYTES, readCredentialArgument] as const],
    [
      ArgumentType.userNamespace,
      ['userNamespace', USER_NAMESPACE_ARGUMENT_BYTES, readUserNamespaceArgument] as const,
    ],
    [ArgumentType.bpfAttr, ['bpf', BPF_ARGUMENT_BYTES, readBpfArgument] as const],
    [ArgumentType.bpfMap, ['bpf', BPF_ARGUMENT_BYTES, readBpfArgument] as const],
    [ArgumentType.bpfProg, ['bpf', BPF_ARGUMENT_BYTES, readBpfArgument] as const],
    [ArgumentType.perfEvent, ['perfEvent', PERF_EVENT_ARGUMENT_BYTES, readPerfEventArgument] as const],
    [ArgumentType.loadInfo, ['module', MODULE_ARGUMENT_BYTES, readModuleArgument] as const],
    [ArgumentType.module, ['module', MODULE_ARGUMENT_BYTES, readModuleArgument] as const],
  ] as const);

/** Decodes the records of one batch; entries that many records share are decoded once. */
export class BatchDecoder {
  readonly batch: BatchReader;
  readonly node: string;
  readonly cluster: string;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** 32 hexadecimal digits. */
  readonly bootId: string;
  readonly #nodeBytes: Uint8Array;
  readonly #processes: (DecodedProcess | undefined)[] = [];
  readonly #pods: (DecodedPod | undefined)[] = [];
  readonly #bindings: (DecodedBinding | undefined)[] = [];

  constructor(batch: BatchReader) {
    this.batch = batch;
    this.#nodeBytes = batch.slice(batch.header.nodeName);
    this.node = bytesToText(this.#nodeBytes);
    this.cluster = bytesToText(batch.slice(batch.header.clusterName));
    this.nodeLabels = pairs(batch.slice(batch.header.nodeLabels));
    this.bootId = Buffer.from(batch.header.bootId).toString('hex');
  }

  #text(span: Span, base = 0): string {
    return span.length === 0 ? '' : bytesToText(this.batch.slice(span, base));
  }

  /** The process entry `index`, counted from 0. */
  process(index: number): DecodedProcess {
    let process = this.#processes[index];
    if (process === undefined) {
      process = this.#decodeProcess(index);
      this.#processes[index] = process;
    }
    return process;
  }

  #decodeProcess(index: number): DecodedProcess {
    const { batch } = this;
    const entry = readProcessEntry(batch.view, batch.header.processesAt + index * PROCESS_ENTRY_BYTES);
    const hasParent = entry.parentPid !== 0 || entry.parentExecNs !== 0n;
    return {
      ...entry,
      index,
      execId: execId(this.#nodeBytes, entry.execNs, entry.pid),
      parentExecId: hasParent ? execId(this.#nodeBytes, entry.parentExecNs, entry.parentPid) : '',
      startTimeNs: entry.execNs + batch.header.bootToUnixNs,
      flags: flagNames(entry.execFlags, execFlagNames),
      binary: this.#text(entry.binary),
      arguments: splitNul(batch.slice(entry.arguments), false),
      cwd: this.#text(entry.cwd),
      containerId: this.#text(entry.containerId),
      userName: this.#text(entry.userName),
      environment: splitNul(batch.slice(entry.environment), true),
      pod: entry.podIndex === 0 ? undefined : this.pod(entry.podIndex - 1),
    };
  }

  /** The pod entry `index`, counted from 0. */
  pod(index: number): DecodedPod {
    let pod = this.#pods[index];
    if (pod === undefined) {
      const { batch } = this;
      const entry = readPodEntry(batch.view, batch.header.podsAt + index * POD_ENTRY_BYTES);
      pod = {
        namespace: this.#text(entry.namespace),
        name: this.#text(entry.name),
        uid: this.#text(entry.uid),
        containerId: this.#text(entry.containerId),
        containerName: this.#text(entry.containerName),
        imageId: this.#text(entry.imageId),
        imageName: this.#text(entry.imageName),
        workload: this.#text(entry.workload),
        workloadKind: this.#text(entry.workloadKind),
        labels: pairs(batch.slice(entry.labels)),
        annotations: pairs(batch.slice(entry.annotations)),
        containerStartUnixNs: entry.containerStartUnixNs,
        containerPid: entry.containerPid,
        privileged: (entry.flags & 1) !== 0,
        maybeExecProbe: (entry.flags & 2) !== 0,
      };
      this.#pods[index] = pod;
    }
    return pod;
  }

  /** The binding entry `index`, counted from 0. */
  binding(index: number): DecodedBinding {
    let binding = this.#bindings[index];
    if (binding === undefined) {
      const { batch } = this;
      const entry = readBindingEntry(batch.view, batch.header.bindingsAt + index * BINDING_ENTRY_BYTES);
      binding = {
        bindingId: entry.bindingId,
        eventKind: entry.eventKind,
        policyName: this.#text(entry.policyName),
        policyNamespace: this.#text(entry.policyNamespace),
        functionName: this.#text(entry.functionName),
        subsystem: this.#text(entry.subsystem),
        provider: this.#text(entry.provider),
        message: this.#text(entry.message),
        tags: splitNul(batch.slice(entry.tags), true),
        argumentLabels: splitNul(batch.slice(entry.argumentLabels), true),
      };
      this.#bindings[index] = binding;
    }
    return binding;
  }

  /** Record `i`. @throws {RangeError} where there is none. */
  record(i: number): DecodedRecord {
    const { view } = this.batch;
    const at = this.batch.recordAt(i);
    const header = readRecordHeader(view, at);
    return {
      ...this.#common(header, at),
      ...this.#body(view.getUint16(at + RECORD_HEADER_KIND_AT, true), at),
    };
  }

  #common(header: RecordHeader, at: number): DecodedRecord {
    const annotation = this.batch.view.getUint32(at + RECORD_HEADER_ANNOTATION_AT, true);
    return {
      eventId: eventId(this.bootId, header.cpu, header.sequence),
      kind: nameOf(header.kind, eventKindNames),
      kindNumber: header.kind,
      flags: flagNames(header.flags, recordFlagNames),
      flagBits: header.flags,
      timeNs: header.timeNs + this.batch.header.bootToUnixNs,
      bootTimeNs: header.timeNs,
      cpu: header.cpu,
      sequence: header.sequence,
      pid: header.pid,
      tid: header.tid,
      startNs: header.startNs,
      cgroupId: header.cgroupId,
      process: header.processIndex === 0 ? undefined : this.process(header.processIndex - 1),
      parent: header.parentIndex === 0 ? undefined : this.process(header.parentIndex - 1),
      annotation: annotation === 0 ? undefined : this.#annotation(annotation),
    };
  }

  #body(kind: number, at: number): Partial<DecodedRecord> {
    const { view } = this.batch;
    switch (kind) {
      case EventKind.exec: {
        const record = readExecRecord(view, at);
        const exec: DecodedExec = {
          ...record,
          binary: this.#text(record.binary, at),
          arguments: splitNul(this.batch.slice(record.arguments, at), false),
          cwd: this.#text(record.cwd, at),
          cgroupName: this.#text(record.cgroupName, at),
          environment: splitNul(this.batch.slice(record.environment, at), true),
        };
        return { exec };
      }
      case EventKind.clone: {
        const { parentStartNs, parentPid, namespacePid, namespaces, cgroupName } = readCloneRecord(view, at);
        const name = this.#text(cgroupName, at);
        return { clone: { parentStartNs, parentPid, namespacePid, namespaces, cgroupName: name } };
      }
      case EventKind.exit: {
        const { status, signal } = readExitRecord(view, at);
        return { exit: { status, signal } };
      }
      case EventKind.loss: {
        const { stage, count } = readLossRecord(view, at);
        return { loss: { stage: nameOf(stage, lossStageNames), count } };
      }
      case EventKind.throttle: {
        const { type, scope, heldBack, cgroupName, policyName } = readThrottleRecord(view, at);
        return {
          throttle: {
            type: type === 1 ? 'start' : 'stop',
            scope: nameOf(scope, throttleScopeNames),
            heldBack,
            cgroupName: this.#text(cgroupName, at),
            policyName: this.#text(policyName, at),
          },
        };
      }
      case EventKind.alert: {
        const { causeSequence, causeCpu, severity } = readAlertRecord(view, at);
        return { alert: { causeSequence, causeCpu, severity: nameOf(severity, severityNames) } };
      }
      case EventKind.tamper:
        return { tamper: { message: this.#text(readTamperRecord(view, at).message, at) } };
      case EventKind.rateLimitInfo:
        return {};
      default:
        return { hook: this.#hook(at) };
    }
  }

  #hook(at: number): DecodedHook {
    const { view } = this.batch;
    const record = readHookRecord(view, at);
    const binding = record.bindingIndex === 0 ? undefined : this.binding(record.bindingIndex - 1);
    const all: DecodedArgument[] = [];
    for (let i = 0; i < record.argumentCount; i++) {
      const argument = readArgument(view, at + HOOK_RECORD_BYTES + i * ARGUMENT_BYTES);
      all.push(this.#argument(argument, at, binding?.argumentLabels[i] ?? ''));
    }
    const plain = all.length - record.dataCount - record.hasReturn;
    return {
      bindingId: record.bindingId,
      binding,
      selectorIndex: record.selectorIndex,
      action: nameOf(record.action, actionNames),
      returnAction: nameOf(record.returnAction, actionNames),
      actionError: record.actionError,
      actionSignal: record.actionSignal,
      functionOffset: record.functionOffset,
      undecidedTerms: record.undecidedTerms,
      arguments: all.slice(0, plain),
      data: all.slice(plain, plain + record.dataCount),
      returnValue: record.hasReturn === 0 ? undefined : all.at(-1),
      kernelStack: this.#stack(record.kernelStack, at),
      userStack: this.#stack(record.userStack, at),
      imaHash: (record.flags & RecordFlag.imaHash) === 0 ? undefined : this.#hash(at, record.size),
    };
  }

  #hash(at: number, size: number): ImaHashFacts | undefined {
    if (size < HOOK_RECORD_BYTES + IMA_HASH_BYTES) return undefined;
    const { algorithm, digest } = readImaHash(this.batch.view, at + size - IMA_HASH_BYTES);
    return { algorithm, digest: Uint8Array.from(digest) };
  }

  #stack(span: Span, at: number): bigint[] {
    const addresses: bigint[] = [];
    for (let i = 0; i + 8 <= span.length; i += 8) {
      addresses.push(this.batch.view.getBigUint64(at + span.offset + i, true));
    }
    return addresses;
  }

  #argument(argument: Argument, at: number, label: string): DecodedArgument {
    const payload = this.batch.slice(argument.payload, at);
    const decoded = {
      type: nameOf(argument.type, argumentTypeNames),
      typeNumber: argument.type,
      index: argument.index,
      label,
      flags: flagNames(argument.flags, argumentFlagNames),
      flagBits: argument.flags,
      originalLength: argument.originalLength,
      value: argument.value,
      signedValue: BigInt.asIntN(64, argument.value),
      payload,
      text: textTypes.has(argument.type) ? bytesToText(payload) : undefined,
      socket: undefined,
      credential: undefined,
      userNamespace: undefined,
      bpf: undefined,
      perfEvent: undefined,
      module: undefined,
    };
    const struct = structTypes.get(argument.type);
    if (struct === undefined) return decoded;
    const [key, bytes, read] = struct;
    if (payload.length < bytes) return decoded;
    return { ...decoded, [key]: read(this.batch.view, at + argument.payload.offset) };
  }

  #annotation(at: number): DecodedAnnotation {
    const { view } = this.batch;
    const entry = readAnnotation(view, at);
    const labels: [string, string][] = [];
    for (let i = 0; i < entry.labelCount; i++) {
      const label = readAnnotationLabel(view, at + ANNOTATION_BYTES + i * ANNOTATION_LABEL_BYTES);
      labels.push([this.#text(label.name), this.#text(label.value)]);
    }
    return {
      severity: nameOf(entry.severity, severityNames),
      error: entry.error !== 0,
      message: this.#text(entry.message),
      labels: Object.fromEntries(labels),
    };
  }
}

/** Decodes record `i` of a checked batch. For many records of one batch, a {@link BatchDecoder} is cheaper. */
export function decodeRecord(batch: BatchReader, i: number): DecodedRecord {
  return new BatchDecoder(batch).record(i);
}

/** What a throttle event says, in words. */
export function throttleText({ type, scope, cgroupName, policyName, heldBack }: ThrottleFacts): string {
  const whose = policyName === '' ? `cgroup=${cgroupName}` : `policy=${policyName}`;
  return `${type} by ${scope} ${whose}${type === 'stop' ? `, ${heldBack} events held back` : ''}`;
}
