// SPDX-License-Identifier: Apache-2.0
// Public names of the filter host.
export { type Budget, defaultBudget } from './budget.js';
export { FilterHostError } from './error.js';
export { FilterHost } from './host.js';
export {
  type BatchResult,
  type FilterHostErrorCode,
  type FilterHostOptions,
  type FilterReport,
  type FilterSet,
  type FilterSource,
  type FilterStatus,
  Judgement,
  type QuarantineCode,
  type Slot,
  type TrapCause,
} from './types.js';
