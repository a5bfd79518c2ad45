// SPDX-License-Identifier: Apache-2.0
// The public names of the part that brings policies into the kernel.

export { type Binding, BindingTable, placeOf } from './bindings.js';
export type { HookCounts, PolicyCounts } from './counts.js';
export { PolicyLoadError, type PolicyLoadErrorCode } from './errors.js';
export { HookKernel, type HookKernelOptions } from './hook-kernel.js';
export type { HookProgramFacts, ProgramKind } from './hook-program.js';
export { readHostNamespaces } from './host-namespaces.js';
export { hostRealPath, realPathIn } from './host-paths.js';
export { type Execution, type KnownProcess, type ProcessList, processesInProc } from './known-processes.js';
export type { HookReport, HookStatus, PolicyOutcome } from './outcomes.js';
export {
  PolicySet,
  type PolicySetOptions,
  resolvePolicyPaths,
} from './policy-set.js';
export type { Workload } from './workloads.js';
