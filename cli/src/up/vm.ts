// SPDX-License-Identifier: Apache-2.0
// Owns the guest of `weir up --vm`: boots it with the agent, shows its events, and hands its messages on.
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CliError } from '../errors.js';
import { cell, type Output } from '../output.js';
import type { DemoResult } from './demo.js';
import { until } from './processes.js';
import { repository } from './repository.js';

/** What test/vm/appliance.ts gives; it is bundled when it is needed, as its own runner does. */
interface Harness {
  bootInteractive(options: {
    kernel?: string;
    payload: { command: string[]; env: Record<string, string>; files: Array<{ from: string; to: string }> };
    onSerialLine: (line: string) => void;
  }): Promise<{
    readonly ended: Promise<void>;
    writeLine(line: string): void;
    consoleText(): string;
    close(): Promise<void>;
  }>;
}

async function loadHarness(): Promise<Harness> {
  const { build } = await import('esbuild');
  const cache = join(repository, '.cache');
  mkdirSync(cache, { recursive: true });
  const bundled = join(cache, `vm-up-${process.pid}.mjs`);
  await build({
    entryPoints: [join(repository, 'test/vm/appliance.ts')],
    outfile: bundled,
    bundle: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    logLevel: 'warning',
  });
  try {
    return (await import(pathToFileURL(bundled).href)) as Harness;
  } finally {
    rmSync(bundled, { force: true });
  }
}

export interface Guest {
  /** Whether events are shown. */
  show(events: boolean): void;
  /** Waits until the agent has a release in force. @throws {CliError} with its log where it failed */
  ready(signal: AbortSignal): Promise<void>;
  demo(signal: AbortSignal): Promise<readonly DemoResult[]>;
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const hostile = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f]/;

/** Without KVM a guest runs several times slower, so that limits are wide. */
const readyMs = 180_000;
const demoMs = 60_000;

export async function startGuest(
  options: {
    url: string;
    token: string;
    marker: string;
    kernel: string;
    filterKey: string;
    onShown: (line: string) => void;
  },
  output: Output,
): Promise<Guest> {
  const port = new URL(options.url).port;
  const dist = join(repository, 'cli/dist/up');
  let ready = false;
  let shown = false;
  let failed: { ended: string; log: string } | undefined;
  let results: readonly DemoResult[] | undefined;
  const onSerialLine = (line: string) => {
    if (!line.startsWith('@weir ')) {
      if (!shown) return;
      // The agent made its lines harmless already, and their backslashes mean it; others are not trusted to be.
      const text = line.replace(/\r$/, '');
      output.line(hostile.test(text) ? cell(text) : text);
      options.onShown(text);
      return;
    }
    const { kind, value } = JSON.parse(line.slice(6)) as { kind: string; value: unknown };
    if (kind === 'ready') ready = true;
    else if (kind === 'demo') results = value as DemoResult[];
    else if (kind === 'failed') failed = value as typeof failed;
  };
  let appliance: Awaited<ReturnType<Harness['bootInteractive']>>;
  try {
    const harness = await loadHarness();
    appliance = await harness.bootInteractive({
      kernel: options.kernel,
      payload: {
        command: ['node', '/weir/cli/dist/up/guest.js'],
        env: {
          // In the guest this address is the host's loopback.
          WEIR_GUEST_URL: `http://10.0.2.2:${port}`,
          WEIR_GUEST_TOKEN: options.token,
          WEIR_GUEST_MARKER: options.marker,
          // One line, whatever carries it: the guest puts the lines of the PEM back.
          WEIR_GUEST_FILTER_KEY: options.filterKey.trim().replaceAll('\n', '|'),
        },
        files: [
          { from: join(dist, 'guest.js'), to: 'cli/dist/up/guest.js' },
          { from: join(dist, 'demo.js'), to: 'cli/dist/up/demo.js' },
          { from: join(repository, 'cli/package.json'), to: 'cli/package.json' },
        ],
      },
      onSerialLine,
    });
  } catch (cause) {
    throw new CliError(
      `No guest could be booted: ${cause instanceof Error ? cause.message : String(cause)}`,
      ['It takes: apt-get install $(grep -v "^#" test/vm/apt-packages.txt)'],
      1,
      { cause },
    );
  }
  const check = () => {
    if (failed === undefined) return;
    throw new CliError(
      `The agent in the guest failed (${failed.ended}).`,
      failed.log.trim().split('\n').slice(-8),
    );
  };
  let over = false;
  void appliance.ended.then(() => {
    over = true;
  });
  const waitFor = async <T>(
    limitMs: number,
    what: string,
    condition: () => T | undefined,
    signal: AbortSignal,
  ): Promise<T> => {
    const found = await until(
      limitMs,
      () => {
        check();
        return over ? undefined : condition();
      },
      signal,
    );
    if (found !== undefined) return found;
    throw new CliError(
      signal.aborted ? 'Given up.' : `The guest did not get to ${what}.`,
      appliance.consoleText().trim().split('\n').slice(-8),
    );
  };
  return {
    show: (events) => {
      shown = events;
    },
    ready: async (signal) => {
      await waitFor(readyMs, 'a running agent', () => (ready ? true : undefined), signal);
    },
    demo: async (signal) => {
      appliance.writeLine('demo');
      return waitFor(demoMs, 'the end of the demonstration', () => results, signal);
    },
    ended: appliance.ended,
    async close() {
      if (!over) {
        appliance.writeLine('end');
        await Promise.race([appliance.ended, until(10_000, () => (over ? true : undefined))]);
      }
      await appliance.close();
    },
  };
}
