// SPDX-License-Identifier: Apache-2.0
// Owns seeded random policies and calls for the tests of agreement: what they say is drawn from a small world of paths
// and numbers, so that terms hold about as often as not, and paths begin and end like each other.

import { compileCel } from '../cel/compile.js';
import { textBytesMax } from '../support.js';

/** A seeded generator of whole numbers (splitmix64): the same seed gives the same row on any machine. */
export class Random {
  private state: bigint;

  constructor(readonly seed: number) {
    this.state = BigInt.asUintN(64, BigInt(seed));
  }

  private next(): bigint {
    this.state = BigInt.asUintN(64, this.state + 0x9e3779b97f4a7c15n);
    let z = this.state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    return z ^ (z >> 31n);
  }

  /** A number from 0 to bound - 1. */
  below(bound: number): number {
    return Number(this.next() % BigInt(bound));
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  /** Between low and high items, distinct by position where there are enough. */
  some<Item>(items: readonly Item[], low: number, high: number): Item[] {
    const left = [...items];
    const count = Math.min(left.length, low + this.below(high - low + 1));
    return Array.from({ length: count }, () => left.splice(this.below(left.length), 1)[0] as Item);
  }
}

export type RandomArgument =
  /** An integer parameter: `type` is one of the int kinds, `values` are as the type reads them. */
  | { readonly index: number; readonly types: readonly string[]; readonly values: readonly bigint[] }
  /** A socket, or an address by itself. */
  | {
      readonly index: number;
      readonly types: readonly string[];
      readonly addresses: readonly string[];
      readonly ports: readonly number[];
    }
  /** A text or path parameter, or a buffer, which has a `sizeArgIndex`: `texts` are what calls pass. */
  | {
      readonly index: number;
      readonly types: readonly string[];
      readonly texts: readonly string[];
      readonly sizeArgIndex?: number;
    };

export interface RandomHook {
  /** The list it is written in; kprobes by default. */
  readonly part?: 'kprobes' | 'fentries' | 'lsmhooks';
  readonly call: string;
  readonly syscall: boolean;
  readonly arguments: readonly RandomArgument[];
  /** Enforcing actions that policies on this hook may have, as YAML flow maps such as `{action: Signal, argSig: 18}`. */
  readonly enforcing: readonly string[];
}

/** Everything that policies can speak of. */
export interface RandomWorld {
  readonly hooks: readonly RandomHook[];
  readonly binaries: readonly string[];
  /** Names of namespaces and the inode numbers that processes have, written as text. */
  readonly namespaces: readonly { readonly name: string; readonly inodes: readonly string[] }[];
  /** Binaries that processes are made by; none by default. */
  readonly parents?: readonly string[];
  /** Process ids, in the host's pid namespace and in their own, written as text; none by default. */
  readonly pids?: readonly string[];
  readonly namespacePids?: readonly string[];
  /** Names of capabilities; none by default. */
  readonly capabilities?: readonly string[];
  /** Whether policies may follow descent; not by default. */
  readonly follows?: boolean;
  /** Whether policies may ask what changed since the last exec; not by default. */
  readonly changes?: boolean;
}

const negations = ['', 'Not'] as const;

function list(items: readonly (string | bigint)[]): string {
  return `[${items.map((item) => (typeof item === 'bigint' ? `"${item}"` : JSON.stringify(item))).join(', ')}]`;
}

/** A number in one of the ways in which policies write it. */
function spell(random: Random, value: bigint): string {
  if (value < 0n) return String(value);
  return random.pick([
    String(value),
    `0x${value.toString(16)}`,
    value === 0n ? '0' : `0${value.toString(8)}`,
  ]);
}

function cut(random: Random, text: string, end: 'head' | 'tail'): string {
  const least = end === 'head' && text.startsWith('/') ? 2 : 1;
  const length = least + random.below(Math.max(1, text.length - least + 1));
  return end === 'head' ? text.slice(0, length) : text.slice(-length);
}

function textTerm(random: Random, texts: readonly string[], operators: readonly [string, string]): string {
  const chosen = random.some(texts, 1, 4);
  const kind = random.below(3);
  if (kind === 0) {
    const operator = random.pick(operators);
    const longer = chosen.filter((text) => text.length < 200).map((text) => `${text}x`);
    const values = random.chance(20) ? [...chosen, ...longer] : chosen;
    return `operator: ${operator}, values: ${list(values)}`;
  }
  const name = kind === 1 ? 'Prefix' : 'Postfix';
  const values = chosen.map((text) => cut(random, text, kind === 1 ? 'head' : 'tail'));
  return `operator: ${random.pick(negations)}${name}, values: ${list([...new Set(values)])}`;
}

/** Something from the middle of what calls pass, in one case or in any. */
function substringTerm(random: Random, texts: readonly string[]): string {
  const isFolded = random.chance(50);
  const values = random.some(texts, 1, 3).map((text) => {
    const head = cut(random, text, 'head');
    const part = cut(random, head, 'tail').slice(0, 1 + random.below(12));
    if (!isFolded || random.chance(50)) return part;
    return part.replace(/[a-z]/g, (letter) => letter.toUpperCase());
  });
  const operator = isFolded ? 'SubStringIgnCase' : 'SubString';
  return `operator: ${operator}, values: ${list([...new Set(values)])}`;
}

function argumentTerm(random: Random, argument: RandomArgument, type: string): string {
  if ('texts' in argument && random.chance(25))
    return `{index: ${argument.index}, ${substringTerm(random, argument.texts)}}`;
  if ('texts' in argument) {
    const operators = random.pick([
      ['Equal', 'NotEqual'],
      ['In', 'NotIn'],
    ] as const);
    return `{index: ${argument.index}, ${textTerm(random, argument.texts, operators)}}`;
  }
  if ('addresses' in argument) return `{index: ${argument.index}, ${socketTerm(random, argument, type)}}`;
  const fits = argument.values.filter((value) => fitsType(value, type));
  if (random.chance(50)) return `{index: ${argument.index}, ${numberTerm(random, fits, type)}}`;
  const values = random.some(fits, 1, 4).map((value) => spell(random, value));
  const operator = random.pick(['Equal', 'NotEqual', 'In', 'NotIn', 'eq', 'neq']);
  return `{index: ${argument.index}, operator: ${operator}, values: ${list(values)}}`;
}

/** An address as it is, or a network around it. */
function network(random: Random, address: string): string {
  if (random.chance(40)) return address;
  const bits = address.includes(':') ? 128 : 32;
  // Of IPv4 within IPv6 no more is left open than the IPv4 part.
  const least = address.startsWith('::ffff:') ? 96 : 0;
  return `${address}/${least + random.below(bits - least + 1)}`;
}

function socketTerm(
  random: Random,
  { addresses, ports }: { readonly addresses: readonly string[]; readonly ports: readonly number[] },
  type: string,
): string {
  const kinds = ['Addr', 'Addr', 'Port', 'Priv', 'Family', 'Protocol', 'State'];
  const kind = random.pick(type === 'sockaddr' ? kinds.slice(0, -2) : kinds);
  const side = random.pick(['S', 'D']);
  const several = (make: () => string) => list(Array.from({ length: 1 + random.below(3) }, make));
  const near = () => Math.min(65535, Math.max(0, random.pick(ports) + random.below(3) - 1));
  const range = () => {
    const [low, high] = [near(), near()].sort((a, b) => a - b);
    return `${low}:${high}`;
  };
  switch (kind) {
    case 'Addr':
      return `operator: ${random.pick(negations)}${side}Addr, values: ${several(() => network(random, random.pick(addresses)))}`;
    case 'Port':
      return `operator: ${random.pick(negations)}${side}Port, values: ${several(() => (random.chance(50) ? range() : String(near())))}`;
    case 'Priv':
      return `operator: ${random.pick(negations)}${side}PortPriv`;
    case 'Family':
      return `operator: Family, values: ${several(() => random.pick(['AF_INET', 'AF_INET6', 'AF_UNIX', '2']))}`;
    case 'Protocol':
      return `operator: Protocol, values: ${several(() => random.pick(['IPPROTO_TCP', 'IPPROTO_UDP', '17']))}`;
    default:
      return `operator: State, values: ${several(() => random.pick(['TCP_CLOSE', 'TCP_ESTABLISHED', '7']))}`;
  }
}

/** A comparison: with values that calls pass, or their neighbours. */
function numberTerm(random: Random, values: readonly bigint[], type: string): string {
  const near = (): bigint => {
    const value = random.pick(values) + random.pick([-1n, 0n, 0n, 1n]);
    return fitsType(value, type) ? value : random.pick(values);
  };
  const range = (): string => {
    const [low = 0n, high = 0n] = [near(), near()].sort((a, b) => (a < b ? -1 : 1));
    return `${spell(random, low)}:${spell(random, high)}`;
  };
  const operator = random.pick([
    'GT',
    'LT',
    'GreaterThan',
    'lessthan',
    'InRange',
    'NotInRange',
    'Mask',
    'InMap',
    'NotInMap',
  ]);
  const several = (make: () => string) => Array.from({ length: 1 + random.below(4) }, make);
  if (/Range$|Map$/.test(operator)) {
    return `operator: ${operator}, values: ${list(several(() => (random.chance(70) ? range() : spell(random, near()))))}`;
  }
  if (operator !== 'Mask')
    return `operator: ${operator}, values: ${list(several(() => spell(random, near())))}`;
  const bits = /\d+/.exec(type)?.[0] ?? (/^(long|ulong|size_t)$/.test(type) ? '64' : '32');
  const bit = () => spell(random, 1n << BigInt(random.below(Number(bits))));
  return `operator: Mask, values: ${list(several(() => (random.chance(60) ? bit() : spell(random, near()))))}`;
}

function fitsType(value: bigint, type: string): boolean {
  const unsigned = type.startsWith('u') || type === 'size_t';
  const bits = BigInt(/\d+/.exec(type)?.[0] ?? (/^(long|ulong|size_t)$/.test(type) ? '64' : '32'));
  return unsigned
    ? value >= 0n && value < 1n << bits
    : value >= -(1n << (bits - 1n)) && value < 1n << (bits - 1n);
}

/** Terms on process ids, capabilities and parents, as far as the world has them. */
function processTerms(random: Random, world: RandomWorld): string[] {
  const lines: string[] = [];
  const { parents = [], pids = [], namespacePids = [], capabilities = [] } = world;
  const inOrNot = () => random.pick(['In', 'NotIn']);
  if (parents.length > 0 && random.chance(15))
    lines.push(
      'matchParentBinaries:',
      `- {${textTerm(random, parents, ['In', 'NotIn'])}${followed(random, world, 'followChildren')}}`,
    );
  if (pids.length > 0 && random.chance(12)) {
    const isOwn = random.chance(50);
    const values = random.some(isOwn ? namespacePids : pids, 1, 3);
    lines.push(
      'matchPIDs:',
      `- {operator: ${inOrNot()}, isNamespacePID: ${isOwn}, values: ${list(values)}${followed(random, world, 'followForks')}}`,
    );
  }
  if (capabilities.length > 0 && random.chance(15)) {
    const type = random.pick(['', 'type: Effective, ', 'type: Permitted, ', 'type: Inheritable, ']);
    const own = random.chance(20) ? 'isNamespaceCapability: true, ' : '';
    const values = list(random.some(capabilities, 1, 3));
    lines.push('matchCapabilities:', `- {${type}${own}operator: ${inOrNot()}, values: ${values}}`);
  }
  if (world.changes === true && random.chance(15)) {
    const names = random.some(['Uts', 'Ipc', 'Pid', 'User', 'Net'], 1, 3);
    lines.push('matchNamespaceChanges:', `- {operator: ${inOrNot()}, values: ${list(names)}}`);
  }
  if (world.changes === true && capabilities.length > 0 && random.chance(15)) {
    const type = random.pick(['Effective', 'Permitted', 'Inheritable']);
    const values = list(random.some(capabilities, 1, 3));
    lines.push('matchCapabilityChanges:', `- {type: ${type}, operator: ${inOrNot()}, values: ${values}}`);
  }
  return lines;
}

function followed(random: Random, world: RandomWorld, field: string): string {
  return world.follows === true && random.chance(30) ? `, ${field}: true` : '';
}

/** An expression over the arguments that a hook reads; undefined where it reads none that expressions can speak of. */
function celExpression(
  random: Random,
  hook: RandomHook,
  types: ReadonlyMap<number, string>,
  depth: number,
): string | undefined {
  if (depth < 2 && random.chance(60)) {
    const sides = [0, 1].map(() => celExpression(random, hook, types, depth + 1));
    if (sides.includes(undefined)) return undefined;
    const joined = `(${sides.join(random.pick([' && ', ' || ', ' || ']))})`;
    return random.chance(20) ? `!${joined}` : joined;
  }
  const read = [...types].flatMap(([index, type], position) => {
    const argument = hook.arguments.find((other) => other.index === index);
    return argument === undefined || 'addresses' in argument ? [] : [{ position, type, argument }];
  });
  if (read.length === 0) return undefined;
  const { position, type, argument } = random.pick(read);
  const name = `arg${position}`;
  if ('texts' in argument) {
    const some = () => JSON.stringify(random.pick(argument.texts));
    const part = (end: 'head' | 'tail') => JSON.stringify(cut(random, random.pick(argument.texts), end));
    return random.pick([
      `${name} ${random.pick(['==', '!='])} ${some()}`,
      `${name} in [${some()}, ${some()}]`,
      `${name}.startsWith(${part('head')})`,
      `!${name}.endsWith(${part('tail')})`,
      `${name}.contains(${part('tail')})`,
    ]);
  }
  const { values } = argument as RandomArgument & { readonly values: readonly bigint[] };
  const sign = random.pick(['==', '!=', '<', '<=', '>', '>=']);
  const unsigned = type.startsWith('u') || type === 'size_t';
  const number = () => {
    const value = random.pick(values.filter((each) => fitsType(each, type)));
    return `${value}${unsigned && random.chance(50) ? 'u' : ''}`;
  };
  const bits = `0x${(1n << BigInt(random.below(7))).toString(16)}`;
  const other = read.find((each) => each.position !== position && each.type === type);
  if (other !== undefined && random.chance(50)) {
    if (random.chance(50)) return `${name} ${sign} arg${other.position}`;
    return `${name} ${random.pick(['+', '-'])} arg${other.position} ${random.pick(['==', '!='])} ${number()}`;
  }
  return random.pick([
    `${name} ${sign} ${number()}`,
    `${number()} ${sign} ${name}`,
    `${name} + ${number()} ${sign} ${number()}`,
    `${number()} - ${name} ${sign} ${number()}`,
    `!(${name} in [${number()}, ${number()}, ${number()}])`,
    `${name} * ${random.pick([2, 3, 6])} ${sign} ${number()}`,
    `(${name} + ${number()}) / ${random.pick([2, 5])} ${sign} ${number()}`,
    `${name} ${sign} (${name} ${sign} ${number()} ? ${number()} : ${number()})`,
    `math.bitAnd(${name}, ${bits}) ${random.pick(['==', '!='])} ${random.pick(['0', bits])}`,
  ]);
}

function selector(
  random: Random,
  world: RandomWorld,
  hook: RandomHook,
  types: ReadonlyMap<number, string>,
): string[] {
  const lines: string[] = [];
  const terms: string[] = [];
  for (const argument of hook.arguments) {
    const type = types.get(argument.index);
    if (type === undefined || !random.chance(60)) continue;
    for (let n = random.pick([1, 1, 1, 2, 3]); n > 0; n--) terms.push(argumentTerm(random, argument, type));
  }
  if (random.chance(25)) {
    const expression = celExpression(random, hook, types, 0);
    const args = [...types].map(([index, type]) => ({ index, type }));
    const compiled = compileCel(expression === undefined ? [] : [expression], args);
    // One that holds for no call is refused.
    if (!('error' in compiled) && compiled.length > 0)
      terms.push(`{operator: CelExpr, values: [${JSON.stringify(expression)}]}`);
  }
  if (terms.length > 0) lines.push('matchArgs:', ...terms.map((term) => `- ${term}`));
  if (random.chance(40)) {
    const count = random.pick([1, 1, 2]);
    lines.push('matchBinaries:');
    // The program that is about to run descends from none yet.
    const follows = /bprm_/.test(hook.call) ? { ...world, follows: false } : world;
    for (let n = 0; n < count; n++) {
      lines.push(
        `- {${textTerm(random, world.binaries, ['In', 'NotIn'])}${followed(random, follows, 'followChildren')}}`,
      );
    }
  }
  if (random.chance(30) && world.namespaces.length > 0) {
    const { name, inodes } = random.pick(world.namespaces);
    const values = random.some([...inodes, 'host_ns'], 1, 2);
    lines.push(
      'matchNamespaces:',
      `- {namespace: ${name}, operator: ${random.pick(['In', 'NotIn'])}, values: ${list(values)}}`,
    );
  }
  lines.push(...processTerms(random, world));
  const actions: string[] = [];
  if (random.chance(15)) actions.push('{action: NoPost}');
  else if (random.chance(50)) actions.push('{action: Post}');
  if (hook.enforcing.length > 0 && random.chance(25)) actions.push(random.pick(hook.enforcing));
  if (actions.length > 0) lines.push('matchActions:', ...actions.map((action) => `- ${action}`));
  if (lines.length === 0) return ['- matchActions: [{action: Post}]'];
  return lines.map((line, index) => (index === 0 ? `- ${line}` : `  ${line}`));
}

/** Writes one random policy on the given hooks, as the YAML text that a person would write. */
export function randomPolicyText(
  random: Random,
  world: RandomWorld,
  name: string,
  hooks: readonly RandomHook[],
): string {
  const monitor = random.chance(30);
  const lines = [
    'apiVersion: cilium.io/v1alpha1',
    'kind: TracingPolicy',
    `metadata: {name: ${name}}`,
    'spec:',
    ...(monitor ? ['  options:', '  - {name: policy-mode, value: monitor}'] : []),
  ];
  const part = (hook: RandomHook) => hook.part ?? 'kprobes';
  // One list after the other.
  const sorted = (['kprobes', 'fentries', 'lsmhooks'] as const).flatMap((name) =>
    hooks.filter((hook) => part(hook) === name),
  );
  for (const [index, hook] of sorted.entries()) {
    const before = sorted[index - 1];
    if (before === undefined || part(before) !== part(hook)) lines.push(`  ${part(hook)}:`);
    const read = hook.arguments.filter(() => random.chance(75));
    const types = new Map(read.map((argument) => [argument.index, random.pick(argument.types)]));
    if (part(hook) === 'lsmhooks') lines.push(`  - hook: ${hook.call}`);
    else lines.push(`  - call: ${hook.call}`, `    syscall: ${hook.syscall}`);
    if (read.length > 0) {
      const size = (argument: RandomArgument) =>
        'sizeArgIndex' in argument ? `, sizeArgIndex: ${argument.sizeArgIndex}` : '';
      lines.push(
        '    args:',
        ...read.map(
          (argument) =>
            `    - {index: ${argument.index}, type: ${types.get(argument.index)}${size(argument)}}`,
        ),
      );
    }
    const count = random.below(5);
    if (count === 0) continue;
    lines.push('    selectors:');
    for (let n = 0; n < count; n++) {
      lines.push(...selector(random, world, hook, types).map((line) => `    ${line}`));
    }
  }
  return `${lines.join('\n')}\n`;
}

/** Writes a set of random policies: each has one to three of the world's hooks. */
export function randomPolicyTexts(random: Random, world: RandomWorld, count: number): string[] {
  return Array.from({ length: count }, (_, index) =>
    randomPolicyText(random, world, `random-${random.seed}-${index}`, random.some(world.hooks, 1, 3)),
  );
}

/** Paths that begin and end like each other, under a folder; some are longer than a trie takes. */
export function relatedPaths(base: string): string[] {
  return [
    `${base}/a`,
    `${base}/ab`,
    `${base}/abc`,
    `${base}/abc.conf`,
    `${base}/b.conf`,
    `${base}/d/abc`,
    `${base}/d/abc.conf`,
    `${base}/d/e/abc.conf`,
    `${base}/d/`.padEnd(textBytesMax, 'long-name-'),
    `${base}/${'long-folder/'.repeat(25)}abc.conf`,
    `${base}/${'long-folder/'.repeat(40)}abc`,
    `${base}/${'long-folder/'.repeat(40)}abc.conf`,
    `${base}/ünï`,
    `${base}/with space`,
  ];
}
