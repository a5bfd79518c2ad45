// SPDX-License-Identifier: Apache-2.0
// System calls on files are kept from taking effect.

import { existsSync, lstatSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, tryCases } from '../guest/prevention.js';
import { scenario } from '../scenario.js';

const AT_FDCWD = -100;

function casesIn(folder: string): Case[] {
  const at = join(folder, 'files');
  mkdirSync(at);
  const file = join(at, 'file');
  const other = join(at, 'other');
  const made = join(at, 'made');
  const directory = join(at, 'directory');
  const second = join(at, 'second');
  const fresh = () => {
    for (const path of [made, directory, second, file, other]) rmSync(path, { recursive: true, force: true });
    writeFileSync(file, 'text', { mode: 0o600 });
    writeFileSync(other, '', { mode: 0o600 });
  };
  const withDirectory = () => {
    fresh();
    mkdirSync(directory);
    mkdirSync(second);
  };
  const isMade = () => lstatSync(made, { throwIfNoEntry: false }) !== undefined;
  const isGone = () => !existsSync(file);
  const mode = () => (statSync(file).mode & 0o777) === 0o640;
  const owner = () => statSync(file).uid === 1234;
  const open = (path: string): ['openat', number, string, number] => ['openat', AT_FDCWD, `"${path}`, 2];
  const unlinksOther = ['unlink', `"${other}`] as const;
  const flags = 0o101; // O_CREAT | O_WRONLY
  return [
    {
      call: 'unlink',
      lines: [['unlink', `"${file}`]],
      effect: isGone,
      reset: fresh,
      next: ['unlinkat', AT_FDCWD, `"${other}`, 0],
    },
    {
      call: 'unlinkat',
      lines: [['unlinkat', AT_FDCWD, `"${file}`, 0]],
      effect: isGone,
      reset: fresh,
      next: unlinksOther,
    },
    {
      call: 'unlinkat',
      variant: 'directory',
      lines: [['unlinkat', AT_FDCWD, `"${directory}`, 0x200]],
      effect: () => !existsSync(directory),
      reset: withDirectory,
      next: ['rmdir', `"${second}`],
    },
    {
      call: 'rmdir',
      lines: [['rmdir', `"${directory}`]],
      effect: () => !existsSync(directory),
      reset: withDirectory,
      next: ['unlinkat', AT_FDCWD, `"${second}`, 0x200],
    },
    ...(['rename', 'renameat', 'renameat2'] as const).map(
      (call): Case => ({
        call,
        lines: [
          call === 'rename'
            ? [call, `"${file}`, `"${made}`]
            : [call, AT_FDCWD, `"${file}`, AT_FDCWD, `"${made}`, 0],
        ],
        effect: isMade,
        reset: fresh,
        next:
          call === 'rename'
            ? ['renameat', AT_FDCWD, `"${file}`, AT_FDCWD, `"${other}`]
            : ['rename', `"${file}`, `"${other}`],
      }),
    ),
    {
      call: 'mkdir',
      lines: [['mkdir', `"${made}`, 0o700]],
      effect: isMade,
      reset: fresh,
      next: ['mkdirat', AT_FDCWD, `"${directory}`, 0o700],
    },
    {
      call: 'mkdirat',
      lines: [['mkdirat', AT_FDCWD, `"${made}`, 0o700]],
      effect: isMade,
      reset: fresh,
      next: ['mkdir', `"${directory}`, 0o700],
    },
    {
      call: 'mknod',
      lines: [['mknod', `"${made}`, 0o10600, 0]],
      effect: isMade,
      reset: fresh,
      next: ['mknodat', AT_FDCWD, `"${directory}`, 0o10600, 0],
    },
    {
      call: 'mknodat',
      lines: [['mknodat', AT_FDCWD, `"${made}`, 0o10600, 0]],
      effect: isMade,
      reset: fresh,
      next: ['mknod', `"${directory}`, 0o10600, 0],
    },
    {
      call: 'link',
      lines: [['link', `"${file}`, `"${made}`]],
      effect: isMade,
      reset: fresh,
      next: ['linkat', AT_FDCWD, `"${file}`, AT_FDCWD, `"${directory}`, 0],
    },
    {
      call: 'linkat',
      lines: [['linkat', AT_FDCWD, `"${file}`, AT_FDCWD, `"${made}`, 0]],
      effect: isMade,
      reset: fresh,
      next: ['link', `"${file}`, `"${directory}`],
    },
    {
      call: 'symlink',
      lines: [['symlink', `"${file}`, `"${made}`]],
      effect: isMade,
      reset: fresh,
      next: ['symlinkat', `"${file}`, AT_FDCWD, `"${directory}`],
    },
    {
      call: 'symlinkat',
      lines: [['symlinkat', `"${file}`, AT_FDCWD, `"${made}`]],
      effect: isMade,
      reset: fresh,
      next: ['symlink', `"${file}`, `"${directory}`],
    },
    {
      call: 'truncate',
      lines: [['truncate', `"${file}`, 1]],
      effect: () => statSync(file).size === 1,
      reset: fresh,
    },
    {
      call: 'chmod',
      lines: [['chmod', `"${file}`, 0o640]],
      effect: mode,
      reset: fresh,
      next: ['fchmodat', AT_FDCWD, `"${other}`, 0o640],
    },
    {
      call: 'fchmod',
      lines: [open(file), ['fchmod', '$0', 0o640]],
      effect: mode,
      reset: fresh,
      next: ['chmod', `"${other}`, 0o640],
    },
    {
      call: 'fchmodat',
      lines: [['fchmodat', AT_FDCWD, `"${file}`, 0o640]],
      effect: mode,
      reset: fresh,
      next: ['chmod', `"${other}`, 0o640],
    },
    {
      call: 'chown',
      lines: [['chown', `"${file}`, 1234, 0]],
      effect: owner,
      reset: fresh,
      next: ['lchown', `"${other}`, 1234, 0],
    },
    {
      call: 'lchown',
      lines: [['lchown', `"${file}`, 1234, 0]],
      effect: owner,
      reset: fresh,
      next: ['chown', `"${other}`, 1234, 0],
    },
    {
      call: 'fchown',
      lines: [open(file), ['fchown', '$0', 1234, 0]],
      effect: owner,
      reset: fresh,
      next: ['chown', `"${other}`, 1234, 0],
    },
    {
      call: 'fchownat',
      lines: [['fchownat', AT_FDCWD, `"${file}`, 1234, 0, 0]],
      effect: owner,
      reset: fresh,
      next: ['chown', `"${other}`, 1234, 0],
    },
    ...(['setxattr', 'lsetxattr', 'fsetxattr'] as const).map(
      (call): Case => ({
        call,
        lines:
          call === 'fsetxattr'
            ? [open(file), [call, '$0', '"user.a', '"b', 1, 0]]
            : [[call, `"${file}`, '"user.a', '"b', 1, 0]],
        reset: fresh,
        next:
          call === 'setxattr'
            ? ['lsetxattr', `"${other}`, '"user.a', '"b', 1, 0]
            : ['setxattr', `"${other}`, '"user.a', '"b', 1, 0],
      }),
    ),
    // That it exists, and that it was cut.
    {
      call: 'open',
      lines: [['open', `"${made}`, flags, 0o600]],
      effect: isMade,
      reset: fresh,
      next: ['openat', AT_FDCWD, `"${directory}`, flags, 0o600],
    },
    {
      call: 'openat',
      lines: [['openat', AT_FDCWD, `"${made}`, flags, 0o600]],
      effect: isMade,
      reset: fresh,
      next: ['open', `"${directory}`, flags, 0o600],
    },
    {
      call: 'openat',
      variant: 'existing',
      lines: [['openat', AT_FDCWD, `"${file}`, 0o1001]],
      effect: () => statSync(file).size === 0,
      reset: fresh,
      next: ['open', `"${other}`, 0],
    },
    {
      call: 'openat2',
      lines: [['openat2', AT_FDCWD, `"${made}`, '&0:41000000000000008001000000000000', 24]],
      effect: isMade,
      reset: fresh,
      next: ['open', `"${other}`, 0],
    },
    {
      call: 'creat',
      lines: [['creat', `"${made}`, 0o600]],
      effect: isMade,
      reset: fresh,
      next: ['open', `"${directory}`, flags, 0o600],
    },
    {
      call: 'open_by_handle_at',
      lines: [
        ['open', `"${folder}`, 0],
        ['name_to_handle_at', AT_FDCWD, `"${file}`, '&0:80000000', '&1', 0],
        ['open_by_handle_at', '$0', '&0', 0],
      ],
      reset: fresh,
      next: ['open', `"${other}`, 0],
    },
    { call: 'memfd_create', lines: [['memfd_create', '"x', 0]], next: ['pipe', '&0'] },
    { call: 'pipe', lines: [['pipe', '&0']], next: ['memfd_create', '"x', 0] },
    { call: 'pipe2', lines: [['pipe2', '&0', 0]], next: ['memfd_create', '"x', 0] },
  ];
}

export default scenario('keeps system calls on files from taking effect', { timeoutMs: 900_000 }, (ctx) =>
  tryCases(ctx, casesIn(ctx.folder)),
);
