// SPDX-License-Identifier: Apache-2.0
// Bends policies at random, their texts and their structure, and asserts that the parser answers each with policies or
// with a PolicyError that points into the text, and nothing else. WEIR_FUZZ_ROUNDS sets how many mutations (100000 in a
// long run: `npm run fuzz -- policies`), WEIR_SEED where to begin.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { PolicyError } from './error.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { mutateStructure, mutateText, PolicyTrees } from './testing/mutate.js';
import { Random } from './testing/random.js';
import { namespacedSurface, wholeSurface } from './testing/whole-surface.js';

const folder = new URL('../library/', import.meta.url);
const library = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const seeds = [
  wholeSurface,
  namespacedSurface,
  ...library.map((name) => readFileSync(new URL(name, folder), 'utf8')),
];

const trees = new PolicyTrees(seeds);

function mutate(random: Random): string {
  return random.chance(50) ? mutateStructure(random, trees) : mutateText(random, random.pick(seeds), seeds);
}

/** What can be wrong with a text or a document as a whole, and with no field of it. */
const ofTheWhole = /^(yaml|text)-|^no-policy$|^wrong-type$/;

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
        (issue.path === '' && !ofTheWhole.test(issue.code)) ||
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
  const count = Number(process.env.WEIR_FUZZ_ROUNDS ?? 3000);
  const seed = Number(process.env.WEIR_SEED ?? 7);

  it(`answers ${count} bent policies with policies or PolicyErrors (seed ${seed})`, {
    timeout: 3_600_000,
  }, () => {
    console.log(`seed ${seed}, ${count} mutations`);
    const random = new Random(seed);
    const outcomes = { planned: 0, refused: 0 };
    for (let n = 0; n < count; n++) {
      const text = mutate(random);
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
