// SPDX-License-Identifier: Apache-2.0
// System calls on processes and credentials are kept from taking effect.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Case, type Line, tryCases } from '../guest/prevention.js';
import { scenario } from '../scenario.js';

const SIGCHLD = 17;
const SIGTSTP = 20;
const CLONE_NEWUSER = 0x10000000;
const CLONE_NEWPID = 0x20000000;
/** Information of a signal that a process may make up: its number, and that it was queued. */
const queued = '&0:1400000000000000ffffffff';

export default scenario(
  'keeps system calls on processes and credentials from taking effect',
  { timeoutMs: 900_000 },
  async (ctx) => {
    const { folder } = ctx;
    const trace = join(folder, 'trace');
    const untraced = () => rmSync(trace, { force: true });
    const isTraced = () => existsSync(trace);
    const victims: ChildProcess[] = [];
    const start = async (): Promise<number> => {
      const victim = spawn('sleep', ['1000'], { stdio: 'ignore' });
      victims.push(victim);
      await once(victim, 'spawn');
      return victim.pid ?? 0;
    };
    const pid = await start();
    const stopped = await start();
    const statusOf = (of: number) => readFileSync(`/proc/${of}/status`, 'utf8');
    // To a process that is stopped a further stop stays pending, until it is let go on.
    const stop = async () => {
      process.kill(stopped, 'SIGCONT');
      process.kill(stopped, 'SIGSTOP');
      await ctx.waitFor('the victim to be stopped', () => /State:\tT/.test(statusOf(stopped)));
    };
    const isSignalled = () =>
      [...statusOf(stopped).matchAll(/(?:Shd|Sig)Pnd:\t([0-9a-f]+)/g)].some(
        ([, mask]) => (BigInt(`0x${mask}`) >> BigInt(SIGTSTP - 1)) & 1n,
      );
    // The tracer of a case has ended since, or still is there: a victim has one at most.
    const isTraceable = () => /TracerPid:\t0\n/.test(statusOf(pid));
    const waitUntraced = () => ctx.waitFor('the victim to be free', isTraceable).then(untraced);
    const child = (call: string, args: (string | number)[] = [], variant?: string): Case => ({
      call,
      ...(variant === undefined ? {} : { variant }),
      lines: [[call, ...args]],
      effect: isTraced,
      reset: untraced,
      next: call === 'fork' ? ['vfork'] : ['fork'],
      nextActs: true,
    });
    const executes = (call: string, line: Line): Case => ({
      call,
      lines: [line],
      effect: isTraced,
      reset: untraced,
      replaces: true,
      next: ['getppid'],
    });
    const signals = (call: string, ...args: (string | number)[]): Case => ({
      call,
      lines: [
        ...(call === 'pidfd_send_signal' ? [['pidfd_open', stopped, 0] as const] : []),
        [call, ...args],
      ],
      effect: isSignalled,
      reset: stop,
      next: call === 'kill' ? ['tkill', pid, 0] : ['kill', pid, 0],
    });
    const id = (call: string, ...args: number[]): Case => ({
      call,
      lines: [[call, ...args]],
      next: call.includes('gid') ? ['setfsgid', 7] : call === 'setgroups' ? ['getppid'] : ['setfsuid', 7],
    });
    const reaches = (call: string): Case => ({
      call,
      lines: [[call, pid, '&0:%20010000000000000', 1, `&1:${addressOf(pid)}0100000000000000`, 1, 0]],
      reset: waitUntraced,
    });
    const cases: Case[] = [
      child('fork'),
      child('vfork'),
      child('clone', [SIGCHLD]),
      child('clone', [CLONE_NEWPID | SIGCHLD], 'namespace'),
      child('clone', [CLONE_NEWUSER | SIGCHLD], 'user'),
      // The signal of the child's end is the fifth of eleven numbers.
      child('clone3', [`&0:${'00'.repeat(32)}1100000000000000`, 88]),
      executes('execve', ['execve', '"/weir/bin/act', `*/weir/bin/act,${trace}`, 0]),
      executes('execveat', ['execveat', -100, '"/weir/bin/act', `*/weir/bin/act,${trace}`, 0, 0]),
      { call: 'ptrace', variant: 'attach', lines: [['ptrace', 16, pid, 0, 0]], reset: waitUntraced },
      { call: 'ptrace', variant: 'seize', lines: [['ptrace', 0x4206, pid, 0, 0]], reset: waitUntraced },
      { call: 'ptrace', variant: 'traceme', lines: [['ptrace', 0, 0, 0, 0]] },
      reaches('process_vm_readv'),
      reaches('process_vm_writev'),
      signals('kill', stopped, SIGTSTP),
      signals('tkill', stopped, SIGTSTP),
      signals('tgkill', stopped, stopped, SIGTSTP),
      signals('rt_sigqueueinfo', stopped, SIGTSTP, queued),
      signals('rt_tgsigqueueinfo', stopped, stopped, SIGTSTP, queued),
      signals('pidfd_send_signal', '$0', SIGTSTP, 0, 0),
      id('setuid', 1234),
      id('setreuid', 1234, 1234),
      id('setresuid', 1234, 1234, 1234),
      id('setgid', 1234),
      id('setregid', 1234, 1234),
      id('setresgid', 1234, 1234, 1234),
      { call: 'setgroups', lines: [['setgroups', 1, '&0:d2040000']] },
      {
        call: 'capset',
        lines: [['capset', '&0:2205082000000000', '&1:010000000100000000000000']],
      },
      { call: 'prctl', lines: [['prctl', 38, 1, 0, 0, 0]], next: ['getppid'] },
    ];
    try {
      await tryCases(ctx, cases);
    } finally {
      for (const one of victims) one.kill('SIGKILL');
    }
  },
);

/** Where a process has memory that can be read and written: its stack, as eight bytes in hexadecimal. */
function addressOf(pid: number): string {
  const start = /^([0-9a-f]+)-[0-9a-f]+ rw-p .*\[stack\]$/m.exec(
    readFileSync(`/proc/${pid}/maps`, 'utf8'),
  )?.[1];
  return Buffer.from(BigUint64Array.of(BigInt(`0x${start}`)).buffer).toString('hex');
}
