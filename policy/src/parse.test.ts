// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { formatIssue, PolicyError, type PolicyIssue } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { sourceLimits } from './source.js';
import { unsupported } from './support.js';
import { namespacedSurface, wholeSurface } from './testing/whole-surface.js';
import { validate } from './validate.js';

const head = 'apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec:\n';

/** All that is found wrong with a text, whichever step finds it. */
function errorsOf(text: string | Uint8Array): readonly PolicyIssue[] {
  try {
    return parsePolicies(text).flatMap((policy) => [...validate(policy).errors, ...unsupported(policy)]);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return error.issues;
  }
}

/** A kprobe in flow style, with one selector of one term or action. */
function kprobe(fields: string, selector = ''): string {
  const selectors = selector === '' ? '' : `, selectors: [{${selector}}]`;
  return `${head}  kprobes:\n  - {${fields}${selectors}}\n`;
}
const open = 'call: security_file_open, syscall: false, args: [{index: 0, type: file}]';
const permission =
  'call: security_file_permission, syscall: false, args: [{index: 0, type: file}, {index: 1, type: int}]';
const term = 'spec.kprobes[0].selectors[0].matchArgs[0]';
const act = 'spec.kprobes[0].selectors[0].matchActions[0]';

describe('parsePolicies', () => {
  it('takes every field of the language', () => {
    const [policy] = parsePolicies(wholeSurface);
    expect(policy?.name).toBe('whole-surface');
    expect(policy?.description).toBe('every field');
    expect(policy && validate(policy).errors.map(formatIssue)).toEqual([]);
  });

  it('takes several documents, aliases and merges', () => {
    const policies = parsePolicies(`${namespacedSurface}---\n---\n${wholeSurface}`);
    expect(policies.map(({ name, namespace }) => [name, namespace])).toEqual([
      ['namespaced', 'payments'],
      ['whole-surface', ''],
    ]);
    expect(
      policies[0]?.spec.kprobes?.map(({ call, syscall, args }) => [call, syscall, args?.[0]?.type]),
    ).toEqual([
      ['sys_openat', true, 'string'],
      ['sys_openat2', true, 'string'],
    ]);
  });

  it('takes JSON', () => {
    const [policy] = parsePolicies(
      JSON.stringify({
        apiVersion: 'cilium.io/v1alpha1',
        kind: 'TracingPolicy',
        metadata: { name: 'json' },
        spec: { kprobes: [{ call: 'sys_dup', args: [{ index: 0, type: 'int' }] }] },
      }),
    );
    expect(policy?.spec.kprobes?.[0]?.call).toBe('sys_dup');
  });

  it('keeps values as they are written, whatever YAML would make of them', () => {
    const [policy] = parsePolicies(
      kprobe(
        permission,
        'matchArgs: [{index: 1, operator: Equal, values: [007, 0x1F, 18446744073709551615, 1.10, true, yes, "a"]}]',
      ),
    );
    expect(policy?.spec.kprobes?.[0]?.selectors?.[0]?.matchArgs?.[0]?.values).toEqual([
      '007',
      '0x1F',
      '18446744073709551615',
      '1.10',
      'true',
      'yes',
      'a',
    ]);
  });

  it('collects several errors, each with its place', () => {
    const text = `${head}  kprobes:
  - call: security_file_open
    syscal: false
    args:
    - index: 0
      type: fil
    selectors:
    - matchArgs:
      - index: 0
        operator: Prefixx
        values: [/etc/]
`;
    expect(errorsOf(text).map(({ code, path, line, column }) => [code, path, line, column])).toEqual([
      ['wrong-value', 'spec.kprobes[0].args[0].type', 10, 7],
      ['wrong-operator', 'spec.kprobes[0].selectors[0].matchArgs[0].operator', 14, 9],
      ['unknown-field', 'spec.kprobes[0].syscal', 7, 5],
    ]);
    expect(errorsOf(text).map(({ message }) => message)).toEqual([
      expect.stringContaining('did you mean file?'),
      expect.stringContaining('did you mean Prefix?'),
      expect.stringContaining('did you mean syscall?'),
    ]);
  });

  it.each<[string, string, string, string, RegExp]>([
    [
      'an unknown field of a selector',
      kprobe(open, 'matchArg: []'),
      'unknown-field',
      'spec.kprobes[0].selectors[0].matchArg',
      /did you mean matchArgs\?/,
    ],
    [
      'an unknown field of a macro',
      `${head}  selectorsMacros: {m: {matchBinary: []}}\n`,
      'unknown-field',
      'spec.selectorsMacros.m.matchBinary',
      /did you mean matchBinaries\?/,
    ],
    [
      '__proto__ as a field',
      `${head}  __proto__: {a: 1}\n`,
      'unknown-field',
      'spec.__proto__',
      /there is no field/,
    ],
    [
      'constructor as a type',
      kprobe('call: security_file_open, syscall: false, args: [{index: 0, type: constructor}]'),
      'wrong-value',
      'spec.kprobes[0].args[0].type',
      /no argument type/,
    ],
    ['a missing call', kprobe('syscall: false'), 'missing-field', 'spec.kprobes[0].call', /wants text/],
    [
      'text where a list is wanted',
      `${head}  kprobes: security_file_open\n`,
      'wrong-type',
      'spec.kprobes',
      /wants a list, has the text/,
    ],
    [
      'text where a truth value is wanted',
      kprobe('call: sys_dup, syscall: "yes"'),
      'wrong-type',
      'spec.kprobes[0].syscall',
      /wants true or false/,
    ],
    [
      'another apiVersion',
      head.replace('v1alpha1', 'v2').replace('spec:', 'spec: {}'),
      'wrong-value',
      'apiVersion',
      /wants cilium.io\/v1alpha1/,
    ],
    [
      'another kind',
      head.replace('TracingPolicy', 'TracingPolice').replace('spec:', 'spec: {}'),
      'wrong-value',
      'kind',
      /did you mean TracingPolicy\?/,
    ],
    [
      'a name that is none',
      head.replace('name: p', 'name: "A b"').replace('spec:', 'spec: {}'),
      'wrong-value',
      'metadata.name',
      /Kubernetes name/,
    ],
    [
      'no spec',
      'apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\n',
      'missing-field',
      'spec',
      /wants a map/,
    ],
    [
      'a field written twice',
      `${head}  kprobes: []\n  kprobes: []\n`,
      'duplicate-field',
      'spec.kprobes',
      /written twice/,
    ],
    [
      'a long message',
      kprobe(`call: sys_dup, message: "${'x'.repeat(257)}"`),
      'limit',
      'spec.kprobes[0].message',
      /at most 256 characters, has 257/,
    ],
    [
      '17 tags',
      kprobe(`call: sys_dup, tags: [${'a,'.repeat(17)}]`),
      'limit',
      'spec.kprobes[0].tags',
      /at most 16 items, has 17/,
    ],
    [
      '7 arguments',
      kprobe(`call: sys_dup, args: [${'{index: 0, type: int},'.repeat(7)}]`),
      'limit',
      'spec.kprobes[0].args',
      /at most 6 items/,
    ],
    [
      'a negative index',
      kprobe('call: sys_dup, args: [{index: -1, type: int}]'),
      'wrong-value',
      'spec.kprobes[0].args[0].index',
      /at least 0/,
    ],
    [
      'an unknown option',
      `${head}  options: [{name: policy-mod, value: monitor}]\n`,
      'wrong-value',
      'spec.options[0].name',
      /did you mean policy-mode\?/,
    ],
    [
      'an unknown value of an option',
      `${head}  options: [{name: policy-mode, value: watch}]\n`,
      'wrong-value',
      'spec.options[0].value',
      /allowed: enforce, monitor/,
    ],
    ['no document', '# nothing\n', 'no-policy', '', /holds no policy/],
    ['broken YAML', `${head}  kprobes: [\n`, 'yaml-syntax', '', /not valid YAML/],
    [
      'a null value',
      kprobe(open, 'matchArgs: [{index: 0, operator: Equal, values: [~]}]'),
      'wrong-type',
      `${term}.values[0]`,
      /wants text, has nothing/,
    ],
    [
      'an unknown alias',
      `${head}  kprobes: *nowhere\n`,
      'yaml-syntax',
      'spec.kprobes',
      /names no anchor before it/,
    ],
    [
      'an alias within itself',
      `${head}  kprobes: &a [*a]\n`,
      'yaml-syntax',
      'spec.kprobes[0]',
      /contains itself/,
    ],
  ])('refuses %s', (_, text, code, path, message) => {
    const found = errorsOf(text);
    expect(found.map((issue) => [issue.code, issue.path])).toContainEqual([code, path]);
    expect(found.find((issue) => issue.path === path)?.message).toMatch(message);
  });

  it('refuses text beyond its bounds, and does not hang or fall over', () => {
    const laughs = ['a: &a [x,x,x,x,x,x,x,x,x,x]'];
    for (let n = 1; n < 9; n++) {
      const [name, before] = [String.fromCharCode(97 + n), String.fromCharCode(96 + n)];
      laughs.push(`${name}: &${name} [${`*${before},`.repeat(9)}*${before}]`);
    }
    expect(errorsOf(laughs.join('\n'))[0]).toMatchObject({ code: 'yaml-limit' });
    expect(errorsOf('x'.repeat(sourceLimits.textBytes + 1))[0]).toMatchObject({ code: 'text-too-large' });
    expect(errorsOf(new Uint8Array([0x61, 0xff, 0xfe]))[0]).toMatchObject({ code: 'text-encoding' });
    // A stack near its end while V8 compiles a regular expression would end the process: 1000 did.
    for (const depth of [100, 1000, 200_000])
      expect(errorsOf('['.repeat(depth))[0]).toMatchObject({ code: 'yaml-limit' });
    expect(errorsOf(`a: ${'['.repeat(40)}${']'.repeat(40)}`)[0]).toMatchObject({ code: 'yaml-limit' });
    expect(errorsOf('- '.repeat(100_000))[0]).toMatchObject({ code: 'yaml-limit' });
    expect(errorsOf('a: b\n'.repeat(150_000))[0]).toMatchObject({ code: 'yaml-limit' });
    expect(errorsOf('---\na\n'.repeat(300))[0]).toMatchObject({ code: 'yaml-limit' });
  });

  it('puts no control characters of the text into a message', () => {
    const [issue] = errorsOf(`${head}  "\\e[31mred\\nline\\u2028\\u0085": 1\n`);
    const text = formatIssue(issue as PolicyIssue);
    expect(text).toContain('red');
    const controls = [...text].filter((c) => c < ' ' || (c >= '\u007f' && c <= '\u009f') || c === '\u2028');
    expect(controls).toEqual([]);
  });
});

describe('validate', () => {
  it.each<[string, string, string, string, RegExp]>([
    [
      'an operator that the type lacks',
      kprobe(permission, 'matchArgs: [{index: 1, operator: Prefix, values: [a]}]'),
      'wrong-operator',
      `${term}.operator`,
      /does not work on the type int, which has Equal/,
    ],
    [
      'an address on a file',
      kprobe(open, 'matchArgs: [{index: 0, operator: DAddr, values: [10.0.0.1]}]'),
      'wrong-operator',
      `${term}.operator`,
      /does not work on the type file/,
    ],
    [
      'an operator on nop',
      kprobe(
        'call: security_file_open, syscall: false, args: [{index: 0, type: nop}]',
        'matchArgs: [{index: 0, operator: Equal, values: [a]}]',
      ),
      'wrong-operator',
      `${term}.operator`,
      /nothing of it can be matched/,
    ],
    [
      'an index that is not there',
      kprobe(open, 'matchArgs: [{index: 3, operator: Equal, values: [/a]}]'),
      'wrong-index',
      `${term}.index`,
      /there is no argument 3: the hook's args have the indexes 0/,
    ],
    [
      'a position that is not there',
      kprobe(open, 'matchArgs: [{args: [1], operator: Equal, values: [/a]}]'),
      'wrong-index',
      `${term}.args`,
      /there is no position 1/,
    ],
    [
      'index and args together',
      kprobe(open, 'matchArgs: [{index: 0, args: [0], operator: Equal, values: [/a]}]'),
      'wrong-index',
      `${term}.args`,
      /write one of them/,
    ],
    [
      'no index among several',
      kprobe(permission, 'matchArgs: [{operator: Equal, values: [/a]}]'),
      'wrong-index',
      `${term}.index`,
      /is missing/,
    ],
    [
      'no values',
      kprobe(open, 'matchArgs: [{index: 0, operator: Equal}]'),
      'missing-field',
      `${term}.values`,
      /at least one value/,
    ],
    [
      'an empty value',
      kprobe(open, 'matchArgs: [{index: 0, operator: Prefix, values: [""]}]'),
      'wrong-value',
      `${term}.values[0]`,
      /is empty/,
    ],
    [
      'a relative path',
      kprobe(open, 'matchArgs: [{index: 0, operator: Equal, values: [etc/shadow]}]'),
      'wrong-value',
      `${term}.values[0]`,
      /no absolute path/,
    ],
    [
      'a number too large',
      kprobe(permission, 'matchArgs: [{index: 1, operator: Equal, values: [2147483648]}]'),
      'wrong-value',
      `${term}.values[0]`,
      /takes -2147483648 to 2147483647/,
    ],
    [
      'a negative of an unsigned type',
      kprobe(
        'call: sys_dup, args: [{index: 0, type: uint32}]',
        'matchArgs: [{index: 0, operator: Equal, values: [-1]}]',
      ),
      'wrong-value',
      `${term}.values[0]`,
      /takes 0 to 4294967295/,
    ],
    [
      'no command of bpf(2)',
      kprobe(
        'call: sys_bpf, args: [{index: 0, type: bpf_cmd}]',
        'matchArgs: [{index: 0, operator: Equal, values: [BPF_PROG_LOD]}]',
      ),
      'wrong-value',
      `${term}.values[0]`,
      /no whole number.* did you mean BPF_PROG_LOAD\?/,
    ],
    [
      'no number',
      kprobe(permission, 'matchArgs: [{index: 1, operator: Equal, values: [0x]}]'),
      'wrong-value',
      `${term}.values[0]`,
      /no whole number/,
    ],
    [
      'a relative binary',
      kprobe(open, 'matchBinaries: [{operator: In, values: [xmrig]}]'),
      'wrong-value',
      'spec.kprobes[0].selectors[0].matchBinaries[0].values[0]',
      /no absolute path/,
    ],
    [
      'an operator that binaries lack',
      kprobe(open, 'matchBinaries: [{operator: Equal, values: [/a]}]'),
      'wrong-operator',
      'spec.kprobes[0].selectors[0].matchBinaries[0].operator',
      /no operator: allowed: In, NotIn/,
    ],
    [
      'an unknown namespace',
      kprobe(open, 'matchNamespaces: [{namespace: Pids, operator: In, values: [host_ns]}]'),
      'wrong-value',
      'spec.kprobes[0].selectors[0].matchNamespaces[0].namespace',
      /did you mean Pid\?/,
    ],
    [
      'a namespace that is no number',
      kprobe(open, 'matchNamespaces: [{namespace: Pid, operator: In, values: [host]}]'),
      'wrong-value',
      'spec.kprobes[0].selectors[0].matchNamespaces[0].values[0]',
      /host_ns/,
    ],
    [
      'Override on what cannot fail',
      kprobe('call: security_task_free, syscall: false', 'matchActions: [{action: Override, argError: -1}]'),
      'not-deniable',
      `${act}.action`,
      /cannot be made to fail/,
    ],
    [
      'Override on any function',
      kprobe('call: commit_creds, syscall: false', 'matchActions: [{action: Override, argError: -1}]'),
      'not-deniable',
      `${act}.action`,
      /cannot be made to fail/,
    ],
    [
      'Override on a call without a security hook',
      kprobe('call: sys_dup', 'matchActions: [{action: Override, argError: -1}]'),
      'not-deniable',
      `${act}.action`,
      /no security function stands on its path/,
    ],
    [
      'Override without an errno',
      kprobe(open, 'matchActions: [{action: Override}]'),
      'missing-field',
      `${act}.argError`,
      /such as -1/,
    ],
    [
      'Override with 0',
      kprobe(open, 'matchActions: [{action: Override, argError: 0}]'),
      'wrong-value',
      `${act}.argError`,
      /denies nothing/,
    ],
    [
      'an errno beyond 4095',
      kprobe(open, 'matchActions: [{action: Override, argError: 4096}]'),
      'wrong-value',
      `${act}.argError`,
      /-1 to -4095/,
    ],
    [
      'a signal beyond 64',
      kprobe(open, 'matchActions: [{action: Signal, argSig: 65}]'),
      'wrong-value',
      `${act}.argSig`,
      /1 to 64/,
    ],
    [
      'Signal without one',
      kprobe(open, 'matchActions: [{action: Signal}]'),
      'missing-field',
      `${act}.argSig`,
      /is missing/,
    ],
    [
      'a field of another action',
      kprobe(open, 'matchActions: [{action: Sigkill, argSig: 9}]'),
      'conflict',
      `${act}.argSig`,
      /belongs to Signal/,
    ],
    [
      'Post and NoPost',
      kprobe(open, 'matchActions: [{action: Post}, {action: NoPost}]'),
      'conflict',
      'spec.kprobes[0].selectors[0].matchActions[1].action',
      /keep one/,
    ],
    [
      'an unknown system call',
      kprobe('call: sys_opnat'),
      'wrong-call',
      'spec.kprobes[0].call',
      /did you mean openat\?/,
    ],
    [
      'a system call without sys_',
      kprobe('call: setns'),
      'wrong-call',
      'spec.kprobes[0].call',
      /written sys_setns/,
    ],
    [
      'a function as a system call',
      kprobe('call: security_file_open, syscall: true'),
      'wrong-call',
      'spec.kprobes[0].call',
      /write syscall: false/,
    ],
    [
      'a system call as a function',
      kprobe('call: __x64_sys_setns, syscall: false'),
      'wrong-call',
      'spec.kprobes[0].call',
      /write syscall: true/,
    ],
    [
      'an entry of arm64',
      kprobe('call: __arm64_sys_dup'),
      'wrong-call',
      'spec.kprobes[0].call',
      /another ABI/,
    ],
    [
      'a 32-bit entry that there is not',
      kprobe('call: __ia32_sys_setnss'),
      'wrong-call',
      'spec.kprobes[0].call',
      /names no 32-bit system call/,
    ],
    [
      'a kernel object of a system call',
      kprobe('call: sys_openat, args: [{index: 1, type: file}]'),
      'wrong-type',
      'spec.kprobes[0].args[0].type',
      /write string/,
    ],
    ['an unknown list', kprobe('call: "list:dups"'), 'wrong-call', 'spec.kprobes[0].call', /no list "dups"/],
    [
      'an unknown macro',
      kprobe(open, 'macros: [m]'),
      'wrong-value',
      'spec.kprobes[0].selectors[0].macros[0]',
      /no macro "m"/,
    ],
    [
      'an argument beyond the sixth',
      kprobe('call: security_file_open, syscall: false, args: [{index: 6, type: int}]'),
      'wrong-index',
      'spec.kprobes[0].args[0].index',
      /0 to 5/,
    ],
    [
      'a CIDR that is none',
      kprobe(
        'call: tcp_connect, syscall: false, args: [{index: 0, type: sock}]',
        'matchArgs: [{index: 0, operator: DAddr, values: [10.0.0.0/33]}]',
      ),
      'wrong-value',
      `${term}.values[0]`,
      /no address or CIDR/,
    ],
    [
      'a state of an address without its socket',
      kprobe(
        'call: security_socket_connect, syscall: false, args: [{index: 1, type: sockaddr}]',
        'matchArgs: [{index: 1, operator: State, values: [TCP_CLOSE]}]',
      ),
      'wrong-operator',
      `${term}.operator`,
      /an address without its socket/,
    ],
    [
      'a family that is none',
      kprobe(
        'call: tcp_connect, syscall: false, args: [{index: 0, type: sock}]',
        'matchArgs: [{index: 0, operator: Family, values: [AF_INET4]}]',
      ),
      'wrong-value',
      `${term}.values[0]`,
      /did you mean AF_INET/,
    ],
    [
      "a kernel's socket at a system call",
      kprobe('call: sys_connect, args: [{index: 0, type: socket}]'),
      'wrong-type',
      'spec.kprobes[0].args[0].type',
      /kernel object/,
    ],
    [
      "a kernel's list of buffers at a system call",
      kprobe('call: sys_close, args: [{index: 0, type: iov_iter}]'),
      'wrong-type',
      'spec.kprobes[0].args[0].type',
      /kernel object/,
    ],
    [
      "a kernel's credentials at a system call",
      kprobe('call: sys_setuid, args: [{index: 0, type: cred}]'),
      'wrong-type',
      'spec.kprobes[0].args[0].type',
      /kernel object/,
    ],
    [
      'a tracepoint by a name that leaves its folder',
      `${head}  tracepoints: [{subsystem: .., event: ../../kernel}]\n`,
      'wrong-call',
      'spec.tracepoints[0].event',
      /is no name of a tracepoint's event/,
    ],
    [
      'a field of a tracepoint that programs cannot see',
      `${head}  tracepoints: [{subsystem: sched, event: sched_switch, args: [{index: 3, type: int}]}]\n`,
      'wrong-index',
      'spec.tracepoints[0].args[0].index',
      /the field common_pid: programs cannot see it/,
    ],
    [
      'a type that no record holds',
      `${head}  tracepoints: [{subsystem: sched, event: sched_switch, args: [{index: 4, type: cred}]}]\n`,
      'wrong-type',
      'spec.tracepoints[0].args[0].type',
      /write raw: true/,
    ],
    [
      'a tracepoint that is to make its call fail',
      `${head}  tracepoints: [{subsystem: syscalls, event: sys_enter_dup, selectors: [{matchActions: [{action: Override, argError: -1}]}]}]\n`,
      'not-deniable',
      'spec.tracepoints[0].selectors[0].matchActions[0].action',
      /cannot be made to fail/,
    ],
    [
      'a call that there is not',
      `${head}  tracepoints: [{subsystem: raw_syscalls, event: sys_enter, args: [{index: 4, type: syscall64}], selectors: [{matchArgs: [{index: 4, operator: Equal, values: [sys_dupp]}]}]}]\n`,
      'wrong-value',
      'spec.tracepoints[0].selectors[0].matchArgs[0].values[0]',
      /no number or name of a system call/,
    ],
    [
      'a host selector of a namespaced policy',
      `${head.replace('TracingPolicy', 'TracingPolicyNamespaced')}  hostSelector: {}\n`,
      'conflict',
      'spec.hostSelector',
      /never for the host/,
    ],
  ])('refuses %s', (_, text, code, path, message) => {
    const found = errorsOf(text);
    expect(found.map((issue) => [issue.code, issue.path])).toContainEqual([code, path]);
    expect(found.find((issue) => issue.path === path)?.message).toMatch(message);
  });

  it.each<[string, string, string, string]>([
    [
      'letters whose case counts where it was not to',
      kprobe(open, 'matchArgs: [{index: 0, operator: SubStringIgnCase, values: ["/größe"]}]'),
      'tolerated',
      `${term}.values[0]`,
    ],
    [
      'a positive errno',
      kprobe(open, 'matchActions: [{action: Override, argError: 1}]'),
      'tolerated',
      `${act}.argError`,
    ],
    [
      'an errno that Sigkill has no use for',
      kprobe(open, 'matchActions: [{action: Sigkill, argError: -1}]'),
      'ignored-field',
      `${act}.argError`,
    ],
    [
      'an index that is a position',
      kprobe(
        'call: sys_prctl, args: [{index: 4, type: int}]',
        'matchArgs: [{index: 0, operator: Equal, values: [1]}]',
      ),
      'tolerated',
      `${term}.index`,
    ],
    [
      'a kill on a call that takes effect',
      kprobe('call: sys_dup', 'matchActions: [{action: Sigkill}]'),
      'takes-effect',
      `${act}.action`,
    ],
    [
      "text from the caller's memory",
      kprobe('call: sys_mount, args: [{index: 0, type: string}]'),
      'user-memory',
      'spec.kprobes[0].args[0].type',
    ],
    [
      'what a system call hook does not see',
      kprobe('call: sys_openat'),
      'blind-spot',
      'spec.kprobes[0].call',
    ],
    [
      'what the hook of a 32-bit entry does not see',
      kprobe('call: __ia32_compat_sys_openat'),
      'blind-spot',
      'spec.kprobes[0].call',
    ],
    [
      'a prefix that no path has',
      kprobe(open, 'matchArgs: [{index: 0, operator: Prefix, values: [.bashrc]}]'),
      'never-matches',
      `${term}.values[0]`,
    ],
    [
      'a path that is not normal',
      kprobe(open, 'matchArgs: [{index: 0, operator: Equal, values: [/etc/../etc/shadow]}]'),
      'never-matches',
      `${term}.values[0]`,
    ],
    [
      'a comparison that no number meets',
      kprobe(
        'call: sys_dup, args: [{index: 0, type: int}]',
        'matchArgs: [{index: 0, operator: GT, values: [2147483647]}]',
      ),
      'never-matches',
      `${term}.values[0]`,
    ],
    [
      'a mask without a bit',
      kprobe(
        'call: sys_dup, args: [{index: 0, type: int}]',
        'matchArgs: [{index: 0, operator: Mask, values: [0]}]',
      ),
      'never-matches',
      `${term}.values[0]`,
    ],
  ])('warns of %s, and plans it', (_, text, code, path) => {
    const policies = parsePolicies(text);
    const { errors, warnings } = validate(policies[0] as (typeof policies)[0]);
    expect(errors).toEqual([]);
    expect(warnings.map((issue) => [issue.code, issue.path])).toContainEqual([code, path]);
    expect(plan(policies.map((policy, id) => ({ id, policy }))).hooks.length).toBeGreaterThan(0);
  });

  it('refuses a small text that macros or lists blow up, before it is worked through', () => {
    const many = (count: number, item: string) => Array.from({ length: count }, () => item).join(', ');
    const macro = `${head}  selectorsMacros: {m: {matchArgs: [${many(64, '{index: 0, operator: Equal, values: [/a]}')}]}}
  kprobes: [${many(200, `{${open}, selectors: [${many(10, '{macros: [m]}')}]}`)}]\n`;
    const list = `${head}  lists: [{name: l, type: syscalls, values: [${many(2000, 'sys_dup')}]}]
  kprobes: [${many(200, '{call: "list:l"}')}]\n`;
    for (const text of [macro, list]) {
      const [policy] = parsePolicies(text);
      expect(policy && validate(policy).errors.map(({ code, path }) => [code, path])).toEqual([
        ['limit', expect.stringMatching(/^spec\.kprobes\[\d+\]$/)],
      ]);
      expect(policy && (() => plan([{ id: 1, policy }]))).toThrowError(
        /more than 200000 conditions and values/,
      );
    }
  });

  it.each([
    ['{index: 2, operator: Mask, values: [CAP_SYS_ADMIN, "0x1"]}', undefined],
    ['{index: 2, operator: InRange, values: ["0:18446744073709551615"]}', undefined],
    ['{index: 2, operator: Equal, values: [CAP_NONE]}', 'values[0]'],
    ['{index: 1, operator: CapabilitiesGained, values: ["2"]}', undefined],
    ['{index: 2, operator: CapabilitiesGained, values: ["1"]}', undefined],
    ['{index: 1, operator: CapabilitiesGained, values: ["1"]}', 'values'],
    ['{index: 1, operator: CapabilitiesGained, values: ["3"]}', 'values'],
    ['{index: 1, operator: CapabilitiesGained, values: ["9"]}', 'values'],
    ['{index: 1, operator: CapabilitiesGained, values: [CAP_BPF]}', 'values'],
    ['{index: 1, operator: CapabilitiesGained, values: ["2", "1"]}', 'values'],
    ['{index: 1, operator: CapabilitiesGained}', 'values'],
    ['{index: 1, operator: Equal, values: ["1"]}', 'operator'],
    ['{index: 4, operator: State, values: [TCP_CLOSE]}', 'operator'],
    ['{index: 4, operator: InMap, values: ["1"]}', 'operator'],
    ['{index: 4, operator: DPort, values: ["1"]}', undefined],
    ['{index: 5, operator: Family, values: [AF_UNIX]}', undefined],
    ['{index: 5, operator: Family, values: [AF_NONE]}', 'values[0]'],
    ['{index: 5, operator: Prefix, values: ["@a"]}', undefined],
    ['{index: 0, operator: FileType, values: [REG, fifo]}', undefined],
    ['{index: 0, operator: FileType, values: [text]}', 'values[0]'],
  ])('takes of kernel objects what they have: %s', (written, refused) => {
    const args =
      '[{index: 0, type: dentry}, {index: 1, type: cred}, {index: 2, type: cap_effective}, {index: 3, type: int}, {index: 4, type: skb}, {index: 5, type: sockaddr_un}]';
    const [policy] = parsePolicies(
      kprobe(`call: f, syscall: false, args: ${args}`, `matchArgs: [${written}]`),
    );
    if (policy === undefined) throw new Error('no policy');
    const issues = [...validate(policy).errors, ...unsupported(policy)];
    expect(issues.map(({ path }) => path)).toEqual(refused === undefined ? [] : [`${term}.${refused}`]);
  });

  it('refuses names that are longer than what is read of them, and objects of the kernel on a system call', () => {
    const name = (length: number) =>
      parsePolicies(
        kprobe(
          'call: f, syscall: false, args: [{index: 0, type: module}]',
          `matchArgs: [{index: 0, operator: Equal, values: [${'m'.repeat(length)}]}]`,
        ),
      )[0] as Parameters<typeof unsupported>[0];
    expect(unsupported(name(62))).toEqual([]);
    expect(unsupported(name(63)).map(({ path }) => path)).toEqual([`${term}.values[0]`]);
    const [call] = parsePolicies(kprobe('call: sys_openat, args: [{index: 1, type: filename}]', ''));
    expect(call && validate(call).errors.map(({ path }) => path)).toEqual(['spec.kprobes[0].args[0].type']);
  });

  it('refuses what this version cannot do by the field, and nothing else of the whole language', () => {
    const [policy] = parsePolicies(wholeSurface);
    if (policy === undefined) throw new Error('no policy');
    const fields = unsupported(policy).map(({ path }) => path);
    const hook = 'spec.kprobes[0]';
    const selector = `${hook}.selectors[0]`;
    expect(fields).toEqual(
      expect.arrayContaining([
        'spec.uprobes[0].btfPath',
        'spec.uprobes[0].selectors[0].matchActions[0].action',
      ]),
    );
    expect(fields).not.toContain(`${selector}.matchNamespaces[0]`);
    expect(fields).not.toContain(`${hook}.data`);
    expect(fields).not.toContain(`${hook}.args[0].resolve`);
    expect(fields).not.toContain(`${selector}.matchData[0]`);
    for (const place of [0, 2, 3, 4, 5, 6, 7, 8]) {
      expect(fields).not.toContain(`${selector}.matchArgs[${place}].operator`);
    }
    expect(() => plan([{ id: 1, policy }])).toThrowError(/not supported yet by this version/);
  });
});

describe('check', () => {
  it('says of a selector at exec whom matchBinaries means', () => {
    const text = (selector: string, option = '') =>
      check(
        parsePolicies(
          `${head}${option}  kprobes:\n  - {call: security_bprm_check, syscall: false, args: [{index: 0, type: linux_binprm}], selectors: [{${selector}}]}\n`,
        )[0] as ReturnType<typeof parsePolicies>[0],
      ).text;
    const binaries = 'matchBinaries: [{operator: In, values: [/tmp/xmrig]}]';
    expect(text(binaries)).toContain('the program that is executed In /tmp/xmrig');
    expect(text(`${binaries}, matchArgs: [{index: 0, operator: Prefix, values: [/tmp/]}]`)).toContain(
      "the caller's binary In /tmp/xmrig",
    );
    expect(text(binaries, '  options: [{name: match-binaries, value: current}]\n')).toContain(
      "the caller's binary",
    );
  });

  it('names a function that the kernel lacks, and lets it go where the policy does without', () => {
    const facts = { release: '6.1.0', hasFunction: (symbol: string) => symbol !== 'security_sb_mount' };
    const mount = 'call: security_sb_mount, syscall: false';
    const [lacking, spared] = [kprobe(mount), kprobe(`${mount}, ignore: {callNotFound: true}`)].map((text) =>
      check(parsePolicies(text)[0] as ReturnType<typeof parsePolicies>[0], facts),
    );
    expect(lacking?.ok).toBe(false);
    expect(lacking?.text).toMatch(
      /spec\.kprobes\[0\]\.call: this kernel \(6\.1\.0\) has no function security_sb_mount/,
    );
    expect(spared?.ok).toBe(true);
  });
});

describe('the library', () => {
  const folder = new URL('../library/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

  it('has the four policies that people know, and more', () => {
    expect(files).toEqual(
      expect.arrayContaining([
        'block-cryptominers.yaml',
        'detect-container-escape.yaml',
        'detect-privilege-escalation.yaml',
        'monitor-sensitive-files.yaml',
      ]),
    );
  });

  it.each(files)('%s is named as its file, described, told of in the README, and can be planned', (file) => {
    const [policy, ...others] = parsePolicies(readFileSync(new URL(file, folder)));
    expect(others).toEqual([]);
    expect(`${policy?.name}.yaml`).toBe(file);
    expect(policy?.description.length).toBeGreaterThan(20);
    expect(readFileSync(new URL('README.md', folder), 'utf8')).toContain(`\`${policy?.name}\``);
    expect(plan(policy === undefined ? [] : [{ id: 1, policy }]).hooks.length).toBeGreaterThan(0);
  });

  it('can be loaded as a whole', () => {
    const policies = files.flatMap((file) => parsePolicies(readFileSync(new URL(file, folder))));
    expect(plan(policies.map((policy, id) => ({ id, policy }))).hooks.length).toBeGreaterThan(3);
  });
});
