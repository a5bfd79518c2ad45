// SPDX-License-Identifier: Apache-2.0
// The public names of the part that brings policies into the kernel.

export { type Binding, BindingTable } from './bindings.js';
export { PolicyLoadError, type PolicyLoadErrorCode } from './errors.js';
export {
  HookKernel,
  type HookKernelOptions,
  type HookProgramFacts,
  type ProgramKind,
  readHostNamespaces,
} from './hook-kernel.js';
export { hostRealPath, realPathIn } from './host-paths.js';
export {
  type HookStatus,
  type PolicyOutcome,
  PolicySet,
  type PolicySetOptions,
  resolvePolicyPaths,
} from './policy-set.js';
