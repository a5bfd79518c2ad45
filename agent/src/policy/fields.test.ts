// SPDX-License-Identifier: Apache-2.0
import { type KernelField, type KernelType, kernelField } from '@weir/native';
import { parsePolicies, plan, resolveArgumentTypes } from '@weir/policy';
import { ArgumentSource, HOOK_SPEC_BYTES, HookFeature, limits, readHookSpec } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { encodeSpec } from './encode.js';
import { kernelTypeOf, planOfField, typeOfField } from './fields.js';

const type = (
  kind: KernelType['kind'],
  name: string,
  size: number,
  more: Partial<KernelType> = {},
): KernelType => ({
  kind,
  name,
  tag: '',
  size,
  isSigned: false,
  ...more,
});
const field = (of: KernelType, target?: KernelType, more: Partial<KernelField> = {}): KernelField => ({
  steps: [
    { offset: 8, follows: true },
    { offset: 24, follows: false },
  ],
  type: of,
  ...(target === undefined ? {} : { target }),
  bitOffset: 0,
  bits: 0,
  ...more,
});
const char = type('integer', 'const char', 1);
const int = type('integer', 'int', 4, { isSigned: true });
const file = type('struct', 'struct file', 184, { tag: 'file' });
const pointer = (name: string) => type('pointer', name, 8);
const follow = 2 ** 31;

function steps(of: KernelField, name: string): readonly number[] | string {
  const found = planOfField(of, name);
  return typeof found === 'string' ? found : found.steps.slice(0, found.stepCount);
}

describe('the way to a field', () => {
  it('ends where a number lies, and reads it as the kernel has it', () => {
    expect(planOfField(field(int), 'int64')).toMatchObject({
      steps: [8 + follow, 24, ...Array(limits.field_steps - 2).fill(0)],
      stepCount: 2,
      numberBytes: 4,
      bits: 32,
      isSigned: 1,
    });
    const bits = { bits: 3, bitOffset: 6 };
    expect(planOfField(field(type('integer', 'unsigned int', 4), undefined, bits), 'uint8')).toMatchObject({
      numberBytes: 2,
      bits: 3,
      bitOffset: 6,
    });
    expect(planOfField(field(pointer('void *')), 'uint64')).toMatchObject({ numberBytes: 8, bits: 64 });
  });

  it('goes on to what a pointer points to where that is meant', () => {
    expect(steps(field(pointer('struct file *'), file), 'file')).toEqual([8 + follow, 24 + follow]);
    expect(steps(field(file), 'file')).toEqual([8 + follow, 24]);
    expect(steps(field(pointer('char *'), char), 'string')).toEqual([8 + follow, 24 + follow]);
    expect(planOfField(field(type('array', 'char []', 16), char), 'string')).toMatchObject({ textBytes: 16 });
    // The walk has ended at a pointer that it followed.
    const followed = field(file, undefined, { steps: [{ offset: 8, follows: true }] });
    expect(steps(followed, 'file')).toEqual([8 + follow]);
    const behind = field(pointer('struct file *'), file, { steps: [{ offset: 8, follows: true }] });
    expect(steps(behind, 'file')).toEqual([8 + follow, follow]);
  });

  it.each([
    [field(int), 'string', /is int, and no text/],
    [field(int), 'file', /is int, and file is read of a struct file or a pointer to one/],
    [field(int), 'uint8', /of 32 bits, of which uint8 takes 8: write int32/],
    [field(file), 'uint64', /is struct file, and no number/],
    [field(pointer('struct file *'), file), 'path', /is struct file \*, and path is read of a struct path/],
    [field(file), 'cap_effective', /is read of a kernel_cap_t/],
    [field(file), 'char_buf', /a field is not read as char_buf/],
    [
      field(int, undefined, { steps: Array.from({ length: 13 }, () => ({ offset: 0, follows: true })) }),
      'int',
      /takes 13 steps/,
    ],
  ])('is refused where the field is none of the type: %#', (of, name, why) => {
    expect(planOfField(of, name)).toMatch(why);
  });
});

describe('auto', () => {
  it.each([
    [field(int), 'int32'],
    [field(type('boolean', 'bool', 1)), 'uint8'],
    [field(type('enumeration', 'enum kernel_read_file_id', 4)), 'uint32'],
    [field(pointer('const char *'), char), 'string'],
    [field(pointer('u8 *'), type('integer', 'u8', 1)), 'uint64'],
    [field(type('array', 'char []', 16), char), 'string'],
    [field(pointer('struct file *'), file), 'file'],
    [field(file), 'file'],
    [field(type('struct', 'kernel_cap_t', 8)), 'kernel_cap_t'],
    [field(pointer('struct inode *'), type('struct', 'struct inode', 600, { tag: 'inode' })), 'uint64'],
    [field(type('struct', 'struct inode', 600, { tag: 'inode' })), undefined],
  ])('is what the field is: %#', (of, name) => {
    expect(typeOfField(of)).toBe(name);
  });
});

describe('policies by the types of this kernel', () => {
  const resolve = (kprobe: string) => {
    const [policy] = parsePolicies(
      `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{${kprobe}}]}\n`,
    );
    if (policy === undefined) throw new Error('there is no policy');
    return resolveArgumentTypes(policy, kernelTypeOf());
  };
  const exec = 'call: security_bprm_check, syscall: false';

  it('have the types of arguments and fields', () => {
    const { policy, issues } = resolve(
      `${exec}, args: [{index: 0}, {index: 0, resolve: argc}, {index: 0, resolve: mm.owner.comm}, {index: 0, resolve: file.f_path}]`,
    );
    expect(issues).toEqual([]);
    expect(policy.spec.kprobes?.[0]?.args?.map(({ type: name }) => name)).toEqual([
      'linux_binprm',
      'int32',
      'string',
      'path',
    ]);
  });

  it('have those of the values of raw tracepoints, and of what programs point to', () => {
    const [policy] = parsePolicies(
      `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: p}
spec:
  tracepoints: [{subsystem: sched, event: sched_process_exec, raw: true, args: [
    {index: 1}, {index: 2}, {index: 2, resolve: argc}, {index: 0, source: current_task, resolve: comm}]}]
  uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0, btfType: iovec, resolve: iov_len}]}]
`,
    );
    if (policy === undefined) throw new Error('there is no policy');
    const { policy: typed, issues } = resolveArgumentTypes(policy, kernelTypeOf());
    expect(issues).toEqual([]);
    const { tracepoints, uprobes } = typed.spec;
    expect(tracepoints?.[0]?.args?.map(({ type: name }) => name)).toEqual([
      'int32',
      'linux_binprm',
      'int32',
      'string',
    ]);
    expect(uprobes?.[0]?.args?.map(({ type: name }) => name)).toEqual(['uint64']);
  });

  it('say what is wrong by the field, with what is near', () => {
    const { issues } = resolve(
      `${exec}, args: [{index: 0, type: string, resolve: mm.owner.com}, {index: 0, type: uint8, resolve: argc}, {index: 7}],
       data: [{source: current_task, resolve: fs.pwd.dentry}, {source: current_task, resolve: signal}]`,
    );
    expect(issues.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      expect.stringMatching(
        /^spec\.kprobes\[0\]\.args\[0\]\.resolve: mm\.owner\.com cannot be found: mm\.owner is struct task_struct, which has no member com: nearest .*: comm/,
      ),
      expect.stringMatching(
        /args\[1\]\.resolve: argc is int of 32 bits, of which uint8 takes 8: write int32/,
      ),
      expect.stringMatching(
        /args\[2\]\.type: argument 7 of security_bprm_check cannot be found: .* has 1 parameters/,
      ),
    ]);
  });

  it('leave a function that is not there to whoever hooks it', () => {
    expect(
      resolve('call: no_such_function, syscall: false, args: [{index: 0, type: int, resolve: a.b}]').issues,
    ).toEqual([]);
  });

  it('give a program the steps', () => {
    const { policy } = resolve(
      `${exec}, args: [{index: 0, type: int, resolve: argc}], data: [{type: string, source: current_task, resolve: comm}]`,
    );
    const [hook] = plan([{ id: 1, policy }]).hooks;
    if (hook === undefined) throw new Error('there is no hook');
    const bytes = encodeSpec(hook, 1, 1);
    expect(bytes).toHaveLength(HOOK_SPEC_BYTES);
    const spec = readHookSpec(new DataView(bytes.buffer), 0);
    expect(spec.features & (HookFeature.fields | HookFeature.data)).toBe(
      HookFeature.fields | HookFeature.data,
    );
    const argc = kernelField({ type: 'linux_binprm' }, 'argc');
    const comm = kernelField({ type: 'task_struct' }, 'comm');
    if (typeof argc === 'string' || typeof comm === 'string') throw new Error('the kernel has other fields');
    expect(spec.fields[0]).toMatchObject({ stepCount: 1, numberBytes: 4, bits: 32, isSigned: 1 });
    expect(spec.fields[0]?.steps[0]).toBe(argc.steps[0]?.offset);
    expect(spec.fields[1]).toMatchObject({ stepCount: 1, numberBytes: 0, textBytes: 16 });
    expect(spec.fields[1]?.steps[0]).toBe(comm.steps[0]?.offset);
    expect(spec.arguments.map(({ source, flags }) => [source, flags]).slice(0, 2)).toEqual([
      [ArgumentSource.parameter, 64],
      [ArgumentSource.currentTask, 64 | 128],
    ]);
  });
});
