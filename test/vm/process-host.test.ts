// SPDX-License-Identifier: Apache-2.0
// The process sensor on this machine: only tracepoints, and nothing is looked at but what the test itself starts.
// The scenarios process-*.ts run the same checks in the guest, on each kernel.

import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { whyNothingLoads } from '@weir/native';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkPathTexts } from './guest/path-checks.js';
import { type CheckContext, processChecks } from './guest/process-checks.js';
import { ProcessSensor } from './guest/process-sensor.js';
import { checkStates } from './guest/state-checks.js';
import { harnessFolder } from './places.js';
import type { RunOptions, RunResult } from './scenario.js';

const folder = mkdtempSync(join(tmpdir(), 'weir-process-'));
const program = join(folder, 'process');
const why = whyNothingLoads();

function run(file: string, args: readonly string[] = [], options: RunOptions = {}): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 20_000,
      killSignal: 'SIGKILL',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('latin1').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr?.setEncoding('latin1').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ pid: child.pid ?? 0, code, signal, stdout, stderr }));
  });
}

async function waitFor<T>(what: string, condition: () => T | Promise<T>, timeoutMs = 10_000) {
  for (const end = performance.now() + timeoutMs; ; ) {
    const value = await condition();
    if (value) return value as Exclude<T, false | null | undefined>;
    if (performance.now() > end) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe.skipIf(why !== undefined)(`the process sensor here${why === undefined ? '' : ` (${why})`}`, () => {
  let sensor: ProcessSensor;

  beforeAll(() => {
    for (const name of ['process', 'paths']) {
      const source = join(harnessFolder(), 'programs', `${name}.c`);
      execFileSync('gcc', [
        '-O1',
        '-Wall',
        '-Werror',
        '-static',
        '-pthread',
        '-o',
        join(folder, name),
        source,
      ]);
    }
    sensor = new ProcessSensor();
  });
  afterAll(() => {
    sensor.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test.each(processChecks)('$name', async ({ body }) => {
    const own = mkdtempSync(join(folder, 'check-'));
    mkdirSync(own, { recursive: true });
    const context: CheckContext = { folder: own, run, waitFor, sensor, program };
    await body(context);
    expect(sensor.failures()).toEqual({});
    expect(sensor.counter('storageFailed')).toBe(0n);
    sensor.clear();
  });

  test('keeps the state of a process for the hooks', async () => {
    const own = mkdtempSync(join(folder, 'states-'));
    await checkStates({ folder: own, run, waitFor, sensor, program });
  });

  test('makes the same text of a path as the kernel', async () => {
    const own = join(folder, 'paths-files');
    mkdirSync(own);
    await checkPathTexts({ folder: own, run }, join(folder, 'paths'));
  });
});
