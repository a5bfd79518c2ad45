// SPDX-License-Identifier: Apache-2.0
// The lines of JSON that host and guest exchange over the guest's second serial port.

import type { KernelName } from './kernels.js';
import type { VariantName } from './scenario.js';

/** Host to guest: run one scenario. The next is sent when the result of this one is in. */
export interface RunCommand {
  readonly type: 'run';
  readonly id: number;
  /** The module's name in /weir/vm/scenarios, without its ending. */
  readonly file: string;
  readonly kernel: KernelName;
  readonly variant: VariantName;
  readonly timeoutMs: number;
}

/** Guest to host, once: the guest is up. */
export interface ReadyMessage {
  readonly type: 'ready';
  readonly node: string;
  readonly release: string;
  readonly uptimeMs: number;
  readonly kernelLog: readonly string[];
}

export interface LogMessage {
  readonly type: 'log';
  readonly id: number;
  readonly text: string;
}

export interface ArtifactMessage {
  readonly type: 'artifact';
  readonly id: number;
  readonly name: string;
  readonly base64: string;
}

/** Guest to host, once for each command. */
export interface ResultMessage {
  readonly type: 'result';
  readonly id: number;
  /** Null if the scenario passed. */
  readonly error: string | null;
  readonly durationMs: number;
  /** What the kernel logged since the result before this one. */
  readonly kernelLog: readonly string[];
}

export type GuestMessage = ReadyMessage | LogMessage | ArtifactMessage | ResultMessage;

/** What a scenario's own process tells the runner. */
export type ScenarioMessage =
  | { readonly type: 'log'; readonly text: string }
  | { readonly type: 'artifact'; readonly name: string; readonly base64: string }
  | { readonly type: 'result'; readonly error: string | null };

export const artifactBytesMax = 1024 * 1024;
/** A longer line can only be a fault: the largest artifact in base64, and its name. */
export const lineBytesMax = 2 * artifactBytesMax;
