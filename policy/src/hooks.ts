// SPDX-License-Identifier: Apache-2.0
// Owns the list of a policy's hooks, of every kind that a plan can have, each with its calls and its number: kprobes
// first, then fentries, then lsmhooks, then tracepoints, counted through.
import { lsmCall, type ResolvedCall } from './calls.js';
import type { Policy } from './parse.js';
import { resolveCalls } from './resolve-calls.js';
import type { Located } from './selectors.js';
import type { Kprobe, LsmHook, Tracepoint } from './shape.js';
import { tracepointCall } from './tracepoints.js';

export interface PolicyHook {
  /** Where it is written. */
  readonly path: string;
  /** Its number among all hooks of the policy. */
  readonly hookIndex: number;
  /** What all kinds of hooks have. */
  readonly fields: Kprobe | LsmHook | Tracepoint;
  /** undefined for an LSM hook or a tracepoint. */
  readonly kprobe: Kprobe | undefined;
  readonly calls: readonly Located<ResolvedCall>[];
}

/** The hooks of a policy. What is wrong with a call is validation's to say: it is left out here. */
export function hooksOf(policy: Policy): PolicyHook[] {
  const { kprobes = [], fentries = [], lsmhooks = [], tracepoints = [] } = policy.spec;
  const functions = (list: readonly Kprobe[], part: string, first: number) =>
    list.map((kprobe, index): PolicyHook => {
      const path = `spec.${part}[${index}]`;
      const calls = resolveCalls(policy, kprobe, path);
      return { path, hookIndex: first + index, fields: kprobe, kprobe, calls };
    });
  return [
    ...functions(kprobes, 'kprobes', 0),
    ...functions(fentries, 'fentries', kprobes.length),
    ...lsmhooks.map((hook, index): PolicyHook => {
      const path = `spec.lsmhooks[${index}]`;
      return {
        path,
        hookIndex: kprobes.length + fentries.length + index,
        fields: hook,
        kprobe: undefined,
        calls: [{ item: lsmCall(hook.hook), path: `${path}.hook` }],
      };
    }),
    ...tracepoints.map((hook, index): PolicyHook => {
      const path = `spec.tracepoints[${index}]`;
      return {
        path,
        hookIndex: kprobes.length + fentries.length + lsmhooks.length + index,
        fields: hook,
        kprobe: undefined,
        calls: [{ item: tracepointCall(hook), path: `${path}.event` }],
      };
    }),
  ];
}
