// SPDX-License-Identifier: Apache-2.0
// Owns the list of what is found wrong while a policy is judged, and what a hook is to those who judge it.
import { issuesMax, type PolicyIssue, type PolicyIssueCode } from './error.js';
import type { ResolvedCall } from './places.js';
import { type Policy, policyIssue } from './policy.js';
import type { Argument } from './shape.js';

/** What a selector may do depends on the hook: whether its call can be made to fail. */
export interface HookKind {
  readonly name: string;
  readonly args: readonly Argument[];
  readonly call: ResolvedCall | null;
  /** `returned`: the call has returned, what is judged comes after it. */
  readonly deniable: 'yes' | 'syscall' | 'no' | 'returned';
  /** Of a hook on system calls their names, without prefixes. */
  readonly syscallNames: readonly string[];
  /** Of a hook in a program: how many arguments it can have. */
  readonly userArguments?: number;
  /** Of a tracepoint: how many values or fields it can have. */
  readonly tracepointArguments?: number;
}

export class Findings {
  readonly errors: PolicyIssue[] = [];
  readonly warnings: PolicyIssue[] = [];
  constructor(readonly policy: Policy) {}

  /** True where there are more errors than anybody will be told: what looks for more can stop. */
  get isFull(): boolean {
    return this.errors.length > issuesMax;
  }

  error(code: PolicyIssueCode, path: string, message: string): void {
    this.errors.push(policyIssue(this.policy, code, path, message));
  }

  warn(code: PolicyIssueCode, path: string, message: string): void {
    this.warnings.push(policyIssue(this.policy, code, path, message));
  }
}
