// SPDX-License-Identifier: Apache-2.0
// Owns the numbers of lineages (followChildren, followForks) and what the kernel is told of them: with which binaries
// and process ids they begin (bpf/lineage.h), and of which the processes are that run already.
import type { Lineage } from '@weir/policy';
import {
  INTEGER_KEY_BYTES,
  LINEAGE_CONFIG_BYTES,
  LINEAGE_SEED_BYTES,
  LINEAGE_SEED_KEY_BYTES,
  LineageUse,
  limits,
  makeLineageConfig,
  makeLineageSeedKey,
  readLineageSeed,
  readLineageSeedKey,
  writeIntegerKey,
  writeLineageConfig,
  writeLineageSeed,
  writeLineageSeedKey,
} from '@weir/schema';
import { encodeTrieKey } from './encode.js';
import { encodeMask, type MapEntry } from './entries.js';
import { PolicyLoadError } from './errors.js';
import type { Execution, KnownProcess, ProcessList } from './known-processes.js';

/** What lineages ask of the kernel; HookKernel has it. */
export interface LineageKernel {
  writeEntries(entries: readonly MapEntry[]): void;
  deleteEntries(entries: readonly Pick<MapEntry, 'map' | 'key'>[]): void;
  readEntry(map: MapEntry['map'], key: Uint8Array): Uint8Array | undefined;
  keysOf(map: MapEntry['map']): Uint8Array[];
  settle(): Promise<void>;
}

interface Given {
  readonly lineage: Lineage;
  readonly number: number;
}

/** How often processes are looked for that began while the last ones were being told of. */
const passesMax = 6;
/** The look-ups of a revision have ids of their own: forward, reverse, process ids. */
const dimensionsEach = 2;
const purposes = { pid: 0, 'namespace-pid': 1 } as const;
const uses = {
  forward: LineageUse.forward,
  reverse: LineageUse.reverse,
  pid: LineageUse.pid,
  'namespace-pid': LineageUse.namespacePid,
} as const;
const configKey = new Uint8Array(4);

function usesOf(lineage: Lineage): number {
  const isPrefix = lineage.kind === 'forward' && !lineage.exact;
  return uses[lineage.kind] | (isPrefix ? LineageUse.prefix : 0);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function wordsOf(mask: bigint): bigint[] {
  return Array.from({ length: limits.mask_words }, (_, i) => BigInt.asUintN(64, mask >> BigInt(64 * i)));
}

function maskOf(words: readonly bigint[]): bigint {
  return words.reduce((mask, word, i) => mask | (word << BigInt(64 * i)), 0n);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Whether a program is one with which a lineage begins. */
export function beginsLineage(lineage: Lineage, { pid, namespacePid, binary }: Execution): boolean {
  if ('inherited' in lineage) return lineage.values.includes(lineage.kind === 'pid' ? pid : namespacePid);
  const text = Buffer.from(binary);
  return lineage.values.some((value) => {
    if (lineage.kind === 'reverse')
      return text.length >= value.length && text.subarray(text.length - value.length).equals(value);
    return text.subarray(0, lineage.exact ? text.length : value.length).equals(value);
  });
}

/** Of each of the programs, the lineages that the process is of, as a mask. */
export class LineageFinder {
  readonly #given: readonly Given[];
  readonly #uninherited: bigint;
  readonly #known = new Map<Execution, bigint>();

  constructor(given: readonly Given[]) {
    this.#given = given;
    this.#uninherited = uninheritedOf(given);
  }

  of(execution: Execution | undefined): bigint {
    if (execution === undefined) return 0n;
    // By hand and not by recursion: a chain of ancestors may be as long as the process table. What is begun has a mask
    // already, so that one that came to be its own ancestor, by a number that was given again, ends the walk.
    const waiting: { readonly execution: Execution; readonly isReady: boolean }[] = [
      { execution, isReady: false },
    ];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { former, parent } = next.execution;
      if (next.isReady) {
        this.#known.set(next.execution, this.#maskOf(next.execution));
      } else if (!this.#known.has(next.execution)) {
        this.#known.set(next.execution, 0n);
        waiting.push({ execution: next.execution, isReady: true });
        if (former !== undefined) waiting.push({ execution: former, isReady: false });
        if (parent !== undefined) waiting.push({ execution: parent, isReady: false });
      }
    }
    return this.#known.get(execution) ?? 0n;
  }

  #maskOf(execution: Execution): bigint {
    const { former, parent } = execution;
    let mask = former === undefined ? 0n : (this.#known.get(former) ?? 0n);
    if (parent !== undefined) mask |= (this.#known.get(parent) ?? 0n) & ~this.#uninherited;
    for (const { lineage, number } of this.#given) {
      if (beginsLineage(lineage, execution)) mask |= 1n << BigInt(number);
    }
    return mask;
  }
}

function uninheritedOf(given: readonly Given[]): bigint {
  let mask = 0n;
  for (const { lineage, number } of given) {
    if ('inherited' in lineage && !lineage.inherited) mask |= 1n << BigInt(number);
  }
  return mask;
}

/** A trie answers with its longest match only: each key has the lineages of all that it begins with. */
function textEntries(given: readonly Given[], kind: 'forward' | 'reverse', id: number): MapEntry[] {
  const masks = new Map<string, bigint>();
  for (const { lineage, number } of given) {
    if ('inherited' in lineage || lineage.kind !== kind) continue;
    for (const value of lineage.values) {
      const text = latin1(kind === 'reverse' ? value.slice().reverse() : value);
      const key = lineage.exact && kind === 'forward' ? `${text}\0` : text;
      masks.set(key, (masks.get(key) ?? 0n) | (1n << BigInt(number)));
    }
  }
  const lengths = [...new Set([...masks.keys()].map(({ length }) => length))];
  return [...masks.keys()].map((key) => {
    let mask = 0n;
    for (const length of lengths) {
      if (length <= key.length) mask |= masks.get(key.slice(0, length)) ?? 0n;
    }
    return {
      map: 'lineage_strings',
      // The closing NUL of an exact one is in it already.
      key: encodeTrieKey(id, new Uint8Array(Buffer.from(key, 'latin1')), false, false, 'followChildren'),
      value: encodeMask(mask),
    };
  });
}

function pidEntries(given: readonly Given[], id: number): MapEntry[] {
  const masks = new Map<string, { purpose: number; value: number; mask: bigint }>();
  for (const { lineage, number } of given) {
    if (!('inherited' in lineage)) continue;
    for (const value of lineage.values) {
      const purpose = purposes[lineage.kind];
      const key = `${purpose} ${value}`;
      const mask = (masks.get(key)?.mask ?? 0n) | (1n << BigInt(number));
      masks.set(key, { purpose, value, mask });
    }
  }
  return [...masks.values()].map(({ purpose, value, mask }) => {
    const key = new Uint8Array(INTEGER_KEY_BYTES);
    writeIntegerKey(viewOf(key), 0, { dimensionId: id, purpose, value: BigInt(value) });
    return { map: 'lineage_pids', key, value: encodeMask(mask) };
  });
}

/** The lineages in force. `include` before hooks look at them, `retain` when none looks at the others any more. */
export class Lineages {
  readonly #kernel: LineageKernel;
  readonly #processes: ProcessList;
  readonly #now: () => bigint;
  #given: Given[] = [];
  #entries: MapEntry[] = [];
  #revision = 0;
  #recycled = 0;
  #dimensionId = 0;
  /** Numbers that had a meaning once. */
  #highest = -1;
  readonly #free: number[] = [];
  readonly #givenIn = new Array<number>(limits.lineages).fill(0);

  /** @param now the boot-time clock, in hundredths of a second */
  constructor(kernel: LineageKernel, processes: ProcessList, now: () => bigint) {
    this.#kernel = kernel;
    this.#processes = processes;
    this.#now = now;
  }

  /** Numbers by the keys of lineages. */
  numbers(): ReadonlyMap<string, number> {
    return new Map(this.#given.map(({ lineage, number }) => [lineage.key, number]));
  }

  /**
   * Has processes follow these lineages too, those that run already as well.
   * @throws {PolicyLoadError} where there is no room; what was followed before is followed on, and `retain` tidies up
   */
  include(lineages: readonly Lineage[]): void {
    const known = this.numbers();
    const added = lineages.filter(({ key }) => !known.has(key));
    if (added.length === 0) return;
    const before = this.#given;
    const highest = this.#highest;
    const free = [...this.#free];
    try {
      this.#give(added);
      this.#write();
    } catch (error) {
      // The kernel has nothing of it: the numbers have no meaning yet.
      this.#given = before;
      this.#highest = highest;
      this.#free.splice(0, this.#free.length, ...free);
      throw error;
    }
    this.#seed(this.#given.filter((given) => !before.includes(given)));
  }

  /** Follows these lineages only. */
  async retain(lineages: readonly Lineage[]): Promise<void> {
    const wanted = new Set(lineages.map(({ key }) => key));
    const gone = this.#given.filter(({ lineage }) => !wanted.has(lineage.key));
    const stale = this.#stale;
    this.#stale = [];
    if (gone.length > 0) {
      this.#given = this.#given.filter(({ lineage }) => wanted.has(lineage.key));
      this.#free.push(...gone.map(({ number }) => number));
      this.#write();
    }
    stale.push(...this.#stale);
    this.#stale = [];
    if (stale.length === 0) return;
    await this.#kernel.settle();
    this.#kernel.deleteEntries(stale);
  }

  /** Entries of look-ups that no process makes any more, once those that run have ended. */
  #stale: MapEntry[] = [];

  #give(added: readonly Lineage[]): void {
    const revision = this.#revision + 1;
    const given = [...this.#given];
    for (const lineage of added) {
      let number = this.#free.shift();
      if (number === undefined) {
        number = this.#highest + 1;
        if (number >= limits.lineages) {
          throw new PolicyLoadError(
            'limit',
            `the policies follow more than ${limits.lineages} different descents (followChildren, followForks)`,
          );
        }
        this.#highest = number;
      } else {
        this.#recycled = revision;
        this.#forget(1n << BigInt(number));
      }
      this.#givenIn[number] = revision;
      given.push({ lineage, number });
      this.#given = given;
    }
  }

  /** Takes numbers that get another meaning out of what is said of processes. */
  #forget(numbers: bigint): void {
    for (const key of this.#kernel.keysOf('lineage_seeds')) {
      const seed = this.#seedOf(key);
      if (seed !== undefined) this.#writeSeed(key, seed.lineage & ~numbers, seed.parent & ~numbers);
    }
  }

  /** Brings what begins lineages into the kernel, beside what was there. */
  #write(): void {
    const id = this.#dimensionId + dimensionsEach;
    const entries = [
      ...textEntries(this.#given, 'forward', id),
      ...textEntries(this.#given, 'reverse', id + 1),
      ...pidEntries(this.#given, id),
    ];
    this.#kernel.writeEntries(entries);
    this.#dimensionId = id;
    this.#stale.push(...this.#entries);
    this.#entries = entries;
    this.#writeConfig();
  }

  /** With another revision, each process looks what is said of it. */
  #writeConfig(): void {
    this.#revision++;
    if (this.#given.length === 0) {
      this.#kernel.deleteEntries([{ map: 'lineage_configs', key: configKey }]);
      return;
    }
    const value = new Uint8Array(LINEAGE_CONFIG_BYTES);
    writeLineageConfig(
      viewOf(value),
      0,
      makeLineageConfig({
        revision: this.#revision,
        recycled: this.#recycled,
        dimensionId: this.#dimensionId,
        uses: this.#given.reduce((bits, { lineage }) => bits | usesOf(lineage), 0),
        uninherited: { words: wordsOf(uninheritedOf(this.#given)) },
        given: this.#givenIn,
      }),
    );
    this.#kernel.writeEntries([{ map: 'lineage_configs', key: configKey, value }]);
  }

  /**
   * Says of the processes that run of which new lineages they are. What begins after that inherits it; what begins
   * meanwhile is looked for again.
   */
  #seed(added: readonly Given[]): void {
    const seen = new Set<string>();
    for (let pass = 0; pass < passesMax; pass++) {
      const writtenAt = this.#now();
      const fresh = this.#processes().filter(({ pid, startTicks }) => !seen.has(`${pid} ${startTicks}`));
      if (pass > 0 && !fresh.some(({ startTicks }) => startTicks <= this.#seededAt)) return;
      if (pass === 0) this.#dropEnded(fresh);
      const finder = new LineageFinder(added);
      for (const { pid, startTicks, execution } of fresh) {
        seen.add(`${pid} ${startTicks}`);
        this.#addSeed(pid, startTicks, finder.of(execution), finder.of(execution.parent));
      }
      this.#writeConfig();
      this.#seededAt = this.#now() > writtenAt ? this.#now() : writtenAt;
    }
  }

  #seededAt = 0n;

  #dropEnded(running: readonly KnownProcess[]): void {
    const alive = new Set(running.map(({ pid, startTicks }) => `${pid} ${startTicks}`));
    const ended = this.#kernel.keysOf('lineage_seeds').filter((key) => {
      const { pid, startTicks } = readLineageSeedKey(viewOf(key), 0);
      return !alive.has(`${pid} ${startTicks}`);
    });
    this.#kernel.deleteEntries(ended.map((key) => ({ map: 'lineage_seeds', key })));
  }

  #addSeed(pid: number, startTicks: bigint, lineage: bigint, parent: bigint): void {
    if (lineage === 0n && parent === 0n) return;
    const key = new Uint8Array(LINEAGE_SEED_KEY_BYTES);
    writeLineageSeedKey(viewOf(key), 0, makeLineageSeedKey({ pid, startTicks }));
    const known = this.#seedOf(key);
    this.#writeSeed(key, lineage | (known?.lineage ?? 0n), parent | (known?.parent ?? 0n));
  }

  #seedOf(key: Uint8Array): { lineage: bigint; parent: bigint } | undefined {
    const value = this.#kernel.readEntry('lineage_seeds', key);
    if (value === undefined) return undefined;
    const { lineage, parentLineage } = readLineageSeed(viewOf(value), 0);
    return { lineage: maskOf(lineage.words), parent: maskOf(parentLineage.words) };
  }

  #writeSeed(key: Uint8Array, lineage: bigint, parent: bigint): void {
    const value = new Uint8Array(LINEAGE_SEED_BYTES);
    writeLineageSeed(viewOf(value), 0, {
      lineage: { words: wordsOf(lineage) },
      parentLineage: { words: wordsOf(parent) },
    });
    this.#kernel.writeEntries([{ map: 'lineage_seeds', key, value }]);
  }
}
