// SPDX-License-Identifier: Apache-2.0
// Owns the loading of the addon and the types of what it exports. Nothing outside this package sees these.
import { createRequire } from 'node:module';
import { NativeError } from './error.js';
import type { KernelField } from './kernel-field.js';

export interface RawMap {
  readonly name: string;
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly id: number;
  fd(): number;
  lookup(key: Uint8Array, value: Uint8Array): boolean;
  update(key: Uint8Array, value: Uint8Array, flags: number): void;
  delete(key: Uint8Array): boolean;
  nextKey(previous: Uint8Array | undefined, next: Uint8Array): boolean;
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number, flags: number): void;
  freeze(): void;
  pin(path: string): void;
  close(): void;
}

export interface RawProgram {
  readonly name: string;
  readonly type: number;
  readonly id: number;
  fd(): number;
  attach(
    kind: string,
    first: string,
    second: string,
    number: number,
    flag: boolean,
    names: readonly string[],
    /** Of a uprobe: offset in the file of its counter. */
    counterOffset?: number,
  ): RawLink;
  iterate(): void;
  stats(): {
    runCount: bigint;
    runTimeNs: bigint;
    recursionMisses: bigint;
    memlockBytes: number;
    jitedBytes: number;
    verifiedInstructions: number;
  };
  testRun(context: Uint8Array | undefined, repeat: number): { returned: number; durationNs: number };
  clone(options: {
    name: string;
    attachTarget: string;
    attachType: string;
    rodata: Uint8Array | undefined;
    variables: Record<string, Uint8Array>;
    maps: Record<string, RawMap>;
  }): RawProgram;
  pin(path: string): void;
  close(): void;
}

export interface RawLink {
  readonly id: number;
  programId(): number;
  pin(path: string): void;
  close(): void;
}

export interface RawObject {
  load(): void;
  map(name: string): RawMap | undefined;
  program(name: string): RawProgram | undefined;
  mapNames(): string[];
  programNames(): string[];
  close(): void;
}

export interface RawRing {
  drain(
    target: Uint8Array,
    byteOffset: number,
    offsets: Uint32Array,
    recordsMax: number,
    result: Float64Array,
  ): number;
  drainTo(join: RawJoin, recordsMax: number, result: Float64Array): number;
  commit(position: number): void;
  pendingBytes(): number;
  unreadBytes(): number;
  capacityBytes(): number;
  wakeUps(): number;
  ref(): void;
  unref(): void;
  close(): void;
}

export interface RawTable {
  seed(pid: number, startTicks: number): number;
  seedOf(pid: number): number;
  linkSeeds(child: number, parent: number): void;
  setStrings(slot: number, bytes: Uint8Array): boolean;
  stringsAt(slot: number): number;
  state(slot: number): number;
  numbers(numbers: Float64Array): void;
}

export interface RawJoin {
  begin(slot: Uint8Array): void;
  add(record: Uint8Array): number;
  measure(numbers: Float64Array): void;
  lay(stringsAt: number): number;
}

export interface RawAddon {
  openObject(options: {
    path: string;
    reuse: Record<string, RawMap>;
    pinned: Record<string, string>;
    maxEntries: Record<string, number>;
    rodata: Record<string, Uint8Array>;
    autoload: readonly string[] | undefined;
    templates: readonly string[];
  }): RawObject;
  createMap(
    type: number,
    name: string,
    keySize: number,
    valueSize: number,
    maxEntries: number,
    flags: number,
    inner: RawMap | undefined,
  ): RawMap;
  openMapById(id: number): RawMap;
  openPinnedMap(path: string): RawMap;
  openPinnedLink(path: string): RawLink;
  openRing(map: RawMap, onReady: () => void, pollIntervalMs: number): RawRing;
  openTable(processesMax: number, exitedMax: number, images: Uint32Array, arena: Uint8Array): RawTable;
  openJoin(
    table: RawTable,
    options: {
      ancestors: number;
      recordsMax: number;
      batchBytesMax: number;
      trailerBytes: number;
      direct: Uint32Array;
      bindingBytes: Uint32Array;
      bound: Uint32Array;
      numberOf: (id: number) => number;
      next: Float64Array;
      handled: Float64Array;
      handledInBatch: Float64Array;
      userIds: Uint32Array;
      userEnds: Uint32Array;
      userNames: Uint8Array;
    },
  ): RawJoin;
  openMappingEvent(cpu: number, mark: bigint): RawLink;
  enableStats(): RawLink;
  waitGracePeriod(done: (error: Error | null) => void): void;
  kernelFunction(
    name: string,
    prefix: string,
  ): { btfId: number; returns: string; parameters: { name: string; type: string }[] } | undefined;
  kernelField(
    functionName: string,
    parameter: number,
    type: string,
    module: string,
    path: string,
  ): KernelField | string;
  probe(kind: string): { errno: number; log: string };
  clockOffsetNs(from: string, to: string): bigint;
  copyRanges(target: Uint8Array, source: Uint8Array, ranges: Uint32Array, count: number): void;
  possibleCpus(): number;
}

let addon: RawAddon | undefined;

/** The addon, loaded at its first use: `build/weir.node` beside `dist`. */
export function raw(): RawAddon {
  if (addon === undefined) {
    const path = new URL('../build/weir.node', import.meta.url).pathname;
    try {
      addon = createRequire(import.meta.url)(path) as RawAddon;
    } catch (error) {
      throw new NativeError(
        'ADDON_MISSING',
        `the addon could not be loaded from ${path}: build it with "make -C native" (it needs g++, libbpf-dev, libelf-dev, zlib1g-dev; to run, libbpf1 and libelf1)`,
        { cause: error },
      );
    }
  }
  return addon;
}
