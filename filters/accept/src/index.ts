// SPDX-License-Identifier: Apache-2.0
// Public names of filter acceptance.
export { acceptModule, defaultPolicy } from './accept.js';
export { FilterLimitError, parseFilterLimits } from './limits.js';
export {
  ABI_VERSION,
  type BindableKind,
  type BudgetField,
  bindableKinds,
  budgetFields,
  checkManifest,
  type FilterBudget,
  type FilterManifest,
  MANIFEST_BYTES_MAX,
  MANIFEST_SECTION,
  type ManifestResult,
  type ReadableField,
  type RedactableField,
  readableFields,
  redactableFields,
} from './manifest.js';
export {
  checkFilterSignatures,
  FILTER_SIGNATURE_CONTEXT,
  FILTER_SIGNATURES_MAX,
  type FilterKey,
  type FilterSignature,
  filterKey,
  filterSignatureMessage,
  parseFilterKey,
  type SignatureCheck,
} from './signature.js';
export type { Acceptance, AcceptancePolicy, RefusalCode } from './types.js';
