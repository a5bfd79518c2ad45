// SPDX-License-Identifier: Apache-2.0
// Owns how a policy takes over what the types of a kernel say: which type an argument with `type: auto` is, and whether
// the field that `resolve` names is what the policy says. The types themselves are passed in.
import { celPositions } from './cel/parse.js';
import type { PolicyIssue } from './error.js';
import { hooksOf, type PolicyHook } from './hooks.js';
import type { ResolvedCall } from './places.js';
import { type Policy, policyIssue } from './policy.js';
import { expandSelectors, findArgument } from './selectors.js';
import type { Argument, Kprobe, LsmHook, Tracepoint, Uprobe, Usdt } from './shape.js';

/**
 * Tells the type of an argument: its own where it has one that fits, another for `auto`; undefined where the kernel has
 * no such function at all, which is found when it is hooked.
 */
export type ArgumentTypeOf = (
  call: ResolvedCall,
  argument: Argument,
) =>
  | { readonly type: string }
  | { readonly error: string; readonly field: 'resolve' | 'type' | 'btfType' }
  | undefined;

/** Where files are mapped, nothing is left open. */
function hasTypes(calls: PolicyHook['calls']): boolean {
  return calls.every(({ item }) => item.kind !== 'mapping');
}

function needsTypes({ type, resolve, source }: Argument): boolean {
  return source !== 'pt_regs' && (type === 'auto' || (resolve ?? '') !== '' || source !== undefined);
}

interface Lists {
  readonly args: Argument[];
  readonly data: Argument[];
}

/** Puts the types of this kernel in. The result plans as a policy in which they were written. */
export function resolveArgumentTypes(
  policy: Policy,
  typeOf: ArgumentTypeOf,
): { policy: Policy; issues: PolicyIssue[] } {
  const issues: PolicyIssue[] = [];
  const decide = ({ calls }: PolicyHook, argument: Argument, path: string): Argument => {
    if (!needsTypes(argument) || !hasTypes(calls)) return argument;
    let found: string | undefined;
    let foundOn = '';
    for (const { item: call } of calls) {
      const told = typeOf(call, argument);
      if (told === undefined) continue;
      if ('error' in told) {
        issues.push(policyIssue(policy, 'wrong-type', `${path}.${told.field}`, told.error));
        return argument;
      }
      if (found !== undefined && found !== told.type) {
        issues.push(
          policyIssue(
            policy,
            'wrong-type',
            `${path}.type`,
            `auto is ${found} on ${foundOn} and ${told.type} on ${call.symbol}: give each a hook of its own`,
          ),
        );
        return argument;
      }
      found = told.type;
      foundOn = call.symbol;
    }
    return found === undefined ? argument : { ...argument, type: found };
  };
  const byPath = new Map<string, Lists>();
  for (const hook of hooksOf(policy)) {
    const lists = (['args', 'data'] as const).map((part) => {
      const list = part === 'args' ? hook.fields.args : hook.called?.data;
      return (list ?? []).map((argument, position) =>
        decide(hook, argument, `${hook.path}.${part}[${position}]`),
      );
    });
    byPath.set(hook.path, { args: lists[0] ?? [], data: lists[1] ?? [] });
  }
  const withTypes = <Hook extends Kprobe | LsmHook | Tracepoint | Uprobe | Usdt>(
    hooks: readonly Hook[] | undefined,
    part: string,
  ) =>
    hooks?.map((hook, index): Hook => {
      const lists = byPath.get(`spec.${part}[${index}]`);
      return {
        ...hook,
        ...(hook.args === undefined ? {} : { args: lists?.args ?? hook.args }),
        ...('data' in hook && hook.data !== undefined ? { data: lists?.data ?? hook.data } : {}),
      };
    });
  const { spec } = policy;
  const kprobes = withTypes(spec.kprobes, 'kprobes');
  const fentries = withTypes(spec.fentries, 'fentries');
  const lsmhooks = withTypes(spec.lsmhooks, 'lsmhooks');
  const tracepoints = withTypes(spec.tracepoints, 'tracepoints');
  const uprobes = withTypes(spec.uprobes, 'uprobes');
  const usdts = withTypes(spec.usdts, 'usdts');
  return {
    policy: {
      ...policy,
      spec: {
        ...spec,
        ...(kprobes === undefined ? {} : { kprobes }),
        ...(fentries === undefined ? {} : { fentries }),
        ...(lsmhooks === undefined ? {} : { lsmhooks }),
        ...(tracepoints === undefined ? {} : { tracepoints }),
        ...(uprobes === undefined ? {} : { uprobes }),
        ...(usdts === undefined ? {} : { usdts }),
      },
    },
    issues,
  };
}

/** Arguments whose type only a kernel can tell, and none has been asked, or none has the function. */
export function undecidedTypes(policy: Policy): PolicyIssue[] {
  return hooksOf(policy).flatMap((hook) =>
    (['args', 'data'] as const).flatMap((part) => {
      const list = part === 'args' ? hook.fields.args : hook.called?.data;
      return (list ?? []).flatMap((argument, position) =>
        argument.type === 'auto' && !isShownOnly(policy, hook, position)
          ? [
              policyIssue(
                policy,
                'not-supported',
                `${hook.path}.${part}[${position}].type`,
                'auto: the types of this kernel do not tell what the argument is: write the type',
              ),
            ]
          : [],
      );
    }),
  );
}

/** A field of a record, which tells its type where it is read: enough for one that nothing is asked of. */
function isShownOnly(policy: Policy, { calls, fields, path }: PolicyHook, position: number): boolean {
  const args = fields.args ?? [];
  const isOfRecord = calls.every(({ item }) => item.tracepoint?.raw === false);
  if (!isOfRecord || (args[position]?.resolve ?? '') !== '') return false;
  return expandSelectors(policy, fields, path).every(({ matchArgs }) =>
    matchArgs.every(({ item }) => {
      if (item.operator === 'CelExpr') return !celPositions(item.values).has(position);
      const found = findArgument(args, item);
      return !('position' in found) || found.position !== position;
    }),
  );
}
