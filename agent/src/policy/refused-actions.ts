// SPDX-License-Identifier: Apache-2.0
// Owns what becomes of actions that the agent would have to do where nobody does them: policies that ask are refused.
import { agentActionTargets, type Policy, type PolicyIssue, policyIssue } from '@weir/policy';

export function refuseActions(policy: Policy): PolicyIssue[] {
  return agentActionTargets(policy).map(({ item, path }) =>
    policyIssue(policy, 'not-supported', path, `${item.kind} is not done here`),
  );
}
