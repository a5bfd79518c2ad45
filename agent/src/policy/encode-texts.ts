// SPDX-License-Identifier: Apache-2.0
// Owns the entries of text_nodes, by which texts are followed byte by byte: what is looked for anywhere in a text, and
// values that are longer than a trie takes.
import type { Dimension, Mask, StringDimension, SubstringDimension } from '@weir/policy';
import { limits, TEXT_NODE_BYTES, TEXT_NODE_KEY_BYTES, writeTextNode, writeTextNodeKey } from '@weir/schema';
import { type AutomatonState, buildFinder, buildFollower } from './automaton.js';
import { encodeMask, integerKey, type MapEntry, PURPOSE_BITS, PURPOSE_FOUND } from './entries.js';

/** Whether a dimension has values that are longer than a trie takes. */
export function hasLongTexts(dimension: Dimension): boolean {
  return (dimension.kind === 'forward' || dimension.kind === 'reverse') && dimension.entries.some(isLong);
}

/** Whether an entry is longer than a trie takes. */
export function isLong({ key, exact }: StringDimension['entries'][number]): boolean {
  return key.length + (exact ? 1 : 0) > limits.trie_data_bytes;
}

const STEP_OF_STATE = 256n;

function encodeAutomaton(states: readonly AutomatonState[], id: number, entries: MapEntry[]) {
  const numbers = new Map<Mask, number>();
  const foundNumber = (mask: Mask): number => {
    if (mask === 0n) return 0;
    const number = numbers.get(mask) ?? numbers.size + 1;
    numbers.set(mask, number);
    return number;
  };
  const add = (state: number, step: bigint, target: number) => {
    const reached = states[target];
    const key = new Uint8Array(TEXT_NODE_KEY_BYTES);
    writeTextNodeKey(new DataView(key.buffer), 0, { dimensionId: id, state, step });
    const value = new Uint8Array(TEXT_NODE_BYTES);
    writeTextNode(new DataView(value.buffer), 0, {
      state: target,
      fallBack: reached?.fallBack ?? 0,
      found: foundNumber(reached?.found ?? 0n),
      reserved: 0,
    });
    entries.push({ map: 'text_nodes', key, value });
  };
  states.forEach(({ steps }, state) => {
    for (const [byte, target] of steps) add(state, BigInt(byte), target);
  });
  // Only of states that others fall back to is it asked where they fall back to themselves.
  const asked = new Set(states.map(({ fallBack }) => fallBack));
  for (const state of asked) if ((states[state]?.fallBack ?? 0) !== 0) add(state, STEP_OF_STATE, state);
  for (const [mask, number] of numbers) {
    const key = integerKey(id, PURPOSE_FOUND, BigInt(number));
    entries.push({ map: 'integer_masks', key, value: encodeMask(mask) });
  }
}

export function encodeSubstrings(dimension: SubstringDimension, id: number, entries: MapEntry[]) {
  encodeAutomaton(buildFinder(dimension.entries), id, entries);
  let first = 0n;
  for (const { key } of dimension.entries) first |= 1n << BigInt(key[0] ?? 0);
  entries.push({ map: 'integer_masks', key: integerKey(id, PURPOSE_BITS, 0n), value: encodeMask(first) });
}

/** Entries that are longer than a trie takes. */
export function encodeLong(dimension: StringDimension, id: number, entries: MapEntry[]) {
  const patterns = dimension.entries.filter(isLong).map(({ key, exact, mask }) => {
    const text = dimension.kind === 'reverse' ? key.slice().reverse() : key;
    return { key: exact ? Uint8Array.of(...text, 0) : text, mask };
  });
  if (patterns.length > 0) encodeAutomaton(buildFollower(patterns), id, entries);
}
