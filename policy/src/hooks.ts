// SPDX-License-Identifier: Apache-2.0
// Owns the list of a policy's hooks, of every kind that a plan can have, each with its calls and its number: kprobes
// first, then fentries, lsmhooks, tracepoints, uprobes, usdts and the loader, counted through.
import { lsmCall, mappingFunction } from './calls.js';
import type { ResolvedCall } from './places.js';
import type { Located, Policy } from './policy.js';
import { resolveCalls } from './resolve-calls.js';
import type { CalledFields, Kprobe, LsmHook, Tracepoint, Uprobe, Usdt } from './shape.js';
import { tracepointCall } from './tracepoints.js';
import { uprobeCalls, usdtCalls } from './user-places.js';

export interface PolicyHook {
  /** Where it is written. */
  readonly path: string;
  /** Its number among all hooks of the policy. */
  readonly hookIndex: number;
  /** What all kinds of hooks have. */
  readonly fields:
    | Kprobe
    | LsmHook
    | Tracepoint
    | Uprobe
    | Usdt
    | Pick<Kprobe, 'args' | 'selectors' | 'message' | 'tags'>;
  /** undefined for another kind than kprobes and fentries. */
  readonly kprobe: Kprobe | undefined;
  /** What functions have beside their arguments, those of the kernel and of programs; undefined for other hooks. */
  readonly called: CalledFields | undefined;
  /** True where the policy does without what is not there. */
  readonly ignoreMissing: boolean;
  readonly calls: readonly Located<ResolvedCall>[];
}

/** What `loader` shows of each file that is mapped to run: its path, and its build id. */
const mappingArguments = [
  { index: 0, type: 'path' },
  { index: 1, type: 'const_buf' },
];

/** The hook of `loader`: it has no selectors, and matches always. */
function loaderHook(hookIndex: number): PolicyHook {
  return {
    path: 'spec.loader',
    hookIndex,
    fields: { args: mappingArguments },
    kprobe: undefined,
    called: undefined,
    ignoreMissing: false,
    calls: [
      {
        item: { symbol: mappingFunction, kind: 'mapping', meaning: '', syscallName: '' },
        path: 'spec.loader',
      },
    ],
  };
}

/** The hooks of a policy. What is wrong with a call is validation's to say: it is left out here. */
export function hooksOf(policy: Policy): PolicyHook[] {
  const {
    kprobes = [],
    fentries = [],
    lsmhooks = [],
    tracepoints = [],
    uprobes = [],
    usdts = [],
  } = policy.spec;
  const functions = (list: readonly Kprobe[], part: string, first: number) =>
    list.map((kprobe, index): PolicyHook => {
      const path = `spec.${part}[${index}]`;
      const calls = resolveCalls(policy, kprobe, path);
      const ignoreMissing = kprobe.ignore?.callNotFound === true;
      return { path, hookIndex: first + index, fields: kprobe, kprobe, called: kprobe, ignoreMissing, calls };
    });
  const hooks: PolicyHook[] = [
    ...functions(kprobes, 'kprobes', 0),
    ...functions(fentries, 'fentries', kprobes.length),
    ...lsmhooks.map((hook, index): PolicyHook => {
      const path = `spec.lsmhooks[${index}]`;
      return {
        path,
        hookIndex: kprobes.length + fentries.length + index,
        fields: hook,
        kprobe: undefined,
        called: undefined,
        ignoreMissing: false,
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
        called: undefined,
        ignoreMissing: false,
        calls: [{ item: tracepointCall(hook), path: `${path}.event` }],
      };
    }),
    ...uprobes.map((hook, index): PolicyHook => {
      const path = `spec.uprobes[${index}]`;
      return {
        path,
        hookIndex: kprobes.length + fentries.length + lsmhooks.length + tracepoints.length + index,
        fields: hook,
        kprobe: undefined,
        called: hook,
        ignoreMissing: hook.ignore?.callNotFound === true,
        calls: uprobeCalls(hook, path),
      };
    }),
    ...usdts.map((hook, index): PolicyHook => {
      const path = `spec.usdts[${index}]`;
      return {
        path,
        hookIndex:
          kprobes.length + fentries.length + lsmhooks.length + tracepoints.length + uprobes.length + index,
        fields: hook,
        kprobe: undefined,
        called: undefined,
        ignoreMissing: false,
        calls: usdtCalls(hook, path),
      };
    }),
  ];
  return policy.spec.loader === true ? [...hooks, loaderHook(hooks.length)] : hooks;
}
