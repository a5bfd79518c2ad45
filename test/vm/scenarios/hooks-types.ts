// SPDX-License-Identifier: Apache-2.0
// Kernel objects as arguments: what is read of each, and that operators on it hold for who does the thing and not for
// who does another. All policies are in force together, and everything is done once.

import assert from 'node:assert/strict';
import { mkdirSync, openSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readBpfArgument, readModuleArgument, readPerfEventArgument, readSocketArgument } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

type Argument = readonly [index: number, type: string];
type Term = readonly [index: number, operator: string, ...values: string[]];

/** A policy, and which events it is to send: of each, what `tell` says of its arguments. */
interface Case {
  readonly name: string;
  readonly call: string;
  readonly isLsm?: boolean;
  readonly args: readonly Argument[];
  readonly terms: readonly Term[];
  readonly sends: readonly string[];
  readonly tell: (event: HookEvent) => string;
}

function viewOf(event: HookEvent, position: number): DataView {
  const bytes = Buffer.from(event.args[position]?.text ?? '', 'latin1');
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function nameOf(bytes: ArrayLike<number>): string {
  return Buffer.from(Array.from(bytes)).toString('latin1').split('\0')[0] ?? '';
}

const text = (position: number) => (event: HookEvent) => event.args[position]?.text ?? '';
const value = (position: number) => (event: HookEvent) => String(event.args[position]?.value);
const moduleName = (position: number) => (event: HookEvent) => {
  const { name, signatureOk } = readModuleArgument(viewOf(event, position), 0);
  return `${nameOf(name)} ${signatureOk}`;
};
const bpfObject = (position: number) => (event: HookEvent) => {
  const read = readBpfArgument(viewOf(event, position), 0);
  return [
    read.type,
    read.instructionCount,
    read.keySize,
    read.valueSize,
    read.maxEntries,
    nameOf(read.name),
  ].join(' ');
};
const perfEvent = (event: HookEvent) => {
  const { type, config, function: name } = readPerfEventArgument(viewOf(event, 0), 0);
  return type < 6 ? `${type} ${config}` : nameOf(name);
};
const packet = (event: HookEvent) => {
  const read = readSocketArgument(viewOf(event, 0), 0);
  const to = [...read.destinationAddress].slice(0, read.family === 2 ? 4 : 16);
  return `${read.protocol} ${to.join('.')}:${read.destinationPort}`;
};

function casesOf(folder: string): Case[] {
  const inFolder: Term = [0, 'Prefix', `${folder}/`];
  const unlink = { call: 'security_inode_unlink', args: [[1, 'dentry']] as const, tell: text(0) };
  const open = { call: 'security_file_open', args: [[0, 'file']] as const, tell: text(0) };
  const list = { call: 'sys_getdents64', args: [[0, 'fd']] as const, tell: text(0) };
  const named = { call: 'do_filp_open', args: [[1, 'filename']] as const, tell: text(0) };
  const unix = { call: 'security_socket_connect', args: [[1, 'sockaddr_un']] as const, tell: text(0) };
  const packet4 = { call: 'ip_output', args: [[2, 'skb']] as const, tell: packet };
  const packet6 = { call: 'ip6_output', args: [[2, 'skb']] as const, tell: packet };
  const map = { call: 'security_bpf_map', args: [[0, 'bpf_map']] as const, tell: bpfObject(0) };
  const program = { call: 'security_bpf_prog', args: [[0, 'bpf_prog']] as const, tell: bpfObject(0) };
  const perf = { call: 'security_perf_event_alloc', args: [[0, 'perf_event']] as const, tell: perfEvent };
  const init = { call: 'do_init_module', args: [[0, 'module']] as const, tell: moduleName(0) };
  const device = { call: 'dev_change_flags', args: [[0, 'net_device']] as const, tell: text(0) };
  const oldAndNew = [
    [1, 'cred'],
    [2, 'cap_effective'],
  ] as const;
  const capset = { call: 'security_capset', args: oldAndNew, tell: value(1) };
  const creds = { ...capset, args: [[0, 'cred'], ...oldAndNew] as const, tell: value(2) };
  const all = (1n << 41n) - 1n;
  const [whole, less] = [String(all), String(all & ~1n)];

  return [
    { name: 'dentry', ...unlink, terms: [[1, 'Postfix', '/gone.pipe']], sends: [`${folder}/gone.pipe`] },
    {
      name: 'dentry-type',
      ...unlink,
      terms: [
        [1, 'FileType', 'fifo'],
        [1, 'Prefix', `${folder}/`],
      ],
      sends: [`${folder}/gone.pipe`],
    },
    {
      name: 'dentry-other-type',
      ...unlink,
      terms: [
        [1, 'NotFileType', 'pipe', 'dir'],
        [1, 'Prefix', `${folder}/`],
      ],
      sends: [`${folder}/gone.text`],
    },
    {
      name: 'file-type',
      ...open,
      terms: [inFolder, [0, 'FileType', 'dir', 'lnk']],
      sends: [`${folder}/sub`],
    },
    { name: 'file-regular', ...open, terms: [inFolder, [0, 'FileType', 'reg']], sends: [`${folder}/named`] },
    {
      name: 'fd-type',
      ...list,
      terms: [inFolder, [0, 'FileType', 'directory']],
      // The second call finds nothing more.
      sends: [`${folder}/sub`, `${folder}/sub`],
    },
    { name: 'fd-other-type', ...list, terms: [inFolder, [0, 'NotFileType', 'dir']], sends: [] },
    { name: 'filename', ...named, terms: [[1, 'Equal', './named']], sends: ['./named'] },
    { name: 'filename-other', ...named, terms: [[1, 'Equal', `${folder}/named`]], sends: [] },
    { name: 'unix-path', ...unix, terms: [[1, 'Equal', '/run/there']], sends: ['/run/there'] },
    { name: 'unix-abstract', ...unix, terms: [[1, 'Prefix', '@weir-']], sends: ['@weir-test'] },
    { name: 'unix-end', ...unix, terms: [[1, 'Postfix', 'test']], sends: ['@weir-test'] },
    {
      name: 'unix-other',
      ...unix,
      terms: [
        [1, 'Family', 'AF_UNIX'],
        // What libraries look for by themselves.
        [1, 'NotPrefix', '/var/run/'],
        [1, 'NotEqual', '/run/there'],
      ],
      sends: ['@weir-test'],
    },
    {
      name: 'unix-called',
      call: 'sys_connect',
      args: [[1, 'sockaddr_un']],
      terms: [[1, 'Prefix', '/run/th']],
      sends: ['/run/there'],
      tell: text(0),
    },
    {
      name: 'packet',
      ...packet4,
      terms: [
        [2, 'Protocol', 'IPPROTO_UDP'],
        [2, 'DAddr', '127.0.0.0/8'],
        [2, 'DPort', '9'],
      ],
      sends: ['17 127.0.0.1:9'],
    },
    { name: 'packet-port', ...packet4, terms: [[2, 'DPort', '10:11']], sends: ['17 127.0.0.1:10'] },
    { name: 'packet-other', ...packet4, terms: [[2, 'Protocol', 'IPPROTO_TCP']], sends: [] },
    {
      name: 'packet6',
      ...packet6,
      terms: [
        [2, 'DAddr', '::1'],
        [2, 'DPort', '9'],
      ],
      sends: ['17 0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1:9'],
    },
    { name: 'map', ...map, terms: [[0, 'Equal', 'weir_a_map']], sends: ['2 0 4 24 7 weir_a_map'] },
    {
      name: 'program',
      ...program,
      terms: [[0, 'Prefix', 'weir_a_']],
      sends: ['1 2 0 0 0 weir_a_program'.slice(0, 25)],
    },
    { name: 'program-end', ...program, terms: [[0, 'Postfix', '_prog']], sends: ['1 2 0 0 0 weir_b_prog'] },
    {
      name: 'attributes',
      call: 'security_bpf',
      args: [
        [0, 'bpf_cmd'],
        [1, 'bpf_attr'],
      ],
      terms: [
        [0, 'Equal', '5'],
        [1, 'Postfix', 'b_prog'],
      ],
      sends: ['1 2 0 0 0 weir_b_prog'],
      tell: bpfObject(1),
    },
    { name: 'perf', ...perf, terms: [], sends: ['1 3', 'vfs_unlink', 'vfs_rmdir'] },
    { name: 'perf-function', ...perf, terms: [[0, 'Equal', 'vfs_rmdir']], sends: ['vfs_rmdir'] },
    { name: 'module', ...init, terms: [[0, 'Equal', 'dummy']], sends: ['dummy 1'] },
    { name: 'module-other', ...init, terms: [[0, 'NotPrefix', 'dum']], sends: ['veth 1'] },
    {
      name: 'load',
      call: 'mod_sysfs_setup',
      args: [[1, 'load_info']],
      terms: [[1, 'Postfix', 'mmy']],
      sends: ['dummy 1'],
      tell: moduleName(0),
    },
    {
      name: 'unload',
      call: 'free_module',
      args: [[0, 'module']],
      terms: [[0, 'Equal', 'veth']],
      sends: ['veth 1'],
      tell: moduleName(0),
    },
    { name: 'device', ...device, terms: [[0, 'Equal', 'dummy0']], sends: ['dummy0'] },
    { name: 'device-other', ...device, terms: [[0, 'NotPostfix', '0']], sends: ['lo'] },
    { name: 'gained', ...capset, terms: [[1, 'CapabilitiesGained', '2']], sends: [whole] },
    // Of a function the new credentials are a copy of the old ones still: the security modules set them, and run after.
    { name: 'gained-too-early', ...creds, terms: [[1, 'CapabilitiesGained', '0']], sends: [] },
    {
      name: 'gained-by-then',
      ...creds,
      call: 'capset',
      isLsm: true,
      terms: [[1, 'CapabilitiesGained', '0']],
      sends: [whole],
    },
    { name: 'lost', ...capset, terms: [[2, 'CapabilitiesGained', '1']], sends: [less] },
    { name: 'capabilities', ...capset, terms: [[2, 'Equal', less]], sends: [less] },
    { name: 'capabilities-bit', ...capset, terms: [[2, 'Mask', 'CAP_CHOWN']], sends: [whole] },
    { name: 'capabilities-other', ...capset, terms: [[2, 'NotEqual', '0', less]], sends: [whole] },
    { name: 'capabilities-above', ...capset, terms: [[2, 'GT', less]], sends: [whole] },
  ];
}

function policyOf({ name, call, isLsm, args, terms }: Case): string {
  const common = {
    args: args.map(([index, type]) => ({ index, type })),
    selectors: [{ matchArgs: terms.map(([index, operator, ...values]) => ({ index, operator, values })) }],
  };
  return isLsm === true
    ? policyWith(name, { lsmhooks: [{ hook: call, ...common }] })
    : policyWith(name, { kprobes: [{ call, syscall: call.startsWith('sys_'), ...common }] });
}

export default scenario(
  'hooks read kernel objects, and match what they are',
  { timeoutMs: 120_000 },
  async ({ folder, run, log }) => {
    const done = async (command: string, ...args: string[]) => {
      const result = await run(command, args);
      assert.equal(result.code, 0, `${command} ${args.join(' ')}: ${result.stderr}`);
      return result.stdout;
    };
    await done('/sbin/ip', 'link', 'set', 'lo', 'up');
    mkdirSync(join(folder, 'sub'));
    writeFileSync(join(folder, 'named'), '');
    writeFileSync(join(folder, 'gone.text'), '');
    await done('/usr/bin/mkfifo', join(folder, 'gone.pipe'));
    process.chdir(folder);
    await withHooks(async (hooks) => {
      const cases = casesOf(folder);
      const startMs = performance.now();
      await hooks.apply(...cases.map(policyOf));
      log(`${cases.length} policies, applied in ${(performance.now() - startMs).toFixed(0)} ms`);
      hooks.events();

      unlinkSync(join(folder, 'gone.text'));
      unlinkSync(join(folder, 'gone.pipe'));
      readdirSync(join(folder, 'sub'));
      readFileSync(openSync('./named', 'r'));
      await done('objects', 'unix', '/run/there');
      await done('objects', 'unix', '@weir-test');
      for (const to of ['127.0.0.1/9', '127.0.0.1/10', '::1/9']) {
        await done('/bin/bash', '-c', `echo -n x > /dev/udp/${to}`);
      }
      assert.equal(await done('objects', 'map', 'weir_a_map'), '0\n');
      assert.equal(await done('objects', 'map', 'other_map'), '0\n');
      assert.equal(await done('objects', 'program', 'weir_a_program'), '0\n');
      assert.equal(await done('objects', 'program', 'weir_b_prog'), '0\n');
      assert.equal(await done('objects', 'perf', '1', '3'), '0\n');
      assert.equal(await done('objects', 'probe', 'vfs_unlink'), '0\n');
      assert.equal(await done('objects', 'probe', 'vfs_rmdir'), '0\n');
      await done('/sbin/modprobe', 'dummy');
      await done('/sbin/modprobe', 'veth');
      await done('/sbin/ip', 'link', 'set', 'dummy0', 'up');
      await done('/sbin/ip', 'link', 'set', 'lo', 'down');
      await done('/sbin/rmmod', 'dummy');
      await done('/sbin/rmmod', 'veth');
      assert.equal(await done('objects', 'capset'), '0\n');

      const events = hooks.events();
      const wrong: string[] = [];
      for (const { name, sends, tell } of cases) {
        const found = events.filter(({ policy }) => policy === name).map(tell);
        if (found.join('\n') !== sends.join('\n'))
          wrong.push(`${name}: found ${JSON.stringify(found)}, expected ${JSON.stringify(sends)}`);
      }
      assert.deepEqual(wrong, []);
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);
