// SPDX-License-Identifier: Apache-2.0
// Looks that each name of `npm run fuzz` leads to a fuzzer that heeds what it is told.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { commandOf, fuzzers } from './run.mjs';

const root = new URL('../../', import.meta.url);

describe('npm run fuzz', () => {
  it.each(Object.keys(fuzzers))('%s runs a test that is there, as often as it is told', (name) => {
    const { file, tests } = (fuzzers as Record<string, { file: string; tests: string }>)[name] ?? {
      file: '',
      tests: '',
    };
    const text = readFileSync(fileURLToPath(new URL(file, root)), 'utf8');
    expect(text).toContain(tests);
    const { args, env } = commandOf(name, '12', '34');
    expect(args).toContain(file);
    for (const [variable, value] of Object.entries(env)) {
      expect(text).toContain(`process.env.${variable}`);
      expect(['12', '34']).toContain(value);
    }
  });
});
