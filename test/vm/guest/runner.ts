// SPDX-License-Identifier: Apache-2.0
// Runs scenarios in the guest, one after the other as the host asks for them, each
// in a process and a control group of its own, so that what one leaves behind (a
// hung process, an attached program) ends with it.

import { fork } from 'node:child_process';
import {
  closeSync,
  constants,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmdirSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { release } from 'node:os';
import { createInterface } from 'node:readline';
import type { GuestMessage, RunCommand, ScenarioMessage } from '../protocol.js';

const groups = '/sys/fs/cgroup/weir-test';
const emptyGroupWaitMs = 5_000;
const logBytesMax = 256 * 1024;
const kernelLogLinesMax = 5_000;

const port = openSync('/dev/ttyS1', constants.O_WRONLY | constants.O_NOCTTY);
const kernelMessages = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);

function tell(message: GuestMessage): void {
  const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
  for (let sent = 0; sent < bytes.length; ) sent += writeSync(port, bytes, sent);
}

/** Returns what the kernel logged since the last call. */
function readKernelLog(): string[] {
  const lines: string[] = [];
  const record = Buffer.alloc(16 * 1024);
  while (lines.length < kernelLogLinesMax) {
    try {
      const length = readSync(kernelMessages, record);
      // "priority,sequence,microseconds,flags;text", then lines of fields that begin with a space.
      const [, microseconds = '0', text = ''] =
        /^\d+,\d+,(\d+),[^;]*;([^\n]*)/.exec(record.toString('utf8', 0, length)) ?? [];
      lines.push(`[${(Number(microseconds) / 1e6).toFixed(6).padStart(12)}] ${text}`);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') break;
      // The kernel overwrote records before they were read; reading goes on at the oldest.
      if (code === 'EPIPE') lines.push('(records lost)');
      else throw error;
    }
  }
  return lines;
}

async function endGroup(group: string): Promise<void> {
  writeFileSync(`${group}/cgroup.kill`, '1');
  const endMs = performance.now() + emptyGroupWaitMs;
  while (/^populated 1$/m.test(readFileSync(`${group}/cgroup.events`, 'utf8'))) {
    if (performance.now() > endMs) throw new Error('processes of the scenario cannot be killed');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  rmdirSync(group);
}

/** Runs one scenario to its end or its time limit; returns what went wrong, or null. */
async function runScenario(command: RunCommand): Promise<string | null> {
  const group = `${groups}/${command.id}`;
  mkdirSync(group, { recursive: true });
  const child = fork('/weir/vm/scenario-main.mjs', [command.file, command.kernel, command.variant], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: ['--enable-source-maps'],
  });
  let logRoom = logBytesMax;
  const log = (text: string): void => {
    if (logRoom <= 0) return;
    logRoom -= text.length;
    tell({ type: 'log', id: command.id, text: logRoom > 0 ? text : '(the rest of the log is cut)' });
  };
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', log);

  let outcome: string | null | undefined;
  const ended = new Promise<string>((resolve) => {
    child.on('error', (error) => {
      resolve(`the scenario's process cannot be started: ${error.message}`);
    });
    child.on('close', (code, signal) => {
      resolve(`the scenario's process ended before the scenario (${signal ?? `exit ${code}`})`);
    });
  });
  child.on('message', (message: ScenarioMessage) => {
    if (message.type === 'result') outcome = message.error;
    else if (message.type === 'log') log(message.text);
    else tell({ ...message, id: command.id });
  });
  const timer = setTimeout(() => {
    outcome ??= `the scenario timed out after ${command.timeoutMs} ms`;
    child.kill('SIGKILL');
  }, command.timeoutMs);
  writeFileSync(`${group}/cgroup.procs`, String(child.pid));
  child.send('start');
  // Grandchildren may hold the pipes open, so that the end of the child itself counts.
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  await Promise.race([exited, ended]);
  clearTimeout(timer);
  await endGroup(group);
  const crash = await ended;
  return outcome === undefined ? crash : outcome;
}

async function main(): Promise<void> {
  if (!existsSync(groups)) mkdirSync(groups);
  tell({
    type: 'ready',
    node: process.version,
    release: release(),
    uptimeMs: Math.round(Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000),
    kernelLog: readKernelLog(),
  });
  for await (const line of createInterface({ input: createReadStream('/dev/ttyS1') })) {
    if (line.trim() === '') continue;
    const command = JSON.parse(line) as RunCommand;
    const startMs = performance.now();
    let error: string | null;
    try {
      error = await runScenario(command);
    } catch (cause) {
      error = `the runner failed: ${cause instanceof Error ? cause.stack : String(cause)}`;
    }
    tell({
      type: 'result',
      id: command.id,
      error,
      durationMs: Math.round(performance.now() - startMs),
      kernelLog: readKernelLog(),
    });
  }
  closeSync(port);
}

await main();
