// SPDX-License-Identifier: Apache-2.0
// Owns how a policy is refused: one class of error, with an issue for each thing that is wrong, each of which names
// its field, its place in the text, why it is wrong, and what would be right.

/** Stable names of what can be wrong with a policy. Code branches on these, never on text. */
export const policyIssueCodes = [
  'text-too-large',
  'text-encoding',
  'yaml-syntax',
  'yaml-limit',
  'duplicate-field',
  'no-policy',
  'unknown-field',
  'missing-field',
  'wrong-type',
  'wrong-value',
  'wrong-operator',
  'wrong-index',
  'wrong-call',
  'not-deniable',
  'conflict',
  'limit',
  'not-supported',
  'tolerated',
  'never-matches',
  'user-memory',
  'blind-spot',
  'takes-effect',
  'ignored-field',
] as const;
export type PolicyIssueCode = (typeof policyIssueCodes)[number];

export interface PolicyIssue {
  readonly code: PolicyIssueCode;
  /** Name of the policy, empty where it is not known. */
  readonly policy: string;
  /** The field, such as `spec.kprobes[0].selectors[1].matchArgs[0].operator`; empty for the text as a whole. */
  readonly path: string;
  /** From 1; 0 where there is no place. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** Issues beyond this many are counted, not kept. */
export const issuesMax = 50;

/** One line of text for an issue: place, field, message. */
export function formatIssue(issue: PolicyIssue): string {
  const place = issue.line > 0 ? `${issue.line}:${issue.column} ` : '';
  const field = issue.path === '' ? '' : `${issue.path}: `;
  return `${place}${field}${issue.message}`;
}

/** Thrown where a policy is refused. Its own fields are those of the first issue. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly code: PolicyIssueCode;
  readonly path: string;
  readonly line: number;
  readonly column: number;
  readonly issues: readonly PolicyIssue[];

  constructor(issues: readonly [PolicyIssue, ...PolicyIssue[]]) {
    const [first] = issues;
    const shown = issues.slice(0, issuesMax);
    const more = issues.length > shown.length ? `\n(and ${issues.length - shown.length} more)` : '';
    super(shown.map(formatIssue).join('\n') + more);
    this.code = first.code;
    this.path = first.path;
    this.line = first.line;
    this.column = first.column;
    this.issues = shown;
  }
}

/** Throws where there are issues, does nothing where there are none. */
export function throwIssues(issues: readonly PolicyIssue[]): void {
  const [first, ...rest] = issues;
  if (first !== undefined) throw new PolicyError([first, ...rest]);
}
