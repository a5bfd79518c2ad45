// SPDX-License-Identifier: Apache-2.0
// System calls on what is open already (files, memory, sockets) and on a process's own limits are kept from taking
// effect.

import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unixAddress } from '../guest/library-deeds.js';
import { type Case, type Line, tryCases } from '../guest/prevention.js';
import { scenario } from '../scenario.js';

const AT_FDCWD = -100;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const FIONREAD = 0x541b;
const F_DUPFD = 0;
const LOCK_EX = 2;
const ADJ_TICK = 0x4000;
const SYSLOG_ACTION_SIZE_UNREAD = 9;

/** A `struct iovec` of one piece, in buffer 0: `bytes` bytes of buffer 1. */
const onePiece = (bytes: string) => `&0:%1${bytes.padEnd(16, '0')}`;
/** Two seconds, as `struct timespec` and `struct timeval` both have them, twice. */
const times = `&0:${'02000000000000000000000000000000'.repeat(2)}`;

function casesOnFiles(folder: string): Case[] {
  const at = join(folder, 'used');
  mkdirSync(at);
  const [file, other] = [join(at, 'file'), join(at, 'other')];
  const fresh = () => {
    for (const path of [file, other]) {
      rmSync(path, { force: true });
      writeFileSync(path, 'text', { mode: 0o600 });
    }
  };
  const open: Line = ['openat', AT_FDCWD, `"${file}`, 2];
  const openOther: Line = ['openat', AT_FDCWD, `"${other}`, 2];
  const isWritten = () => readFileSync(file, 'latin1') !== 'text';
  const writes = (call: string, ...args: (string | number)[]): Case => ({
    call,
    lines: [open, [call, '$0', ...args]],
    effect: isWritten,
    reset: fresh,
    ...(call === 'write' ? { only: [2, 9] as const } : {}),
    next: call === 'write' ? ['pwrite64', '$0', '"text', 4, 0] : ['write', '$0', '"text', 4],
    nextActs: true,
  });
  const reads = (call: string, ...args: (string | number)[]): Case => ({
    call,
    lines: [open, [call, '$0', ...args]],
    reset: fresh,
    ...(call === 'read' ? { only: [2, 4] as const } : {}),
    next: call === 'read' ? ['pread64', '$0', '&2', 4, 0] : ['read', '$0', '&2', 4],
  });
  const hasTime = () => statSync(file).mtimeMs === 2000;
  const sets = (call: string, ...args: (string | number)[]): Case => ({
    call,
    lines: [[call, ...args]],
    effect: hasTime,
    reset: fresh,
    next: ['chmod', `"${other}`, 0o640],
  });
  return [
    writes('write', '"some more', 9),
    writes('pwrite64', '"some', 4, 0),
    writes('writev', onePiece('04'), 1),
    writes('pwritev', onePiece('04'), 1, 0, 0),
    writes('pwritev2', onePiece('04'), 1, 0, 0, 0),
    writes('ftruncate', 1),
    writes('fallocate', 0, 0, 4096),
    reads('read', '&1', 4),
    reads('pread64', '&1', 4, 0),
    reads('readv', onePiece('04'), 1),
    reads('preadv', onePiece('04'), 1, 0, 0),
    reads('preadv2', onePiece('04'), 1, 0, 0, 0),
    ...(['sendfile', 'copy_file_range'] as const).map(
      (call): Case => ({
        call,
        lines: [
          open,
          openOther,
          call === 'sendfile' ? [call, '$0', '$1', 0, 5] : [call, '$1', 0, '$0', 0, 5, 0],
        ],
        effect: () => readFileSync(file, 'latin1') === 'other',
        reset: () => {
          fresh();
          writeFileSync(file, '');
          writeFileSync(other, 'other');
        },
      }),
    ),
    {
      call: 'splice',
      lines: [['pipe', '&3'], open, ['write', 4, '"some', 4], ['splice', 3, 0, '$1', 0, 4, 0]],
      effect: isWritten,
      reset: fresh,
    },
    ...(['getdents', 'getdents64'] as const).map(
      (call): Case => ({
        call,
        lines: [
          ['openat', AT_FDCWD, `"${at}`, 0],
          [call, '$0', '&1', 4096],
        ],
        reset: fresh,
        next: [call === 'getdents' ? 'getdents64' : 'getdents', '$0', '&1', 4096],
      }),
    ),
    {
      call: 'ioctl',
      lines: [open, ['ioctl', '$0', FIONREAD, '&1']],
      only: [1, FIONREAD],
      reset: fresh,
    },
    { call: 'fcntl', lines: [open, ['fcntl', '$0', F_DUPFD, 0]], reset: fresh, next: ['dup', '$0'] },
    { call: 'flock', lines: [open, ['flock', '$0', LOCK_EX]], reset: fresh, next: ['dup', '$0'] },
    {
      call: 'fchmodat2',
      lines: [['fchmodat2', AT_FDCWD, `"${file}`, 0o640, 0]],
      effect: () => (statSync(file).mode & 0o777) === 0o640,
      reset: fresh,
      next: ['chmod', `"${other}`, 0o640],
      kernels: ['6.12'], // since 6.6
    },
    ...(['removexattr', 'lremovexattr', 'fremovexattr'] as const).map(
      (call): Case => ({
        call,
        lines: [
          open,
          ['fsetxattr', '$0', '"user.a', '"b', 1, 0],
          [call, call === 'fremovexattr' ? '$0' : `"${file}`, '"user.a'],
        ],
        reset: fresh,
        next:
          call === 'removexattr' ? ['fremovexattr', '$0', '"user.a'] : ['removexattr', `"${file}`, '"user.a'],
      }),
    ),
    sets('utime', `"${file}`, `&0:${'0200000000000000'.repeat(2)}`),
    sets('utimes', `"${file}`, times),
    sets('futimesat', AT_FDCWD, `"${file}`, times),
    sets('utimensat', AT_FDCWD, `"${file}`, times, 0),
  ];
}

function casesOnMemory(): Case[] {
  const map: Line = ['mmap', 0, 12288, 3, 0x22, -1, 0]; // PROT_READ, PROT_WRITE; MAP_PRIVATE, MAP_ANONYMOUS
  return [
    { call: 'mmap', lines: [map], only: [1, 12288], next: ['brk', 0] },
    {
      call: 'mprotect',
      lines: [map, ['mprotect', '$0', 4096, 5]],
      only: [2, 5],
      next: ['pkey_mprotect', '$0', 4096, 5, -1],
    },
    {
      call: 'pkey_mprotect',
      lines: [map, ['pkey_mprotect', '$0', 4096, 5, -1]],
      next: ['mprotect', '$0', 4096, 5],
    },
  ];
}

function casesOnSockets(): Case[] {
  const name = `&1:${unixAddress('@weir-used').replace('40', '00')}`;
  const bytes = 2 + '@weir-used'.length;
  const one = '&2:01000000';
  const waits: Line[] = [
    ['socket', AF_UNIX, SOCK_STREAM, 0],
    ['bind', '$0', name, bytes],
    ['listen', '$0', 8],
    ['socket', AF_UNIX, SOCK_STREAM, 0],
    ['connect', '$3', name, bytes],
  ];
  const pair: Line = ['socketpair', AF_UNIX, SOCK_STREAM, 0, '&3'];
  const packet = (size: string) => [`&4:${'0'.repeat(32)}%5${'0100000000000000'}`, `&5:%6${size}`] as const;
  const [header, piece] = packet('0400000000000000');
  return [
    { call: 'accept', lines: [...waits, ['accept', '$0', 0, 0]], next: ['accept4', '$0', 0, 0, 0] },
    { call: 'accept4', lines: [...waits, ['accept4', '$0', 0, 0, 0]], next: ['accept', '$0', 0, 0] },
    {
      call: 'setsockopt',
      lines: [
        ['socket', AF_UNIX, SOCK_STREAM, 0],
        ['setsockopt', '$0', SOL_SOCKET, SO_REUSEADDR, one, 4],
      ],
    },
    { call: 'socketpair', lines: [pair], next: ['socket', AF_UNIX, SOCK_STREAM, 0] },
    { call: 'shutdown', lines: [pair, ['shutdown', 3, 1]], next: ['dup', 3] },
    // The pieces of the message are made ready by a call that fails.
    {
      call: 'sendmmsg',
      lines: [pair, ['close', -1, piece], ['sendmmsg', 3, header, 1, 0]],
      next: ['sendto', 3, '"some', 4, 0, 0, 0],
    },
    {
      call: 'recvmmsg',
      lines: [
        pair,
        ['close', -1, piece],
        ['sendto', 4, '"some', 4, 0, 0, 0],
        ['recvmmsg', 3, header, 1, 0, 0],
      ],
      next: ['recvfrom', 3, '&7', 1, 0x40, 0, 0],
    },
  ];
}

function casesOnLimits(): Case[] {
  const limit = `&0:${'0004000000000000'.repeat(2)}`; // 1024
  const RLIMIT_NOFILE = 7;
  const tick = `&0:${ADJ_TICK.toString(16).padStart(8, '0').match(/../g)?.reverse().join('')}${'0'.repeat(2 * 84)}1027`;
  return [
    { call: 'setpgid', lines: [['setpgid', 0, 0]], next: ['getpgid', 0] },
    { call: 'setpriority', lines: [['setpriority', 0, 0, 1]], next: ['getpriority', 0, 0] },
    {
      call: 'setrlimit',
      lines: [['setrlimit', RLIMIT_NOFILE, limit]],
      next: ['prlimit64', 0, RLIMIT_NOFILE, limit, 0],
    },
    {
      call: 'prlimit64',
      lines: [['prlimit64', 0, RLIMIT_NOFILE, limit, 0]],
      only: [1, RLIMIT_NOFILE],
      next: ['setrlimit', RLIMIT_NOFILE, limit],
    },
    {
      call: 'sched_setscheduler',
      lines: [['sched_setscheduler', 0, 0, '&0']],
      next: ['sched_setparam', 0, '&0'],
    },
    {
      call: 'sched_setparam',
      lines: [['sched_setparam', 0, '&0']],
      next: ['sched_setscheduler', 0, 0, '&0'],
    },
    {
      call: 'sched_setattr',
      lines: [['sched_setattr', 0, '&0:30000000', 0]],
      next: ['sched_setparam', 0, '&1'],
    },
    {
      call: 'sched_setaffinity',
      lines: [['sched_setaffinity', 0, 8, '&0:01']],
      next: ['sched_setparam', 0, '&1'],
    },
    {
      call: 'pidfd_getfd',
      lines: [
        ['pidfd_open', process.pid, 0],
        ['pidfd_getfd', '$0', 0, 0],
      ],
    },
    { call: 'adjtimex', lines: [['adjtimex', tick]], next: ['setdomainname', '"weir', 4] },
    { call: 'ioperm', lines: [['ioperm', 0x80, 1, 1]], next: ['iopl', 3] },
    { call: 'iopl', lines: [['iopl', 3]], next: ['ioperm', 0x80, 1, 1] },
    { call: 'syslog', lines: [['syslog', SYSLOG_ACTION_SIZE_UNREAD, 0, 0]] },
    {
      call: 'fsmount',
      lines: [
        ['fsopen', '"tmpfs', 0],
        ['fsconfig', '$0', 6, 0, 0, 0], // FSCONFIG_CMD_CREATE
        ['fsmount', '$0', 0, 0],
      ],
      next: ['fsopen', '"tmpfs', 0],
    },
  ];
}

export default scenario(
  'keeps system calls on open files, memory, sockets and limits from taking effect',
  { timeoutMs: 900_000 },
  (ctx) =>
    tryCases(ctx, [...casesOnFiles(ctx.folder), ...casesOnMemory(), ...casesOnSockets(), ...casesOnLimits()]),
);
