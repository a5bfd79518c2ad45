// SPDX-License-Identifier: Apache-2.0
// Owns the numbers by which records name a policy on a hook, and what they stand for. A number is never given to
// something else: records of a policy that is gone may still be on their way.
import type { PlannedBinding } from '@weir/policy';

/** What a binding_id of a hook record stands for. */
export interface Binding extends PlannedBinding {
  readonly bindingId: number;
  /** The kernel's name of the hooked function, or of a tracepoint's event. */
  readonly symbol: string;
  /** Of a tracepoint, else empty. */
  readonly subsystem: string;
}

/** How many bindings of policies that are no longer in force are remembered. */
const retiredMax = 16_384;

export class BindingTable {
  readonly #byId = new Map<number, Binding>();
  readonly #byContent = new Map<string, number>();
  #last = 0;

  /** The binding of a record; undefined where the number was never given, or is long gone. */
  get(bindingId: number): Binding | undefined {
    return this.#byId.get(bindingId);
  }

  get size(): number {
    return this.#byId.size;
  }

  /** The number of a binding: the same one for the same content. */
  idOf(symbol: string, binding: PlannedBinding, subsystem = ''): number {
    const content = JSON.stringify([
      subsystem,
      symbol,
      binding.eventKind,
      binding.policyId,
      binding.hookIndex,
      binding.policyName,
      binding.policyNamespace,
      binding.message,
      binding.tags,
      binding.argumentLabels,
    ]);
    const known = this.#byContent.get(content);
    if (known !== undefined) return known;
    const bindingId = ++this.#last;
    this.#byId.set(bindingId, { ...binding, bindingId, symbol, subsystem });
    this.#byContent.set(content, bindingId);
    return bindingId;
  }

  /** Forgets the oldest of those that are not in force, beyond the bound. */
  prune(inForce: ReadonlySet<number>): void {
    let excess = this.#byId.size - inForce.size - retiredMax;
    if (excess <= 0) return;
    for (const [content, id] of this.#byContent) {
      if (excess <= 0) return;
      if (inForce.has(id)) continue;
      this.#byContent.delete(content);
      this.#byId.delete(id);
      excess--;
    }
  }
}
