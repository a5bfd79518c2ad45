// SPDX-License-Identifier: Apache-2.0
// Owns which functions a hook's `call` names: one, or all of a list.
import { resolveCall } from './calls.js';
import type { PolicyIssueCode } from './error.js';
import { quote, suggestion } from './nearest.js';
import type { ResolvedCall } from './places.js';
import type { Located, Policy } from './policy.js';

/** Resolves `call`: one function, or all of a list. Issues are found on the way. */
export function resolveCalls(
  policy: Policy,
  hook: { readonly call: string; readonly syscall?: boolean | undefined },
  path: string,
  report: (code: PolicyIssueCode, path: string, message: string) => void = () => {},
): readonly Located<ResolvedCall>[] {
  const { syscall = true } = hook;
  if (!hook.call.startsWith('list:')) {
    const resolved = resolveCall(hook.call, syscall);
    if (typeof resolved === 'object') return [{ item: resolved, path: `${path}.call` }];
    report('wrong-call', `${path}.call`, `${quote(hook.call)} ${resolved}`);
    return [];
  }
  const name = hook.call.slice('list:'.length);
  const lists = policy.spec.lists ?? [];
  const position = lists.findIndex((list) => list.name === name);
  const list = lists[position];
  if (list === undefined) {
    const names = lists.map((other) => other.name);
    report(
      'wrong-call',
      `${path}.call`,
      names.length === 0
        ? `there is no list ${quote(name)}: the policy has no lists`
        : `there is no list ${quote(name)}: ${suggestion(name, names)}`,
    );
    return [];
  }
  const calls: Located<ResolvedCall>[] = [];
  const seen = new Set<string>();
  list.values?.forEach((value, index) => {
    const valuePath = `spec.lists[${position}].values[${index}]`;
    const resolved = resolveCall(value, list.type === 'syscalls' || (list.type === undefined && syscall));
    if (typeof resolved === 'string') report('wrong-call', valuePath, `${quote(value)} ${resolved}`);
    else if (!seen.has(resolved.symbol)) {
      seen.add(resolved.symbol);
      calls.push({ item: resolved, path: valuePath });
    }
  });
  return calls;
}
