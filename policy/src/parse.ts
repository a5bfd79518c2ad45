// SPDX-License-Identifier: Apache-2.0
// Owns the way from text to typed policies: documents are read, checked against the shape, and every issue is given
// its field and place. A policy that comes out may still mean nothing: see `validate.ts`.
import type { z } from 'zod';
import { issuesMax, type PolicyIssue, type PolicyIssueCode, throwIssues } from './error.js';
import { quote, suggestion } from './nearest.js';
import { type Policy, policyIssue } from './policy.js';
import { rewritePublished } from './published.js';
import { documentSchema, fieldNamesAt } from './shape.js';
import { fieldPath, joinPath, readDocuments, type SourceDocument } from './source.js';

function nameOf(value: unknown): string {
  const { metadata } = (value ?? {}) as { metadata?: { name?: unknown } };
  const name = metadata?.name;
  return typeof name === 'string' && name.length <= 253 ? name : '';
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const key of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, key)) return undefined;
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  return current;
}

function describe(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a map';
  if (typeof value === 'string') return `the text ${quote(value)}`;
  return `${typeof value === 'boolean' ? 'the truth value' : 'the number'} ${String(value)}`;
}

const wanted: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
};

function shapeIssues(source: SourceDocument, error: z.ZodError): PolicyIssue[] {
  const at = { name: nameOf(source.value), locate: (path: string) => source.locate(path) };
  const issues: PolicyIssue[] = [];
  for (const issue of error.issues) {
    if (issues.length > issuesMax) break;
    const path = joinPath(issue.path);
    const given = valueAt(source.value, issue.path);
    if (issue.code === 'unrecognized_keys') {
      const names = fieldNamesAt(issue.path);
      for (const key of issue.keys.slice(0, issuesMax)) {
        const message = `there is no field ${quote(key)} here: ${suggestion(key, names)}`;
        issues.push(policyIssue(at, 'unknown-field', fieldPath(path, key), message));
      }
    } else if (issue.code === 'invalid_type' && given === undefined) {
      const what = wanted[issue.expected] ?? issue.expected;
      issues.push(policyIssue(at, 'missing-field', path, `is missing: it wants ${what}`));
    } else if (issue.code === 'invalid_type') {
      const what = wanted[issue.expected] ?? issue.expected;
      issues.push(policyIssue(at, 'wrong-type', path, `wants ${what}, has ${describe(given)}`));
    } else if (issue.code === 'too_big' || issue.code === 'too_small') {
      const unit = issue.origin === 'string' ? ' characters' : issue.origin === 'array' ? ' items' : '';
      const bound = issue.code === 'too_big' ? `at most ${issue.maximum}` : `at least ${issue.minimum}`;
      const has = Array.isArray(given) || typeof given === 'string' ? given.length : describe(given);
      const code = issue.origin === 'array' || issue.origin === 'string' ? 'limit' : 'wrong-value';
      issues.push(policyIssue(at, code, path, `takes ${bound}${unit}, has ${has}`));
    } else if (issue.code === 'invalid_value') {
      const allowed = issue.values.map((value) => String(value));
      const message =
        given === undefined
          ? `is missing: it wants ${allowed.join(' or ')}`
          : `wants ${allowed.join(' or ')}, has ${describe(given)}`;
      issues.push(policyIssue(at, given === undefined ? 'missing-field' : 'wrong-value', path, message));
    } else {
      const params = issue.code === 'custom' ? (issue.params as { policyCode?: PolicyIssueCode }) : undefined;
      const missing = given === undefined && issue.code !== 'custom';
      const text = missing ? `is missing: it ${issue.message}` : issue.message;
      const has = issue.code === 'custom' || missing ? '' : `, has ${describe(given)}`;
      issues.push(policyIssue(at, params?.policyCode ?? 'wrong-value', path, `${text}${has}`));
    }
  }
  return issues;
}

function toPolicy(source: SourceDocument, document: z.output<typeof documentSchema>): Policy {
  const { metadata, kind, spec } = document;
  const annotations = metadata.annotations ?? {};
  const rewritten = rewritePublished(spec);
  return {
    kind,
    name: metadata.name,
    namespace: kind === 'TracingPolicyNamespaced' ? (metadata.namespace ?? 'default') : '',
    description: annotations.description ?? '',
    annotations,
    ...rewritten,
    locate: (path) => source.locate(path),
  };
}

/**
 * Parses all policies of a text of one or more YAML (or JSON) documents.
 * @throws {PolicyError} with all that is wrong with their shape; nothing is parsed in part.
 */
export function parsePolicies(text: string | Uint8Array): Policy[] {
  const { documents, issues: sourceIssues } = readDocuments(text);
  const issues = [...sourceIssues];
  const policies: Policy[] = [];
  for (const source of documents) {
    const result = documentSchema.safeParse(source.value);
    if (result.success) policies.push(toPolicy(source, result.data));
    else issues.push(...shapeIssues(source, result.error));
  }
  if (policies.length === 0 && issues.length === 0) {
    issues.push({
      code: 'no-policy',
      policy: '',
      path: '',
      line: 0,
      column: 0,
      message: 'the text holds no policy: a document of the kind TracingPolicy is wanted',
    });
  }
  throwIssues(issues);
  return policies;
}
