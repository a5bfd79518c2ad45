// SPDX-License-Identifier: Apache-2.0
// Owns which operator on text is looked up how.
import type { SubstringTerm, TextTerm } from './terms.js';
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

/** A text with the letters A to Z as a to z; other letters stay as they are, for a kernel knows no alphabets. */
export function foldCase(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte) => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte));
}

/** A term over what is anywhere in a text; undefined where the operator is none of these. */
export function substringTerm(
  operator: string,
  values: readonly string[],
  argument: number,
  path: string,
): SubstringTerm | undefined {
  const bytes = values.map(toBytes);
  if (operator === 'SubString') return { kind: 'substring', argument, negated: false, values: bytes, path };
  if (operator !== 'SubStringIgnCase') return undefined;
  return { kind: 'substring-fold', argument, negated: false, values: bytes.map(foldCase), path };
}
