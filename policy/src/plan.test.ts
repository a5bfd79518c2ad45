// SPDX-License-Identifier: Apache-2.0
import { Action, ArgumentPart, ArgumentType, EventKind, NamespaceKind } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { mergeMasks } from './dimensions.js';
import { PolicyError } from './error.js';
import { lsmPathOf } from './lsm-paths.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Plan } from './plan-types.js';
import {
  type CallArgument,
  type DescribedCall,
  type ProcessOrigin,
  type ReferenceHit,
  referenceHits,
} from './reference.js';
import { syscallNames } from './syscall-names.js';
import { syscallNumber } from './syscall-numbers.js';
import { interpretPlan } from './testing/interpret.js';
import {
  Random,
  type RandomWorld,
  randomPolicyText,
  randomPolicyTexts,
  relatedPaths,
} from './testing/random.js';

function planText(...specs: string[]): Plan {
  const text = specs
    .map(
      (spec, index) =>
        `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p${index}}\nspec:\n${spec}`,
    )
    .join('\n---\n');
  return plan(parsePolicies(text).map((policy, index) => ({ id: index + 1, policy })));
}

const bytes = (text: string) => new TextEncoder().encode(text);
const paths = relatedPaths('/w');
const binaries = [...relatedPaths('/bin').slice(0, 8), '/usr/bin/cat'];
const numbers = [
  0n,
  1n,
  2n,
  7n,
  8n,
  200n,
  -1n,
  -2n,
  255n,
  65535n,
  2147483647n,
  -2147483648n,
  4294967295n,
  0x1_0000_0001n,
];
const inodes = ['4026531836', '4026532001', '4026532002'];
const host = Array.from({ length: 10 }, () => 4026531836n);

const addresses = [
  '10.1.2.3',
  '10.1.2.200',
  '10.255.0.1',
  '192.168.1.1',
  '::1',
  'fd00:1::7',
  'fd00:2::7',
  '::ffff:10.1.2.3',
];
const ports = [0, 22, 443, 1023, 1024, 8080, 65535];

const world: RandomWorld = {
  hooks: [
    {
      call: 'security_file_open',
      syscall: false,
      arguments: [{ index: 0, types: ['file'], texts: paths }],
      enforcing: ['{action: Override, argError: -1}', '{action: Signal, argSig: 18}', '{action: Sigkill}'],
    },
    {
      call: 'security_bprm_check',
      syscall: false,
      arguments: [{ index: 0, types: ['linux_binprm'], texts: binaries }],
      enforcing: ['{action: Sigkill}', '{action: Override, argError: 13}'],
    },
    {
      part: 'lsmhooks',
      call: 'bprm_check_security',
      syscall: false,
      arguments: [{ index: 0, types: ['linux_binprm'], texts: binaries }],
      enforcing: ['{action: Override, argError: 13}'],
    },
    {
      call: 'security_socket_connect',
      syscall: false,
      arguments: [
        { index: 0, types: ['socket', 'sock'], addresses, ports },
        { index: 1, types: ['sockaddr'], addresses, ports },
      ],
      enforcing: ['{action: Override, argError: 13}'],
    },
    {
      part: 'lsmhooks',
      call: 'socket_bind',
      syscall: false,
      arguments: [{ index: 1, types: ['sockaddr'], addresses, ports }],
      enforcing: [],
    },
    {
      part: 'fentries',
      call: 'ksys_lseek',
      syscall: false,
      arguments: [
        { index: 0, types: ['bpf_cmd', 'uint32'], values: numbers },
        { index: 1, types: ['long', 'ulong'], values: numbers },
      ],
      enforcing: ['{action: Sigkill}'],
    },
    {
      call: 'sys_prctl',
      syscall: true,
      arguments: [
        { index: 0, types: ['int', 'capability'], values: numbers },
        { index: 1, types: ['int64'], values: numbers },
        { index: 2, types: ['uint8'], values: numbers },
        { index: 3, types: ['int16', 'size_t'], values: numbers },
      ],
      enforcing: ['{action: Signal, argSig: 18}', '{action: Signal, argSig: 9}'],
    },
    {
      call: 'sys_pwrite64',
      syscall: true,
      arguments: [
        { index: 0, types: ['int'], values: numbers },
        { index: 1, types: ['char_buf', 'const_buf'], texts: paths, sizeArgIndex: 3 },
      ],
      enforcing: ['{action: Signal, argSig: 18}'],
    },
    {
      call: '__x64_sys_dup',
      syscall: true,
      arguments: [{ index: 0, types: ['fd'], texts: paths }],
      enforcing: [],
    },
  ],
  binaries,
  namespaces: [
    { name: 'Pid', inodes },
    { name: 'Mnt', inodes },
    { name: 'User', inodes },
  ],
  parents: binaries,
  pids: ['1', '2', '4000'],
  namespacePids: ['0', '1', '2'],
  capabilities: ['CAP_CHOWN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE', 'cap_kill'],
  follows: true,
  changes: true,
};
const symbols = [
  'security_file_open',
  'security_bprm_check',
  'bprm_check_security',
  'security_socket_connect',
  'socket_bind',
  'ksys_lseek',
  '__x64_sys_prctl',
  '__x64_sys_pwrite64',
  '__x64_sys_dup',
];

/** A socket and an address, either of any family. */
function randomSocket(random: Random): Pick<CallArgument, 'socket' | 'address'> {
  const family = random.pick([1, 2, 10]);
  const address = () =>
    family === 1 ? '' : random.pick(addresses.filter((text) => text.includes(':') === (family === 10)));
  const port = () => (family === 1 ? 0 : random.pick(ports));
  return random.chance(50)
    ? { address: { family, address: address(), port: port() } }
    : {
        socket: {
          family,
          protocol: random.pick([0, 6, 17]),
          state: random.pick([1, 2, 7]),
          source: address(),
          sourcePort: port(),
          destination: address(),
          destinationPort: port(),
        },
      };
}

function someCapabilities(random: Random): string[] {
  return random.some(
    ['CAP_CHOWN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN', 'CAP_CHECKPOINT_RESTORE', 'CAP_KILL', 'CAP_BPF'],
    0,
    4,
  );
}

const someSets = (random: Random) => ({
  Permitted: someCapabilities(random),
  Effective: someCapabilities(random),
  Inheritable: someCapabilities(random),
});

function randomCall(random: Random): DescribedCall {
  const someInodes = () => Array.from({ length: 10 }, () => BigInt(random.pick(inodes)));
  const symbol = random.pick(symbols);
  const text = (texts: readonly string[]) =>
    bytes(random.chance(90) ? random.pick(texts) : `${random.pick(texts)}x`);
  const argument = () => ({
    integer: BigInt.asUintN(64, random.pick(numbers)),
    bytes: text(paths),
    ...(symbol.includes('socket') ? randomSocket(random) : {}),
  });
  const origin = (): ProcessOrigin => ({
    binary: text(binaries),
    pid: random.pick([1n, 2n, 4000n, 4001n]),
    namespacePid: random.pick([0n, 1n, 2n, 3n]),
  });
  const origins: [ProcessOrigin, ...ProcessOrigin[]] = [
    origin(),
    ...Array.from({ length: random.below(3) }, origin),
  ];
  return {
    symbol,
    arguments: symbol.includes('bprm_check')
      ? [{ bytes: text(binaries) }]
      : [argument(), argument(), argument(), argument()],
    process: {
      ...origins[0],
      namespaces: someInodes(),
      parentBinary: origins[1]?.binary ?? bytes(''),
      capabilities: someSets(random),
      origins,
      atExec: { namespaces: someInodes(), capabilities: someSets(random) },
    },
    hostNamespaces: host,
  };
}

function order(hits: readonly ReferenceHit[]): ReferenceHit[] {
  return [...hits].sort((a, b) => a.policyId - b.policyId || a.hookIndex - b.hookIndex);
}

/** Plans random policies and compares the plan with the reference matcher, call by call. */
function agree(seed: number, policyCount: number, callCount: number): { hits: number; misses: number } {
  const random = new Random(seed);
  const text = randomPolicyTexts(random, world, policyCount).join('---\n');
  const inputs = parsePolicies(text).map((policy, index) => ({ id: index + 1, policy }));
  const planned = plan(inputs);
  let hits = 0;
  for (let n = 0; n < callCount; n++) {
    const call = randomCall(random);
    const expected = order(referenceHits(inputs, call));
    const found = order(interpretPlan(planned, call));
    hits += expected.length;
    expect(found, `seed ${seed}, call ${n} of ${call.symbol}\n${text}`).toEqual(expected);
  }
  return { hits, misses: callCount * policyCount - hits };
}

describe('a plan', () => {
  it('agrees with the reference matcher on thousands of random policies, at least a tenth of them hit', {
    timeout: 540_000,
  }, () => {
    const first = Number(process.env.WEIR_SEED ?? 1000);
    const rounds = Number(process.env.WEIR_ROUNDS ?? 40);
    let hits = 0;
    let misses = 0;
    for (let seed = first; seed < first + rounds; seed++) {
      const result = agree(seed, 1 + (seed % 64), 60);
      hits += result.hits;
      misses += result.misses;
    }
    console.log(`seeds ${first} to ${first + rounds - 1}: ${hits} hits, ${misses} misses agreed`);
    expect(hits * 10).toBeGreaterThan(misses);
  });

  it('agrees with 64 policies on one hook', { timeout: 60_000 }, () => {
    const random = new Random(64);
    const hook = world.hooks[0];
    if (hook === undefined) throw new Error('no hook');
    const texts = Array.from({ length: 64 }, (_, n) => randomPolicyText(random, world, `p${n}`, [hook]));
    const inputs = parsePolicies(texts.join('---\n')).map((policy, index) => ({ id: index, policy }));
    const planned = plan(inputs);
    expect(planned.hooks).toHaveLength(1);
    expect(planned.hooks[0]?.bindings).toHaveLength(64);
    for (let n = 0; n < 500; n++) {
      const call = { ...randomCall(random), symbol: 'security_file_open' };
      expect(order(interpretPlan(planned, call))).toEqual(order(referenceHits(inputs, call)));
    }
  });

  it('finds an entry that lies: the comparison can fail', () => {
    const planned = planText(`  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [{matchArgs: [{index: 0, operator: Prefix, values: [/etc/]}, {index: 0, operator: NotEqual, values: [/etc/hosts]}]}]
`);
    const hook = planned.hooks[0];
    if (hook === undefined) throw new Error('no hook');
    const call = (path: string): DescribedCall => ({
      symbol: 'security_file_open',
      arguments: [{ bytes: bytes(path) }],
      process: { binary: bytes('/bin/cat'), namespaces: host },
      hostNamespaces: host,
    });
    expect(interpretPlan(planned, call('/etc/passwd'))).toHaveLength(1);
    expect(interpretPlan(planned, call('/etc/hosts'))).toHaveLength(0);
    const lying: Plan = {
      ...planned,
      hooks: [
        {
          ...hook,
          dimensions: hook.dimensions.map((dimension) =>
            dimension.kind !== 'forward' && dimension.kind !== 'reverse'
              ? dimension
              : { ...dimension, entries: dimension.entries.map((entry) => ({ ...entry, mask: 1n })) },
          ),
        },
      ],
    };
    expect(interpretPlan(lying, call('/etc/hosts'))).toHaveLength(1);
  });

  it('holds the truth of shorter prefixes and of negated terms in each entry of a trie', () => {
    const kprobe = (terms: string) => `  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors:
${terms}`;
    const planned = planText(
      kprobe('    - {matchArgs: [{index: 0, operator: Prefix, values: [/etc/]}]}'),
      kprobe('    - {matchArgs: [{index: 0, operator: Equal, values: [/etc/shadow]}]}'),
      kprobe('    - {matchArgs: [{index: 0, operator: NotPrefix, values: [/etc/shadow]}]}'),
      kprobe('    - {}'),
    );
    const dimension = planned.hooks[0]?.dimensions[0];
    if (dimension?.kind !== 'forward') throw new Error('no dimension');
    expect(planned.hooks[0]?.dimensions).toHaveLength(1);
    expect(dimension.defaultMask).toBe(0b1100n);
    expect(
      dimension.entries.map(({ key, exact, mask }) => [Buffer.from(key).toString(), exact, mask.toString(2)]),
    ).toEqual([
      ['/etc/', false, '1101'],
      ['/etc/shadow', false, '1001'],
      ['/etc/shadow', true, '1011'],
    ]);
  });

  it('joins the comparisons of a selector with one argument into one look-up, with bounds of all selectors', () => {
    const kprobe = (type: string, ...terms: string[]) => `  kprobes:
  - call: sys_prctl
    args: [{index: 0, type: ${type}}]
    selectors:
    - {matchArgs: [${terms.map((term) => `{index: 0, ${term}}`).join(', ')}]}
`;
    const planned = planText(
      kprobe(
        'int',
        'operator: GT, values: [-3]',
        'operator: NotEqual, values: [7]',
        'operator: LT, values: [10, 9]',
      ),
      kprobe('int', 'operator: NotInRange, values: ["0:7", "8:9"]'),
    );
    const zero = 1n << 63n;
    expect(planned.hooks[0]?.dimensions).toEqual([
      {
        kind: 'range',
        argument: 0,
        defaultMask: 0b10n,
        entries: [
          { from: zero - 2n, mask: 0b11n },
          { from: zero, mask: 0b01n },
          { from: zero + 7n, mask: 0b00n },
          { from: zero + 8n, mask: 0b01n },
          { from: zero + 10n, mask: 0b10n },
        ],
      },
    ]);
    const unsigned = planText(kprobe('uint64', 'operator: GT, values: ["0x8000000000000000"]')).hooks[0];
    expect(unsigned?.dimensions[0]?.entries).toEqual([{ from: (1n << 63n) + 1n, mask: 1n }]);
    const bits = planText(
      kprobe('int', 'operator: Mask, values: ["0x80000000", 5]'),
      kprobe('int', 'operator: Mask, values: [4]'),
      kprobe('int', 'operator: Equal, values: [4]'),
    ).hooks[0];
    expect(bits?.dimensions[0]).toEqual({
      kind: 'bits',
      argument: 0,
      defaultMask: 0b100n,
      entries: [
        { bit: 0, mask: 0b01n },
        { bit: 2, mask: 0b11n },
        { bit: 31, mask: 0b01n },
      ],
    });
    expect(bits?.dimensions[1]?.kind).toBe('integer');
  });

  it('shares a scope between selectors that ask the same of the process', () => {
    const spec = (binaries: string) => `  kprobes:
  - call: security_file_open
    syscall: false
    selectors:
    - matchBinaries: [{operator: In, values: ${binaries}}]
      matchNamespaces: [{namespace: Pid, operator: NotIn, values: [host_ns]}]
`;
    const planned = planText(spec('[/bin/a, /bin/b]'), spec('[/bin/b, /bin/a, /bin/a]'), spec('[/bin/c]'));
    expect(planned.scopes.scopeCount).toBe(2);
    expect(planned.hooks[0]?.selectors.map(({ scope }) => scope)).toEqual([0, 0, 1]);
    expect(planned.scopes.dimensions.map(({ kind, argument }) => [kind, argument])).toEqual([
      ['forward', 0],
      ['integer', 16 + NamespaceKind.pid],
    ]);
  });

  it('reads the program that is executed, unseen, where matchBinaries means it and no policy shows it', () => {
    const spec = `  kprobes:
  - call: security_bprm_check
    syscall: false
    selectors: [{matchBinaries: [{operator: In, values: [/tmp/xmrig]}], matchActions: [{action: Sigkill}]}]
`;
    const hook = planText(spec).hooks[0];
    expect(hook?.arguments).toEqual([{ type: ArgumentType.linuxBinprm, index: 0, hidden: true }]);
    expect(hook?.selectors[0]).toMatchObject({
      scope: null,
      signal: 9,
      actions: (1 << Action.post) | (1 << Action.sigkill),
      shownArguments: [],
    });
    expect(hook?.denies).toBe(true);
    const shown = planText(
      spec,
      spec.replace('syscall: false', 'syscall: false\n    args: [{index: 0, type: linux_binprm}]'),
    );
    expect(shown.hooks[0]?.arguments).toEqual([{ type: ArgumentType.linuxBinprm, index: 0, hidden: false }]);
    expect(shown.hooks[0]?.selectors.map(({ shownArguments }) => shownArguments)).toEqual([[], [0]]);
  });

  it.each([
    ['security_file_open', 'Sigkill', '', true],
    ['security_file_open', 'Post', '', false],
    ['security_file_open', 'Sigkill', 'monitor', false],
    ['security_file_open', 'Signal, argSig: 9', '', true],
    ['security_file_open', 'Signal, argSig: 10', '', false],
    ['security_task_free', 'Sigkill', '', false],
    ['sys_dup', 'Sigkill', '', false],
  ])('makes %s with %s (%s) deny: %s', (call, action, mode, denies) => {
    const planned = planText(`  options: [${mode === '' ? '' : `{name: policy-mode, value: ${mode}}`}]
  kprobes:
  - call: ${call}
    syscall: ${call.startsWith('sys_')}
    selectors: [{matchActions: [{action: ${action}}]}]
`);
    expect(planned.hooks[0]?.denies).toBe(denies);
  });

  it('looks addresses up by networks, each with the truth of those around it, at the end that the hook means', () => {
    const spec = (call: string, ...terms: string[]) => `  kprobes:
  - call: ${call}
    syscall: false
    args: [{index: 1, type: sockaddr}]
    selectors: [{matchArgs: [${terms.map((term) => `{index: 1, ${term}}`).join(', ')}]}]
`;
    const hook = planText(
      spec(
        'security_socket_connect',
        'operator: SAddr, values: [10.0.0.0/8]',
        'operator: DPort, values: [443, "8000:8080"]',
      ),
      spec('security_socket_connect', 'operator: NotDAddr, values: [10.1.0.0/16]', 'operator: NotSPortPriv'),
    ).hooks[0];
    const [addresses, ports] = hook?.dimensions ?? [];
    expect(hook?.dimensions).toHaveLength(2);
    expect(addresses).toEqual({
      kind: 'address',
      argument: 0,
      part: ArgumentPart.destinationAddress,
      defaultMask: 0b10n,
      entries: [
        { network: { bytes: Uint8Array.of(4, 10, 0, 0, 0), bits: 8 }, mask: 0b11n },
        { network: { bytes: Uint8Array.of(4, 10, 1, 0, 0), bits: 16 }, mask: 0b01n },
      ],
    });
    expect(ports).toMatchObject({ kind: 'range', part: ArgumentPart.destinationPort, defaultMask: 0b10n });
    const bind = planText(spec('security_socket_bind', 'operator: DAddr, values: ["::1"]')).hooks[0];
    expect(bind?.arguments).toEqual([
      { type: ArgumentType.sockaddr, index: 1, hidden: false, ownAddress: true },
    ]);
    expect(bind?.dimensions[0]).toMatchObject({ part: ArgumentPart.sourceAddress });
  });

  it('has hooks of all kinds, numbered through, those of one function as one', () => {
    const hook = 'args: [{index: 0, type: file}]';
    const planned = planText(`  lsmhooks:
  - {hook: file_open, ${hook}, selectors: [{matchActions: [{action: Override, argError: -1}]}]}
  - {hook: task_free}
  fentries: [{call: security_file_open, syscall: false, ${hook}}]
  kprobes: [{call: security_file_open, syscall: false, ${hook}}, {call: vfs_open, syscall: false}]
`);
    expect(
      planned.hooks.map(({ key, eventKind, lsmCaller, denies, bindings }) => [
        key,
        eventKind,
        lsmCaller,
        denies,
        bindings.map(({ hookIndex }) => hookIndex),
      ]),
    ).toEqual([
      ['kprobe:security_file_open', EventKind.kprobe, null, false, [0, 2]],
      ['kprobe:vfs_open', EventKind.kprobe, null, false, [1]],
      ['lsm:file_open', EventKind.lsm, 'security_file_open', true, [3]],
      ['lsm:task_free', EventKind.lsm, 'security_task_free', false, [4]],
    ]);
  });

  it('has one hook of the system calls of a long list, but for those that it is to keep from taking effect', () => {
    const names = [...syscallNames]
      .filter((name) => syscallNumber(name) !== undefined && lsmPathOf(name) === undefined)
      .slice(0, 40);
    const list = (actions: string) => `  lists: [{name: many, type: syscalls, values: [sys_unlink, ${names
      .map((name) => `sys_${name}`)
      .join(', ')}]}]
  kprobes: [{call: "list:many", args: [{index: 0, type: int}], selectors: [{matchActions: [${actions}]}]}]
`;
    const [observed, ...none] = planText(list('{action: Post}')).hooks;
    expect(none).toEqual([]);
    expect(observed?.calls?.length).toBe(41);
    expect(observed?.calls).toEqual([...(observed?.calls ?? [])].sort());
    expect(observed?.syscall).toBe(true);
    const [own, shared, ...more] = planText(list('{action: Sigkill}')).hooks;
    expect(more).toEqual([]);
    expect([own?.symbol, own?.calls]).toEqual(['__x64_sys_unlink', undefined]);
    expect(shared?.calls).not.toContain('__x64_sys_unlink');
    expect(shared?.calls?.length).toBe(40);
  });

  it('has a hook of each tracepoint, apart where it is raw, with calls by number and entry', () => {
    const planned = planText(`  lists: [{name: some, type: syscalls, values: [sys_dup, __ia32_sys_dup]}]
  tracepoints:
  - subsystem: raw_syscalls
    event: sys_enter
    args: [{index: 4, type: syscall64}, {index: 5}]
    selectors: [{matchArgs: [{index: 0, operator: InMap, values: ["list:some", "0x80000002", prctl]}]}]
  - {subsystem: raw_syscalls, event: sys_enter, raw: true, args: [{index: 1, type: syscall64}]}
`);
    expect(
      planned.hooks.map(({ key, symbol, eventKind, tracepoint, bindings }) => [
        key,
        symbol,
        eventKind,
        tracepoint?.raw,
        bindings.map((binding) => [binding.hookIndex, binding.eventKind]),
      ]),
    ).toEqual([
      [
        'tracepoint:raw_syscalls:sys_enter',
        'raw_syscalls:sys_enter',
        EventKind.tracepoint,
        false,
        [[0, EventKind.tracepoint]],
      ],
      [
        'raw-tracepoint:raw_syscalls:sys_enter',
        'raw_syscalls:sys_enter',
        EventKind.tracepoint,
        true,
        [[1, EventKind.tracepoint]],
      ],
    ]);
    expect(planned.hooks[0]?.arguments.map(({ type }) => type)).toEqual([
      ArgumentType.syscall64,
      ArgumentType.none,
    ]);
    expect(planned.hooks[0]?.dimensions[0]?.entries.map((entry) => 'value' in entry && entry.value)).toEqual([
      157n,
      32n,
      (1n << 32n) + 2n,
      (1n << 32n) + 41n,
    ]);
  });

  it('makes one hook of each function of a list', () => {
    const planned =
      planText(`  lists: [{name: dups, type: syscalls, values: [sys_dup, sys_dup2, __x64_sys_dup]}]
  kprobes: [{call: "list:dups", args: [{index: 0, type: int, label: descriptor}]}]
`);
    expect(planned.hooks.map(({ symbol, syscall }) => [symbol, syscall])).toEqual([
      ['__x64_sys_dup', true],
      ['__x64_sys_dup2', true],
    ]);
    expect(planned.hooks[0]?.bindings[0]?.argumentLabels).toEqual(['descriptor']);
  });

  it('reads nop as nothing, and shows the others in their order', () => {
    const hook = planText(`  kprobes:
  - call: security_file_permission
    syscall: false
    args: [{index: 1, type: int, label: mask}, {index: 2, type: nop}, {index: 0, type: file}]
`).hooks[0];
    expect(hook?.arguments.map(({ index }) => index)).toEqual([1, 0]);
    expect(hook?.selectors[0]?.shownArguments).toEqual([0, 1]);
    expect(hook?.bindings[0]?.argumentLabels).toEqual(['mask', '']);
  });

  it('merges what the number and the name of one namespace say', () => {
    // Bits: In [host], In [number], NotIn [host], NotIn [number], none.
    const defaultMask = 0b11100n;
    expect(mergeMasks(defaultMask, 0b11001n, 0b10110n)).toBe(0b10011n);
  });

  it('keeps to its limits, and names the field where one is passed', () => {
    const many = (count: number) => `  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [${Array.from({ length: count }, () => '{}').join(', ')}]
`;
    expect(planText(many(512)).hooks[0]?.selectors).toHaveLength(512);
    expect(planText(many(512), many(1)).hooks.map(({ selectors }) => selectors.length)).toEqual([1, 512]);
    const terms = (count: number) => `  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [{matchArgs: [${Array.from({ length: count }, (_, n) => `{index: 0, operator: Prefix, values: [/${n}]}`).join(', ')}]}]
`;
    expect(planText(terms(32)).hooks[0]?.dimensions).toHaveLength(32);
    expect(() => planText(terms(33))).toThrowError(/matchArgs\[32\]: .* 32 look-ups/);
    const text = (length: number) => `  kprobes:
  - call: security_file_open
    syscall: false
    args: [{index: 0, type: file}]
    selectors: [{matchArgs: [{index: 0, operator: Equal, values: ["/${'x'.repeat(length - 1)}"]}]}]
`;
    expect(planText(text(4095)).hooks).toHaveLength(1);
    try {
      planText(text(4096));
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(PolicyError);
      expect(error).toMatchObject({
        code: 'not-supported',
        path: 'spec.kprobes[0].selectors[0].matchArgs[0].values[0]',
      });
    }
    const types = ['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'string'];
    const reads = (from: number, to: number, action = 'Post') => `  kprobes:
  - call: sys_prctl
    selectors: [{matchActions: [{action: ${action}}]}]
    args: [${types
      .slice(from, to)
      .map((type) => `{index: 0, type: ${type}}`)
      .join(', ')}]
`;
    expect(planText(reads(0, 6)).hooks[0]?.arguments).toHaveLength(6);
    expect(planText(reads(0, 6), reads(6, 9)).hooks.map((hook) => hook.arguments.length)).toEqual([3, 6]);
    expect(() => planText(reads(0, 6, 'Sigkill'), reads(6, 9, 'Sigkill'))).toThrowError(
      /spec\.kprobes\[0\]\.args\[2\]: .* 8 different values/,
    );
  });
});
