// SPDX-License-Identifier: Apache-2.0
// Bends policies at random and asserts that the parser answers each with policies or with a PolicyError that points
// into the text, and nothing else. WEIR_FUZZ sets how many mutations (100000 in a long run), WEIR_SEED where to begin.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { PolicyError } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { Random } from './testing/random.js';
import { namespacedSurface, wholeSurface } from './testing/whole-surface.js';

const folder = new URL('../library/', import.meta.url);
const library = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const seeds = [
  wholeSurface,
  namespacedSurface,
  ...library.map((name) => readFileSync(new URL(name, folder), 'utf8')),
];

const splinters = [
  '&a ',
  '*a',
  '<<: *a',
  '!!binary x',
  '!!set {a}',
  '!!omap [a: 1]',
  '%YAML 1.1\n---\n',
  '---\n',
  '...\n',
  '? [a]: b',
  '- ',
  '[',
  ']',
  '{',
  '}',
  ': ',
  '"',
  "'",
  '|\n',
  '>\n',
  '# ',
  '\t',
  '\0',
  '\u2028',
  '\ud800',
  '~',
  'null',
  'true',
  '-1',
  '0x',
  '1e999',
  '99999999999999999999',
  '.nan',
  '2001-01-01',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'list:',
  'host_ns',
  'Prefix',
  'Override',
  'auto',
  'nop',
  '\\',
  '%',
  '@',
  '`',
];

function mutate(random: Random, text: string): string {
  let result = text;
  for (let n = 1 + random.below(3); n > 0; n--) {
    const at = random.below(result.length + 1);
    const length = random.pick([0, 1, 1, 2, 5, 20, 100]);
    const [before, after] = [result.slice(0, at), result.slice(at + length)];
    const lines = result.split('\n');
    const kind = random.below(7);
    if (kind === 0) result = before + after;
    else if (kind === 1) result = before + random.pick(splinters) + after;
    else if (kind === 2)
      result = before + String.fromCharCode(random.below(random.pick([128, 0x10000]))) + after;
    else if (kind === 3) {
      const other = random.pick(seeds);
      const from = random.below(other.length);
      result = before + other.slice(from, from + random.below(80)) + after;
    } else if (kind === 4) {
      const [a, b] = [random.below(lines.length), random.below(lines.length)];
      [lines[a], lines[b]] = [lines[b] ?? '', lines[a] ?? ''];
      result = lines.join('\n');
    } else if (kind === 5) {
      lines.splice(random.below(lines.length), 1 + random.below(3));
      result = lines.join('\n');
    } else {
      const line = random.below(lines.length);
      lines[line] = `${' '.repeat(random.below(4))}${lines[line] ?? ''}`;
      result = lines.join('\n');
    }
  }
  return result;
}

/** What came of one text: parsed and planned, refused, or whatever should not have been thrown. */
function judge(text: string): 'planned' | 'refused' {
  try {
    const policies = parsePolicies(text);
    for (const policy of policies) check(policy);
    plan(policies.map((policy, id) => ({ id, policy })));
    return 'planned';
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    const lines = text.split('\n').length;
    for (const issue of error.issues) {
      if (
        issue.message === '' ||
        issue.line < 0 ||
        issue.line > lines + 1 ||
        !Number.isInteger(issue.column)
      ) {
        throw new Error(`an issue points nowhere: ${JSON.stringify(issue)}`);
      }
    }
    return 'refused';
  }
}

describe('the parser under fire', () => {
  const count = Number(process.env.WEIR_FUZZ ?? 3000);
  const seed = Number(process.env.WEIR_SEED ?? 7);

  it(`answers ${count} bent policies with policies or PolicyErrors (seed ${seed})`, {
    timeout: 540_000,
  }, () => {
    console.log(`seed ${seed}, ${count} mutations`);
    const random = new Random(seed);
    const outcomes = { planned: 0, refused: 0 };
    for (let n = 0; n < count; n++) {
      const text = mutate(random, random.pick(seeds));
      try {
        outcomes[judge(text)]++;
      } catch (error) {
        throw new Error(`seed ${seed}, mutation ${n}: ${(error as Error).stack}\n${JSON.stringify(text)}`);
      }
    }
    console.log(outcomes);
    expect(outcomes.planned).toBeGreaterThan(count / 100);
    expect(outcomes.refused).toBeGreaterThan(count / 10);
  });

  it('finds its canary: an error of another class is not taken for a refusal', () => {
    const canary = (text: string) => {
      if (text.includes('canary')) throw new TypeError('found');
      return judge(text);
    };
    expect(() => canary(wholeSurface.replace('security', 'canary'))).toThrowError(TypeError);
  });
});
