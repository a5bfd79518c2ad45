// SPDX-License-Identifier: Apache-2.0
// Owns the look-ups of expressions: each atom of an alternative becomes a term of the hook's arguments.
import { ArgumentPart } from '@weir/schema';
import { isBuffer, sizedTerm } from '../buffers.js';
import { typeInfo } from '../names.js';
import type { Argument } from '../shape.js';
import type { Term } from '../terms.js';
import { substringTerm, textTerm } from '../text-term.js';
import { orderKey } from '../values.js';
import { type Alternatives, type Atom, complement, type Range } from './alternatives.js';

const pairParts = {
  difference: ArgumentPart.difference,
  sum: ArgumentPart.sum,
  order: ArgumentPart.order,
} as const;

function termOf(
  atom: Atom,
  slotOf: (position: number) => number,
  args: readonly Argument[],
  path: string,
): Term {
  switch (atom.kind) {
    case 'numbers': {
      const argument = slotOf(atom.position);
      const part = atom.ofLength === true ? { part: ArgumentPart.length } : {};
      const type = typeInfo(args[atom.position]?.type ?? '')?.type ?? 0;
      const isSingle = (ranges: readonly Range[]) => ranges.every(([low, high]) => low === high);
      const others = complement(atom.ranges, atom.whole);
      if (isSingle(atom.ranges) || isSingle(others)) {
        const negated = !isSingle(atom.ranges);
        const values = (negated ? others : atom.ranges).map(([value]) => BigInt.asUintN(64, value));
        return { kind: 'integer', argument, ...part, negated, values, path };
      }
      const values = atom.ranges.map(([low, high]): readonly [bigint, bigint] => [
        orderKey(low, type),
        orderKey(high, type),
      ]);
      return { kind: 'range', argument, ...part, negated: false, values, path };
    }
    case 'bits': {
      const { bits, negated } = atom;
      return { kind: 'bits', argument: slotOf(atom.position), negated, values: [bits], path };
    }
    case 'pair': {
      const [first, second] = [slotOf(atom.positions[0]), slotOf(atom.positions[1])];
      // Asked where the later of the two has been read.
      const isTurned = first > second;
      const values = atom.values.map((value) => {
        if (isTurned || atom.of === 'sum') return value;
        return atom.of === 'order' ? 2n - value : BigInt.asUintN(64, -value);
      });
      return {
        kind: 'integer',
        argument: Math.max(first, second),
        part: pairParts[atom.of],
        other: Math.min(first, second),
        negated: atom.negated,
        values,
        path,
      };
    }
    case 'text': {
      const argument = slotOf(atom.position);
      const operator = atom.negated ? `Not${atom.operator}` : atom.operator;
      const isSized = isBuffer(args[atom.position]?.type ?? '') && atom.operator === 'Equal';
      if (isSized)
        return sizedTerm(
          { operator: atom.negated ? 'NotEqual' : 'Equal', values: [...atom.values] },
          argument,
          path,
        );
      return (
        substringTerm(operator, atom.values, argument, path) ??
        textTerm(operator, atom.values, argument, path)
      );
    }
  }
}

/** The terms of each alternative. */
export function celTerms(
  alternatives: Alternatives,
  slotOf: (position: number) => number,
  args: readonly Argument[],
  path: string,
): Term[][] {
  return alternatives.map((atoms) => atoms.map((atom) => termOf(atom, slotOf, args, path)));
}
