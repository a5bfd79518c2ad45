// SPDX-License-Identifier: Apache-2.0
// Owns how terms become look-ups. A dimension answers one look-up with a mask: for each bit, whether its term holds.
//
//   forward   key = bytes and a closing NUL   { "/etc/" prefix → 0b11, "/etc/shadow\0" exact → 0b01 }, else default
//   reverse   key = bytes, last to first      { ".conf" → ... }, else default
//   integer   key = 64-bit value
//   range     sorted bounds: 0 → 0b11, 1024 → 0b01, ... each up to the next; else default
//   address   key = version and address       { 10.0.0.0/8 → 0b01, ... }, else default
//   set       member 12 → 0b10, member 21 → 0b01, ...; those of the set's members ORed, and default turned over by them
//   substring "shadow" anywhere → 0b10, ...; those of the texts that are there and default ORed
//   bits      bit 0 → 0b10, bit 9 → 0b01, ...; those of the number's bits ORed, and default turned over by them
//
// A trie answers with its longest match and nothing else. So the mask of an entry is the truth of all terms of its
// dimension given that this entry is the longest that matches: which of the dimension's values are then known to match
// is settled, for these are exactly the entry's own beginnings (or ends). A bit without a term in a dimension is set
// in all of its masks.
import { ArgumentPart } from '@weir/schema';
import type { Network } from './addresses.js';
import type { Dimension, HostNamespace, Mask, SetMember, SubstringDimension } from './plan-types.js';
import { unite } from './ranges.js';
import type { Term } from './terms.js';

interface PlacedTerm {
  readonly bit: bigint;
  readonly term: Term;
}

interface Group {
  readonly kind: Term['kind'];
  readonly argument: number;
  readonly part: number;
  readonly other: number | undefined;
  readonly terms: PlacedTerm[];
}

/** Whether a dimension is one of those that look for texts anywhere in a text. */
export function isSubstring(dimension: Dimension): dimension is SubstringDimension {
  return dimension.kind === 'substring' || dimension.kind === 'substring-fold';
}

/** A mask in which the first `width` bits are set. */
export function allBits(width: number): Mask {
  return (1n << BigInt(width)) - 1n;
}

/** Bytes as text of one character a byte: a key that maps can hold and that can be cut. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

function reversed(text: string): string {
  let result = '';
  for (let index = text.length - 1; index >= 0; index--) result += text[index];
  return result;
}

/**
 * The mask where two entries of an integer dimension turn out to be the same value, as a number and the namespace of
 * the host may: a bit that is 0 by default (its term is positive) needs one of them, one that is 1 needs both.
 */
export function mergeMasks(defaultMask: Mask, a: Mask, b: Mask): Mask {
  return (a & b) | ((a | b) & ~defaultMask);
}

/** Which bits name a value, positively and negated. */
interface Named {
  positive: Mask;
  negated: Mask;
}

function nameValue(named: Map<string, Named>, key: string, { bit, term }: PlacedTerm): void {
  const entry = named.get(key) ?? { positive: 0n, negated: 0n };
  if (term.negated) entry.negated |= bit;
  else entry.positive |= bit;
  named.set(key, entry);
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0;
}

function textDimension(group: Group, defaultMask: Mask, kind: 'forward' | 'reverse'): Dimension {
  const named = new Map<string, Named>();
  for (const placed of group.terms) {
    if (placed.term.kind !== 'forward' && placed.term.kind !== 'reverse') continue;
    for (const value of placed.term.values) {
      const text = latin1(value);
      nameValue(named, kind === 'reverse' ? reversed(text) : placed.term.exact ? `${text}\0` : text, placed);
    }
  }
  return {
    kind,
    argument: group.argument,
    ...partOf(group),
    defaultMask,
    entries: nodes(named, defaultMask).map(([key, mask]) => {
      const exact = kind === 'forward' && key.endsWith('\0');
      const text = kind === 'reverse' ? reversed(key) : exact ? key.slice(0, -1) : key;
      return { key: new Uint8Array(Buffer.from(text, 'latin1')), exact, mask };
    }),
  };
}

/** The nodes of a trie, in order of their keys: each with the truth of all terms whose keys it begins with. */
function nodes(named: ReadonlyMap<string, Named>, defaultMask: Mask): (readonly [string, Mask])[] {
  const lengths = [...new Set([...named.keys()].map((key) => key.length))].sort((a, b) => a - b);
  const entries = [...named.keys()].map((key) => {
    let positive = 0n;
    let negated = 0n;
    for (const length of lengths) {
      if (length > key.length) break;
      const found = named.get(length === key.length ? key : key.slice(0, length));
      if (found === undefined) continue;
      positive |= found.positive;
      negated |= found.negated;
    }
    return [key, (defaultMask | positive) & ~negated] as const;
  });
  return entries.sort(byKey);
}

function addressDimension(group: Group, defaultMask: Mask): Dimension {
  // Keys of one character a bit, as networks end within bytes.
  const named = new Map<string, Named>();
  const networks = new Map<string, Network>();
  for (const placed of group.terms) {
    if (placed.term.kind !== 'address') continue;
    for (const network of placed.term.values) {
      const digits = [...network.bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
      const key = digits.slice(0, 8 + network.bits);
      networks.set(key, network);
      nameValue(named, key, placed);
    }
  }
  return {
    kind: 'address',
    argument: group.argument,
    part: group.part,
    defaultMask,
    entries: nodes(named, defaultMask).flatMap(([key, mask]) => {
      const network = networks.get(key);
      return network === undefined ? [] : [{ network, mask }];
    }),
  };
}

function partOf({ part, other }: Group): { part?: number; other?: number } {
  if (part === ArgumentPart.whole) return {};
  return other === undefined ? { part } : { part, other };
}

function integerDimension(group: Group, defaultMask: Mask): Dimension {
  const named = new Map<string, Named>();
  const values = new Map<string, bigint | HostNamespace>();
  for (const placed of group.terms) {
    if (placed.term.kind !== 'integer') continue;
    for (const value of placed.term.values) {
      const key = typeof value === 'bigint' ? String(value) : `host ${value.hostNamespace}`;
      values.set(key, value);
      nameValue(named, key, placed);
    }
  }
  return {
    kind: 'integer',
    argument: group.argument,
    ...partOf(group),
    defaultMask,
    entries: [...named].sort(byKey).map(([key, { positive, negated }]) => ({
      value: values.get(key) ?? 0n,
      mask: (defaultMask | positive) & ~negated,
    })),
  };
}

const keyLimit = 1n << 64n;

function rangeDimension(group: Group, defaultMask: Mask): Dimension {
  // At each bound the terms that begin or end there turn over.
  const turns = new Map<bigint, Mask>();
  const turn = (at: bigint, bit: Mask) => turns.set(at, (turns.get(at) ?? 0n) ^ bit);
  for (const { bit, term } of group.terms) {
    if (term.kind !== 'range') continue;
    for (const [from, to] of unite(term.values)) {
      turn(from, bit);
      if (to + 1n < keyLimit) turn(to + 1n, bit);
    }
  }
  const entries: { from: bigint; mask: Mask }[] = [];
  let mask = defaultMask;
  for (const [from, turned] of [...turns].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) {
    if (turned === 0n) continue;
    mask ^= turned;
    entries.push({ from, mask });
  }
  return { kind: 'range', argument: group.argument, ...partOf(group), defaultMask, entries };
}

function bitsDimension(group: Group, defaultMask: Mask): Dimension {
  const asked: [number, Mask][] = [];
  for (let bit = 0; bit < 64; bit++) {
    let mask = 0n;
    for (const placed of group.terms) {
      if (placed.term.kind !== 'bits') continue;
      if (placed.term.values.some((value) => ((value >> BigInt(bit)) & 1n) === 1n)) mask |= placed.bit;
    }
    if (mask !== 0n) asked.push([bit, mask]);
  }
  return {
    kind: 'bits',
    argument: group.argument,
    defaultMask,
    entries: asked.map(([bit, mask]) => ({ bit, mask })),
  };
}

function substringDimension(
  group: Group,
  defaultMask: Mask,
  kind: SubstringDimension['kind'],
): SubstringDimension {
  const named = new Map<string, Named>();
  for (const placed of group.terms) {
    if (placed.term.kind !== 'substring' && placed.term.kind !== 'substring-fold') continue;
    for (const value of placed.term.values) nameValue(named, latin1(value), placed);
  }
  return {
    kind,
    argument: group.argument,
    defaultMask,
    entries: [...named].sort(byKey).map(([key, { positive }]) => ({
      key: new Uint8Array(Buffer.from(key, 'latin1')),
      mask: positive | defaultMask,
    })),
  };
}

function setDimension(group: Group, defaultMask: Mask): Dimension {
  const masks = new Map<string, SetMember>();
  for (const { bit, term } of group.terms) {
    if (term.kind !== 'set') continue;
    for (const value of term.values) {
      const member = typeof value === 'number' ? value : { lineage: value.key };
      const key = typeof value === 'number' ? String(value).padStart(4, '0') : value.key;
      masks.set(key, { member, mask: (masks.get(key)?.mask ?? 0n) | bit });
    }
  }
  return {
    kind: 'set',
    argument: group.argument,
    defaultMask,
    entries: [...masks].sort(byKey).map(([, member]) => member),
  };
}

function workloadDimension(group: Group, defaultMask: Mask): Dimension {
  return {
    kind: 'workload',
    argument: group.argument,
    defaultMask,
    entries: group.terms.flatMap(({ bit, term }) =>
      term.kind === 'workload' ? [{ conditions: term.values, mask: bit }] : [],
    ),
  };
}

function makeDimension(group: Group, defaultMask: Mask): Dimension {
  switch (group.kind) {
    case 'integer':
      return integerDimension(group, defaultMask);
    case 'range':
      return rangeDimension(group, defaultMask);
    case 'address':
      return addressDimension(group, defaultMask);
    case 'workload':
      return workloadDimension(group, defaultMask);
    case 'set':
      return setDimension(group, defaultMask);
    case 'bits':
      return bitsDimension(group, defaultMask);
    case 'substring':
    case 'substring-fold':
      return substringDimension(group, defaultMask, group.kind);
    default:
      return textDimension(group, defaultMask, group.kind);
  }
}

function placeOfTerm(term: Term): { part: number; other: number | undefined } {
  return {
    part: 'part' in term ? (term.part ?? ArgumentPart.whole) : ArgumentPart.whole,
    other: 'other' in term ? term.other : undefined,
  };
}

/** Which look-up a term needs: terms of several bits share one, those of one bit do not. */
function lookUpOf(term: Term, nameOf: (argument: number) => string): string {
  const { part, other } = placeOfTerm(term);
  return `${nameOf(term.argument)} ${part} ${other === undefined ? '' : nameOf(other)} ${term.kind}`;
}

/** The look-ups that the terms of all bits need, and of each how many dimensions it takes. */
export function lookUpsOf(
  termsOfBits: readonly (readonly Term[])[],
  nameOf: (argument: number) => string,
): Map<string, number> {
  const all = new Map<string, number>();
  for (const terms of termsOfBits) {
    const own = new Map<string, number>();
    for (const term of terms) {
      const lookUp = lookUpOf(term, nameOf);
      own.set(lookUp, (own.get(lookUp) ?? 0) + 1);
    }
    for (const [lookUp, count] of own) all.set(lookUp, Math.max(count, all.get(lookUp) ?? 0));
  }
  return all;
}

/**
 * Makes the dimensions for the terms of all bits. Where a bit has several terms for one look-up, each further one goes
 * to a further dimension of the same kind, for a mask has one bit to tell each of them.
 */
export function buildDimensions(
  width: number,
  termsOfBits: readonly (readonly Term[])[],
  dimensionsMax: number,
  onTooMany: (bit: number, term: Term) => void,
): Dimension[] {
  const groups: Group[] = [];
  const byLookup = new Map<string, Group[]>();
  termsOfBits.forEach((terms, bitNumber) => {
    const used = new Map<string, number>();
    for (const term of terms) {
      const { part, other } = placeOfTerm(term);
      const lookup = lookUpOf(term, String);
      const nth = used.get(lookup) ?? 0;
      used.set(lookup, nth + 1);
      const alike = byLookup.get(lookup) ?? [];
      byLookup.set(lookup, alike);
      let group = alike[nth];
      if (group === undefined) {
        group = { kind: term.kind, argument: term.argument, part, other, terms: [] };
        alike.push(group);
        groups.push(group);
        if (groups.length === dimensionsMax + 1) onTooMany(bitNumber, term);
      }
      group.terms.push({ bit: 1n << BigInt(bitNumber), term });
    }
  });
  return groups.slice(0, dimensionsMax).map((group) => {
    let defaultMask = allBits(width);
    for (const { bit, term } of group.terms) if (!term.negated) defaultMask &= ~bit;
    return makeDimension(group, defaultMask);
  });
}
