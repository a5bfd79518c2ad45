// SPDX-License-Identifier: Apache-2.0
// Owns the error of the filter host.
import type { FilterHostErrorCode } from './types.js';

export class FilterHostError extends Error {
  /** Index in the list of filters of the one that is to blame, where one is. */
  source?: number;

  constructor(
    readonly code: FilterHostErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'FilterHostError';
  }
}
