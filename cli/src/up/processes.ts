// SPDX-License-Identifier: Apache-2.0
// Owns the starting and ending of the processes of `weir up`: by identity, never by name, and only its own.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { CliError } from '../errors.js';
import { identify, isRunning, type ProcessIdentity } from '../state.js';

/** How long an orderly end may take before a process is killed. */
const graceMs = 15_000;
const pollMs = 50;

export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Waits until the condition gives something, at most so long; else undefined. */
export async function until<T>(
  limitMs: number,
  condition: () => Promise<T | undefined> | T | undefined,
  signal?: AbortSignal,
  everyMs = pollMs,
): Promise<T | undefined> {
  const endMs = Date.now() + limitMs;
  for (;;) {
    const found = await condition();
    if (found !== undefined) return found;
    if (Date.now() >= endMs || signal?.aborted === true) return undefined;
    await delay(everyMs, signal);
  }
}

/**
 * Starts a program of ours in node, in a session of its own (so that ctrl-c ends it only when we say so), its output
 * in a log file.
 */
export function start(
  script: string,
  args: readonly string[],
  logFile: string,
  options: { detached: boolean; sudo: boolean },
): ChildProcess {
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, 'a', 0o600);
  try {
    const command = [process.execPath, script, ...args];
    // -n: the password was asked for before, while the terminal was free.
    if (options.sudo) command.unshift('sudo', '-n', '--');
    const [program = '', ...rest] = command;
    return spawn(program, rest, { stdio: ['ignore', log, log], detached: options.detached });
  } finally {
    closeSync(log);
  }
}

/** What Node.js 20 says of itself in two lines, and says nothing of why something did not start. */
const nodeSaysOfItself = /^(\(node:\d+\) ExperimentalWarning: |\(Use `node --trace-warnings )/;

/** The last lines of a log, for somebody who must see why something did not start. */
export function tail(file: string, count = 8): string[] {
  try {
    return readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .filter((line) => !nodeSaysOfItself.test(line))
      .slice(-count);
  } catch {
    return [];
  }
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Makes sure that sudo raises us without asking again; asks for the password now, where it must. */
export function prepareSudo(why: string): void {
  if (isRoot()) return;
  if (spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0) return;
  const result = spawnSync('sudo', ['-v', '-p', `${why} needs root. Password of %u: `], { stdio: 'inherit' });
  if (result.status !== 0) {
    throw new CliError(`${why} needs root, and sudo did not give it.`, [
      'Run weir up as root, or weir up --vm, which needs none.',
    ]);
  }
}

type Signal = 'SIGTERM' | 'SIGKILL';

/** Sends a signal, through sudo where the process is root's and we are not. Is false where it could not be sent. */
function send(identity: ProcessIdentity, signal: Signal): boolean {
  try {
    return process.kill(identity.pid, signal);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EPERM')) return true; // it ended by itself
    const command = ['-n', 'kill', `-${signal.slice(3)}`, String(identity.pid)];
    return spawnSync('sudo', command, { stdio: 'ignore' }).status === 0;
  }
}

export type Ending =
  /** It was not running. */
  | 'none'
  | 'ended'
  /** It runs still: it may not be told to end, or does not. */
  | 'running';

/** Ends a process in order, and kills it where it does not end; says what came of it. */
export async function end(
  identity: ProcessIdentity | undefined,
  by: { send?: (identity: ProcessIdentity, signal: Signal) => boolean; graceMs?: number } = {},
): Promise<Ending> {
  if (identity === undefined || !isRunning(identity)) return 'none';
  const gone = () => (isRunning(identity) ? undefined : true);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    const sent = (by.send ?? send)(identity, signal);
    // Where we may not, waiting is of no use.
    if ((await until(sent ? (by.graceMs ?? graceMs) : 0, gone)) === true) return 'ended';
    if (!sent) break;
  }
  return 'running';
}

/** What to say of a process that {@link end} could not end. */
export function runsStill(what: string, identity: ProcessIdentity): CliError {
  return new CliError(`${what} runs still: it could not be ended.`, [
    `End it yourself, then run weir down: sudo kill -KILL ${identity.pid}`,
  ]);
}

/** Gives the process that sudo runs, or the process itself where no sudo is between. */
export async function identifyRaised(
  child: ChildProcess,
  sudo: boolean,
): Promise<ProcessIdentity | undefined> {
  const { pid } = child;
  if (pid === undefined) return undefined;
  if (!sudo) return identify(pid);
  return until(5_000, () => {
    if (child.exitCode !== null) return undefined;
    let current = pid;
    // sudo may keep a monitor between itself and the command.
    for (let depth = 0; depth < 3; depth++) {
      let children: string;
      try {
        children = readFileSync(`/proc/${current}/task/${current}/children`, 'utf8').trim();
      } catch {
        return undefined;
      }
      const next = Number(children.split(' ')[0]);
      if (children === '' || !Number.isInteger(next)) return undefined;
      current = next;
      if (readFileSync(`/proc/${current}/cmdline`, 'utf8').startsWith(process.execPath))
        return identify(current);
    }
    return undefined;
  });
}
