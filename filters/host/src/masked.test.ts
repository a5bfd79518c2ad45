// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { type Field, MaskedField } from './masked.js';

const AT = 8;

function mask(text: string, pieces: [from: number, length: number][], kind: Field['kind'] = 'entry') {
  const bytes = new TextEncoder().encode(`before::${text}:after`);
  const masked = new MaskedField({ at: AT, length: text.length, kind, owner: 0, spanAt: 0 });
  for (const [from, length] of pieces) masked.add(AT + from, length);
  masked.overwrite(bytes);
  masked.collapse(bytes);
  const whole = new TextDecoder().decode(bytes);
  return { masked, whole, text: whole.slice(AT, AT + masked.length) };
}

describe('a masked field', () => {
  const cases: [string, string, [number, number][], string][] = [
    ['one byte', 'abc', [[1, 1]], 'a*c'],
    ['a long one', 'a-very-long-secret', [[2, 16]], 'a-*'],
    ['the whole', 'secret', [[0, 6]], '*'],
    [
      'pieces that touch and overlap',
      'abcdefgh',
      [
        [1, 2],
        [3, 2],
        [4, 2],
      ],
      'a*gh',
    ],
    [
      'the same twice',
      'abcd',
      [
        [1, 2],
        [1, 2],
      ],
      'a*d',
    ],
    [
      'both ends',
      'abcd',
      [
        [0, 1],
        [3, 1],
      ],
      '*bc*',
    ],
    ['two entries of a list', 'ab\0cdef\0', [[0, 8]], '*\0*\0'],
    ['an empty entry of a list', 'ab\0\0c\0', [[0, 6]], '*\0\0*\0'],
  ];
  it.each(cases)('has one star for %s', (_, text, pieces, expected) => {
    expect(mask(text, pieces).text).toBe(expected);
  });

  it('of a hook has a NUL masked like any byte', () => {
    expect(mask('a\0bc', [[0, 3]], 'argument').text).toBe('*c');
  });

  it('leaves nothing of the secret, and nothing beside the field changed', () => {
    const { whole } = mask('user:hunter2@host', [[5, 7]]);
    expect(whole).toBe('before::user:*@host******:after');
  });

  it('says where a text in it came to lie', () => {
    const text = 'one secret two';
    const { masked, whole } = mask(text, [[4, 6]]);
    const found = (from: number, to: number) => {
      const moved = masked.moved(AT + from, to - from);
      return moved && whole.slice(moved.at, moved.at + moved.length);
    };
    expect(found(0, 3)).toBe('one');
    expect(found(11, 14)).toBe('two');
    expect(found(0, 14)).toBe('one * two');
    expect(found(6, 8)).toBe('*');
    expect(found(6, 14)).toBe('* two');
    expect(found(0, 6)).toBe('one *');
    expect(masked.moved(AT - 1, 3)).toBeUndefined();
    expect(masked.moved(AT + 12, 3)).toBeUndefined();
  });
});
