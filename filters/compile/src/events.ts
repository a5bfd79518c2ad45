// SPDX-License-Identifier: Apache-2.0
// Owns making batches from events in the JSON shape that `weir events` writes (Tetragon's), so that recorded and
// hand-written events can be judged by the real host. What the JSON does not say is 0 or empty in the batch.
import {
  Action,
  ArgumentType,
  bpfCommandNumber,
  EventKind,
  ExecFlag,
  execFlagNames,
  MODULE_ARGUMENT_BYTES,
  MODULE_ARGUMENT_NAME_AT,
  MODULE_ARGUMENT_SIGNATURE_OK_AT,
  RecordFlag,
} from '@weir/schema';
import {
  type ArgumentDescription,
  BatchWriter,
  bpfPayload,
  type HookKind,
  type ProcessDescription,
  socketPayload,
} from '@weir/segment';
import { FilterBuildError } from './error.js';

type Json = Record<string, unknown>;

/** Base of the made-up boot-time clock of a fixture: events say when they happened since 1970. */
const BOOT_UNIX_NS = 1_600_000_000_000_000_000n;

class Field {
  constructor(
    readonly value: unknown,
    readonly path: string,
  ) {}

  #wrong(what: string): FilterBuildError {
    return new FilterBuildError('fixture', `${this.path} must be ${what}`);
  }

  get(name: string): Field {
    return new Field(this.object()[name], this.path === '' ? name : `${this.path}.${name}`);
  }

  get given(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  object(): Json {
    if (!this.given) return {};
    if (typeof this.value !== 'object' || Array.isArray(this.value)) throw this.#wrong('an object');
    return this.value as Json;
  }

  list(): Field[] {
    if (!this.given) return [];
    if (!Array.isArray(this.value)) throw this.#wrong('a list');
    return this.value.map((entry, index) => new Field(entry, `${this.path}[${index}]`));
  }

  text(): string {
    if (!this.given) return '';
    if (typeof this.value !== 'string') throw this.#wrong('a string');
    return this.value;
  }

  number(most = 0xffffffff): number {
    if (!this.given) return 0;
    if (
      typeof this.value !== 'number' ||
      !Number.isInteger(this.value) ||
      this.value < 0 ||
      this.value > most
    ) {
      throw this.#wrong(`a whole number from 0 to ${most}`);
    }
    return this.value;
  }

  /** 64-bit numbers are strings in this JSON; small ones may be numbers. */
  big(): bigint {
    if (!this.given) return 0n;
    try {
      if (typeof this.value === 'string' || typeof this.value === 'number')
        return BigInt.asUintN(64, BigInt(this.value));
    } catch {
      // Said below.
    }
    throw this.#wrong('a whole number, in a string where it is large');
  }

  /** RFC 3339 with up to nine decimals, as nanoseconds since 1970. */
  time(): bigint {
    const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(this.text());
    const milliseconds = match === null ? Number.NaN : Date.parse(`${match[1]}${match[3]}`);
    if (match === null || Number.isNaN(milliseconds))
      throw this.#wrong('a time such as 2026-01-02T03:04:05.678Z');
    return BigInt(milliseconds) * 1_000_000n + BigInt((match[2] ?? '').padEnd(9, '0'));
  }

  texts(): Record<string, string> {
    return Object.fromEntries(Object.keys(this.object()).map((name) => [name, this.get(name).text()]));
  }
}

const flagByName = new Map(Object.entries(execFlagNames).map(([bit, name]) => [name, Number(bit)]));

/** \`time_ns\` on the made-up clock. */
function bootTime(unixNs: bigint): bigint {
  return unixNs > BOOT_UNIX_NS ? unixNs - BOOT_UNIX_NS : 1n;
}

/** The argument list of the JSON: one string, in which an argument with blanks is in double quotes. */
export function splitArguments(text: string): string[] {
  const found: string[] = [];
  const pattern = /"((?:[^"\\]|\\.)*)"(?=\s|$)|(\S+)/g;
  for (const match of text.matchAll(pattern)) {
    found.push(match[1] === undefined ? (match[2] as string) : match[1].replace(/\\(.)/g, '$1'));
  }
  return found;
}

class FixtureWriter {
  readonly #writer: BatchWriter;
  readonly #processes = new Map<string, number>();
  readonly #bindings = new Map<string, number>();
  #sequence = 0n;

  constructor(node: string, cluster: string) {
    this.#writer = new BatchWriter({
      node,
      cluster,
      bootId: new Uint8Array(16).fill(7),
      bootToUnixNs: BOOT_UNIX_NS,
    });
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }

  get recordCount(): number {
    return this.#writer.recordCount;
  }

  /** The process, and its ancestors where they are given, each once. */
  #process(process: Field, parents: readonly Field[]): { index: number; description: ProcessDescription } {
    if (!process.given) return { index: 0, description: {} };
    const [parent, ...older] = parents;
    const parentEntry = parent === undefined ? undefined : this.#process(parent, older);
    const startTime = process.get('start_time');
    const execNs = bootTime(startTime.given ? startTime.time() : BOOT_UNIX_NS + 1n);
    const pid = process.get('pid').number();
    const credentials = process.get('process_credentials');
    const uid = process.get('uid').number();
    const credential = (name: string, otherwise: number) =>
      credentials.get(name).given ? credentials.get(name).number() : otherwise;
    let execFlags = 0;
    for (const word of process.get('flags').text().split(/\s+/)) {
      execFlags |= flagByName.get(word) ?? flagByName.get(word.toLowerCase()) ?? 0;
    }
    const inode = process.get('binary_properties').get('file').get('inode');
    const links = inode.get('links').given ? inode.get('links').number() : 1;
    if (inode.given && links === 0) execFlags |= ExecFlag.unlinked;
    const binary = process.get('binary').text();
    if (binary.startsWith('/memfd:') || binary.startsWith('memfd:')) execFlags |= ExecFlag.memfd;
    const auid = process.get('auid');
    const description: ProcessDescription = {
      pid,
      parentIndex: parentEntry?.index ?? 0,
      parentPid: parentEntry?.description.pid ?? 0,
      parentStartNs: parentEntry?.description.startNs ?? 0n,
      parentExecNs: parentEntry?.description.execNs ?? 0n,
      startNs: execNs,
      execNs,
      uid,
      gid: credential('gid', 0),
      euid: credential('euid', uid),
      egid: credential('egid', 0),
      suid: credential('suid', uid),
      sgid: credential('sgid', 0),
      fsuid: credential('fsuid', uid),
      fsgid: credential('fsgid', 0),
      auid: auid.given ? auid.number() : 0xffffffff,
      execFlags,
      inode: inode.get('number').big(),
      links,
      referenceCount: process.get('refcnt').number(),
      binary,
      arguments: splitArguments(process.get('arguments').text()),
      cwd: process.get('cwd').text(),
      containerId: process.get('docker').text(),
      podIndex: 0,
    };
    const execId = process.get('exec_id').text();
    const key = execId === '' ? `${pid}:${execNs}:${binary}:${process.get('arguments').text()}` : execId;
    let index = this.#processes.get(key);
    if (index === undefined) {
      index = this.#writer.process({ ...description, podIndex: this.#pod(process.get('pod')) });
      this.#processes.set(key, index);
    }
    return { index, description };
  }

  #pod(pod: Field): number {
    if (!pod.given) return 0;
    const container = pod.get('container');
    return this.#writer.pod({
      namespace: pod.get('namespace').text(),
      name: pod.get('name').text(),
      uid: pod.get('uid').text(),
      workload: pod.get('workload').text(),
      workloadKind: pod.get('workload_kind').text(),
      containerId: container.get('id').text(),
      containerName: container.get('name').text(),
      imageId: container.get('image').get('id').text(),
      imageName: container.get('image').get('name').text(),
      containerPid: container.get('pid').number(),
      flags: container.get('security_context').get('privileged').value === true ? 1 : 0,
      labels: pod.get('pod_labels').texts(),
      annotations: pod.get('pod_annotations').texts(),
    });
  }

  #binding(kind: HookKind, event: Field): number {
    const functionName =
      kind === EventKind.tracepoint
        ? event.get('event').text()
        : event.get('function_name').text() || event.get('symbol').text() || event.get('name').text();
    const description = {
      eventKind: kind,
      policyName: event.get('policy_name').text(),
      functionName,
      subsystem: event.get('subsys').text() || event.get('path').text(),
      provider: event.get('provider').text(),
      message: event.get('message').text(),
      tags: event
        .get('tags')
        .list()
        .map((tag) => tag.text()),
    };
    const key = JSON.stringify(description);
    let index = this.#bindings.get(key);
    if (index === undefined) {
      index = this.#writer.binding({ ...description, bindingId: this.#bindings.size + 1 });
      this.#bindings.set(key, index);
    }
    return index;
  }

  add(json: unknown, where: string): void {
    const event = new Field(json, where);
    const names = Object.keys(event.object());
    const name = names.find((key) => key.startsWith('process_'));
    if (name === undefined) {
      throw new FilterBuildError(
        'fixture',
        `${where} must have process_exec, process_exit, process_kprobe or their like`,
      );
    }
    const body = event.get(name);
    const process = this.#process(
      body.get('process'),
      [body.get('parent'), ...body.get('ancestors').list()].filter((f) => f.given),
    );
    const parentIndex = process.description.parentIndex ?? 0;
    const time = event.get('time').given
      ? bootTime(event.get('time').time())
      : (process.description.execNs ?? 1n);
    const header = {
      timeNs: time,
      sequence: this.#sequence++,
      cpu: 0,
      pid: process.description.pid ?? 0,
      tid: body.get('process').get('tid').number() || (process.description.pid ?? 0),
      startNs: process.description.startNs ?? 0n,
      process: process.index,
      parent: parentIndex,
      flags: 0,
    };
    switch (name) {
      case 'process_exec': {
        const { description } = process;
        this.#writer.event({
          ...header,
          kind: EventKind.exec,
          parentPid: description.parentPid ?? 0,
          parentStartNs: description.parentStartNs ?? 0n,
          uid: description.uid ?? 0,
          euid: description.euid ?? 0,
          execFlags: description.execFlags ?? 0,
          links: description.links ?? 1,
          binary: description.binary ?? '',
          arguments: description.arguments ?? [],
          cwd: description.cwd ?? '',
        });
        return;
      }
      case 'process_clone': {
        this.#writer.event({ ...header, kind: EventKind.clone });
        return;
      }
      case 'process_exit': {
        this.#writer.event({
          ...header,
          kind: EventKind.exit,
          status: body.get('status').number(),
          signal: signalNumber(body.get('signal')),
        });
        return;
      }
      case 'process_kprobe':
      case 'process_tracepoint':
      case 'process_lsm':
      case 'process_uprobe':
      case 'process_usdt':
      case 'process_loader': {
        const kind = EventKind[name.slice('process_'.length) as 'kprobe'] as HookKind;
        const returned = body.get('return');
        this.#writer.event({
          ...header,
          kind,
          flags: returned.given ? RecordFlag.returned : 0,
          binding: this.#binding(kind, body),
          action: actionNumber(body.get('action')),
          arguments: body
            .get('args')
            .list()
            .map((one, index) => argument(one, index)),
          data: body
            .get('data')
            .list()
            .map((one, index) => argument(one, index)),
          ...(returned.given ? { returnValue: argument(returned, 0) } : {}),
        });
        return;
      }
      default:
        throw new FilterBuildError('fixture', `${where}.${name} is not an event that a filter judges`);
    }
  }
}

const signals = [
  '',
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGILL',
  'SIGTRAP',
  'SIGABRT',
  'SIGBUS',
  'SIGFPE',
  'SIGKILL',
  'SIGUSR1',
  'SIGSEGV',
  'SIGUSR2',
  'SIGPIPE',
  'SIGALRM',
  'SIGTERM',
];

function signalNumber(field: Field): number {
  if (typeof field.value === 'number') return field.number(64);
  const name = field.text();
  if (name === '') return 0;
  const number = signals.indexOf(name);
  if (number < 0)
    throw new FilterBuildError(
      'fixture',
      `${field.path} must be a number or one of ${signals.slice(1).join(', ')}`,
    );
  return number;
}

function actionNumber(field: Field): number {
  const name = field
    .text()
    .replace(/^KPROBE_ACTION_/, '')
    .toLowerCase();
  if (name === '') return Action.post;
  const number = (Action as Record<string, number>)[name];
  if (number === undefined) {
    throw new FilterBuildError(
      'fixture',
      `${field.path} must be KPROBE_ACTION_ and one of ${Object.keys(Action).join(', ').toUpperCase()}`,
    );
  }
  return number;
}

/** A name in a field of fixed size, with a NUL behind it. */
function bytesOfName(name: string, size: number): number[] {
  const bytes = Buffer.from(name).subarray(0, size - 1);
  return [...bytes, ...new Array<number>(size - bytes.length).fill(0)];
}

const moduleName = (value: Field): Uint8Array => {
  const name = Buffer.from(value.get('name').text()).subarray(0, 63);
  const module = new Uint8Array(MODULE_ARGUMENT_BYTES);
  module.set(name, MODULE_ARGUMENT_NAME_AT);
  const signature = value.get('signature_ok').value;
  new DataView(module.buffer).setUint32(
    MODULE_ARGUMENT_SIGNATURE_OK_AT,
    signature === true ? 1 : signature === false ? 0 : 2,
    true,
  );
  return module;
};

/** Arguments that the JSON tells in words that cannot be turned back: they hold their position, without a value. */
const positionOnly = [
  'cred_arg',
  'perf_event_arg',
  'user_namespace_arg',
  'user_ns_arg',
  'process_credentials_arg',
  'kernel_cap_t_arg',
  'cap_inheritable_arg',
  'cap_permitted_arg',
  'cap_effective_arg',
  'error_arg',
];

function addressBytes(field: Field): number[] {
  const text = field.text();
  const parts = text.split('.').map(Number);
  const isIPv4 =
    parts.length === 4 && parts.every((part) => Number.isInteger(part) && part >= 0 && part < 256);
  if (text !== '' && !isIPv4 && !text.includes(':')) {
    throw new FilterBuildError('fixture', `${field.path} must be an IP address`);
  }
  return isIPv4 ? [...parts, ...new Array<number>(12).fill(0)] : ipv6Bytes(text);
}

function ipv6Bytes(text: string): number[] {
  const [head = '', tail] = text.split('::');
  const words = (part: string) =>
    part
      .split(':')
      .filter((word) => word !== '')
      .map((word) => Number.parseInt(word, 16) & 0xffff);
  const before = words(head);
  const after = tail === undefined ? [] : words(tail);
  const filled = [
    ...before,
    ...new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0),
    ...after,
  ];
  return filled.slice(0, 8).flatMap((word) => [word >> 8, word & 255]);
}

const families: Record<string, number> = { AF_UNIX: 1, AF_INET: 2, AF_INET6: 10 };

function socket(field: Field, source: [string, string], destination: [string, string]): Uint8Array {
  return socketPayload({
    family: families[field.get('family').text()] ?? 0,
    sourceAddress: addressBytes(field.get(source[0])),
    sourcePort: field.get(source[1]).number(65535),
    destinationAddress: addressBytes(field.get(destination[0])),
    destinationPort: field.get(destination[1]).number(65535),
  });
}

function argument(field: Field, index: number): ArgumentDescription {
  const names = Object.keys(field.object()).filter((name) => name !== 'label');
  const name = names[0] ?? '';
  const value = field.get(name);
  const path = (type: number): ArgumentDescription => ({ type, index, payload: value.get('path').text() });
  switch (name) {
    case 'string_arg':
      return { type: ArgumentType.string, index, payload: value.text() };
    case 'int_arg':
      return { type: ArgumentType.int32, index, value: value.big() };
    case 'uint_arg':
      return { type: ArgumentType.uint32, index, value: value.big() };
    case 'size_arg':
      return { type: ArgumentType.uint64, index, value: value.big() };
    case 'long_arg':
      return { type: ArgumentType.int64, index, value: value.big() };
    case 'bytes_arg':
      return {
        type: ArgumentType.charBuf,
        index,
        payload: new Uint8Array(Buffer.from(value.text(), 'base64')),
      };
    case 'truncated_bytes_arg':
      return {
        type: ArgumentType.charBuf,
        index,
        flags: 1,
        payload: new Uint8Array(Buffer.from(value.get('bytes_arg').text(), 'base64')),
      };
    case 'file_arg':
      return path(ArgumentType.file);
    case 'path_arg':
      return path(ArgumentType.path);
    case 'linux_binprm_arg':
      return path(ArgumentType.linuxBinprm);
    case 'sockaddrun_arg':
      return path(ArgumentType.sockaddrUn);
    case 'sock_arg':
      return {
        type: ArgumentType.sock,
        index,
        payload: socket(value, ['saddr', 'sport'], ['daddr', 'dport']),
      };
    case 'skb_arg':
      return {
        type: ArgumentType.skb,
        index,
        payload: socket(value, ['saddr', 'sport'], ['daddr', 'dport']),
      };
    case 'sockaddr_arg':
      return { type: ArgumentType.sockaddr, index, payload: socket(value, ['', ''], ['addr', 'port']) };
    case 'module_arg':
      return { type: ArgumentType.module, index, payload: moduleName(value) };
    case 'bpf_prog_arg':
    case 'bpf_map_arg':
    case 'bpf_attr_arg':
      return {
        type:
          name === 'bpf_prog_arg'
            ? ArgumentType.bpfProg
            : name === 'bpf_map_arg'
              ? ArgumentType.bpfMap
              : ArgumentType.bpfAttr,
        index,
        payload: bpfPayload({
          name: bytesOfName(value.get('ProgName').text() || value.get('MapName').text(), 16),
        }),
      };
    case 'net_dev_arg':
      return { type: ArgumentType.netDevice, index, payload: value.get('name').text() };
    case 'capability_arg':
      return { type: ArgumentType.capability, index, value: value.get('value').big() };
    case 'bpf_cmd_arg': {
      const number = typeof value.value === 'string' ? bpfCommandNumber(value.value) : undefined;
      return { type: ArgumentType.bpfCmd, index, value: number === undefined ? value.big() : BigInt(number) };
    }
    case 'syscall_id':
      return { type: ArgumentType.syscall64, index, value: value.get('id').big() };
    default:
      if (positionOnly.includes(name)) return { type: ArgumentType.nop, index };
      throw new FilterBuildError(
        'fixture',
        `${field.path} has ${name === '' ? 'no value' : name}; fixtures can hold string_arg, int_arg, uint_arg, size_arg, long_arg, bytes_arg, truncated_bytes_arg, file_arg, path_arg, linux_binprm_arg, sock_arg, skb_arg, sockaddr_arg, sockaddrun_arg, net_dev_arg, module_arg, bpf_prog_arg, bpf_map_arg, bpf_attr_arg, bpf_cmd_arg, capability_arg and syscall_id`,
      );
  }
}

/** Whether a line of a recording is an event that filters judge; losses, throttling and alerts are not. */
export function isJudged(event: unknown): boolean {
  if (typeof event !== 'object' || event === null) return true;
  const names = Object.keys(event);
  const others = ['process_throttle', 'rate_limit_info', 'loss', 'alert', 'tamper'];
  return !names.some((name) => others.includes(name));
}

/** Makes one batch of events in JSON. @throws {FilterBuildError} that names the field that is wrong. */
export function batchOfEvents(events: readonly unknown[], where: string): Uint8Array {
  const first = new Field(events[0], `${where}[0]`);
  const writer = new FixtureWriter(
    events.length > 0 ? first.get('node_name').text() : '',
    events.length > 0 ? first.get('cluster_name').text() : '',
  );
  for (const [index, event] of events.entries()) writer.add(event, `${where}[${index}]`);
  return writer.finish();
}
