// SPDX-License-Identifier: Apache-2.0
// Owns the counts that the kernel stage keeps of each hook and of each policy on it (bpf/tally.h). Whether they can be
// had never decides about a policy: where a map is full, there are no counts.
import type { BpfMap } from '@weir/native';
import { BINDING_COUNTS_BYTES, HOOK_COUNTS_BYTES, readBindingCounts, readHookCounts } from '@weir/schema';

/** Of one policy on one hook, since it came into force there. */
export interface PolicyCounts {
  readonly matches: bigint;
  readonly posted: bigint;
  readonly rateLimited: bigint;
  readonly lost: bigint;
  readonly enforced: bigint;
  readonly enforceFailed: bigint;
  readonly throttled: bigint;
}

/** Of a hook, since it was attached. */
export interface HookCounts {
  readonly hits: bigint;
  readonly undecided: bigint;
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function sum<T extends object>(
  map: BpfMap,
  key: number,
  bytes: number,
  read: (view: DataView, at: number) => T,
): T | undefined {
  const values = map.lookupPerCpu(u32(key));
  if (values === undefined) return undefined;
  const total: Record<string, bigint> = {};
  for (const value of values) {
    const counts = read(new DataView(value.buffer, value.byteOffset, bytes), 0);
    for (const [name, count] of Object.entries(counts) as [string, bigint][])
      total[name] = (total[name] ?? 0n) + count;
  }
  return total as T;
}

export class Counts {
  readonly #hooks: BpfMap;
  readonly #bindings: BpfMap;
  readonly #counted = new Set<number>();

  constructor(maps: { readonly hooks: BpfMap; readonly bindings: BpfMap }) {
    this.#hooks = maps.hooks;
    this.#bindings = maps.bindings;
  }

  /** Begins to count for bindings. Before their programs act. */
  begin(bindingIds: Iterable<number>): void {
    for (const id of bindingIds) {
      if (this.#counted.has(id)) continue;
      try {
        this.#bindings.update(u32(id), new Uint8Array(this.#bindings.valueBytes));
        this.#counted.add(id);
      } catch {
        return; // full: those before are counted
      }
    }
  }

  /** Ends it for all others. */
  keep(bindingIds: ReadonlySet<number>): void {
    for (const id of this.#counted) {
      if (bindingIds.has(id)) continue;
      this.#bindings.delete(u32(id));
      this.#counted.delete(id);
    }
  }

  /** Clears the counts of a hook's number, before a hook gets it. */
  clear(hookId: number): void {
    this.#hooks.update(u32(hookId), new Uint8Array(this.#hooks.valueBytes));
  }

  hook(hookId: number): HookCounts {
    return sum(this.#hooks, hookId, HOOK_COUNTS_BYTES, readHookCounts) ?? { hits: 0n, undecided: 0n };
  }

  /** undefined where they are not counted. */
  policy(bindingId: number): PolicyCounts | undefined {
    return sum(this.#bindings, bindingId, BINDING_COUNTS_BYTES, readBindingCounts);
  }
}
