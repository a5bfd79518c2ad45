// SPDX-License-Identifier: Apache-2.0
// Owns events as JSON: one line each, in the shape that clients of Tetragon read. What repeats (process, pod) is
// encoded once and its text kept; an event is put together around it.
import {
  EventKind,
  ExecFlag,
  eventKindNames,
  PROCESS_ENTRY_BYTES,
  PROCESS_ENTRY_PARENT_INDEX_AT,
  RecordFlag,
} from '@weir/schema';
import {
  type BatchDecoder,
  type DecodedAnnotation,
  type DecodedHook,
  type DecodedPod,
  type DecodedProcess,
  type DecodedRecord,
  flagNames,
} from '@weir/segment';
import { argumentJson, compact } from './arguments.js';
import { imaHashText } from './ima.js';
import { capabilities, signalName, timeText } from './names.js';

export interface JsonOptions {
  /** Credentials, capabilities and namespaces of each process. False by default. */
  readonly details?: boolean;
  /** Generations above the parent. 0 by default; the batch has to hold them. */
  readonly ancestors?: number;
  /** What addresses of stacks stand for. Without it, they are all that is told. */
  readonly stackNames?: StackNaming;
}

/** Finds what the addresses of a stack stand for; undefined where that is not known. */
export interface StackNaming {
  kernel(address: bigint): { symbol: string; offset: bigint; module: string } | undefined;
  user(
    owner: { execId: string; pid: number; startNs: bigint; binary: string },
    address: bigint,
  ): { module: string; offset: bigint } | undefined;
}

/** Texts of processes that are kept. A text is some hundred bytes, so this is a few MiB. */
const PROCESS_TEXTS_MAX = 8192;
/** Digits of a container id that consumers know as `docker`. */
const DOCKER_LENGTH = 31;

const processFlagNames: readonly (readonly [number, string])[] = [
  [ExecFlag.execve, 'execve'],
  [ExecFlag.procfs, 'procFS'],
  [ExecFlag.truncatedBinary, 'truncFilename'],
  [ExecFlag.truncatedArguments, 'truncArgs'],
  [ExecFlag.unreadableArguments, 'errorArgs'],
  [ExecFlag.redacted, 'redacted'],
  [ExecFlag.truncatedCwd, 'errorCWD'],
  [ExecFlag.rootcwd, 'rootcwd'],
  [ExecFlag.clone, 'clone'],
  [ExecFlag.inInitTree, 'inInitTree'],
];

/** What JSON leaves as it is, and a terminal or an eye would be misled by: C1 controls, DEL, marks of direction. */
const misleading =
  '[\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]';
const isMisleading = new RegExp(misleading);
const everyMisleading = new RegExp(misleading, 'g');

/** JSON on one line, with escapes where a terminal would act upon a character; the value stays the same. */
export function jsonText(value: unknown): string {
  const text = JSON.stringify(value);
  if (!isMisleading.test(text)) return text;
  return text.replace(
    everyMisleading,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Joins arguments as consumers expect them: by spaces, one with a space in it, or an empty one, in quotes. */
export function argumentsText(values: readonly string[]): string {
  return values.map((value) => (value === '' || /\s/.test(value) ? `"${value}"` : value)).join(' ');
}

function podJson(pod: DecodedPod): unknown {
  return compact({
    namespace: pod.namespace,
    name: pod.name,
    uid: pod.uid,
    container: compact({
      id: pod.containerId,
      name: pod.containerName,
      image: { id: pod.imageId, name: pod.imageName },
      start_time: pod.containerStartUnixNs === 0n ? undefined : timeText(pod.containerStartUnixNs),
      pid: pod.containerPid,
      maybe_exec_probe: pod.maybeExecProbe,
      security_context: pod.privileged ? { privileged: true } : undefined,
    }),
    pod_labels: Object.keys(pod.labels).length === 0 ? undefined : pod.labels,
    workload: pod.workload,
    workload_kind: pod.workloadKind,
    pod_annotations: Object.keys(pod.annotations).length === 0 ? undefined : pod.annotations,
  });
}

const namespaceNames = [
  'uts',
  'ipc',
  'mnt',
  'pid',
  'pid_for_children',
  'net',
  'time',
  'time_for_children',
  'cgroup',
  'user',
] as const;

function capabilityJson(process: DecodedProcess): unknown {
  return compact({
    permitted: capabilities(process.capPermitted),
    effective: capabilities(process.capEffective),
    inheritable: capabilities(process.capInheritable),
  });
}

function detailsOf(process: DecodedProcess): Record<string, unknown> {
  const { uid, gid, euid, egid, suid, sgid, fsuid, fsgid } = process;
  return {
    cap: capabilityJson(process),
    ns: Object.fromEntries(
      namespaceNames.map((name, index) => [name, { inum: process.namespaces[index] ?? 0 }]),
    ),
    process_credentials: { uid, gid, euid, egid, suid, sgid, fsuid, fsgid },
  };
}

function binaryProperties(process: DecodedProcess): unknown {
  const flags = process.execFlags;
  const changed: string[] = [];
  if ((flags & ExecFlag.fileCapabilities) !== 0) changed.push('PRIVILEGES_RAISED_EXEC_FILE_CAP');
  if ((flags & ExecFlag.setuid) !== 0) changed.push('PRIVILEGES_RAISED_EXEC_FILE_SETUID');
  if ((flags & ExecFlag.setgid) !== 0) changed.push('PRIVILEGES_RAISED_EXEC_FILE_SETGID');
  const unlinked = (flags & (ExecFlag.unlinked | ExecFlag.memfd)) !== 0;
  if (changed.length === 0 && !unlinked) return undefined;
  return {
    // Also where they are 0, and most are: of a program that becomes root.
    ...((flags & ExecFlag.setuid) === 0 ? {} : { setuid: process.euid }),
    ...((flags & ExecFlag.setgid) === 0 ? {} : { setgid: process.egid }),
    ...compact({
      privileges_changed: changed,
      file: unlinked
        ? { inode: { number: process.inode.toString(), links: process.links }, path: process.binary }
        : undefined,
    }),
  };
}

interface Kept {
  readonly flags: number;
  readonly references: number;
  readonly pod: string | undefined;
  readonly text: string;
}

function uprobeJson({ binding, functionOffset }: DecodedHook): Record<string, unknown> {
  return {
    path: binding?.subsystem,
    ...compact({
      symbol: binding?.functionName,
      offset: functionOffset.toString(),
      ref_ctr_offset: binding?.provider,
    }),
  };
}

/** A file that is mapped to run; the build id as proto3 JSON has bytes. */
function loaderJson({ arguments: [path, buildId] }: DecodedHook): Record<string, unknown> {
  return {
    path: path?.text ?? '',
    ...compact({ buildid: buildId === undefined ? '' : Buffer.from(buildId.payload).toString('base64') }),
  };
}

/** Makes lines of JSON from batches. Keeps the texts of processes from one batch to the next. */
export class JsonEncoder {
  readonly #options: JsonOptions;
  readonly #processes = new Map<string, Kept>();

  constructor(options: JsonOptions = {}) {
    this.#options = options;
  }

  /** A process as JSON text. */
  #process(process: DecodedProcess, tid?: number): string {
    const kept = this.#processes.get(process.execId);
    const pod = process.pod?.containerId;
    let text = kept?.text;
    if (
      kept === undefined ||
      kept.flags !== process.execFlags ||
      kept.references !== process.referenceCount ||
      kept.pod !== pod
    ) {
      text = this.#encodeProcess(process);
      if (this.#processes.size >= PROCESS_TEXTS_MAX) {
        // The one that was put in first goes.
        const oldest = this.#processes.keys().next().value;
        if (oldest !== undefined) this.#processes.delete(oldest);
      }
      this.#processes.delete(process.execId);
      this.#processes.set(process.execId, {
        flags: process.execFlags,
        references: process.referenceCount,
        pod,
        text,
      });
    }
    return tid === undefined ? `${text}}` : `${text},"tid":${tid}}`;
  }

  /** Without the closing brace, so that what belongs to one event alone can follow. */
  #encodeProcess(process: DecodedProcess): string {
    const flags = processFlagNames.filter(([bit]) => (process.execFlags & bit) !== 0).map(([, name]) => name);
    const members = {
      exec_id: process.execId,
      pid: process.pid,
      uid: process.uid,
      cwd: process.cwd === '' ? undefined : process.cwd,
      binary: process.binary,
      arguments: process.arguments.length === 0 ? undefined : argumentsText(process.arguments),
      flags: flags.length === 0 ? undefined : flags.join(' '),
      start_time: timeText(process.startTimeNs),
      auid: process.auid,
      pod: process.pod === undefined ? undefined : podJson(process.pod),
      docker: process.containerId === '' ? undefined : process.containerId.slice(0, DOCKER_LENGTH),
      parent_exec_id: process.parentExecId === '' ? undefined : process.parentExecId,
      refcnt: process.referenceCount,
      binary_properties: binaryProperties(process),
      user: process.userName === '' ? undefined : { name: process.userName },
      in_init_tree: (process.execFlags & ExecFlag.inInitTree) !== 0 ? true : undefined,
      environment_variables:
        process.environment.length === 0
          ? undefined
          : process.environment.map((text) => {
              const at = text.indexOf('=');
              return at < 0 ? { key: text } : { key: text.slice(0, at), value: text.slice(at + 1) };
            }),
      ...(this.#options.details === true ? detailsOf(process) : {}),
    };
    return jsonText(members).slice(0, -1);
  }

  #ancestors(decoder: BatchDecoder, record: DecodedRecord): string {
    const most = this.#options.ancestors ?? 0;
    let current = record.parent;
    const texts: string[] = [];
    while (current !== undefined && texts.length < most) {
      const { view, header } = decoder.batch;
      const at = header.processesAt + current.index * PROCESS_ENTRY_BYTES + PROCESS_ENTRY_PARENT_INDEX_AT;
      const above: number = view.getUint32(at, true);
      current = above === 0 ? undefined : decoder.process(above - 1);
      if (current !== undefined) texts.push(this.#process(current));
    }
    return texts.length === 0 ? '' : `,"ancestors":[${texts.join(',')}]`;
  }

  /** `"process":…,"parent":…` as far as they are known. */
  #who(record: DecodedRecord): string {
    const process =
      record.process === undefined
        ? record.pid === 0
          ? '{}'
          : jsonText({ pid: record.pid, tid: record.tid })
        : this.#process(record.process, record.tid);
    return record.parent === undefined
      ? `"process":${process}`
      : `"process":${process},"parent":${this.#process(record.parent)}`;
  }

  #kernelStack(addresses: readonly bigint[]): unknown[] {
    return addresses.map((address) => {
      const place = this.#options.stackNames?.kernel(address);
      return compact({
        address: address.toString(),
        offset: place?.offset.toString(),
        symbol: place?.symbol,
        module: place?.module,
      });
    });
  }

  #userStack(addresses: readonly bigint[], owner: DecodedProcess | undefined): unknown[] {
    return addresses.map((address) => {
      const place = owner === undefined ? undefined : this.#options.stackNames?.user(owner, address);
      return compact({
        address: address.toString(),
        offset: place?.offset.toString(),
        module: place?.module,
      });
    });
  }

  #hook(hook: DecodedHook, { kindNumber: kind, process }: DecodedRecord): string {
    const { binding } = hook;
    if (kind === EventKind.loader) return `,${jsonText(loaderJson(hook)).slice(1, -1)}`;
    const shown = (arguments_: DecodedHook['arguments']) =>
      arguments_.filter((argument) => !argument.flags.includes('hidden')).map(argumentJson);
    const place =
      kind === EventKind.tracepoint
        ? { subsys: binding?.subsystem, event: binding?.functionName }
        : kind === EventKind.uprobe
          ? uprobeJson(hook)
          : kind === EventKind.usdt
            ? { path: binding?.subsystem, provider: binding?.provider, name: binding?.functionName }
            : { function_name: binding?.functionName };
    const text = jsonText({
      ...place,
      ...compact({
        args: shown(hook.arguments),
        data: shown(hook.data),
        return: hook.returnValue === undefined ? undefined : argumentJson(hook.returnValue),
        action: `KPROBE_ACTION_${hook.action.toUpperCase()}`,
        return_action:
          hook.returnAction === 'unknown' ? undefined : `KPROBE_ACTION_${hook.returnAction.toUpperCase()}`,
        policy_name: binding?.policyName,
        message: binding?.message,
        tags: binding?.tags,
        kernel_stack_trace: this.#kernelStack(hook.kernelStack),
        user_stack_trace: this.#userStack(hook.userStack, process),
        ima_hash: hook.imaHash === undefined ? undefined : imaHashText(hook.imaHash),
      }),
    });
    return `,${text.slice(1, -1)}`;
  }

  /** What consumers of Tetragon do not know, under a name of its own. */
  #more(record: DecodedRecord): string {
    const flags = record.flagBits & ~(RecordFlag.protected | RecordFlag.imaHash);
    const { annotation, hook, throttle } = record;
    const hasDenied = hook !== undefined && hook.actionError !== 0;
    if (flags === 0 && annotation === undefined && !hasDenied && throttle === undefined) return '';
    return `,"weir":${jsonText(
      compact({
        event_id: record.eventId,
        flags: flags === 0 ? undefined : flagNames(flags, recordFlagNames),
        error: hook?.actionError,
        signal: hook === undefined || hook.actionSignal === 0 ? undefined : signalName(hook.actionSignal),
        ...annotationJson(annotation),
        ...throttleJson(throttle),
      }),
    )}`;
  }

  /** One event as a line, without the newline. */
  event(decoder: BatchDecoder, index: number): string {
    const record = decoder.record(index);
    return `{"${nameOf(record.kindNumber)}":{${this.#body(decoder, record)}}${this.#tail(decoder, record)}`;
  }

  #body(decoder: BatchDecoder, record: DecodedRecord): string {
    const who = `${this.#who(record)}${this.#ancestors(decoder, record)}`;
    if (record.exit !== undefined) {
      const { status, signal } = record.exit;
      const members = compact({
        signal: signal === 0 ? undefined : signalName(signal),
        status,
        time: timeText(record.timeNs),
      });
      return `${who},${jsonText(members).slice(1, -1)}`;
    }
    if (record.hook !== undefined) return who + this.#hook(record.hook, record);
    if (record.loss !== undefined) {
      return jsonText({ stage: record.loss.stage, count: record.loss.count.toString() }).slice(1, -1);
    }
    if (record.throttle !== undefined) {
      const type = record.throttle.type === 'start' ? 'THROTTLE_START' : 'THROTTLE_STOP';
      return jsonText(compact({ type, cgroup: record.throttle.cgroupName })).slice(1, -1);
    }
    if (record.alert !== undefined) {
      const { severity, causeCpu, causeSequence } = record.alert;
      return `${who},${jsonText({ severity, cause_cpu: causeCpu, cause_sequence: causeSequence.toString() }).slice(1, -1)}`;
    }
    if (record.tamper !== undefined) {
      const message = jsonText({ message: record.tamper.message }).slice(1, -1);
      // The kernel's own says who sent the signal; what the agent found has no process.
      return record.process === undefined ? message : `${who},${message}`;
    }
    return who;
  }

  #tail(decoder: BatchDecoder, record: DecodedRecord): string {
    const more = this.#more(record);
    const cluster = decoder.cluster === '' ? '' : `,"cluster_name":${jsonText(decoder.cluster)}`;
    const labels =
      Object.keys(decoder.nodeLabels).length === 0 ? '' : `,"node_labels":${jsonText(decoder.nodeLabels)}`;
    return `${more},"node_name":${jsonText(decoder.node)},"time":"${timeText(record.timeNs)}"${cluster}${labels}}`;
  }
}

const recordFlagNames = Object.fromEntries(
  Object.entries(RecordFlag).map(([name, bit]) => [
    bit,
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  ]),
);

/** Beside what Tetragon tells: whose events a throttle counts, and how many it held back. */
function throttleJson(throttle: DecodedRecord['throttle']): Record<string, unknown> {
  if (throttle === undefined) return {};
  const { type, scope, policyName, heldBack } = throttle;
  return {
    scope,
    policy_name: policyName === '' ? undefined : policyName,
    held_back: type === 'stop' ? heldBack.toString() : undefined,
  };
}

function annotationJson(annotation: DecodedAnnotation | undefined): Record<string, unknown> {
  if (annotation === undefined) return {};
  return {
    severity: annotation.severity === 'none' ? undefined : annotation.severity,
    message: annotation.message,
    labels: Object.keys(annotation.labels).length === 0 ? undefined : annotation.labels,
  };
}

function nameOf(kind: number): string {
  const name = eventKindNames[kind] ?? `kind_${kind}`;
  // Of the kinds that are no process's, only those of Tetragon keep the name that they have there.
  if (kind === EventKind.rateLimitInfo || kind >= EventKind.loss) return name;
  return `process_${name}`;
}
