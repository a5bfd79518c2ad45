// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { FilterLimitError, parseFilterLimits } from './limits.js';

describe('limits of modules', () => {
  it.each([
    [[], {}],
    [['memory=8MiB'], { memoryBytesMax: 8 * 1024 * 1024 }],
    [
      ['memory=2097152, table=16', 'module=100KiB'],
      { memoryBytesMax: 2 ** 21, tableElementsMax: 16, moduleBytesMax: 102_400 },
    ],
    [['functions=64', 'functions=32'], { functionsMax: 32 }],
  ])('are read: %j', (texts, policy) => {
    expect(parseFilterLimits(texts)).toEqual(policy);
  });

  it.each([
    [['tables=4'], '"tables=4" must be NAME=VALUE with one of module, memory, functions, table'],
    [['memory'], 'memory must be 2MiB to 64MiB, not ""'],
    [['memory=1MiB'], 'memory must be 2MiB to 64MiB, not "1MiB"'],
    [['memory=1GiB'], 'memory must be 2MiB to 64MiB, not "1GiB"'],
    [['table=4KiB'], 'table must be 1 to 65536, not "4KiB"'],
    [['module=2MiB'], 'module must be 1KiB to 1MiB, not "2MiB"'],
    [['__proto__=1'], '"__proto__=1" must be NAME=VALUE'],
    [['memory=4MiB,'], '"" must be NAME=VALUE'],
  ])('that cannot be are refused, with what would be right: %j', (texts, reason) => {
    expect(() => parseFilterLimits(texts)).toThrow(FilterLimitError);
    expect(() => parseFilterLimits(texts)).toThrow(reason);
  });
});
