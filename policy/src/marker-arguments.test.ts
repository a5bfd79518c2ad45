// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { readMarkerArguments } from './marker-arguments.js';

const rax = 80;
const rdx = 96;
const rbp = 32;

describe('readMarkerArguments', () => {
  it.each([
    ['-4@%eax', { kind: 'register', register: rax, bytes: 4, signed: true }],
    ['8@%rax', { kind: 'register', register: rax, bytes: 8, signed: false }],
    ['1@%al', { kind: 'register', register: rax, bytes: 1, signed: false }],
    ['-2@%bp', { kind: 'register', register: rbp, bytes: 2, signed: true }],
    ['4@%r10d', { kind: 'register', register: 56, bytes: 4, signed: false }],
    ['1@%sil', { kind: 'register', register: 104, bytes: 1, signed: false }],
    ['%edx', { kind: 'register', register: rdx, bytes: 4, signed: false }],
    ['4@$17', { kind: 'constant', value: 17n, bytes: 4, signed: false }],
    ['-4@$-17', { kind: 'constant', value: 2n ** 64n - 17n, bytes: 4, signed: true }],
    ['8@$0xff', { kind: 'constant', value: 255n, bytes: 8, signed: false }],
    ['8@(%rax)', { kind: 'memory', base: rax, shift: 0, displacement: 0n, bytes: 8, signed: false }],
    [
      '-4@-20(%rbp)',
      { kind: 'memory', base: rbp, shift: 0, displacement: 2n ** 64n - 20n, bytes: 4, signed: true },
    ],
    [
      '8@8(%rax,%rdx,4)',
      { kind: 'memory', base: rax, index: rdx, shift: 2, displacement: 8n, bytes: 8, signed: false },
    ],
    [
      '8@(%rax,%rdx)',
      { kind: 'memory', base: rax, index: rdx, shift: 0, displacement: 0n, bytes: 8, signed: false },
    ],
    ['4@0x10(,%rdx,8)', { kind: 'memory', index: rdx, shift: 3, displacement: 16n, bytes: 4, signed: false }],
  ])('reads %s', (text, argument) => {
    expect(readMarkerArguments(text)).toEqual([argument]);
  });

  it.each([
    '8f@%xmm0',
    '3@%eax',
    '16@%rax',
    '4@%ah',
    '4@%nothing',
    '4@name(%rip)',
    '4@8(%rip)',
    '4@8(%eax)',
    '4@(%rax,%rdx,3)',
    '4@8()',
    '4@',
    '@',
    '4@%fs:16',
  ])('says of %s that it is not understood, and goes on', (text) => {
    const [first, second] = readMarkerArguments(`${text} 8@%rax`);
    expect(typeof first).toBe('string');
    expect(first).toContain(text);
    expect(second).toMatchObject({ register: rax });
  });

  it('tells arguments apart, also where an operand has spaces in it', () => {
    expect(readMarkerArguments('  -4@%eax 8@( %rax , %rdx , 2 ) 4@$1 ')).toMatchObject([
      { kind: 'register' },
      { kind: 'memory', shift: 1 },
      { kind: 'constant' },
    ]);
    expect(readMarkerArguments('')).toEqual([]);
  });
});
