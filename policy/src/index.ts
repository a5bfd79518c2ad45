// SPDX-License-Identifier: Apache-2.0
// The public names of the package.

export { agentActionTargets } from './agent-actions.js';
export { Btf, BtfError } from './btf.js';
export { factsOfBtf } from './btf-facts.js';
export { callerOfHook, isDeniable, resolveCall } from './calls.js';
export { check, type KernelFacts, type PolicyCheck } from './check.js';
export { isSubstring, mergeMasks } from './dimensions.js';
export { ElfError, type ElfErrorCode, type FileReader } from './elf.js';
export {
  formatIssue,
  PolicyError,
  type PolicyIssue,
  type PolicyIssueCode,
  policyIssueCodes,
} from './error.js';
export { generateLists, type KernelNames } from './generated-lists.js';
export { type ImaFile, imaFileOf } from './ima.js';
export { type ArgumentTypeOf, resolveArgumentTypes } from './kernel-types.js';
export { type LibraryEntry, libraryEntry, sortLibrary } from './library.js';
export { type FollowedLink, followLinks, type RealPath, resolveLinks } from './links.js';
export {
  denialPoints,
  type LsmPath,
  lsmPathCalls,
  lsmPathFunctions,
  lsmPathOf,
} from './lsm-paths.js';
export type { UserArgument } from './marker-arguments.js';
export { capabilityNames, type TypeInfo, typeInfo } from './names.js';
export { type Pages, pagesOf } from './pages.js';
export { parsePolicies } from './parse.js';
export type { ResolvedCall, TracepointName, UserFunction, UserMarker, UserPlace } from './places.js';
export { type PlanInput, plan } from './plan.js';
export type * from './plan-types.js';
export { type Policy, policyIssue } from './policy.js';
export { scopeAttributeChanges } from './process-terms.js';
export { unsupported } from './support.js';
export { syscallNames } from './syscall-names.js';
export { syscallNumber, syscallNumber32 } from './syscall-numbers.js';
export { locateUserPlace, type UserLocation } from './user-locations.js';
export { type Validation, validate } from './validate.js';
export {
  selectsNode,
  selectsWorkload,
  type WorkloadFacts,
  workloadField,
} from './workloads.js';
