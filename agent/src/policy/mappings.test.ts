// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { readCpuList } from './mappings.js';

describe('readCpuList', () => {
  it.each([
    ['0\n', [0]],
    ['0-3\n', [0, 1, 2, 3]],
    ['0,2-3,8', [0, 2, 3, 8]],
  ])('reads %j', (text, cpus) => {
    expect(readCpuList(text)).toEqual(cpus);
  });

  it.each(['', 'all', '0-', '0-999999', '-1'])('refuses %j', (text) => {
    expect(() => readCpuList(text)).toThrowError(/is no list of CPUs/);
  });
});
