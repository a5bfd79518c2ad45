// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { Btf, BtfError } from './btf.js';
import { factsOfBtf } from './btf-facts.js';
import { check } from './check.js';
import { parsePolicies } from './parse.js';
import { Random } from './testing/random.js';

interface Type {
  readonly name?: string;
  readonly kind: number;
  /** Size, or the type that it is made of. */
  readonly of: number;
  readonly rest?: readonly number[];
  readonly count?: number;
}

/** Types as a kernel's file has them; the first is number 1. */
function makeBtf(make: (text: (name: string) => number) => readonly Type[]): Uint8Array {
  let texts = '\0';
  const text = (name: string) => {
    const at = texts.length;
    texts += `${name}\0`;
    return name === '' ? 0 : at;
  };
  const words = make(text).flatMap(({ name = '', kind, of, rest = [], count = 0 }) => [
    text(name),
    (kind << 24) | count,
    of,
    ...rest,
  ]);
  const bytes = Buffer.alloc(24 + 4 * words.length + texts.length);
  bytes.writeUInt16LE(0xeb9f, 0);
  bytes.writeUInt8(1, 2);
  const header = [24, 0, 4 * words.length, 4 * words.length, texts.length];
  for (const [n, word] of [...header, ...words].entries()) bytes.writeUInt32LE(word >>> 0, 4 + 4 * n);
  bytes.write(texts, 24 + 4 * words.length, 'latin1');
  return new Uint8Array(bytes);
}

const kernel = makeBtf((text) => [
  { name: 'int', kind: 1, of: 4, rest: [32] }, // 1
  { name: 'inode', kind: 4, of: 8, count: 1, rest: [text('i_uid'), 1, 0] }, // 2
  { kind: 2, of: 2 }, // 3 inode *
  { kind: 5, of: 8, count: 1, rest: [text('f_inode'), 3, 0] }, // 4 union without a name
  { name: 'file', kind: 4, of: 8, count: 1, rest: [0, 4, 0] }, // 5
  { kind: 10, of: 5 }, // 6 const file
  { kind: 2, of: 6 }, // 7 const file *
  { kind: 13, of: 1, count: 1, rest: [0, 7] }, // 8 int (const file *)
  { name: 'security_file_open', kind: 12, of: 8 }, // 9
  { name: 'bpf_lsm_file_open', kind: 12, of: 8 }, // 10
  { name: '__x64_sys_openat', kind: 12, of: 8 }, // 11
  { name: 'btf_trace_sched_process_exec', kind: 8, of: 0 }, // 12
  { name: 'task_struct', kind: 4, of: 4, count: 1, rest: [text('comm'), 1, 0] }, // 13
]);

describe('the types of a kernel', () => {
  it('tell functions, their parameters, and members over pointers and structs without a name', () => {
    const btf = Btf.read(kernel);
    expect(btf.functions()).toEqual(['security_file_open', 'bpf_lsm_file_open', '__x64_sys_openat']);
    expect(btf.parameterCount('security_file_open')).toBe(1);
    expect(btf.parameterCount('vfs_open')).toBeUndefined();
    const from = { functionName: 'security_file_open', parameter: 0 };
    expect(btf.missingOnPath(from, 'f_inode.i_uid')).toBeUndefined();
    expect(btf.missingOnPath(from, 'f_inode.i_gid')).toBe('inode has no member i_gid');
    expect(btf.missingOnPath(from, 'f_inode.i_uid.val')).toMatch(/val: .* has none/);
    expect(btf.missingOnPath({ type: 'task_struct' }, 'comm')).toBeUndefined();
    expect(btf.missingOnPath({ type: 'nobody' }, 'comm')).toBe('there is no type nobody');
  });

  it('let policies be checked on a machine that runs another kernel', () => {
    const facts = factsOfBtf(Btf.read(kernel), 'that.btf');
    const policyOf = (spec: string) => {
      const [policy] = parsePolicies(
        `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: ${spec}`,
      );
      return policy as NonNullable<typeof policy>;
    };
    const good = check(
      policyOf(
        '{kprobes: [{call: security_file_open, syscall: false, args: [{index: 0, type: file}, {index: 0, type: int, resolve: f_inode.i_uid}]}, {call: sys_openat}], lsmhooks: [{hook: file_open, args: [{index: 0, type: file}]}], tracepoints: [{subsystem: sched, event: sched_process_exec}, {subsystem: syscalls, event: sys_enter_openat}]}',
      ),
      facts,
    );
    expect(good.errors).toEqual([]);
    expect(good.text).toMatch(/estimated cost of a call:\n {4}security_file_open: \d+ ns/);
    const bad = check(
      policyOf(
        '{kprobes: [{call: security_file_open, syscall: false, args: [{index: 1, type: int}, {index: 0, type: int, resolve: f_inode.no}]}, {call: vfs_open, syscall: false}], tracepoints: [{subsystem: sched, event: sched_switch}, {subsystem: ftrace, event: function}], uprobes: [{path: /bin/sh, symbols: [main], args: [{index: 0, type: int, btfType: file, resolve: f_inode.i_uid}], data: [{type: int, source: pt_regs, resolve: eax}, {type: string, source: current_task, resolve: com}]}]}',
      ),
      facts,
    );
    expect(bad.errors.map(({ path }) => path).sort()).toEqual([
      'spec.kprobes[0].args[0].index',
      'spec.kprobes[0].args[1].resolve',
      'spec.kprobes[1].call',
      'spec.tracepoints[0].event',
      'spec.uprobes[0].data[1].resolve',
    ]);
    expect(bad.text).toContain('that.btf');
    expect(bad.text).not.toContain('estimated cost');
  });

  it('tell what a field cannot be read as', () => {
    const types = makeBtf((text) => [
      { name: 'int', kind: 1, of: 4, rest: [32] }, // 1
      { name: 'char', kind: 1, of: 1, rest: [8] }, // 2
      { kind: 3, of: 0, rest: [2, 1, 16] }, // 3 char [16]
      { name: 'pid_t', kind: 8, of: 1 }, // 4
      { name: 'kuid_t', kind: 4, of: 4, count: 1, rest: [text('val'), 1, 0] }, // 5
      { kind: 2, of: 2 }, // 6 char *
      { kind: 3, of: 0, rest: [1, 1, 4] }, // 7 int [4]
      { kind: 2, of: 5 }, // 8 kuid_t *
      {
        name: 'task',
        kind: 0x84,
        of: 64,
        count: 7,
        rest: ['comm', 'pid', 'uid', 'name', 'ids', 'owner', 'flag'].flatMap((name, n) => [
          text(name),
          [3, 4, 5, 6, 7, 8, 1][n] ?? 0,
          (name === 'flag' ? 3 << 24 : 0) | (64 * n),
        ]),
      }, // 9
    ]);
    const btf = Btf.read(types);
    const says = (path: string, wants: number | 'text') => btf.misfitOnPath({ type: 'task' }, path, wants);
    for (const path of ['comm', 'name']) expect(says(path, 'text')).toBeUndefined();
    for (const path of ['pid', 'uid', 'owner', 'ids']) expect(says(path, 'text')).toBe('is no text');
    for (const path of ['pid', 'uid.val', 'owner.val', 'ids[2]', 'flag'])
      expect(says(path, 32), path).toBeUndefined();
    for (const path of ['comm', 'uid', 'ids']) expect(says(path, 64)).toBe('is no number');
    expect(says('pid', 16)).toBe('has 32 bits, and the type takes 16');
    expect(says('name', 32)).toBe('has 64 bits, and the type takes 32');
    expect([says('flag', 3), says('flag', 2)]).toEqual([undefined, 'has 3 bits, and the type takes 2']);
    expect(says('nothing', 'text')).toBeUndefined();
  });

  it('are refused, and nothing worse, where the file is bent', () => {
    expect(() => Btf.read(new Uint8Array())).toThrow(/is no BTF/);
    expect(() => Btf.read(kernel.slice(0, 100))).toThrow(BtfError);
    const random = new Random(20_261);
    let refused = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = kernel.slice(0, random.chance(10) ? random.below(kernel.length) : kernel.length);
      for (let n = 1 + random.below(4); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      try {
        const btf = Btf.read(bytes);
        for (const name of btf.functions())
          for (const wants of [32, 'text'] as const)
            btf.misfitOnPath({ functionName: name, parameter: 0 }, 'f_inode.i_uid', wants);
      } catch (error) {
        expect(error, `round ${round}`).toBeInstanceOf(BtfError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
  });

  it('bound the look for a member in structs that hold each other', () => {
    const members = Array.from({ length: 400 }, () => [0, 1, 0]).flat();
    const bytes = makeBtf(() => [{ name: 'loop', kind: 4, of: 8, count: 400, rest: members }]);
    expect(() => Btf.read(bytes).missingOnPath({ type: 'loop' }, 'nothing')).toThrow(/members/);
  });
});
