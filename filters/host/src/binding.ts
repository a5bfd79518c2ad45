// SPDX-License-Identifier: Apache-2.0
// Owns which records a filter judges: those that agree with each of its lists that is not empty.
import { type BatchView, KIND_CODES, kindCode } from './batch-view.js';

export interface Binds {
  readonly kinds: readonly number[];
  readonly policies: readonly string[];
  readonly hooks: readonly string[];
  /** `name=value`, of the pod or of the node. */
  readonly labels: readonly string[];
}

function setOf(list: readonly string[]): ReadonlySet<string> | undefined {
  return list.length > 0 ? new Set(list) : undefined;
}

export class Binding {
  /** Whether it takes all records. */
  readonly isOpen: boolean;
  readonly #kinds: Uint8Array | undefined;
  readonly #policies: ReadonlySet<string> | undefined;
  readonly #hooks: ReadonlySet<string> | undefined;
  readonly #labels: readonly string[];

  constructor(binds: Binds) {
    if (binds.kinds.length > 0) {
      this.#kinds = new Uint8Array(KIND_CODES);
      for (const kind of binds.kinds) this.#kinds[kindCode(kind)] = 1;
    }
    this.#policies = setOf(binds.policies);
    this.#hooks = setOf(binds.hooks);
    this.#labels = binds.labels;
    this.isOpen =
      this.#kinds === undefined &&
      this.#policies === undefined &&
      this.#hooks === undefined &&
      this.#labels.length === 0;
  }

  takes(batch: BatchView, index: number): boolean {
    if (this.#kinds !== undefined && this.#kinds[batch.codes[index] as number] !== 1) return false;
    if (this.#policies !== undefined) {
      const policy = batch.policyOf(index);
      if (policy === undefined || !this.#policies.has(policy)) return false;
    }
    if (this.#hooks !== undefined) {
      const hook = batch.functionOf(index);
      if (hook === undefined || !this.#hooks.has(hook)) return false;
    }
    if (this.#labels.length === 0) return true;
    const pod = batch.podLabelsOf(index);
    const node = batch.nodeLabels();
    return this.#labels.some((label) => pod.has(label) || node.has(label));
  }
}
