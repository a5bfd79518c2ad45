// SPDX-License-Identifier: Apache-2.0
// The process in which one scenario runs in the guest: gives it its context, and
// tells the runner how it ended.

import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { inspect } from 'node:util';
import type { KernelName } from '../kernels.js';
import { artifactBytesMax, type ScenarioMessage } from '../protocol.js';
import type { RunOptions, RunResult, Scenario, ScenarioContext, VariantName } from '../scenario.js';

const outputBytesMax = 1024 * 1024;
const runTimeoutMsDefault = 10_000;
const waitTimeoutMsDefault = 10_000;
const pollMs = 10;

const [file = '', kernel = '', variant = ''] = process.argv.slice(2);

function tell(message: ScenarioMessage): Promise<void> {
  return new Promise((resolve) => {
    process.send?.(message, undefined, {}, () => {
      resolve();
    });
  });
}

function run(program: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? runTimeoutMsDefault;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
      env: { ...process.env, ...options.env },
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      stdout = (stdout + text).slice(0, outputBytesMax);
    });
    child.stderr.setEncoding('latin1').on('data', (text: string) => {
      stderr = (stderr + text).slice(0, outputBytesMax);
    });
    // A program may end without reading its input.
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
      // A grandchild that holds the pipes would keep 'close' from coming.
      child.stdout.destroy();
      child.stderr.destroy();
    }, timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (isLate) {
        const what = [program, ...args].join(' ');
        reject(new Error(`${what} did not end within ${timeoutMs} ms\n${stdout}${stderr}`));
      } else resolve({ pid: child.pid ?? 0, code, signal, stdout, stderr });
    });
  });
}

async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = waitTimeoutMsDefault,
): Promise<Exclude<T, false | null | undefined>> {
  const endMs = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== false && value !== null && value !== undefined) {
      return value as Exclude<T, false | null | undefined>;
    }
    if (performance.now() >= endMs) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

const folder = `/root/scenario-${file}`;
const context: ScenarioContext = {
  kernel: kernel as KernelName,
  variant: variant as VariantName,
  folder,
  run,
  log(message) {
    void tell({ type: 'log', text: message });
  },
  artifact(name, data) {
    const bytes = Buffer.from(data);
    if (bytes.length > artifactBytesMax) {
      throw new Error(`artifact ${name} has ${bytes.length} bytes; at most ${artifactBytesMax}`);
    }
    void tell({ type: 'artifact', name, base64: bytes.toString('base64') });
  },
  waitFor,
};

async function runScenario(): Promise<string | null> {
  try {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const module = (await import(`/weir/vm/scenarios/${file}.mjs`)) as { default: Scenario };
    await module.default.body(context);
    return null;
  } catch (error) {
    return error instanceof Error ? inspect(error, { depth: 4 }) : `threw ${inspect(error)}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// The runner sends one message when it has put this process into its control group.
process.once('message', () => {
  void runScenario()
    .then((error) => tell({ type: 'result', error }))
    .then(() => process.exit(0));
});
