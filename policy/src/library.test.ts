// SPDX-License-Identifier: Apache-2.0
// The ready policies: each can be planned, says what it is for, and stands in the README's table.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { check } from './check.js';
import { type LibraryEntry, libraryEntry, libraryTable } from './library.js';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import type { Policy } from './policy.js';

const folder = fileURLToPath(new URL('../library/', import.meta.url));
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
const policyOf = (file: string): Policy => {
  const policies = parsePolicies(readFileSync(`${folder}${file}`, 'utf8'));
  expect(policies).toHaveLength(1);
  return policies[0] as Policy;
};
const entryOf = (policy: Policy): LibraryEntry => {
  const entry = libraryEntry(policy);
  if (typeof entry === 'string') throw new Error(`${policy.name}: ${entry}`);
  return entry;
};

describe('the policies of the library', () => {
  it.each(files)('%s is named as its file, annotated and refused by nothing', (file) => {
    const policy = policyOf(file);
    expect(`${policy.name}.yaml`).toBe(file);
    entryOf(policy);
    expect(check(policy).errors).toEqual([]);
    // `weir policy library add --monitor` writes options of its own.
    expect(policy.spec.options).toBeUndefined();
  });

  it('are in force beside each other', () => {
    const { hooks } = plan(files.map((file, index) => ({ id: index + 1, policy: policyOf(file) })));
    expect(hooks.length).toBeGreaterThan(30);
  });

  it('stand in the table of the README, which `npx vitest run policy/src/library.test.ts -u` makes anew', async () => {
    const readme = readFileSync(`${folder}README.md`, 'utf8');
    const table = libraryTable(files.map((file) => entryOf(policyOf(file))));
    const made = readme.replace(
      /(<!-- table -->\n)[\s\S]*?(<!-- end -->)/,
      (_, begin, end) => `${begin}${table}\n${end}`,
    );
    await expect(made).toMatchFileSnapshot(`${folder}README.md`);
  });
});

describe('what a policy of the library says of itself', () => {
  const text = (annotations: string) =>
    parsePolicies(
      `{apiVersion: cilium.io/v1alpha1, kind: TracingPolicy, metadata: {name: a, annotations: {${annotations}}}, spec: {kprobes: [{call: security_file_open, syscall: false, args: [{index: 0, type: file}]}]}}`,
    )[0] as Policy;
  const good =
    'title: t, description: d, category: files, attack: "T1055.008, T1611", severity: low, cost: rare';

  it('is taken where it is whole', () => {
    expect(libraryEntry(text(good))).toMatchObject({
      name: 'a',
      attack: ['T1055.008', 'T1611'],
      reports: true,
    });
  });

  it.each([
    ['title: t, ', 'annotations.title'],
    ['description: d, ', 'annotations.description'],
    ['category: files, ', 'annotations.category'],
    ['severity: low, ', 'annotations.severity'],
    [', cost: rare', 'annotations.cost'],
    ['.008, T1611', ''],
  ])('without %s is refused by field', (part, field) => {
    const entry = libraryEntry(text(good.replace(part, '')));
    if (field === '') expect(entry).toMatchObject({ attack: ['T1055'] });
    else expect(entry).toContain(field);
    expect(libraryEntry(text(good.replace('T1611', 'T16')))).toContain('annotations.attack');
  });
});
