// SPDX-License-Identifier: Apache-2.0
// Owns what this version of the kernel stage does not do: each such field is refused by name when a policy is
// planned, so that no policy is in force and means less than it says. As the kernel stage grows, lines leave this file.
import { limits } from '@weir/schema';
import { isBuffer } from './buffers.js';
import { compileCel } from './cel/compile.js';
import { comparedTexts } from './cel/selector.js';
import type { PolicyIssue } from './error.js';
import { hooksOf, type PolicyHook } from './hooks.js';
import { type ImaFile, imaFileOf } from './ima.js';
import { userRegister } from './marker-arguments.js';
import { typeInfo } from './names.js';
import type { ResolvedCall, TracepointName } from './places.js';
import { type Policy, policyIssue } from './policy.js';
import { binariesMeanNext, type ExpandedSelector, expandSelectors, findArgument } from './selectors.js';
import type { Argument, ArgumentTerm, CalledFields, Kprobe } from './shape.js';
import { insideOf } from './user-places.js';
import { toBytes } from './values.js';

/** Argument types that hook programs read. */
const readableTypes = new Set([
  'string',
  'char_buf',
  'const_buf',
  'char_iovec',
  'iov_iter',
  'fd',
  'file',
  'path',
  'linux_binprm',
  'sock',
  'socket',
  'sockaddr',
  'cred',
  'user_namespace',
  'kernel_cap_t',
  'cap_inheritable',
  'cap_permitted',
  'cap_effective',
  'syscall64',
  'filename',
  'dentry',
  'kiocb',
  'skb',
  'sockaddr_un',
  'net_device',
  'bpf_attr',
  'bpf_map',
  'bpf_prog',
  'perf_event',
  'load_info',
  'module',
  'nop',
]);
/** Operators on arguments that a plan can express. */
const plannedOperators = new Set([
  'Equal',
  'NotEqual',
  'In',
  'NotIn',
  'Prefix',
  'NotPrefix',
  'Postfix',
  'NotPostfix',
  'SubString',
  'SubStringIgnCase',
  'GT',
  'LT',
  'InRange',
  'NotInRange',
  'InMap',
  'NotInMap',
  'Mask',
  'SAddr',
  'NotSAddr',
  'DAddr',
  'NotDAddr',
  'SPort',
  'NotSPort',
  'DPort',
  'NotDPort',
  'SPortPriv',
  'NotSPortPriv',
  'DPortPriv',
  'NotDPortPriv',
  'Protocol',
  'Family',
  'State',
  'FileType',
  'NotFileType',
  'CapabilitiesGained',
]);
const plannedActions = new Set([
  'Post',
  'NoPost',
  'Sigkill',
  'Signal',
  'Override',
  'NotifyEnforcer',
  'CleanupEnforcerNotification',
  'GetUrl',
  'DnsLookup',
  'TrackSock',
  'UntrackSock',
  'Set',
]);

/** The longest text that a term on a binary takes: what a trie takes, without the closing NUL. */
export const textBytesMax = limits.trie_data_bytes - 1;
/** The longest text that a term on an argument takes: as many bytes as are read of one. */
export const argumentBytesMax = limits.path_bytes - 1;

/** The longest name of a kernel object that a term takes: 63 bytes of one are read, the last of which may not be its last. */
const nameBytesMax = 62;

const later = 'is not supported yet by this version';

type Report = (path: string, message: string) => void;

/** What fields can be read of: what kind of thing has the arguments. */
type FieldsOf = 'function' | 'syscall' | 'raw' | 'record' | 'user' | 'nothing';

function fieldsOf({ calls }: PolicyHook): FieldsOf {
  const kinds = new Set(calls.map(({ item }) => item.kind));
  if (kinds.has('syscall')) return 'syscall';
  if (kinds.has('user')) return 'user';
  if (kinds.has('tracepoint')) return calls[0]?.item.tracepoint?.raw === true ? 'raw' : 'record';
  return ['security', 'function', 'lsm'].some((kind) => kinds.has(kind as ResolvedCall['kind']))
    ? 'function'
    : 'nothing';
}

function checkRegister(argument: Argument, at: string, fields: FieldsOf, report: Report): void {
  const { resolve = '', type, btfType } = argument;
  if (fields !== 'user') {
    const instead =
      fields === 'syscall' ? 'the arguments of the call have indexes' : 'its parameters have indexes';
    report(
      `${at}.source`,
      `pt_regs cannot be had here: what is hooked is not given its registers; ${instead}, and uprobes and usdts have registers`,
    );
  } else if (userRegister(resolve) === undefined) {
    report(
      `${at}.resolve`,
      `${resolve === '' ? 'is missing' : 'names no register'}: with source: pt_regs it is one of x86-64, such as rdi, eax or r8d`,
    );
  } else if (type === 'auto') report(`${at}.type`, 'auto: a register has no type: write it');
  else if (typeInfo(type)?.family !== 'integer' && !userTypes.has(type))
    report(`${at}.type`, `${type} is not read of a register: write a number, ${[...userTypes].join(', ')}`);
  if (btfType !== undefined) report(`${at}.btfType`, 'has no use: a register has no fields');
}

function checkField(argument: Argument, at: string, fields: FieldsOf, report: Report): void {
  const { resolve = '', source, btfType } = argument;
  if (source === 'pt_regs') {
    checkRegister(argument, at, fields, report);
    return;
  }
  if (fields === 'nothing') {
    for (const field of ['resolve', 'btfType', 'btfTypeModule', 'source'] as const) {
      if (argument[field] !== undefined) report(`${at}.${field}`, `${field} ${later} on this kind of hook`);
    }
    if (argument.type === 'auto') report(`${at}.type`, `auto ${later}: write the type of the argument`);
    return;
  }
  if (source === 'current_task' && resolve === '')
    report(
      `${at}.resolve`,
      'is missing: with source: current_task it names a field of the task, such as comm',
    );
  if ((fields === 'syscall' || fields === 'user') && source === undefined && btfType === undefined) {
    const why =
      fields === 'syscall'
        ? 'the entry of a system call has its arguments in saved registers, which have no types'
        : 'the arguments of a program have no types that are known';
    if (resolve !== '')
      report(`${at}.resolve`, `${why}: name by btfType the struct that the argument points to`);
    else if (argument.type === 'auto') report(`${at}.type`, `auto: ${why}: write the type`);
  }
}

function checkArgument(
  argument: Argument,
  at: string,
  fields: FieldsOf,
  tracepoint: TracepointName | undefined,
  report: Report,
): void {
  const family = typeInfo(argument.type)?.family;
  // Read from the record; what `auto` is there, the format of the tracepoint says.
  const isOfRecord = tracepoint?.raw === false;
  checkField(argument, at, fields, report);
  const isReadable = family === 'integer' || readableTypes.has(argument.type) || argument.type === 'auto';
  if (!isReadable && !(isOfRecord && argument.type === 'data_loc')) {
    report(
      `${at}.type`,
      `the type ${argument.type} ${later}: it reads integers, ${[...readableTypes].join(', ')}`,
    );
  }
}

function checkArguments(
  args: readonly Argument[],
  path: string,
  fields: FieldsOf,
  tracepoint: TracepointName | undefined,
  report: Report,
): void {
  args.forEach((argument, position) => {
    checkArgument(argument, `${path}[${position}]`, fields, tracepoint, report);
  });
}

function checkTexts(values: readonly string[], path: string, report: Report, most = textBytesMax): void {
  values.forEach((value, index) => {
    const bytes = toBytes(value).length;
    if (bytes > most) {
      report(
        `${path}.values[${index}]`,
        `has ${bytes} bytes: this version takes texts of up to ${most} bytes`,
      );
    }
  });
}

/** Whether the kernel stage takes what an expression asks. */
function checkExpressions(item: ArgumentTerm, args: readonly Argument[], path: string, report: Report): void {
  item.values.forEach((value, index) => {
    const compiled = compileCel([value], args);
    if ('error' in compiled) return; // validation has told it
    for (const text of comparedTexts(compiled, args)) {
      const bytes = toBytes(text.value).length;
      const most = text.family === 'name' ? nameBytesMax : argumentBytesMax;
      if (bytes > most)
        report(
          `${path}.values[${index}]`,
          `has a text of ${bytes} bytes: this version takes texts of up to ${most} bytes`,
        );
    }
  });
}

/** Whether the kernel stage does an operator on an argument. */
function checkOperator(
  item: ArgumentTerm,
  argument: Argument | undefined,
  path: string,
  report: Report,
): void {
  const family = typeInfo(argument?.type ?? '')?.family;
  if (!plannedOperators.has(item.operator)) {
    report(`${path}.operator`, `${item.operator} ${later}: it does ${[...plannedOperators].join(', ')}`);
  }
  if (argument !== undefined)
    checkTexts(item.values, path, report, family === 'name' ? nameBytesMax : argumentBytesMax);
}

const actionsAtReturn = new Set(['Post', 'NoPost', 'Sigkill', 'Signal', 'TrackSock', 'UntrackSock']);

function checkReturnParts(selector: ExpandedSelector, returnArg: Argument | undefined, report: Report): void {
  for (const { item, path } of selector.part('matchReturnArgs')) checkOperator(item, returnArg, path, report);
  for (const { item, path } of selector.part('matchReturnActions')) {
    if (!actionsAtReturn.has(item.action)) {
      report(
        `${path}.action`,
        `${item.action} at the return ${later}: it does ${[...actionsAtReturn].join(', ')}`,
      );
    }
    const before = selector.matchActions.find((action) => action.item.rateLimit !== undefined);
    if (item.rateLimit !== undefined && before !== undefined)
      report(`${path}.rateLimit`, `the event, which is one, has a rate limit in ${before.path} already`);
    if (item.imaHash === true) report(`${path}.imaHash`, 'imaHash is for lsmhooks, which have no return');
  }
}

function checkSelector(
  selector: ExpandedSelector,
  args: readonly Argument[],
  called: CalledFields | undefined,
  isMarker: boolean,
  imaFile: ImaFile | undefined,
  report: Report,
): void {
  checkReturnParts(selector, called?.returnArg, report);
  const ofArguments = selector.matchArgs.map((term) => ({ ...term, list: args }));
  const ofData = selector.part('matchData').map((term) => ({ ...term, list: called?.data ?? [] }));
  for (const { item, path, list } of [...ofArguments, ...ofData]) {
    if (item.operator === 'CelExpr') {
      checkExpressions(item, list, path, report);
      continue;
    }
    const found = findArgument(list, item);
    const argument = 'position' in found ? list[found.position] : undefined;
    checkOperator(item, argument, path, report);
  }
  for (const part of ['matchBinaries', 'matchParentBinaries'] as const) {
    for (const { item, path } of selector.part(part)) {
      checkTexts(item.values, path, report);
    }
  }
  for (const { item, path } of selector.matchActions) {
    if (item.action === 'Set' && !isMarker) {
      report(
        `${path}.action`,
        'Set is for the markers of programs (usdts), whose arguments can lie in memory',
      );
    } else if (!plannedActions.has(item.action)) {
      report(`${path}.action`, `${item.action} ${later}: it does ${[...plannedActions].join(', ')}`);
    }
    if (item.imaHash === true && imaFile === undefined)
      report(
        `${path}.imaHash`,
        'the kernel hashes files at LSM hooks that are about one: write it under lsmhooks, on bprm_check_security, file_post_open, mmap_file or their like',
      );
    for (const field of ['argRegs', 'argNewSymbol', 'argNewAddr', 'argNewOffset'] as const) {
      if (item[field] !== undefined) report(`${path}.${field}`, `${field} ${later}`);
    }
  }
}

function checkHook(policy: Policy, hook: PolicyHook, report: Report): void {
  const { fields, kprobe, called, path, calls } = hook;
  if (calls[0]?.item.kind === 'mapping') return;
  if (kprobe !== undefined) checkKprobe(kprobe, path, report);
  checkUserFields(policy, fields, path, report);
  const args = fields.args ?? [];
  const tracepoint = calls[0]?.item.tracepoint;
  const fieldsAreOf = fieldsOf(hook);
  checkArguments(args, `${path}.args`, fieldsAreOf, tracepoint, report);
  checkArguments(called?.data ?? [], `${path}.data`, fieldsAreOf, tracepoint, report);
  called?.data?.forEach(({ type }, position) => {
    if (isBuffer(type))
      report(`${path}.data[${position}].type`, `${type} in data ${later}: write it in args`);
  });
  for (const selector of expandSelectors(policy, fields, path)) {
    const imaFile = 'hook' in fields ? imaFileOf(fields.hook) : undefined;
    checkSelector(selector, args, called, 'provider' in fields, imaFile, report);
    if (!calls.some(({ item }) => binariesMeanNext(policy, item.meaning, args, selector))) continue;
    for (const { item, path: at } of selector.matchBinaries) {
      if (item.followChildren !== true) continue;
      report(
        `${at}.followChildren`,
        'cannot be asked of the program that is about to run, which matchBinaries means on this hook: set the option match-binaries to current to mean the caller, or use matchParentBinaries',
      );
    }
  }
}

function checkKprobe(kprobe: Kprobe, path: string, report: Report): void {
  if (kprobe.returnArg !== undefined)
    checkArgument(kprobe.returnArg, `${path}.returnArg`, 'nothing', undefined, report);
}

/** Argument types that are read of programs, beside integers. */
const userTypes = new Set([
  'string',
  'char_buf',
  'const_buf',
  'char_iovec',
  'fd',
  'sockaddr',
  'sockaddr_un',
  'nop',
]);

/** What of `uprobes` and `usdts` cannot be had. */
function checkUserFields(policy: Policy, fields: PolicyHook['fields'], path: string, report: Report): void {
  if (!('path' in fields)) return;
  fields.args?.forEach(({ type, source }, position) => {
    if (source === 'current_task' || typeInfo(type)?.family === 'integer' || userTypes.has(type)) return;
    if (type === 'auto') return;
    report(
      `${path}.args[${position}].type`,
      `the type ${type} in a program ${later}: it reads integers, ${[...userTypes].join(', ')} there`,
    );
  });
  if (fields.btfPath !== undefined)
    report(
      `${path}.btfPath`,
      'the types in a file of a program are not read: name by btfType a struct that the kernel knows',
    );
  if ('symbols' in fields || 'offsets' in fields || 'addrs' in fields) {
    if (fields.returnArg !== undefined) {
      const { type } = fields.returnArg;
      checkArgument(fields.returnArg, `${path}.returnArg`, 'nothing', undefined, report);
      if (type !== 'auto' && typeInfo(type)?.family !== 'integer' && !userTypes.has(type))
        report(
          `${path}.returnArg.type`,
          `a program returns no ${type}: write a number, string, fd or sockaddr`,
        );
    }
    const place = (['offsets', 'addrs'] as const).find((field) => (fields[field] ?? []).length > 0);
    const inside = (fields.symbols ?? []).findIndex((symbol) => insideOf(symbol).behind > 0n);
    if (fields.return === true && inside >= 0)
      report(`${path}.symbols[${inside}]`, 'with return: true it has to be where the function begins');
    if (fields.return === true && place !== undefined)
      report(
        `${path}.return`,
        `return: true with ${place}: only where a function begins, its return can be told; name it by symbols`,
      );
  }
  for (const selector of expandSelectors(policy, fields, path)) {
    for (const { item, path: at } of [...selector.matchActions, ...selector.part('matchReturnActions')]) {
      if (item.action === 'Override') {
        report(
          `${at}.action`,
          'Override in a program needs a kernel that lets its programs change the registers of a process (6.18 and later), and this version does not use that: Sigkill keeps the function from running',
        );
      }
    }
  }
}

/** What of a policy this version cannot do; empty where it can be planned. */
export function unsupported(policy: Policy): PolicyIssue[] {
  const issues: PolicyIssue[] = [];
  const seen = new Set<string>();
  const report: Report = (path, message) => {
    // A macro that several selectors use is reported once.
    if (seen.has(path)) return;
    seen.add(path);
    issues.push(policyIssue(policy, 'not-supported', path, message));
  };
  for (const hook of hooksOf(policy)) checkHook(policy, hook, report);
  return issues;
}
