// SPDX-License-Identifier: Apache-2.0
// Owns the error of building and testing filters.

export type FilterBuildErrorCode =
  | 'source'
  | 'manifest'
  | 'compile'
  | 'refused'
  | 'exists'
  | 'fixture'
  | 'load'
  | 'test';

/** A place in a source file; line and column begin with 1. */
export interface Diagnostic {
  file: string;
  line: number;
  column: number;
  severity: 'error' | 'warning' | 'info';
  code: string;
  message: string;
  /** The line itself, where there is one. */
  source: string;
}

/** What went wrong; of a source that does not compile, `diagnostics` say where. */
export class FilterBuildError extends Error {
  constructor(
    readonly code: FilterBuildErrorCode,
    message: string,
    readonly diagnostics: readonly Diagnostic[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'FilterBuildError';
  }
}

/** Diagnostics as text, each with its place and line. */
export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics
    .map((one) => {
      const head = `${one.file}:${one.line}:${one.column}: ${one.severity} ${one.code}: ${one.message}`;
      if (one.source === '') return head;
      return `${head}\n  ${one.source}\n  ${' '.repeat(Math.max(0, one.column - 1))}^`;
    })
    .join('\n');
}
