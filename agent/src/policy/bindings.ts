// SPDX-License-Identifier: Apache-2.0
// Owns the numbers by which records name a policy on a hook, and what they stand for. A number is never given to
// something else: records of a policy that is gone may still be on their way.
import type { HookPlan, PlannedBinding, UserPlace } from '@weir/policy';

/** What a binding_id of a hook record stands for. */
export interface Binding extends PlannedBinding {
  readonly bindingId: number;
  /** The kernel's name of the hooked function, of a tracepoint's event; of a place in a program what it is called in texts. */
  readonly symbol: string;
  /** Of a tracepoint, else empty. */
  readonly subsystem: string;
  /** Of a hook in a program. */
  readonly user?: UserPlace;
}

/** What an event says of the place that was hooked. */
export function placeOf({ symbol, subsystem, user }: Pick<Binding, 'symbol' | 'subsystem' | 'user'>): {
  readonly functionName: string;
  readonly subsystem: string;
  readonly provider?: string;
} {
  if (user === undefined) return { functionName: symbol, subsystem };
  if (user.kind === 'marker')
    return { functionName: user.name, subsystem: user.path, provider: user.provider };
  return {
    functionName: user.symbol ?? '',
    subsystem: user.path,
    ...(user.counterOffset === 0n ? {} : { provider: String(user.counterOffset) }),
  };
}

/** How many bindings of policies that are no longer in force are remembered. */
const retiredMax = 16_384;

export class BindingTable {
  readonly #byId = new Map<number, Binding>();
  readonly #byContent = new Map<string, { readonly first: number; readonly count: number }>();
  #last = 0;

  /** The binding of a record; undefined where the number was never given, or is long gone. */
  get(bindingId: number): Binding | undefined {
    return this.#byId.get(bindingId);
  }

  /** Name of a policy by its number, after its namespace where it has one; undefined where it is long gone. */
  policyName(policyId: number): string | undefined {
    for (const binding of this.#byId.values()) {
      const { policyName, policyNamespace } = binding;
      if (binding.policyId === policyId)
        return policyNamespace === '' ? policyName : `${policyNamespace}/${policyName}`;
    }
    return undefined;
  }

  get size(): number {
    return this.#byId.size;
  }

  /**
   * The number of a binding: the same one for the same content. Where several functions share a program they get
   * numbers in a row, of which this is the first.
   */
  idOf(symbols: readonly string[], binding: PlannedBinding, subsystem = '', user?: UserPlace): number {
    const content = JSON.stringify([
      subsystem,
      symbols,
      binding.eventKind,
      binding.policyId,
      binding.hookIndex,
      binding.policyName,
      binding.policyNamespace,
      binding.message,
      binding.tags,
      binding.argumentLabels,
      binding.agentActions ?? [],
    ]);
    const known = this.#byContent.get(content);
    if (known !== undefined) return known.first;
    const first = this.#last + 1;
    for (const symbol of symbols) {
      const bindingId = ++this.#last;
      const place = user === undefined ? {} : { user };
      this.#byId.set(bindingId, { ...binding, bindingId, symbol, subsystem, ...place });
    }
    this.#byContent.set(content, { first, count: symbols.length });
    return first;
  }

  /** Forgets the oldest of those that are not in force (by the first number of each), beyond the bound. */
  prune(inForce: ReadonlySet<number>): void {
    let retired = 0;
    for (const { first, count } of this.#byContent.values()) if (!inForce.has(first)) retired += count;
    for (const [content, { first, count }] of this.#byContent) {
      if (retired <= retiredMax) return;
      if (inForce.has(first)) continue;
      this.#byContent.delete(content);
      for (let id = first; id < first + count; id++) this.#byId.delete(id);
      retired -= count;
    }
  }
}

/** What the events of a hook call the places at which they were made. */
function functionNames(hook: HookPlan): readonly string[] {
  return hook.calls ?? [hook.tracepoint?.event ?? hook.symbol];
}

/** The number of a policy on a hook. */
export function idOfBinding(bindings: BindingTable, hook: HookPlan, binding: PlannedBinding): number {
  return bindings.idOf(functionNames(hook), binding, hook.tracepoint?.subsystem, hook.user);
}

/** The numbers of all policies on hooks. */
export function bindingIdsOf(
  hooks: Iterable<{ readonly plan: HookPlan }>,
  bindings: BindingTable,
): Set<number> {
  return new Set(
    [...hooks].flatMap(({ plan: hook }) =>
      hook.bindings.map((binding) => idOfBinding(bindings, hook, binding)),
    ),
  );
}
