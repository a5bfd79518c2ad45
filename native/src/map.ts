// SPDX-License-Identifier: Apache-2.0
// Owns BpfMap: one kernel map, by its file descriptor.
import { type RawMap, raw } from './addon.js';
import { badArgument, guard, NativeError } from './error.js';
import { possibleCpus } from './kernel.js';

/** Map types by the names of the kernel, and their numbers. */
export const mapTypes = {
  hash: 1,
  array: 2,
  progArray: 3,
  percpuHash: 5,
  percpuArray: 6,
  lruHash: 9,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  ringbuf: 27,
  taskStorage: 29,
} as const;

export type MapType = keyof typeof mapTypes;

/** Flags of `update`. */
export const updateFlags = { any: 0, noExist: 1, exist: 2 } as const;

/** Flags of map creation. */
export const mapFlags = { noPrealloc: 1, readOnlyProgram: 128, mmapable: 1024 } as const;

export interface CreateMapOptions {
  readonly type: MapType;
  /** Up to 15 characters of `[A-Za-z0-9_.]`. */
  readonly name: string;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags?: number;
  /** For a map of maps: a map like those that it will hold. */
  readonly inner?: BpfMap;
}

/** A kernel map. Every method but `close` throws `BAD_STATE` after `close`. */
export class BpfMap {
  readonly name: string;
  /** The kernel's number of the type; `mapTypes` names those in use here. */
  readonly type: number;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Bytes of a value as user space sees it: for per-CPU maps, 8-aligned value size × possible CPUs. */
  readonly valueBytes: number;
  readonly #raw: RawMap;
  #closed = false;

  /** @internal made by BpfObject, createMap and openPinnedMap */
  constructor(map: RawMap) {
    this.#raw = map;
    this.name = map.name;
    this.type = map.type;
    this.keySize = map.keySize;
    this.valueSize = map.valueSize;
    this.maxEntries = map.maxEntries;
    this.valueBytes = perCpu(map.type) ? ((map.valueSize + 7) & ~7) * possibleCpus() : map.valueSize;
  }

  /** The kernel's id of the map. */
  get id(): number {
    return this.raw().id;
  }

  /** The file descriptor; it belongs to this object. Written as an inner map's value: 4 bytes, little-endian. */
  get fd(): number {
    return this.raw().fd();
  }

  /** Reads the value of `key` into `value` (at least `valueBytes`); false where there is none. */
  lookup(key: Uint8Array, value: Uint8Array): boolean {
    this.checkKey(key);
    if (value.byteLength < this.valueBytes) {
      throw badArgument('value', `has ${value.byteLength} bytes, map ${this.name} needs ${this.valueBytes}`);
    }
    return guard(() => this.raw().lookup(key, value));
  }

  /** Reads a per-CPU value: one Uint8Array of `valueSize` bytes for each possible CPU; undefined where there is none. */
  lookupPerCpu(key: Uint8Array): Uint8Array[] | undefined {
    if (!perCpu(this.type)) throw badArgument('map', `${this.name} is not a per-CPU map`);
    const value = new Uint8Array(this.valueBytes);
    if (!this.lookup(key, value)) return undefined;
    const stride = (this.valueSize + 7) & ~7;
    return Array.from({ length: possibleCpus() }, (_, cpu) =>
      value.subarray(cpu * stride, cpu * stride + this.valueSize),
    );
  }

  /**
   * Sets the value of `key`. For a map of maps the value is the inner map's `fd` as 4 bytes, for one of programs the
   * program's; a look-up then gives its id.
   */
  update(key: Uint8Array, value: Uint8Array, flags: number = updateFlags.any): void {
    this.checkKey(key);
    if (value.byteLength !== this.valueBytes) {
      throw badArgument('value', `has ${value.byteLength} bytes, map ${this.name} takes ${this.valueBytes}`);
    }
    guard(() => this.raw().update(key, value, flags));
  }

  /** Sets `count` keys, laid one after the other, in as few system calls as the kernel allows. */
  updateBatch(keys: Uint8Array, values: Uint8Array, count: number, flags: number = updateFlags.any): void {
    if (keys.byteLength !== count * this.keySize) {
      throw badArgument(
        'keys',
        `have ${keys.byteLength} bytes, ${count} keys of ${this.keySize} are expected`,
      );
    }
    if (values.byteLength !== count * this.valueBytes) {
      throw badArgument(
        'values',
        `have ${values.byteLength} bytes, ${count} values of ${this.valueBytes} are expected`,
      );
    }
    if (count > 0) guard(() => this.raw().updateBatch(keys, values, count, flags));
  }

  /** Deletes `key`; false where it was not there. */
  delete(key: Uint8Array): boolean {
    this.checkKey(key);
    return guard(() => this.raw().delete(key));
  }

  /**
   * Calls `visit` with each key, in the kernel's order; the array is reused between calls. Deleting the key just
   * visited is safe; at most `max_entries` keys are visited, so that a changing map cannot hold the walk for ever.
   */
  forEachKey(visit: (key: Uint8Array) => void): void {
    let previous = new Uint8Array(this.keySize);
    let next = new Uint8Array(this.keySize);
    let found = guard(() => this.raw().nextKey(undefined, next));
    for (let count = 0; found && count < this.maxEntries; count++) {
      [previous, next] = [next, previous];
      const key = previous;
      found = guard(() => this.raw().nextKey(key, next));
      visit(key);
    }
  }

  /** Makes the map read-only for user space, for ever. */
  freeze(): void {
    guard(() => this.raw().freeze());
  }

  /** Pins the map at a path on a BPF file system. */
  pin(path: string): void {
    guard(() => this.raw().pin(path));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  raw(): RawMap {
    if (this.#closed) throw new NativeError('BAD_STATE', `map ${this.name} is closed`);
    return this.#raw;
  }

  private checkKey(key: Uint8Array): void {
    if (key.byteLength !== this.keySize) {
      throw badArgument('key', `has ${key.byteLength} bytes, map ${this.name} takes ${this.keySize}`);
    }
  }
}

function perCpu(type: number): boolean {
  return type === mapTypes.percpuArray || type === mapTypes.percpuHash || type === 10 || type === 21;
}

/** Makes a map of its own, outside any object. */
export function createMap(options: CreateMapOptions): BpfMap {
  const type = mapTypes[options.type];
  if (type === undefined) {
    throw badArgument('type', `${options.type} is unknown; known: ${Object.keys(mapTypes).join(', ')}`);
  }
  return new BpfMap(
    guard(() =>
      raw().createMap(
        type,
        options.name.slice(0, 15),
        options.keySize,
        options.valueSize,
        options.maxEntries,
        options.flags ?? 0,
        options.inner?.raw(),
      ),
    ),
  );
}

/** Opens a map that was pinned on a BPF file system. */
export function openPinnedMap(path: string): BpfMap {
  return new BpfMap(guard(() => raw().openPinnedMap(path)));
}

/** Opens a map that some process holds, by the kernel's id of it. */
export function openMapById(id: number): BpfMap {
  return new BpfMap(guard(() => raw().openMapById(id)));
}
