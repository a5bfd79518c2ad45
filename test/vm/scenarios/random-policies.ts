// SPDX-License-Identifier: Apache-2.0
// Two hundred random policies, 64 of them on one hook: what the kernel makes of random calls is compared with what the
// reference matcher says, event by event, in order, and with what the calls returned. WEIR_SEED is not to be had in the
// guest: the seed is written here, and every failure names it.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { readHostNamespaces } from '@weir/agent/policy';
import { type Policy, parsePolicies } from '@weir/policy';
import {
  type CallArgument,
  type DescribedCall,
  type DescribedSocket,
  Random,
  type RandomHook,
  type RandomWorld,
  type ReferenceHit,
  randomPolicyText,
  referenceHits,
  relatedPaths,
} from '@weir/policy/testing';
import { ArgumentType, NamespaceKind, readSocketArgument, SOCKET_ARGUMENT_BYTES } from '@weir/schema';
import { type HookEvent, HookGuest, isWhole } from '../guest/hook-events.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const seedFirst = 20_260;
/** Policies of each set; together two hundred. */
const setSizes = [64, 64, 64, 8];
const linesOfEach = 40;

const atCurrentFolder = -100n;
const closeOnExec = 0o2000000n;
const newUts = 0x04000000n;
const newIpc = 0x08000000n;
/** Not an option of prctl, nor when it is cut to 32 bits. */
const options = [-1n, -2n, 255n, 1000n, 65535n, 2147483647n, -2147483648n, 0x1_0000_03e8n];
const numbers = [
  0n,
  1n,
  2n,
  7n,
  200n,
  -1n,
  -2n,
  255n,
  -128n,
  65535n,
  4294967295n,
  0x1_0000_0001n,
  -(2n ** 63n),
];

const addresses = [
  '127.0.0.1',
  '127.0.1.2',
  '127.8.0.1',
  '::1',
  '::ffff:127.0.1.2',
  '::ffff:127.9.9.9',
  '0.0.0.0',
];
const ports = [0, 80, 1023, 1024, 5353, 65535];
const familyInet = 2;
const familyInet6 = 10;
const protocolDatagram = 17;
/** What sockets of UDP are in while they have no peer. */
const stateClosed = 7;

const integerTypes: ReadonlySet<number> = new Set(
  Object.entries(ArgumentType).flatMap(([name, type]) => (/^u?int\d+$/.test(name) ? [type] : [])),
);

interface World {
  readonly random: RandomWorld;
  readonly files: readonly string[];
  readonly missing: string;
  readonly binaries: readonly string[];
  readonly host: readonly bigint[];
}

/** A line for the program `calls`, and the calls of hooked functions that it comes to. */
interface Step {
  readonly line: string;
  /** Told what a call returned so far (0, or the errno that denied it), gives the next one; undefined at the end. */
  readonly calls: (
    errors: readonly number[],
  ) => Omit<DescribedCall, 'process' | 'hostNamespaces'> | undefined;
  /** What the program prints, by the errors of the calls. */
  readonly prints: (errors: readonly number[]) => string;
  /** Namespaces that are new after it. */
  readonly renews?: readonly number[];
}

function makeWorld(folder: string): World {
  const files = relatedPaths(`${folder}/files`);
  const binaries = relatedPaths(`${folder}/bin`).slice(0, 8);
  for (const path of [...files, ...binaries]) mkdirSync(dirname(path), { recursive: true });
  for (const path of files) writeFileSync(path, 'x');
  const [first = '', ...others] = binaries;
  copyFileSync('/weir/bin/calls', first);
  for (const path of others) linkSync(first, path);
  const host = readHostNamespaces().map((inode) => inode ?? 0n);
  const inodes = (kind: number) => [String(host[kind]), '1'];
  const missing = `${folder}/files/missing`;
  const texts = [...files, missing];
  const hooks: RandomHook[] = [
    {
      call: 'security_file_open',
      syscall: false,
      arguments: [{ index: 0, types: ['file'], texts: [...files, ...binaries] }],
      enforcing: [
        '{action: Override, argError: -1}',
        '{action: Override, argError: 13}',
        '{action: Signal, argSig: 18}',
      ],
    },
    {
      call: 'security_bprm_check',
      syscall: false,
      arguments: [{ index: 0, types: ['linux_binprm'], texts: binaries }],
      enforcing: ['{action: Override, argError: -13}', '{action: Signal, argSig: 18}'],
    },
    {
      part: 'lsmhooks',
      call: 'file_open',
      syscall: false,
      arguments: [{ index: 0, types: ['file'], texts: [...files, ...binaries] }],
      enforcing: ['{action: Override, argError: -13}', '{action: Signal, argSig: 18}'],
    },
    {
      part: 'lsmhooks',
      call: 'bprm_check_security',
      syscall: false,
      arguments: [{ index: 0, types: ['linux_binprm'], texts: binaries }],
      enforcing: ['{action: Override, argError: 1}'],
    },
    {
      part: 'fentries',
      call: 'do_sys_openat2',
      syscall: false,
      arguments: [
        { index: 0, types: ['int'], values: [atCurrentFolder, 0n, 3n] },
        { index: 1, types: ['string'], texts },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: 'sys_openat',
      syscall: true,
      arguments: [
        { index: 0, types: ['int'], values: [atCurrentFolder, 0n, 3n] },
        { index: 1, types: ['string'], texts },
        { index: 2, types: ['int', 'uint32'], values: [0n, closeOnExec] },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: 'sys_setns',
      syscall: true,
      arguments: [
        { index: 0, types: ['int'], values: [-1n, 100n, 200n] },
        { index: 1, types: ['int', 'uint32'], values: numbers },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: 'security_socket_connect',
      syscall: false,
      arguments: [
        { index: 0, types: ['socket'], addresses, ports },
        { index: 1, types: ['sockaddr'], addresses, ports },
      ],
      enforcing: ['{action: Override, argError: -13}', '{action: Signal, argSig: 18}'],
    },
    {
      part: 'lsmhooks',
      call: 'socket_bind',
      syscall: false,
      arguments: [
        { index: 0, types: ['socket'], addresses, ports },
        { index: 1, types: ['sockaddr'], addresses, ports },
      ],
      enforcing: [],
    },
    {
      call: 'sys_connect',
      syscall: true,
      arguments: [
        { index: 0, types: ['int'], values: [BigInt(firstFree), 0n] },
        { index: 1, types: ['sockaddr'], addresses, ports },
      ],
      enforcing: [],
    },
    {
      call: 'sys_pwrite64',
      syscall: true,
      arguments: [
        { index: 0, types: ['int'], values: [-1n, 200n] },
        { index: 1, types: ['char_buf', 'const_buf'], texts, sizeArgIndex: 3 },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: '__x64_sys_dup',
      syscall: true,
      arguments: [{ index: 0, types: ['fd'], texts: files }],
      enforcing: [],
    },
    {
      call: 'sys_prctl',
      syscall: true,
      arguments: [
        { index: 0, types: ['int', 'uint32'], values: options },
        { index: 1, types: ['int64'], values: numbers },
        { index: 2, types: ['uint8'], values: numbers },
        { index: 3, types: ['int16', 'uint16'], values: numbers },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: 'sys_lseek',
      syscall: true,
      arguments: [
        { index: 0, types: ['int32'], values: [-1n, 200n] },
        { index: 1, types: ['long', 'ulong'], values: numbers },
        { index: 2, types: ['uint32', 'int8'], values: numbers },
      ],
      enforcing: [],
    },
  ];
  return {
    random: {
      hooks,
      binaries,
      namespaces: [
        { name: 'Uts', inodes: inodes(NamespaceKind.uts) },
        { name: 'Ipc', inodes: inodes(NamespaceKind.ipc) },
        { name: 'Pid', inodes: inodes(NamespaceKind.pid) },
      ],
    },
    files,
    missing,
    binaries,
    host,
  };
}

const register = (value: bigint) => BigInt.asUintN(64, value);
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const integers = (...values: bigint[]) => values.map((value) => ({ integer: register(value) }));

/** A line that makes one call, of which nothing denies. */
function plainStep(name: string, values: readonly bigint[], printed: string): Step {
  return {
    line: [name, ...values].join('\t'),
    calls: (errors) =>
      errors.length === 0 ? { symbol: `__x64_sys_${name}`, arguments: integers(...values) } : undefined,
    prints: () => printed,
  };
}

const errnoBadDescriptor = '-9';
const errnoInvalid = '-22';
const errnoMissing = '-2';
/** 0, 1 and 2 are the program's pipes. */
const firstFree = 3;

/** Functions that an openat comes to, in their order. */
const openSymbols = ['__x64_sys_openat', 'do_sys_openat2', 'security_file_open', 'file_open'];
const opensFile = 2;

function openStep(world: World, path: string, flags: bigint): Step {
  const isThere = path !== world.missing;
  return {
    line: ['openat', atCurrentFolder, path, flags].join('\t'),
    calls: (errors) => {
      const symbol = openSymbols[errors.length];
      if (symbol === undefined || errors.some((error) => error !== 0)) return undefined;
      if (errors.length >= opensFile)
        return isThere ? { symbol, arguments: [{ bytes: bytesOf(path) }] } : undefined;
      const [directory, , flagsArgument] = integers(atCurrentFolder, 0n, flags);
      return { symbol, arguments: [directory ?? {}, { bytes: bytesOf(path) }, flagsArgument ?? {}] };
    },
    prints: (errors) =>
      isThere
        ? String(errors.slice(0, openSymbols.length).find((error) => error !== 0) ?? firstFree)
        : errnoMissing,
  };
}

function dupStep(world: World, path: string): Step {
  const open = openStep(world, path, 0n);
  /** How many of the calls are those of the openat. */
  const opened = (errors: readonly number[]): number => {
    let count = 0;
    while (count < errors.length && open.calls(errors.slice(0, count)) !== undefined) count++;
    return count;
  };
  const isOpen = (errors: readonly number[]) => errors.slice(0, opened(errors)).every((error) => error === 0);
  return {
    line: `dup\t${path}`,
    calls: (errors) => {
      const count = opened(errors);
      if (errors.length > count) return undefined;
      const next = open.calls(errors);
      if (next !== undefined) return next;
      const given = isOpen(errors)
        ? { integer: register(BigInt(firstFree)), bytes: bytesOf(path) }
        : { integer: register(-1n), bytes: new Uint8Array() };
      return { symbol: '__x64_sys_dup', arguments: [given] };
    },
    prints: (errors) => (isOpen(errors) ? String(firstFree + 1) : errnoBadDescriptor),
  };
}

/** Bytes that are written to no file. */
function writeStep(descriptor: bigint, text: string): Step {
  const [first = {}] = integers(descriptor);
  return {
    line: `pwrite\t${descriptor}\t${text}`,
    calls: (errors) =>
      errors.length === 0
        ? { symbol: '__x64_sys_pwrite64', arguments: [first, { bytes: bytesOf(text) }] }
        : undefined,
    prints: () => errnoBadDescriptor,
  };
}

interface End {
  readonly address: string;
  readonly port: number;
}

/** A socket of UDP that is bound, unless its own end is undefined, and connected. */
function connectStep(own: End | undefined, peer: End): Step {
  const isSix = peer.address.includes(':');
  const family = isSix ? familyInet6 : familyInet;
  const nowhere = isSix ? '::' : '0.0.0.0';
  const socket = (bound: End | undefined): DescribedSocket => ({
    family,
    protocol: protocolDatagram,
    state: stateClosed,
    source: bound?.address ?? nowhere,
    sourcePort: bound?.port ?? 0,
    destination: nowhere,
    destinationPort: 0,
  });
  const named = ({ address, port }: End) => ({ address: { family, address, port } });
  const calls = [
    ...(own === undefined
      ? []
      : [{ symbol: 'socket_bind', arguments: [{ socket: socket(undefined) }, named(own)] }]),
    { symbol: '__x64_sys_connect', arguments: [{ integer: register(BigInt(firstFree)) }, named(peer)] },
    { symbol: 'security_socket_connect', arguments: [{ socket: socket(own) }, named(peer)] },
  ];
  return {
    line: ['connect', own?.address ?? '-', own?.port ?? 0, peer.address, peer.port].join('\t'),
    calls: (errors) => calls[errors.length],
    prints: (errors) => String(errors.find((error) => error !== 0) ?? 0),
  };
}

function randomConnect(random: Random): Step {
  const isSix = random.chance(50);
  const some = addresses.filter((address) => address.includes(':') === isSix);
  // Unprivileged, and not to be in use: the kernel would choose another where it is 0.
  const own = { address: random.pick(some), port: 1024 + random.below(3) * 2000 };
  const peer = { address: random.pick(some), port: random.pick(ports) };
  return connectStep(random.chance(50) && canConnect(own.address, peer.address) ? own : undefined, peer);
}

/** Whether a socket that is bound to one address of this host may be connected to the other: IPv6 speaks IPv4 or not. */
function canConnect(own: string, peer: string): boolean {
  return own.startsWith('::ffff:') === peer.startsWith('::ffff:');
}

function execStep(path: string): Step {
  const symbols = ['security_file_open', 'file_open', 'security_bprm_check', 'bprm_check_security'];
  return {
    line: `exec\t${path}`,
    calls: (errors) => {
      const symbol = symbols[errors.length];
      const isDenied = errors.some((error) => error !== 0);
      return symbol === undefined || isDenied ? undefined : { symbol, arguments: [{ bytes: bytesOf(path) }] };
    },
    prints: (errors) => String(errors.find((error) => error !== 0) ?? 0),
  };
}

function unshareStep(flag: bigint, kind: number): Step {
  return { line: `unshare\t${flag}`, calls: () => undefined, prints: () => '0', renews: [kind] };
}

function randomStep(random: Random, world: World): Step {
  const number = () => random.pick(numbers);
  switch (random.below(11)) {
    case 10:
      return writeStep(random.pick([-1n, 200n]), random.pick(world.files));
    case 8:
    case 9:
      return randomConnect(random);
    case 0:
    case 1:
      return openStep(world, random.pick([...world.files, world.missing]), random.pick([0n, closeOnExec]));
    case 2:
      return dupStep(world, random.pick(world.files));
    case 3:
      return plainStep('setns', [random.pick([-1n, 100n, 200n]), number()], errnoBadDescriptor);
    case 4:
      return plainStep('prctl', [random.pick(options), number(), number(), number(), number()], errnoInvalid);
    case 5:
      return plainStep('lseek', [random.pick([-1n, 200n]), number(), number()], errnoBadDescriptor);
    default:
      return execStep(random.pick(world.binaries));
  }
}

/** Width and sign of an integer type, undefined for one that is shown as text. */
function widthOf(type: string): readonly [bits: number, isSigned: boolean] | undefined {
  if (type === 'int') return [32, true];
  if (type === 'long') return [64, true];
  if (type === 'ulong' || type === 'size_t') return [64, false];
  const match = /^(u?)int(8|16|32|64)$/.exec(type);
  return match === null ? undefined : [Number(match[2]), match[1] === ''];
}

/** The ends of a socket, or an address by itself, as text. */
function socketText({ socket, address }: CallArgument = {}): string {
  if (address !== undefined) return `${address.family} ${address.address}:${address.port}`;
  if (socket === undefined) return '';
  const { family, protocol, state, source, sourcePort, destination, destinationPort } = socket;
  return `${family} ${protocol} ${state} ${source}:${sourcePort} ${destination}:${destinationPort}`;
}

/** The same of the payload of an event. */
function payloadText(type: number, isOwn: boolean, payload: string): string {
  const bytes = Buffer.from(payload, 'latin1');
  if (bytes.length !== SOCKET_ARGUMENT_BYTES) return `${bytes.length} bytes`;
  const read = readSocketArgument(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
  const text = (address: Uint8Array | readonly number[]) => addressText(read.family, [...address]);
  const [source, destination] = [text(read.sourceAddress), text(read.destinationAddress)];
  if (type === ArgumentType.sockaddr) {
    return isOwn
      ? `${read.family} ${source}:${read.sourcePort}`
      : `${read.family} ${destination}:${read.destinationPort}`;
  }
  return `${read.family} ${read.protocol} ${read.state} ${source}:${read.sourcePort} ${destination}:${read.destinationPort}`;
}

/** An address in the spelling of this file. */
function addressText(family: number, bytes: readonly number[]): string {
  if (family === familyInet) return bytes.slice(0, 4).join('.');
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  if (isMapped) return `::ffff:${bytes.slice(12).join('.')}`;
  return bytes.slice(0, 15).every((byte) => byte === 0) ? `::${bytes[15] || ''}` : bytes.join(' ');
}

/** The arguments that an event of a policy's hook is to show. */
function shownBy(policy: Policy, hookIndex: number, call: Pick<DescribedCall, 'arguments'>): string {
  const { kprobes = [], fentries = [], lsmhooks = [] } = policy.spec;
  const args = [...kprobes, ...fentries, ...lsmhooks][hookIndex]?.args ?? [];
  const shown = args.map(({ index, type }) => {
    const given = call.arguments[index];
    const width = widthOf(type);
    if (type === 'socket' || type === 'sockaddr') return `${index}=${socketText(given)}`;
    if (width === undefined) return `${index}=${Buffer.from(given?.bytes ?? []).toString('latin1')}`;
    const [bits, isSigned] = width;
    const value = given?.integer ?? 0n;
    return `${index}=${register(isSigned ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value))}`;
  });
  return shown.join(' ');
}

/** What is to be told of an event, as text. */
function told(
  name: string,
  symbol: string,
  hit: Pick<ReferenceHit, 'hookIndex' | 'selectorIndex' | 'signal' | 'error'>,
  shown: string,
): string {
  return `${symbol} ${name}[${hit.hookIndex}][${hit.selectorIndex}] signal ${hit.signal} error ${hit.error} (${shown})`;
}

interface Expected {
  readonly events: string[];
  readonly printed: string[];
}

/** What the reference matcher says of all steps of one process. */
function expect(world: World, policies: readonly Policy[], binary: string, steps: readonly Step[]): Expected {
  const inputs = policies.map((policy, id) => ({ id, policy }));
  const namespaces = [...world.host];
  const events: string[] = [];
  const printed: string[] = [];
  for (const step of steps) {
    const errors: number[] = [];
    for (let call = step.calls(errors); call !== undefined; call = step.calls(errors)) {
      const process = { binary: bytesOf(binary), namespaces: [...namespaces] };
      const hits = referenceHits(inputs, { ...call, process, hostNamespaces: world.host });
      for (const hit of hits) {
        const name = policies[hit.policyId]?.name ?? '';
        // Where no policy on a hook denies, its program only observes and knows no error to tell of.
        if (!hit.posts) continue;
        const policy = policies[hit.policyId];
        const shown = policy === undefined ? '' : shownBy(policy, hit.hookIndex, call);
        events.push(told(name, call.symbol, { ...hit, error: hit.monitor ? 0 : hit.error }, shown));
      }
      errors.push(hits.find((hit) => !hit.monitor && hit.error !== 0)?.error ?? 0);
    }
    printed.push(step.prints(errors));
    for (const kind of step.renews ?? []) namespaces[kind] = 2n;
  }
  return { events, printed };
}

/** Which events a hook record is, in the words of `told`. */
function toldBy(event: HookEvent, monitored: ReadonlySet<string>): string {
  const error = monitored.has(event.policyName) ? 0 : event.error;
  const isOwn = event.symbol.endsWith('_bind');
  const shown = event.arguments.map(({ type, index, value, payload }) => {
    if (integerTypes.has(type)) return `${index}=${value}`;
    const isSocket = type === ArgumentType.socket || type === ArgumentType.sockaddr;
    return `${index}=${isSocket ? payloadText(type, isOwn, payload) : payload}`;
  });
  return told(event.policyName, event.symbol, { ...event, error }, shown.join(' '));
}

interface Performer {
  readonly child: ChildProcess;
  readonly binary: string;
  readonly printed: () => string;
  readonly ended: Promise<number | null>;
}

function start(binary: string): Performer {
  const child = spawn(binary, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  let printed = '';
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    printed += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject).on('close', resolve);
  });
  return { child, binary, printed: () => printed, ended };
}

interface Tally {
  events: number;
  calls: number;
}

/** Makes a set of policies and a process of each binary, and compares what it does with what it should. */
async function compareSet(
  { log, artifact }: Pick<ScenarioContext, 'log' | 'artifact'>,
  guest: HookGuest,
  world: World,
  seed: number,
  size: number,
): Promise<Tally> {
  const random = new Random(seed);
  const shared = random.pick(world.random.hooks);
  const texts = Array.from({ length: size }, (_, index) => {
    const others = random.some(
      world.random.hooks.filter((hook) => hook !== shared),
      0,
      2,
    );
    return randomPolicyText(random, world.random, `random-${seed}-${index}`, [shared, ...others]);
  });
  artifact(`policies-${seed}.yaml`, texts.join('---\n'));
  const policies = parsePolicies(texts.join('---\n'));
  const monitored = new Set(
    policies
      .filter(({ spec }) =>
        spec.options?.some(({ name, value }) => name === 'policy-mode' && value === 'monitor'),
      )
      .map(({ name }) => name),
  );
  // They run before the policies are in force, so that none of these can keep them from it.
  const performers = world.binaries.map(start);
  const outcomes = await guest.policies.apply(policies);
  const reasons = new Set(outcomes.flatMap(({ reason }) => (reason === undefined ? [] : [reason])));
  assert.deepEqual([...reasons], [], `seed ${seed}: refused`);
  assert.equal(outcomes.length, size);
  const most = Math.max(...guest.policies.hooks().map((hook) => hook.policies.length));
  assert.equal(most, size, 'all policies of a set are on one hook');
  guest.take();

  const tally = { events: 0, calls: 0 };
  for (const performer of performers) {
    const steps = Array.from({ length: linesOfEach }, () => randomStep(random, world));
    steps.splice(random.below(linesOfEach), 0, unshareStep(newUts, NamespaceKind.uts));
    steps.splice(random.below(linesOfEach), 0, unshareStep(newIpc, NamespaceKind.ipc));
    const expected = expect(world, policies, performer.binary, steps);
    performer.child.stdin?.end(steps.map(({ line }) => `${line}\n`).join(''));
    assert.equal(await performer.ended, 0);
    const events = guest.take();
    events.sort((a, b) => Number(a.timeNs - b.timeNs) || Number(a.sequence - b.sequence));
    const where = `seed ${seed}, ${performer.binary}`;
    assert.deepEqual(
      events.filter((event) => !isWhole(event)),
      [],
      where,
    );
    const found = events.map((event) => toldBy(event, monitored));
    if (found.join('\n') !== expected.events.join('\n')) {
      artifact(`found-${seed}.txt`, found.join('\n'));
      artifact(`expected-${seed}.txt`, expected.events.join('\n'));
      artifact(`steps-${seed}.txt`, steps.map(({ line }) => line).join('\n'));
      const at = found.findIndex((text, index) => text !== expected.events[index]);
      const first = at < 0 ? found.length : at;
      assert.fail(
        `${where}: event ${first} of ${expected.events.length} expected and ${found.length} found:\n` +
          `  found    ${found.slice(first, first + 3).join(' | ')}\n  expected ${expected.events.slice(first, first + 3).join(' | ')}`,
      );
    }
    assert.deepEqual(
      performer.printed().trim().split('\n'),
      expected.printed,
      `${where}: what calls returned`,
    );
    tally.events += found.length;
    tally.calls += steps.length;
  }
  // Else what these policies deny keeps the processes of the next set from starting.
  await guest.policies.apply([]);
  log(
    `seed ${seed}: ${size} policies on ${shared.call}, ${tally.calls} lines, ${tally.events} events agreed`,
  );
  return tally;
}

export default scenario(
  'agrees with the reference matcher on two hundred random policies',
  { timeoutMs: 300_000 },
  async (context) => {
    const up = await context.run('/sbin/ip', ['link', 'set', 'lo', 'up']);
    assert.equal(up.code, 0, up.stderr);
    const world = makeWorld(context.folder);
    const guest = new HookGuest();
    try {
      let policies = 0;
      let events = 0;
      for (const [index, size] of setSizes.entries()) {
        const tally = await compareSet(context, guest, world, seedFirst + index, size);
        policies += size;
        events += tally.events;
      }
      assert.equal(policies, 200);
      assert.ok(events > 2000, `${events} events are too few to say much`);
      assert.equal(guest.counter('ringFull'), 0n);
      assert.equal(guest.counter('undecided'), 0n);
      assert.equal(guest.counter('scratchBusy'), 0n);
    } finally {
      await guest.close();
    }
  },
);
