// SPDX-License-Identifier: Apache-2.0
// Owns the one error of this package: bytes that are no batch or no segment.

/** What is wrong with the bytes. Code branches on this, never on the message. */
export type SegmentErrorCode =
  /** Shorter than its own header or counts say. */
  | 'truncated'
  /** Does not begin as a batch or a segment does. */
  | 'not-a-batch'
  | 'not-a-segment'
  /** Laid out by a version that this code does not know. */
  | 'version'
  /** An offset, a length, a count or an index reaches out of what it counts in. */
  | 'out-of-bounds'
  /** A value that no writer gives. */
  | 'invalid'
  /** More than this code takes. */
  | 'too-large'
  /** A check sum or a digest does not fit. */
  | 'corrupt'
  /** A segment does not follow the one before it. */
  | 'chain';

/** Thrown for bytes that are no valid batch or segment; `where` names the field. */
export class SegmentError extends Error {
  override readonly name = 'SegmentError';
  readonly code: SegmentErrorCode;
  readonly where: string;

  constructor(code: SegmentErrorCode, where: string, why: string) {
    super(`${where}: ${why}`);
    this.code = code;
    this.where = where;
  }
}
