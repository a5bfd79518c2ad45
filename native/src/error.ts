// SPDX-License-Identifier: Apache-2.0
// Owns the one error class of the addon: what failed, the kernel's errno, and the end of the verifier's log.
import { getSystemErrorName } from 'node:util';

/** What failed. Code branches on this, never on the text. */
export type NativeErrorCode =
  | 'ADDON_MISSING'
  | 'BAD_ARGUMENT'
  | 'BAD_STATE'
  | 'NOT_FOUND'
  | 'OBJECT_OPEN_FAILED'
  | 'OBJECT_LOAD_FAILED'
  | 'PROGRAM_LOAD_FAILED'
  | 'ATTACH_FAILED'
  | 'MAP_CREATE_FAILED'
  | 'MAP_ACCESS_FAILED'
  | 'PIN_FAILED'
  | 'RING_FAILED'
  | 'TEST_RUN_FAILED'
  | 'SYSTEM_FAILED';

/** An error of the addon. */
export class NativeError extends Error {
  override readonly name = 'NativeError';
  readonly code: NativeErrorCode;
  /** Positive errno, 0 where the kernel said nothing. */
  readonly errno: number;
  /** Name of `errno` (`EPERM`), empty where there is none. */
  readonly errnoName: string;
  /** The last kilobytes of what the verifier and libbpf said, empty where they said nothing. */
  readonly log: string;

  constructor(
    code: NativeErrorCode,
    message: string,
    details: { errno?: number; log?: string; cause?: unknown } = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.errno = details.errno ?? 0;
    this.errnoName = errnoName(this.errno);
    this.log = details.log ?? '';
  }
}

/** Name of a positive errno, empty for 0 and for numbers that have none (such as the kernel's 524, ENOTSUPP). */
export function errnoName(errno: number): string {
  if (errno <= 0) return '';
  if (errno === 524) return 'ENOTSUPP';
  try {
    return getSystemErrorName(-errno);
  } catch {
    return '';
  }
}

/** Runs a call of the addon; what it throws becomes a NativeError. */
export function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toNativeError(error);
  }
}

export function toNativeError(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof NativeError) return error;
  const raw = error as Error & { weirCode?: NativeErrorCode; errno?: number; log?: string };
  if (raw.weirCode === undefined) return error;
  const details: { errno?: number; log?: string } = {};
  if (raw.errno !== undefined) details.errno = raw.errno;
  if (raw.log !== undefined) details.log = raw.log;
  return new NativeError(raw.weirCode, raw.message, details);
}

export function badArgument(what: string, why: string): NativeError {
  return new NativeError('BAD_ARGUMENT', `${what}: ${why}`);
}
