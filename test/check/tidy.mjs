// SPDX-License-Identifier: Apache-2.0
// Checks what no linter knows: licence lines, lengths of files, words that have no place here.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** A test file is mostly a list of cases, and may be longer. */
const linesMax = { source: 650, test: 900 };

const refused = [
  { pattern: /\b(TODO|FIXME|XXX)\b(?!\()/, why: 'say why in parentheses, `TODO(reason)`, or do it' },
  { pattern: /\b(?:describe|it|test)\.only\(/, why: 'a test alone hides the others' },
  { pattern: /@ts-ignore/, why: 'use @ts-expect-error with a reason' },
];

/** @returns {string[]} one line for each finding. */
export function untidy(root) {
  const names = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  const findings = [];
  for (const name of names.split('\n')) {
    if (!/\.(ts|mjs|c|h|cc|sh)$/.test(name) || /generated|test\/check\/tidy/.test(name)) continue;
    let text;
    try {
      text = readFileSync(resolve(root, name), 'utf8');
    } catch {
      continue; // deleted in the working tree
    }
    if (!text.slice(0, 200).includes('SPDX-License-Identifier:'))
      findings.push(`${name}: no SPDX licence line`);
    const lines = text.split('\n');
    const most = /\.test\.ts$/.test(name) ? linesMax.test : linesMax.source;
    if (lines.length > most)
      findings.push(`${name}: ${lines.length} lines, more than ${most}: has it still one job?`);
    lines.forEach((line, index) => {
      for (const { pattern, why } of refused) {
        if (pattern.test(line)) findings.push(`${name}:${index + 1}: ${line.trim().slice(0, 80)}: ${why}`);
      }
    });
  }
  return findings;
}
