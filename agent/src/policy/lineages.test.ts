// SPDX-License-Identifier: Apache-2.0
// Lineages against a kernel of plain maps: what it is told, in which numbers, and what becomes of them.
import type { Lineage } from '@weir/policy';
import { limits, readLineageConfig, readLineageSeed, readLineageSeedKey } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import type { MapEntry } from './entries.js';
import { PolicyLoadError } from './errors.js';
import type { Execution, KnownProcess } from './known-processes.js';
import { LineageFinder, type LineageKernel, Lineages } from './lineages.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

const cats: Lineage = { kind: 'forward', key: 'cats', exact: true, values: [bytes('/bin/cat')] };
const bins: Lineage = { kind: 'forward', key: 'bins', exact: false, values: [bytes('/bin/')] };
const dogs: Lineage = { kind: 'reverse', key: 'dogs', exact: false, values: [bytes('/dog')] };
const pids: Lineage = { kind: 'pid', key: 'pids', values: [7], inherited: true };
const host: Lineage = { kind: 'namespace-pid', key: 'host', values: [0], inherited: false };

function execution(binary: string, more: Partial<Execution> = {}): Execution {
  return { pid: 1, namespacePid: 0, binary: bytes(binary), former: undefined, parent: undefined, ...more };
}

class FakeKernel implements LineageKernel {
  readonly maps = new Map<MapEntry['map'], Map<string, Uint8Array>>();
  settled = 0;
  seedsMax = Number.POSITIVE_INFINITY;

  #map(name: MapEntry['map']): Map<string, Uint8Array> {
    const map = this.maps.get(name) ?? new Map<string, Uint8Array>();
    this.maps.set(name, map);
    return map;
  }

  writeEntries(entries: readonly MapEntry[]): void {
    for (const { map, key, value } of entries) {
      if (map === 'lineage_seeds' && this.#map(map).size >= this.seedsMax)
        throw new PolicyLoadError('map', 'the kernel map lineage_seeds cannot take another entry');
      this.#map(map).set(Buffer.from(key).toString('hex'), value);
    }
  }

  deleteEntries(entries: readonly Pick<MapEntry, 'map' | 'key'>[]): void {
    for (const { map, key } of entries) this.#map(map).delete(Buffer.from(key).toString('hex'));
  }

  readEntry(map: MapEntry['map'], key: Uint8Array): Uint8Array | undefined {
    return this.#map(map).get(Buffer.from(key).toString('hex'));
  }

  keysOf(map: MapEntry['map']): Uint8Array[] {
    return [...this.#map(map).keys()].map((key) => new Uint8Array(Buffer.from(key, 'hex')));
  }

  async settle(): Promise<void> {
    this.settled++;
  }

  get size(): number {
    return this.#map('lineage_strings').size + this.#map('lineage_pids').size;
  }

  config() {
    const value = this.readEntry('lineage_configs', new Uint8Array(4));
    return value === undefined ? undefined : readLineageConfig(new DataView(value.buffer), 0);
  }

  /** The lineages of each seeded process, by its number: own, and those of its parent. */
  seeds(): Record<number, readonly [bigint, bigint]> {
    return Object.fromEntries(
      this.keysOf('lineage_seeds').map((key) => {
        const value = this.readEntry('lineage_seeds', key) ?? new Uint8Array();
        const seed = readLineageSeed(new DataView(value.buffer), 0);
        const { pid } = readLineageSeedKey(new DataView(key.buffer, key.byteOffset), 0);
        return [pid, [seed.lineage.words[0] ?? 0n, seed.parentLineage.words[0] ?? 0n]];
      }),
    );
  }
}

function started(pid: number, startTicks: bigint, of: Execution): KnownProcess {
  return { pid, startTicks, execution: { ...of, pid } };
}

describe('a lineage', () => {
  it('is of what a process runs, ran before, and descends from, but for one that is not inherited', () => {
    const finder = new LineageFinder(
      [cats, bins, dogs, pids, host].map((lineage, number) => ({ lineage, number })),
    );
    const cat = execution('/bin/cat', { pid: 7, namespacePid: 1 });
    const child = execution('/sbin/x', { parent: cat, namespacePid: 2 });
    expect(finder.of(cat)).toBe(0b01011n);
    expect(finder.of(child)).toBe(0b01011n);
    expect(finder.of(execution('/a/dog', { former: cat }))).toBe(0b11111n);
    expect(finder.of(execution('/bin/catnip'))).toBe(0b10010n);
    expect(finder.of(execution('/x', { namespacePid: 5, parent: execution('/y') }))).toBe(0n);
    expect(finder.of(undefined)).toBe(0n);
  });

  it('is found through chains that are long, or closed by numbers that were given again', () => {
    const finder = new LineageFinder([{ lineage: cats, number: 3 }]);
    let last = execution('/bin/cat');
    for (let n = 0; n < 50_000; n++) last = execution('/x', { parent: last });
    expect(finder.of(last)).toBe(8n);
    const ring: { -readonly [Field in keyof Execution]: Execution[Field] } = execution('/bin/cat');
    ring.parent = execution('/x', { parent: ring });
    expect(finder.of(ring)).toBe(8n);
  });
});

describe('the lineages in force', () => {
  const processes = [
    started(10, 5n, execution('/bin/cat')),
    started(11, 6n, execution('/x', { parent: execution('/bin/cat') })),
    started(12, 6n, execution('/x')),
  ];

  it('keep their numbers over changes, and give them again only in another revision', async () => {
    const kernel = new FakeKernel();
    const lineages = new Lineages(
      kernel,
      () => processes,
      () => 100n,
    );
    lineages.include([cats, dogs]);
    expect(kernel.seeds()).toEqual({ 10: [1n, 0n], 11: [1n, 1n] });
    const first = kernel.config();
    expect(first?.uses).toBe(3);
    expect(first?.recycled).toBe(0);
    lineages.include([dogs, pids]);
    await lineages.retain([dogs, pids]);
    expect(Object.fromEntries(lineages.numbers())).toEqual({ dogs: 1, pids: 2 });
    lineages.include([dogs, pids, bins]);
    expect(Object.fromEntries(lineages.numbers())).toEqual({ dogs: 1, pids: 2, bins: 0 });
    const config = kernel.config();
    expect(config?.given[0]).toBe(config?.recycled);
    expect(config?.given[0]).toBeGreaterThan(first?.revision ?? 0);
    expect(config?.given[1]).toBe(first?.given[1]);
    // What was a cat is of the same number by another meaning, or not at all.
    expect(kernel.seeds()).toEqual({ 10: [1n, 0n], 11: [1n, 1n] });
    await lineages.retain([]);
    expect(kernel.config()).toBeUndefined();
    expect(kernel.size).toBe(0);
  });

  it('take a meaning that is gone out of what is said of processes', async () => {
    const kernel = new FakeKernel();
    const lineages = new Lineages(
      kernel,
      () => processes,
      () => 100n,
    );
    lineages.include([cats]);
    await lineages.retain([]);
    lineages.include([dogs]);
    expect(kernel.seeds()).toEqual({ 10: [0n, 0n], 11: [0n, 0n] });
  });

  it('look again for processes that began meanwhile, and forget those that have ended', () => {
    const kernel = new FakeKernel();
    let now = 7n;
    let calls = 0;
    const list = () => {
      calls++;
      now += 10n;
      if (calls === 1) return processes.slice(0, 1);
      if (calls === 2) return [...processes, started(13, 8n, execution('/bin/cat'))];
      return [...processes.slice(1), started(14, 1000n, execution('/bin/cat'))];
    };
    const lineages = new Lineages(kernel, list, () => now);
    lineages.include([cats]);
    expect(calls).toBe(3);
    expect(Object.keys(kernel.seeds())).toEqual(['10', '11', '13']);
    lineages.include([cats, bins]);
    expect(Object.keys(kernel.seeds())).toEqual(['11', '14']);
  });

  it('answer with all that a longer key begins with', () => {
    const kernel = new FakeKernel();
    new Lineages(
      kernel,
      () => [],
      () => 0n,
    ).include([cats, bins]);
    const words = [...(kernel.maps.get('lineage_strings')?.values() ?? [])].map((value) => value[0]);
    expect(words).toEqual([0b11, 0b10]);
  });

  it('are refused past the limit, and leave the others as they are', async () => {
    const kernel = new FakeKernel();
    const lineages = new Lineages(
      kernel,
      () => processes,
      () => 100n,
    );
    lineages.include([cats]);
    const many = Array.from({ length: limits.lineages }, (_, n): Lineage => ({ ...dogs, key: `dogs ${n}` }));
    expect(() => lineages.include(many)).toThrow(/more than 512 different descents/);
    expect(Object.fromEntries(lineages.numbers())).toEqual({ cats: 0 });
    lineages.include(many.slice(1));
    expect(lineages.numbers().size).toBe(limits.lineages);
    await lineages.retain([cats]);
    kernel.seedsMax = 0;
    expect(() => lineages.include([cats, bins])).toThrow(/lineage_seeds/);
    await lineages.retain([cats]);
    expect(Object.fromEntries(lineages.numbers())).toEqual({ cats: 0 });
  });
});
