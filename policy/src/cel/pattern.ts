// SPDX-License-Identifier: Apache-2.0
// Owns patterns of `matches` as far as the kernel stage has look-ups for them: texts, `.*` between them, `^` and `$`, and
// alternatives (`(a|b)`). A pattern becomes questions of how a text begins, ends, what it contains, and how long it is.
import { toBytes } from '../values.js';
import { CelError, type CelNode } from './parse.js';

type Pattern = CelNode & { readonly kind: 'text' };

/** Ways through alternatives. */
const waysMax = 32;

/** What a way through a pattern is made of; a gap is of any bytes. */
type Piece = { readonly kind: 'start' | 'end' | 'gap' } | { readonly kind: 'text'; readonly text: string };

class PatternReader {
  #at = 0;

  constructor(
    readonly pattern: string,
    readonly column: number,
  ) {}

  read(): (readonly Piece[])[] {
    const ways = this.#alternatives();
    if (this.#at < this.pattern.length) throw this.#refusal(')');
    return ways;
  }

  #refusal(what: string): CelError {
    return new CelError(
      this.column,
      `the pattern has ${what}: in the kernel it is made of texts, .* between them, ^, $ and alternatives such as (a|b)`,
    );
  }

  #alternatives(): (readonly Piece[])[] {
    const all = [...this.#sequence()];
    while (this.pattern[this.#at] === '|') {
      this.#at++;
      all.push(...this.#sequence());
    }
    return this.#bounded(all);
  }

  #bounded(ways: (readonly Piece[])[]): (readonly Piece[])[] {
    if (ways.length > waysMax)
      throw new CelError(this.column, `the pattern has more than ${waysMax} alternatives`);
    return ways;
  }

  #sequence(): (readonly Piece[])[] {
    let ways: (readonly Piece[])[] = [[]];
    for (
      let next = this.pattern[this.#at];
      next !== undefined && next !== '|' && next !== ')';
      next = this.pattern[this.#at]
    ) {
      const pieces = this.#piece(next);
      ways = this.#bounded(ways.flatMap((way) => pieces.map((piece) => [...way, ...piece])));
    }
    return ways;
  }

  #piece(next: string): (readonly Piece[])[] {
    this.#at++;
    let found: (readonly Piece[])[];
    if (next === '(') {
      if (this.pattern.startsWith('?:', this.#at)) this.#at += 2;
      found = this.#alternatives();
      if (this.pattern[this.#at] !== ')') throw this.#refusal('a ( without its )');
      this.#at++;
    } else if (next === '.') {
      if (this.pattern[this.#at] !== '*') throw this.#refusal('a . without its *');
      this.#at++;
      found = [[{ kind: 'gap' }]];
    } else if (next === '^' || next === '$') {
      found = [[{ kind: next === '^' ? 'start' : 'end' }]];
    } else if (next === '\\') {
      const escaped = this.pattern[this.#at] ?? '';
      if (!/^[^A-Za-z0-9]$/.test(escaped)) throw this.#refusal(`\\${escaped}`);
      this.#at++;
      found = [[{ kind: 'text', text: escaped }]];
    } else if (/[*+?[\]{}]/.test(next)) {
      throw this.#refusal(next);
    } else {
      const letter = String.fromCodePoint(this.pattern.codePointAt(this.#at - 1) ?? 0);
      this.#at += letter.length - 1;
      found = [[{ kind: 'text', text: letter }]];
    }
    const repeated = this.pattern[this.#at];
    if (repeated !== undefined && /[*+?{]/.test(repeated)) throw this.#refusal(repeated);
    return found;
  }
}

/** What is asked of a text for one way through a pattern. */
function askedByWay(asked: CelNode, way: readonly Piece[], column: number): CelNode {
  const call = (name: string, ...operands: CelNode[]): CelNode => ({ kind: 'call', name, operands, column });
  const text = (value: string): CelNode => ({ kind: 'text', value, column });
  const all = (conditions: readonly CelNode[]): CelNode =>
    conditions.reduce((left, right) => call('&&', left, right), { kind: 'bool', value: true, column });
  const size = (sign: string, bytes: number) =>
    call(sign, call('size', asked), { kind: 'number', value: BigInt(bytes), unsigned: false, column });
  const isStart = way[0]?.kind === 'start';
  const isEnd = way.at(-1)?.kind === 'end';
  const inside = way.slice(isStart ? 1 : 0, isEnd ? -1 : undefined);
  const texts = [''];
  for (const piece of inside) {
    if (piece.kind === 'text') texts.push((texts.pop() ?? '') + piece.text);
    else if (piece.kind === 'gap') texts.push('');
    else throw new CelError(column, 'the pattern has ^ or $ inside: they stand at its ends');
  }
  const [first = '', last = ''] = [texts[0], texts.at(-1)];
  if (texts.length === 1) {
    if (isStart && isEnd) return first === '' ? size('==', 0) : call('==', asked, text(first));
    if (first === '') return all([]);
    return call(isStart ? 'startsWith' : isEnd ? 'endsWith' : 'contains', asked, text(first));
  }
  const between = [...(isStart ? [] : [first]), ...texts.slice(1, -1), ...(isEnd ? [] : [last])].filter(
    (each) => each !== '',
  );
  const begins = isStart ? first : '';
  const ends = isEnd ? last : '';
  if (between.length > 1 || (between.length === 1 && (begins !== '' || ends !== '')))
    throw new CelError(
      column,
      'the pattern has texts that follow each other: in the kernel a text can begin so and end so, or contain one other',
    );
  return all([
    ...(begins === '' ? [] : [call('startsWith', asked, text(begins))]),
    ...(ends === '' ? [] : [call('endsWith', asked, text(ends))]),
    ...(begins === '' || ends === '' ? [] : [size('>=', toBytes(begins).length + toBytes(ends).length)]),
    ...between.map((each) => call('contains', asked, text(each))),
  ]);
}

/** A pattern that something is asked for, in other questions. @throws {CelError} where there are none */
export function askedByPattern(asked: CelNode, { value, column }: Pattern): CelNode {
  return new PatternReader(value, column)
    .read()
    .map((way) => askedByWay(asked, way, column))
    .reduce((left, right) => ({ kind: 'call', name: '||', operands: [left, right], column }));
}
