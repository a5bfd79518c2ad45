// SPDX-License-Identifier: Apache-2.0
// Owns the error of the filter host.
import type { FilterHostErrorCode } from './types.js';

export class FilterHostError extends Error {
  constructor(
    readonly code: FilterHostErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'FilterHostError';
  }
}
