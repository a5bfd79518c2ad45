// SPDX-License-Identifier: Apache-2.0
// Owns `enforcers`: the functions at which what selectors have asked for by NotifyEnforcer is done, to the thread that
// they have matched, when it comes to one of them; and whether it can be done there.
import { canDeny, resolveCall } from './calls.js';
import type { Findings } from './findings.js';
import { hooksOf } from './hooks.js';
import { denialPoints, lsmPathOf, whyNotOverridden } from './lsm-paths.js';
import { quote, suggestion } from './nearest.js';
import type { ResolvedCall } from './places.js';
import type { Located, Policy } from './policy.js';
import { expandSelectors } from './selectors.js';
import type { Action } from './shape.js';
import { entryName, syscallNames } from './syscall-names.js';

const notifying = new Set(['NotifyEnforcer', 'CleanupEnforcerNotification']);

export function isNotifying(action: Action): boolean {
  return notifying.has(action.action);
}

/** The entry of a system call for 32-bit programs. No argument of it is read, so that it is hooked as any other. */
function resolveCompatEntry(name: string): ResolvedCall | undefined {
  const call = /^__ia32_sys_(.+)$/.exec(name)?.[1];
  if (call === undefined || !syscallNames.has(call)) return undefined;
  const symbol = `__ia32_sys_${entryName(call)}`;
  return { symbol, kind: 'syscall', meaning: symbol, syscallName: call };
}

function resolve(name: string): ResolvedCall | string {
  return resolveCompatEntry(name) ?? resolveCall(name, /^(__x64_)?sys_/.test(name));
}

type Report = (path: string, message: string) => void;

/** The functions that a policy's enforcers are on, each once. */
export function enforcerCalls(policy: Policy, report: Report = () => {}): readonly Located<ResolvedCall>[] {
  const lists = policy.spec.lists ?? [];
  const calls: Located<ResolvedCall>[] = [];
  const seen = new Set<string>();
  const add = (name: string, path: string) => {
    const item = resolve(name);
    if (typeof item === 'string') report(path, `${quote(name)} ${item}`);
    else if (!seen.has(item.symbol)) {
      seen.add(item.symbol);
      calls.push({ item, path });
    }
  };
  policy.spec.enforcers?.forEach((enforcer, index) => {
    enforcer.calls.forEach((call, position) => {
      const path = `spec.enforcers[${index}].calls[${position}]`;
      if (!call.startsWith('list:')) {
        add(call, path);
        return;
      }
      const name = call.slice('list:'.length);
      const at = lists.findIndex((list) => list.name === name);
      if (at < 0) {
        const names = lists.map((list) => list.name);
        report(
          path,
          `there is no list ${quote(name)}: ${names.length === 0 ? 'the policy has no lists' : suggestion(name, names)}`,
        );
      }
      lists[at]?.values?.forEach((value, place) => {
        add(value, `spec.lists[${at}].values[${place}]`);
      });
    });
  });
  return calls;
}

/** The actions by which selectors of a policy notify its enforcers, or take that back. */
function notifyingActions(policy: Policy): Located<Action>[] {
  return hooksOf(policy).flatMap(({ fields, path }) =>
    expandSelectors(policy, fields, path).flatMap(({ matchActions }) =>
      matchActions.filter(({ item }) => isNotifying(item)),
    ),
  );
}

export interface EnforcerEffects {
  /** Some notification kills. */
  readonly kills: boolean;
  /** Some notification makes the call fail, and does not kill: without the denial it would do nothing at all. */
  readonly overrides: boolean;
}

/** What the notifications of a policy can ask for. */
export function enforcerEffects(policy: Policy): EnforcerEffects {
  const asked = notifyingActions(policy).map(({ item }) => item);
  return {
    kills: asked.some(({ argSig }) => argSig === 9),
    overrides: asked.some(({ argError, argSig }) => (argError ?? 0) !== 0 && argSig !== 9),
  };
}

function whyNotDenied(call: ResolvedCall, error: number): string | undefined {
  if (call.kind === 'syscall') return whyNotOverridden(call.syscallName, error);
  return canDeny(call) ? undefined : 'it cannot be made to fail; name a security_* function or a system call';
}

function checkNotification(
  findings: Findings,
  { item: action, path }: Located<Action>,
  calls: readonly Located<ResolvedCall>[],
): void {
  if (action.action !== 'NotifyEnforcer') return;
  const error = action.argError ?? 0;
  if (error === 0 && action.argSig === undefined) {
    findings.error(
      'missing-field',
      `${path}.argError`,
      'is missing: write the errno that the call shall return, or argSig, the signal to send',
    );
    return;
  }
  if (action.argSig === 9) return;
  if (error === 0 || Math.abs(error) > 4095) return;
  for (const { item: call } of calls) {
    const why = whyNotDenied(call, -Math.abs(error));
    if (why !== undefined)
      findings.error('not-deniable', `${path}.argError`, `NotifyEnforcer on ${call.symbol}: ${why}`);
  }
}

/** Says of the functions of a policy's enforcers what still takes effect there though the caller is killed. */
function warnOfEffects(findings: Findings, calls: readonly Located<ResolvedCall>[]): void {
  for (const { item: call, path } of calls) {
    if (canDeny(call)) continue;
    const points = call.kind === 'syscall' ? (denialPoints(call.syscallName) ?? []) : [];
    if (call.kind === 'syscall' && lsmPathOf(call.syscallName) !== undefined) continue;
    const instead = points.length === 0 ? '' : `: name ${points.join(' or ')} to prevent it`;
    findings.warn(
      'takes-effect',
      path,
      `the process is killed, but the call itself (${call.symbol}) can take effect first${instead}`,
    );
  }
}

export function checkEnforcers(findings: Findings): void {
  const { policy } = findings;
  const calls = enforcerCalls(policy, (path, message) => findings.error('wrong-call', path, message));
  const actions = notifyingActions(policy);
  if (policy.spec.enforcers === undefined) {
    for (const { item, path } of actions) {
      findings.error(
        'missing-field',
        `${path}.action`,
        `${item.action}: the policy has no enforcers: write spec.enforcers, with the calls that they are on`,
      );
    }
    return;
  }
  for (const action of actions) {
    if (findings.isFull) return;
    checkNotification(findings, action, calls);
  }
  if (enforcerEffects(policy).kills) warnOfEffects(findings, calls);
}
