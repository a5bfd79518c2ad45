// SPDX-License-Identifier: Apache-2.0
// Owns which rules hold for which workload in the kernel, as workloads come and go.
import type { NarrowingRules, PodFacts, RuleEntry } from './rules.js';

export interface NumbersMap {
  update(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): boolean;
}

export class NarrowedPods {
  readonly #map: NumbersMap;
  readonly #rules: NarrowingRules;
  readonly #known = new Map<bigint, RuleEntry>();

  constructor(map: NumbersMap, rules: NarrowingRules) {
    this.#map = map;
    this.#rules = rules;
  }

  /** Makes exactly these the known ones. @throws where the map is full */
  set(workloads: readonly (PodFacts & { readonly cgroupId: bigint })[]): void {
    if (!this.#rules.asksPods) return;
    const wanted = new Map(
      workloads.map((facts) => [facts.cgroupId, this.#rules.workload(facts.cgroupId, facts)]),
    );
    for (const [cgroupId, { key }] of this.#known) {
      if (wanted.has(cgroupId)) continue;
      this.#map.delete(key);
      this.#known.delete(cgroupId);
    }
    for (const [cgroupId, entry] of wanted) {
      this.#map.update(entry.key, entry.value);
      this.#known.set(cgroupId, entry);
    }
  }
}
