// SPDX-License-Identifier: Apache-2.0
// Owns the writing of a batch from described events. This is the cold path: tests, fixtures, and what the agent
// says itself (losses, tampering). The agent's join lays drained records out without it.
import {
  ALERT_RECORD_BYTES,
  type AlertRecord,
  ANNOTATION_BYTES,
  ANNOTATION_LABEL_BYTES,
  ARGUMENT_BYTES,
  BATCH_HEADER_BYTES,
  BINDING_ENTRY_BYTES,
  type BindingEntry,
  BPF_ARGUMENT_BYTES,
  type BpfArgument,
  CLONE_RECORD_BYTES,
  type CloneRecord,
  CREDENTIAL_ARGUMENT_BYTES,
  type CredentialArgument,
  EventKind,
  EXEC_RECORD_BYTES,
  EXIT_RECORD_BYTES,
  type ExecRecord,
  type ExitRecord,
  HOOK_RECORD_BYTES,
  type HookRecord,
  IMA_HASH_BYTES,
  LOSS_RECORD_BYTES,
  type LossRecord,
  makeAlertRecord,
  makeAnnotation,
  makeArgument,
  makeBatchHeader,
  makeBindingEntry,
  makeBpfArgument,
  makeCloneRecord,
  makeCredentialArgument,
  makeExecRecord,
  makeExitRecord,
  makeHookRecord,
  makeImaHash,
  makeLossRecord,
  makePodEntry,
  makeProcessEntry,
  makeRecordHeader,
  makeSocketArgument,
  makeTamperRecord,
  makeThrottleRecord,
  POD_ENTRY_BYTES,
  type PodEntry,
  PROCESS_ENTRY_BYTES,
  type ProcessEntry,
  RECORD_HEADER_ANNOTATION_AT,
  RECORD_HEADER_BYTES,
  RecordFlag,
  type RecordHeader,
  SOCKET_ARGUMENT_BYTES,
  type SocketArgument,
  type Span,
  TAMPER_RECORD_BYTES,
  THROTTLE_RECORD_BYTES,
  type ThrottleRecord,
  writeAlertRecord,
  writeAnnotation,
  writeAnnotationLabel,
  writeArgument,
  writeBatchHeader,
  writeBindingEntry,
  writeBpfArgument,
  writeCloneRecord,
  writeCredentialArgument,
  writeExecRecord,
  writeExitRecord,
  writeHookRecord,
  writeImaHash,
  writeLossRecord,
  writePodEntry,
  writeProcessEntry,
  writeRecordHeader,
  writeSocketArgument,
  writeTamperRecord,
  writeThrottleRecord,
} from '@weir/schema';
import { BATCH_MAGIC, BATCH_VERSION } from './batch-reader.js';
import { SegmentError } from './error.js';
import { BATCH_BYTES_MAX } from './limits.js';
import { textToBytes } from './text.js';

/** Text (with the escapes of text.ts) or bytes. */
export type Text = string | Uint8Array;

type SpanNames<T> = { [K in keyof T]: T[K] extends Span ? K : never }[keyof T];
/** The fields of a struct without its spans. */
type Plain<T> = Partial<Omit<T, SpanNames<T>>>;
type HeaderOnly = 'size' | 'kind' | 'processIndex' | 'parentIndex' | 'annotation';
type Common<T> = Omit<Plain<T>, HeaderOnly | 'argumentCount' | 'dataCount' | 'hasReturn' | 'bindingIndex'>;

export interface BatchDescription {
  bootId?: Uint8Array;
  bootToUnixNs?: bigint;
  batchSequence?: bigint;
  releaseSequence?: number;
  node?: Text;
  cluster?: Text;
  nodeLabels?: Readonly<Record<string, Text>>;
}

export interface ProcessDescription extends Omit<Plain<ProcessEntry>, 'reserved'> {
  binary?: Text;
  arguments?: readonly Text[];
  cwd?: Text;
  containerId?: Text;
  userName?: Text;
  environment?: readonly Text[];
}

export interface PodDescription extends Plain<PodEntry> {
  namespace?: Text;
  name?: Text;
  uid?: Text;
  containerId?: Text;
  containerName?: Text;
  imageId?: Text;
  imageName?: Text;
  workload?: Text;
  workloadKind?: Text;
  labels?: Readonly<Record<string, Text>>;
  annotations?: Readonly<Record<string, Text>>;
}

export interface BindingDescription extends Plain<BindingEntry> {
  policyName?: Text;
  policyNamespace?: Text;
  functionName?: Text;
  subsystem?: Text;
  provider?: Text;
  message?: Text;
  tags?: readonly Text[];
  argumentLabels?: readonly Text[];
}

export interface AnnotationDescription {
  severity?: number;
  error?: boolean;
  message?: Text;
  labels?: Readonly<Record<string, Text>>;
}

export interface ArgumentDescription {
  type: number;
  index?: number;
  flags?: number;
  originalLength?: number;
  payload?: Text;
  value?: bigint;
}

/** What any event can say besides its own: indices are 1 + index, as `process()` and its like return them. */
interface Joined {
  process?: number;
  parent?: number;
  annotation?: AnnotationDescription;
}

export interface ExecDescription extends Common<ExecRecord>, Joined {
  kind: typeof EventKind.exec;
  binary?: Text;
  arguments?: readonly Text[];
  cwd?: Text;
  cgroupName?: Text;
  environment?: readonly Text[];
}
export interface CloneDescription extends Common<CloneRecord>, Joined {
  kind: typeof EventKind.clone;
  cgroupName?: Text;
}
export interface ExitDescription extends Common<ExitRecord>, Joined {
  kind: typeof EventKind.exit;
}
export type HookKind =
  | typeof EventKind.kprobe
  | typeof EventKind.tracepoint
  | typeof EventKind.loader
  | typeof EventKind.uprobe
  | typeof EventKind.lsm
  | typeof EventKind.usdt;
export interface HookDescription extends Common<HookRecord>, Joined {
  kind: HookKind;
  /** 1 + index of the binding entry, as `binding()` returns it. */
  binding?: number;
  arguments?: readonly ArgumentDescription[];
  data?: readonly ArgumentDescription[];
  returnValue?: ArgumentDescription;
  kernelStack?: readonly bigint[];
  userStack?: readonly bigint[];
  imaHash?: { readonly algorithm: number; readonly digest: Uint8Array };
}
export interface LossDescription extends Omit<Common<LossRecord>, 'reserved'>, Joined {
  kind: typeof EventKind.loss;
}
export interface ThrottleDescription extends Common<ThrottleRecord>, Joined {
  kind: typeof EventKind.throttle;
  cgroupName?: Text;
  policyName?: Text;
}
export interface AlertDescription extends Common<AlertRecord>, Joined {
  kind: typeof EventKind.alert;
}
export interface TamperDescription extends Common<RecordHeader>, Joined {
  kind: typeof EventKind.tamper;
  message?: Text;
}
export interface RateLimitDescription extends Common<RecordHeader>, Joined {
  kind: typeof EventKind.rateLimitInfo;
}

export type EventDescription =
  | ExecDescription
  | CloneDescription
  | ExitDescription
  | HookDescription
  | LossDescription
  | ThrottleDescription
  | AlertDescription
  | TamperDescription
  | RateLimitDescription;

/** An event with the numbers of its entries in place of what it was given by. */
type Placed<E> = E extends EventDescription
  ? Omit<E, keyof Joined> & { processIndex: number; parentIndex: number }
  : never;

function bytesOf(text: Text): Uint8Array {
  return typeof text === 'string' ? textToBytes(text) : text;
}

/** Joins strings with NUL between them, and after the last where `closed`. */
function joinNul(parts: readonly Text[], closed: boolean): Uint8Array {
  const bytes = parts.map(bytesOf);
  const length = bytes.reduce((sum, part) => sum + part.length + 1, 0);
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of bytes) {
    joined.set(part, at);
    at += part.length + 1;
  }
  return closed ? joined : joined.subarray(0, Math.max(0, length - 1));
}

function pairs(record: Readonly<Record<string, Text>>): Uint8Array {
  return joinNul(Object.entries(record).flat(), true);
}

/** The payload of a `sock`, `socket`, `skb` or `sockaddr` argument. */
export function socketPayload(fields: Partial<SocketArgument>): Uint8Array {
  return struct(SOCKET_ARGUMENT_BYTES, (view) => writeSocketArgument(view, 0, makeSocketArgument(fields)));
}

/** The payload of a `cred` argument. */
export function credentialPayload(fields: Partial<CredentialArgument>): Uint8Array {
  return struct(CREDENTIAL_ARGUMENT_BYTES, (view) =>
    writeCredentialArgument(view, 0, makeCredentialArgument(fields)),
  );
}

/** The payload of a `bpf_attr`, `bpf_prog` or `bpf_map` argument. */
export function bpfPayload(fields: Partial<BpfArgument>): Uint8Array {
  return struct(BPF_ARGUMENT_BYTES, (view) => writeBpfArgument(view, 0, makeBpfArgument(fields)));
}

function struct(bytes: number, write: (view: DataView) => void): Uint8Array {
  const result = new Uint8Array(bytes);
  write(new DataView(result.buffer));
  return result;
}

/** Bytes that grow by doubling. */
class Growing {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(4096);
  view = new DataView(this.bytes.buffer);
  length = 0;

  /** Takes `count` zero bytes, on the next multiple of `align`, and says where. */
  take(count: number, align = 1): number {
    const at = Math.ceil(this.length / align) * align;
    const end = at + count;
    if (end > BATCH_BYTES_MAX) {
      throw new SegmentError('too-large', 'batch', `would have ${end} bytes; ${BATCH_BYTES_MAX} is the most`);
    }
    if (end > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(end, this.bytes.length * 2));
      bytes.set(this.bytes.subarray(0, this.length));
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    this.length = end;
    return at;
  }

  /** Appends bytes; the span counts from `base`. */
  append(bytes: Uint8Array, base = 0, align = 1): Span {
    if (bytes.length === 0) return { offset: 0, length: 0 };
    const at = this.take(bytes.length, align);
    this.bytes.set(bytes, at);
    return { offset: at - base, length: bytes.length };
  }
}

/**
 * Builds one batch. Processes, pods and bindings are described first and answer with the number by which events
 * name them; events follow in the order in which they are to stand.
 * @example
 * const writer = new BatchWriter({ node: 'n1', cluster: 'c1', bootId });
 * const shell = writer.process({ pid: 7, startNs: 1n, execNs: 1n, binary: '/bin/sh' });
 * writer.event({ kind: EventKind.exec, pid: 7, startNs: 1n, process: shell, binary: '/bin/sh' });
 * const bytes = writer.finish();
 */
export class BatchWriter {
  readonly #description: BatchDescription;
  readonly #out = new Growing();
  readonly #offsets: number[] = [];
  readonly #processes: ProcessEntry[] = [];
  readonly #pods: PodEntry[] = [];
  readonly #bindings: BindingEntry[] = [];
  readonly #annotations: { record: number; annotation: AnnotationDescription }[] = [];
  /** Strings of entries: their place is known when the records are done. */
  readonly #strings: { span: Span; bytes: Uint8Array }[] = [];

  constructor(description: BatchDescription = {}) {
    this.#description = description;
    this.#out.take(BATCH_HEADER_BYTES);
  }

  get recordCount(): number {
    return this.#offsets.length;
  }

  /** Adds a process entry. @returns 1 + its index. */
  process(description: ProcessDescription): number {
    const { binary, arguments: args, cwd, containerId, userName, environment, ...plain } = description;
    return this.#processes.push(
      makeProcessEntry({
        ...plain,
        binary: this.#later(binary),
        arguments: this.#later(joinNul(args ?? [], false)),
        cwd: this.#later(cwd),
        containerId: this.#later(containerId),
        userName: this.#later(userName),
        environment: this.#later(joinNul(environment ?? [], true)),
      }),
    );
  }

  /** Adds a pod entry. @returns 1 + its index. */
  pod(description: PodDescription): number {
    const { containerStartUnixNs, containerPid, flags, labels, annotations, ...texts } = description;
    return this.#pods.push(
      makePodEntry({
        containerStartUnixNs: containerStartUnixNs ?? 0n,
        containerPid: containerPid ?? 0,
        flags: flags ?? 0,
        namespace: this.#later(texts.namespace),
        name: this.#later(texts.name),
        uid: this.#later(texts.uid),
        containerId: this.#later(texts.containerId),
        containerName: this.#later(texts.containerName),
        imageId: this.#later(texts.imageId),
        imageName: this.#later(texts.imageName),
        workload: this.#later(texts.workload),
        workloadKind: this.#later(texts.workloadKind),
        labels: this.#later(pairs(labels ?? {})),
        annotations: this.#later(pairs(annotations ?? {})),
      }),
    );
  }

  /** Adds a binding entry. @returns 1 + its index. */
  binding(description: BindingDescription): number {
    const { tags, argumentLabels, bindingId, eventKind, ...texts } = description;
    return this.#bindings.push(
      makeBindingEntry({
        bindingId: bindingId ?? 0,
        eventKind: eventKind ?? 0,
        policyName: this.#later(texts.policyName),
        policyNamespace: this.#later(texts.policyNamespace),
        functionName: this.#later(texts.functionName),
        subsystem: this.#later(texts.subsystem),
        provider: this.#later(texts.provider),
        message: this.#later(texts.message),
        tags: this.#later(joinNul(tags ?? [], true)),
        argumentLabels: this.#later(joinNul(argumentLabels ?? [], true)),
      }),
    );
  }

  /** Adds an event. @returns its index. */
  event(description: EventDescription): number {
    const { process, parent, annotation, ...rest } = description;
    const joined = { processIndex: process ?? 0, parentIndex: parent ?? 0 };
    const at = this.#record({ ...rest, ...joined } as Placed<EventDescription>);
    const size = Math.ceil(this.#out.length / 8) * 8 - at;
    this.#out.take(at + size - this.#out.length);
    this.#out.view.setUint32(at, size, true);
    if (annotation !== undefined) this.#annotations.push({ record: at, annotation });
    return this.#offsets.push(at) - 1;
  }

  #record(event: Placed<EventDescription>): number {
    const out = this.#out;
    const text = (value: Text | undefined, base: number): Span => out.append(bytesOf(value ?? ''), base);
    switch (event.kind) {
      case EventKind.exec: {
        const { binary, arguments: args, cwd, cgroupName, environment, ...plain } = event;
        const at = out.take(EXEC_RECORD_BYTES, 8);
        const argumentBytes = joinNul(args ?? [], false);
        const record = makeExecRecord({
          argumentsOriginal: argumentBytes.length === 0 ? 0 : argumentBytes.length + 1,
          ...plain,
          binary: text(binary, at),
          arguments: out.append(argumentBytes, at),
          cwd: text(cwd, at),
          cgroupName: text(cgroupName, at),
          environment: out.append(joinNul(environment ?? [], true), at),
        });
        writeExecRecord(out.view, at, record);
        return at;
      }
      case EventKind.clone: {
        const { cgroupName, ...plain } = event;
        const at = out.take(CLONE_RECORD_BYTES, 8);
        const record = makeCloneRecord({ ...plain, cgroupName: text(cgroupName, at) });
        writeCloneRecord(out.view, at, record);
        return at;
      }
      case EventKind.exit: {
        const at = out.take(EXIT_RECORD_BYTES, 8);
        writeExitRecord(out.view, at, makeExitRecord(event));
        return at;
      }
      case EventKind.loss: {
        const at = out.take(LOSS_RECORD_BYTES, 8);
        writeLossRecord(out.view, at, makeLossRecord(event));
        return at;
      }
      case EventKind.throttle: {
        const { cgroupName, policyName, ...plain } = event;
        const at = out.take(THROTTLE_RECORD_BYTES, 8);
        const record = makeThrottleRecord({
          ...plain,
          cgroupName: text(cgroupName, at),
          policyName: text(policyName, at),
        });
        writeThrottleRecord(out.view, at, record);
        return at;
      }
      case EventKind.alert: {
        const at = out.take(ALERT_RECORD_BYTES, 8);
        writeAlertRecord(out.view, at, makeAlertRecord(event));
        return at;
      }
      case EventKind.tamper: {
        const { message, ...plain } = event;
        const at = out.take(TAMPER_RECORD_BYTES, 8);
        const record = makeTamperRecord({ ...plain, message: text(message, at) });
        writeTamperRecord(out.view, at, record);
        return at;
      }
      case EventKind.rateLimitInfo: {
        const at = out.take(RECORD_HEADER_BYTES, 8);
        writeRecordHeader(out.view, at, makeRecordHeader(event));
        return at;
      }
      default:
        return this.#hook(event);
    }
  }

  #hook(event: Placed<HookDescription>): number {
    const out = this.#out;
    const { binding, arguments: args, data, returnValue, kernelStack, userStack, imaHash, ...plain } = event;
    const all = [...(args ?? []), ...(data ?? []), ...(returnValue === undefined ? [] : [returnValue])];
    const at = out.take(HOOK_RECORD_BYTES + all.length * ARGUMENT_BYTES, 8);
    const stack = (addresses: readonly bigint[] | undefined): Span =>
      out.append(new Uint8Array(new BigUint64Array(addresses ?? []).buffer), at, 8);
    const record = makeHookRecord({
      ...plain,
      flags: (plain.flags ?? 0) | (imaHash === undefined ? 0 : RecordFlag.imaHash),
      bindingIndex: binding ?? 0,
      argumentCount: all.length,
      dataCount: data?.length ?? 0,
      hasReturn: returnValue === undefined ? 0 : 1,
      kernelStack: stack(kernelStack),
      userStack: stack(userStack),
    });
    writeHookRecord(out.view, at, record);
    for (const [i, description] of all.entries()) {
      const { payload, ...fields } = description;
      const bytes = bytesOf(payload ?? '');
      const span = out.append(bytes, at, 8);
      const argument = makeArgument({ index: i, originalLength: bytes.length, ...fields, payload: span });
      writeArgument(out.view, at + HOOK_RECORD_BYTES + i * ARGUMENT_BYTES, argument);
    }
    if (imaHash !== undefined) {
      const digest = [...imaHash.digest, ...new Uint8Array(64)].slice(0, 64);
      const place = out.take(IMA_HASH_BYTES, 8);
      writeImaHash(out.view, place, makeImaHash({ algorithm: imaHash.algorithm, digest }));
    }
    return at;
  }

  /** A span that is filled in when the batch is finished. */
  #later(text: Text | undefined): Span {
    const span = { offset: 0, length: 0 };
    if (text !== undefined && text.length > 0) this.#strings.push({ span, bytes: bytesOf(text) });
    return span;
  }

  /** Lays the batch out. The writer is of no use after it. */
  finish(): Uint8Array<ArrayBuffer> {
    const out = this.#out;
    const { bootId, node, cluster, nodeLabels, ...plain } = this.#description;
    for (const { record, annotation } of this.#annotations) this.#annotate(record, annotation);
    const names = {
      nodeName: this.#later(node),
      clusterName: this.#later(cluster),
      nodeLabels: this.#later(pairs(nodeLabels ?? {})),
    };
    for (const { span, bytes } of this.#strings) Object.assign(span, out.append(bytes));
    const offsetsAt = out.take(this.#offsets.length * 4, 8);
    this.#offsets.forEach((offset, i) => {
      out.view.setUint32(offsetsAt + i * 4, offset, true);
    });
    const processesAt = out.take(this.#processes.length * PROCESS_ENTRY_BYTES, 8);
    this.#processes.forEach((entry, i) => {
      writeProcessEntry(out.view, processesAt + i * PROCESS_ENTRY_BYTES, entry);
    });
    const podsAt = out.take(this.#pods.length * POD_ENTRY_BYTES, 8);
    this.#pods.forEach((entry, i) => {
      writePodEntry(out.view, podsAt + i * POD_ENTRY_BYTES, entry);
    });
    const bindingsAt = out.take(this.#bindings.length * BINDING_ENTRY_BYTES, 8);
    this.#bindings.forEach((entry, i) => {
      writeBindingEntry(out.view, bindingsAt + i * BINDING_ENTRY_BYTES, entry);
    });
    out.take(0, 8);
    const header = makeBatchHeader({
      ...plain,
      ...names,
      magic: BATCH_MAGIC,
      version: BATCH_VERSION,
      headerBytes: BATCH_HEADER_BYTES,
      byteLength: out.length,
      recordCount: this.#offsets.length,
      offsetsAt,
      processCount: this.#processes.length,
      processesAt,
      podCount: this.#pods.length,
      podsAt,
      bindingCount: this.#bindings.length,
      bindingsAt,
      bootId: Array.from(bootId ?? new Uint8Array(16)),
    });
    writeBatchHeader(out.view, 0, header);
    return out.bytes.slice(0, out.length);
  }

  #annotate(record: number, description: AnnotationDescription): void {
    const out = this.#out;
    const labels = Object.entries(description.labels ?? {});
    const at = out.take(ANNOTATION_BYTES + labels.length * ANNOTATION_LABEL_BYTES, 8);
    const message = out.append(bytesOf(description.message ?? ''));
    const annotation = makeAnnotation({
      severity: description.severity ?? 0,
      error: description.error === true ? 1 : 0,
      labelCount: labels.length,
      message,
    });
    writeAnnotation(out.view, at, annotation);
    labels.forEach(([name, value], i) => {
      const label = { name: out.append(bytesOf(name)), value: out.append(bytesOf(value)) };
      writeAnnotationLabel(out.view, at + ANNOTATION_BYTES + i * ANNOTATION_LABEL_BYTES, label);
    });
    out.view.setUint32(record + RECORD_HEADER_ANNOTATION_AT, at, true);
  }
}
