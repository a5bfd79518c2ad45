// SPDX-License-Identifier: Apache-2.0
// Owns the running of this program again as root, where the agent's socket is root's.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { isRoot, prepareSudo } from './up/processes.js';
import { cliEntry } from './up/repository.js';

/** Variables that the raised program needs; sudo passes none. */
const passed = ['WEIR_HOME', 'WEIR_SOCKET', 'WEIR_URL', 'WEIR_TOKEN'];

function command(args: readonly string[]): string[] {
  const self = [process.execPath, cliEntry, ...args];
  if (isRoot()) return self;
  const variables = passed.flatMap((name) =>
    process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`],
  );
  return ['sudo', '-n', '--', '/usr/bin/env', ...variables, ...self];
}

/** Runs `weir ARGS` as root with our streams; gives its exit code. */
export function runRaised(args: readonly string[], why: string): number {
  prepareSudo(why);
  const [program = '', ...rest] = command(args);
  return spawnSync(program, rest, { stdio: 'inherit' }).status ?? 1;
}

/** Starts `weir ARGS` as root beside us; what it prints goes to `onText`. */
export function startRaised(args: readonly string[], onText: (text: string) => void): ChildProcess {
  const [program = '', ...rest] = command(args);
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.setEncoding('utf8').on('data', onText);
  return child;
}
