// SPDX-License-Identifier: Apache-2.0
// Owns what the kernel is told of the filters by which processes are narrowed (bpf/withhold.h): a bit for each, and what
// is looked up.
import {
  limits,
  makeNarrowing,
  makeNarrowingKey,
  NARROWING_BYTES,
  NARROWING_KEY_BYTES,
  NarrowingAttribute,
  writeNarrowing,
  writeNarrowingKey,
} from '@weir/schema';
import { FILTERS_MAX, type Narrowing, type ProcessFilter } from './filter.js';

export interface RuleEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A container of a pod, as far as filters ask. */
export interface PodFacts {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly container: string;
}

export interface RuleOptions {
  /** Inode numbers of the host's namespaces; undefined where they cannot be read. */
  readonly hostPidNamespace: number | undefined;
  readonly hostMntNamespace: number | undefined;
  /** Where the links of a path lead; undefined where it is not there, or has none. */
  readonly realPath: (path: string) => string | undefined;
}

const attributes: readonly number[] = Object.values(NarrowingAttribute);
const FORWARD = 0;
const REVERSE = 1;

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** Bytes that a trie is to match, and the rules that name them. */
type Patterns = Map<string, number>;

function note(patterns: Patterns, text: string, rule: number): void {
  patterns.set(text, ((patterns.get(text) ?? 0) | rule) >>> 0);
}

/** A path, or what all of them begin with, and where that leads: the kernel knows no links. */
function spellings(path: string, isPrefix: boolean, realPath: RuleOptions['realPath']): string[] {
  const isFolder = isPrefix && path.endsWith('/') && path !== '/';
  const real = realPath(isFolder ? path.slice(0, -1) : path);
  if (real === undefined || (isPrefix && !isFolder)) return [path];
  return [...new Set([path, isFolder ? `${real}/` : real])];
}

/** A trie answers with its longest match alone: each node has the rules of all shorter ones. Texts are latin1. */
function encodePatterns(patterns: Patterns, dimension: number): RuleEntry[] {
  return [...patterns].map(([text]) => {
    let rules = 0;
    for (const [other, of] of patterns) if (text.startsWith(other)) rules |= of;
    const key = new Uint8Array(8 + limits.trie_data_bytes);
    const view = new DataView(key.buffer);
    view.setUint32(0, 8 * (4 + text.length), true);
    view.setUint32(4, dimension, true);
    key.set(Buffer.from(text, 'latin1'), 8);
    return { key, value: u32(rules >>> 0) };
  });
}

function numberKey(attribute: number, value: bigint): Uint8Array {
  const key = new Uint8Array(NARROWING_KEY_BYTES);
  writeNarrowingKey(new DataView(key.buffer), 0, makeNarrowingKey({ attribute, value }));
  return key;
}

function asksPod({ namespace, labels, container }: ProcessFilter): boolean {
  return namespace !== undefined || labels !== undefined || container !== undefined;
}

function holdsLabels(conditions: NonNullable<ProcessFilter['labels']>[number], facts: PodFacts): boolean {
  return conditions.every(({ key, value, negated }) => {
    const has = Object.hasOwn(facts.labels, key) && (value === undefined || facts.labels[key] === value);
    return has !== negated;
  });
}

/** Whether a process is one of a pod that a filter means; `facts` is undefined for what is of no pod. */
function fitsPod(filter: ProcessFilter, facts: PodFacts | undefined): boolean {
  const { namespace, labels, container } = filter;
  if (facts === undefined)
    return namespace?.includes('') === true && labels === undefined && container === undefined;
  return (
    (namespace === undefined || namespace.includes(facts.namespace)) &&
    (labels === undefined || labels.some((conditions) => holdsLabels(conditions, facts))) &&
    (container === undefined || container.includes(facts.container))
  );
}

/** The filters of a node as rules of the kernel's. */
export class NarrowingRules {
  readonly #filters: readonly ProcessFilter[];
  readonly #defaults: number[];
  readonly #allowed: number;
  readonly #denied: number;
  readonly strings: readonly RuleEntry[];
  readonly numbers: readonly RuleEntry[];

  /** @throws {RangeError} where there are too many, or a namespace of the host's is asked for that cannot be read */
  constructor({ allowed, denied }: Narrowing, options: RuleOptions) {
    const filters = [...allowed, ...denied];
    if (filters.length > FILTERS_MAX)
      throw new RangeError(`there are ${filters.length} filters of processes; ${FILTERS_MAX} at most`);
    this.#filters = filters;
    this.#allowed = this.#maskOf((_, index) => index < allowed.length);
    this.#denied = this.#maskOf((_, index) => index >= allowed.length);
    this.#defaults = attributes.map((attribute) => this.#maskOf((filter) => !asks(filter, attribute)));
    const forward: Patterns = new Map();
    const reverse: Patterns = new Map();
    filters.forEach(({ binary = [] }, index) => {
      const rule = 2 ** index;
      for (const pattern of binary) {
        const isSuffix = pattern.startsWith('*');
        const isPrefix = pattern.endsWith('*');
        const text = pattern.replaceAll('*', '');
        const latin1 = (path: string) => Buffer.from(path).toString('latin1');
        if (isSuffix) note(reverse, [...latin1(text)].reverse().join(''), rule);
        else
          for (const path of spellings(text, isPrefix, options.realPath))
            note(forward, `${latin1(path)}${isPrefix ? '' : '\0'}`, rule);
      }
    });
    this.strings = [...encodePatterns(forward, FORWARD), ...encodePatterns(reverse, REVERSE)];
    const host = (value: number | 'host', inode: number | undefined) => {
      if (value !== 'host') return value;
      if (inode === undefined) throw new RangeError('"host": the namespaces of the host cannot be read');
      return inode;
    };
    this.numbers = [
      ...this.#encodeNumbers(NarrowingAttribute.uid, ({ uid }) => uid),
      ...this.#encodeNumbers(NarrowingAttribute.pidNamespace, ({ pid_ns }) =>
        pid_ns?.map((value) => host(value, options.hostPidNamespace)),
      ),
      ...this.#encodeNumbers(NarrowingAttribute.mntNamespace, ({ mnt_ns }) =>
        mnt_ns?.map((value) => host(value, options.hostMntNamespace)),
      ),
    ];
    this.#hostRules = this.#podRules(undefined);
  }

  readonly #hostRules: number;

  #maskOf(holds: (filter: ProcessFilter, index: number) => boolean): number {
    return this.#filters.reduce((mask, filter, i) => (holds(filter, i) ? (mask | (1 << i)) >>> 0 : mask), 0);
  }

  #encodeNumbers(
    attribute: number,
    valuesOf: (filter: ProcessFilter) => readonly number[] | undefined,
  ): RuleEntry[] {
    const lists = this.#filters.map(valuesOf);
    return [...new Set(lists.flatMap((values) => values ?? []))].map((value) => ({
      key: numberKey(attribute, BigInt(value)),
      value: u32(this.#maskOf((_, index) => lists[index]?.includes(value) !== false)),
    }));
  }

  #podRules(facts: PodFacts | undefined): number {
    return this.#maskOf((filter) => !asksPod(filter) || fitsPod(filter, facts));
  }

  /** The constants of the process sensor. */
  get config(): Uint8Array {
    const bytes = new Uint8Array(NARROWING_BYTES);
    const defaults = attributes.map((attribute) =>
      attribute === NarrowingAttribute.cgroup ? this.#hostRules : (this.#defaults[attribute] ?? 0),
    );
    const uses = attributes.reduce(
      (bits, attribute) =>
        this.#filters.some((filter) => asks(filter, attribute)) ? bits | (1 << attribute) : bits,
      0,
    );
    const narrowing = makeNarrowing({ allowed: this.#allowed, denied: this.#denied, uses, defaults });
    writeNarrowing(new DataView(bytes.buffer), 0, narrowing);
    return bytes;
  }

  /** Whether a filter asks of pods: the rules of each workload are then to be kept in the kernel. */
  get asksPods(): boolean {
    return this.#filters.some(asksPod);
  }

  /** The entry by which the kernel knows the workload of a cgroup. */
  workload(cgroupId: bigint, facts: PodFacts): RuleEntry {
    return { key: numberKey(NarrowingAttribute.cgroup, cgroupId), value: u32(this.#podRules(facts)) };
  }
}

function asks(filter: ProcessFilter, attribute: number): boolean {
  switch (attribute) {
    case NarrowingAttribute.binary:
      return filter.binary !== undefined;
    case NarrowingAttribute.uid:
      return filter.uid !== undefined;
    case NarrowingAttribute.pidNamespace:
      return filter.pid_ns !== undefined;
    case NarrowingAttribute.mntNamespace:
      return filter.mnt_ns !== undefined;
    default:
      return asksPod(filter);
  }
}
