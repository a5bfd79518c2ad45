// SPDX-License-Identifier: Apache-2.0
// Owns the errors of loading policies into the kernel, and the words for what a kernel refuses.
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

export type PolicyLoadErrorCode =
  /** A plan is beyond what the kernel's maps and programs take. */
  | 'limit'
  /** The kernel refused a program. */
  | 'load'
  /** The kernel refused to attach a program. */
  | 'attach'
  /** The kernel has no function of that name. */
  | 'no-function'
  /** A kernel map could not be written. */
  | 'map';

/** A policy, or a part of one, that cannot be brought into the kernel. */
export class PolicyLoadError extends Error {
  override readonly name = 'PolicyLoadError';
  readonly code: PolicyLoadErrorCode;

  constructor(code: PolicyLoadErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}

// The kernel's own number for "operation not supported" among its BPF code; C libraries do not know it.
const ENOTSUPP = 524;

/** Words for a positive errno. */
export function errnoInWords(errno: number): string {
  if (errno === ENOTSUPP) return 'operation not supported by this kernel';
  const entry = getSystemErrorMap().get(-errno);
  return entry === undefined ? 'unknown error' : entry[1];
}

/** The positive errno that an error of the addon carries, 0 where it carries none. */
export function errnoOf(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 0;
  const value = (error as { errno?: unknown }).errno;
  return typeof value === 'number' ? Math.abs(value) : 0;
}

/** Longest line of a log that is put into a message; the verifier's own reasons are far shorter. */
const wordCharactersMax = 300;

/** The line in which the kernel's verifier says why it refused a program; empty where it said nothing. */
export function lastWordOf(error: unknown): string {
  const log = (error as { log?: unknown } | null)?.log;
  if (typeof log !== 'string') return '';
  const lines = log.split('\n').map((line) => line.trim());
  const last = lines.findLast((line) => line !== '' && !/^(processed \d|libbpf:|--)/.test(line)) ?? '';
  return last.length > wordCharactersMax ? `${last.slice(0, wordCharactersMax - 1)}…` : last;
}

/** How many parameters a function may have that kernels before 6.6 hook. */
const parametersMax = 6;

/**
 * What a kernel's refusal means for whoever wrote the policy.
 * @param parameters of the function, where it is one
 */
export function explainRefusal(
  step: 'load' | 'attach',
  programType: string,
  symbol: string,
  error: unknown,
  parameters = 0,
): PolicyLoadError {
  const errno = errnoOf(error);
  const text = error instanceof Error ? error.message : String(error);
  const detail = errno === 0 ? text : `errno ${errno}: ${errnoInWords(errno)}`;
  if (
    /no such (type|function)|not found in (the )?(kernel )?BTF|unknown (attach )?target/i.test(text) ||
    errno === 3
  ) {
    return new PolicyLoadError(
      'no-function',
      `this kernel has no function ${symbol} to attach to (${detail}); see /proc/kallsyms for the names it has, or set ignore.callNotFound`,
      error,
    );
  }
  if (errno === ENOTSUPP && parameters > parametersMax) {
    return new PolicyLoadError(
      step,
      `this kernel hooks functions of up to ${parametersMax} parameters, and ${symbol} has ${parameters} (${detail}): Linux 6.6 and later hook those too`,
      error,
    );
  }
  if (errno === ENOTSUPP) {
    return new PolicyLoadError(
      step,
      `this kernel refuses ${programType} programs (${detail}), which ${symbol} needs; a kernel with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS takes them`,
      error,
    );
  }
  if (step === 'attach' && errno === 7) {
    return new PolicyLoadError(
      step,
      `${symbol} has as many programs attached as this kernel takes (${detail}): detach some of another tool`,
      error,
    );
  }
  if (step === 'attach' && errno === constants.errno.EBUSY) {
    return new PolicyLoadError(
      step,
      `${symbol} cannot be hooked (${detail}): this kernel was built without a place for hooks at its entry (/sys/kernel/tracing/available_filter_functions has the names that have one), or another tool holds it; hook a function that it calls, or that calls it`,
      error,
    );
  }
  const said = lastWordOf(error);
  const verb = step === 'load' ? 'load' : 'attach';
  return new PolicyLoadError(
    step,
    `cannot ${verb} the ${programType} program of ${symbol} (${detail})${said === '' ? '' : `: ${said}`}`,
    error,
  );
}
