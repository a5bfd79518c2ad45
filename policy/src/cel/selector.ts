// SPDX-License-Identifier: Apache-2.0
// Owns the expressions of a selector: whether they can be asked, and the alternatives that all of them together come to.
import type { Findings } from '../findings.js';
import { type TypeFamily, typeInfo } from '../names.js';
import type { Located } from '../policy.js';
import type { ExpandedSelector } from '../selectors.js';
import type { Argument, ArgumentTerm } from '../shape.js';
import type { Term } from '../terms.js';
import { type Alternatives, allOf, alternativesMax, always, TooMuch } from './alternatives.js';
import { compileCel } from './compile.js';
import { celPositions } from './parse.js';
import { celTerms } from './terms.js';

/** A text that an expression compares an argument with. */
interface ComparedText {
  readonly operator: string;
  readonly family: TypeFamily;
  readonly value: string;
}

export function comparedTexts(alternatives: Alternatives, args: readonly Argument[]): ComparedText[] {
  return alternatives.flatMap((atoms) =>
    atoms.flatMap((atom) =>
      atom.kind === 'text'
        ? atom.values.map((value) => ({
            operator: atom.operator,
            family: typeInfo(args[atom.position]?.type ?? '')?.family ?? 'text',
            value,
          }))
        : [],
    ),
  );
}

/** Judges a term that is an expression; texts in it are judged by `checkText`, as those of other terms are. */
export function checkCelTerm(
  findings: Findings,
  term: ArgumentTerm,
  path: string,
  args: readonly Argument[],
  checkText: (text: ComparedText, path: string) => void,
): void {
  if (term.values.length === 0)
    findings.error('missing-field', `${path}.values`, 'is empty: write an expression such as arg0 == 1');
  for (const field of ['index', 'args'] as const) {
    if (term[field] !== undefined)
      findings.warn(
        'ignored-field',
        `${path}.${field}`,
        'the expression names its arguments itself: arg0 is the first of the args of the hook',
      );
  }
  let ok = true;
  term.values.forEach((value, index) => {
    const at = `${path}.values[${index}]`;
    if (value.trim() === '') {
      findings.error('wrong-value', at, 'is empty: write an expression such as arg0 == 1');
      ok = false;
      return;
    }
    // Of arguments whose type the kernel tells, it is judged when that is asked.
    const isUntyped = [...celPositions([value])].some((position) => args[position]?.type === 'auto');
    if (isUntyped) {
      ok = false;
      return;
    }
    const compiled = compileCel([value], args);
    if ('error' in compiled) {
      findings.error('wrong-value', at, compiled.error);
      ok = false;
      return;
    }
    if (compiled.length === 0) findings.error('wrong-value', at, 'holds for no call');
    if (compiled.some((atoms) => atoms.length === 0))
      findings.warn('ignored-field', at, 'holds for every call: it keeps none out');
    for (const text of comparedTexts(compiled, args)) checkText(text, at);
  });
  // One of several expressions has to hold: together they may come to more than each.
  const together = compileCel(ok ? term.values : [], args);
  if ('error' in together) findings.error('limit', `${path}.values[${together.at}]`, together.error);
}

type CelTerm = Located<ArgumentTerm>;

function celTermsOf(selector: ExpandedSelector): CelTerm[] {
  return selector.matchArgs.filter(({ item }) => item.operator === 'CelExpr');
}

function togetherOf(terms: readonly CelTerm[], args: readonly Argument[]): Alternatives {
  return allOf(
    terms.map(({ item }) => {
      const compiled = compileCel(item.values, args);
      return 'error' in compiled ? always : compiled;
    }),
  );
}

/** How many places among the selectors of its hook a selector takes; 1 where that cannot be said. */
export function placesOf(selector: ExpandedSelector, args: readonly Argument[]): number {
  try {
    return Math.max(1, togetherOf(celTermsOf(selector), args).length);
  } catch (error) {
    if (!(error instanceof TooMuch)) throw error;
    return 1;
  }
}

/** Judges the expressions of a selector together. */
export function checkCelTogether(
  findings: Findings,
  selector: ExpandedSelector,
  args: readonly Argument[],
): void {
  const terms = celTermsOf(selector);
  const last = terms.at(-1);
  if (last === undefined) return;
  try {
    const all = togetherOf(terms, args);
    if (all.length === 0 && terms.length > 1)
      findings.error(
        'conflict',
        `${last.path}.values`,
        'holds for no call for which the other expressions hold',
      );
  } catch (error) {
    if (!(error instanceof TooMuch)) throw error;
    findings.error(
      'limit',
      `${last.path}.values`,
      `with the other expressions of the selector ${error.message}`,
    );
  }
}

/**
 * The terms of each alternative of a selector's expressions; one without terms where it has none.
 * @throws {TypeError} where validation has let pass what cannot be
 */
export function alternativesOf(
  selector: ExpandedSelector,
  args: readonly Argument[],
  slotOf: ReadonlyMap<number, number>,
): Term[][] {
  const terms = celTermsOf(selector);
  const path = terms[0]?.path ?? selector.path;
  const impossible = (why: string) => new TypeError(`${path}: validation let it pass: ${why}`);
  const all = allOf(
    terms.map(({ item }) => {
      const compiled = compileCel(item.values, args);
      if ('error' in compiled) throw impossible(compiled.error);
      return compiled;
    }),
  );
  if (all.length === 0 || all.length > alternativesMax) throw impossible(`${all.length} alternatives`);
  const slot = (position: number): number => {
    const found = slotOf.get(position);
    if (found === undefined) throw impossible(`arg${position} is not read`);
    return found;
  };
  return celTerms(all, slot, args, path);
}
