// SPDX-License-Identifier: Apache-2.0
// Walks the entries of text_nodes as the kernel's find_step and follow_step do, over random texts of few letters, in
// which patterns begin, end and lie within each other.
import type { Dimension, HookPlan, Mask } from '@weir/policy';
import { Random } from '@weir/policy/testing';
import { ArgumentType, limits, readIntegerKey, readMask, readTextNode, readTextNodeKey } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { encodeHookEntries } from './encode.js';

const PURPOSE_BITS = 3;
const PURPOSE_FOUND = 6;
const STEP_OF_STATE = 256;

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function tablesOf(dimension: Dimension) {
  const hook: HookPlan = {
    key: 'kprobe:security_thing',
    eventKind: 9,
    symbol: 'security_thing',
    syscall: false,
    lsmCaller: null,
    denies: false,
    returns: false,
    arguments: [{ type: ArgumentType.string, index: 0, hidden: false }],
    selectors: [],
    bindings: [],
    dimensions: [dimension],
  };
  const entries = encodeHookEntries(hook, 1, () => 1, []);
  const nodes = new Map<string, { state: number; fallBack: number; found: number }>();
  const masks = new Map<string, Mask>();
  for (const { map, key, value } of entries) {
    if (map === 'text_nodes') {
      const { state, step } = readTextNodeKey(view(key), 0);
      nodes.set(`${state} ${step}`, readTextNode(view(value), 0));
    } else if (map === 'integer_masks') {
      const { purpose, value: number } = readIntegerKey(view(key), 0);
      const words = readMask(view(value), 0).words;
      masks.set(
        `${purpose} ${number}`,
        words.reduce((mask, word, n) => mask | (word << BigInt(64 * n)), 0n),
      );
    }
  }
  return { nodes, masks, entries };
}

type Tables = ReturnType<typeof tablesOf>;

/** The mask that find_substrings comes to, and the steps that it takes. */
function find({ nodes, masks }: Tables, defaultMask: Mask, text: Uint8Array): { mask: Mask; steps: number } {
  const first = masks.get(`${PURPOSE_BITS} 0`) ?? 0n;
  let mask = defaultMask;
  let state = 0;
  let fallBack = 0;
  let at = 0;
  let steps = 0;
  while (at < text.length) {
    steps++;
    const byte = text[at] ?? 0;
    if (state === 0 && ((first >> BigInt(byte)) & 1n) === 0n) {
      at++;
      continue;
    }
    const node = nodes.get(`${state} ${byte}`);
    if (node === undefined) {
      if (state === 0) at++;
      state = fallBack;
      fallBack = nodes.get(`${state} ${STEP_OF_STATE}`)?.fallBack ?? 0;
      continue;
    }
    at++;
    ({ state, fallBack } = node);
    if (node.found !== 0) mask |= masks.get(`${PURPOSE_FOUND} ${node.found}`) ?? 0n;
  }
  return { mask, steps };
}

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

describe('texts that are looked for in a text', () => {
  it.each(Array.from({ length: 60 }, (_, seed) => seed))('are all found: seed %i', (seed) => {
    const random = new Random(seed);
    const word = (most: number) =>
      Array.from({ length: 1 + random.below(most) }, () => random.pick(['a', 'b', '-'])).join('');
    const patterns = [...new Set(Array.from({ length: 1 + random.below(12) }, () => word(6)))];
    const unasked = 1n << 20n;
    const dimension: Dimension = {
      kind: 'substring',
      argument: 0,
      defaultMask: unasked,
      entries: patterns.map((pattern, n) => ({ key: bytes(pattern), mask: (1n << BigInt(n)) | unasked })),
    };
    const tables = tablesOf(dimension);
    for (let n = 0; n < 50; n++) {
      const text = word(40);
      const { mask, steps } = find(tables, unasked, bytes(text));
      const expected = patterns.reduce(
        (all, pattern, bit) => (text.includes(pattern) ? all | (1n << BigInt(bit)) : all),
        unasked,
      );
      expect([text, mask]).toEqual([text, expected]);
      expect(steps).toBeLessThanOrEqual(2 * text.length);
    }
  });
});

describe('values that are longer than a trie takes', () => {
  const long = (end: string) => `${'/very-long'.repeat(30)}${end}`;

  it('are written apart from the trie, the closing NUL and the number of bytes among them', () => {
    const { nodes, masks, entries } = tablesOf({
      kind: 'forward',
      argument: 0,
      defaultMask: 0n,
      entries: [
        { key: bytes('/very'), exact: false, mask: 0b001n },
        { key: bytes(long('')), exact: false, mask: 0b011n },
        { key: bytes(long('/a')), exact: true, mask: 0b111n },
      ],
    });
    expect(entries.filter(({ map }) => map === 'string_masks')).toHaveLength(1);
    const follow = (text: string) => {
      let state = 0;
      let found = 0;
      for (const byte of bytes(text)) {
        const node = nodes.get(`${state} ${byte}`);
        if (node === undefined) break;
        state = node.state;
        if (node.found !== 0) found = node.found;
      }
      return masks.get(`${PURPOSE_FOUND} ${found}`);
    };
    expect(follow(`${long('')}x\0`)).toBe(0b011n);
    expect(follow(`${long('/a')}\0`)).toBe(0b111n);
    expect(follow(`${long('/ab')}\0`)).toBe(0b011n);
    expect(follow(`/very\0`)).toBeUndefined();
    expect(nodes.size).toBe(long('/a').length + 1);
  });

  it('take as many steps as they have bytes, those of a suffix from its end', () => {
    const { nodes, entries } = tablesOf({
      kind: 'reverse',
      argument: 0,
      defaultMask: 0n,
      entries: [{ key: bytes(long('z')), exact: false, mask: 1n }],
    });
    expect(entries.filter(({ map }) => map === 'string_masks')).toEqual([]);
    expect(nodes.has(`0 ${'z'.charCodeAt(0)}`)).toBe(true);
    expect(nodes.size).toBe(long('z').length);
    expect(long('z').length).toBeGreaterThan(limits.trie_data_bytes);
  });
});
