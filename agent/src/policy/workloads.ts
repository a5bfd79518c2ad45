// SPDX-License-Identifier: Apache-2.0
// Owns which cgroup is which workload, and what the kernel is told of it: a number for each workload, by which scopes
// look up what selects it. A number is never given again.
import type { ScopePlan, WorkloadFacts } from '@weir/policy';
import { encodeWorkload } from './encode.js';
import type { MapEntry } from './entries.js';

/** A container, by the cgroup that all of its processes are in or below. */
export interface Workload extends WorkloadFacts {
  readonly cgroupId: bigint;
}

/** What workloads ask of the kernel; HookKernel has it. */
export interface WorkloadKernel {
  writeEntries(entries: readonly MapEntry[]): void;
  deleteEntries(entries: readonly Pick<MapEntry, 'map' | 'key'>[]): void;
  settle(): Promise<void>;
}

interface Known {
  readonly workload: Workload;
  readonly number: number;
  /** By which the scopes in force know it. */
  entries: readonly MapEntry[];
}

function cgroupEntry(cgroupId: bigint, number: number): MapEntry {
  const key = new Uint8Array(8);
  new DataView(key.buffer).setBigUint64(0, cgroupId, true);
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, number, true);
  return { map: 'workloads', key, value };
}

function textOf({ cgroupId, namespace, labels, container, repo }: Workload): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([String(cgroupId), namespace, sorted, container, repo]);
}

/** The workloads that are known. What is not among them is taken for the host's. */
export class Workloads {
  readonly #kernel: WorkloadKernel;
  readonly #known = new Map<bigint, Known>();
  #last = 0;

  constructor(kernel: WorkloadKernel) {
    this.#kernel = kernel;
  }

  get size(): number {
    return this.#known.size;
  }

  /**
   * Makes exactly these the known ones. A process is seen as what it was or as what it is now, never as neither.
   * @throws {PolicyLoadError} where a map is full; what was known before is known on
   */
  async set(workloads: readonly Workload[], scopes: ScopePlan, generation: number): Promise<void> {
    const stale: Pick<MapEntry, 'map' | 'key'>[] = [];
    const wanted = new Set(workloads.map(({ cgroupId }) => cgroupId));
    for (const [cgroupId, { entries }] of this.#known) {
      if (wanted.has(cgroupId)) continue;
      this.#kernel.deleteEntries([cgroupEntry(cgroupId, 0)]);
      this.#known.delete(cgroupId);
      stale.push(...entries);
    }
    try {
      for (const workload of workloads) {
        const before = this.#known.get(workload.cgroupId);
        if (before !== undefined && textOf(before.workload) === textOf(workload)) continue;
        const number = ++this.#last;
        const entries = encodeWorkload(scopes, generation, number, workload);
        this.#kernel.writeEntries(entries);
        try {
          this.#kernel.writeEntries([cgroupEntry(workload.cgroupId, number)]);
        } catch (error) {
          stale.push(...entries);
          throw error;
        }
        stale.push(...(before?.entries ?? []));
        this.#known.set(workload.cgroupId, { workload, number, entries });
      }
    } finally {
      if (stale.length > 0) {
        // What a run has read already, it may still look up.
        await this.#kernel.settle();
        this.#kernel.deleteEntries(stale);
      }
    }
  }

  /** The entries by which another generation of scopes knows all of them, to be written before it is in force. */
  prepare(scopes: ScopePlan, generation: number): WorkloadChange {
    const perWorkload = new Map(
      [...this.#known].map(([cgroupId, { number, workload }]) => [
        cgroupId,
        encodeWorkload(scopes, generation, number, workload),
      ]),
    );
    return {
      entries: [...perWorkload.values()].flat(),
      commit: () => {
        const stale: MapEntry[] = [];
        for (const [cgroupId, known] of this.#known) {
          stale.push(...known.entries);
          known.entries = perWorkload.get(cgroupId) ?? [];
        }
        return stale;
      },
    };
  }
}

export interface WorkloadChange {
  readonly entries: readonly MapEntry[];
  /** Tells that the generation is in force. Returns the entries of the one before. */
  readonly commit: () => readonly MapEntry[];
}
