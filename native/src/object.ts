// SPDX-License-Identifier: Apache-2.0
// Owns BpfObject: a compiled object file, opened, adjusted, loaded.
import { type RawMap, type RawObject, raw } from './addon.js';
import { badArgument, guard, NativeError } from './error.js';
import { BpfMap } from './map.js';
import { BpfProgram } from './program.js';

export interface OpenObjectOptions {
  /** Path of the `.bpf.o`. */
  readonly path: string;
  /** Maps of other objects that take the place of maps of this one, by name. */
  readonly reuseMaps?: Readonly<Record<string, BpfMap>>;
  /** Paths on a BPF file system, by map name: what is pinned there is used, else the new map is pinned there. */
  readonly pinnedMaps?: Readonly<Record<string, string>>;
  readonly maxEntries?: Readonly<Record<string, number>>;
  /** Bytes of constants: by variable name, or of a whole section by its name (`.rodata`). */
  readonly rodata?: Readonly<Record<string, Uint8Array>>;
  /** Only these programs are loaded; without it, those that the object says. */
  readonly autoload?: readonly string[];
  /**
   * Programs that are only to be cloned. They are relocated with the others, and what the kernel gets in their place does
   * nothing: it is for the clones to say whether it takes them.
   */
  readonly templates?: readonly string[];
}

/** An object file. `load` once; `close` frees it, detaching nothing that has a link or a handle of its own. */
export class BpfObject {
  readonly #raw: RawObject;
  readonly #path: string;
  #state: 'open' | 'loaded' | 'failed' | 'closed' = 'open';

  /** @internal made by openObject */
  constructor(object: RawObject, path: string) {
    this.#raw = object;
    this.#path = path;
  }

  /** Makes the maps and loads the programs into the kernel. After an error the object can only be closed. */
  load(): this {
    if (this.#state !== 'open')
      throw new NativeError('BAD_STATE', `${this.#path} is ${this.#state}: it cannot be loaded`);
    this.#state = 'failed';
    guard(() => this.#raw.load());
    this.#state = 'loaded';
    return this;
  }

  /** A new handle of a map, to be closed by the caller. It outlives the object. */
  map(name: string): BpfMap {
    this.needLoaded();
    const found = guard(() => this.#raw.map(name));
    if (found === undefined) {
      throw new NativeError(
        'NOT_FOUND',
        `${this.#path} has no map ${name}; it has ${this.#raw.mapNames().join(', ')}`,
      );
    }
    return new BpfMap(found);
  }

  /** A new handle of a program, to be closed by the caller. It outlives the object. */
  program(name: string): BpfProgram {
    this.needLoaded();
    const found = guard(() => this.#raw.program(name));
    if (found === undefined) {
      throw new NativeError(
        'NOT_FOUND',
        `${this.#path} has no loaded program ${name}; it has ${this.#raw.programNames().join(', ')}`,
      );
    }
    return new BpfProgram(found);
  }

  mapNames(): string[] {
    this.needOpen();
    return this.#raw.mapNames();
  }

  programNames(): string[] {
    this.needOpen();
    return this.#raw.programNames();
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private needOpen(): void {
    if (this.#state === 'closed') throw new NativeError('BAD_STATE', `${this.#path} is closed`);
  }

  private needLoaded(): void {
    if (this.#state !== 'loaded')
      throw new NativeError('BAD_STATE', `${this.#path} is ${this.#state}, not loaded`);
  }
}

/** Opens an object file; nothing reaches the kernel before `load`. */
export function openObject(options: OpenObjectOptions): BpfObject {
  if (typeof options.path !== 'string' || options.path === '') {
    throw badArgument('path', 'is not the path of an object file');
  }
  const reuse: Record<string, RawMap> = {};
  for (const [name, map] of Object.entries(options.reuseMaps ?? {})) {
    if (options.pinnedMaps?.[name] !== undefined) {
      throw badArgument(`pinnedMaps.${name}`, 'is in reuseMaps too: give one');
    }
    reuse[name] = map.raw();
  }
  for (const [name, count] of Object.entries(options.maxEntries ?? {})) {
    if (!Number.isInteger(count) || count < 1 || count > 0xffffffff) {
      throw badArgument(`maxEntries.${name}`, `${count} is not a whole number from 1 on`);
    }
  }
  return new BpfObject(
    guard(() =>
      raw().openObject({
        path: options.path,
        reuse,
        pinned: { ...options.pinnedMaps },
        maxEntries: { ...options.maxEntries },
        rodata: { ...options.rodata },
        autoload: options.autoload,
        templates: [...(options.templates ?? [])],
      }),
    ),
    options.path,
  );
}
