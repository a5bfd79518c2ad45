// SPDX-License-Identifier: Apache-2.0
// Owns an interpreter of plans for tests: it looks up, ANDs and picks as the kernel stage does, tries with their
// longest match included, so that a plan can be tried without a kernel.
import { Action, ArgumentPart, ArgumentType, limits, ScopeAttribute } from '@weir/schema';
import { parseNetwork } from '../addresses.js';
import { isSubstring, latin1, mergeMasks } from '../dimensions.js';
import { capabilityNames } from '../names.js';
import type {
  AddressDimension,
  BitsDimension,
  Dimension,
  HookPlan,
  Mask,
  Plan,
  RangeDimension,
  SetDimension,
  StringDimension,
  SubstringDimension,
} from '../plan-types.js';
import type { CallArgument, DescribedCall, ProcessOrigin, ReferenceHit } from '../reference.js';
import { foldCase } from '../text-term.js';
import { orderKey } from '../values.js';
import { selectsWorkload } from '../workloads.js';

/** The key that a text is looked up by. */
function lookupKey(kind: 'forward' | 'reverse', bytes: Uint8Array): string {
  const text = latin1(bytes);
  return kind === 'forward' ? `${text}\0` : [...text].reverse().join('');
}

function lookUpText(dimension: StringDimension, bytes: Uint8Array): Mask {
  const asked = lookupKey(dimension.kind, bytes);
  let best = -1;
  let mask = dimension.defaultMask;
  for (const entry of dimension.entries) {
    const written = latin1(entry.key);
    const key =
      dimension.kind === 'reverse' ? [...written].reverse().join('') : entry.exact ? `${written}\0` : written;
    if (key.length > limits.path_bytes) throw new Error('a key is longer than what is read of a text');
    if (key.length > best && asked.startsWith(key)) {
      best = key.length;
      mask = entry.mask;
    }
  }
  return mask;
}

function lookUpSubstrings(dimension: SubstringDimension, bytes: Uint8Array): Mask {
  const text = latin1(dimension.kind === 'substring' ? bytes : foldCase(bytes));
  let mask = dimension.defaultMask;
  for (const entry of dimension.entries) if (text.includes(latin1(entry.key))) mask |= entry.mask;
  return mask;
}

function lookUpInteger(
  dimension: Dimension & { kind: 'integer' },
  value: bigint,
  host: readonly bigint[],
): Mask {
  let mask: Mask | undefined;
  for (const entry of dimension.entries) {
    const key = typeof entry.value === 'bigint' ? entry.value : host[entry.value.hostNamespace];
    if (key !== value) continue;
    mask = mask === undefined ? entry.mask : mergeMasks(dimension.defaultMask, mask, entry.mask);
  }
  return mask ?? dimension.defaultMask;
}

function lookUpRange(dimension: RangeDimension, key: bigint): Mask {
  let mask = dimension.defaultMask;
  let last = -1n;
  for (const entry of dimension.entries) {
    if (entry.from <= last) throw new Error('the bounds of a range dimension do not rise');
    last = entry.from;
    if (entry.from <= key) mask = entry.mask;
  }
  return mask;
}

function lookUpBits(dimension: BitsDimension, value: bigint): Mask {
  let turned = 0n;
  for (const entry of dimension.entries) if ((value >> BigInt(entry.bit)) & 1n) turned |= entry.mask;
  return dimension.defaultMask ^ turned;
}

function lookUpAddress(dimension: AddressDimension, address: string): Mask {
  let mask = dimension.defaultMask;
  let best = -1;
  const asked = parseNetwork(address);
  // What has no address is neither in a network nor out of it.
  if (asked === undefined) return dimension.entries.reduce((all, entry) => all & entry.mask, mask);
  const digits = (bytes: Uint8Array) => [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  for (const { network, mask: found } of dimension.entries) {
    const key = digits(network.bytes).slice(0, 8 + network.bits);
    if (key.length > best && digits(asked.bytes).startsWith(key)) {
      best = key.length;
      mask = found;
    }
  }
  return mask;
}

/** A part of a socket, or of an address by itself, as the hook's program has it. */
function partOf(
  argument: CallArgument | undefined,
  part: number,
  type: number,
): { text: string; number: bigint } {
  const isAddress = type === ArgumentType.sockaddr;
  const socket = isAddress ? undefined : argument?.socket;
  const address = isAddress ? argument?.address : undefined;
  const number = (value: number | undefined) => ({ text: '', number: BigInt(value ?? 0) });
  switch (part) {
    case ArgumentPart.sourceAddress:
      return { text: socket?.source ?? address?.address ?? '', number: 0n };
    case ArgumentPart.destinationAddress:
      return { text: socket?.destination ?? address?.address ?? '', number: 0n };
    case ArgumentPart.sourcePort:
      return number(socket?.sourcePort ?? address?.port);
    case ArgumentPart.destinationPort:
      return number(socket?.destinationPort ?? address?.port);
    case ArgumentPart.protocol:
      return number(socket?.protocol);
    case ArgumentPart.family:
      return number(socket?.family ?? address?.family);
    default:
      return number(socket?.state);
  }
}

const widths: Readonly<Record<number, readonly [number, boolean]>> = {
  [ArgumentType.int8]: [8, true],
  [ArgumentType.uint8]: [8, false],
  [ArgumentType.int16]: [16, true],
  [ArgumentType.uint16]: [16, false],
  [ArgumentType.int32]: [32, true],
  [ArgumentType.uint32]: [32, false],
  [ArgumentType.int64]: [64, true],
  [ArgumentType.uint64]: [64, false],
  [ArgumentType.capability]: [32, true],
  [ArgumentType.bpfCmd]: [32, true],
};

/** A register as the hook's program extends it. */
function extended(argument: CallArgument | undefined, type: number): bigint {
  const [bits, signed] = widths[type] ?? [64, false];
  const register = argument?.integer ?? 0n;
  return BigInt.asUintN(64, signed ? BigInt.asIntN(bits, register) : BigInt.asUintN(bits, register));
}

/** What comes of two arguments, as the hook's program has it. */
function pairOf(hook: HookPlan, dimension: Dimension, call: DescribedCall): bigint {
  const numberAt = (position: number): [value: bigint, signed: boolean] => {
    const { type = 0, index = 0 } = hook.arguments[position] ?? {};
    return [extended(call.arguments[index], type), type !== ArgumentType.uint64];
  };
  const { part, other = 0 } = dimension as Dimension & { kind: 'integer' };
  if (other > dimension.argument) throw new Error('an argument is compared with one that is not read yet');
  const [[one, signed], [two]] = [numberAt(dimension.argument), numberAt(other)];
  if (part === ArgumentPart.difference) return BigInt.asUintN(64, one - two);
  if (part === ArgumentPart.sum) return BigInt.asUintN(64, one + two);
  const [a, b] = signed ? [BigInt.asIntN(64, one), BigInt.asIntN(64, two)] : [one, two];
  return a < b ? 0n : a === b ? 1n : 2n;
}

function textOf(attribute: number, { process }: DescribedCall): Uint8Array {
  switch (attribute) {
    case ScopeAttribute.binary:
      return process.binary;
    case ScopeAttribute.parentBinary:
      return process.parentBinary ?? new Uint8Array();
    default:
      throw new Error('text of a process is its binary or its parent');
  }
}

function numberOf(attribute: number, { process }: DescribedCall): bigint {
  if (attribute === ScopeAttribute.pid) return process.pid ?? 0n;
  if (attribute === ScopeAttribute.namespacePid) return process.namespacePid ?? 0n;
  return process.namespaces[attribute - ScopeAttribute.namespaceUts] ?? 0n;
}

const capabilitySets: Readonly<Record<number, 'Permitted' | 'Effective' | 'Inheritable'>> = {
  [ScopeAttribute.capPermitted]: 'Permitted',
  [ScopeAttribute.capEffective]: 'Effective',
  [ScopeAttribute.capInheritable]: 'Inheritable',
};

const changedSets: Readonly<Record<number, 'Permitted' | 'Effective' | 'Inheritable'>> = {
  [ScopeAttribute.capPermittedChanges]: 'Permitted',
  [ScopeAttribute.capEffectiveChanges]: 'Effective',
  [ScopeAttribute.capInheritableChanges]: 'Inheritable',
};

function capabilityNumbers(names: readonly string[] = []): number[] {
  return names.map((name) => (capabilityNames as readonly string[]).indexOf(name));
}

/** The lineages of a process by their keys: each origin is asked whether one begins with it. */
function lineagesOf(plan: Plan, origins: readonly ProcessOrigin[] = []): string[] {
  return plan.scopes.lineages
    .filter((lineage) =>
      origins.some(({ binary, pid, namespacePid }, generation) => {
        if ('inherited' in lineage) {
          const number = Number(lineage.kind === 'pid' ? pid : namespacePid);
          return lineage.values.includes(number) && (lineage.inherited || generation === 0);
        }
        const text = latin1(binary);
        return lineage.values.map(latin1).some((value) => {
          if (lineage.kind === 'reverse') return text.endsWith(value);
          return lineage.exact ? text === value : text.startsWith(value);
        });
      }),
    )
    .map(({ key }) => key);
}

function setOf(plan: Plan, attribute: number, { process }: DescribedCall): (number | string)[] {
  if (attribute === ScopeAttribute.lineage) return lineagesOf(plan, process.origins);
  if (attribute === ScopeAttribute.parentLineage) return lineagesOf(plan, process.origins?.slice(1));
  const now = process.capabilities;
  if (attribute in capabilitySets) return capabilityNumbers(now?.[capabilitySets[attribute] as 'Permitted']);
  if (attribute === ScopeAttribute.namespaceChanges) {
    return process.namespaces.flatMap((inode, kind) =>
      inode === (process.atExec?.namespaces[kind] ?? inode) ? [] : [kind],
    );
  }
  const set = changedSets[attribute];
  if (set === undefined) throw new Error('a set of a process is one of capabilities, changes or lineages');
  const then = process.atExec?.capabilities[set] ?? [];
  return capabilityNumbers([
    ...(now?.[set] ?? []).filter((name) => !then.includes(name)),
    ...then.filter((name) => now?.[set].includes(name) !== true),
  ]);
}

function lookUpSet(dimension: SetDimension, members: readonly (number | string)[]): Mask {
  let turned = 0n;
  for (const { member, mask } of dimension.entries)
    if (members.includes(typeof member === 'number' ? member : member.lineage)) turned |= mask;
  return dimension.defaultMask ^ turned;
}

type ScopeDimension = StringDimension | SetDimension | (Dimension & { kind: 'integer' | 'workload' });

function isOfScope(dimension: Dimension): dimension is ScopeDimension {
  return ['forward', 'reverse', 'integer', 'set', 'workload'].includes(dimension.kind);
}

/** The mask of the scopes that a process is in. */
export function interpretScopes(plan: Plan, call: DescribedCall): Mask {
  let mask = (1n << BigInt(plan.scopes.scopeCount)) - 1n;
  for (const dimension of plan.scopes.dimensions) {
    if (!isOfScope(dimension))
      throw new Error('a scope looks up binaries, numbers, sets and workloads alone');
    const { argument } = dimension;
    if (dimension.kind === 'workload') {
      const facts = call.process.workload ?? null;
      for (const entry of dimension.entries) {
        if (!entry.conditions.every((condition) => selectsWorkload(condition, facts))) mask &= ~entry.mask;
      }
    } else if (dimension.kind === 'set') mask &= lookUpSet(dimension, setOf(plan, argument, call));
    else if (dimension.kind === 'integer')
      mask &= lookUpInteger(dimension, numberOf(argument, call), call.hostNamespaces);
    else mask &= lookUpText(dimension, textOf(argument, call));
  }
  return mask;
}

function candidates(plan: Plan, hook: HookPlan, call: DescribedCall): Mask {
  const scopes = interpretScopes(plan, call);
  let mask = 0n;
  hook.selectors.forEach(({ scope }, bit) => {
    if (scope === null || ((scopes >> BigInt(scope)) & 1n) === 1n) mask |= 1n << BigInt(bit);
  });
  for (const dimension of hook.dimensions) {
    const planned = hook.arguments[dimension.argument];
    if (planned === undefined) throw new Error('a dimension looks at an argument that is not read');
    const given = call.arguments[planned.index];
    const part = 'part' in dimension ? (dimension.part ?? ArgumentPart.whole) : ArgumentPart.whole;
    const value =
      part === ArgumentPart.whole
        ? extended(given, planned.type)
        : part >= ArgumentPart.difference && part <= ArgumentPart.order
          ? pairOf(hook, dimension, call)
          : part === ArgumentPart.length
            ? BigInt(given?.bytes?.length ?? 0)
            : partOf(given, part, planned.type).number;
    if (dimension.kind === 'integer') mask &= lookUpInteger(dimension, value, call.hostNamespaces);
    else if (dimension.kind === 'range') mask &= lookUpRange(dimension, orderKey(value, planned.type));
    else if (dimension.kind === 'address')
      mask &= lookUpAddress(dimension, partOf(given, part, planned.type).text);
    else if (dimension.kind === 'bits') mask &= lookUpBits(dimension, value);
    else if (dimension.kind === 'set' || dimension.kind === 'workload')
      throw new Error('no argument is a set or a workload');
    else if (isSubstring(dimension)) mask &= lookUpSubstrings(dimension, given?.bytes ?? new Uint8Array());
    else mask &= lookUpText(dimension, textPart(given, part));
  }
  return mask;
}

/** The bytes of an argument that are looked up. */
function textPart(given: CallArgument | undefined, part: number): Uint8Array {
  const bytes = given?.bytes ?? new Uint8Array();
  return part === ArgumentPart.sized
    ? Uint8Array.of(bytes.length >> 8, bytes.length & 0xff, ...bytes)
    : bytes;
}

/** Says which selectors act on a call, by the plan alone. */
export function interpretPlan(plan: Plan, call: DescribedCall): ReferenceHit[] {
  return plan.hooks
    .filter(({ symbol }) => symbol === call.symbol)
    .sort(({ page: a = 0 }, { page: b = 0 }) => a - b)
    .flatMap((hook) => interpretHook(plan, hook, call));
}

function interpretHook(plan: Plan, hook: HookPlan, call: DescribedCall): ReferenceHit[] {
  const mask = candidates(plan, hook, call);
  const hits: ReferenceHit[] = [];
  const acted = new Set<string>();
  hook.selectors.forEach((selector, bit) => {
    const binding = `${selector.policyId} ${selector.hookIndex}`;
    if (((mask >> BigInt(bit)) & 1n) === 0n || acted.has(binding)) return;
    acted.add(binding);
    hits.push({
      policyId: selector.policyId,
      hookIndex: selector.hookIndex,
      selectorIndex: selector.selectorIndex,
      posts: (selector.actions & (1 << Action.post)) !== 0,
      signal: selector.signal,
      error: selector.error,
      monitor: selector.monitor,
    });
  });
  return hits;
}
