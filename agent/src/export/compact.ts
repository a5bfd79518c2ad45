// SPDX-License-Identifier: Apache-2.0
// Owns events as short lines for a terminal. Whatever a path or an argument holds, no control byte, escape sequence
// or newline of it reaches the terminal: it is shown (`\x1b`, `\x0a`, `\xff`).
import { RecordFlag } from '@weir/schema';
import {
  type BatchDecoder,
  type DecodedHook,
  type DecodedProcess,
  type DecodedRecord,
  printable,
  throttleText,
} from '@weir/segment';
import { argumentText } from './arguments.js';
import { imaHashText } from './ima.js';
import { argumentsText } from './json.js';
import { signalName } from './names.js';

export interface CompactOptions {
  /** Colours, for a terminal. False by default. */
  readonly colour?: boolean;
}

/** Characters of one part of a line: a path can have 4,096. */
const PART_MAX = 200;

const colours: Readonly<Record<string, string>> = {
  exec: '32',
  exit: '34',
  clone: '36',
  kprobe: '33',
  lsm: '33',
  tracepoint: '33',
  uprobe: '33',
  usdt: '33',
  loader: '36',
  alert: '35',
  loss: '31',
  tamper: '31',
};

function part(text: string): string {
  const shown = printable(text);
  return shown.length <= PART_MAX ? shown : `${shown.slice(0, PART_MAX)}…`;
}

function who(record: DecodedRecord): string {
  const { process } = record;
  if (process === undefined) return `[${record.pid}]`;
  const place =
    process.pod !== undefined
      ? `${part(process.pod.namespace)}/${part(process.pod.name)} `
      : process.containerId === ''
        ? ''
        : `${part(process.containerId.slice(0, 12))} `;
  return `${place}${part(process.binary === '' ? '?' : process.binary)}[${process.pid}]`;
}

function user(process: DecodedProcess | undefined): string {
  if (process === undefined) return '';
  return ` uid=${process.userName === '' ? process.uid : part(process.userName)}`;
}

function parent(record: DecodedRecord): string {
  return record.parent === undefined ? '' : ` by ${part(record.parent.binary)}[${record.parent.pid}]`;
}

/** What an execution is known by: its arguments, whose it is, and who began it. */
function execution(record: DecodedRecord): string {
  const { process } = record;
  const values = process === undefined ? '' : part(argumentsText(process.arguments));
  return `${values}${user(process)}${parent(record)}`.trimStart();
}

function ended(status: number, signal: number): string {
  return signal === 0 ? `exit=${status}` : `signal=${signalName(signal)}`;
}

function rest(record: DecodedRecord): string {
  const { hook } = record;
  switch (record.kind) {
    case 'exec':
      return execution(record);
    case 'clone':
      return parent(record).trim();
    case 'exit':
      return `${execution(record)} ${ended(record.exit?.status ?? 0, record.exit?.signal ?? 0)}`.trimStart();
    case 'loss':
      return `${record.loss?.count} events lost: ${record.loss?.stage}`;
    case 'throttle':
      return record.throttle === undefined ? '' : part(throttleText(record.throttle));
    case 'tamper':
      return part(record.tamper?.message ?? '');
    default:
      break;
  }
  if (hook === undefined) return '';
  if (record.kind === 'loader') return mapping(hook);
  const shown = hook.arguments
    .filter((argument) => !argument.flags.includes('hidden'))
    .map((argument) => part(argumentText(argument)));
  const would = (record.flagBits & RecordFlag.monitor) !== 0 ? 'would ' : '';
  const actions = [hook.action, hook.returnAction].filter((action) => !/^(post|unknown)$/.test(action));
  // What the agent does is done in monitor mode too: it denies nothing.
  const action = actions.map((name) => ` ${/^(geturl|dnslookup)$/.test(name) ? '' : would}${name}`).join('');
  const returned = hook.returnValue === undefined ? '' : ` = ${part(argumentText(hook.returnValue))}`;
  const policy = hook.binding === undefined ? '' : ` policy=${part(hook.binding.policyName)}`;
  const hash = hook.imaHash === undefined ? '' : ` ${imaHashText(hook.imaHash)}`;
  return `${placeText(hook, record.kind)}(${shown.join(', ')})${returned}${hash}${action}${policy}`;
}

/** A file that is mapped to run, and its build id. */
function mapping({ arguments: [path, buildId], binding }: DecodedHook): string {
  const id = Buffer.from(buildId?.payload ?? []).toString('hex');
  const policy = binding === undefined ? '' : ` policy=${part(binding.policyName)}`;
  return `${part(path?.text ?? '?')}${id === '' ? '' : ` build-id=${id}`}${policy}`;
}

/** What was called: of a program its file too, of a tracepoint its subsystem. */
function placeText({ binding, functionOffset }: DecodedHook, kind: string): string {
  const name = part(binding?.functionName ?? '?');
  if (kind === 'usdt') return `${part(binding?.subsystem ?? '?')}:${part(binding?.provider ?? '?')}:${name}`;
  if (kind === 'tracepoint') return `${part(binding?.subsystem ?? '?')}:${name}`;
  if (kind !== 'uprobe') return name;
  return `${part(binding?.subsystem ?? '?')}:${name === '' ? `0x${functionOffset.toString(16)}` : name}`;
}

/** One event as a line, without the newline. */
export function compactEvent(decoder: BatchDecoder, index: number, options: CompactOptions = {}): string {
  const record = decoder.record(index);
  const time = new Date(Number(record.timeNs / 1_000_000n)).toISOString().slice(11, 23);
  const kind = record.kind.padEnd(7);
  const colour = colours[record.kind];
  const shownKind = options.colour === true && colour !== undefined ? `\x1b[${colour}m${kind}\x1b[0m` : kind;
  const subject = record.pid === 0 ? '' : `${who(record)} `;
  const { annotation } = record;
  const judged =
    annotation === undefined || (annotation.severity === 'none' && annotation.message === '')
      ? ''
      : ` ${annotation.severity === 'none' ? '' : annotation.severity.toUpperCase()} ${part(annotation.message)}`.trimEnd();
  return `${time} ${shownKind} ${subject}${rest(record)}${judged}`.trimEnd();
}
