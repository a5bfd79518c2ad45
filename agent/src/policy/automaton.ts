// SPDX-License-Identifier: Apache-2.0
// Owns the automatons over bytes that the kernel stage walks: one finds any of many texts anywhere in a text (after Aho
// and Corasick), the other follows values from their first byte on. Pure.
import type { Mask } from '@weir/policy';

export interface Pattern {
  readonly key: Uint8Array;
  /** The bits that it stands for where it is found. */
  readonly mask: Mask;
}

/** A state. The first one is 0, and stands for nothing found. */
export interface AutomatonState {
  readonly steps: ReadonlyMap<number, number>;
  /** Where to go on where no step leads on: the state of the longest end of what was found that begins a pattern. */
  readonly fallBack: number;
  /** Of the patterns that end here; 0 where none does. */
  readonly found: Mask;
}

interface State {
  readonly steps: Map<number, number>;
  fallBack: number;
  found: Mask;
}

function treeOf(patterns: readonly Pattern[]): State[] {
  const newState = (): State => ({ steps: new Map(), fallBack: 0, found: 0n });
  const states = [newState()];
  for (const { key, mask } of patterns) {
    let at = 0;
    for (const byte of key) {
      const steps = states[at]?.steps;
      const next = steps?.get(byte);
      if (next !== undefined) {
        at = next;
        continue;
      }
      steps?.set(byte, states.length);
      at = states.length;
      states.push(newState());
    }
    const end = states[at];
    if (end !== undefined) end.found |= mask;
  }
  return states;
}

/** An automaton that tells the longest of the patterns that a text begins with: the mask of the last state with one. */
export function buildFollower(patterns: readonly Pattern[]): readonly AutomatonState[] {
  return treeOf(patterns);
}

/** An automaton that tells which of the patterns are anywhere in a text: the masks of all states that it comes through. */
export function buildFinder(patterns: readonly Pattern[]): readonly AutomatonState[] {
  const states = treeOf(patterns);
  // By depth, for what a state falls back to is nearer to the first one. The loop goes on over what it adds.
  const queue = [...(states[0]?.steps.values() ?? [])];
  for (const number of queue) {
    const state = states[number];
    if (state === undefined) continue;
    state.found |= states[state.fallBack]?.found ?? 0n;
    for (const [byte, target] of state.steps) {
      let from = state.fallBack;
      while (from !== 0 && states[from]?.steps.has(byte) !== true) from = states[from]?.fallBack ?? 0;
      const reached = states[target];
      if (reached !== undefined) reached.fallBack = states[from]?.steps.get(byte) ?? 0;
      queue.push(target);
    }
  }
  return states;
}
