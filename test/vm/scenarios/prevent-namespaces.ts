// SPDX-License-Identifier: Apache-2.0
// System calls on namespaces and mounts are kept from taking effect.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, tryCases } from '../guest/prevention.js';
import { scenario } from '../scenario.js';

const AT_FDCWD = -100;
const CLONE_NEWUTS = 0x04000000;

export default scenario(
  'keeps system calls on namespaces and mounts from taking effect',
  { timeoutMs: 900_000 },
  async (ctx) => {
    const { folder, run } = ctx;
    const target = join(folder, 'target');
    const from = join(folder, 'from');
    const to = join(folder, 'to');
    for (const path of [target, from, to]) mkdirSync(path);
    const isMounted = (path: string) =>
      readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .some((line) => line.split(' ')[4] === path);
    const unmountAll = async () => {
      for (const path of [target, from, to]) {
        while (isMounted(path)) {
          const { code, stderr } = await run('umount', [path]);
          if (code !== 0) throw new Error(`cannot unmount ${path}: ${stderr}`);
        }
      }
    };
    // Whoever stays in namespaces of its own while the cases last.
    const stranger = spawn('unshare', ['--uts', '--net', '--ipc', '--mount', 'sleep', '1000'], {
      stdio: 'ignore',
    });
    await once(stranger, 'spawn');
    await ctx.waitFor(
      'the stranger in its namespaces',
      () => readlinkSync(`/proc/${stranger.pid}/ns/uts`) !== readlinkSync('/proc/self/ns/uts'),
    );
    const joins = (kind: string, flag: number): Case => ({
      call: 'setns',
      variant: kind,
      lines: [
        ['open', `"/proc/${stranger.pid}/ns/${kind}`, 0],
        ['setns', '$0', flag],
      ],
      next: ['unshare', CLONE_NEWUTS],
    });
    const leaves = (name: string, flag: number): Case => ({
      call: 'unshare',
      variant: name,
      lines: [['unshare', flag]],
      next: ['sethostname', `"${readFileSync('/proc/sys/kernel/hostname', 'utf8').trim()}`, 1],
    });
    const cases: Case[] = [
      joins('uts', CLONE_NEWUTS),
      joins('net', 0x40000000),
      joins('ipc', 0x08000000),
      joins('mnt', 0x00020000),
      {
        call: 'setns',
        variant: 'pidfd',
        lines: [
          ['pidfd_open', stranger.pid ?? 0, 0],
          ['setns', '$0', CLONE_NEWUTS],
        ],
      },
      leaves('uts', CLONE_NEWUTS),
      leaves('mnt', 0x00020000),
      leaves('net', 0x40000000),
      leaves('pid', 0x20000000),
      leaves('user', 0x10000000),
      {
        call: 'mount',
        lines: [['mount', '"none', `"${target}`, '"tmpfs', 0, 0]],
        effect: () => isMounted(target),
      },
      {
        call: 'umount2',
        lines: [
          ['mount', '"none', `"${target}`, '"tmpfs', 0, 0],
          ['umount2', `"${target}`, 0],
        ],
      },
      { call: 'fsopen', lines: [['fsopen', '"tmpfs', 0]], next: ['unshare', CLONE_NEWUTS] },
      { call: 'open_tree', lines: [['open_tree', AT_FDCWD, `"${from}`, 1]], next: ['unshare', CLONE_NEWUTS] },
      {
        call: 'mount_setattr',
        lines: [
          ['mount', '"none', `"${from}`, '"tmpfs', 0, 0],
          ['mount_setattr', AT_FDCWD, `"${from}`, 0, '&0:01', 32],
        ],
        next: ['unshare', CLONE_NEWUTS],
      },
      {
        call: 'move_mount',
        lines: [
          ['open_tree', AT_FDCWD, `"${from}`, 1],
          ['move_mount', '$0', '"', AT_FDCWD, `"${to}`, 4],
        ],
        effect: () => isMounted(to),
      },
      {
        call: 'pivot_root',
        lines: [
          ['unshare', 0x00020000],
          ['mount', '"none', '"/', 0, 0x44000, 0],
          ['mount', '"none', `"${target}`, '"tmpfs', 0, 0],
          ['mkdir', `"${target}/old`, 0o700],
          ['pivot_root', `"${target}`, `"${target}/old`],
        ],
      },
      { call: 'chroot', lines: [['chroot', `"${folder}`]], next: ['unshare', CLONE_NEWUTS] },
    ];
    try {
      await tryCases(
        ctx,
        cases.map((one) => ({ reset: unmountAll, ...one })),
      );
    } finally {
      stranger.kill('SIGKILL');
    }
  },
);
