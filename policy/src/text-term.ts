// SPDX-License-Identifier: Apache-2.0
// Owns which operator on text is looked up how.
import type { TextTerm } from './dimensions.js';
import { toBytes } from './values.js';

/** A term over text. */
export function textTerm(
  operator: string,
  values: readonly string[],
  argument: number,
  path: string,
): TextTerm {
  const negated = operator.startsWith('Not');
  const plain = negated ? operator.slice('Not'.length) : operator;
  return {
    kind: plain === 'Postfix' ? 'reverse' : 'forward',
    exact: plain === 'Equal' || plain === 'In',
    argument,
    negated,
    values: values.map(toBytes),
    path,
  };
}
