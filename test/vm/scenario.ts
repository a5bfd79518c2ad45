// SPDX-License-Identifier: Apache-2.0
// What a scenario is: the declaration that host and guest both read, and the
// context that its code runs with in the guest. Nothing here acts at import.

import type { KernelName } from './kernels.js';

/**
 * How a kernel is started: as Debian starts it on one processor or on two, or with `bpf` taken out of the list of
 * security modules.
 */
export const variantNames = ['default', 'no-bpf-lsm', 'two-processors'] as const;
export type VariantName = (typeof variantNames)[number];

export interface ScenarioOptions {
  /** The kernels it runs on; all by default. */
  readonly kernels?: readonly KernelName[];
  /** The boot variants it runs under; `default` alone by default. */
  readonly variants?: readonly VariantName[];
  /** How long it may take in the guest; 60 s by default. What is running then is killed. */
  readonly timeoutMs?: number;
  /** Runs only where it is named: it takes longer than every run of the tests may. */
  readonly onDemand?: boolean;
  /** Gives the guest a network card that reaches this host's loopback at 10.0.2.2. */
  readonly network?: boolean;
  /**
   * Turns the scenario into a canary: it passes only if it fails, with a report that
   * this matches. Proves that the harness sees what it is there to see.
   */
  readonly expectFailure?: RegExp;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** 10 s by default; then the process is killed and `run` throws. */
  readonly timeoutMs?: number;
}

export interface RunResult {
  readonly pid: number;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Bytes as text, one character a byte, so that nothing is lost. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface ScenarioContext {
  readonly kernel: KernelName;
  readonly variant: VariantName;
  /** An empty folder of the scenario's own, on the root disk (ext4). */
  readonly folder: string;
  /** Runs a program to its end. Programs of test/vm/programs are found by their name. */
  run(program: string, args?: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Adds a line to the scenario's log on the host. */
  log(message: string): void;
  /** Brings data to the host, into the results folder of this run; 1 MiB at most. */
  artifact(name: string, data: string | Uint8Array): void;
  /** Waits until a condition holds (a value that is not false, null or undefined), or throws naming `what`. */
  waitFor<T>(
    what: string,
    condition: () => T | Promise<T>,
    timeoutMs?: number,
  ): Promise<Exclude<T, false | null | undefined>>;
}

export interface Scenario extends ScenarioOptions {
  readonly name: string;
  readonly body: (context: ScenarioContext) => void | Promise<void>;
}

/** Declares a scenario; the default export of each file in test/vm/scenarios. */
export function scenario(name: string, options: ScenarioOptions, body: Scenario['body']): Scenario {
  return { name, ...options, body };
}

export const scenarioTimeoutMsDefault = 60_000;
