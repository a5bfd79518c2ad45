// SPDX-License-Identifier: Apache-2.0
// Owns the way from a record to the values of the archive's columns. What events share (process, policy on a hook)
// is given once for each, under a number that the events name; SQL joins them (convert.ts), so that little is made
// per event.
import { constants } from 'node:os';
import {
  BatchDecoder,
  type BatchReader,
  type DecodedArgument,
  type DecodedProcess,
  type DecodedRecord,
  throttleText,
} from '@weir/segment';
import { ArchiveError } from './error.js';

/** One row of a staging table, in the order of its columns. */
export type StagingRow = readonly (string | number | bigint | boolean | null)[];

/** Columns of the staging tables, with the types that DuckDB gives them. */
export const stagingColumns = {
  processes: {
    number: 'INTEGER',
    exec_id: 'VARCHAR',
    parent_exec_id: 'VARCHAR',
    parent_pid: 'BIGINT',
    start_ns: 'BIGINT',
    uid: 'BIGINT',
    euid: 'BIGINT',
    auid: 'BIGINT',
    user: 'VARCHAR',
    binary: 'VARCHAR',
    arguments: 'VARCHAR',
    cwd: 'VARCHAR',
    process_flags: 'VARCHAR',
    inode: 'BIGINT',
    links: 'BIGINT',
    cap_effective: 'BIGINT',
    pid_namespace: 'BIGINT',
    container_id: 'VARCHAR',
    pod_namespace: 'VARCHAR',
    pod: 'VARCHAR',
    container: 'VARCHAR',
    image: 'VARCHAR',
    workload: 'VARCHAR',
  },
  bindings: {
    number: 'INTEGER',
    policy: 'VARCHAR',
    policy_namespace: 'VARCHAR',
    function: 'VARCHAR',
    message: 'VARCHAR',
    tags: 'VARCHAR',
  },
  events: {
    boot_id: 'VARCHAR',
    cpu: 'BIGINT',
    sequence: 'BIGINT',
    time_ns: 'BIGINT',
    kind: 'VARCHAR',
    process: 'INTEGER',
    parent: 'INTEGER',
    binding: 'INTEGER',
    pid: 'BIGINT',
    tid: 'BIGINT',
    start_ns: 'BIGINT',
    flags: 'VARCHAR',
    action: 'VARCHAR',
    message: 'VARCHAR',
    path: 'VARCHAR',
    args: 'VARCHAR',
    return_value: 'BIGINT',
    detail: 'INTEGER',
  },
  /** What few events have. */
  details: {
    number: 'INTEGER',
    exit_status: 'INTEGER',
    exit_signal: 'VARCHAR',
    source_address: 'VARCHAR',
    source_port: 'INTEGER',
    destination_address: 'VARCHAR',
    destination_port: 'INTEGER',
    severity: 'VARCHAR',
    labels: 'VARCHAR',
    lost_stage: 'VARCHAR',
    lost_count: 'BIGINT',
  },
} as const;

export type StagingTable = keyof typeof stagingColumns;

/** Where lists are joined: no string of a batch has a NUL where a list is split. */
export const listSeparator = '\0';

const bigintMax = 2n ** 63n - 1n;

/** A 64-bit number without sign, as BIGINT can hold it: its top bit becomes the sign. */
function asBigint(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

function orNull(text: string): string | null {
  return text === '' ? null : text;
}

function list(parts: readonly string[]): string | null {
  return parts.length === 0 ? null : parts.join(listSeparator);
}

const signalNames: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

/** Sequences of one CPU that a segment spans: two segments that overlap may hold the same event twice. */
export interface SequenceRange {
  readonly bootId: string;
  readonly cpu: number;
  first: bigint;
  last: bigint;
}

/** Collects the rows of a segment. */
export class RowCollector {
  readonly rows: Record<StagingTable, StagingRow[]> = {
    processes: [],
    bindings: [],
    events: [],
    details: [],
  };
  readonly ranges = new Map<string, SequenceRange>();
  /** Bytes of text that the rows have when all is joined: a process's arguments are in each of its events. */
  #textBytes = 0;
  readonly #textBytesOf = new Map<DecodedProcess, number>();
  /** True where a sequence did not rise: the segment itself may hold an event twice. */
  repeats = false;

  add(batch: BatchReader): void {
    const decoder = new BatchDecoder(batch);
    const processes = new Map<number, number>();
    const bindings = new Map<object, number>();
    for (let i = 0; i < batch.recordCount; i++) this.#event(decoder, decoder.record(i), processes, bindings);
  }

  #event(
    decoder: BatchDecoder,
    record: DecodedRecord,
    processes: Map<number, number>,
    bindings: Map<object, number>,
  ): void {
    this.#range(decoder.bootId, record.cpu, record.sequence);
    this.#textBytes += this.#textOf(record.process) + this.#textOf(record.parent);
    if (this.#textBytes > textBytesMax) {
      throw new ArchiveError(
        'invalid-segment',
        `its rows would have more than ${textBytesMax} bytes of text`,
      );
    }
    const { hook } = record;
    const time = record.timeNs > bigintMax || record.timeNs < -bigintMax ? 0n : record.timeNs;
    const files = hook === undefined ? undefined : hook.arguments.find(isText);
    const returned = hook?.returnValue;
    this.rows.events.push([
      decoder.bootId,
      record.cpu,
      asBigint(record.sequence),
      time,
      record.kind,
      this.#process(record.process, processes),
      this.#process(record.parent, processes),
      hook?.binding === undefined ? null : this.#binding(hook.binding, bindings),
      record.pid,
      record.tid,
      record.startNs === 0n ? null : asBigint(record.startNs + decoder.batch.header.bootToUnixNs),
      list(record.flags),
      hook === undefined ? null : hook.action,
      messageOf(record),
      files?.text ?? null,
      hook === undefined ? null : argumentsJson(hook.arguments, hook.data),
      returned === undefined || !isNumber(returned) ? null : returned.signedValue,
      this.#detail(record),
    ]);
  }

  #textOf(process: DecodedProcess | undefined): number {
    if (process === undefined) return 0;
    let bytes = this.#textBytesOf.get(process);
    if (bytes === undefined) {
      bytes = textBytes(process);
      this.#textBytesOf.set(process, bytes);
    }
    return bytes;
  }

  #range(bootId: string, cpu: number, sequence: bigint): void {
    const key = `${bootId} ${cpu}`;
    const range = this.ranges.get(key);
    if (range === undefined) {
      this.ranges.set(key, { bootId, cpu, first: sequence, last: sequence });
      return;
    }
    if (sequence <= range.last) this.repeats = true;
    if (sequence > range.last) range.last = sequence;
    if (sequence < range.first) range.first = sequence;
  }

  #process(process: DecodedProcess | undefined, numbers: Map<number, number>): number | null {
    if (process === undefined) return null;
    let number = numbers.get(process.index);
    if (number === undefined) {
      number = this.rows.processes.length;
      numbers.set(process.index, number);
      const { pod } = process;
      this.rows.processes.push([
        number,
        process.execId,
        orNull(process.parentExecId),
        process.parentPid,
        asBigint(process.startTimeNs),
        process.uid,
        process.euid,
        process.auid,
        orNull(process.userName),
        process.binary,
        list(process.arguments),
        process.cwd,
        list(process.flags),
        asBigint(process.inode),
        process.links,
        asBigint(process.capEffective),
        process.namespaces[3] ?? 0,
        orNull(process.containerId),
        pod === undefined ? null : pod.namespace,
        pod === undefined ? null : pod.name,
        pod === undefined ? null : pod.containerName,
        pod === undefined ? null : pod.imageName,
        pod === undefined ? null : orNull(pod.workload),
      ]);
    }
    return number;
  }

  #binding(
    binding: NonNullable<NonNullable<DecodedRecord['hook']>['binding']>,
    numbers: Map<object, number>,
  ): number {
    let number = numbers.get(binding);
    if (number === undefined) {
      number = this.rows.bindings.length;
      numbers.set(binding, number);
      this.rows.bindings.push([
        number,
        binding.policyName,
        orNull(binding.policyNamespace),
        orNull(binding.functionName),
        orNull(binding.message),
        list(binding.tags),
      ]);
    }
    return number;
  }

  #detail(record: DecodedRecord): number | null {
    const { exit, loss, annotation, alert, hook } = record;
    // What accepts a connection has it from what it calls.
    const socket =
      hook?.arguments.find((argument) => argument.socket !== undefined)?.socket ?? hook?.returnValue?.socket;
    const judged = annotation?.severity ?? alert?.severity;
    if (exit === undefined && loss === undefined && judged === undefined && socket === undefined) return null;
    const labels = annotation === undefined ? [] : Object.keys(annotation.labels);
    return (
      this.rows.details.push([
        this.rows.details.length,
        exit?.status ?? null,
        exit === undefined || exit.signal === 0
          ? null
          : (signalNames.get(exit.signal) ?? `SIG${exit.signal}`),
        socket === undefined ? null : address(socket.family, socket.sourceAddress),
        socket?.sourcePort ?? null,
        socket === undefined ? null : address(socket.family, socket.destinationAddress),
        socket?.destinationPort ?? null,
        judged === undefined || judged === 'none' ? null : judged,
        labels.length === 0 ? null : JSON.stringify(annotation?.labels),
        loss?.stage ?? null,
        loss === undefined ? null : asBigint(loss.count),
      ]) - 1
    );
  }
}

/** A segment of 15,000 events whose processes have arguments of 4 KiB comes to 120 MiB. */
const textBytesMax = 1024 ** 3;

function textBytes(process: DecodedProcess): number {
  const { binary, cwd } = process;
  return process.arguments.reduce((sum, argument) => sum + argument.length, 500 + binary.length + cwd.length);
}

/** What the event itself says: of a filter, of the agent; the policy's message is in its binding. */
function messageOf(record: DecodedRecord): string | null {
  const throttled = record.throttle === undefined ? '' : throttleText(record.throttle);
  return orNull(record.annotation?.message ?? record.tamper?.message ?? throttled);
}

const textTypes: ReadonlySet<string> = new Set([
  'file',
  'path',
  'filename',
  'fd',
  'dentry',
  'kiocb',
  'linux_binprm',
  'sockaddr_un',
  'string',
]);

function isText(argument: DecodedArgument): boolean {
  return argument.text !== undefined && textTypes.has(argument.type);
}

function isNumber(argument: DecodedArgument): boolean {
  return argument.typeNumber >= 1 && argument.typeNumber <= 8;
}

/** A number that JSON can hold, or its digits. */
function plain(value: bigint): number | string {
  return value >= -(2n ** 53n) && value <= 2n ** 53n ? Number(value) : value.toString();
}

function argumentsJson(args: readonly DecodedArgument[], data: readonly DecodedArgument[]): string | null {
  if (args.length + data.length === 0) return null;
  return JSON.stringify([
    ...args.map((argument) => argumentJson(argument)),
    ...data.map((argument) => ({ ...argumentJson(argument), data: true })),
  ]);
}

function argumentJson(argument: DecodedArgument): Record<string, unknown> {
  const { type, label, flags, socket, credential, userNamespace, bpf, perfEvent, module } = argument;
  const json: Record<string, unknown> = { type };
  if (label !== '') json.label = label;
  if (flags.length > 0) json.flags = flags;
  if (argument.text !== undefined) {
    json.text = argument.text;
    if (argument.originalLength > argument.payload.length) json.original_length = argument.originalLength;
    if (type === 'fd') json.value = Number(argument.value & 0xffff_ffffn);
  } else if (socket !== undefined) {
    json.family = socket.family;
    json.protocol = socket.protocol;
    json.source = `${address(socket.family, socket.sourceAddress)}`;
    json.source_port = socket.sourcePort;
    json.destination = `${address(socket.family, socket.destinationAddress)}`;
    json.destination_port = socket.destinationPort;
  } else {
    const struct = credential ?? userNamespace ?? bpf ?? perfEvent ?? module;
    json.value = struct === undefined ? plain(argument.signedValue) : structJson(struct);
    if (type.startsWith('uint') || type.includes('cap')) json.value = plain(argument.value);
  }
  return json;
}

function structJson(struct: object): Record<string, unknown> {
  const entries = Object.entries(struct).filter(([name]) => !name.startsWith('reserved'));
  return Object.fromEntries(
    entries.map(([name, value]) => {
      if (typeof value === 'bigint') return [name, plain(value)];
      if (Array.isArray(value)) {
        const end = value.indexOf(0);
        return [name, Buffer.from(value.slice(0, end === -1 ? value.length : end)).toString('latin1')];
      }
      return [name, value];
    }),
  );
}

/** AF_INET, AF_INET6; other families have no address that is text. */
export function address(family: number, bytes: readonly number[]): string | null {
  if (family === 2) return bytes.slice(0, 4).join('.');
  if (family !== 10) return null;
  const groups: number[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${bytes.slice(12, 16).join('.')}`;
  }
  return compress(groups);
}

/** RFC 5952: the longest run of two or more zero groups, the first of equals, becomes "::". */
function compress(groups: readonly number[]): string {
  let start = -1;
  let length = 1;
  for (let i = 0; i < groups.length; ) {
    let end = i;
    while (groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = Math.max(end, i + 1);
  }
  const hex = groups.map((group) => group.toString(16));
  if (start === -1) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}
