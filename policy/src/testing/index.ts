// SPDX-License-Identifier: Apache-2.0
// What tests of other packages use: the reference matcher, the interpreter of plans, random policies.

export {
  type CallArgument,
  type DescribedCall,
  type DescribedSocket,
  type ProcessOrigin,
  type ReferenceHit,
  referenceHits,
} from '../reference.js';
export { interpretPlan, interpretScopes } from './interpret.js';
export {
  Random,
  type RandomArgument,
  type RandomHook,
  type RandomWorld,
  randomPolicyText,
  randomPolicyTexts,
  relatedPaths,
} from './random.js';
