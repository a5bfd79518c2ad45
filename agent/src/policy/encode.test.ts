// SPDX-License-Identifier: Apache-2.0
// How a plan becomes bytes: ids, orders, keys and masks, and what is refused because the kernel's maps end.
import type { HookPlan, ScopePlan, StringDimension } from '@weir/policy';
import {
  Action,
  ArgumentPart,
  ArgumentSource,
  ArgumentType,
  DimensionKind,
  HOOK_CONFIG_BYTES,
  HookFeature,
  limits,
  NamespaceKind,
  readHookConfig,
  readHookSpec,
  readIntegerKey,
  readMask,
  readRangeKey,
  readRangePage,
  readScopeConfig,
  readSelectorEntry,
  readSelectorKey,
  ScopeAttribute,
  SelectorFlag,
} from '@weir/schema';
import { describe, expect, it } from 'vitest';
import {
  checkLimits,
  encodeHookConfig,
  encodeHookEntries,
  encodeScopeConfig,
  encodeScopeEntries,
  encodeSpec,
  encodeTrieKey,
  wordsFor,
} from './encode.js';
import { encodeMask, type MapEntry } from './entries.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength);

function selector(policyId: number, selectorIndex: number, scope: number | null, shown: number[] = [0]) {
  return {
    policyId,
    hookIndex: 0,
    selectorIndex,
    actions: 2,
    signal: 0,
    error: 0,
    monitor: policyId === 2,
    scope,
    shownArguments: shown,
  };
}

const forward: StringDimension = {
  kind: 'forward',
  argument: 1,
  defaultMask: 0b100n,
  entries: [
    { key: bytes('/etc/'), exact: false, mask: 0b101n },
    { key: bytes('/etc/shadow'), exact: true, mask: 0b111n },
  ],
};

const hook: HookPlan = {
  key: 'kprobe:security_thing',
  eventKind: 9,
  symbol: 'security_thing',
  syscall: false,
  lsmCaller: null,
  denies: false,
  arguments: [
    { type: ArgumentType.int32, index: 1, hidden: false },
    { type: ArgumentType.file, index: 0, hidden: true },
  ],
  selectors: [selector(1, 0, null), selector(1, 1, 7), selector(2, 0, 300, [1, 0])],
  bindings: [],
  dimensions: [
    forward,
    {
      kind: 'integer',
      argument: 0,
      defaultMask: 0b011n,
      entries: [
        { value: 5n, mask: 0b111n },
        { value: { hostNamespace: NamespaceKind.pid }, mask: 0b010n },
      ],
    },
  ],
};
const host = [1n, 2n, 3n, 0xeffffffcn];

function keys(entries: readonly MapEntry[], map: string): MapEntry[] {
  return entries.filter((entry) => entry.map === map);
}

/** Searches the pages as the kernel's search_page and look_up_range do. */
function searchPages(entries: readonly MapEntry[], key: bigint): { interval: number; levels: number } {
  const pages = new Map(
    keys(entries, 'range_pages').map(({ key: at, value }) => [
      readRangeKey(view(at), 0).page,
      readRangePage(view(value), 0),
    ]),
  );
  let number = 0;
  for (let levels = 1; levels <= limits.range_page_levels; levels++) {
    const page = pages.get(number);
    if (page === undefined) throw new Error(`there is no page ${number}`);
    number = page.first + page.bounds.slice(0, page.count).filter((bound) => bound <= key).length;
    if (page.isLeaf === 1) return { interval: number, levels };
  }
  throw new Error('more levels than a search goes through');
}

describe('the bounds of ranges', () => {
  it.each([
    [0, 1],
    [1, 1],
    [63, 1],
    [64, 2],
    [64 * 63, 2],
    [64 * 63 + 1, 3],
    [10_000, 3],
  ])('are found in a tree of pages: %i bounds in %i levels', (count, depth) => {
    const from = (n: number) => BigInt(n) * 10n + 5n;
    const entries = encodeHookEntries(
      {
        ...hook,
        dimensions: [
          {
            kind: 'range',
            argument: 0,
            defaultMask: 0n,
            entries: Array.from({ length: count }, (_, n) => ({ from: from(n), mask: BigInt(1 + (n % 2)) })),
          },
        ],
      },
      1,
      () => 1,
      host,
    );
    for (const n of [0, 1, 2, 62, 63, 64, 65, 4031, 4032, 4033, count - 1].filter(
      (n) => n >= 0 && n < count,
    )) {
      expect(searchPages(entries, from(n) - 1n)).toEqual({ interval: n, levels: depth });
      expect(searchPages(entries, from(n))).toEqual({ interval: n + 1, levels: depth });
    }
    expect(searchPages(entries, 2n ** 64n - 1n)).toEqual({ interval: count, levels: depth });
    const masks = keys(entries, 'integer_masks').filter(
      ({ key }) => readIntegerKey(view(key), 0).purpose === 2,
    );
    expect(masks.map(({ key }) => Number(readIntegerKey(view(key), 0).value))).toEqual(
      Array.from({ length: count }, (_, n) => n + 1),
    );
  });
});

it('networks become nodes of the trie with as many bits as count', () => {
  const entries = encodeHookEntries(
    {
      ...hook,
      dimensions: [
        {
          kind: 'address',
          argument: 0,
          part: ArgumentPart.destinationAddress,
          // The second term is "not in".
          defaultMask: 0b1010n,
          entries: [{ network: { bytes: Uint8Array.of(4, 10, 128, 0, 0), bits: 9 }, mask: 0b1101n }],
        },
      ],
    },
    3,
    () => 1,
    host,
  );
  const [none, entry, ...others] = keys(entries, 'string_masks');
  expect(others).toEqual([]);
  // What has no address is neither in nor out of a network.
  expect([...(none?.key ?? []).slice(0, 9)]).toEqual([
    8 * 5,
    0,
    0,
    0,
    3 * limits.dimensions_per_hook,
    0,
    0,
    0,
    0,
  ]);
  expect(readMask(view(none?.value ?? new Uint8Array()), 0).words[0]).toBe(0b1000n);
  const key = entry?.key ?? new Uint8Array();
  expect(view(key).getUint32(0, true)).toBe(8 * 5 + 9);
  expect(view(key).getUint32(4, true)).toBe(3 * limits.dimensions_per_hook);
  expect([...key.subarray(8, 14)]).toEqual([4, 10, 128, 0, 0, 0]);
});

describe('the constants of a program', () => {
  it('have the dimensions in the order of their arguments', () => {
    const spec = readHookSpec(view(encodeSpec(hook, 4, 9)), 0);
    expect([spec.hookId, spec.specId, spec.argumentCount, spec.dimensionCount, spec.wordCount]).toEqual([
      4, 9, 2, 2, 1,
    ]);
    expect(spec.arguments.slice(0, 2).map(({ type, index, flags }) => [type, index, flags])).toEqual([
      [ArgumentType.int32, 1, 0],
      [ArgumentType.file, 0, 1],
    ]);
    expect(spec.dimensions.slice(0, 3).map(({ kind, argument }) => [kind, argument])).toEqual([
      [DimensionKind.integer, 0],
      [DimensionKind.forward, 1],
      [DimensionKind.none, 0],
    ]);
  });

  it('say of which buffers events have all bytes', () => {
    const buffer = { sizeIndex: 2, copied: false, narrow: false };
    const of = (...whole: boolean[]) => ({
      ...hook,
      arguments: whole.map((isWhole) => ({
        type: ArgumentType.charBuf,
        index: 1,
        hidden: false,
        buffer: { ...buffer, ...(isWhole ? { whole: true as const } : {}) },
      })),
    });
    const whole = (plan: HookPlan) => readHookSpec(view(encodeSpec(plan, 4, 9)), 0).whole;
    expect([whole(of(false, true)), whole(of(true, false, true)), whole(hook)]).toEqual([2, 5, 0]);
  });

  it('say of which buffers events have all bytes', () => {
    const buffer = { sizeIndex: 2, copied: false, narrow: false };
    const of = (...whole: boolean[]): HookPlan => ({
      ...hook,
      arguments: whole.map((isWhole) => ({
        type: ArgumentType.charBuf,
        index: 1,
        hidden: false,
        buffer: { ...buffer, ...(isWhole ? { whole: true } : {}) },
      })),
    });
    const whole = (plan: HookPlan) => readHookSpec(view(encodeSpec(plan, 4, 9)), 0).whole;
    expect([whole(of(false, true)), whole(of(true, false, true)), whole(hook)]).toEqual([2, 5, 0]);
  });

  it('change only where the program must: not with a mask, but with the width', () => {
    const shape = (selectors: number) =>
      Buffer.from(
        encodeSpec(
          { ...hook, selectors: Array.from({ length: selectors }, () => selector(1, 0, null)) },
          0,
          0,
        ),
      ).toString('hex');
    expect(shape(3)).toBe(shape(64));
    expect(shape(64)).not.toBe(shape(65));
    expect([1, 64, 65, 128, 129, 512].map(wordsFor)).toEqual([1, 1, 2, 2, 4, 8]);
  });

  it('say which types, sources and look-ups it has, by which the rest is left out of its program', () => {
    const spec = readHookSpec(view(encodeSpec(hook, 4, 9)), 0);
    expect([spec.types, spec.sources, spec.kinds, spec.parts]).toEqual([
      (1n << BigInt(ArgumentType.int32)) | (1n << BigInt(ArgumentType.file)),
      1 << ArgumentSource.parameter,
      (1 << DimensionKind.integer) | (1 << DimensionKind.forward),
      1 << ArgumentPart.whole,
    ]);
  });

  it('say what scopes look at, by what has code of its own, where one of the hook may change', () => {
    const lookUp = { kind: 'integer' as const, defaultMask: 0n, entries: [] };
    const scopes = {
      dimensions: [
        ScopeAttribute.binary,
        ScopeAttribute.capInheritable,
        ScopeAttribute.capEffectiveChanges,
        ScopeAttribute.workload,
        ScopeAttribute.namespaceUts + NamespaceKind.user,
      ].map((argument) => ({ ...lookUp, argument })),
    };
    const specOf = (plan: HookPlan, changing = 0n) =>
      readHookSpec(view(encodeSpec(plan, 4, 9, undefined, undefined, { ...scopes, changing })), 0);
    const scoped = specOf(hook, 1n << 300n);
    expect(scoped.scopeAttributes).toBe(
      [
        ScopeAttribute.binary,
        ScopeAttribute.capPermitted,
        ScopeAttribute.capPermittedChanges,
        ScopeAttribute.workload,
        ScopeAttribute.namespaceUts,
      ].reduce((bits, attribute) => bits | (1 << attribute), 0),
    );
    const asked = HookFeature.scoped | HookFeature.scopesChange;
    expect(scoped.features & asked).toBe(asked);
    const steady = specOf(hook, 1n << 5n);
    expect([steady.scopeAttributes, steady.features & asked]).toEqual([0, HookFeature.scoped]);
    const plain = specOf({ ...hook, selectors: [selector(1, 0, null)] });
    expect([plain.scopeAttributes, plain.features & asked]).toEqual([0, 0]);
  });
});

describe('a configuration', () => {
  it('names scopes, and the defaults in the order of the program', () => {
    const config = readHookConfig(view(encodeHookConfig(hook, { configId: 3, scopeGeneration: 2 })), 0);
    expect([config.configId, config.selectorCount, config.scopeGeneration]).toEqual([3, 3, 2]);
    expect(config.unscoped.words[0]).toBe(0b001n);
    expect(config.scopeOf.slice(0, 3)).toEqual([0xffff, 7, 300]);
    expect(config.defaults.slice(0, 2).map((mask) => mask.words[0])).toEqual([0b011n, 0b100n]);
    expect(HOOK_CONFIG_BYTES).toBe(3216);
  });

  it('makes an entry of each value, of what is undecided, and of each selector', () => {
    const entries = encodeHookEntries(hook, 3, ({ policyId }) => 100 + policyId, host);
    const integers = keys(entries, 'integer_masks').map(({ key, value }) => {
      const { dimensionId, purpose, value: number } = readIntegerKey(view(key), 0);
      return [dimensionId, purpose, number, readMask(view(value), 0).words[0]];
    });
    expect(integers).toEqual([
      [96, 0, 5n, 0b111n],
      [96, 0, 0xeffffffcn, 0b010n],
      // Selector 1 does not ask the number: it alone may match where that is not known.
      [96, 1, 0n, 0b010n],
      [97, 1, 0n, 0b100n],
      [97, 8, 0n, 0b100n],
    ]);
    const strings = keys(entries, 'string_masks').map(({ key, value }) => [
      view(key).getUint32(0, true),
      view(key).getUint32(4, true),
      Buffer.from(key.subarray(8, 20)).toString('latin1'),
      readMask(view(value), 0).words[0],
    ]);
    expect(strings).toEqual([
      [8 * (4 + 5), 97, '/etc/\0\0\0\0\0\0\0', 0b101n],
      [8 * (4 + 12), 97, '/etc/shadow\0', 0b111n],
    ]);
    const selectors = keys(entries, 'selectors').map(({ key, value }) => {
      const entry = readSelectorEntry(view(value), 0);
      return [
        readSelectorKey(view(key), 0),
        entry.bindingId,
        entry.selectorIndex,
        entry.lastBit,
        entry.flags,
        entry.shown,
      ];
    });
    expect(selectors).toEqual([
      [{ configId: 3, bit: 0 }, 101, 0, 1, 0, 0x1],
      [{ configId: 3, bit: 1 }, 101, 1, 1, 0, 0x1],
      [{ configId: 3, bit: 2 }, 102, 0, 2, 1, 0x12],
    ]);
  });

  it('says whose events a rate limit thins out, and has the program look at one only where there is one', () => {
    const limited = (scope: 'thread' | 'process' | 'global') => ({
      ...hook,
      selectors: [{ ...selector(1, 0, null), rateLimit: { seconds: 60, scope } }],
    });
    const entryOf = (plan: HookPlan) => {
      const [entry] = keys(
        encodeHookEntries(plan, 3, () => 1, host),
        'selectors',
      );
      if (entry === undefined) throw new Error('no selector');
      const { flags, rateLimitSeconds } = readSelectorEntry(view(entry.value), 0);
      return [flags, rateLimitSeconds];
    };
    expect(entryOf(limited('thread'))).toEqual([0, 60]);
    expect(entryOf(limited('process'))).toEqual([SelectorFlag.ratePerProcess, 60]);
    expect(entryOf(limited('global'))).toEqual([SelectorFlag.rateGlobal, 60]);
    const features = (plan: HookPlan) => readHookSpec(view(encodeSpec(plan, 0, 0)), 0).features;
    expect([features(hook), features(limited('global'))]).toEqual([
      HookFeature.scoped,
      HookFeature.rateLimit,
    ]);
  });

  it('says what holds of a text that is longer than all values', () => {
    const text = (value: string, exact: boolean, mask: bigint) => ({ key: bytes(value), exact, mask });
    // Selector 0 asks for a whole text, 1 for another than that; 2 for a beginning, 3 for another one; 4 for nothing.
    const whole = {
      kind: 'forward' as const,
      argument: 0,
      defaultMask: 0b11010n,
      entries: [text('/a', true, 0b11001n)],
    };
    const mixed = { ...whole, entries: [...whole.entries, text('/b/', false, 0b10110n)] };
    const longer = (dimension: typeof whole) =>
      keys(
        encodeHookEntries({ ...hook, dimensions: [dimension] }, 3, () => 1, host),
        'integer_masks',
      )
        .map(({ key, value }) => [readIntegerKey(view(key), 0).purpose, readMask(view(value), 0).words[0]])
        .filter(([purpose]) => purpose === 7 || purpose === 8);
    expect(longer(whole)).toEqual([[7, 0b11010n]]);
    expect(longer(mixed)).toEqual([[8, 0b10010n]]);
  });

  it('holds what cannot be decided for the selectors that deny it, where they are not in monitor mode', () => {
    const denying = { actions: 1 << Action.sigkill, holdsUndecided: true as const };
    const selectors = [
      { ...selector(1, 0, null), ...denying },
      selector(1, 1, 7),
      { ...selector(2, 0, 300, [1, 0]), ...denying },
    ];
    const entries = encodeHookEntries({ ...hook, selectors }, 3, () => 1, host);
    const undecided = keys(entries, 'integer_masks').filter(
      ({ key }) => readIntegerKey(view(key), 0).purpose === 1,
    );
    // As without, and the first and the last bit.
    expect(undecided.map(({ value }) => readMask(view(value), 0).words[0])).toEqual([0b111n, 0b101n]);
    const ids = { configId: 3, scopeGeneration: 2 };
    // Without memory to look with, the second policy would deny what it only is to tell of.
    expect(readHookConfig(view(encodeHookConfig({ ...hook, selectors }, ids)), 0).holding.words[0]).toBe(
      0b001n,
    );
    const features = (plan: HookPlan) => readHookSpec(view(encodeSpec(plan, 0, 0)), 0).features;
    expect(features({ ...hook, selectors }) & HookFeature.holdsUndecided).toBe(HookFeature.holdsUndecided);
    expect(features(hook) & HookFeature.holdsUndecided).toBe(0);
  });

  it('turns suffixes round', () => {
    const key = encodeTrieKey(1, bytes('.log'), true, false, 'x');
    expect(Buffer.from(key.subarray(8, 13)).toString('latin1')).toBe('gol.\0');
    expect(view(key).getUint32(0, true)).toBe(8 * (4 + 4));
  });

  it('merges a number with the namespace of the host that has it', () => {
    const plan = {
      ...hook,
      dimensions: [
        {
          kind: 'integer' as const,
          argument: 0,
          defaultMask: 0b100n,
          entries: [
            { value: 0xeffffffcn, mask: 0b101n },
            { value: { hostNamespace: NamespaceKind.pid }, mask: 0b010n },
          ],
        },
      ],
    };
    const [merged] = keys(
      encodeHookEntries(plan, 1, () => 1, host),
      'integer_masks',
    );
    expect(readMask(view(merged?.value ?? new Uint8Array(64)), 0).words[0]).toBe(0b011n);
  });
});

describe('scopes', () => {
  const scopes: ScopePlan = {
    scopeCount: 2,
    holding: 0n,
    changing: 0n,
    lineages: [],
    dimensions: [
      { ...forward, argument: ScopeAttribute.binary },
      {
        kind: 'integer',
        argument: ScopeAttribute.namespaceUts + NamespaceKind.net,
        defaultMask: 0n,
        entries: [{ value: 1n, mask: 1n }],
      },
      {
        kind: 'integer',
        argument: ScopeAttribute.namespaceUts + NamespaceKind.pid,
        defaultMask: 0n,
        entries: [],
      },
    ],
  };

  it('are numbered apart from hooks', () => {
    const config = readScopeConfig(view(encodeScopeConfig(scopes, 6)), 0);
    expect([config.generation, config.dimensionCount]).toEqual([6, 3]);
    const ids = encodeScopeEntries(scopes, 6, host, new Map()).map(({ map, key }) =>
      view(key).getUint32(map === 'string_masks' ? 4 : 0, true),
    );
    expect(new Set(ids)).toEqual(new Set([2 ** 31 + 192, 2 ** 31 + 193, 2 ** 31 + 194]));
  });

  it('tell which look-ups can change: on namespaces all but on the pid namespace', () => {
    const config = readScopeConfig(view(encodeScopeConfig(scopes, 6)), 0);
    expect(config.dimensions.slice(0, 3).map(({ part }) => part)).toEqual([0, 1, 0]);
  });

  it('turn the mask of an empty set over by each member', () => {
    const sets: ScopePlan = {
      scopeCount: 2,
      holding: 0n,
      changing: 0b11n,
      lineages: [],
      dimensions: [
        {
          kind: 'set',
          argument: ScopeAttribute.capEffective,
          defaultMask: 0b110n,
          entries: [
            { member: 12, mask: 0b01n },
            { member: { lineage: 'of cats' }, mask: 0b11n },
          ],
        },
      ],
    };
    const entries = encodeScopeEntries(sets, 1, host, new Map([['of cats', 300]])).map(({ key, value }) => {
      const { purpose, value: number } = readIntegerKey(view(key), 0);
      const { words } = readMask(view(value), 0);
      return [purpose, number, words.map((word, i) => word << BigInt(64 * i)).reduce((a, b) => a | b)];
    });
    expect(entries).toEqual([
      [4, 12n, 0b01n],
      [4, 300n, 0b11n],
      [3, 0n, (1n << 12n) | (1n << 300n)],
      // Not to be decided: neither of the two holds, whether negated or not.
      [1, 0n, 0b100n],
    ]);
  });

  it('are refused where the namespaces of the host are not known', () => {
    const unknown: ScopePlan = {
      scopeCount: 1,
      holding: 0n,
      changing: 0n,
      lineages: [],
      dimensions: [
        {
          kind: 'integer',
          argument: ScopeAttribute.namespaceUts,
          defaultMask: 0n,
          entries: [{ value: { hostNamespace: 0 }, mask: 1n }],
        },
      ],
    };
    expect(() => encodeScopeEntries(unknown, 1, [undefined], new Map())).toThrow(/CAP_SYS_PTRACE/);
  });
});

describe('limits', () => {
  it.each([
    [
      'selectors',
      { ...hook, selectors: Array.from({ length: 513 }, () => selector(1, 0, null)) },
      /513 selectors/,
    ],
    ['dimensions', { ...hook, dimensions: Array.from({ length: 33 }, () => forward) }, /33 look-ups/],
    [
      'parameters',
      { ...hook, arguments: [{ type: ArgumentType.int32, index: 6, hidden: false }] },
      /argument 6 is asked for; the last one that can be read is 5/,
    ],
  ])('are refused by name: %s', (_, plan, message) => {
    expect(() => checkLimits(plan)).toThrow(message);
  });

  it('take a text as long as a trie does, and no longer', () => {
    expect(encodeTrieKey(1, new Uint8Array(251), false, true, 'x').length).toBe(260);
    expect(() => encodeTrieKey(1, new Uint8Array(252), false, true, 'x')).toThrow(/252 bytes/);
    expect(() => encodeMask(1n << 512n)).toThrow(/512 selectors/);
  });
});
