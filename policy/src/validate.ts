// SPDX-License-Identifier: Apache-2.0
// Owns what a policy's fields must mean together: which operators an argument's type has, values by type, indexes,
// names that must exist, actions that a hook can take. What this version cannot do yet is judged in `support.ts`.
import { denialPoints, isDeniable, isRingCall, type ResolvedCall, resolveCall } from './calls.js';
import { issuesMax, type PolicyIssue, type PolicyIssueCode } from './error.js';
import {
  argumentOperators,
  capabilityNames,
  fileTypes,
  namespaceKinds,
  type TypeFamily,
  typeInfo,
  valuelessOperators,
} from './names.js';
import { quote, suggestion } from './nearest.js';
import { type Policy, policyIssue } from './parse.js';
import {
  type ExpandedSelector,
  expandSelectors,
  findArgument,
  type Located,
  listParts,
} from './selectors.js';
import type { Action, Argument, ArgumentTerm, Kprobe, Macro } from './shape.js';
import { fieldPath } from './source.js';
import { integerRange, parseInteger, parseTypedInteger } from './values.js';

export interface Validation {
  readonly errors: readonly PolicyIssue[];
  readonly warnings: readonly PolicyIssue[];
}

/** What a selector may do depends on the hook: whether its call can be made to fail. */
interface HookKind {
  readonly name: string;
  readonly args: readonly Argument[];
  readonly call: ResolvedCall | null;
  readonly deniable: 'yes' | 'syscall' | 'no';
}

class Findings {
  readonly errors: PolicyIssue[] = [];
  readonly warnings: PolicyIssue[] = [];
  constructor(readonly policy: Policy) {}

  /** True where there are more errors than anybody will be told: what looks for more can stop. */
  get isFull(): boolean {
    return this.errors.length > issuesMax;
  }

  error(code: PolicyIssueCode, path: string, message: string): void {
    this.errors.push(policyIssue(this.policy, code, path, message));
  }

  warn(code: PolicyIssueCode, path: string, message: string): void {
    this.warnings.push(policyIssue(this.policy, code, path, message));
  }
}

const optionValues: Readonly<Record<string, readonly string[]>> = {
  'policy-mode': ['enforce', 'monitor'],
  'override-method': ['fmod-ret', 'override-return'],
  'disable-kprobe-multi': ['true', 'false', '1', '0'],
  'disable-uprobe-multi': ['true', 'false', '1', '0'],
  'match-binaries': ['current', 'next'],
  'on-undecided': ['allow', 'deny'],
};

function checkOptions(findings: Findings): void {
  const seen = new Set<string>();
  findings.policy.spec.options?.forEach(({ name, value }, index) => {
    const path = `spec.options[${index}]`;
    const allowed = optionValues[name] ?? [];
    if (seen.has(name)) findings.error('duplicate-field', `${path}.name`, `${name} is set twice`);
    seen.add(name);
    if (!allowed.includes(value)) {
      findings.error(
        'wrong-value',
        `${path}.value`,
        `${quote(value)} is no value of ${name}: ${suggestion(value, allowed)}`,
      );
    }
  });
}

function checkLists(findings: Findings): void {
  const seen = new Set<string>();
  findings.policy.spec.lists?.forEach((list, index) => {
    const path = `spec.lists[${index}]`;
    if (seen.has(list.name)) {
      findings.error('duplicate-field', `${path}.name`, `a list ${quote(list.name)} is there already`);
    }
    seen.add(list.name);
    const generated = list.type?.startsWith('generated_') === true;
    if (generated && list.values !== undefined) {
      findings.error(
        'conflict',
        `${path}.values`,
        `the values of a list of the type ${list.type} are made from the kernel: leave them out`,
      );
    }
    if (!generated && (list.values ?? []).length === 0) {
      findings.error('missing-field', `${path}.values`, 'is empty: name at least one function');
    }
    if (list.pattern !== undefined && !generated) {
      findings.error('conflict', `${path}.pattern`, 'belongs to lists of a generated type only');
    }
    if (list.type === 'syscalls') {
      list.values?.forEach((value, position) => {
        if (findings.isFull) return;
        const resolved = resolveCall(value, true);
        if (typeof resolved === 'string' && !value.startsWith('__ia32_')) {
          findings.error('wrong-call', `${path}.values[${position}]`, `${quote(value)} ${resolved}`);
        }
      });
    }
  });
}

/** Resolves `call`: one function, or all of a list. Issues are found on the way. */
export function resolveCalls(
  policy: Policy,
  hook: { readonly call: string; readonly syscall: boolean },
  path: string,
  report: (code: PolicyIssueCode, path: string, message: string) => void = () => {},
): readonly Located<ResolvedCall>[] {
  if (!hook.call.startsWith('list:')) {
    const resolved = resolveCall(hook.call, hook.syscall);
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
    const resolved = resolveCall(
      value,
      list.type === 'syscalls' || (list.type === undefined && hook.syscall),
    );
    if (typeof resolved === 'string') report('wrong-call', valuePath, `${quote(value)} ${resolved}`);
    else if (!seen.has(resolved.symbol)) {
      seen.add(resolved.symbol);
      calls.push({ item: resolved, path: valuePath });
    }
  });
  return calls;
}

function checkArguments(findings: Findings, hook: HookKind, path: string): void {
  hook.args.forEach((argument, position) => {
    const at = `${path}.args[${position}]`;
    const type = typeInfo(argument.type);
    if (hook.call !== null && argument.index > 5) {
      findings.error(
        'wrong-index',
        `${at}.index`,
        `is ${argument.index}: a function's arguments have the indexes 0 to 5`,
      );
    }
    if (hook.call?.kind === 'syscall') {
      if (type?.family === 'path' && argument.type !== 'fd') {
        findings.error(
          'wrong-type',
          `${at}.type`,
          `${argument.type} is a kernel object, and a system call has none among its arguments: write string for a path in the caller's memory, fd for the number of an open file, or hook a security_* function`,
        );
      } else if (type?.family === 'text') {
        findings.warn(
          'user-memory',
          `${at}.type`,
          "is read from the caller's memory when the call begins: it is what the caller claims, and can be changed before the kernel uses it; security_* functions see what the kernel uses",
        );
      }
    }
    const twin = hook.args.findIndex(
      (other, index) =>
        index < position &&
        other.index === argument.index &&
        other.type === argument.type &&
        other.resolve === argument.resolve,
    );
    if (twin >= 0) {
      findings.warn('ignored-field', at, `says the same as ${path}.args[${twin}]`);
    }
  });
}

const pseudoPaths = /^(pipe|socket|anon_inode|memfd|inotify|eventpoll|\[)/;

function checkText(
  findings: Findings,
  operator: string,
  family: TypeFamily,
  value: string,
  path: string,
): void {
  if (value === '') {
    findings.error('wrong-value', path, 'is empty: it would match everything, or nothing');
    return;
  }
  if (value.includes('\0')) {
    findings.error('wrong-value', path, 'holds a NUL, which no text of the kernel does');
    return;
  }
  if (family !== 'path' || /Postfix|SubString/.test(operator)) return;
  const prefix = /Prefix/.test(operator);
  if (!value.startsWith('/')) {
    if (pseudoPaths.test(value)) return;
    if (prefix) {
      findings.warn(
        'never-matches',
        path,
        `${quote(value)} begins no path: paths begin with "/"; the end of a path is matched by Postfix`,
      );
    } else {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no absolute path: the kernel knows files by paths that begin with "/"; the end of a path is matched by Postfix`,
      );
    }
    return;
  }
  if (/\/\/|\/\.\.?(\/|$)/.test(value) && !(prefix && /\/\.\.?$/.test(value))) {
    findings.warn(
      'never-matches',
      path,
      `${quote(value)} is not written as the kernel writes paths: without "//", "/./" and "/../"`,
    );
  } else if (!prefix && value.length > 1 && value.endsWith('/')) {
    findings.warn(
      'never-matches',
      path,
      `${quote(value)} ends in "/", which no path of the kernel does: write Prefix for what is in the folder`,
    );
  }
}

function rangeOf(text: string): readonly [bigint, bigint] | undefined {
  const match = /^(-?[0-9a-zA-Z]+)[:-](-?[0-9a-zA-Z]+)$/.exec(text);
  const low = parseInteger(match?.[1] ?? '');
  const high = parseInteger(match?.[2] ?? '');
  return low === undefined || high === undefined ? undefined : [low, high];
}

function isAddress(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  if (rest.length > 0) return false;
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(address);
  const v6 =
    v4 === null &&
    /^[0-9a-fA-F:.]+$/.test(address) &&
    address.includes(':') &&
    URL.canParse(`http://[${address}]/`);
  if (v4 !== null ? v4.slice(1).some((part) => Number(part) > 255) : !v6) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (v4 !== null ? 32 : 128));
}

function checkSocketValue(findings: Findings, operator: string, value: string, path: string): void {
  if (/Addr$/.test(operator)) {
    if (!isAddress(value))
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no address or CIDR: write 10.1.2.3, 10.0.0.0/8, ::1 or fd00::/8`,
      );
  } else if (/Port$/.test(operator)) {
    const [low, high] = rangeOf(value) ?? [parseInteger(value), parseInteger(value)];
    if (low === undefined || high === undefined || low < 0n || high > 65535n || low > high) {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no port: write 0 to 65535, or a range such as 8000:8080`,
      );
    }
  } else if (!/^(IPPROTO_|AF_|TCP_)[A-Z0-9_]+$/.test(value) && parseInteger(value) === undefined) {
    findings.error(
      'wrong-value',
      path,
      `${quote(value)} is no name or number for ${operator}: names begin with ${operator === 'Protocol' ? 'IPPROTO_' : operator === 'Family' ? 'AF_' : 'TCP_'}`,
    );
  }
}

function checkIntegerValue(
  findings: Findings,
  operator: string,
  argument: Argument,
  value: string,
  path: string,
): void {
  const type = typeInfo(argument.type);
  if (type === undefined) return;
  if (/Map$/.test(operator) && value.startsWith('list:')) {
    const name = value.slice('list:'.length);
    const names = (findings.policy.spec.lists ?? []).map((list) => list.name);
    if (!names.includes(name))
      findings.error('wrong-value', path, `there is no list ${quote(name)}: ${suggestion(name, names)}`);
    return;
  }
  if (/Range$|Map$/.test(operator) && parseInteger(value) === undefined) {
    const range = rangeOf(value);
    const [low, high] = integerRange(type);
    if (range === undefined) {
      findings.error('wrong-value', path, `${quote(value)} is no range: write LOW:HIGH`);
    } else if (range[0] > range[1] || range[0] < low || range[1] > high) {
      findings.error(
        'wrong-value',
        path,
        `${quote(value)} is no range within ${low} to ${high}, which ${argument.type} takes`,
      );
    }
    return;
  }
  const parsed = parseTypedInteger(value, argument.type, type);
  if (typeof parsed === 'string') findings.error('wrong-value', path, `${quote(value)} ${parsed}`);
}

function checkArgumentTerm(
  findings: Findings,
  term: ArgumentTerm,
  path: string,
  args: readonly Argument[],
  what: string,
): void {
  const found = findArgument(args, term);
  if ('error' in found) {
    findings.error('wrong-index', `${path}.${found.field}`, found.error);
    return;
  }
  const argument = args[found.position];
  if (argument === undefined) return;
  if (found.byPosition && term.index !== undefined) {
    findings.warn(
      'tolerated',
      `${path}.index`,
      `no argument has the index ${term.index}: taken as the position in ${what}, which is argument ${argument.index}`,
    );
  }
  const family = typeInfo(argument.type)?.family ?? 'opaque';
  const families: readonly TypeFamily[] = argumentOperators[term.operator];
  if (family !== 'auto' && argument.resolve === undefined && !families.includes(family)) {
    const possible = Object.entries(argumentOperators)
      .filter(([, of]) => (of as readonly TypeFamily[]).includes(family))
      .map(([name]) => name);
    findings.error(
      'wrong-operator',
      `${path}.operator`,
      possible.length === 0
        ? `${term.operator} does not work on the type ${argument.type}: nothing of it can be matched`
        : `${term.operator} does not work on the type ${argument.type}, which has ${possible.join(', ')}`,
    );
    return;
  }
  const valueless = valuelessOperators.includes(term.operator);
  if (valueless && term.values.length > 0) {
    findings.error('wrong-value', `${path}.values`, `${term.operator} takes no values`);
  } else if (!valueless && term.values.length === 0) {
    findings.error('missing-field', `${path}.values`, `is empty: ${term.operator} wants at least one value`);
  }
  term.values.forEach((value, index) => {
    const at = `${path}.values[${index}]`;
    if (term.operator === 'CelExpr') {
      if (value.trim() === '') findings.error('wrong-value', at, 'is empty: write an expression');
    } else if (/FileType$/.test(term.operator)) {
      if (!(fileTypes as readonly string[]).includes(value.toLowerCase())) {
        findings.error(
          'wrong-value',
          at,
          `${quote(value)} is no type of file: ${suggestion(value, fileTypes)}`,
        );
      }
    } else if (family === 'integer' || family === 'capabilities') {
      checkIntegerValue(findings, term.operator, argument, value, at);
    } else if (family === 'syscall') {
      if (
        !value.startsWith('list:') &&
        parseInteger(value) === undefined &&
        typeof resolveCall(value, true) === 'string'
      ) {
        findings.error('wrong-value', at, `${quote(value)} is no number or name of a system call`);
      }
    } else if (family === 'socket') {
      checkSocketValue(findings, term.operator, value, at);
    } else {
      checkText(findings, term.operator, family, value, at);
    }
  });
  if (
    argument.type === 'fd' &&
    term.values.some((value) => parseInteger(value) !== undefined) &&
    /Equal|In$/.test(term.operator)
  ) {
    findings.warn(
      'tolerated',
      `${path}.values`,
      'the type fd is matched by the path of the open file: for its number write the type int',
    );
  }
}

function checkRateLimit(findings: Findings, action: Action, path: string): void {
  if (action.rateLimit !== undefined && !/^[0-9]{1,9}[smh]?$/i.test(String(action.rateLimit))) {
    findings.error(
      'wrong-value',
      `${path}.rateLimit`,
      `${quote(String(action.rateLimit))} is no time: write seconds (5 or 5s), minutes (1m) or hours (1h)`,
    );
  }
  if (action.rateLimitScope !== undefined && action.rateLimit === undefined) {
    findings.error(
      'missing-field',
      `${path}.rateLimit`,
      'is missing: rateLimitScope says whose events it holds back',
    );
  }
}

/** Fields of an action, and the actions that have a use for them. */
const actionFields: readonly [keyof Action, readonly string[]][] = [
  ['rateLimit', ['Post']],
  ['rateLimitScope', ['Post']],
  ['kernelStackTrace', ['Post']],
  ['userStackTrace', ['Post']],
  ['imaHash', ['Post']],
  ['argSig', ['Signal', 'NotifyEnforcer']],
  ['argRegs', ['Override']],
  ['argNewSymbol', ['Override']],
  ['argNewAddr', ['Override']],
  ['argNewOffset', ['Override']],
  ['argSock', ['TrackSock', 'UntrackSock']],
  ['argUrl', ['GetUrl']],
  ['argFqdn', ['DnsLookup']],
  ['argIndex', ['Set']],
  ['argValue', ['Set']],
];

function checkError(findings: Findings, action: Action, path: string): void {
  const error = action.argError;
  const at = `${path}.argError`;
  if (error === undefined) {
    if (action.action === 'Override')
      findings.error(
        'missing-field',
        at,
        'is missing: write the errno that the call shall return, such as -1 (EPERM)',
      );
    return;
  }
  if (Math.abs(error) > 4095) {
    findings.error('wrong-value', at, `is ${error}: an errno goes from -1 to -4095`);
  } else if (action.action !== 'Override' && action.action !== 'NotifyEnforcer') {
    findings.warn('ignored-field', at, `${action.action} has no use for it: ignored`);
  } else if (error > 0) {
    findings.warn('tolerated', at, `is positive: taken as ${-error}`);
  } else if (error === 0 && action.action === 'Override') {
    findings.error('wrong-value', at, 'is 0, which denies nothing: write an errno such as -1 (EPERM)');
  }
}

function checkDenial(findings: Findings, action: Action, path: string, hook: HookKind): void {
  const field = `${path}.action`;
  const kills = action.action === 'Sigkill' || (action.action === 'Signal' && action.argSig === 9);
  if (action.action === 'Override' && action.argRegs === undefined && action.argNewSymbol === undefined) {
    if (hook.deniable === 'no') {
      findings.error(
        'not-deniable',
        field,
        `Override: ${hook.name} cannot be made to fail; hook a security_* function that returns a verdict, or a system call that crosses one`,
      );
    } else if (hook.deniable === 'syscall') {
      const points = denialPoints(hook.call?.syscallName ?? '');
      if (points?.length === 0) {
        findings.error(
          'not-deniable',
          field,
          `Override: no security hook stands on the path of ${hook.name}, so it cannot be made to fail`,
        );
      } else if (points === undefined) {
        findings.error(
          'not-deniable',
          field,
          `Override: it is not known which security hook stands on the path of ${hook.name}; hook a security_* function`,
        );
      }
    }
  }
  if (kills && hook.deniable === 'syscall') {
    const points = denialPoints(hook.call?.syscallName ?? '') ?? [];
    const instead =
      points.length === 0
        ? 'no security hook stands on its path'
        : `to prevent it, hook ${points.join(' or ')}`;
    findings.warn(
      'takes-effect',
      field,
      `the process is killed, but the call itself can take effect first: ${instead}`,
    );
  } else if (kills && hook.deniable === 'no' && hook.call !== null) {
    findings.warn(
      'takes-effect',
      field,
      `the process is killed, but ${hook.name} itself runs on: it cannot be made to fail`,
    );
  }
}

function checkActions(findings: Findings, actions: readonly Located<Action>[], hook: HookKind): void {
  const seen = new Set<string>();
  for (const { item: action, path } of actions) {
    const name = action.action;
    if (seen.has(name))
      findings.error('duplicate-field', `${path}.action`, `${name} is there twice in one selector`);
    seen.add(name);
    for (const [field, users] of actionFields) {
      if (action[field] !== undefined && !users.includes(name)) {
        findings.error(
          'conflict',
          `${path}.${field}`,
          `${name} has no use for it: it belongs to ${users.join(' and ')}`,
        );
      }
    }
    checkRateLimit(findings, action, path);
    checkError(findings, action, path);
    checkDenial(findings, action, path, hook);
    if (action.argSig !== undefined && (action.argSig < 1 || action.argSig > 64)) {
      findings.error('wrong-value', `${path}.argSig`, `is ${action.argSig}: signals go from 1 to 64`);
    } else if (name === 'Signal' && action.argSig === undefined) {
      findings.error('missing-field', `${path}.argSig`, 'is missing: write the number of the signal');
    }
    if (name === 'GetUrl' && action.argUrl === undefined)
      findings.error('missing-field', `${path}.argUrl`, 'is missing: write the URL to call');
    if (name === 'DnsLookup' && action.argFqdn === undefined)
      findings.error('missing-field', `${path}.argFqdn`, 'is missing: write the name to look up');
  }
  if (seen.has('Post') && seen.has('NoPost')) {
    const path = actions.find(({ item }) => item.action === 'NoPost')?.path ?? '';
    findings.error('conflict', `${path}.action`, 'Post and NoPost are both there: keep one');
  }
}

function checkProcessParts(findings: Findings, selector: ExpandedSelector): void {
  for (const part of ['matchBinaries', 'matchParentBinaries'] as const) {
    for (const { item, path } of selector.part(part)) {
      item.values.forEach((value, index) => {
        checkText(findings, item.operator, 'path', value, `${path}.values[${index}]`);
      });
    }
  }
  for (const { item, path } of selector.part('matchPIDs')) {
    item.values.forEach((value, index) => {
      const pid = parseInteger(value);
      if (pid === undefined || pid < 0n || pid > 4194304n) {
        findings.error(
          'wrong-value',
          `${path}.values[${index}]`,
          `${quote(value)} is no process id: 0 to 4194304`,
        );
      }
    });
  }
  for (const { item, path } of selector.matchNamespaces) {
    item.values.forEach((value, index) => {
      if (value === 'host_ns') return;
      const inode = parseInteger(value);
      if (inode === undefined || inode < 1n || inode > 0xffffffffn) {
        findings.error(
          'wrong-value',
          `${path}.values[${index}]`,
          `${quote(value)} is no namespace: write its inode number (the one in /proc/PID/ns), or host_ns`,
        );
      }
    });
    if (!Object.hasOwn(namespaceKinds, item.namespace))
      findings.error('wrong-value', `${path}.namespace`, 'is no namespace');
  }
  for (const part of ['matchCapabilities', 'matchCapabilityChanges'] as const) {
    for (const { item, path } of selector.part(part)) {
      item.values.forEach((value, index) => {
        if (!(capabilityNames as readonly string[]).includes(value.toUpperCase())) {
          findings.error(
            'wrong-value',
            `${path}.values[${index}]`,
            `${quote(value)} is no capability: ${suggestion(value, capabilityNames)}`,
          );
        }
      });
    }
  }
}

interface HookFields {
  readonly args?: readonly Argument[] | undefined;
  readonly selectors?: Kprobe['selectors'];
  readonly returnArg?: Argument | undefined;
  readonly data?: readonly Argument[] | undefined;
}

function checkHook(findings: Findings, fields: HookFields, hook: HookKind, path: string): void {
  checkArguments(findings, hook, path);
  const macros = findings.policy.spec.selectorsMacros ?? {};
  fields.selectors?.forEach((selector, index) => {
    selector.macros?.forEach((name, position) => {
      if (selector.macros?.indexOf(name) !== position) {
        findings.error(
          'duplicate-field',
          `${path}.selectors[${index}].macros[${position}]`,
          `${quote(name)} is there twice`,
        );
      }
      if (!Object.hasOwn(macros, name)) {
        const names = Object.keys(macros);
        findings.error(
          'wrong-value',
          `${path}.selectors[${index}].macros[${position}]`,
          names.length === 0
            ? `there is no macro ${quote(name)}: spec.selectorsMacros is empty`
            : `there is no macro ${quote(name)}: ${suggestion(name, names)}`,
        );
      }
    });
  });
  for (const selector of expandSelectors(findings.policy, fields, path)) {
    for (const { item, path: at } of selector.matchArgs)
      checkArgumentTerm(findings, item, at, hook.args, 'args');
    for (const { item, path: at } of selector.part('matchData'))
      checkArgumentTerm(findings, item, at, fields.data ?? [], 'data');
    const returned = fields.returnArg === undefined ? [] : [fields.returnArg];
    for (const { item, path: at } of selector.part('matchReturnArgs')) {
      if (returned.length === 0)
        findings.error(
          'missing-field',
          `${path}.returnArg`,
          'is missing: matchReturnArgs has nothing to match',
        );
      else
        checkArgumentTerm(findings, { ...item, index: returned[0]?.index ?? 0 }, at, returned, 'returnArg');
    }
    checkProcessParts(findings, selector);
    checkActions(findings, selector.matchActions, hook);
    checkActions(findings, selector.part('matchReturnActions'), hook);
  }
}

function checkKprobes(findings: Findings, part: 'kprobes' | 'fentries'): void {
  findings.policy.spec[part]?.forEach((kprobe, index) => {
    const path = `spec.${part}[${index}]`;
    const calls = resolveCalls(findings.policy, kprobe, path, (code, at, message) =>
      findings.error(code, at, message),
    );
    if (kprobe.returnArg !== undefined && kprobe.return !== true) {
      findings.error(
        'conflict',
        `${path}.returnArg`,
        'is read at the return of the call: write return: true too',
      );
    }
    // Every function of a list has the same args and selectors: the first stands for all, but for what it denies.
    const first = calls[0]?.item;
    const all = calls.map(({ item }) => item);
    const deniable = all.every((call) => call.kind === 'syscall')
      ? 'syscall'
      : all.every((call) => isDeniable(call.symbol))
        ? 'yes'
        : 'no';
    const hook: HookKind = {
      name: kprobe.call,
      args: kprobe.args ?? [],
      call: first ?? null,
      deniable: first === undefined ? 'yes' : deniable,
    };
    checkHook(findings, kprobe, hook, path);
    const entries = all.filter((call) => call.kind === 'syscall');
    if (entries.length > 0) {
      findings.warn(
        'blind-spot',
        `${path}.call`,
        'sees calls of 64-bit programs only: the same call from a 32-bit program (int 0x80) passes by it',
      );
      const ring = entries.filter((call) => isRingCall(call.syscallName)).map((call) => call.syscallName);
      if (ring.length > 0) {
        findings.warn(
          'blind-spot',
          `${path}.call`,
          `io_uring does the work of ${ring.slice(0, 5).join(', ')} without the system call: hook the security_* function to see both`,
        );
      }
    }
  });
}

function checkOtherHooks(findings: Findings): void {
  const { spec } = findings.policy;
  const kind = (
    name: string,
    args: readonly Argument[] | undefined,
    deniable: HookKind['deniable'] = 'no',
  ): HookKind => ({
    name,
    args: args ?? [],
    call: null,
    deniable,
  });
  spec.tracepoints?.forEach((hook, index) => {
    checkHook(
      findings,
      hook,
      kind(`${hook.subsystem}:${hook.event}`, hook.args),
      `spec.tracepoints[${index}]`,
    );
  });
  spec.lsmhooks?.forEach((hook, index) => {
    const path = `spec.lsmhooks[${index}]`;
    const symbol = `security_${hook.hook.replace(/_security$/, '').replace(/^bprm_check$/, 'bprm_check')}`;
    if (hook.hook.startsWith('security_')) {
      findings.error(
        'wrong-call',
        `${path}.hook`,
        `names the function, not the hook: write ${hook.hook.slice('security_'.length)}, or hook the function under spec.kprobes`,
      );
    }
    checkHook(findings, hook, kind(hook.hook, hook.args, isDeniable(symbol) ? 'yes' : 'no'), path);
  });
  spec.uprobes?.forEach((hook, index) => {
    const path = `spec.uprobes[${index}]`;
    if (!hook.path.startsWith('/'))
      findings.error('wrong-value', `${path}.path`, 'is no absolute path of a program or library');
    if ([hook.symbols, hook.offsets, hook.addrs].every((list) => (list ?? []).length === 0)) {
      findings.error('missing-field', `${path}.symbols`, 'is missing: name symbols, offsets or addrs');
    }
    checkHook(findings, hook, kind(hook.path, hook.args, 'yes'), path);
  });
  spec.usdts?.forEach((hook, index) => {
    const path = `spec.usdts[${index}]`;
    if (!hook.path.startsWith('/'))
      findings.error('wrong-value', `${path}.path`, 'is no absolute path of a program or library');
    checkHook(findings, hook, kind(`${hook.provider}:${hook.name}`, hook.args), path);
  });
  spec.enforcers?.forEach((enforcer, index) => {
    enforcer.calls.forEach((call, position) => {
      const name = call.startsWith('list:') ? call.slice('list:'.length) : undefined;
      const names = (spec.lists ?? []).map((list) => list.name);
      if (name !== undefined && !names.includes(name)) {
        findings.error(
          'wrong-call',
          `spec.enforcers[${index}].calls[${position}]`,
          `there is no list ${quote(name)}: ${suggestion(name, names)}`,
        );
      }
    });
  });
}

function checkSelectorsOfObjects(findings: Findings): void {
  const { spec, kind } = findings.policy;
  if (kind === 'TracingPolicyNamespaced' && spec.hostSelector != null) {
    findings.error(
      'conflict',
      'spec.hostSelector',
      'a namespaced policy holds for the pods of its namespace, never for the host: leave it out',
    );
  }
  if (spec.hostSelector != null && Object.keys(spec.hostSelector).length > 0) {
    findings.error('wrong-value', 'spec.hostSelector', 'takes {} (every host) and nothing else');
  }
  for (const part of ['podSelector', 'containerSelector', 'nodeSelector'] as const) {
    spec[part]?.matchExpressions?.forEach((expression, index) => {
      const path = `spec.${part}.matchExpressions[${index}]`;
      const wants = /In$/.test(expression.operator);
      const has = (expression.values ?? []).length > 0;
      if (wants !== has) {
        findings.error(
          'wrong-value',
          `${path}.values`,
          wants
            ? `is empty: ${expression.operator} wants at least one value`
            : `${expression.operator} takes no values`,
        );
      }
    });
  }
  const hooks = [spec.kprobes, spec.fentries, spec.tracepoints, spec.lsmhooks, spec.uprobes, spec.usdts];
  const used = new Set(
    hooks.flatMap((list) =>
      (list ?? []).flatMap((hook) => (hook.selectors ?? []).flatMap((selector) => selector.macros ?? [])),
    ),
  );
  for (const name of Object.keys(spec.selectorsMacros ?? {})) {
    if (!used.has(name))
      findings.warn('ignored-field', fieldPath('spec.selectorsMacros', name), 'is used by no selector');
  }
}

/** Conditions and values of a policy, with its macros and lists put in: what a small text may not blow up to. */
export const expandedItemsMax = 200_000;

function itemsOf(selector: Macro): number {
  let count = 1;
  for (const part of listParts) {
    for (const item of selector[part] ?? []) count += 1 + ('values' in item ? item.values.length : 0);
  }
  return count;
}

/** The first field with which a policy, macros and lists put in, is larger than may be; undefined for none. */
function findTooLarge(policy: Policy): string | undefined {
  const { spec } = policy;
  const macros = new Map(
    Object.entries(spec.selectorsMacros ?? {}).map(([name, macro]) => [name, itemsOf(macro)]),
  );
  const lists = new Map((spec.lists ?? []).map((list) => [`list:${list.name}`, list.values?.length ?? 1]));
  let count = 0;
  for (const part of ['kprobes', 'fentries', 'tracepoints', 'lsmhooks', 'uprobes', 'usdts'] as const) {
    for (const [index, hook] of (spec[part] ?? []).entries()) {
      const calls = 'call' in hook ? (lists.get(hook.call) ?? 1) : 1;
      let own = 1 + (hook.args?.length ?? 0);
      for (const selector of hook.selectors ?? []) {
        own += itemsOf(selector);
        for (const name of selector.macros ?? []) own += macros.get(name) ?? 1;
      }
      count += own * calls;
      if (count > expandedItemsMax) return `spec.${part}[${index}]`;
    }
  }
  return undefined;
}

/** Judges what a policy's fields mean together. Never throws; each error and warning names its field. */
export function validate(policy: Policy): Validation {
  const findings = new Findings(policy);
  const { spec } = policy;
  const tooLarge = findTooLarge(policy);
  if (tooLarge !== undefined) {
    findings.error(
      'limit',
      tooLarge,
      `with its macros and lists put in, the policy has more than ${expandedItemsMax} conditions and values: split it`,
    );
    return { errors: findings.errors, warnings: [] };
  }
  checkOptions(findings);
  checkLists(findings);
  checkKprobes(findings, 'kprobes');
  checkKprobes(findings, 'fentries');
  checkOtherHooks(findings);
  checkSelectorsOfObjects(findings);
  const hooks = [spec.kprobes, spec.fentries, spec.tracepoints, spec.lsmhooks, spec.uprobes, spec.usdts];
  if (spec.loader !== true && hooks.every((list) => (list ?? []).length === 0)) {
    findings.warn('ignored-field', 'spec', 'has no hook: the policy does nothing');
  }
  return { errors: findings.errors, warnings: findings.warnings };
}
