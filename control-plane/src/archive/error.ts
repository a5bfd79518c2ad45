// SPDX-License-Identifier: Apache-2.0
// Owns the one error of the archive.

export type ArchiveErrorCode =
  /** The bytes are no segment, or not one of the agent that sent them. */
  | 'invalid-segment'
  /** Another segment has this place in the chain already. */
  | 'conflict'
  /** The query is none that may run; the message says why. */
  | 'query-refused'
  /** It took too long. */
  | 'query-timeout'
  /** It took more memory, or gave more bytes, than a query may. */
  | 'query-too-large'
  /** As many queries as may are running. */
  | 'busy'
  /** A file of the archive is not the one that was stored, or is gone; the message names it. */
  | 'file-changed'
  | 'not-found'
  | 'closed';

export class ArchiveError extends Error {
  override readonly name = 'ArchiveError';
  readonly code: ArchiveErrorCode;

  constructor(code: ArchiveErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
