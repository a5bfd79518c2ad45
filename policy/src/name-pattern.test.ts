// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { namePattern } from './name-pattern.js';
import { Random } from './testing/random.js';

function found(pattern: string, name: string): boolean {
  const read = namePattern(pattern);
  if (typeof read === 'string') throw new Error(`${pattern}: ${read}`);
  return read.matches(name);
}

describe('a pattern of names', () => {
  it.each([
    ['^ksys_*', 'ksys_read', true],
    ['^ksys_*', 'do_ksys_read', false],
    ['read$', 'ksys_read', true],
    ['read$', 'ksys_readahead', false],
    ['', 'anything', true],
    ['^$', '', true],
    ['^(tcp|udp)_(v[46]_)?connect$', 'tcp_v4_connect', true],
    ['^(tcp|udp)_(v[46]_)?connect$', 'udp_connect', true],
    ['^(tcp|udp)_(v[46]_)?connect$', 'tcp_v5_connect', false],
    ['^[^_]+$', 'abc', true],
    ['^[^_]+$', 'a_c', false],
    ['a.c', 'xxabcxx', true],
    ['a\\.c', 'abc', false],
    ['^(a*)*b$', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac', false],
    ['[]x]y', ']y', true],
    ['^(?:x|y)+$', 'xyxy', true],
  ])('%s is found in %s: %s', (pattern, name, expected) => {
    expect(found(pattern, name)).toBe(expected);
  });

  it.each(['*a', '(a', 'a)', '[a', '[z-a]', '\\d', 'a{2}', 'x'.repeat(257), '('.repeat(20)])(
    '%s is refused',
    (pattern) => {
      expect(namePattern(pattern)).toEqual(expect.any(String));
    },
  );

  it('agrees with the engine of JavaScript on random patterns', () => {
    const random = new Random(11);
    const parts = ['a', 'b', '_', '.', '[ab]', '[^b]', '(a|b_)', 'a*', 'b+', '_?', '(ab)*'];
    let hits = 0;
    for (let turn = 0; turn < 3000; turn++) {
      const body = Array.from({ length: 1 + random.below(5) }, () => random.pick(parts)).join('');
      const pattern = `${random.below(2) === 0 ? '^' : ''}${body}${random.below(2) === 0 ? '$' : ''}`;
      const name = Array.from({ length: random.below(8) }, () => random.pick(['a', 'b', '_'])).join('');
      const expected = new RegExp(pattern).test(name);
      if (expected) hits++;
      expect(found(pattern, name), `${pattern} in ${name}`).toBe(expected);
    }
    expect(hits).toBeGreaterThan(300);
  });
});
