// SPDX-License-Identifier: Apache-2.0
// A guest that runs scenarios one after the other as its host asks: boots when
// needed, boots again after a panic or a hang, keeps what came back in the results.

import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { VmError } from './errors.js';
import type { LoadedScenario } from './host.js';
import { findSplats } from './kernel-log.js';
import type { Kernel } from './kernels.js';
import type { GuestMessage, ReadyMessage, ResultMessage, RunCommand } from './protocol.js';
import { Machine } from './qemu.js';
import { scenarioTimeoutMsDefault, type VariantName } from './scenario.js';

const bootTimeoutMs = 180_000;
const bootFailuresMax = 2;
/** What the guest may take beyond a scenario's own limit to report that the limit was passed. */
const watchdogGraceMs = 15_000;
const consoleLinesShown = 40;

export interface SessionOptions {
  readonly kernel: Kernel;
  readonly variant: VariantName;
  readonly network: boolean;
  readonly rootImage: string;
  readonly workImage: string;
  /** Where results go; a folder a scenario. */
  readonly results: string;
}

export interface Outcome {
  readonly scenario: string;
  readonly passed: boolean;
  /** What went wrong, with the kernel's log where it matters; null if it passed. */
  readonly error: string | null;
  readonly durationMs: number;
  readonly folder: string;
}

interface Report {
  error: string | null;
  durationMs: number;
  kernelLog: readonly string[];
}

export class Session {
  /** The last boot's greeting; null before the first. */
  ready: ReadyMessage | null = null;
  bootMs = 0;
  boots = 0;
  readonly #options: SessionOptions;
  #machine: Machine | null = null;
  #consolePosition = 0;
  #commandId = 0;
  #bootFailures = 0;
  #bootError: unknown;
  #onMessage: (message: GuestMessage) => void = () => {};

  constructor(options: SessionOptions) {
    this.#options = options;
    mkdirSync(options.results, { recursive: true });
    rmSync(join(options.results, 'console.log'), { force: true });
  }

  /** Runs a scenario, booting a guest for it if none is up. */
  async run(loaded: LoadedScenario): Promise<Outcome> {
    const { name } = loaded.scenario;
    const folder = join(this.#options.results, name.replace(/[^\w.-]+/g, '-'));
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const machine = await this.#boot();
    const report = await this.#command(machine, loaded, folder);
    const error = judge(report, loaded);
    save(join(folder, 'kernel.log'), `${report.kernelLog.join('\n')}\n`);
    const outcome: Outcome = {
      scenario: name,
      passed: error === null,
      error,
      durationMs: report.durationMs,
      folder,
    };
    save(join(folder, 'result.json'), `${JSON.stringify(outcome, null, 2)}\n`);
    return outcome;
  }

  /** Ends the guest; throws if the kernel reported a fault after the last scenario. Idempotent. */
  async close(): Promise<void> {
    const machine = this.#machine;
    if (machine === null) return;
    const since = machine.consoleSince(this.#consolePosition);
    await this.#end(machine);
    const splats = findSplats(since.split('\n'));
    if (splats.length > 0) {
      throw new Error(`the kernel reported a fault after the last scenario:\n${splats.join('\n')}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #boot(): Promise<Machine> {
    if (this.#machine !== null && !this.#machine.hasEnded) return this.#machine;
    // What has failed twice would keep every scenario waiting to fail again.
    if (this.#bootFailures >= bootFailuresMax) throw this.#bootError;
    try {
      const machine = await this.#bootOnce();
      this.#bootFailures = 0;
      return machine;
    } catch (error) {
      this.#bootFailures += 1;
      this.#bootError = error;
      throw error;
    }
  }

  async #bootOnce(): Promise<Machine> {
    const startMs = performance.now();
    let onReady: (message: ReadyMessage) => void = () => {};
    const ready = new Promise<ReadyMessage>((resolve) => {
      onReady = resolve;
    });
    const machine = await Machine.start({
      ...this.#options,
      processors: this.#options.variant === 'two-processors' ? 2 : 1,
      mode: 'run',
      onLine: (line) => {
        const message = parseMessage(line);
        if (message === null) return;
        if (message.type === 'ready') onReady(message);
        else this.#onMessage(message);
      },
    });
    this.#machine = machine;
    this.boots += 1;
    const greeting = await within(bootTimeoutMs, Promise.race([ready, machine.ended]));
    const { kernel, variant } = this.#options;
    if (greeting === undefined || greeting === 'late') {
      const how = greeting === 'late' ? `was not up within ${bootTimeoutMs} ms` : 'ended at boot';
      const console = lastLines(machine.consoleSince(0));
      await this.#end(machine);
      throw new VmError('BOOT_FAILED', `the guest (${kernel.release}, ${variant}) ${how}:\n${console}`);
    }
    const splats = findSplats(greeting.kernelLog);
    if (splats.length > 0) {
      await this.#end(machine);
      throw new VmError('BOOT_FAILED', `the kernel reported a fault at boot:\n${splats.join('\n')}`);
    }
    this.ready = greeting;
    this.bootMs = Math.round(performance.now() - startMs);
    this.#consolePosition = machine.consolePosition;
    return machine;
  }

  async #command(machine: Machine, loaded: LoadedScenario, folder: string): Promise<Report> {
    this.#commandId += 1;
    const id = this.#commandId;
    const timeoutMs = loaded.scenario.timeoutMs ?? scenarioTimeoutMsDefault;
    const startMs = performance.now();
    const result = new Promise<ResultMessage>((resolve) => {
      this.#onMessage = (message) => {
        if (message.type === 'ready' || message.id !== id) return;
        if (message.type === 'result') resolve(message);
        else if (message.type === 'log') append(join(folder, 'log.txt'), `${message.text.trimEnd()}\n`);
        else {
          const file = join(folder, basename(message.name));
          save(file, Buffer.from(message.base64, 'base64'));
        }
      };
    });
    const command: RunCommand = {
      type: 'run',
      id,
      file: loaded.file,
      kernel: this.#options.kernel.name,
      variant: this.#options.variant,
      timeoutMs,
    };
    machine.send(JSON.stringify(command));
    const limitMs = timeoutMs + watchdogGraceMs;
    const answer = await within(limitMs, Promise.race([result, machine.ended]));
    if (answer !== undefined && answer !== 'late') {
      // What the console printed before the answer may be read after it, but not later
      // than in the next turn of the event loop.
      await setImmediate();
      await setImmediate();
      this.#consolePosition = machine.consolePosition;
      return answer;
    }
    const kernelLog = machine.consoleSince(this.#consolePosition).split(/\r?\n/);
    await this.#end(machine);
    const how =
      answer === 'late'
        ? `the guest hung: no answer within ${limitMs} ms`
        : kernelLog.some((line) => line.includes('Kernel panic'))
          ? 'the kernel panicked'
          : 'the guest ended';
    return { error: how, durationMs: Math.round(performance.now() - startMs), kernelLog };
  }

  async #end(machine: Machine): Promise<void> {
    this.#machine = null;
    await machine.close();
    append(join(this.#options.results, 'console.log'), machine.consoleSince(0));
  }
}

// Another run may write, and clear, the same results: theirs mix, but neither fails.
function save(file: string, data: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, data);
}

function append(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, text);
}

/** Turns what came back into what a person reads; null if all is well. */
function judge(report: Report, { scenario }: LoadedScenario): string | null {
  const splats = findSplats(report.kernelLog);
  const parts: string[] = [];
  if (report.error !== null) parts.push(report.error);
  if (splats.length > 0) parts.push(`the kernel reported a fault: ${splats[0]}`);
  const failure = parts.length === 0 ? null : parts.join('\n');
  if (scenario.expectFailure !== undefined) {
    if (failure !== null && scenario.expectFailure.test(failure)) return null;
    return `expected a failure that matches ${scenario.expectFailure}, got: ${failure ?? 'none'}`;
  }
  if (failure === null) return null;
  const log = lastLines(report.kernelLog.join('\n'));
  return log.trim() === '' ? failure : `${failure}\n--- kernel log\n${log}`;
}

function lastLines(text: string): string {
  return text.trimEnd().split(/\r?\n/).slice(-consoleLinesShown).join('\n');
}

function parseMessage(line: string): GuestMessage | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null && 'type' in value ? (value as GuestMessage) : null;
  } catch {
    // A kernel that dies can leave half a line.
    return null;
  }
}

async function within<T>(limitMs: number, promise: Promise<T>): Promise<T | 'late'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
