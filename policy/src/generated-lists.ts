// SPDX-License-Identifier: Apache-2.0
// Owns lists whose values are made from the running kernel: all of its system calls, or the functions that can be
// hooked, those whose names a pattern is found in. What a kernel has is given; nothing here asks it.
import type { PolicyIssue } from './error.js';
import { type NamePattern, namePattern } from './name-pattern.js';
import { quote } from './nearest.js';
import { type Policy, policyIssue } from './policy.js';
import { type Kprobe, type List, shapeLimits } from './shape.js';
import { syscallNumber } from './syscall-numbers.js';

/** What a kernel has, by the names that policies use. */
export interface KernelNames {
  /** Entries of system calls (`__x64_sys_openat`). */
  systemCalls(): readonly string[];
  /** Functions that might be hooked. */
  functions(): readonly string[];
  /** Whether a function can be hooked: it is asked of those that a pattern has chosen. */
  canHook(name: string): boolean;
}

export function isGenerated(list: List): boolean {
  return list.type === 'generated_syscalls' || list.type === 'generated_ftrace';
}

/** What of a policy's generated lists is still to be made. With these a policy cannot be planned. */
export function ungenerated(policy: Policy): PolicyIssue[] {
  return (policy.spec.lists ?? []).flatMap((list, index) =>
    isGenerated(list)
      ? [
          policyIssue(
            policy,
            'not-supported',
            `spec.lists[${index}].type`,
            `the list ${quote(list.name)} is made from the functions of the kernel that the policy is loaded on: they are not known here`,
          ),
        ]
      : [],
  );
}

function valuesOf(list: List, names: KernelNames): readonly string[] {
  const pattern: NamePattern | string = namePattern(list.pattern ?? '');
  if (typeof pattern === 'string') return [];
  if (list.type === 'generated_ftrace')
    return names.functions().filter((name) => pattern.matches(name) && names.canHook(name));
  // Some have an entry by that name and no number by which a 64-bit program could call them. A pattern is about the
  // names as policies have them, sys_openat.
  return names
    .systemCalls()
    .filter((name) => syscallNumber(name) !== undefined)
    .map((name) => name.replace(/^__x64_/, ''))
    .filter((name) => pattern.matches(name));
}

/**
 * A policy with its generated lists as lists of names: a policy that has none comes back as it is. What cannot be made
 * is an issue, and the policy must not be planned.
 */
export function generateLists(
  policy: Policy,
  names: KernelNames,
): { readonly policy: Policy; readonly issues: readonly PolicyIssue[] } {
  const lists = policy.spec.lists ?? [];
  if (!lists.some(isGenerated)) return { policy, issues: [] };
  const issues: PolicyIssue[] = [];
  const functionLists = new Set<string>();
  const made = lists.map((list, index): List => {
    if (!isGenerated(list)) return list;
    const values = valuesOf(list, names);
    const issue = (message: string) => {
      issues.push(policyIssue(policy, 'limit', `spec.lists[${index}].pattern`, message));
    };
    const what = list.type === 'generated_ftrace' ? 'function that can be hooked' : 'system call';
    if (values.length === 0)
      issue(
        `${list.pattern === undefined ? 'this kernel has' : `${quote(list.pattern)} is found in`} no ${what}`,
      );
    if (values.length > shapeLimits.hooks)
      issue(`is found in the names of ${values.length} functions: ${shapeLimits.hooks} are the most`);
    if (list.type === 'generated_ftrace') functionLists.add(`list:${list.name}`);
    return {
      name: list.name,
      ...(list.type === 'generated_syscalls' ? { type: 'syscalls' as const } : {}),
      values: [...values],
    };
  });
  // A list without a type is of what the hook says.
  const asFunctions = (hooks: readonly Kprobe[] | undefined) =>
    hooks?.map((hook) => (functionLists.has(hook.call) ? { ...hook, syscall: false } : hook));
  const { kprobes, fentries } = policy.spec;
  return {
    policy: {
      ...policy,
      spec: {
        ...policy.spec,
        lists: made,
        ...(kprobes === undefined ? {} : { kprobes: asFunctions(kprobes) }),
        ...(fentries === undefined ? {} : { fentries: asFunctions(fentries) }),
      },
    },
    issues,
  };
}
