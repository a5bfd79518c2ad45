// SPDX-License-Identifier: Apache-2.0
// Compares events with the shape that consumers know, and feeds both encoders with bytes that mean harm.
import { PassThrough } from 'node:stream';
import {
  ArgumentType,
  CREDENTIAL_ARGUMENT_BYTES,
  EventKind,
  ExecFlag,
  MODULE_ARGUMENT_BYTES,
  makeCredentialArgument,
  PERF_EVENT_ARGUMENT_BYTES,
  ThrottleScope,
  writeCredentialArgument,
  writeModuleArgument,
  writePerfEventArgument,
} from '@weir/schema';
import { BatchDecoder, BatchReader, BatchWriter, bpfPayload, socketPayload } from '@weir/segment';
import { describe, expect, it } from 'vitest';
import { Subscriber } from '../socket/subscriber.js';
import type { EventsQuery } from '../socket/types.js';
import { compactEvent } from './compact.js';
import { argumentsText, JsonEncoder, type StackNaming } from './json.js';
import { addressText, permissionText, timeText } from './names.js';

const bootToUnixNs = 1_700_000_000_000_000_000n;

function batch(describe: (writer: BatchWriter) => void): BatchDecoder {
  const writer = new BatchWriter({ node: 'my-node', bootToUnixNs });
  describe(writer);
  return new BatchDecoder(new BatchReader(writer.finish()));
}

function json(decoder: BatchDecoder, index = 0) {
  return JSON.parse(new JsonEncoder({ ancestors: 2 }).event(decoder, index));
}

const container = 'ab'.repeat(32);

function netserver(writer: BatchWriter): { parent: number; process: number } {
  const parent = writer.process({
    pid: 68598,
    startNs: 100n,
    execNs: 13660480651595n,
    uid: 0,
    auid: 4294967295,
    execFlags: ExecFlag.execve | ExecFlag.clone,
    binary: '/usr/bin/containerd-shim-runc-v2',
    arguments: ['-namespace', 'k8s.io'],
    cwd: '/run/containerd',
    referenceCount: 3,
    parentPid: 1,
    parentStartNs: 1n,
    parentExecNs: 1n,
  });
  const process = writer.process({
    pid: 68790,
    startNs: 200n,
    execNs: 13665822624856n,
    parentIndex: parent,
    parentPid: 68598,
    parentStartNs: 100n,
    parentExecNs: 13660480651595n,
    auid: 4294967295,
    execFlags: ExecFlag.execve | ExecFlag.rootcwd | ExecFlag.clone,
    binary: '/usr/bin/netserver',
    arguments: ['-D'],
    cwd: '/',
    containerId: container,
    referenceCount: 1,
  });
  return { parent, process };
}

describe('JSON', () => {
  it('has the shape of an exec event', () => {
    const decoder = batch((writer) => {
      const who = netserver(writer);
      writer.event({ kind: EventKind.exec, pid: 68790, tid: 68790, timeNs: 13665822624856n, ...who });
    });
    expect(json(decoder)).toEqual({
      process_exec: {
        process: {
          exec_id: Buffer.from('my-node:13665822624856:68790').toString('base64'),
          pid: 68790,
          uid: 0,
          cwd: '/',
          binary: '/usr/bin/netserver',
          arguments: '-D',
          flags: 'execve rootcwd clone',
          start_time: '2023-11-15T02:01:05.822624856Z',
          auid: 4294967295,
          docker: container.slice(0, 31),
          parent_exec_id: Buffer.from('my-node:13660480651595:68598').toString('base64'),
          refcnt: 1,
          tid: 68790,
        },
        parent: expect.objectContaining({
          exec_id: Buffer.from('my-node:13660480651595:68598').toString('base64'),
          arguments: '-namespace k8s.io',
        }),
      },
      node_name: 'my-node',
      time: '2023-11-15T02:01:05.822624856Z',
    });
  });

  it('has the shape of a hook event, each type of argument in its member', () => {
    const credentials = new Uint8Array(CREDENTIAL_ARGUMENT_BYTES);
    writeCredentialArgument(
      new DataView(credentials.buffer),
      0,
      makeCredentialArgument({
        uid: 1000,
        capEffective: 1n << 21n,
        userNamespace: 4026531837,
        userNamespaceLevel: 1,
      }),
    );
    const decoder = batch((writer) => {
      const who = netserver(writer);
      const binding = writer.binding({
        bindingId: 1,
        eventKind: EventKind.kprobe,
        policyName: 'files',
        functionName: 'security_file_open',
        message: 'opened',
        tags: ['a', 'b'],
        argumentLabels: ['file'],
      });
      writer.event({
        kind: EventKind.kprobe,
        pid: 68790,
        tid: 68791,
        timeNs: 1n,
        action: 3,
        ...who,
        binding,
        arguments: [
          { type: ArgumentType.file, payload: '/etc/shadow', value: 0o100640n },
          { type: ArgumentType.int32, index: 1, value: BigInt.asUintN(64, -5n) },
          { type: ArgumentType.uint64, index: 2, value: 2n ** 63n },
          {
            type: ArgumentType.sock,
            index: 3,
            payload: socketPayload({
              family: 2,
              type: 1,
              protocol: 6,
              sourceAddress: [10, 0, 0, 1],
              destinationAddress: [10, 0, 0, 2],
              sourcePort: 1234,
              destinationPort: 443,
            }),
          },
          { type: ArgumentType.charBuf, index: 4, payload: Uint8Array.of(1, 2, 255) },
          {
            type: ArgumentType.sockaddr,
            index: 5,
            payload: socketPayload({ family: 2, destinationAddress: [10, 0, 0, 2], destinationPort: 443 }),
          },
          { type: ArgumentType.cred, index: 6, payload: credentials },
        ],
        returnValue: { type: ArgumentType.int32, value: BigInt.asUintN(64, -13n) },
        returnAction: 10,
      });
    });
    expect(compactEvent(decoder, 0)).toContain('10.0.0.1:1234 -> 10.0.0.2:443');
    expect(compactEvent(decoder, 0)).toContain('10.0.0.2:443, uid=1000 euid=0) = -13 sigkill signal');
    expect(json(decoder).process_kprobe).toMatchObject({
      function_name: 'security_file_open',
      args: [
        { file_arg: { path: '/etc/shadow', permission: '-rw-r-----' }, label: 'file' },
        { int_arg: -5 },
        { size_arg: '9223372036854775808' },
        { sock_arg: { family: 'AF_INET', saddr: '10.0.0.1', daddr: '10.0.0.2', sport: 1234, dport: 443 } },
        { bytes_arg: 'AQL/' },
        { sockaddr_arg: { family: 'AF_INET', addr: '10.0.0.2', port: 443 } },
        {
          process_credentials_arg: {
            uid: 1000,
            euid: 0,
            caps: { effective: ['CAP_SYS_ADMIN'], permitted: [] },
            user_ns: { level: 1, ns: { inum: 4026531837 } },
          },
        },
      ],
      return: { int_arg: -13 },
      return_action: 'KPROBE_ACTION_SIGNAL',
      action: 'KPROBE_ACTION_SIGKILL',
      policy_name: 'files',
      message: 'opened',
      tags: ['a', 'b'],
    });
  });

  it('shows files that are mapped to run, with their build ids', () => {
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      const kind = EventKind.loader;
      const binding = writer.binding({
        eventKind: kind,
        policyName: 'p',
        functionName: 'perf_event_mmap_output',
      });
      const event = { kind, pid: 68790, timeNs: 1n, process, binding };
      const path = { type: ArgumentType.path, payload: '/usr/lib/libc.so.6' };
      for (const payload of [Uint8Array.of(1, 2, 255), new Uint8Array(0)])
        writer.event({ ...event, arguments: [path, { type: ArgumentType.constBuf, index: 1, payload }] });
    });
    const loaded = json(decoder, 0).process_loader;
    expect(loaded).toMatchObject({ path: '/usr/lib/libc.so.6', buildid: 'AQL/' });
    expect(Object.keys(loaded).sort()).toEqual(['buildid', 'path', 'process']);
    expect(json(decoder, 1).process_loader).not.toHaveProperty('buildid');
    expect(compactEvent(decoder, 0)).toMatch(/\/usr\/lib\/libc\.so\.6 build-id=0102ff policy=p$/);
    expect(compactEvent(decoder, 1)).toMatch(/\/usr\/lib\/libc\.so\.6 policy=p$/);
  });

  it('shows places in programs as they are known: by file, symbol, offset, marker', () => {
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      const place = (eventKind: number, names: object) =>
        writer.binding({ eventKind, policyName: 'p', ...names });
      const event = { pid: 68790, timeNs: 1n, process, functionOffset: 4096n };
      const uprobe = EventKind.uprobe;
      const bash = { subsystem: '/bin/bash' };
      writer.event({ ...event, kind: uprobe, binding: place(uprobe, { ...bash, functionName: 'readline' }) });
      writer.event({ ...event, kind: uprobe, binding: place(uprobe, { ...bash, provider: '8192' }) });
      writer.event({
        ...event,
        kind: EventKind.usdt,
        binding: place(EventKind.usdt, {
          subsystem: '/usr/bin/python3',
          provider: 'python',
          functionName: 'line',
        }),
      });
    });
    expect(json(decoder, 0).process_uprobe).toMatchObject({
      path: '/bin/bash',
      symbol: 'readline',
      offset: '4096',
    });
    expect(json(decoder, 0).process_uprobe).not.toHaveProperty('ref_ctr_offset');
    expect(json(decoder, 1).process_uprobe).toMatchObject({ offset: '4096', ref_ctr_offset: '8192' });
    expect(json(decoder, 1).process_uprobe).not.toHaveProperty('symbol');
    expect(json(decoder, 2).process_usdt).toMatchObject({
      path: '/usr/bin/python3',
      provider: 'python',
      name: 'line',
    });
    expect([0, 1, 2].map((index) => compactEvent(decoder, index).split('] ')[1])).toEqual([
      '/bin/bash:readline() policy=p',
      '/bin/bash:0x1000() policy=p',
      '/usr/bin/python3:python:line() policy=p',
    ]);
  });

  it('shows tracepoints with their subsystem, and system calls with the entry by which they came', () => {
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      const kind = EventKind.tracepoint;
      const names = { subsystem: 'raw_syscalls', functionName: 'sys_enter', message: 'm', tags: ['t'] };
      const binding = writer.binding({ eventKind: kind, policyName: 'p', ...names });
      const calls = [41n, (1n << 32n) | 41n].map((value) => ({
        type: ArgumentType.syscall64,
        index: 4,
        value,
      }));
      writer.event({ kind, pid: 68790, timeNs: 1n, process, action: 1, binding, arguments: calls });
    });
    expect(json(decoder, 0).process_tracepoint).toMatchObject({
      subsys: 'raw_syscalls',
      event: 'sys_enter',
      args: [{ syscall_id: { id: 41, abi: 'x64' } }, { syscall_id: { id: 41, abi: 'i386' } }],
      action: 'KPROBE_ACTION_POST',
      policy_name: 'p',
      message: 'm',
      tags: ['t'],
    });
    expect(compactEvent(decoder, 0).split('] ')[1]).toBe('raw_syscalls:sys_enter(41, 41/i386) policy=p');
  });

  it('shows kernel objects as consumers know them', () => {
    const name = (text: string, bytes: number) => [...Buffer.from(text.padEnd(bytes, '\0'))];
    const module = new Uint8Array(MODULE_ARGUMENT_BYTES);
    writeModuleArgument(new DataView(module.buffer), 0, {
      tainted: 4097n,
      signatureOk: 0,
      reserved: 0,
      name: name('rootkit', 64),
    });
    const perf = new Uint8Array(PERF_EVENT_ARGUMENT_BYTES);
    writePerfEventArgument(new DataView(perf.buffer), 0, {
      type: 8,
      reserved: 0,
      config: 0n,
      probeOffset: 4n,
      function: name('vfs_open', 64),
    });
    const bpf = bpfPayload({
      type: 2,
      instructionCount: 7,
      keySize: 4,
      valueSize: 8,
      maxEntries: 9,
      name: name('m', 16),
    });
    const packet = socketPayload({
      family: 2,
      protocol: 17,
      length: 60,
      sourceAddress: [10, 0, 0, 1],
      destinationAddress: [10, 0, 0, 2],
      sourcePort: 53,
      destinationPort: 5353,
    });
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      writer.event({
        kind: EventKind.kprobe,
        pid: 68790,
        timeNs: 1n,
        process,
        arguments: [
          { type: ArgumentType.module, payload: module },
          { type: ArgumentType.perfEvent, index: 1, payload: perf },
          { type: ArgumentType.bpfMap, index: 2, payload: bpf },
          { type: ArgumentType.bpfProg, index: 3, payload: bpf },
          { type: ArgumentType.skb, index: 4, payload: packet },
          { type: ArgumentType.sockaddrUn, index: 5, payload: '@weir', value: 1n },
          { type: ArgumentType.netDevice, index: 6, payload: 'eth0' },
          { type: ArgumentType.fd, index: 7, payload: '/dev', value: (0o40755n << 32n) | 3n },
          { type: ArgumentType.bpfCmd, index: 8, value: 5n },
          { type: ArgumentType.bpfCmd, index: 9, value: 4000n },
        ],
      });
    });
    expect(json(decoder).process_kprobe.args).toEqual([
      {
        module_arg: {
          name: 'rootkit',
          tainted: ['TAINT_PROPRIETARY_MODULE', 'TAINT_OUT_OF_TREE_MODULE'],
          signature_ok: false,
        },
      },
      { perf_event_arg: { KprobeFunc: 'vfs_open', Type: 'PERF_TYPE_8', ProbeOffset: '4' } },
      {
        bpf_map_arg: { MapType: 'BPF_MAP_TYPE_ARRAY', KeySize: 4, ValueSize: 8, MaxEntries: 9, MapName: 'm' },
      },
      { bpf_prog_arg: { ProgType: 'BPF_PROG_TYPE_KPROBE', InsnCnt: 7, ProgName: 'm' } },
      {
        skb_arg: {
          len: 60,
          saddr: '10.0.0.1',
          daddr: '10.0.0.2',
          sport: 53,
          dport: 5353,
          proto: 17,
          protocol: 'IPPROTO_UDP',
          family: 'AF_INET',
        },
      },
      { sockaddrun_arg: { family: 'AF_UNIX', path: '@weir' } },
      { net_dev_arg: { name: 'eth0' } },
      { file_arg: { path: '/dev', permission: 'drwxr-xr-x' } },
      { bpf_cmd_arg: 'BPF_PROG_LOAD' },
      { bpf_cmd_arg: 4000 },
    ]);
    expect(compactEvent(decoder, 0)).toContain(
      'rootkit, 8 vfs_open, array m, kprobe m, 10.0.0.1:53 -> 10.0.0.2:5353, @weir, eth0, /dev, BPF_PROG_LOAD, 4000',
    );
  });

  it('says the hash of a file by the name of its algorithm, as many bytes as that has', () => {
    const digest = Uint8Array.from({ length: 64 }, (_, n) => n);
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      const event = { kind: EventKind.lsm, pid: 68790, timeNs: 1n, process } as const;
      writer.event({ ...event, imaHash: { algorithm: 4, digest } });
      writer.event({ ...event, imaHash: { algorithm: 2, digest } });
      writer.event(event);
    });
    const sha256 = `sha256:${Buffer.from(digest.subarray(0, 32)).toString('hex')}`;
    expect(json(decoder, 0).process_lsm.ima_hash).toBe(sha256);
    expect(json(decoder, 0)).not.toHaveProperty('weir');
    expect(json(decoder, 1).process_lsm.ima_hash).toBe('sha1:000102030405060708090a0b0c0d0e0f10111213');
    expect(json(decoder, 2).process_lsm).not.toHaveProperty('ima_hash');
    expect(compactEvent(decoder, 0)).toContain(` ${sha256}`);
  });

  it('names what addresses of stacks stand for, as far as it is known', () => {
    const decoder = batch((writer) => {
      const { process } = netserver(writer);
      const stacks = { kernelStack: [16n, 17n, 18n], userStack: [4096n, 2n ** 46n] };
      writer.event({ kind: EventKind.kprobe, pid: 68790, timeNs: 1n, process, ...stacks });
      writer.event({ kind: EventKind.kprobe, pid: 1, timeNs: 2n, ...stacks });
    });
    const stackNames: StackNaming = {
      kernel: (address) => {
        if (address === 18n) return undefined;
        return { symbol: 'vfs_open', offset: address - 16n, module: address === 17n ? 'overlay' : '' };
      },
      user: ({ pid }, address) =>
        address === 4096n ? { module: `/usr/bin/of-${pid}`, offset: 7n } : undefined,
    };
    const named = (index: number) =>
      JSON.parse(new JsonEncoder({ stackNames }).event(decoder, index)).process_kprobe;
    expect(named(0)).toMatchObject({
      kernel_stack_trace: [
        { address: '16', symbol: 'vfs_open' },
        { address: '17', offset: '1', symbol: 'vfs_open', module: 'overlay' },
        { address: '18' },
      ],
      user_stack_trace: [
        { address: '4096', offset: '7', module: '/usr/bin/of-68790' },
        { address: '70368744177664' },
      ],
    });
    // Of a process that is not known, no file is.
    expect(named(1).user_stack_trace).toEqual([{ address: '4096' }, { address: '70368744177664' }]);
    expect(json(decoder, 0).process_kprobe.kernel_stack_trace).toEqual([
      { address: '16' },
      { address: '17' },
      { address: '18' },
    ]);
  });

  it('shows how a process ended', () => {
    const decoder = batch((writer) => {
      const who = netserver(writer);
      writer.event({
        kind: EventKind.exit,
        pid: 68790,
        tid: 68790,
        timeNs: 5n,
        signal: 9,
        status: 0,
        ...who,
      });
      writer.event({ kind: EventKind.loss, timeNs: 6n, stage: 3, count: 12n });
    });
    expect(json(decoder).process_exit).toMatchObject({ signal: 'SIGKILL', time: expect.any(String) });
    expect(json(decoder).process_exit.status).toBeUndefined();
    expect(json(decoder, 1).loss).toEqual({ stage: 'agent_down', count: '12' });
  });

  it('does not show an old text of a process that has changed', () => {
    const encoder = new JsonEncoder();
    const make = (execFlags: number, referenceCount: number) =>
      batch((writer) => {
        const process = writer.process({
          pid: 5,
          startNs: 1n,
          execNs: 1n,
          binary: '/bin/a',
          execFlags,
          referenceCount,
        });
        writer.event({ kind: EventKind.exec, pid: 5, tid: 5, timeNs: 1n, process });
      });
    const flags = (decoder: BatchDecoder) => JSON.parse(encoder.event(decoder, 0)).process_exec.process;
    expect(flags(make(ExecFlag.execve, 1))).toMatchObject({ flags: 'execve', refcnt: 1 });
    expect(flags(make(ExecFlag.clone, 2))).toMatchObject({ flags: 'clone', refcnt: 2 });
  });

  it('is one line of valid JSON, whatever bytes there are, and keeps each', () => {
    const bytes = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
    const decoder = batch((writer) => {
      const process = writer.process({
        pid: 5,
        startNs: 1n,
        execNs: 1n,
        binary: bytes,
        arguments: ['"', '\\', '\u2028'],
      });
      writer.event({ kind: EventKind.exec, pid: 5, tid: 5, timeNs: 1n, process });
    });
    const line = new JsonEncoder().event(decoder, 0);
    expect(line).not.toContain('\n');
    const { binary } = JSON.parse(line).process_exec.process;
    expect(binary.charCodeAt(254)).toBe(0xef00 + 0xff);
    expect(binary.slice(0, 127)).toBe(Buffer.from(bytes.subarray(0, 127)).toString('latin1'));
  });
});

describe('JSON for a terminal', () => {
  it('escapes what a terminal or an eye would be misled by, wherever it stands, and keeps its value', () => {
    const hostile = 'a\u007f\u009b2J\u202eb\u200b';
    const decoder = batch((writer) => {
      const process = writer.process({
        pid: 5,
        startNs: 1n,
        execNs: 1n,
        binary: hostile,
        arguments: [hostile],
      });
      const binding = writer.binding({
        bindingId: 1,
        eventKind: EventKind.kprobe,
        functionName: 'f',
        message: hostile,
      });
      writer.event({
        kind: EventKind.kprobe,
        pid: 5,
        tid: 5,
        timeNs: 1n,
        process,
        binding,
        arguments: [{ type: ArgumentType.string, payload: hostile }],
      });
    });
    const line = new JsonEncoder().event(decoder, 0);
    expect(line).not.toMatch(/[\u007f-\u009f\u200b-\u200f\u2028-\u202e]/);
    const { process, args, message } = JSON.parse(line).process_kprobe;
    expect([process.binary, process.arguments, args[0].string_arg, message]).toEqual(Array(4).fill(hostile));
  });

  it('shows that a program became root', () => {
    const decoder = batch((writer) => {
      const process = writer.process({
        pid: 5,
        startNs: 1n,
        execNs: 1n,
        binary: '/usr/bin/su',
        euid: 0,
        egid: 0,
        execFlags: ExecFlag.execve | ExecFlag.setuid,
      });
      writer.event({ kind: EventKind.exec, pid: 5, tid: 5, timeNs: 1n, process });
    });
    expect(json(decoder).process_exec.process.binary_properties).toEqual({
      setuid: 0,
      privileges_changed: ['PRIVILEGES_RAISED_EXEC_FILE_SETUID'],
    });
  });
});

describe('compact text', () => {
  const who = (kind: number) =>
    batch((writer) => {
      writer.event({ kind, pid: 68790, tid: 68790, timeNs: 1n, status: 3, ...netserver(writer) });
    });

  it('shows an exit as the exec that it ends, with its status', () => {
    const exec = compactEvent(who(EventKind.exec), 0);
    expect(exec).toContain('-D uid=0 by /usr/bin/containerd-shim-runc-v2[68598]');
    expect(compactEvent(who(EventKind.exit), 0)).toBe(`${exec.replace('exec', 'exit')} exit=3`);
  });

  it('leaves clones out unless they are asked for; JSON has them', () => {
    const shown = (query: EventsQuery) => {
      const stream = new PassThrough();
      const subscriber = new Subscriber(stream, query, {});
      for (const kind of [EventKind.exec, EventKind.clone, EventKind.exit]) subscriber.show(who(kind).batch);
      return stream.read().toString().trimEnd().split('\n').length;
    };
    expect(shown({ format: 'compact' })).toBe(2);
    expect(shown({ format: 'compact', kinds: ['clone'] })).toBe(1);
    expect(shown({ format: 'json' })).toBe(3);
  });

  it('lets nothing through that a terminal would act upon', () => {
    const decoder = batch((writer) => {
      const process = writer.process({
        pid: 5,
        startNs: 1n,
        execNs: 1n,
        binary: Uint8Array.of(0x2f, 0x1b, 0x5b, 0x32, 0x4a, 0x0a, 0xff, 0x9b),
        arguments: ['a\u202eb', '\r'],
      });
      writer.event({ kind: EventKind.exec, pid: 5, tid: 5, timeNs: 1n, process });
    });
    const line = compactEvent(decoder, 0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    expect(line).not.toMatch(/[\x00-\x1f\x7f-\x9f\u202e\uef80-\uefff]/);
    expect(line).toContain('/\\x1b[2J\\x0a\\xff\\x9b[5]');
  });
});

describe('texts', () => {
  it.each([
    [2, [127, 0, 0, 1], '127.0.0.1'],
    [10, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], '2001:db8::1'],
    [10, new Array(16).fill(0), '::'],
    [10, [0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 3, 0, 4, 0, 5], '1:0:2::3:4:5'],
    [1, [1, 2], ''],
  ])('writes an address of family %d', (family, bytes, text) => {
    expect(addressText(family, bytes)).toBe(text);
  });

  it('writes times, modes and arguments', () => {
    expect(timeText(1_700_000_000_000_000_001n)).toBe('2023-11-14T22:13:20.000000001Z');
    expect(permissionText(0o100755)).toBe('-rwxr-xr-x');
    expect(permissionText(0o040700)).toBe('drwx------');
    expect(argumentsText(['-c', 'a b', ''])).toBe('-c "a b" ""');
  });
});

describe('throttles', () => {
  const decoder = batch((writer) => {
    const common = { kind: EventKind.throttle, timeNs: 5n, cgroupId: 9n } as const;
    writer.event({ ...common, type: 1, scope: ThrottleScope.cgroup, cgroupName: 'pod-1' });
    writer.event({
      ...common,
      type: 2,
      scope: ThrottleScope.policy,
      policyName: 'shop/guard',
      heldBack: 1n << 40n,
    });
  });

  it('are told as Tetragon tells them, and more beside it', () => {
    expect(json(decoder)).toMatchObject({
      process_throttle: { type: 'THROTTLE_START', cgroup: 'pod-1' },
      weir: { scope: 'cgroup' },
      node_name: 'my-node',
    });
    const { process_throttle, weir } = json(decoder, 1);
    expect(process_throttle).toEqual({ type: 'THROTTLE_STOP' });
    expect(weir).toMatchObject({ scope: 'policy', policy_name: 'shop/guard', held_back: '1099511627776' });
  });

  it('are a line each', () => {
    expect(compactEvent(decoder, 0)).toContain('start by cgroup cgroup=pod-1');
    expect(compactEvent(decoder, 1)).toContain(
      'stop by policy policy=shop/guard, 1099511627776 events held back',
    );
  });
});
