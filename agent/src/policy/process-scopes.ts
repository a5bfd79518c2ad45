// SPDX-License-Identifier: Apache-2.0
// Owns the programs that work out in which scopes each process is (bpf/scope.bpf.c): they follow the process sensor's at
// forks and execs, and walk over all tasks before a generation of scopes comes into force.
import { type BpfMap, type BpfObject, type BpfProgram, openObject } from '@weir/native';
import { HOOK_SPEC_BYTES, makeHookSpec, writeHookSpec } from '@weir/schema';
import { explainRefusal } from './errors.js';

/** The sensor's maps, and the programs that go there. */
const followers = { scope_at_exec: 'scopes_at_exec', scope_at_fork: 'scopes_at_fork' } as const;
type FollowerMap = keyof typeof followers;
const first = new Uint8Array(4);

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** They can work out whatever scopes look at. */
function spec(): Uint8Array {
  const bytes = new Uint8Array(HOOK_SPEC_BYTES);
  writeHookSpec(new DataView(bytes.buffer), 0, makeHookSpec({ scopeAttributes: 0xffffffff }));
  return bytes;
}

export class ProcessScopes {
  readonly #objectPath: string;
  readonly #maps: Readonly<Record<string, BpfMap>>;
  readonly #followers = new Map<FollowerMap, BpfProgram>();
  #object: BpfObject | undefined;
  #walk: BpfProgram | undefined;

  /** @param objectPath path of `scope.bpf.o` @param maps those of the sensor and of the hooks, by name */
  constructor(objectPath: string, maps: Readonly<Record<string, BpfMap>>) {
    this.#objectPath = objectPath;
    this.#maps = maps;
  }

  /** From now on forks and execs are followed. @throws {PolicyLoadError} where this kernel does not let it */
  follow(): void {
    if (this.#walk !== undefined) return;
    try {
      this.#object = openObject({
        path: this.#objectPath,
        reuseMaps: this.#maps,
        rodata: { spec: spec() },
      }).load();
      for (const map of Object.keys(followers) as FollowerMap[]) {
        this.#followers.set(map, this.#object.program(followers[map]));
        this.#put(map);
      }
      this.#walk = this.#object.program('scopes_of_tasks');
    } catch (error) {
      this.close();
      throw explainRefusal('load', 'iter', 'task', error);
    }
  }

  /** Works out what is not worked out yet, of all processes that there are. */
  walk(): void {
    this.#walk?.iterate();
  }

  /** Whether forks and execs are followed still, where they are to be; `mend` sees to it. */
  isFollowing(mend: boolean): boolean {
    let isWhole = true;
    for (const [map, program] of this.#followers) {
      const id = new Uint8Array(4);
      if (this.#maps[map]?.lookup(first, id) === true && Buffer.compare(id, u32(program.id)) === 0) continue;
      isWhole = false;
      if (mend) this.#put(map);
    }
    return isWhole;
  }

  #put(map: FollowerMap): void {
    const program = this.#followers.get(map);
    if (program !== undefined) this.#maps[map]?.update(first, u32(program.fd));
  }

  close(): void {
    for (const [map, program] of this.#followers) {
      this.#maps[map]?.delete(first);
      program.close();
    }
    this.#followers.clear();
    this.#walk?.close();
    this.#walk = undefined;
    this.#object?.close();
    this.#object = undefined;
  }
}
