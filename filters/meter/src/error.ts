// SPDX-License-Identifier: Apache-2.0
// Owns the error of metering.

export type MeterErrorCode =
  /** The bytes are no module, or a part of it does not fit its place. */
  | 'malformed'
  /** It decodes but does not validate. */
  | 'invalid'
  /** It uses what is not deterministic, has no bound that could be charged, or is not known here. */
  | 'feature'
  /** It exports a name that metering keeps for itself. */
  | 'reserved'
  /** It goes beyond a bound. */
  | 'limit';

/** Says why a module cannot be metered, and at which byte. */
export class MeterError extends Error {
  constructor(
    readonly code: MeterErrorCode,
    /** Offset into the module. */
    readonly offset: number,
    readonly reason: string,
  ) {
    super(`byte ${offset}: ${reason}`);
    this.name = 'MeterError';
  }
}
