// SPDX-License-Identifier: Apache-2.0
// What tests of other packages use: the words of the language, the reference matcher, the interpreter of plans, random
// policies.

export { actionNames, argumentOperatorNames, argumentOperators, typeNames } from '../names.js';
export {
  type CallArgument,
  type DescribedCall,
  type DescribedSocket,
  type ProcessOrigin,
  type ReferenceHit,
  referenceHits,
} from '../reference.js';
export { policyOfDocument } from './document.js';
export { interpretPlan, interpretScopes } from './interpret.js';
export { mutateStructure, mutateText, PolicyTrees } from './mutate.js';
export {
  Random,
  type RandomArgument,
  type RandomHook,
  type RandomWorld,
  randomPolicyText,
  randomPolicyTexts,
  relatedPaths,
} from './random.js';
