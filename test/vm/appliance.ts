// SPDX-License-Identifier: Apache-2.0
// Boots a guest for a person rather than for tests: a shell, or one command of the
// built packages that talks to this host over the network (10.0.2.2 is its loopback).

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findKernel, type Preparation, prepare } from './host.js';
import type { KernelName } from './kernels.js';
import { cacheFolder } from './places.js';
import { Machine } from './qemu.js';
import type { VariantName } from './scenario.js';
import type { GuestFile } from './worktree.js';

export interface AppliancePayload {
  /** What runs in the guest, in /weir; its standard streams are the serial line. */
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Files to add to the guest's work disk. */
  readonly files?: readonly GuestFile[];
}

export interface ApplianceOptions {
  readonly kernel?: KernelName;
  readonly variant?: VariantName;
  readonly payload: AppliancePayload;
  readonly portForward?: readonly { readonly host: number; readonly guest: number }[];
  readonly memoryMebibytes?: number;
  /** Called with each line that the command prints. */
  readonly onSerialLine: (line: string) => void;
}

export interface Appliance {
  /** Resolves when the guest has ended: its command did, or `close` was called. */
  readonly ended: Promise<void>;
  /** Sends a line to the command's standard input. */
  writeLine(line: string): void;
  /** Returns what the kernel and init printed. */
  consoleText(): string;
  /** Ends the guest at once. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Boots a guest that runs one command until it ends. Throws `VmError` where none can be had. */
export async function bootInteractive(options: ApplianceOptions): Promise<Appliance> {
  const { payload } = options;
  mkdirSync(cacheFolder(), { recursive: true });
  const scratch = mkdtempSync(join(cacheFolder(), 'appliance-'));
  let preparation: Preparation;
  try {
    const script = join(scratch, 'appliance.sh');
    const exports = Object.entries(payload.env ?? {}).map(
      ([name, value]) => `export ${name}=${quoteForShell(value)}\n`,
    );
    writeFileSync(script, `${exports.join('')}exec ${payload.command.map(quoteForShell).join(' ')}\n`);
    preparation = await prepare([...(payload.files ?? []), { from: script, to: 'vm/appliance.sh' }]);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const machine = await Machine.start({
    kernel: findKernel(preparation, options.kernel ?? '6.12'),
    variant: options.variant ?? 'default',
    rootImage: preparation.rootImage,
    workImage: preparation.workImage,
    mode: 'appliance',
    network: true,
    portForward: options.portForward ?? [],
    memoryMebibytes: options.memoryMebibytes ?? 1024,
    onLine: options.onSerialLine,
  });
  const ended = machine.ended.then(() => preparation.close());
  const close = async (): Promise<void> => {
    await machine.close();
    await ended;
  };
  return {
    ended,
    writeLine: (line) => machine.send(line),
    consoleText: () => machine.consoleSince(0),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Gives the terminal a root shell in a guest; resolves when it was left. */
export async function bootShell(kernel: KernelName, variant: VariantName): Promise<void> {
  const preparation = await prepare();
  try {
    const machine = await Machine.start({
      kernel: findKernel(preparation, kernel),
      variant,
      rootImage: preparation.rootImage,
      workImage: preparation.workImage,
      mode: 'shell',
      network: true,
      interactive: true,
    });
    await machine.ended;
  } finally {
    preparation.close();
  }
}

function quoteForShell(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
