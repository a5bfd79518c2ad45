// SPDX-License-Identifier: Apache-2.0
// Owns values that a condition chooses (`arg0 == (arg1 > 2 ? 5 : 6)`): what is asked of them is asked of both.
import type { CelNode } from './parse.js';

type Call = CelNode & { readonly kind: 'call' };

/** A question with a choice in it, told apart: what is asked where the condition holds, and where not. */
export interface Choice {
  readonly condition: CelNode;
  readonly either: Call;
  readonly other: Call;
}

/** The choice that stands first in a value; undefined where there is none. */
function choiceIn(node: CelNode): { condition: CelNode; either: CelNode; other: CelNode } | undefined {
  if (node.kind === 'list') {
    for (const [at, item] of node.items.entries()) {
      const found = choiceIn(item);
      if (found === undefined) continue;
      const put = (chosen: CelNode): CelNode => ({ ...node, items: node.items.with(at, chosen) });
      return { ...found, either: put(found.either), other: put(found.other) };
    }
  }
  if (node.kind !== 'call') return undefined;
  const [condition, either, other] = node.operands;
  if (node.name === '?' && condition !== undefined && either !== undefined && other !== undefined)
    return { condition, either, other };
  return choiceOf(node);
}

/** The first choice among the values that something is asked of. */
export function choiceOf(node: Call): Choice | undefined {
  for (const [at, operand] of node.operands.entries()) {
    const found = choiceIn(operand);
    if (found === undefined) continue;
    const put = (chosen: CelNode): Call => ({ ...node, operands: node.operands.with(at, chosen) });
    return { ...found, either: put(found.either), other: put(found.other) };
  }
  return undefined;
}
