// SPDX-License-Identifier: Apache-2.0
// Text stands for bytes exactly, and harms no terminal.
import { describe, expect, test } from 'vitest';
import { random } from './fixtures.js';
import { bytesToText, printable, textToBytes } from './text.js';

const bytes = (...values: number[]) => Uint8Array.from(values);

describe('bytes to text', () => {
  test.each([
    ['ASCII', bytes(0x2f, 0x61, 0x0a, 0x1b, 0x00), '/a\n\u001b\0'],
    ['two, three and four bytes', new TextEncoder().encode('é€😀'), 'é€😀'],
    ['a replacement character that is really there', bytes(0xef, 0xbf, 0xbd), '\ufffd'],
    ['0xFF', bytes(0x61, 0xff, 0x62), 'a\uefffb'],
    ['an overlong form', bytes(0xc0, 0xaf), '\uefc0\uefaf'],
    ['an overlong form of three bytes', bytes(0xe0, 0x80, 0xaf), '\uefe0\uef80\uefaf'],
    ['a surrogate', bytes(0xed, 0xa0, 0x80), '\uefed\uefa0\uef80'],
    ['over U+10FFFF', bytes(0xf4, 0x90, 0x80, 0x80), '\ueff4\uef90\uef80\uef80'],
    ['a sequence cut short', bytes(0xe2, 0x82), '\uefe2\uef82'],
    ['a sequence cut short by another', bytes(0xe2, 0x82, 0xc3, 0xa9), '\uefe2\uef82é'],
    [
      'an escape that is really there',
      new TextEncoder().encode('\uef80\uefff'),
      '\uefee\uefbe\uef80\uefee\uefbf\uefbf',
    ],
    ['the neighbours of the escapes', new TextEncoder().encode('\uef7f\uf000'), '\uef7f\uf000'],
    ['a byte order mark', bytes(0xef, 0xbb, 0xbf, 0x61), '\ufeffa'],
  ])('%s', (_name, input, text) => {
    expect(bytesToText(input)).toBe(text);
    expect(textToBytes(text)).toEqual(input);
  });

  test('is exact both ways for bytes of any kind, and always well-formed', () => {
    const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
    const next = random(seed);
    const heads = [0x2f, 0x61, 0x80, 0xbf, 0xc3, 0xe2, 0xee, 0xbe, 0xef, 0xbf, 0xbd, 0xf0, 0x9f, 0xff, 0xed];
    let escaped = 0;
    for (let round = 0; round < 20_000; round++) {
      const input = Uint8Array.from({ length: next(24) }, () =>
        next(3) === 0 ? next(256) : (heads[next(heads.length)] ?? 0),
      );
      const text = bytesToText(input);
      expect(textToBytes(text), `seed ${seed}`).toEqual(input);
      expect(Buffer.from(text, 'utf8').toString('utf8'), `seed ${seed}`).toBe(text);
      if (/[\uef80-\uefff]/.test(text)) escaped++;
    }
    expect(escaped).toBeGreaterThan(1000);
  });
});

describe('printable', () => {
  test.each([
    ['/etc/passwd', '/etc/passwd'],
    ['a\nb\x1b[31m', 'a\\x0ab\\x1b[31m'],
    ['a\uefff', 'a\\xff'],
    ['a\\xff', 'a\\\\xff'],
    ['\u009b31m', '\\u{9b}31m'],
    ['user\u202egpj.exe', 'user\\u{202e}gpj.exe'],
    ['\u2066\u200b\ufeff', '\\u{2066}\\u{200b}\\u{feff}'],
    ['\ud800', '\\u{d800}'],
    ['é€😀', 'é€😀'],
    ['\u{e0041}', '\\u{e0041}'],
  ])('%j is shown as %j', (text, shown) => {
    expect(printable(text)).toBe(shown);
  });
});
