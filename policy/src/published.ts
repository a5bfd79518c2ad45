// SPDX-License-Identifier: Apache-2.0
// Owns what policies write in another way than this language has it, and mean something by that there is no doubt
// about: it is rewritten when a policy is read, and each rewriting that its author may not expect is a note. What could
// mean two things is left as it is, and refused.
import { withoutAbi } from './abi-names.js';
import { isBuffer } from './buffers.js';
import type { PolicyIssueCode } from './error.js';
import { typeInfo } from './names.js';
import { quote } from './nearest.js';
import type { Note } from './policy.js';
import { findArgument } from './selectors.js';
import type { Argument, ArgumentTerm, Kprobe, List, Selector, Spec, Uprobe } from './shape.js';
import { syscallNames } from './syscall-names.js';

type Tell = (code: PolicyIssueCode, path: string, message: string) => void;

/** Operators for which the NUL behind a text says no more than that the text ends there. */
const toTheEnd = new Set(['Equal', 'NotEqual', 'In', 'NotIn', 'Postfix', 'NotPostfix']);

/** A value without the NUL that some write at its end, since the kernel's texts end in one. */
function withoutNul(value: string): string {
  return value.indexOf('\0') === value.length - 1 ? value.slice(0, -1) : value;
}

function rewriteTerm(term: ArgumentTerm, args: readonly Argument[], path: string, tell: Tell): ArgumentTerm {
  const found = findArgument(args, term);
  const type = ('position' in found ? args[found.position]?.type : undefined) ?? '';
  if (type === 'syscall64') return { ...term, values: term.values.map(withoutAbi) };
  const isText = ['text', 'path', 'unix', 'name', 'auto'].includes(typeInfo(type)?.family ?? '');
  if (!isText || isBuffer(type) || !toTheEnd.has(term.operator)) return term;
  const values = term.values.map(withoutNul);
  values.forEach((value, index) => {
    if (value !== term.values[index])
      tell(
        'tolerated',
        `${path}.values[${index}]`,
        `ends in a NUL: taken as ${quote(value)}, which ends there`,
      );
  });
  return { ...term, values };
}

interface Fields {
  readonly args?: readonly Argument[] | undefined;
  readonly data?: readonly Argument[] | undefined;
  readonly returnArg?: Argument | undefined;
  readonly selectors?: Selector[] | undefined;
}

function rewriteSelector(selector: Selector, fields: Fields, path: string, tell: Tell): Selector {
  const { args = [], data = [], returnArg } = fields;
  const lists = [
    ['matchArgs', args],
    ['matchData', data],
    ['matchReturnArgs', returnArg === undefined ? [] : [returnArg]],
  ] as const;
  const rewritten: Selector = { ...selector };
  for (const [part, list] of lists) {
    const terms = selector[part];
    if (terms !== undefined)
      rewritten[part] = terms.map((term, index) =>
        rewriteTerm(term, list, `${path}.${part}[${index}]`, tell),
      );
  }
  for (const part of ['matchActions', 'matchReturnActions'] as const) {
    const actions = selector[part];
    if (actions === undefined) continue;
    rewritten[part] = actions.map((action, index) => {
      if (!/^(Unt|T)rackSock$/.test(action.action) || action.argSock !== undefined) return action;
      if (!args.some((argument) => argument.index === 0)) return action;
      tell(
        'tolerated',
        `${path}.${part}[${index}].argSock`,
        'is not written: taken as 0, the first argument',
      );
      return { ...action, argSock: 0 };
    });
  }
  return rewritten;
}

/** Generators of policies write every field, those without a meaning as 0. */
function rewriteArgument(argument: Argument): Argument {
  if (argument.sizeArgIndex !== 0) return argument;
  const { sizeArgIndex: _, ...rest } = argument;
  return rest;
}

function rewriteFields<Hook extends Fields>(hook: Hook, path: string, tell: Tell): Hook {
  const { args, data, selectors } = hook;
  return {
    ...hook,
    ...(args === undefined ? {} : { args: args.map(rewriteArgument) }),
    ...(data === undefined ? {} : { data: data.map(rewriteArgument) }),
    ...(selectors === undefined
      ? {}
      : {
          selectors: selectors.map((selector, index) =>
            rewriteSelector(selector, hook, `${path}.selectors[${index}]`, tell),
          ),
        }),
  };
}

function asksOfReturn({
  selectors,
  returnArgAction,
}: Pick<Kprobe, 'selectors' | 'returnArgAction'>): boolean {
  return (
    returnArgAction !== undefined ||
    (selectors ?? []).some(
      ({ matchReturnArgs, matchReturnActions, macros }) =>
        (matchReturnArgs ?? []).length > 0 || (matchReturnActions ?? []).length > 0 || macros !== undefined,
    )
  );
}

/** `returnArg` without `return: true` is not read, and nothing is asked of it. */
function withoutUnreadReturn<Hook extends Kprobe | Uprobe>(hook: Hook, path: string, tell: Tell): Hook {
  if (hook.return === true || hook.returnArg === undefined) return hook;
  if (asksOfReturn({ selectors: hook.selectors, returnArgAction: undefined })) return hook;
  if ('returnArgAction' in hook && hook.returnArgAction !== undefined) return hook;
  tell('ignored-field', `${path}.returnArg`, 'is not read: the return of the call is told with return: true');
  const { returnArg: _, ...rest } = hook;
  return rest as Hook;
}

/** What is read at the return makes the return be told. The register of a system call's result has 64 bits. */
function withReturn(kprobe: Kprobe, path: string, tell: Tell): Kprobe {
  const position = (kprobe.args ?? []).findIndex(({ returnCopy }) => returnCopy === true);
  if (position < 0 || kprobe.return === true || kprobe.syscall !== true) return kprobe;
  tell(
    'tolerated',
    `${path}.args[${position}].returnCopy`,
    'reads at the return of the call: taken as with return: true, so that the event has what the call returns as well',
  );
  return { ...kprobe, return: true, returnArg: kprobe.returnArg ?? { index: 0, type: 'int64' } };
}

/** Whether a name is written as that of a system call. */
function isWrittenAsCall(name: string): boolean {
  return /^(__(x64|arm64|ia32(_compat)?)_|\w+\/)?sys_/.test(name) || syscallNames.has(name);
}

/** Whether a hook without `syscall` is on system calls, which is the default, by the names of what it hooks. */
function meansCalls(call: string, lists: readonly List[]): boolean {
  if (!call.startsWith('list:')) return isWrittenAsCall(call);
  const list = lists.find(({ name }) => `list:${name}` === call);
  if (list === undefined || list.type !== undefined) return true;
  return (list.values ?? []).some(isWrittenAsCall);
}

function rewriteKprobe(given: Kprobe, lists: readonly List[], path: string, tell: Tell): Kprobe {
  const call = withoutAbi(given.call);
  const syscall = given.syscall ?? meansCalls(call, lists);
  if (!syscall && given.syscall === undefined)
    tell(
      'tolerated',
      `${path}.call`,
      `${quote(call)} is no system call, and syscall, which is true by default, is not written: taken as syscall: false`,
    );
  const kprobe = withReturn({ ...given, call, syscall }, path, tell);
  return rewriteFields(withoutUnreadReturn(kprobe, path, tell), path, tell);
}

function withSymbols(uprobe: Uprobe, path: string, tell: Tell): Uprobe {
  const { symbol, ...rest } = uprobe;
  if (symbol === undefined || uprobe.symbols !== undefined) return uprobe;
  tell('tolerated', `${path}.symbol`, `taken as symbols: [${quote(symbol)}]`);
  return { ...rest, symbols: [symbol] };
}

/** Rewrites a policy's `spec`; its fields stay where they are. */
export function rewritePublished(spec: Spec): { readonly spec: Spec; readonly notes: readonly Note[] } {
  const notes: Note[] = [];
  const tell: Tell = (code, path, message) => notes.push({ code, path, message });
  const lists = (spec.lists ?? []).map((list) => ({
    ...list,
    ...(list.values === undefined ? {} : { values: list.values.map(withoutAbi) }),
  }));
  const each = <Hook, Key extends keyof Spec>(
    key: Key,
    hooks: readonly Hook[] | undefined,
    rewrite: (hook: Hook, path: string) => Hook,
  ) =>
    hooks === undefined ? {} : { [key]: hooks.map((hook, index) => rewrite(hook, `spec.${key}[${index}]`)) };
  const kprobe = (hook: Kprobe, path: string) => rewriteKprobe(hook, lists, path, tell);
  return {
    spec: {
      ...spec,
      ...(spec.lists === undefined ? {} : { lists }),
      ...each('kprobes', spec.kprobes, kprobe),
      ...each('fentries', spec.fentries, kprobe),
      ...each('tracepoints', spec.tracepoints, (hook, path) => rewriteFields(hook, path, tell)),
      ...each('lsmhooks', spec.lsmhooks, (hook, path) => rewriteFields(hook, path, tell)),
      ...each('uprobes', spec.uprobes, (hook, path) =>
        rewriteFields(withoutUnreadReturn(withSymbols(hook, path, tell), path, tell), path, tell),
      ),
      ...each('usdts', spec.usdts, (hook, path) => rewriteFields(hook, path, tell)),
      ...each('enforcers', spec.enforcers, ({ calls }) => ({ calls: calls.map(withoutAbi) })),
    },
    notes,
  };
}
