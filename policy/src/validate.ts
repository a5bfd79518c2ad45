// SPDX-License-Identifier: Apache-2.0
// Owns what a policy's fields must mean together: names that must exist, hooks and what they can do; terms and actions
// are judged beside it. What this version cannot do yet is judged in `support.ts`.
import { bufferIssues, isBuffer } from './buffers.js';
import { canDeny, isEntry32, isRingCall, lsmCall, resolveCall } from './calls.js';
import { checkCelTogether } from './cel/selector.js';
import { checkEnforcers } from './enforcers.js';
import type { PolicyIssue } from './error.js';
import { expandedItemsMax, findTooLarge } from './expanded-size.js';
import { Findings, type HookKind } from './findings.js';
import { warnOfHashes } from './ima.js';
import { namePattern } from './name-pattern.js';
import { type TypeFamily, typeInfo } from './names.js';
import { quote, suggestion } from './nearest.js';
import type { ResolvedCall } from './places.js';
import type { Located, Policy } from './policy.js';
import { resolveCalls } from './resolve-calls.js';
import { expandSelectors } from './selectors.js';
import type { Argument, Kprobe } from './shape.js';
import { checkReturnedSocket } from './sockets.js';
import { fieldPath } from './source.js';
import { syscallNumber32 } from './syscall-numbers.js';
import { checkTracepoint } from './tracepoints.js';
import { checkUndecided } from './undecided.js';
import { uprobeCalls } from './user-places.js';
import { checkActions } from './validate-actions.js';
import { checkArgumentTerm, checkProcessParts } from './validate-terms.js';

export interface Validation {
  readonly errors: readonly PolicyIssue[];
  readonly warnings: readonly PolicyIssue[];
}

const optionValues: Readonly<Record<string, readonly string[]>> = {
  'policy-mode': ['enforce', 'monitor'],
  'override-method': ['fmod-ret', 'override-return'],
  'disable-kprobe-multi': ['true', 'false', '1', '0'],
  'disable-uprobe-multi': ['true', 'false', '1', '0'],
  'match-binaries': ['current', 'next'],
  'on-undecided': ['allow', 'deny'],
};

/** Sizes a map of others' programs; here nothing has one. */
const heapSize = 'uprobe-heap-size';

function checkOptions(findings: Findings): void {
  const seen = new Set<string>();
  findings.policy.spec.options?.forEach(({ name, value }, index) => {
    const path = `spec.options[${index}]`;
    const allowed = optionValues[name] ?? [];
    if (seen.has(name)) findings.error('duplicate-field', `${path}.name`, `${name} is set twice`);
    seen.add(name);
    if (name === heapSize) {
      if (!/^[1-9][0-9]{0,9}$/.test(value))
        findings.error(
          'wrong-value',
          `${path}.value`,
          `${quote(value)} is no number of entries, such as 65536`,
        );
    } else if (!allowed.includes(value)) {
      findings.error(
        'wrong-value',
        `${path}.value`,
        `${quote(value)} is no value of ${name}: ${suggestion(value, allowed)}`,
      );
    } else if (value === 'override-return') {
      findings.warn(
        'tolerated',
        `${path}.value`,
        "taken as fmod-ret: calls fail with the same error, by the kernel's security checks, for which it needs no error injection",
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
    if (list.type === 'generated_ftrace' && list.pattern === undefined) {
      findings.error('missing-field', `${path}.pattern`, 'is missing: it says which functions are meant');
    }
    const pattern = generated ? namePattern(list.pattern ?? '') : '';
    if (generated && typeof pattern === 'string') {
      findings.error('wrong-value', `${path}.pattern`, `is no pattern of names: ${pattern}`);
    }
    if (list.pattern !== undefined && !generated) {
      findings.error('conflict', `${path}.pattern`, 'belongs to lists of a generated type only');
    }
    if (list.type === 'syscalls') {
      list.values?.forEach((value, position) => {
        if (findings.isFull) return;
        const resolved = resolveCall(value, true);
        if (typeof resolved === 'string') {
          findings.error('wrong-call', `${path}.values[${position}]`, `${quote(value)} ${resolved}`);
        }
      });
    }
  });
}

/** Arguments of a function that come in registers (x86-64 System V ABI). */
const registerArguments = 6;
/** Values with which a raw tracepoint is called, and fields of a record, that can be named. */
const rawValues = 12;
const recordFields = 64;
/** Arguments that a marker has at most (sys/sdt.h). */
const markerArguments = 12;

/** Objects of the kernel, beside files and sockets. */
const kernelTypes = new Set([
  'iov_iter',
  'cred',
  'filename',
  'net_device',
  'bpf_map',
  'bpf_prog',
  'perf_event',
  'module',
  'load_info',
  'user_namespace',
  'kernel_cap_t',
  'cap_inheritable',
  'cap_permitted',
  'cap_effective',
]);

function isKernelObject(name: string, family: TypeFamily | undefined): boolean {
  return (
    (family === 'path' && name !== 'fd') ||
    (family === 'socket' && name !== 'sockaddr') ||
    kernelTypes.has(name)
  );
}

/** Types beside text that a system call has in its caller's memory. */
const userMemoryTypes = new Set(['sockaddr', 'sockaddr_un', 'bpf_attr']);

function checkArguments(
  findings: Findings,
  fields: HookFields,
  hook: HookKind,
  args: readonly Argument[],
  path: string,
): void {
  args.forEach((argument, position) => {
    const at = `${path}[${position}]`;
    const most = hook.userArguments ?? hook.tracepointArguments ?? registerArguments;
    for (const [field, message] of bufferIssues(argument, fields.return === true, most))
      findings.error('conflict', `${at}.${field}`, message);
    if (argument.maxData === true && !isBuffer(argument.type))
      findings.warn(
        'tolerated',
        `${at}.maxData`,
        `${argument.type} has no use for it: it reads char_buf and its like as a whole`,
      );
    const type = typeInfo(argument.type);
    if (hook.call !== null && argument.index > 5) {
      findings.error(
        'wrong-index',
        `${at}.index`,
        `is ${argument.index}: a function's arguments have the indexes 0 to 5`,
      );
    }
    for (const field of ['btfType', 'btfTypeModule'] as const) {
      const hasUse = (argument.resolve ?? '') !== '' || (argument.type === 'auto' && field === 'btfType');
      if (argument[field] !== undefined && !hasUse)
        findings.warn('ignored-field', `${at}.${field}`, 'has no use without resolve: ignored');
    }
    if (
      hook.userArguments !== undefined &&
      argument.source === undefined &&
      argument.index >= hook.userArguments
    ) {
      findings.error(
        'wrong-index',
        `${at}.index`,
        `is ${argument.index}: the arguments that can be read have the indexes 0 to ${hook.userArguments - 1}`,
      );
    }
    if (
      hook.userArguments !== undefined &&
      argument.source !== 'current_task' &&
      isKernelObject(argument.type, type?.family)
    ) {
      findings.error(
        'wrong-type',
        `${at}.type`,
        `${argument.type} is a kernel object, and a program has none among its arguments: write a number, string, or fd for the number of an open file`,
      );
    }
    if (hook.call?.kind === 'syscall' && argument.source === undefined) {
      if (isKernelObject(argument.type, type?.family)) {
        findings.error(
          'wrong-type',
          `${at}.type`,
          `${argument.type} is a kernel object, and a system call has none among its arguments: write string for a path in the caller's memory, fd for the number of an open file, or hook a security_* function`,
        );
      } else if (type?.family === 'text' || userMemoryTypes.has(argument.type)) {
        findings.warn(
          'user-memory',
          `${at}.type`,
          "is read from the caller's memory when the call begins: it is what the caller claims, and can be changed before the kernel uses it; security_* functions see what the kernel uses",
        );
      }
    }
    const twin = args.findIndex(
      (other, index) =>
        index < position &&
        other.index === argument.index &&
        other.type === argument.type &&
        other.resolve === argument.resolve &&
        other.source === argument.source,
    );
    if (twin >= 0) {
      findings.warn('ignored-field', at, `says the same as ${path}[${twin}]`);
    }
  });
}

interface HookFields {
  readonly return?: boolean | undefined;
  readonly args?: readonly Argument[] | undefined;
  readonly selectors?: Kprobe['selectors'];
  readonly returnArg?: Argument | undefined;
  readonly data?: readonly Argument[] | undefined;
}

function checkHook(findings: Findings, fields: HookFields, hook: HookKind, path: string): void {
  checkArguments(findings, fields, hook, hook.args, `${path}.args`);
  checkArguments(findings, fields, hook, fields.data ?? [], `${path}.data`);
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
    checkCelTogether(findings, selector, hook.args);
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
    checkActions(findings, selector.part('matchReturnActions'), { ...hook, deniable: 'returned' });
  }
}

/** Calls that never come back to where they were made. */
const endless = new Set(['exit', 'exit_group', 'do_exit', 'do_group_exit', 'make_task_dead', 'panic']);

function checkReturn(
  findings: Findings,
  kprobe: Omit<HookFields, 'args'> & Pick<Kprobe, 'returnArgAction'>,
  calls: readonly Located<ResolvedCall>[],
  path: string,
): void {
  if (kprobe.return !== true) {
    for (const selector of expandSelectors(findings.policy, kprobe, path)) {
      for (const part of ['matchReturnArgs', 'matchReturnActions'] as const) {
        for (const { path: at } of selector.part(part))
          findings.error(
            'conflict',
            at,
            `${part} is judged at the return of the call: write return: true too`,
          );
      }
    }
    if (kprobe.returnArgAction !== undefined)
      findings.error('conflict', `${path}.returnArgAction`, 'acts at the return: write return: true too');
    return;
  }
  if (kprobe.returnArg === undefined) {
    findings.error(
      'missing-field',
      `${path}.returnArg`,
      'is missing: with return: true it says the type of what the call returns, such as {index: 0, type: int}',
    );
  }
  if (kprobe.returnArg !== undefined && isBuffer(kprobe.returnArg.type)) {
    findings.error(
      'wrong-type',
      `${path}.returnArg.type`,
      `${kprobe.returnArg.type}: nothing says how many bytes a returned buffer has; write string, or read the argument with returnCopy: true`,
    );
  }
  for (const { item: call, path: at } of calls) {
    if (endless.has(call.kind === 'syscall' ? call.syscallName : call.symbol))
      findings.error('conflict', at, `${call.symbol} never returns: leave return out`);
  }
  for (const selector of expandSelectors(findings.policy, kprobe, path)) {
    const acts = selector.matchActions.find(({ item }) => /^(Sigkill|Signal|Override)$/.test(item.action));
    if (acts === undefined || selector.part('matchReturnArgs').length === 0) continue;
    findings.warn(
      'takes-effect',
      `${acts.path}.action`,
      `${acts.item.action} is done when the call begins, whatever it returns then: to do it by what it returns, write it in matchReturnActions`,
    );
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
    checkReturn(findings, kprobe, calls, path);
    checkReturnedSocket(findings, kprobe, path);
    // Every function of a list has the same args and selectors: the first stands for all, but for what it denies.
    const first = calls[0]?.item;
    const all = calls.map(({ item }) => item);
    const deniable = all.every((call) => call.kind === 'syscall')
      ? 'syscall'
      : all.every(canDeny)
        ? 'yes'
        : 'no';
    const hook: HookKind = {
      name: kprobe.call,
      args: kprobe.args ?? [],
      call: first ?? null,
      deniable: first === undefined ? 'yes' : deniable,
      syscallNames: all.filter((call) => call.kind === 'syscall').map((call) => call.syscallName),
    };
    checkHook(findings, kprobe, hook, path);
    const entries = all.filter((call) => call.kind === 'syscall');
    const names = (of: boolean) =>
      new Set(entries.filter(({ symbol }) => isEntry32(symbol) === of).map((call) => call.syscallName));
    const [by64, by32] = [names(false), names(true)];
    // A call that is in a list by both of its entries is seen by both.
    if ([...by64].some((name) => !by32.has(name) && syscallNumber32(name) !== undefined)) {
      findings.warn(
        'blind-spot',
        `${path}.call`,
        'sees calls of 64-bit programs only: the same call by the 32-bit entry (a 32-bit program, int 0x80) passes by it; __ia32_sys_NAME (or __ia32_compat_sys_NAME, where the kernel has that) is hooked beside it in a list',
      );
    }
    if ([...by32].some((name) => !by64.has(name))) {
      findings.warn(
        'blind-spot',
        `${path}.call`,
        'sees calls by the 32-bit entry only: write sys_NAME beside it in a list for those of 64-bit programs',
      );
    }
    if (entries.length > 0) {
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
    syscallNames: [],
  });
  spec.tracepoints?.forEach((hook, index) => {
    checkTracepoint(findings, hook, `spec.tracepoints[${index}]`);
    checkHook(
      findings,
      hook,
      {
        ...kind(`${hook.subsystem}:${hook.event}`, hook.args),
        tracepointArguments: hook.raw === true ? rawValues : recordFields,
      },
      `spec.tracepoints[${index}]`,
    );
  });
  spec.lsmhooks?.forEach((hook, index) => {
    const path = `spec.lsmhooks[${index}]`;
    const call = lsmCall(hook.hook);
    if (!/^[a-z][a-z0-9_]*$/.test(hook.hook)) {
      findings.error(
        'wrong-call',
        `${path}.hook`,
        `${quote(hook.hook)} is no name of an LSM hook, such as file_open`,
      );
    }
    if (hook.hook.startsWith('security_')) {
      findings.error(
        'wrong-call',
        `${path}.hook`,
        `names the function, not the hook: write ${hook.hook.slice('security_'.length)}, or hook the function under spec.kprobes`,
      );
    }
    for (const selector of expandSelectors(findings.policy, hook, path))
      warnOfHashes(findings, hook.hook, selector);
    checkHook(
      findings,
      hook,
      {
        name: hook.hook,
        args: hook.args ?? [],
        call,
        deniable: canDeny(call) ? 'yes' : 'no',
        syscallNames: [],
      },
      path,
    );
  });
  spec.uprobes?.forEach((hook, index) => {
    const path = `spec.uprobes[${index}]`;
    if (!hook.path.startsWith('/'))
      findings.error('wrong-value', `${path}.path`, 'is no absolute path of a program or library');
    if (hook.symbol !== undefined)
      findings.error('conflict', `${path}.symbol`, 'says the same as symbols: write it there too');
    const calls = uprobeCalls(hook, path, (code, at, message) => findings.error(code, at, message));
    checkReturn(findings, hook, calls, path);
    if (hook.returnArg !== undefined && hook.return !== true) {
      findings.error(
        'conflict',
        `${path}.returnArg`,
        'is read at the return of the function: write return: true too',
      );
    }
    checkHook(
      findings,
      hook,
      { ...kind(hook.path, hook.args, 'yes'), userArguments: registerArguments },
      path,
    );
  });
  spec.usdts?.forEach((hook, index) => {
    const path = `spec.usdts[${index}]`;
    if (!hook.path.startsWith('/'))
      findings.error('wrong-value', `${path}.path`, 'is no absolute path of a program or library');
    checkHook(
      findings,
      hook,
      { ...kind(`${hook.provider}:${hook.name}`, hook.args), userArguments: markerArguments },
      path,
    );
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
  for (const { code, path, message } of policy.notes) findings.warn(code, path, message);
  checkOptions(findings);
  checkLists(findings);
  checkKprobes(findings, 'kprobes');
  checkKprobes(findings, 'fentries');
  checkOtherHooks(findings);
  checkEnforcers(findings);
  checkUndecided(findings);
  checkSelectorsOfObjects(findings);
  const hooks = [spec.kprobes, spec.fentries, spec.tracepoints, spec.lsmhooks, spec.uprobes, spec.usdts];
  if (spec.loader !== true && hooks.every((list) => (list ?? []).length === 0)) {
    findings.warn('ignored-field', 'spec', 'has no hook: the policy does nothing');
  }
  return { errors: findings.errors, warnings: findings.warnings };
}
