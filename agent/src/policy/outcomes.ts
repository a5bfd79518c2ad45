// SPDX-License-Identifier: Apache-2.0
// Owns what is told of policies and hooks: what became of a policy, and what a hook has done.
import type { FollowedLink, Policy } from '@weir/policy';
import type { HookCounts, PolicyCounts } from './counts.js';
import type { HookProgramFacts } from './hook-program.js';

export interface PolicyOutcome {
  readonly name: string;
  readonly namespace: string;
  /** `skipped`: it is for other nodes. */
  readonly state: 'loaded' | 'refused' | 'skipped';
  /** Why it was refused or skipped, in words. */
  readonly reason?: string;
  /** Of a refused policy: its former version is in force. */
  readonly formerInForce: boolean;
  /** Kernel functions that it is attached to. */
  readonly hooks: readonly string[];
  /** Functions that this kernel has not, and without which the policy said it can do. */
  readonly skippedHooks: readonly string[];
  /** System calls that take effect here though their caller is killed, and why, in words. */
  readonly unprevented: readonly string[];
  /** Paths of the policy that lead over links, and where to. */
  readonly links: readonly FollowedLink[];
}

export interface HookStatus {
  readonly symbol: string;
  readonly policies: readonly string[];
  readonly selectors: number;
  readonly program: HookProgramFacts;
}

/** What a hook and the policies on it have done, and what they cost. */
export interface HookReport extends HookCounts {
  readonly symbol: string;
  readonly program: HookProgramFacts;
  /** Bytes of the keys and values by which it looks up what the policies ask. */
  readonly entryBytes: number;
  readonly policies: readonly {
    readonly name: string;
    readonly namespace: string;
    readonly selectors: number;
    /** undefined where they are not counted. */
    readonly counts: PolicyCounts | undefined;
  }[];
}

/** Of a policy for other nodes. */
export function skippedOutcome({ name, namespace }: Policy): PolicyOutcome {
  return {
    name,
    namespace,
    state: 'skipped',
    reason: 'spec.nodeSelector asks for other labels than this node has (--label)',
    formerInForce: false,
    hooks: [],
    skippedHooks: [],
    unprevented: [],
    links: [],
  };
}
