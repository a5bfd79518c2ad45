// SPDX-License-Identifier: Apache-2.0
// Tests that the OpenAPI document is the one committed, and that it is sound: every reference resolves, every
// operation says what it answers and who may call it.
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { openApiText } from './node/openapi.js';

const committed = new URL('../generated/openapi.json', import.meta.url);

interface Operation {
  summary?: string;
  responses: Record<string, { description?: string }>;
  security?: unknown[];
  parameters?: Array<{ name: string; in: string }>;
}

test('the committed document is what the schemas generate (npm run generate -w control-plane)', async () => {
  expect(openApiText()).toBe(await readFile(committed, 'utf8'));
});

test('every reference in the document resolves', () => {
  const text = openApiText();
  const document = JSON.parse(text) as Record<string, unknown>;
  const references = [...text.matchAll(/"\$ref": "#\/([^"]+)"/g)].map(([, path = '']) => path);
  expect(references.length).toBeGreaterThan(20);
  for (const path of new Set(references)) {
    let value: unknown = document;
    for (const key of path.split('/')) value = (value as Record<string, unknown> | undefined)?.[key];
    expect([path, typeof value]).toEqual([path, 'object']);
  }
});

test('every operation has a summary, its path parameters, answers, and who may call it', () => {
  const document = JSON.parse(openApiText()) as {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
  };
  expect(document.openapi).toBe('3.1.0');
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const where = `${method} ${path}`;
      expect([where, operation.summary]).toEqual([where, expect.any(String)]);
      const named = [...path.matchAll(/\{([a-z_]+)\}/g)].map(([, name]) => name);
      const given = (operation.parameters ?? [])
        .filter((entry) => entry.in === 'path')
        .map(({ name }) => name);
      expect([where, given.sort()]).toEqual([where, named.sort()]);
      for (const answer of Object.values(operation.responses))
        expect(answer.description).toEqual(expect.any(String));
      const open = ['/health', '/ready', '/v1/signing-key'].includes(path);
      if (!open)
        expect([where, operation.security, Object.keys(operation.responses)]).toEqual([
          where,
          [{ bearer: [] }],
          expect.arrayContaining(['401', '403']),
        ]);
    }
  }
});
