// SPDX-License-Identifier: Apache-2.0
// Owns the running of this program again as root, where the agent's socket is root's.
import { spawnSync } from 'node:child_process';
import { isRoot, prepareSudo } from './up/processes.js';
import { cliEntry } from './up/repository.js';

/**
 * The command that runs `weir ARGS` as root. All that it needs is in its arguments (the socket's path among them): no
 * variable is passed, so that no token and no address gets onto a command line, which every user and sudo's log see.
 */
export function raisedCommand(args: readonly string[], root = isRoot()): string[] {
  const self = [process.execPath, cliEntry, ...args];
  return root ? self : ['sudo', '-n', '--', ...self];
}

/** Runs `weir ARGS` as root with our streams; gives its exit code. */
export function runRaised(args: readonly string[], why: string): number {
  prepareSudo(why);
  const [program = '', ...rest] = raisedCommand(args);
  return spawnSync(program, rest, { stdio: 'inherit' }).status ?? 1;
}
