// SPDX-License-Identifier: Apache-2.0
// Owns how a selector is read: macros are put in, each part keeps the path of where it was written, and an argument
// that a term names is found among the hook's.
import { isExecHook } from './calls.js';
import { celPositions } from './cel/parse.js';
import { typeInfo } from './names.js';
import type { Located, Policy } from './policy.js';
import type { Action, Argument, ArgumentTerm, BinaryTerm, Macro, NamespaceTerm, Selector } from './shape.js';
import { fieldPath } from './source.js';

type ListPart = Exclude<keyof Macro, 'label'>;
export const listParts = [
  'matchArgs',
  'matchData',
  'matchReturnArgs',
  'matchBinaries',
  'matchParentBinaries',
  'matchPIDs',
  'matchNamespaces',
  'matchNamespaceChanges',
  'matchCapabilities',
  'matchCapabilityChanges',
  'matchWorkloads',
  'matchActions',
  'matchReturnActions',
] as const satisfies readonly ListPart[];

export interface ExpandedSelector {
  readonly path: string;
  readonly label: string;
  readonly matchArgs: readonly Located<ArgumentTerm>[];
  readonly matchBinaries: readonly Located<BinaryTerm>[];
  readonly matchNamespaces: readonly Located<NamespaceTerm>[];
  readonly matchActions: readonly Located<Action>[];
  /** Every list of the selector and of its macros. */
  part<Part extends ListPart>(name: Part): readonly Located<NonNullable<Macro[Part]>[number]>[];
}

/** Reads a selector with its macros put in. A macro that is not defined is left out: validation has refused it. */
export function expandSelector(policy: Policy, selector: Selector, path: string): ExpandedSelector {
  const sources: { readonly from: Macro; readonly path: string }[] = [{ from: selector, path }];
  const macros = policy.spec.selectorsMacros ?? {};
  for (const name of selector.macros ?? []) {
    const from = Object.hasOwn(macros, name) ? macros[name] : undefined;
    if (from !== undefined) sources.push({ from, path: fieldPath('spec.selectorsMacros', name) });
  }
  function part<Part extends ListPart>(name: Part): Located<NonNullable<Macro[Part]>[number]>[] {
    return sources.flatMap((source) =>
      ((source.from[name] ?? []) as NonNullable<Macro[Part]>[number][]).map((item, index) => ({
        item,
        path: `${source.path}.${name}[${index}]`,
      })),
    );
  }
  return {
    path,
    label: selector.label ?? '',
    matchArgs: part('matchArgs'),
    matchBinaries: part('matchBinaries'),
    matchNamespaces: part('matchNamespaces'),
    matchActions: part('matchActions'),
    part,
  };
}

/** The selectors of a hook; a hook without any has one that matches always. */
export function expandSelectors(
  policy: Policy,
  hook: { readonly selectors?: readonly Selector[] | undefined },
  hookPath: string,
): ExpandedSelector[] {
  const selectors = hook.selectors ?? [];
  if (selectors.length === 0) return [expandSelector(policy, {}, hookPath)];
  return selectors.map((selector, index) =>
    expandSelector(policy, selector, `${hookPath}.selectors[${index}]`),
  );
}

export type ArgumentPosition =
  | { readonly position: number; readonly byPosition: boolean }
  | { readonly error: string; readonly field: 'index' | 'args' };

/** Finds the position in a hook's `args` of the argument that a term is about. */
export function findArgument(args: readonly Argument[], term: ArgumentTerm): ArgumentPosition {
  const has =
    args.length === 0
      ? 'the hook has no args'
      : `the hook's args have the indexes ${args.map((argument) => argument.index).join(', ')}`;
  if (term.args !== undefined) {
    if (term.index !== undefined) {
      return { field: 'args', error: 'index and args both name an argument: write one of them' };
    }
    const [position, ...others] = term.args;
    if (position === undefined || others.length > 0) {
      return { field: 'args', error: 'wants one position in the args of the hook' };
    }
    const wrong = term.args.find((other) => other >= args.length);
    if (wrong !== undefined) {
      return {
        field: 'args',
        error: `there is no position ${wrong}: args counts positions from 0, and ${has}`,
      };
    }
    return { position, byPosition: false };
  }
  if (term.index === undefined) {
    if (args.length === 1) return { position: 0, byPosition: true };
    return { field: 'index', error: `is missing: it names an argument of the hook; ${has}` };
  }
  const found = args.findIndex((argument) => argument.index === term.index);
  if (found >= 0) return { position: found, byPosition: false };
  if (term.index < args.length) return { position: term.index, byPosition: true };
  return { field: 'index', error: `there is no argument ${term.index}: ${has}` };
}

/** The value of an option, its default where the policy does not set it. */
export function optionValue(policy: Policy, name: string, fallback: string): string {
  return policy.spec.options?.find((option) => option.name === name)?.value ?? fallback;
}

/**
 * True where `matchBinaries` of a selector means the program that is being executed: at `security_bprm_*`, unless the
 * selector names that file by an argument as well, or the option `match-binaries` says otherwise.
 */
export function binariesMeanNext(
  policy: Policy,
  symbol: string,
  args: readonly Argument[],
  selector: ExpandedSelector,
): boolean {
  if (!isExecHook(symbol)) return false;
  const option = optionValue(policy, 'match-binaries', '');
  if (option !== '') return option === 'next';
  const isPath = (position: number) => typeInfo(args[position]?.type ?? '')?.family === 'path';
  return !selector.matchArgs.some(({ item }) => {
    if (item.operator === 'CelExpr') return [...celPositions(item.values)].some(isPath);
    const found = findArgument(args, item);
    return 'position' in found && isPath(found.position);
  });
}
