// SPDX-License-Identifier: Apache-2.0
// Owns how a plan becomes bytes: the constants of a hook's program, its configuration, and the entries of the maps
// that it looks up. Pure: nothing here touches a kernel.
import {
  type AddressDimension,
  type BitsDimension,
  type Dimension,
  type HookPlan,
  type IntegerDimension,
  isSubstring,
  type Mask,
  mergeMasks,
  type PlannedArgument,
  type PlannedSelector,
  type RangeDimension,
  type ScopePlan,
  type SetDimension,
  type StringDimension,
  scopeAttributeChanges,
  selectsWorkload,
  type WorkloadDimension,
  type WorkloadFacts,
} from '@weir/policy';
import {
  Action,
  ArgumentPart,
  ArgumentSource,
  DimensionKind,
  HOOK_CONFIG_BYTES,
  HOOK_SPEC_BYTES,
  HookFeature,
  limits,
  makeDimension,
  makeHookArgument,
  makeHookConfig,
  makeHookSpec,
  makeScopeConfig,
  namespaceKindNames,
  RANGE_KEY_BYTES,
  RANGE_PAGE_BYTES,
  SCOPE_CONFIG_BYTES,
  ScopeAttribute,
  writeHookConfig,
  writeHookSpec,
  writeRangeKey,
  writeRangePage,
  writeScopeConfig,
} from '@weir/schema';
import { encodeLong, encodeSubstrings, hasLongTexts, isLong } from './encode-texts.js';
import {
  encodeMask,
  integerKey,
  type MapEntry,
  maskWords,
  PURPOSE_BIT,
  PURPOSE_BITS,
  PURPOSE_DEFAULT,
  PURPOSE_INTERVAL,
  PURPOSE_LONGER,
  PURPOSE_LONGER_UNDECIDED,
  PURPOSE_UNDECIDED,
  PURPOSE_VALUE,
} from './entries.js';
import { PolicyLoadError } from './errors.js';
import { type FieldPlan, fieldPlanOf } from './fields.js';
import { encodeSelector } from './selector-entries.js';
import type { ArgumentPlace } from './tracepoint.js';

/** Inode numbers of the host's namespaces, by namespace_kind; undefined where one is not known. */
export type HostNamespaces = readonly (bigint | undefined)[];

const NO_SCOPE = 0xffff;
const HIDDEN = 1;
const OWN_ADDRESS = 2;
const AT_RETURN = 4;
const NARROW_RETURN = 8;
const SIZED = 16;
const USER_MEMORY = 32;
const FIELD = 64;
const DATA = 128;
/** Scope dimensions are numbered from here, so that they never meet those of a hook. */
const SCOPE_DIMENSIONS_FROM = 2 ** 31;

const kinds = {
  forward: DimensionKind.forward,
  reverse: DimensionKind.reverse,
  integer: DimensionKind.integer,
  range: DimensionKind.range,
  bits: DimensionKind.bits,
  address: DimensionKind.address,
  substring: DimensionKind.substring,
  'substring-fold': DimensionKind.substringFold,
  set: DimensionKind.set,
  // The agent works out what each workload is selected by: a number stands for it.
  workload: DimensionKind.integer,
} as const;

/** How many words of a mask a hook of so many selectors needs: a power of two, so that few programs are replaced. */
export function wordsFor(selectorCount: number): number {
  let words = 1;
  while (words * 64 < selectorCount) words *= 2;
  return words;
}

/** Whether a dimension is looked up at the return of the call. */
function isOfReturn(hook: HookPlan, dimension: Dimension): boolean {
  const argument = hook.arguments[dimension.argument];
  return argument?.returned === true || argument?.buffer?.copied === true;
}

/**
 * The dimensions in the order in which the program wants them: by argument, so that each argument is read once and
 * only where those before it left a selector to decide; last those that the return of the call decides.
 */
export function orderedDimensions(hook: HookPlan): Dimension[] {
  const late = (dimension: Dimension) => (isOfReturn(hook, dimension) ? 1 : 0);
  return [...hook.dimensions].sort((a, b) => late(a) - late(b) || a.argument - b.argument);
}

export function checkLimits(hook: HookPlan): void {
  const refuse = (text: string) => {
    throw new PolicyLoadError('limit', `${hook.symbol}: ${text}`);
  };
  if (hook.selectors.length > limits.selectors_per_hook) {
    refuse(
      `${hook.selectors.length} selectors of all policies together; a hook takes ${limits.selectors_per_hook}`,
    );
  }
  if (hook.dimensions.length > limits.dimensions_per_hook) {
    refuse(`${hook.dimensions.length} look-ups; a hook takes ${limits.dimensions_per_hook}`);
  }
  if (hook.arguments.length > limits.slots_per_hook) {
    refuse(`${hook.arguments.length} arguments are read; a hook takes ${limits.slots_per_hook}`);
  }
  for (const argument of hook.arguments) {
    // Where the fields of a tracepoint and the arguments of a marker are, and how many, is found when it is attached.
    const isFound = hook.tracepoint !== undefined || hook.user !== undefined;
    if (!isFound && argument.index >= limits.arguments_per_hook) {
      refuse(
        `argument ${argument.index} is asked for; the last one that can be read is ${limits.arguments_per_hook - 1}`,
      );
    }
  }
}

function argumentFlags({
  hidden,
  ownAddress,
  sized,
  userMemory,
  buffer,
  field,
  data,
}: PlannedArgument): number {
  return (
    (hidden ? HIDDEN : 0) |
    (ownAddress === true ? OWN_ADDRESS : 0) |
    (sized === true ? SIZED : 0) |
    (userMemory === true ? USER_MEMORY : 0) |
    (buffer?.copied === true ? AT_RETURN : 0) |
    (buffer?.narrow === true ? NARROW_RETURN : 0) |
    (field === undefined ? 0 : FIELD) |
    (data === true ? DATA : 0)
  );
}

function sourceOf(hook: HookPlan, argument: PlannedArgument): number {
  if (argument.returned === true) return ArgumentSource.returned;
  if (argument.field?.source === 'current_task') return ArgumentSource.currentTask;
  if (argument.register !== undefined) return ArgumentSource.register;
  if (hook.user !== undefined) return ArgumentSource.user;
  return hook.syscall ? ArgumentSource.syscall : ArgumentSource.parameter;
}

/**
 * The constants of a hook's program. With a specId of 0 it is the shape by which programs are compared. Of a tracepoint
 * it wants the places of its arguments; of all the scopes of all hooks, since each works out in which a process is.
 */
export function encodeSpec(
  hook: HookPlan,
  hookId: number,
  specId: number,
  places: readonly (ArgumentPlace | undefined)[] = [],
  fieldOf: (hook: HookPlan, argument: PlannedArgument) => FieldPlan = fieldPlanOf,
  scopes: Pick<ScopePlan, 'dimensions' | 'changing'> = { dimensions: [], changing: 0n },
): Uint8Array {
  const bytes = new Uint8Array(HOOK_SPEC_BYTES);
  const planned = orderedDimensions(hook);
  const all = hook.arguments.map((argument, position) =>
    makeHookArgument({
      type: argument.type,
      index: argument.index,
      source: sourceOf(hook, argument),
      ...(argument.buffer?.sizeIndex === undefined ? {} : { size: argument.buffer.sizeIndex + 1 }),
      ...(argument.register === undefined
        ? {}
        : { offset: argument.register.offset, size: argument.register.bytes }),
      ...places[position],
      flags: argumentFlags(argument),
    }),
  );
  const dimensions = planned.map((dimension) =>
    makeDimension({
      kind: kinds[dimension.kind],
      argument: dimension.argument,
      part: 'part' in dimension ? (dimension.part ?? ArgumentPart.whole) : ArgumentPart.whole,
      other: 'other' in dimension ? (dimension.other ?? 0) : 0,
    }),
  );
  writeHookSpec(
    new DataView(bytes.buffer),
    0,
    makeHookSpec({
      hookId,
      specId,
      eventKind: hook.eventKind,
      argumentCount: all.length,
      dimensionCount: dimensions.length,
      wordCount: wordsFor(hook.selectors.length),
      features: featuresOf(hook, scopes),
      entryDimensionCount: planned.filter((dimension) => !isOfReturn(hook, dimension)).length,
      whole: bitsOf([...hook.arguments.keys()].filter((n) => hook.arguments[n]?.buffer?.whole === true)),
      types: all.reduce((bits, { type }) => bits | (1n << BigInt(type)), 0n),
      sources: bitsOf(all.map(({ source }) => source)),
      kinds: bitsOf(dimensions.map(({ kind }) => kind)),
      parts: bitsOf(dimensions.map(({ part }) => part)),
      scopeAttributes: scopeBits(hook, scopes),
      arguments: all,
      fields: hook.arguments.map((argument) => fieldOf(hook, argument)),
      dimensions,
    }),
  );
  return bytes;
}

/** Whether what a hook's scopes look at may change while a process runs. */
function isChanging({ selectors }: HookPlan, { changing }: Pick<ScopePlan, 'changing'>): boolean {
  return selectors.some(({ scope }) => scope !== null && ((changing >> BigInt(scope)) & 1n) === 1n);
}

function isScoped({ selectors }: HookPlan): boolean {
  return selectors.some(({ scope }) => scope !== null);
}

/** What a hook's program looks at to find the scopes of a process, where they are not worked out beforehand: of
 * attributes that share code the first. */
function scopeBits(hook: HookPlan, scopes: Pick<ScopePlan, 'dimensions' | 'changing'>): number {
  const { dimensions } = scopes;
  if (!isChanging(hook, scopes)) return 0;
  const families = [
    ScopeAttribute.capPermitted,
    ScopeAttribute.capPermittedChanges,
    ScopeAttribute.namespaceUts,
  ];
  const sizes = [3, 3, Object.keys(namespaceKindNames).length];
  return bitsOf(
    dimensions.map(
      ({ argument }) =>
        families.find((first, i) => argument >= first && argument < first + (sizes[i] ?? 0)) ?? argument,
    ),
  );
}

/** A number that has the bit n for each n among these. */
function bitsOf(numbers: readonly number[]): number {
  return numbers.reduce((bits, number) => (bits | (1 << number)) >>> 0, 0);
}

export interface ConfigIds {
  readonly configId: number;
  readonly scopeGeneration: number;
}

export function encodeHookConfig(hook: HookPlan, ids: ConfigIds): Uint8Array {
  const bytes = new Uint8Array(HOOK_CONFIG_BYTES);
  let unscoped = 0n;
  hook.selectors.forEach((selector, bit) => {
    if (selector.scope === null) unscoped |= 1n << BigInt(bit);
  });
  writeHookConfig(
    new DataView(bytes.buffer),
    0,
    makeHookConfig({
      configId: ids.configId,
      selectorCount: hook.selectors.length,
      scopeGeneration: ids.scopeGeneration,
      unscoped: { words: maskWords(unscoped) },
      holding: { words: maskWords(deniersOfUndecided(hook)) },
      // Of all that there may be: programs look at the numbers of more selectors than there are.
      scopeOf: Array.from(
        { length: limits.selectors_per_hook },
        (_, bit) => hook.selectors[bit]?.scope ?? NO_SCOPE,
      ),
      defaults: orderedDimensions(hook).map((dimension) => ({ words: maskWords(dimension.defaultMask) })),
    }),
  );
  return bytes;
}

/** The entries that a configuration of a hook needs in the maps that all hooks share. */
export function encodeHookEntries(
  hook: HookPlan,
  configId: number,
  bindingIdOf: (selector: PlannedSelector) => number,
  host: HostNamespaces,
): MapEntry[] {
  const firstId = (configId * limits.dimensions_per_hook) % 2 ** 32;
  const dimensions = orderedDimensions(hook);
  const holding = bitsWhere(hook.selectors, ({ holdsUndecided }) => holdsUndecided === true);
  const entries = encodeDimensions(dimensions, firstId, host, hook.symbol, holding);
  dimensions.forEach((dimension, i) => {
    if (!isOfReturn(hook, dimension)) return;
    // Not from the configuration, which may be another one when the call returns.
    const key = integerKey(firstId + i, PURPOSE_DEFAULT, 0n);
    entries.push({ map: 'integer_masks', key, value: encodeMask(dimension.defaultMask) });
  });
  hook.selectors.forEach((_, bit) => {
    entries.push({ map: 'selectors', ...encodeSelector(hook, bit, configId, bindingIdOf) });
  });
  return entries;
}

function bitsWhere(
  selectors: readonly PlannedSelector[],
  holds: (selector: PlannedSelector) => boolean,
): Mask {
  return selectors.reduce((mask, selector, bit) => (holds(selector) ? mask | (1n << BigInt(bit)) : mask), 0n);
}

/** The selectors that deny, or kill, where the process cannot be looked at at all. */
function deniersOfUndecided({ selectors }: HookPlan): Mask {
  const denying = (1 << Action.sigkill) | (1 << Action.override);
  return bitsWhere(
    selectors,
    ({ holdsUndecided, monitor, actions }) =>
      holdsUndecided === true && !monitor && (actions & denying) !== 0,
  );
}

/** What the selectors of a hook use beyond the plain. */
function featuresOf(hook: HookPlan, scopes: Pick<ScopePlan, 'changing'>): number {
  const { selectors, returns, syscall, arguments: all } = hook;
  const notifying = (1 << Action.notifyenforcer) | (1 << Action.cleanupenforcernotification);
  const isEnforcing = selectors.every(({ isEnforcer }) => isEnforcer === true);
  let features = isEnforcing ? HookFeature.enforcerOnly : 0;
  if (all.some(({ field }) => field !== undefined)) features |= HookFeature.fields;
  if (all.some(({ data }) => data === true)) features |= HookFeature.data;
  if (hook.socketOwners === true) features |= HookFeature.socketOwners;
  if (returns) features |= HookFeature.returns;
  if (returns && syscall) features |= HookFeature.systemCall;
  if (hook.dimensions.some(hasLongTexts)) features |= HookFeature.longTexts;
  if (isScoped(hook)) features |= HookFeature.scoped;
  if (isChanging(hook, scopes)) features |= HookFeature.scopesChange;
  if (deniersOfUndecided(hook) !== 0n) features |= HookFeature.holdsUndecided;
  for (const { rateLimit, stacks, imaHash, actions, isEnforcer, set } of selectors) {
    if (imaHash === true) features |= HookFeature.imaHash;
    if (set !== undefined) features |= HookFeature.set;
    if ((actions & notifying) !== 0) features |= HookFeature.notify;
    if (isEnforcer === true) features |= HookFeature.enforcer;
    if (rateLimit !== undefined) features |= HookFeature.rateLimit;
    if (stacks?.kernel === true) features |= HookFeature.kernelStack;
    if (stacks?.user === true) features |= HookFeature.userStack;
  }
  return features;
}

export function encodeScopeConfig(scopes: ScopePlan, generation: number): Uint8Array {
  if (scopes.scopeCount > limits.selectors_per_hook) {
    throw new PolicyLoadError(
      'limit',
      `${scopes.scopeCount} different scopes (conditions on the process) of all policies; the kernel stage takes ${limits.selectors_per_hook}`,
    );
  }
  if (scopes.dimensions.length > limits.dimensions_per_hook) {
    throw new PolicyLoadError(
      'limit',
      `${scopes.dimensions.length} look-ups on processes; the kernel stage takes ${limits.dimensions_per_hook}`,
    );
  }
  const bytes = new Uint8Array(SCOPE_CONFIG_BYTES);
  writeScopeConfig(
    new DataView(bytes.buffer),
    0,
    makeScopeConfig({
      generation,
      dimensionCount: scopes.dimensions.length,
      dimensions: scopes.dimensions.map((dimension) =>
        makeDimension({
          kind: kinds[dimension.kind],
          argument: dimension.argument,
          part: scopeAttributeChanges(dimension.argument) ? 1 : 0,
        }),
      ),
      // What is in no container that is known is the host's.
      defaults: scopes.dimensions.map((dimension) => ({
        words: maskWords(
          dimension.kind === 'workload' ? workloadMask(dimension, null) : dimension.defaultMask,
        ),
      })),
    }),
  );
  return bytes;
}

/** Numbers of lineages by their keys. */
export type LineageNumbers = ReadonlyMap<string, number>;

export function encodeScopeEntries(
  scopes: ScopePlan,
  generation: number,
  host: HostNamespaces,
  lineages: LineageNumbers,
): MapEntry[] {
  const first = (SCOPE_DIMENSIONS_FROM + generation * limits.dimensions_per_hook) % 2 ** 32;
  return encodeDimensions(scopes.dimensions, first, host, 'scopes', scopes.holding, lineages);
}

function workloadMask({ defaultMask, entries }: WorkloadDimension, facts: WorkloadFacts | null): Mask {
  let mask = defaultMask;
  for (const entry of entries) {
    if (entry.conditions.every((condition) => selectsWorkload(condition, facts))) mask |= entry.mask;
  }
  return mask;
}

/** The entries by which the scopes of a generation know a workload. */
export function encodeWorkload(
  scopes: ScopePlan,
  generation: number,
  number: number,
  facts: WorkloadFacts,
): MapEntry[] {
  const first = (SCOPE_DIMENSIONS_FROM + generation * limits.dimensions_per_hook) % 2 ** 32;
  return scopes.dimensions.flatMap((dimension, i): MapEntry[] =>
    dimension.kind === 'workload'
      ? [
          {
            map: 'integer_masks',
            key: integerKey(first + i, PURPOSE_VALUE, BigInt(number)),
            value: encodeMask(workloadMask(dimension, facts)),
          },
        ]
      : [],
  );
}

function encodeDimensions(
  dimensions: readonly Dimension[],
  firstId: number,
  host: HostNamespaces,
  where: string,
  holding: Mask,
  lineages: LineageNumbers = new Map(),
): MapEntry[] {
  const entries: MapEntry[] = [];
  dimensions.forEach((dimension, i) => {
    const id = firstId + i;
    if (dimension.kind === 'integer') encodeIntegers(dimension, id, host, entries);
    else if (dimension.kind === 'range') encodeRanges(dimension, id, where, entries);
    else if (dimension.kind === 'address') encodeAddresses(dimension, id, entries);
    else if (dimension.kind === 'workload') {
      // What is known of workloads is written beside: it comes and goes.
    } else if (dimension.kind === 'set') encodeSet(dimension, id, lineages, entries);
    else if (dimension.kind === 'bits') encodeBits(dimension, id, entries);
    else if (isSubstring(dimension)) encodeSubstrings(dimension, id, entries);
    else encodeStrings(dimension, id, where, entries);
    entries.push({
      map: 'integer_masks',
      key: integerKey(id, PURPOSE_UNDECIDED, 0n),
      value: encodeMask(undecidedMask(dimension) | holding),
    });
    if (dimension.kind === 'forward') entries.push(longerEntry(dimension, id, holding));
  });
  return entries;
}

/**
 * The selectors that do not ask a dimension: their bit is set whatever is found. They alone may match where the
 * argument could not be read, but for those that hold then.
 */
function undecidedMask(dimension: Dimension): Mask {
  let mask = dimension.defaultMask;
  if (dimension.kind === 'workload') return mask;
  const turns = dimension.kind === 'set' || dimension.kind === 'bits';
  for (const entry of dimension.entries) mask &= turns ? ~entry.mask : entry.mask;
  return mask;
}

/**
 * What holds of a text whose front is missing and which is longer than all values: it is equal to none. What it begins
 * with is not known.
 */
function longerEntry(dimension: StringDimension, id: number, holding: Mask): MapEntry {
  const { defaultMask, entries } = dimension;
  let ofPrefixes = 0n;
  for (const { exact, mask } of entries) if (!exact) ofPrefixes |= mask ^ defaultMask;
  const purpose = ofPrefixes === 0n ? PURPOSE_LONGER : PURPOSE_LONGER_UNDECIDED;
  const mask = (defaultMask & ~ofPrefixes) | (holding & ofPrefixes);
  return { map: 'integer_masks', key: integerKey(id, purpose, 0n), value: encodeMask(mask) };
}

function encodeIntegers(dimension: IntegerDimension, id: number, host: HostNamespaces, entries: MapEntry[]) {
  const masks = new Map<bigint, Mask>();
  for (const entry of dimension.entries) {
    const value = typeof entry.value === 'bigint' ? entry.value : host[entry.value.hostNamespace];
    if (value === undefined) {
      throw new PolicyLoadError(
        'map',
        'the namespaces of the host cannot be read: /proc/1/ns needs the capability CAP_SYS_PTRACE',
      );
    }
    const number = BigInt.asUintN(64, value);
    const other = masks.get(number);
    masks.set(
      number,
      other === undefined ? entry.mask : mergeMasks(dimension.defaultMask, other, entry.mask),
    );
  }
  for (const [value, mask] of masks) {
    entries.push({
      map: 'integer_masks',
      key: integerKey(id, PURPOSE_VALUE, value),
      value: encodeMask(mask),
    });
  }
}

/**
 * The bounds as a tree of pages, of which each takes `range_page_bounds`: an inner page holds the first bound of each
 * of its pages but the first. Page 0 is the root; the others follow level by level, as a search goes through them.
 */
function encodeRanges(dimension: RangeDimension, id: number, where: string, entries: MapEntry[]) {
  const bounds = dimension.entries.map(({ from }) => from);
  const fanOut = limits.range_page_bounds;
  const most = (fanOut + 1) ** (limits.range_page_levels - 1) * fanOut;
  if (bounds.length > most) {
    throw new PolicyLoadError(
      'limit',
      `${where}: ${bounds.length} bounds of ranges of one argument; the kernel stage takes ${most}`,
    );
  }
  // The levels from the leaves up: pages as slices of what is below them.
  interface Page {
    readonly bounds: readonly bigint[];
    /** Of what a search of it may end in: the first interval, or the first page of the level below. */
    readonly first: number;
    readonly lowest: bigint;
  }
  const leaves: Page[] = [];
  for (let at = 0; at === 0 || at < bounds.length; at += fanOut) {
    const own = bounds.slice(at, at + fanOut);
    leaves.push({ bounds: own, first: at, lowest: own[0] ?? 0n });
  }
  const levels = [leaves];
  for (let top = leaves; top.length > 1; ) {
    const above: Page[] = [];
    for (let at = 0; at < top.length; at += fanOut + 1) {
      const [first, ...others] = top.slice(at, at + fanOut + 1);
      above.push({ bounds: others.map(({ lowest }) => lowest), first: at, lowest: first?.lowest ?? 0n });
    }
    levels.push(above);
    top = above;
  }
  levels.reverse();
  let number = 0;
  levels.forEach((pages, depth) => {
    const isLeaf = depth === levels.length - 1;
    const below = number + pages.length;
    for (const page of pages) {
      const key = new Uint8Array(RANGE_KEY_BYTES);
      writeRangeKey(new DataView(key.buffer), 0, { dimensionId: id, page: number++ });
      const value = new Uint8Array(RANGE_PAGE_BYTES);
      writeRangePage(new DataView(value.buffer), 0, {
        count: page.bounds.length,
        isLeaf: isLeaf ? 1 : 0,
        first: isLeaf ? page.first : below + page.first,
        bounds: [...page.bounds],
      });
      entries.push({ map: 'range_pages', key, value });
    }
  });
  dimension.entries.forEach(({ mask }, interval) => {
    entries.push({
      map: 'integer_masks',
      key: integerKey(id, PURPOSE_INTERVAL, BigInt(interval + 1)),
      value: encodeMask(mask),
    });
  });
}

function encodeBits(dimension: BitsDimension, id: number, entries: MapEntry[]) {
  let asked = 0n;
  for (const { bit, mask } of dimension.entries) {
    asked |= 1n << BigInt(bit);
    entries.push({
      map: 'integer_masks',
      key: integerKey(id, PURPOSE_BIT, BigInt(bit)),
      value: encodeMask(mask),
    });
  }
  entries.push({ map: 'integer_masks', key: integerKey(id, PURPOSE_BITS, 0n), value: encodeMask(asked) });
}

function encodeSet(dimension: SetDimension, id: number, lineages: LineageNumbers, entries: MapEntry[]) {
  let asked = 0n;
  for (const { member: named, mask } of dimension.entries) {
    const member = typeof named === 'number' ? named : lineages.get(named.lineage);
    if (member === undefined) throw new TypeError('a scope names a lineage that has no number');
    asked |= 1n << BigInt(member);
    entries.push({
      map: 'integer_masks',
      key: integerKey(id, PURPOSE_BIT, BigInt(member)),
      value: encodeMask(mask),
    });
  }
  entries.push({ map: 'integer_masks', key: integerKey(id, PURPOSE_BITS, 0n), value: encodeMask(asked) });
}

function encodeAddresses(dimension: AddressDimension, id: number, entries: MapEntry[]) {
  // Of what has no internet address (version 0) nothing holds that asks for one, "not in" neither.
  const none = { network: { bytes: Uint8Array.of(0), bits: 0 }, mask: undecidedMask(dimension) };
  for (const { network, mask } of [none, ...dimension.entries]) {
    const key = new Uint8Array(TRIE_KEY_BYTES);
    const view = new DataView(key.buffer);
    view.setUint32(0, 8 * (4 + 1) + network.bits, true);
    view.setUint32(4, id, true);
    key.set(network.bytes, 8);
    entries.push({ map: 'string_masks', key, value: encodeMask(mask) });
  }
}

function encodeStrings(dimension: StringDimension, id: number, where: string, entries: MapEntry[]) {
  encodeLong(dimension, id, entries);
  for (const entry of dimension.entries) {
    if (isLong(entry)) continue;
    entries.push({
      map: 'string_masks',
      key: encodeTrieKey(id, entry.key, dimension.kind === 'reverse', entry.exact, where),
      value: encodeMask(entry.mask),
    });
  }
}

/** The kernel's trie wants the number of bits that count, then the bytes; all keys of a map have the same size. */
export const TRIE_KEY_BYTES = 4 + 4 + limits.trie_data_bytes;

export function encodeTrieKey(
  dimensionId: number,
  text: Uint8Array,
  reverse: boolean,
  exact: boolean,
  where: string,
): Uint8Array {
  const length = text.length + (exact ? 1 : 0);
  if (length > limits.trie_data_bytes) {
    throw new PolicyLoadError(
      'limit',
      `${where}: a value of ${text.length} bytes; exact strings, prefixes and suffixes take ${limits.trie_data_bytes - 1}`,
    );
  }
  const key = new Uint8Array(TRIE_KEY_BYTES);
  const view = new DataView(key.buffer);
  view.setUint32(0, 8 * (4 + length), true);
  view.setUint32(4, dimensionId, true);
  key.set(reverse ? text.slice().reverse() : text, 8);
  return key;
}
