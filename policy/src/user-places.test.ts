// SPDX-License-Identifier: Apache-2.0
import { Action, ArgumentType, EventKind } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { formatIssue } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { HookPlan } from './plan-types.js';
import type { Policy } from './policy.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(spec: object): Policy {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'places' },
      spec,
    }),
  );
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

const uprobe = (fields: object) => policyOf({ uprobes: [{ path: '/bin/bash', ...fields }] });
const usdt = (fields: object) =>
  policyOf({ usdts: [{ path: '/usr/bin/python3', provider: 'python', name: 'line', ...fields }] });
const hooks = (policy: Policy): readonly HookPlan[] => plan([{ id: 1, policy }]).hooks;
const digest = '0123456789abcdef'.repeat(4);

describe('places in programs', () => {
  it('make a hook each: by symbol, offset or address, with their counters', () => {
    const planned = [
      ...hooks(uprobe({ symbols: ['readline', 'main', 'main'] })),
      ...hooks(uprobe({ offsets: [16, '0x20'], refCtrOffsets: [0, '0x30'] })),
      ...hooks(uprobe({ addrs: ['0x401000'] })),
      ...hooks(usdt({})),
    ];
    expect(planned.map(({ key, eventKind, user }) => ({ key, eventKind, ...user }))).toEqual([
      {
        key: 'uprobe:/bin/bash:readline',
        eventKind: EventKind.uprobe,
        kind: 'function',
        path: '/bin/bash',
        symbol: 'readline',
        counterOffset: 0n,
        digests: [],
      },
      expect.objectContaining({ key: 'uprobe:/bin/bash:main', symbol: 'main' }),
      expect.objectContaining({ key: 'uprobe:/bin/bash:+0x10', offset: 16n, counterOffset: 0n }),
      expect.objectContaining({ key: 'uprobe:/bin/bash:+0x20(0x30)', offset: 32n, counterOffset: 48n }),
      expect.objectContaining({ key: 'uprobe:/bin/bash:@0x401000', address: 0x401000n }),
      {
        key: 'usdt:/usr/bin/python3:python:line',
        eventKind: EventKind.usdt,
        kind: 'marker',
        path: '/usr/bin/python3',
        provider: 'python',
        name: 'line',
      },
    ]);
    expect(planned.every(({ denies, syscall }) => !denies && !syscall)).toBe(true);
  });

  it('are shared by policies, unless one of them means a certain file', () => {
    const policies = [
      uprobe({ symbols: ['main'] }),
      uprobe({ symbols: ['main'], message: 'two' }),
      uprobe({ symbols: ['main'], binaryDigests: [`SHA256:${digest.toUpperCase()}`, digest] }),
    ];
    const planned = plan(policies.map((policy, id) => ({ id, policy }))).hooks;
    expect(planned.map(({ key, bindings }) => [key, bindings.length])).toEqual([
      ['uprobe:/bin/bash:main', 2],
      [`uprobe:/bin/bash:main#${digest}`, 1],
    ]);
  });

  it.each([
    [uprobe({}), 'spec.uprobes[0].symbols', /is missing/],
    [uprobe({ symbols: ['a'], offsets: [1] }), 'spec.uprobes[0].offsets', /symbols are there already/],
    [uprobe({ offsets: ['far'] }), 'spec.uprobes[0].offsets[0]', /no offset or address/],
    [uprobe({ addrs: ['-1'] }), 'spec.uprobes[0].addrs[0]', /no offset or address/],
    [
      uprobe({ symbols: ['a', 'b'], refCtrOffsets: [1] }),
      'spec.uprobes[0].refCtrOffsets',
      /has 1 offsets, and symbols has 2/,
    ],
    [uprobe({ symbols: ['a'], refCtrOffsets: ['0x100000000'] }), 'spec.uprobes[0].refCtrOffsets[0]', /4 GiB/],
    [
      uprobe({ symbols: ['a'], binaryDigests: ['sha256:00'] }),
      'spec.uprobes[0].binaryDigests[0]',
      /64 hexadecimal/,
    ],
    [
      uprobe({
        symbols: ['a'],
        returnArg: { type: 'int' },
        selectors: [{ matchReturnArgs: [{ operator: 'Equal', values: ['0'] }] }],
      }),
      'spec.uprobes[0].returnArg',
      /return: true/,
    ],
    [
      uprobe({ symbols: ['a'], args: [{ index: 6, type: 'int' }] }),
      'spec.uprobes[0].args[0].index',
      /0 to 5/,
    ],
    [
      uprobe({ symbols: ['a'], args: [{ index: 0, type: 'file' }] }),
      'spec.uprobes[0].args[0].type',
      /kernel object/,
    ],
    [usdt({ args: [{ index: 12, type: 'int' }] }), 'spec.usdts[0].args[0].index', /0 to 11/],
    [usdt({ args: [{ index: 0, type: 'sock' }] }), 'spec.usdts[0].args[0].type', /kernel object/],
    [policyOf({ uprobes: [{ path: 'bash', symbols: ['a'] }] }), 'spec.uprobes[0].path', /no absolute path/],
  ] satisfies [Policy, string, RegExp][])('refuses what is wrong with one (%#)', (policy, path, message) => {
    const errors = validate(policy).errors.filter((issue) => issue.path === path);
    expect(errors.map(({ message: text }) => text)).toEqual([expect.stringMatching(message)]);
  });

  it('refuses by name what cannot be had', () => {
    const issues = [
      uprobe({ offsets: ['0x10'], return: true, returnArg: { index: 0, type: 'int' } }),
      uprobe({ symbols: ['a+4'], return: true, returnArg: { index: 0, type: 'int' } }),
      uprobe({ symbols: ['a'], return: true, returnArg: { index: 0, type: 'file' } }),
      uprobe({
        symbols: ['a'],
        args: [
          { index: 0, type: 'file' },
          { index: 1, type: 'int' },
        ],
      }),
      uprobe({ symbols: ['a'], args: [{ index: 0, type: 'int', resolve: 'x' }] }),
      uprobe({ symbols: ['a'], data: [{ type: 'int', source: 'pt_regs', resolve: 'rxx' }] }),
      uprobe({ symbols: ['a'], data: [{ type: 'path', source: 'pt_regs', resolve: 'rdi' }] }),
      uprobe({ symbols: ['a'], btfPath: '/x' }),
      uprobe({ symbols: ['a'], selectors: [{ matchActions: [{ action: 'Override', argError: -1 }] }] }),
      uprobe({
        symbols: ['a'],
        selectors: [{ matchActions: [{ action: 'Set', argIndex: 0, argValue: 1 }] }],
      }),
    ].map((policy) => unsupported(policy).map(formatIssue).join());
    expect(issues).toEqual([
      expect.stringMatching(/spec\.uprobes\[0\]\.return: return: true with offsets/),
      expect.stringMatching(/spec\.uprobes\[0\]\.symbols\[0\]: with return: true/),
      expect.stringMatching(/spec\.uprobes\[0\]\.returnArg\.type: a program returns no file/),
      expect.stringMatching(/^[^,]*spec\.uprobes\[0\]\.args\[0\]\.type: the type file in a program/),
      expect.stringMatching(/spec\.uprobes\[0\]\.args\[0\]\.resolve: .*name by btfType the struct/),
      expect.stringMatching(/spec\.uprobes\[0\]\.data\[0\]\.resolve: names no register/),
      expect.stringMatching(/spec\.uprobes\[0\]\.data\[0\]\.type: path is not read of a register/),
      expect.stringMatching(/spec\.uprobes\[0\]\.btfPath: /),
      expect.stringMatching(/matchActions\[0\]\.action: Override in a program needs a kernel/),
      expect.stringMatching(/matchActions\[0\]\.action: Set is for the markers of programs/),
    ]);
  });

  it('have an event at the return of a function, with what it returned', () => {
    const policy = uprobe({
      symbols: ['a'],
      args: [{ index: 0, type: 'char_buf', returnCopy: true }],
      return: true,
      returnArg: { index: 0, type: 'int', label: 'result' },
      selectors: [
        {
          matchReturnArgs: [{ operator: 'LT', values: ['0'] }],
          matchReturnActions: [{ action: 'Signal', argSig: 15 }],
        },
      ],
    });
    expect(validate(policy).errors).toEqual([]);
    expect(unsupported(policy)).toEqual([]);
    const [hook] = hooks(policy);
    expect(hook?.returns).toBe(true);
    expect(hook?.arguments.map(({ type, returned, buffer }) => [type, returned, buffer?.copied])).toEqual([
      [ArgumentType.int32, true, undefined],
      [ArgumentType.charBuf, undefined, true],
    ]);
    expect(hook?.selectors[0]).toMatchObject({ returns: true, showsReturn: true, returnSignal: 15 });
    expect(hook?.selectors[0]?.shownArguments).toEqual([1, 0]);
    expect(hook?.bindings[0]?.argumentLabels).toEqual(['', 'result']);
    expect(check(policy).text).toContain('observes; uretprobe: sees it return');
    const unread = uprobe({ symbols: ['a'], return: true });
    expect(validate(unread).errors.map(({ path }) => path)).toEqual(['spec.uprobes[0].returnArg']);
  });

  it('have arguments that are set, where they are markers', () => {
    const sets = (more: object) => usdt({ selectors: [{ matchActions: [{ action: 'Set', ...more }] }] });
    const policy = sets({ argIndex: 1, argValue: '-2' });
    expect(validate(policy).errors).toEqual([]);
    expect(unsupported(policy)).toEqual([]);
    const [selector] = hooks(policy)[0]?.selectors ?? [];
    expect(selector?.set).toEqual({ argument: 1, value: 2n ** 64n - 2n });
    expect(selector?.actions).toBe((1 << Action.post) | (1 << Action.set));
    expect(check(policy).text).toContain('Post, set argument 1 to -2');
    const action = 'spec.usdts[0].selectors[0].matchActions[0]';
    expect(validate(sets({})).errors.map(({ path }) => path)).toEqual([
      `${action}.argIndex`,
      `${action}.argValue`,
    ]);
    expect(validate(sets({ argIndex: 0, argValue: 'x' })).errors.map(({ path }) => path)).toEqual([
      `${action}.argValue`,
    ]);
  });

  it('have registers, by the names of their parts, and fields of the task beside their arguments', () => {
    const [hook] = hooks(
      uprobe({
        symbols: ['a'],
        args: [{ index: 5, type: 'int' }],
        data: [
          { type: 'int', source: 'pt_regs', resolve: 'eax' },
          { type: 'string', source: 'pt_regs', resolve: 'rdi' },
          { type: 'uint64', source: 'pt_regs', resolve: 'rip' },
          { type: 'string', source: 'current_task', resolve: 'comm' },
        ],
      }),
    );
    expect(hook?.arguments.map(({ index, register, field, data }) => [index, register, field, data])).toEqual(
      [
        [5, undefined, undefined, undefined],
        [0, { offset: 80, bytes: 4 }, undefined, true],
        [0, { offset: 112, bytes: 8 }, undefined, true],
        [0, { offset: 128, bytes: 8 }, undefined, true],
        [0, undefined, { path: 'comm', source: 'current_task' }, true],
      ],
    );
  });

  it('are joined by what is mapped to run: a hook that shows path and build id, whatever else a policy has', () => {
    const policy = policyOf({ loader: true, uprobes: [{ path: '/bin/bash', symbols: ['main'] }] });
    expect(unsupported(policy)).toEqual([]);
    const [, loader] = hooks(policy);
    expect(loader).toMatchObject({
      key: 'loader',
      eventKind: EventKind.loader,
      symbol: 'perf_event_mmap_output',
      arguments: [
        { type: ArgumentType.path, index: 0 },
        { type: ArgumentType.constBuf, index: 1 },
      ],
      bindings: [{ hookIndex: 1 }],
    });
    expect(loader?.selectors).toHaveLength(1);
    expect(check(policy).text).toContain('sees what is mapped to run');
    expect(hooks(policyOf({ loader: false }))).toEqual([]);
  });

  it('are told of by the check, whatever bytes their path has', () => {
    const text = check(
      uprobe({ symbols: ['main'], selectors: [{ matchActions: [{ action: 'Sigkill' }] }] }),
      {
        hasFunction: () => false,
      },
    ).text;
    expect(text).toContain('/bin/bash:main: uprobe, in every process that runs this file: observes');
    expect(text).toContain('kill the process before the place is run');
    expect(text).toContain('can be loaded');
    const hostile = check(policyOf({ uprobes: [{ path: '/\u001b[2J', symbols: ['main'] }] })).text;
    expect(hostile).not.toContain('\u001b');
  });
});
