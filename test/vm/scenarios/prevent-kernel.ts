// SPDX-License-Identifier: Apache-2.0
// System calls on the kernel itself and on sockets are kept from taking effect.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { type Case, type Line, tryCases } from '../guest/prevention.js';
import { scenario } from '../scenario.js';

const CLONE_NEWUTS = 0x04000000;
/** Discards; nobody listens there, and nobody needs to. */
const address = `02000009${'7f000001'}${'00'.repeat(8)}`;

const socketCases: Case[] = [
  { call: 'socket', lines: [['socket', 2, 1, 0]], next: ['pipe', '&0'] },
  {
    call: 'connect',
    lines: [
      ['socket', 2, 2, 0],
      ['connect', '$0', `&1:${address}`, 16],
    ],
    next: ['sendto', '$0', '"hello', 5, 0, `&1:${address}`, 16],
  },
  {
    call: 'bind',
    lines: [
      ['socket', 2, 2, 0],
      ['bind', '$0', `&1:02000000${address.slice(8)}`, 16],
    ],
    next: ['connect', '$0', `&2:${address}`, 16],
  },
  {
    call: 'listen',
    lines: [
      ['socket', 2, 1, 0],
      ['listen', '$0', 1],
    ],
  },
  {
    call: 'sendto',
    lines: [
      ['socket', 2, 2, 0],
      ['sendto', '$0', '"hello', 5, 0, `&1:${address}`, 16],
    ],
    next: ['connect', '$0', `&1:${address}`, 16],
  },
  {
    call: 'sendmsg',
    lines: [
      ['socket', 2, 2, 0],
      // The kernel takes three arguments; the others fill buffers.
      [
        'sendmsg',
        '$0',
        '&0:%11000000000000000%20100000000000000',
        0,
        `&1:${address}`,
        '&2:%30500000000000000',
        '&3:68656c6c6f',
      ],
    ],
    next: ['sendto', '$0', '"hello', 5, 0, `&1:${address}`, 16],
  },
  // The two ends of a pair are the first free numbers, 3 and 4.
  {
    call: 'recvfrom',
    lines: [
      ['socketpair', 1, 2, 0, '&5'],
      ['sendto', 4, '"x', 1, 0, 0, 0],
      ['recvfrom', 3, '&6', 16, 0x40, 0, 0],
    ],
    next: [
      'recvmsg',
      3,
      '&0:00000000000000000000000000000000%20100000000000000',
      0x40,
      '&2:%61000000000000000',
    ],
  },
  {
    call: 'recvmsg',
    lines: [
      ['socketpair', 1, 2, 0, '&5'],
      ['sendto', 4, '"x', 1, 0, 0, 0],
      ['recvmsg', 3, '&0:00000000000000000000000000000000%20100000000000000', 0x40, '&2:%61000000000000000'],
    ],
    next: ['recvfrom', 3, '&6', 16, 0x40, 0, 0],
  },
];

export default scenario(
  'keeps system calls on the kernel and on sockets from taking effect',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 900_000 },
  async (ctx) => {
    const { folder, run } = ctx;
    const setting = (name: string) => join('/proc/sys/kernel', name);
    const capable: Line = ['unshare', CLONE_NEWUTS];
    await run('ip', ['link', 'set', 'lo', 'up']);

    const installed = `/lib/modules/${release()}/kernel/drivers/net/dummy.ko`;
    const module = join(folder, 'dummy.ko');
    await run('sh', [
      '-c',
      existsSync(installed)
        ? `cp ${installed} ${module}`
        : `{ xz -dc ${installed}.xz || busybox xz -dc ${installed}.xz; } > ${module}`,
    ]);
    const moduleBytes = readFileSync(module).length;
    const isLoaded = () => /^dummy /m.test(readFileSync('/proc/modules', 'utf8'));
    const unload = async () => void (await run('rmmod', ['dummy']));
    const swap = join(folder, 'swap');
    writeFileSync(swap, new Uint8Array(1024 * 1024), { mode: 0o600 });
    await run('mkswap', [swap]);
    const account = join(folder, 'account');
    writeFileSync(account, '');
    const hostname = readFileSync(setting('hostname'), 'utf8').trim();
    const now = Buffer.alloc(16);
    now.writeBigInt64LE(BigInt(Math.floor(Date.now() / 1000)));

    await tryCases(ctx, [
      { call: 'bpf', lines: [['bpf', 0, '&0:02000000040000000400000001000000', 16]] },
      {
        call: 'init_module',
        lines: [['init_module', `<${module}`, moduleBytes, '"']],
        effect: isLoaded,
        reset: unload,
      },
      {
        call: 'finit_module',
        lines: [
          ['open', `"${module}`, 0],
          ['finit_module', '$0', '"', 0],
        ],
        effect: isLoaded,
        reset: unload,
      },
      {
        call: 'delete_module',
        lines: [['delete_module', '"dummy', 0o4000]],
        effect: () => !isLoaded(),
        reset: async () => void (await run('insmod', [module])),
        next: capable,
      },
      {
        call: 'perf_event_open',
        lines: [['perf_event_open', '&0:0100000040000000', 0, -1, -1, 0]],
      },
      { call: 'io_uring_setup', lines: [['io_uring_setup', 8, '&0']], next: ['userfaultfd', 0] },
      { call: 'userfaultfd', lines: [['userfaultfd', 0]], next: ['io_uring_setup', 8, '&0'] },
      {
        call: 'reboot',
        lines: [['reboot', 0xfee1dead, 672274793, 0, 0]],
        effect: () => readFileSync(setting('ctrl-alt-del'), 'utf8') === '0\n',
        reset: () => writeFileSync(setting('ctrl-alt-del'), '1'),
        next: capable,
      },
      {
        call: 'sethostname',
        lines: [['sethostname', '"other', 5]],
        effect: () => readFileSync(setting('hostname'), 'utf8') === 'other\n',
        reset: () => writeFileSync(setting('hostname'), hostname),
        next: ['setdomainname', '"x', 1],
      },
      {
        call: 'setdomainname',
        lines: [['setdomainname', '"other', 5]],
        effect: () => readFileSync(setting('domainname'), 'utf8') === 'other\n',
        reset: () => writeFileSync(setting('domainname'), 'none'),
        next: ['sethostname', `"${hostname}`, hostname.length],
      },
      { call: 'acct', lines: [['acct', `"${account}`]], next: capable },
      {
        call: 'swapon',
        lines: [['swapon', `"${swap}`, 0]],
        effect: () => readFileSync('/proc/swaps', 'utf8').includes(swap),
        reset: async () => void (await run('swapoff', [swap])),
        next: capable,
      },
      { call: 'settimeofday', lines: [['settimeofday', 0, '&0']] },
      { call: 'clock_settime', lines: [['clock_settime', 0, `&0:${now.toString('hex')}`]] },
      ...socketCases,
    ]);
    await run('swapoff', [swap]);
    await unload();
    // Ends what acct began.
    await run('syscalls', [], { input: '163\t0\n' });
  },
);
