// SPDX-License-Identifier: Apache-2.0
// Owns sets of numbers as ranges of order keys (`orderKey`), both ends included: they are brought together, turned into
// what they leave out, and cut with each other, so that a selector asks an argument one question, however many of its
// terms compare it.
import { ArgumentPart, ArgumentType } from '@weir/schema';
import type { IntegerTerm, RangeTerm, Term } from './terms.js';
import { orderKey } from './values.js';

export type Range = readonly [from: bigint, to: bigint];

const keyHighest = (1n << 64n) - 1n;

/** Ranges in order, apart from each other, none empty. A range whose end is below its beginning is empty. */
export function unite(ranges: readonly Range[]): Range[] {
  const united: [bigint, bigint][] = [];
  const sorted = ranges.filter(([from, to]) => from <= to).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [from, to] of sorted) {
    const last = united.at(-1);
    if (last === undefined || from > last[1] + 1n) united.push([from, to]);
    else if (to > last[1]) last[1] = to;
  }
  return united;
}

/** What united ranges leave out. */
function complement(ranges: readonly Range[]): Range[] {
  const left: Range[] = [];
  let next = 0n;
  for (const [from, to] of ranges) {
    if (next < from) left.push([next, from - 1n]);
    next = to + 1n;
  }
  if (next <= keyHighest) left.push([next, keyHighest]);
  return left;
}

function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

/** What is in both of two united lists. */
function intersect(a: readonly Range[], b: readonly Range[]): Range[] {
  const both: Range[] = [];
  let i = 0;
  let j = 0;
  for (;;) {
    const x = a[i];
    const y = b[j];
    if (x === undefined || y === undefined) return both;
    const isFirstToEnd = x[1] < y[1];
    const cut: Range = [[x[0], y[0]].reduce(larger), isFirstToEnd ? x[1] : y[1]];
    if (cut[0] <= cut[1]) both.push(cut);
    if (isFirstToEnd) i++;
    else j++;
  }
}

function rangesOf(term: IntegerTerm | RangeTerm, argumentType: number): Range[] {
  const ranges =
    term.kind === 'range'
      ? term.values
      : term.values.map((value): Range => {
          if (typeof value !== 'bigint') throw new TypeError(`${term.path}: an argument is no namespace`);
          const key = orderKey(value, argumentType);
          return [key, key];
        });
  const united = unite(ranges);
  return term.negated ? complement(united) : united;
}

/**
 * Brings the comparisons of one selector with one argument together into one term, where there are several: then they
 * take one look-up, not one each.
 */
export function joinComparisons(terms: readonly Term[], typeOf: (argument: number) => number): Term[] {
  const joined: Term[] = [];
  const placeOf = new Map<string, number>();
  for (const term of terms) {
    const isComparison = (term.kind === 'integer' && term.other === undefined) || term.kind === 'range';
    const asked = isComparison ? `${term.argument} ${term.part ?? ArgumentPart.whole}` : '';
    const place = isComparison ? placeOf.get(asked) : undefined;
    const before = place === undefined ? undefined : joined[place];
    if (place !== undefined && isComparison && (before?.kind === 'integer' || before?.kind === 'range')) {
      const type = term.part === undefined ? typeOf(term.argument) : ArgumentType.uint16;
      const values = intersect(rangesOf(before, type), rangesOf(term, type));
      const { argument, path } = before;
      const part = before.part === undefined ? {} : { part: before.part };
      joined[place] = { kind: 'range', argument, ...part, negated: false, values, path };
      continue;
    }
    if (isComparison) placeOf.set(asked, joined.length);
    joined.push(term);
  }
  return joined;
}
