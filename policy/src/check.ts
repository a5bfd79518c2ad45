// SPDX-License-Identifier: Apache-2.0
// Owns the text that tells a person what a policy would do: where it would attach and how, what each selector looks
// at, what it does, and every warning. `weir policy check` prints it.
import { canDeny } from './calls.js';
import { placesOf } from './cel/selector.js';
import { costOf } from './cost.js';
import { enforcerCalls } from './enforcers.js';
import { formatIssue, PolicyError, type PolicyIssue } from './error.js';
import { generateLists, type KernelNames, ungenerated } from './generated-lists.js';
import { hooksOf } from './hooks.js';
import { partCalls, sharedCall } from './listed-calls.js';
import { denialPoints, lsmPathOf } from './lsm-paths.js';
import { quote } from './nearest.js';
import type { ResolvedCall, TracepointName } from './places.js';
import { plan } from './plan.js';
import type { HookPlan, WorkloadCondition } from './plan-types.js';
import { type Policy, policyIssue } from './policy.js';
import { rateLimitOf } from './rate-limit.js';
import {
  binariesMeanNext,
  type ExpandedSelector,
  expandSelectors,
  listParts,
  optionValue,
} from './selectors.js';
import type { Action, Argument, ArgumentTerm, LabelSelector } from './shape.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';
import { workloadTerms } from './workloads.js';

/** What is known of the kernel that a policy shall run on. Each is optional: what is not known is not said. */
export interface KernelFacts {
  readonly release?: string;
  /** Whether the kernel has a function that can be hooked. */
  readonly hasFunction?: (symbol: string) => boolean;
  /** What it has, for lists that are made from it. */
  readonly names?: KernelNames;
  /** What of an argument it has not, by field; undefined where it has all, or that cannot be said. */
  readonly argumentProblem?: (
    call: ResolvedCall,
    argument: Argument,
  ) => { readonly field: 'index' | 'resolve'; readonly message: string } | undefined;
  /** Whether it has a tracepoint; undefined where that cannot be said. */
  readonly hasTracepoint?: (name: TracepointName) => boolean | undefined;
}

export interface PolicyCheck {
  readonly name: string;
  /** True where the policy can be put in force as it is. */
  readonly ok: boolean;
  readonly errors: readonly PolicyIssue[];
  readonly warnings: readonly PolicyIssue[];
  readonly text: string;
}

function values(list: readonly string[]): string {
  const shown = list.slice(0, 4).map((value) => (/^[\w./:@+-]+$/.test(value) ? value : quote(value)));
  return list.length > 4 ? `${shown.join(', ')} and ${list.length - 4} more` : shown.join(', ');
}

function valueCondition(term: ArgumentTerm, what: string): string {
  if (term.operator === 'CelExpr') return term.values.map((text) => `(${text})`).join(' or ');
  const which = term.args !== undefined ? `position ${term.args.join(', ')}` : `${what} ${term.index ?? 0}`;
  return `${which} ${term.operator} ${values(term.values)}`.trimEnd();
}

/** Labels as people write them: app=web, tier in (a, b). */
function labelText({ matchLabels = {}, matchExpressions = [] }: LabelSelector): string {
  const expressions = matchExpressions.map(({ key, operator, values: list = [] }) =>
    `${key} ${operator} ${values(list)}`.trimEnd(),
  );
  const all = [...Object.entries(matchLabels).map(([name, value]) => `${name}=${value}`), ...expressions];
  return all.length === 0 ? 'any' : all.join(' and ');
}

function workloadText({ host, containers }: WorkloadCondition): string {
  const { namespace, pod, container } = containers ?? {};
  const parts = [
    ...(namespace === undefined ? [] : [`a pod of the namespace ${namespace}`]),
    ...(pod === undefined ? [] : [`a pod with ${labelText(pod)}`]),
    ...(container === undefined ? [] : [`a container with ${labelText(container)}`]),
  ];
  return `in ${[...(host ? ['the host'] : []), ...(containers === null ? [] : [parts.join(' and ')])].join(' or ')}`;
}

function conditions(
  policy: Policy,
  symbol: string,
  args: Parameters<typeof binariesMeanNext>[2],
  selector: ExpandedSelector,
): string[] {
  const next = binariesMeanNext(policy, symbol, args, selector);
  const told = [
    'matchArgs',
    'matchReturnArgs',
    'matchData',
    'matchBinaries',
    'matchNamespaces',
    'matchParentBinaries',
    'matchPIDs',
    'matchCapabilities',
    'matchCapabilityChanges',
    'matchNamespaceChanges',
    'matchWorkloads',
    'matchActions',
    'matchReturnActions',
  ];
  return [
    ...selector.matchArgs.map(({ item }) => valueCondition(item, 'argument')),
    ...selector.part('matchData').map(({ item }) => valueCondition(item, 'data')),
    ...selector
      .part('matchReturnArgs')
      .map(({ item }) => `what it returns ${item.operator} ${values(item.values)}`.trimEnd()),
    ...selector.matchBinaries.map(({ item }) => {
      const whose = next ? 'the program that is executed' : "the caller's binary";
      return `${whose}${item.followChildren === true ? ', or one that it descends from,' : ''} ${item.operator} ${values(item.values)}`;
    }),
    ...selector.matchNamespaces.map(
      ({ item }) => `namespace ${item.namespace} ${item.operator} ${values(item.values)}`,
    ),
    ...selector
      .part('matchParentBinaries')
      .map(
        ({ item }) =>
          `the parent's binary${item.followChildren === true ? ', or one that it descends from,' : ''} ${item.operator} ${values(item.values)}`,
      ),
    ...selector.part('matchPIDs').map(({ item }) => {
      const whose = item.isNamespacePID === true ? 'process id in its own namespace' : 'process id';
      const followed = item.followForks === true ? ', or that of a process that it descends from,' : '';
      return `${whose}${followed} ${item.operator} ${values(item.values)}`;
    }),
    ...selector
      .part('matchNamespaceChanges')
      .map(({ item }) => `namespaces changed since the last exec ${item.operator} ${values(item.values)}`),
    ...selector
      .part('matchCapabilityChanges')
      .map(
        ({ item }) =>
          `${item.type.toLowerCase()} capabilities changed since the last exec ${item.operator} ${values(item.values)}`,
      ),
    ...selector.part('matchCapabilities').map(({ item }) => {
      const where =
        item.isNamespaceCapability === true ? " and in another user namespace than the host's" : '';
      return `${item.type.toLowerCase()} capabilities ${item.operator} ${values(item.values)}${where}`;
    }),
    ...workloadTerms(policy, selector).flatMap(({ values: conditions }) => conditions.map(workloadText)),
    ...listParts.filter((part) => !told.includes(part) && selector.part(part).length > 0),
  ];
}

function effects(policy: Policy, call: ResolvedCall, selector: ExpandedSelector): string {
  const deniable = canDeny(call) || (call.kind === 'syscall' && lsmPathOf(call.syscallName) !== undefined);
  const actions = selector.matchActions.map(({ item }) => {
    const kills = item.action === 'Sigkill' || (item.action === 'Signal' && item.argSig === 9);
    if (kills && call.place !== undefined) return 'kill the process before the place is run';
    if (item.action === 'Sigkill')
      return deniable ? 'deny the call and kill the process' : 'kill the process (the call itself goes on)';
    if (item.action === 'Signal' && item.argSig === 9)
      return deniable ? 'deny the call and send signal 9' : 'send signal 9 (the call itself goes on)';
    if (item.action === 'Signal') return `send signal ${item.argSig ?? 0}`;
    if (item.action === 'NotifyEnforcer') return `ask the enforcers to ${askedText(item)}`;
    if (item.action === 'GetUrl') return `have the agent call ${printed(item.argUrl)}`;
    if (item.action === 'DnsLookup') return `have the agent look ${printed(item.argFqdn)} up`;
    if (item.action === 'CleanupEnforcerNotification') return 'take back what the enforcers were asked';
    if (item.action === 'Override') return `make the call fail with ${-Math.abs(item.argError ?? 0)}`;
    if (item.action === 'Set')
      return `set argument ${item.argIndex ?? 0} to ${printed(String(item.argValue))}`;
    return socketText(item) ?? item.action;
  });
  if (!actions.includes('NoPost') && !actions.includes('Post')) actions.unshift('Post');
  const { rateLimit } = rateLimitOf(selector);
  if (rateLimit !== undefined && actions.includes('Post')) {
    const whose = rateLimit.scope === 'global' ? 'in all' : `a ${rateLimit.scope}`;
    actions[actions.indexOf('Post')] =
      `Post (once in ${rateLimit.seconds} s ${whose} for the same arguments)`;
  }
  for (const { item } of [...selector.matchActions, ...selector.part('matchReturnActions')]) {
    const of = [
      item.kernelStackTrace === true ? 'the kernel' : '',
      item.userStackTrace === true ? 'the program' : '',
    ];
    const stacks = of.filter((whose) => whose !== '').join(' and of ');
    if (stacks !== '') actions.push(`with the stack of ${stacks}`);
    if (item.imaHash === true) actions.push('with the hash of the file, by IMA');
  }
  const late = selector.part('matchReturnActions').map(({ item }) => {
    if (item.action === 'Sigkill') return 'kill the process';
    return item.action === 'Signal' ? `send signal ${item.argSig ?? 0}` : (socketText(item) ?? item.action);
  });
  const enforces = [...selector.matchActions, ...selector.part('matchReturnActions')].some(
    ({ item }) => !/^((No)?Post|GetUrl|DnsLookup|(Unt|T)rackSock)$/.test(item.action),
  );
  const monitor = optionValue(policy, 'policy-mode', 'enforce') === 'monitor';
  return `${actions.join(', ')}${late.length === 0 ? '' : `, at the return ${late.join(', ')}`}${monitor && enforces ? ' (monitor mode: only says what it would have done)' : ''}`;
}

/** Whose the socket of an argument is to be. */
function socketText({ action, argSock = 0 }: Action): string | undefined {
  if (action === 'TrackSock')
    return `tell what comes to the socket of argument ${argSock} of this process from now on`;
  return action === 'UntrackSock'
    ? `tell what comes to the socket of argument ${argSock} of whoever runs`
    : undefined;
}

function printed(text = ''): string {
  return /^[\w./:@+?=&%-]+$/.test(text) ? text : quote(text);
}

/** What is asked of enforcers. */
function askedText({ argError, argSig }: Action): string {
  const error = -Math.abs(argError ?? 0);
  return [
    ...(argSig === undefined ? [] : [`send signal ${argSig}`]),
    ...(error === 0 ? [] : [`make the call fail with ${error}`]),
  ].join(' and ');
}

/** Where what selectors ask for is done. */
function enforcerText(policy: Policy, facts: KernelFacts): string[] {
  return enforcerCalls(policy).map(({ item: call }) => {
    const missing = facts.hasFunction !== undefined && !facts.hasFunction(call.symbol);
    const points = call.kind === 'syscall' ? (lsmPathOf(call.syscallName)?.functions ?? []) : [];
    const how = canDeny(call) ? 'fmod_ret' : 'fentry';
    const denied = points.length === 0 ? '' : `, denied through ${points.join(', ')}`;
    return `  ${call.symbol}: ${missing ? 'this kernel does not have it' : `${how}: enforcer${denied}`}`;
  });
}

/** How a function or LSM hook would be attached. */
function attachment(call: ResolvedCall, denies: boolean, returns: boolean): string {
  if (call.kind === 'mapping')
    return 'fentry, and an event of mappings on each CPU: sees what is mapped to run';
  if (call.tracepoint !== undefined)
    return call.tracepoint.raw
      ? 'raw tracepoint (tp_btf): observes the values with which it is called'
      : 'tracepoint: observes its record';
  if (call.calls !== undefined)
    return 'one program at the entry of all system calls (tp_btf), which tells these by their numbers: observes';
  const does = `${denies ? 'can make the call fail' : 'observes'}${returns ? '; fexit: sees it return' : ''}`;
  if (call.place !== undefined) {
    const at = call.place.kind === 'marker' ? ' at each place of the marker' : '';
    return `uprobe${at}, in every process that runs this file: observes${returns ? '; uretprobe: sees it return' : ''}`;
  }
  if (call.kind === 'lsm') {
    return `BPF LSM where bpf is among the active security modules, else ${denies ? 'fmod_ret' : 'fentry'} on ${call.meaning}: ${does}`;
  }
  return `${denies ? 'fmod_ret' : 'fentry'}: ${does}`;
}

/** Whether the kernel is known not to have what is hooked. */
function isMissing(call: ResolvedCall, facts: KernelFacts): boolean {
  if (call.calls !== undefined) return false; // each is looked at by itself
  if (call.place !== undefined) return false; // what is in a file is not the kernel's
  if (call.tracepoint !== undefined) return facts.hasTracepoint?.(call.tracepoint) === false;
  return facts.hasFunction?.(nameInTypes(call)) === false;
}

/** The name under which a kernel's types have a hook. */
function nameInTypes(call: ResolvedCall): string {
  return call.kind === 'lsm' ? `bpf_lsm_${call.symbol}` : call.symbol;
}

/** The name of a place in a program holds a path, which may be any text. */
function printableName({ place, symbol }: ResolvedCall): string {
  return place === undefined || /^[\w./:@+()#-]+$/.test(symbol) ? symbol : quote(symbol);
}

/** Where a system call can be denied, and whether that is relied on. */
function pathText(syscallName: string, points: readonly string[]): string {
  if (points.length === 0) return 'no security hook stands on its path';
  const path = lsmPathOf(syscallName);
  if (path === undefined) return `not denied by this version; ${points.join(', ')} can be hooked instead`;
  const error = path.onlyError === undefined ? '' : `, always with ${path.onlyError}`;
  return `can be denied through ${points.join(', ')}${error}${path.gap === undefined ? '' : `, but not ${path.gap}`}`;
}

/** What of arguments only the types of the kernel tell, which are asked where the policy is loaded. */
function lookUps(args: readonly Argument[]): string[] {
  const fields = args.flatMap(({ resolve = '', source, index, btfType }) => {
    const start = source ?? btfType ?? `argument ${index}`;
    return resolve === '' ? [] : [`${resolve} of ${start}`];
  });
  const types = args.flatMap(({ type, resolve, index }) =>
    type === 'auto' && resolve === undefined ? [`the type of argument ${index}`] : [],
  );
  const all = [...types, ...fields];
  return all.length === 0
    ? []
    : [
        `    looked up in the types of the kernel when it is loaded, and refused where it has no such: ${all.join(', ')}`,
      ];
}

function hookText(policy: Policy, facts: KernelFacts): string[] {
  const lines: string[] = [];
  const monitor = optionValue(policy, 'policy-mode', 'enforce') === 'monitor';
  for (const { fields, kprobe, called, path, calls } of hooksOf(policy)) {
    const { own, shared } =
      kprobe === undefined ? { own: calls, shared: [] } : partCalls(policy, kprobe, calls, path);
    const planned = own.map(({ item }) => item);
    for (const call of shared.length > 0 ? [...planned, sharedCall(shared)] : planned) {
      const selectors = expandSelectors(policy, fields, path);
      const denies =
        !monitor &&
        canDeny(call) &&
        selectors.some(({ matchActions }) =>
          matchActions.some(
            ({ item }) => item.action === 'Sigkill' || item.action === 'Override' || item.argSig === 9,
          ),
        );
      const missing = isMissing(call, facts);
      lines.push(
        `  ${printableName(call)}: ${missing ? 'this kernel does not have it' : attachment(call, denies, called?.return === true)}`,
      );
      if (call.kind === 'syscall') {
        const points = denialPoints(call.syscallName);
        if (points !== undefined) {
          lines.push(`    ${pathText(call.syscallName, points)}`);
        }
      }
      lines.push(...lookUps([...(fields.args ?? []), ...('data' in fields ? (fields.data ?? []) : [])]));
      selectors.forEach((selector, position) => {
        const terms = conditions(policy, call.meaning, fields.args ?? [], selector);
        const name =
          selector.label === '' ? `selector ${position}` : `selector ${position} (${quote(selector.label)})`;
        const places = placesOf(selector, fields.args ?? []);
        if (places > 1)
          lines.push(
            `    ${name} takes ${places} places among the selectors of the hook: its expressions come to as many alternatives`,
          );
        lines.push(
          `    ${name}: ${terms.length === 0 ? 'always' : terms.join(' and ')} -> ${effects(policy, call, selector)}`,
        );
      });
    }
  }
  return lines;
}

/** What arguments ask of types that the kernel has not. */
function argumentIssues(policy: Policy, facts: KernelFacts, kernel: string): PolicyIssue[] {
  const { argumentProblem } = facts;
  if (argumentProblem === undefined) return [];
  return hooksOf(policy).flatMap(({ fields, called, path, calls }) =>
    [...(fields.args ?? []).entries(), ...(called?.data ?? []).entries()].flatMap(
      ([position, argument], n) => {
        const part = n < (fields.args ?? []).length ? 'args' : 'data';
        for (const { item } of calls) {
          const problem = argumentProblem(item, argument);
          if (problem === undefined) continue;
          const at = `${path}.${part}[${position}].${problem.field}`;
          return [policyIssue(policy, 'wrong-type', at, `${kernel}: ${problem.message}`)];
        }
        return [];
      },
    ),
  );
}

/** What each hook is estimated to cost; nothing where the policy cannot be planned as it is. */
function costText(policy: Policy): string[] {
  let hooks: readonly HookPlan[];
  try {
    ({ hooks } = plan([{ id: 1, policy }]));
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return [];
  }
  const told = hooks.map((hook) => {
    const { outOfScopeNs, lookedNs, eventNs } = costOf(hook);
    const scoped = outOfScopeNs === undefined ? '' : `${outOfScopeNs} ns of a process out of scope, `;
    const posted = eventNs === undefined ? '' : `, ${eventNs} ns with an event`;
    return `    ${hook.user === undefined ? hook.symbol : quote(hook.symbol)}: ${scoped}${lookedNs} ns where arguments are looked at${posted}`;
  });
  return told.length === 0 ? [] : ['  estimated cost of a call:', ...told];
}

/** Says what a policy would do. Never throws for what is wrong with it: that is in `errors` and in the text. */
export function check(given: Policy, facts: KernelFacts = {}): PolicyCheck {
  const { policy, issues } =
    facts.names === undefined ? { policy: given, issues: [] } : generateLists(given, facts.names);
  const { errors: wrong, warnings: found } = validate(policy);
  const errors = wrong.length > 0 ? wrong : [...issues, ...unsupported(policy)];
  // What lists come to is not known here; on a node it is.
  const warnings = [...found, ...ungenerated(policy)];
  const lacking: PolicyIssue[] = [];
  const kernel = `this kernel${facts.release === undefined ? '' : ` (${facts.release})`}`;
  for (const { ignoreMissing, calls } of hooksOf(policy)) {
    for (const { item, path: at } of calls) {
      if (!isMissing(item, facts) || ignoreMissing) continue;
      const what = {
        tracepoint: `has no tracepoint ${item.symbol}: /sys/kernel/tracing/available_events has the names it knows`,
        lsm: `has no LSM hook ${item.symbol} for BPF`,
        function: `has no function ${item.symbol} that can be hooked: write ignore.callNotFound: true to do without it`,
      }[item.kind === 'tracepoint' || item.kind === 'lsm' ? item.kind : 'function'];
      lacking.push({
        code: 'wrong-call',
        policy: policy.name,
        path: at,
        ...policy.locate(at),
        message: `${kernel} ${what}`,
      });
    }
  }
  for (const { item, path: at } of enforcerCalls(policy)) {
    if (!isMissing(item, facts) || item.symbol.startsWith('__ia32_')) continue;
    lacking.push({
      code: 'wrong-call',
      policy: policy.name,
      path: at,
      ...policy.locate(at),
      message: `${kernel} has no function ${item.symbol} that can be hooked`,
    });
  }
  lacking.push(...argumentIssues(policy, facts, kernel));
  const all = [...errors, ...lacking];
  const lines = [
    `${policy.kind} ${policy.namespace === '' ? '' : `${policy.namespace}/`}${policy.name}: ${all.length === 0 ? 'can be loaded' : 'is refused'}`,
    ...(policy.spec.nodeSelector === undefined
      ? []
      : [`  for nodes with ${labelText(policy.spec.nodeSelector)}, and skipped on others`]),
    ...hookText(policy, facts),
    ...enforcerText(policy, facts),
    ...(all.length === 0 ? costText(policy) : []),
    ...all.map((issue) => `  error   ${formatIssue(issue)}`),
    ...warnings.map((issue) => `  warning ${formatIssue(issue)}`),
  ];
  return { name: policy.name, ok: all.length === 0, errors: all, warnings, text: `${lines.join('\n')}\n` };
}
