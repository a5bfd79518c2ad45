// SPDX-License-Identifier: Apache-2.0
// Owns what an expression comes to: alternatives, of which one has to hold; each is a list of atoms, all of which have to
// hold, and each atom is one question that the kernel stage answers by a look-up. Questions of one number are brought
// together here, so that few alternatives are left: each takes a bit of its hook.

/** More would take the bits of a hook from other policies. */
export const alternativesMax = 32;
/** Ranges of one number; beyond, the expression is no simple one. */
const rangesMax = 4096;

export type Range = readonly [low: bigint, high: bigint];

export type Atom =
  /** A number that an argument is, or that its text has of bytes, and that lies in one of the ranges, which are in order and apart. */
  | {
      readonly kind: 'numbers';
      readonly position: number;
      /** Of a text: how many bytes it has. */
      readonly ofLength?: true;
      readonly whole: Range;
      readonly ranges: readonly Range[];
    }
  /** An argument that has one of the bits; negated, none of them. */
  | { readonly kind: 'bits'; readonly position: number; readonly bits: bigint; readonly negated: boolean }
  /** Two arguments, the first position the smaller. Of `order` the values are 0 (first is less), 1 (equal), 2. */
  | {
      readonly kind: 'pair';
      readonly of: 'difference' | 'sum' | 'order';
      readonly positions: readonly [number, number];
      readonly values: readonly bigint[];
      readonly negated: boolean;
    }
  | {
      readonly kind: 'text';
      readonly position: number;
      readonly operator: 'Equal' | 'Prefix' | 'Postfix' | 'SubString';
      readonly values: readonly string[];
      readonly negated: boolean;
    };

/** Empty: never; with an empty list in it: always. */
export type Alternatives = readonly (readonly Atom[])[];

export const never: Alternatives = [];
export const always: Alternatives = [[]];

/** Why an expression has no alternatives. */
export class TooMuch extends Error {}

/** Ranges in order and apart, out of any. */
export function unite(ranges: readonly Range[]): Range[] {
  const united: Range[] = [];
  for (const [low, high] of [...ranges].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    if (low > high) continue;
    const last = united.at(-1);
    if (last !== undefined && low <= last[1] + 1n)
      united[united.length - 1] = [last[0], high > last[1] ? high : last[1]];
    else united.push([low, high]);
  }
  if (united.length > rangesMax) throw new TooMuch(`comes to more than ${rangesMax} ranges of one number`);
  return united;
}

export function complement(ranges: readonly Range[], [low, high]: Range): Range[] {
  const rest: Range[] = [];
  let from = low;
  for (const [start, end] of unite(ranges)) {
    if (start > from) rest.push([from, start - 1n]);
    from = end + 1n;
  }
  if (from <= high) rest.push([from, high]);
  return rest;
}

/** What is asked: atoms of the same question can be brought together. */
function question(atom: Atom): string {
  switch (atom.kind) {
    case 'numbers':
      return `numbers ${atom.position} ${atom.ofLength === true}`;
    case 'bits':
      return `bits ${atom.position} ${atom.negated}`;
    case 'pair':
      return `pair ${atom.of} ${atom.positions.join(' ')} ${atom.negated}`;
    case 'text':
      return `text ${atom.operator} ${atom.position} ${atom.negated}`;
  }
}

function textOf(atom: Atom): string {
  return JSON.stringify(atom, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
}

function distinct<Value>(values: readonly Value[]): Value[] {
  return [...new Set(values)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/** One atom that holds where both do; null where none can, undefined where it takes both. */
function both(a: Atom, b: Atom): Atom | null | undefined {
  if (question(a) !== question(b)) return undefined;
  if (a.kind === 'numbers' && b.kind === 'numbers') {
    const out = [...complement(a.ranges, a.whole), ...complement(b.ranges, b.whole)];
    const ranges = complement(out, a.whole);
    return ranges.length === 0 ? null : { ...a, ranges };
  }
  if (a.kind === 'bits' && b.kind === 'bits' && a.negated) return { ...a, bits: a.bits | b.bits };
  if (a.kind === 'pair' && b.kind === 'pair') {
    if (a.negated) return { ...a, values: distinct([...a.values, ...b.values]) };
    const values = a.values.filter((value) => b.values.includes(value));
    return values.length === 0 ? null : { ...a, values };
  }
  if (a.kind === 'text' && b.kind === 'text') {
    if (a.negated) return { ...a, values: distinct([...a.values, ...b.values]) };
    if (a.operator === 'Equal') {
      const values = a.values.filter((value) => b.values.includes(value));
      return values.length === 0 ? null : { ...a, values };
    }
  }
  return textOf(a) === textOf(b) ? a : undefined;
}

/** One atom that holds where one of them does; null where that is always, undefined where none says it. */
function either(a: Atom, b: Atom): Atom | null | undefined {
  if (question(a) !== question(b)) return undefined;
  if (a.kind === 'numbers' && b.kind === 'numbers') {
    const ranges = unite([...a.ranges, ...b.ranges]);
    return complement(ranges, a.whole).length === 0 ? null : { ...a, ranges };
  }
  if (a.kind === 'bits' && b.kind === 'bits' && !a.negated) return { ...a, bits: a.bits | b.bits };
  if (a.kind === 'pair' && b.kind === 'pair' && !a.negated)
    return { ...a, values: distinct([...a.values, ...b.values]) };
  if (a.kind === 'text' && b.kind === 'text' && !a.negated)
    return { ...a, values: distinct([...a.values, ...b.values]) };
  return undefined;
}

/** The atoms of two lists in one; undefined where they cannot all hold. */
function joined(left: readonly Atom[], right: readonly Atom[]): Atom[] | undefined {
  const atoms = [...left];
  for (const atom of right) {
    let taken = false;
    for (let at = 0; at < atoms.length && !taken; at++) {
      const other = atoms[at];
      const one = other === undefined ? undefined : both(other, atom);
      if (one === null) return undefined;
      if (one === undefined) continue;
      atoms[at] = one;
      taken = true;
    }
    if (!taken) atoms.push(atom);
  }
  return atoms;
}

/** One list in place of two that differ in one atom at most; undefined where there is none. */
function merged(left: readonly Atom[], right: readonly Atom[]): Atom[] | undefined {
  const rest = right.map(textOf);
  const common: Atom[] = [];
  const alone: Atom[] = [];
  for (const atom of left) {
    const at = rest.indexOf(textOf(atom));
    if (at < 0) alone.push(atom);
    else {
      rest[at] = '';
      common.push(atom);
    }
  }
  const others = right.filter((_, at) => rest[at] !== '');
  // What asks less holds wherever the other does.
  if (alone.length === 0) return [...left];
  if (others.length === 0) return [...right];
  const [a, b] = [alone[0], others[0]];
  if (alone.length > 1 || others.length > 1 || a === undefined || b === undefined) return undefined;
  const one = either(a, b);
  if (one === undefined) return undefined;
  return one === null ? common : [...common, one];
}

export function anyOf(lists: readonly Alternatives[]): Alternatives {
  const found: (readonly Atom[])[] = [];
  for (let atoms of lists.flat()) {
    // What is brought together may fit others yet.
    for (let at = 0; at < found.length; ) {
      const one = merged(found[at] ?? [], atoms);
      if (one === undefined) at++;
      else {
        atoms = one;
        found.splice(at, 1);
        at = 0;
      }
    }
    found.push(atoms);
    if (found.length > alternativesMax)
      throw new TooMuch(
        `comes to more than ${alternativesMax} alternatives, each of which takes a place among the selectors of its hook`,
      );
  }
  return found;
}

export function allOf(lists: readonly Alternatives[]): Alternatives {
  return lists.reduce<Alternatives>(
    (left, right) =>
      anyOf([
        left.flatMap((some) =>
          right.flatMap((others) => {
            const atoms = joined(some, others);
            return atoms === undefined ? [] : [atoms];
          }),
        ),
      ]),
    always,
  );
}
