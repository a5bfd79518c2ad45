// SPDX-License-Identifier: Apache-2.0
// A thousand policies on one hook: each is told of its own file and of no other, also where another denies that file; and
// those that stay are told on when half of them go.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Policy, parsePolicies } from '@weir/policy';
import { type Hooks, policyOf, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const count = 1000;

function parsed(text: string): Policy {
  const [policy] = parsePolicies(text);
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

const nameOf = (n: number) => `policy-${String(n).padStart(4, '0')}`;

/** The same policy for each file: parsing a thousand texts in the guest would take longer than all the rest. */
function policiesFor(files: readonly string[]): Policy[] {
  const one = parsed(
    policyOf(
      'policy',
      'security_file_open',
      ['file'],
      [{ matchArgs: [{ index: 0, operator: 'Equal', values: ['/file'] }] }],
    ),
  );
  return files.map((file, n) => {
    const spec = structuredClone(one.spec);
    const term = spec.kprobes?.[0]?.selectors?.[0]?.matchArgs?.[0];
    if (term === undefined) throw new Error('the policy has no term');
    Object.assign(term, { values: [file] });
    return { ...one, name: nameOf(n), spec };
  });
}

function kernelMemoryKiB(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  return Number(/^MemAvailable: +(\d+)/m.exec(text)?.[1] ?? 0);
}

async function open({ run }: ScenarioContext, files: readonly string[]): Promise<string[]> {
  const made = await run('calls', [], { input: files.map((file) => `openat\t-100\t${file}\t0\n`).join('') });
  assert.equal(made.code, 0, made.stderr);
  return made.stdout
    .trim()
    .split('\n')
    .map((printed) => (Number(printed) < 0 ? printed : 'opened'));
}

async function apply(hooks: Hooks, policies: readonly Policy[]): Promise<void> {
  const outcomes = await hooks.set.apply(policies);
  assert.deepEqual(
    [...new Set(outcomes.map(({ state, reason }) => `${state} ${reason ?? ''}`))],
    ['loaded '],
  );
}

/** Policy and file of each event, sorted. */
function told(hooks: Hooks): string[] {
  return hooks
    .events()
    .filter(({ args }) => args[0]?.text.includes('/of-thousand-'))
    .map(({ policy, args }) => `${policy} ${args[0]?.text}`)
    .sort();
}

export default scenario('a thousand policies share a hook', { timeoutMs: 120_000 }, async (context) => {
  const files = Array.from({ length: count }, (_, n) => join(context.folder, `of-thousand-${n}`));
  const unknown = join(context.folder, 'of-thousand-unknown');
  for (const file of [...files, unknown]) writeFileSync(file, '');
  const expected = (which: readonly number[]) => which.map((n) => `${nameOf(n)} ${files[n]}`).sort();
  const all = files.map((_, n) => n);
  await withHooks(async (hooks) => {
    await hooks.apply(policyOf('first', 'security_path_unlink', ['path'], []));
    const policies = policiesFor(files);
    const freeKiB = kernelMemoryKiB();
    const startMs = performance.now();
    await apply(hooks, policies);
    const loadMs = performance.now() - startMs;
    const report = hooks.set.report();
    assert.deepEqual(report.map(({ symbol, policies: on }) => [symbol, on.length]).sort(), [
      ['security_file_open', 488],
      ['security_file_open', 512],
    ]);
    const bytes = report.reduce((sum, { entryBytes }) => sum + entryBytes, 0);
    context.log(
      `${count} policies: ${loadMs.toFixed(0)} ms, ${(bytes / 1024).toFixed(0)} KiB of entries, ${freeKiB - kernelMemoryKiB()} KiB less memory available`,
    );
    hooks.events();
    await open(context, [...files, unknown]);
    assert.deepEqual(told(hooks), expected(all));

    // Half of them go, and one that denies comes: it is on the page that is called last, and who observes is told of what
    // it denies.
    const odd = all.filter((n) => n % 2 === 1);
    const denied = files[3] ?? '';
    const denying = parsed(
      policyOf(
        'denying',
        'security_file_open',
        ['file'],
        [
          {
            matchArgs: [{ index: 0, operator: 'Equal', values: [denied] }],
            matchActions: [{ action: 'Override', argError: -13 }],
          },
        ],
      ),
    );
    await apply(hooks, [...policies.filter((_, n) => n % 2 === 1), denying]);
    hooks.events();
    const printed = await open(context, files);
    assert.deepEqual(
      files.filter((_, n) => printed[n] !== 'opened'),
      [denied],
    );
    assert.deepEqual(told(hooks), [`denying ${denied}`, ...expected(odd)].sort());
    assert.equal(hooks.counter('undecided'), 0n);
    assert.equal(hooks.counter('ringFull'), 0n);
  });
});
