// SPDX-License-Identifier: Apache-2.0
// Owns how large a policy may be with its macros and lists put in.
import type { Policy } from './policy.js';
import { listParts } from './selectors.js';
import type { Macro } from './shape.js';

/** Conditions and values of a policy, with its macros and lists put in: what a small text may not blow up to. */
export const expandedItemsMax = 200_000;

function itemsOf(selector: Macro, lists: ReadonlyMap<string, number>): number {
  let count = 1;
  for (const part of listParts) {
    for (const item of selector[part] ?? [])
      count +=
        1 + ('values' in item ? item.values.reduce((sum, value) => sum + (lists.get(value) ?? 1), 0) : 0);
  }
  return count;
}

/** The first field with which a policy, macros and lists put in, is larger than may be; undefined for none. */
export function findTooLarge(policy: Policy): string | undefined {
  const { spec } = policy;
  const lists = new Map((spec.lists ?? []).map((list) => [`list:${list.name}`, list.values?.length ?? 1]));
  const macros = new Map(
    Object.entries(spec.selectorsMacros ?? {}).map(([name, macro]) => [name, itemsOf(macro, lists)]),
  );
  let count = 0;
  for (const part of ['kprobes', 'fentries', 'tracepoints', 'lsmhooks', 'uprobes', 'usdts'] as const) {
    for (const [index, hook] of (spec[part] ?? []).entries()) {
      const calls = 'call' in hook ? (lists.get(hook.call) ?? 1) : 1;
      let own = 1 + (hook.args?.length ?? 0);
      for (const selector of hook.selectors ?? []) {
        own += itemsOf(selector, lists);
        for (const name of selector.macros ?? []) own += macros.get(name) ?? 1;
      }
      count += own * calls;
      if (count > expandedItemsMax) return `spec.${part}[${index}]`;
    }
  }
  return undefined;
}
