// SPDX-License-Identifier: Apache-2.0
import { ArgumentType } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { type ArgumentTypeOf, resolveArgumentTypes } from './kernel-types.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(kprobe: string, more = '') {
  const [policy] = parsePolicies(
    `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{${kprobe}}]${more}}\n`,
  );
  if (policy === undefined) throw new Error('there is no policy');
  return policy;
}

const exec = 'call: security_bprm_check, syscall: false';

describe('fields of arguments', () => {
  it('are planned apart from what they are fields of, with the path as it is written', () => {
    const policy = policyOf(
      `${exec}, args: [
        {index: 0, type: linux_binprm},
        {index: 0, type: string, resolve: mm.owner.comm, label: who},
        {index: 0, type: string, resolve: mm.owner.comm},
        {index: 0, type: uint32, resolve: argc, btfType: linux_binprm, btfTypeModule: m}],
      data: [{type: string, source: current_task, resolve: comm, label: task}, {index: 0, type: string, resolve: mm.owner.comm}],
      selectors: [{matchArgs: [{args: [3], operator: GT, values: [2]}], matchData: [{index: 0, operator: Equal, values: [sh]}]}]`,
    );
    const [hook] = plan([{ id: 1, policy }]).hooks;
    const owner = { path: 'mm.owner.comm', source: 'parameter' };
    // What selectors ask about is read first; events show each where the policy has it.
    expect(hook?.arguments).toEqual([
      {
        type: ArgumentType.uint32,
        index: 0,
        hidden: false,
        field: { path: 'argc', source: 'parameter', btfType: 'linux_binprm', btfTypeModule: 'm' },
      },
      {
        type: ArgumentType.string,
        index: 0,
        hidden: false,
        field: { path: 'comm', source: 'current_task' },
        data: true,
      },
      { type: ArgumentType.linuxBinprm, index: 0, hidden: false },
      { type: ArgumentType.string, index: 0, hidden: false, field: owner },
      { type: ArgumentType.string, index: 0, hidden: false, field: owner, data: true },
    ]);
    expect(hook?.selectors[0]?.shownArguments).toEqual([2, 3, 3, 0, 1, 4]);
    expect(hook?.bindings[0]?.argumentLabels).toEqual(['', 'who', '', '', 'task', '']);
    expect(hook?.dimensions.map(({ kind, argument }) => [kind, argument])).toEqual([
      ['range', 0],
      ['forward', 1],
    ]);
  });

  it('are matched as the type that they have', () => {
    const { errors } = validate(
      policyOf(
        `${exec}, args: [{index: 0, type: uint32, resolve: argc}], selectors: [{matchArgs: [{index: 0, operator: Prefix, values: [a]}]}]`,
      ),
    );
    expect(errors.map(({ code, path }) => [code, path])).toEqual([
      ['wrong-operator', 'spec.kprobes[0].selectors[0].matchArgs[0].operator'],
    ]);
  });

  it.each([
    [`${exec}, args: [{index: 0, type: string, resolve: rsp, source: pt_regs}]`, 'args[0].source'],
    [`${exec}, args: [{index: 0, type: string, source: current_task}]`, 'args[0].resolve'],
    [`${exec}, data: [{type: string, source: current_task}]`, 'data[0].resolve'],
    ['call: sys_openat, args: [{index: 2, type: uint64, resolve: flags}]', 'args[0].resolve'],
    ['call: sys_openat, args: [{index: 2}]', 'args[0].type'],
  ])('are refused where they cannot be had: %s', (kprobe, field) => {
    expect(unsupported(policyOf(kprobe)).map(({ path }) => path)).toEqual([`spec.kprobes[0].${field}`]);
  });

  it('may be those of what a system call points to, and of the task', () => {
    const policy = policyOf(
      'call: sys_openat2, args: [{index: 2, type: uint64, resolve: flags, btfType: open_how}, {index: 0, type: path, source: current_task, resolve: fs.pwd}]',
    );
    expect(validate(policy).errors).toEqual([]);
    expect(unsupported(policy)).toEqual([]);
  });

  it('warn of a type that is named in vain', () => {
    const { warnings } = validate(policyOf(`${exec}, args: [{index: 0, type: file, btfType: file}]`));
    expect(warnings.map(({ path }) => path)).toContain('spec.kprobes[0].args[0].btfType');
  });
});

describe('types that the kernel tells', () => {
  const auto = policyOf(
    `call: "list:l", syscall: false, args: [{index: 0}, {index: 1, type: int}], data: [{index: 0, type: auto, resolve: a}]`,
    ', lists: [{name: l, values: [security_file_open, security_inode_getattr]}]',
  );
  const told =
    (of: (symbol: string, resolve: string | undefined) => ReturnType<ArgumentTypeOf>): ArgumentTypeOf =>
    ({ symbol }, { resolve }) =>
      of(symbol, resolve);

  it('take the place of auto, and only of auto', () => {
    const { policy, issues } = resolveArgumentTypes(
      auto,
      told((_, resolve) => ({ type: resolve === undefined ? 'file' : 'uint32' })),
    );
    expect(issues).toEqual([]);
    expect(policy.spec.kprobes?.[0]?.args?.map(({ type }) => type)).toEqual(['file', 'int']);
    expect(policy.spec.kprobes?.[0]?.data?.map(({ type }) => type)).toEqual(['uint32']);
    expect(plan([{ id: 1, policy }]).hooks).toHaveLength(2);
  });

  it('are refused where they differ between the functions of one hook', () => {
    const { issues } = resolveArgumentTypes(
      auto,
      told((symbol) => ({ type: symbol === 'security_file_open' ? 'file' : 'path' })),
    );
    expect(issues.map(({ path, message }) => `${path} ${message}`)).toContainEqual(
      expect.stringMatching(
        /args\[0\]\.type auto is file on security_file_open and path on security_inode_getattr/,
      ),
    );
  });

  it('are what a plan needs, and what a check can do without', () => {
    expect(() => plan([{ id: 1, policy: auto }])).toThrowError(
      /args\[0\]\.type: auto: the types of this kernel/,
    );
    const unknown = resolveArgumentTypes(auto, () => undefined);
    expect(unknown.issues).toEqual([]);
    expect(() => plan([{ id: 1, policy: unknown.policy }])).toThrowError(/write the type/);
    expect(check(auto).errors).toEqual([]);
  });

  it('say by the field what does not fit', () => {
    const { issues } = resolveArgumentTypes(auto, () => ({ error: 'is nothing', field: 'resolve' }));
    expect(issues.map(({ path, message }) => [path, message])).toEqual([
      ['spec.kprobes[0].args[0].resolve', 'is nothing'],
      ['spec.kprobes[0].data[0].resolve', 'is nothing'],
    ]);
  });
});
