// SPDX-License-Identifier: Apache-2.0
// Owns what a policy is once it has been read, and how an issue with one of its fields is told.
import type { PolicyIssue, PolicyIssueCode } from './error.js';
import type { Spec } from './shape.js';
import type { Position } from './source.js';

export interface Note {
  readonly code: PolicyIssueCode;
  readonly path: string;
  readonly message: string;
}

export interface Policy {
  readonly kind: 'TracingPolicy' | 'TracingPolicyNamespaced';
  readonly name: string;
  /** Empty for a cluster-wide policy. */
  readonly namespace: string;
  readonly description: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: Spec;
  /** What of it was taken for something else than it says. */
  readonly notes: readonly Note[];
  /** Place of a field in the text that the policy came from. */
  readonly locate: (path: string) => Position;
}

/** A part of a selector, and the path of the field that it was written in. */
export interface Located<Item> {
  readonly item: Item;
  readonly path: string;
}

/** Makes an issue of a policy, with the place of its field. */
export function policyIssue(
  policy: { readonly name: string; readonly locate: (path: string) => Position },
  code: PolicyIssueCode,
  path: string,
  message: string,
): PolicyIssue {
  return { code, policy: policy.name, path, ...policy.locate(path), message };
}
