// SPDX-License-Identifier: Apache-2.0
// Owns the plain meaning of policies: given a call, which selector of which policy acts. It is slow and obvious, and
// must not use the planner or anything that the planner is made of (only the parsed policy): tests compare the two.
import { evaluateCel } from './cel/evaluate.js';
import { celPositions, parseCel } from './cel/parse.js';
import type { Policy } from './policy.js';
import type {
  Action,
  ArgumentTerm,
  BinaryTerm,
  CapabilityTerm,
  Kprobe,
  Macro,
  NamespaceTerm,
  PidTerm,
} from './shape.js';

/** What there is to see of one argument, whichever type a policy reads it as. */
export interface CallArgument {
  /** The 64 bits of the register. */
  readonly integer?: bigint;
  /** The bytes of the string, or of the path of the file, without a closing NUL. */
  readonly bytes?: Uint8Array;
  readonly socket?: DescribedSocket;
  /** Of an address by itself (sockaddr). */
  readonly address?: { readonly family: number; readonly address: string; readonly port: number };
}

/** A socket; where its family has no internet addresses, these are empty and the ports 0. */
export interface DescribedSocket {
  readonly family: number;
  readonly protocol: number;
  readonly state: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** Sets of capabilities, by name. */
export interface CapabilityNames {
  readonly Permitted: readonly string[];
  readonly Effective: readonly string[];
  readonly Inheritable: readonly string[];
}

/** A process, as far as those that descend from it are matched by it. */
export interface ProcessOrigin {
  readonly binary: Uint8Array;
  readonly pid: bigint;
  /** In its own pid namespace, 0 where that is the host's. */
  readonly namespacePid: bigint;
}

/** One call of a hooked function. */
export interface DescribedCall {
  /** The kernel's name of the function, or of the LSM hook. */
  readonly symbol: string;
  /** By number of the parameter. */
  readonly arguments: readonly CallArgument[];
  readonly process: {
    readonly binary: Uint8Array;
    /** Inode numbers by namespace_kind. */
    readonly namespaces: readonly bigint[];
    /** What its parent ran when it made the process. */
    readonly parentBinary?: Uint8Array;
    readonly pid?: bigint;
    /** In its own pid namespace, 0 where that is the host's. */
    readonly namespacePid?: bigint;
    readonly capabilities?: CapabilityNames;
    /** The process itself, then what it descends from, one by one. */
    readonly origins?: readonly ProcessOrigin[];
    /** The container that it is in; the host where there is none. */
    readonly workload?: {
      readonly namespace: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly container: string;
      readonly repo: string;
    };
    /** What was so at its last exec. */
    readonly atExec?: {
      readonly namespaces: readonly bigint[];
      readonly capabilities: CapabilityNames;
    };
  };
  readonly hostNamespaces: readonly bigint[];
}

/** A selector that acts. */
export interface ReferenceHit {
  readonly policyId: number;
  readonly hookIndex: number;
  readonly selectorIndex: number;
  readonly posts: boolean;
  /** 0 for none. */
  readonly signal: number;
  /** Negative, 0 for none. */
  readonly error: number;
  readonly monitor: boolean;
}

const integerWidths: Readonly<Record<string, readonly [number, boolean]>> = {
  int8: [8, true],
  sint8: [8, true],
  uint8: [8, false],
  int16: [16, true],
  sint16: [16, true],
  uint16: [16, false],
  int: [32, true],
  int32: [32, true],
  sint32: [32, true],
  uint32: [32, false],
  int64: [64, true],
  sint64: [64, true],
  long: [64, true],
  uint64: [64, false],
  ulong: [64, false],
  size_t: [64, false],
  capability: [32, true],
  bpf_cmd: [32, true],
};

type AnyHook = Pick<Kprobe, 'args' | 'selectors'>;

const kinds = [
  'Uts',
  'Ipc',
  'Mnt',
  'Pid',
  'PidForChildren',
  'Net',
  'Time',
  'TimeForChildren',
  'Cgroup',
  'User',
];

/** Bytes as text in which the letters A to Z, and no others, are small. */
function lowered(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

function textHolds(operator: string, values: readonly string[], bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes);
  const any = values.some((value) => {
    const wanted = Buffer.from(value, 'utf8');
    if (operator === 'SubString') return text.includes(wanted);
    if (operator === 'SubStringIgnCase') return lowered(text).includes(lowered(wanted));
    if (operator.endsWith('Prefix')) return text.subarray(0, wanted.length).equals(wanted);
    if (operator.endsWith('Postfix')) {
      return text.length >= wanted.length && text.subarray(text.length - wanted.length).equals(wanted);
    }
    return text.equals(wanted);
  });
  return operator.startsWith('Not') ? !any : any;
}

/** A number as policies write it. Octal by a leading 0, as in C. */
function numberOf(text: string): bigint {
  const negative = text.startsWith('-');
  const digits = text.replace(/^[+-]/, '');
  const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits}` : digits);
  return negative ? -value : value;
}

function integerHolds(
  operator: string,
  values: readonly string[],
  register: bigint,
  [bits, signed]: readonly [number, boolean],
): boolean {
  const value = signed ? BigInt.asIntN(bits, register) : BigInt.asUintN(bits, register);
  const any = values.some((wanted) => {
    const parts = wanted.split(':').map(numberOf);
    const [first = 0n, last = first] = parts;
    if (operator === 'GT') return value > first;
    if (operator === 'LT') return value < first;
    if (operator === 'Mask') return BigInt.asUintN(bits, value & first) !== 0n;
    return value >= first && value <= last;
  });
  return operator.startsWith('Not') ? !any : any;
}

/** An address as a version and a number; IPv4 within IPv6 is IPv4. Undefined where there is none. */
function addressNumber(text: string): readonly [version: number, value: bigint] | undefined {
  if (text === '') return undefined;
  const dotted = (four: string) => four.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  if (!text.includes(':')) return [4, dotted(text)];
  const plain = text.replace(/[0-9.]+\.[0-9.]+$/, (four) => {
    const value = dotted(four);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [head = '', tail = ''] = plain.split('::');
  const groups = (part: string) => part.split(':').filter((group) => group !== '');
  const missing = 8 - groups(head).length - groups(tail).length;
  const all = [...groups(head), ...Array.from({ length: missing }, () => '0'), ...groups(tail)];
  const value = all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
  return value >> 32n === 0xffffn ? [4, value & 0xffff_ffffn] : [6, value];
}

function isInNetwork(text: string, network: string): boolean {
  const [address = '', length] = network.split('/');
  const seen = addressNumber(text);
  const wanted = addressNumber(address);
  if (seen === undefined || wanted === undefined || seen[0] !== wanted[0]) return false;
  const bits = seen[0] === 4 ? 32 : 128;
  // A network of IPv4 within IPv6 counts its bits as one of IPv6.
  const counted =
    length === undefined ? bits : Number(length) - (address.includes(':') && bits === 32 ? 96 : 0);
  const rest = BigInt(bits - counted);
  return seen[1] >> rest === wanted[1] >> rest;
}

const socketWords: Readonly<Record<string, number>> = {
  AF_UNIX: 1,
  AF_INET: 2,
  AF_INET6: 10,
  IPPROTO_TCP: 6,
  IPPROTO_UDP: 17,
  TCP_ESTABLISHED: 1,
  TCP_CLOSE: 7,
};

function socketHolds(
  operator: string,
  values: readonly string[],
  type: string,
  seen: CallArgument | undefined,
): boolean {
  const plain = operator.replace(/^Not/, '');
  const { socket, address } = seen ?? {};
  const isSource = plain.startsWith('S');
  const text = type === 'sockaddr' ? address?.address : isSource ? socket?.source : socket?.destination;
  const port = type === 'sockaddr' ? address?.port : isSource ? socket?.sourcePort : socket?.destinationPort;
  const family = type === 'sockaddr' ? address?.family : socket?.family;
  const numbers: Readonly<Record<string, number | undefined>> = {
    Family: family,
    Protocol: socket?.protocol,
    State: socket?.state,
  };
  let any: boolean;
  // What has no internet address is neither in a network nor out of it.
  if (plain.endsWith('Addr') && (text ?? '') === '') return false;
  if (plain.endsWith('Addr')) any = values.some((value) => isInNetwork(text ?? '', value));
  else if (plain.endsWith('Priv')) any = (port ?? 0) < 1024;
  else if (plain.endsWith('Port')) {
    any = values.some((value) => {
      const [low = 0n, high = low] = value.split(':').map(numberOf);
      return BigInt(port ?? 0) >= low && BigInt(port ?? 0) <= high;
    });
  } else any = values.some((value) => (socketWords[value] ?? Number(value)) === numbers[plain]);
  return operator.startsWith('Not') ? !any : any;
}

/** Whether one of a term's expressions holds. */
function expressionHolds(
  args: NonNullable<AnyHook['args']>,
  term: ArgumentTerm,
  call: DescribedCall,
): boolean {
  const valueAt = (position: number) => {
    const { type = '', index = 0 } = args[position] ?? {};
    const seen = call.arguments[index];
    const width = integerWidths[type];
    if (width === undefined) return seen?.bytes ?? new Uint8Array();
    const [bits, signed] = width;
    const register = seen?.integer ?? 0n;
    return { value: signed ? BigInt.asIntN(bits, register) : BigInt.asUintN(bits, register), bits, signed };
  };
  return term.values.some((text) => evaluateCel(parseCel(text), valueAt) === true);
}

function argumentHolds(kprobe: AnyHook, term: ArgumentTerm, call: DescribedCall): boolean {
  const args = kprobe.args ?? [];
  if (term.operator === 'CelExpr') return expressionHolds(args, term, call);
  const argument =
    term.args !== undefined
      ? args[term.args[0] ?? -1]
      : (args.find(({ index }) => index === term.index) ?? args[term.index ?? 0]);
  if (argument === undefined) throw new Error('a term names no argument');
  const seen = call.arguments[argument.index];
  if (['sock', 'socket', 'sockaddr'].includes(argument.type))
    return socketHolds(term.operator, term.values, argument.type, seen);
  const width = integerWidths[argument.type];
  if (width !== undefined) return integerHolds(term.operator, term.values, seen?.integer ?? 0n, width);
  return textHolds(term.operator, term.values, seen?.bytes ?? new Uint8Array());
}

/** A term on binaries: of one, or with followChildren of any of several. */
function binariesHold(term: BinaryTerm, binary: Uint8Array, origins: readonly ProcessOrigin[] = []): boolean {
  if (term.followChildren !== true) return textHolds(term.operator, term.values, binary);
  const positive = term.operator.replace(/^Not/, '');
  const any = origins.some((origin) => textHolds(positive, term.values, origin.binary));
  return term.operator.startsWith('Not') ? !any : any;
}

function followedPidHolds(term: PidTerm, origins: readonly ProcessOrigin[] = []): boolean {
  const numbers = term.values.map(numberOf);
  const any = origins.some(({ pid, namespacePid }, generation) => {
    if (term.isNamespacePID !== true) return numbers.includes(pid);
    // All descend from the host's processes: 0 is no number that is followed.
    return numbers.includes(namespacePid) && (namespacePid !== 0n || generation === 0);
  });
  return term.operator === 'NotIn' ? !any : any;
}

function namespaceChangesHold(
  operator: string,
  names: readonly string[],
  { process }: DescribedCall,
): boolean {
  const then = process.atExec?.namespaces;
  const any = names.some((name) => {
    const kind = kinds.indexOf(name);
    return then !== undefined && then[kind] !== process.namespaces[kind];
  });
  return operator === 'NotIn' ? !any : any;
}

function capabilityChangesHold(term: CapabilityTerm, { process, hostNamespaces }: DescribedCall): boolean {
  const user = kinds.indexOf('User');
  if (term.isNamespaceCapability === true && process.namespaces[user] === hostNamespaces[user]) return false;
  const now = process.capabilities?.[term.type] ?? [];
  const then = process.atExec?.capabilities[term.type] ?? now;
  const any = term.values.some(
    (value) => now.includes(value.toUpperCase()) !== then.includes(value.toUpperCase()),
  );
  return term.operator === 'NotIn' ? !any : any;
}

function pidHolds(term: PidTerm, { process }: DescribedCall): boolean {
  if (term.followForks === true) return followedPidHolds(term, process.origins);
  const pid = term.isNamespacePID === true ? process.namespacePid : process.pid;
  const any = term.values.some((value) => numberOf(value) === pid);
  return term.operator === 'NotIn' ? !any : any;
}

function capabilityHolds(term: CapabilityTerm, { process, hostNamespaces }: DescribedCall): boolean {
  const user = kinds.indexOf('User');
  if (term.isNamespaceCapability === true && process.namespaces[user] === hostNamespaces[user]) return false;
  const held = process.capabilities?.[term.type] ?? [];
  const any = term.values.some((value) => held.includes(value.toUpperCase()));
  return term.operator === 'NotIn' ? !any : any;
}

function namespaceHolds(term: NamespaceTerm, call: DescribedCall): boolean {
  const kind = kinds.indexOf(term.namespace);
  const any = term.values.some((value) => {
    const wanted = value === 'host_ns' ? call.hostNamespaces[kind] : numberOf(value);
    return wanted === call.process.namespaces[kind];
  });
  return term.operator === 'NotIn' ? !any : any;
}

/** Whether `matchBinaries` means the program that is about to run. */
function meansNext(
  policy: Policy,
  kprobe: AnyHook,
  selector: readonly Macro[],
  call: DescribedCall,
): boolean {
  if (!/^(security_)?bprm_/.test(call.symbol)) return false;
  const option = policy.spec.options?.find(({ name }) => name === 'match-binaries');
  if (option !== undefined) return option.value === 'next';
  const args = kprobe.args ?? [];
  const files = ['linux_binprm', 'file', 'path'];
  for (const { matchArgs } of selector) {
    for (const term of matchArgs ?? []) {
      if (term.operator === 'CelExpr') {
        if ([...celPositions(term.values)].some((position) => files.includes(args[position]?.type ?? '')))
          return false;
        continue;
      }
      const argument =
        term.args !== undefined
          ? args[term.args[0] ?? -1]
          : (args.find(({ index }) => index === term.index) ?? args[term.index ?? 0]);
      if (files.includes(argument?.type ?? '')) return false;
    }
  }
  return true;
}

function selectorHolds(
  policy: Policy,
  kprobe: AnyHook,
  parts: readonly Macro[],
  call: DescribedCall,
): boolean {
  const next = meansNext(policy, kprobe, parts, call);
  const binary = next ? (call.arguments[0]?.bytes ?? new Uint8Array()) : call.process.binary;
  const { process } = call;
  const binaryHolds = (term: BinaryTerm): boolean => binariesHold(term, binary, process.origins);
  return parts.every(
    (part) =>
      (part.matchArgs ?? []).every((term) => argumentHolds(kprobe, term, call)) &&
      (part.matchBinaries ?? []).every(binaryHolds) &&
      (part.matchNamespaces ?? []).every((term) => namespaceHolds(term, call)) &&
      (part.matchParentBinaries ?? []).every((term) =>
        binariesHold(term, process.parentBinary ?? new Uint8Array(), process.origins?.slice(1)),
      ) &&
      (part.matchPIDs ?? []).every((term) => pidHolds(term, call)) &&
      (part.matchCapabilities ?? []).every((term) => capabilityHolds(term, call)) &&
      (part.matchCapabilityChanges ?? []).every((term) => capabilityChangesHold(term, call)) &&
      (part.matchNamespaceChanges ?? []).every(({ operator, values }) =>
        namespaceChangesHold(operator, values, call),
      ),
  );
}

function hitOf(
  policy: Policy,
  policyId: number,
  hookIndex: number,
  selectorIndex: number,
  actions: readonly Action[],
): ReferenceHit {
  const named = (name: string): Action | undefined => actions.find(({ action }) => action === name);
  return {
    policyId,
    hookIndex,
    selectorIndex,
    posts: named('NoPost') === undefined,
    signal: named('Sigkill') !== undefined ? 9 : (named('Signal')?.argSig ?? 0),
    error: 0 - Math.abs(named('Override')?.argError ?? 0),
    monitor:
      policy.spec.options?.some(({ name, value }) => name === 'policy-mode' && value === 'monitor') === true,
  };
}

function names(policy: Policy, kprobe: Kprobe): string[] {
  const list = policy.spec.lists?.find(({ name }) => kprobe.call === `list:${name}`);
  const calls = list?.values ?? [kprobe.call];
  return calls.map((call) =>
    (kprobe.syscall ?? true) || list?.type === 'syscalls'
      ? call.replace(/^(__x64_)?sys_/, '__x64_sys_')
      : call,
  );
}

/** Says which selectors act on a call: of each policy and each of its hooks on the function, the first that holds. */
export function referenceHits(
  policies: readonly { readonly id: number; readonly policy: Policy }[],
  call: DescribedCall,
): ReferenceHit[] {
  const hits: ReferenceHit[] = [];
  for (const { id, policy } of policies) {
    const functions = [...(policy.spec.kprobes ?? []), ...(policy.spec.fentries ?? [])];
    const hooks = [
      ...functions.map((hook) => ({ hook, names: names(policy, hook) })),
      ...(policy.spec.lsmhooks ?? []).map((hook) => ({ hook, names: [hook.hook] })),
    ];
    for (const [hookIndex, { hook: kprobe, names: symbols }] of hooks.entries()) {
      if (!symbols.includes(call.symbol)) continue;
      const selectors =
        kprobe.selectors === undefined || kprobe.selectors.length === 0 ? [{}] : kprobe.selectors;
      for (const [selectorIndex, selector] of selectors.entries()) {
        const macros = 'macros' in selector ? (selector.macros ?? []) : [];
        const parts: Macro[] = [selector, ...macros.map((name) => policy.spec.selectorsMacros?.[name] ?? {})];
        if (!selectorHolds(policy, kprobe, parts, call)) continue;
        const actions = parts.flatMap((part) => part.matchActions ?? []);
        hits.push(hitOf(policy, id, hookIndex, selectorIndex, actions));
        break;
      }
    }
  }
  return hits;
}
