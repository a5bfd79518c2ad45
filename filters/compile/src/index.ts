// SPDX-License-Identifier: Apache-2.0
// Public names of building and testing filters.
export {
  type BenchOptions,
  type BenchResult,
  benchFilter,
  formatBench,
  formatCost,
  type ModuleSize,
  sizeOfModule,
} from './bench.js';
export {
  appendCustomSection,
  type BuildOptions,
  type BuildResult,
  buildFilter,
  formatBuild,
  readManifest,
  sdkFolder,
} from './build.js';
export type { CaseResult } from './case-result.js';
export { type Diagnostic, FilterBuildError, type FilterBuildErrorCode, formatDiagnostics } from './error.js';
export { batchOfEvents, splitArguments } from './events.js';
export { checkLoad } from './load.js';
export { formatTest, type TestOptions, type TestResult, testFilter } from './run-tests.js';
export { formatNew, type NewFilterResult, newFilter } from './scaffold.js';
export {
  type FilterKey,
  type FilterSignature,
  FilterSignError,
  type FilterSignErrorCode,
  formatSignature,
  moduleDigest,
  type NewFilterKey,
  newFilterKey,
  parseSignature,
  readFilterKey,
  readSignature,
  type SignatureCheck,
  signFilter,
  verifyFilter,
} from './sign.js';
