// SPDX-License-Identifier: Apache-2.0
// Owns the one error of the spool.

export type SpoolErrorCode =
  /** Used after `close`. */
  | 'closed'
  /** Its folder holds what no spool wrote, or another agent's. */
  | 'damaged'
  | 'wrong-agent'
  /** The file system refused to write. */
  | 'io';

export class SpoolError extends Error {
  override readonly name = 'SpoolError';
  readonly code: SpoolErrorCode;

  constructor(code: SpoolErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
