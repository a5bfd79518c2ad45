// SPDX-License-Identifier: Apache-2.0
// Runs programs on the host, and finds them.

import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { VmError, type VmErrorCode } from './errors.js';

/** Output beyond this is cut from the front: the end of a log is what explains a failure. */
const outputBytesMax = 16 * 1024 * 1024;

export interface ExecuteOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
  /** The name that the program is told it has. */
  readonly argv0?: string;
  /** The code of the error that a failure becomes. */
  readonly code?: VmErrorCode;
}

/** Returns the path of a program, looking where an administrator's shell would; null if there is none. */
export function findProgram(name: string): string | null {
  const path = `${process.env.PATH ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  for (const folder of path.split(delimiter)) {
    if (folder === '') continue;
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

/** Runs a program to its end and returns its standard output; throws with the end of its stderr if it fails. */
export async function execute(
  program: string,
  args: readonly string[],
  options: ExecuteOptions = {},
): Promise<string> {
  const path = findProgram(program) ?? program;
  const code = options.code ?? 'BUILD_FAILED';
  const child = spawn(path, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.argv0 === undefined ? {} : { argv0: options.argv0 }),
    env: { ...process.env, LC_ALL: 'C', ...options.env },
    timeout: options.timeoutMs ?? 300_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout = (stdout + text).slice(-outputBytesMax);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-outputBytesMax);
  });
  return new Promise((resolve, reject) => {
    child.on('error', (cause) => {
      reject(new VmError(code, `cannot start ${program}: ${cause.message}`, { cause }));
    });
    child.on('close', (exitCode, signal) => {
      if (exitCode === 0) resolve(stdout);
      else {
        const how = signal === null ? `exited with ${exitCode}` : `was ended by ${signal}`;
        const tail = (stderr.trim() || stdout.trim()).split('\n').slice(-15).join('\n');
        reject(new VmError(code, `${program} ${args.slice(0, 4).join(' ')} ${how}:\n${tail}`));
      }
    });
  });
}
