// SPDX-License-Identifier: Apache-2.0
// Owns the one error of the command line: what a person did or met, said in a sentence, with what to do about it.

/** Exit codes: 1 it failed or found what it looks for, 2 the command was written wrongly. */
export type ExitCode = 1 | 2;

export class CliError extends Error {
  override readonly name = 'CliError';
  constructor(
    message: string,
    /** Further lines: what to do. */
    readonly hints: readonly string[] = [],
    readonly exitCode: ExitCode = 1,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export function usageError(message: string, usage?: string): CliError {
  return new CliError(message, usage === undefined ? [] : [`usage: ${usage}`], 2);
}
