// SPDX-License-Identifier: Apache-2.0
// Owns the order in which a hook's arguments are read. A selector that no argument can satisfy any more ends the
// matching, so what is quick to read and decides something comes first, and what events only show comes last.
import { ArgumentType } from '@weir/schema';
import type { Dimension, HookPlan, PlannedSockets } from './plan-types.js';

const numbers: ReadonlySet<number> = new Set([
  ArgumentType.int8,
  ArgumentType.uint8,
  ArgumentType.int16,
  ArgumentType.uint16,
  ArgumentType.int32,
  ArgumentType.uint32,
  ArgumentType.int64,
  ArgumentType.uint64,
]);

function otherOf(dimension: Dimension): number | undefined {
  return 'other' in dimension ? dimension.other : undefined;
}

/** The same plan with its arguments in the order in which they are best read. */
export function inReadingOrder(hook: HookPlan): HookPlan {
  const ranks = hook.arguments.map(() => 2);
  const decide = (position: number) => {
    const argument = hook.arguments[position];
    const isNumber = argument !== undefined && argument.field === undefined && numbers.has(argument.type);
    ranks[position] = isNumber ? 0 : 1;
  };
  const pairs: [number, number][] = [];
  for (const dimension of hook.dimensions) {
    const other = otherOf(dimension);
    decide(dimension.argument);
    if (other === undefined) continue;
    decide(other);
    pairs.push([other, dimension.argument]);
  }
  // What one look-up compares stays in its order, so it has one rank: the later of the two. Over chains of such.
  for (let turn = 0; turn < pairs.length; turn++) {
    for (const [one, another] of pairs) {
      const rank = Math.max(ranks[one] ?? 0, ranks[another] ?? 0);
      ranks[one] = rank;
      ranks[another] = rank;
    }
  }
  const order = hook.arguments
    .map((_, position) => position)
    .sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0) || a - b);
  if (order.every((position, place) => position === place)) return hook;
  const placeOf = (position: number) => order.indexOf(position);
  const placed = ({ track, untrack }: PlannedSockets): PlannedSockets => ({
    ...(track === undefined ? {} : { track: placeOf(track) }),
    ...(untrack === undefined ? {} : { untrack: placeOf(untrack) }),
  });
  return {
    ...hook,
    arguments: order.flatMap((position) => hook.arguments[position] ?? []),
    selectors: hook.selectors.map((selector) => ({
      ...selector,
      shownArguments: selector.shownArguments.map(placeOf),
      ...(selector.sockets === undefined ? {} : { sockets: placed(selector.sockets) }),
      ...(selector.returnSockets === undefined ? {} : { returnSockets: placed(selector.returnSockets) }),
    })),
    dimensions: hook.dimensions.map((dimension) => {
      const other = otherOf(dimension);
      return {
        ...dimension,
        argument: placeOf(dimension.argument),
        ...(other === undefined ? {} : { other: placeOf(other) }),
      };
    }),
  };
}
