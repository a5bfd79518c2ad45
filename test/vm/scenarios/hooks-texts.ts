// SPDX-License-Identifier: Apache-2.0
// What lies anywhere in a text, in one case or in any; and values as long as a path may be, at its front, at its end and
// as a whole: of paths, of texts in user memory, of bytes that are written. What is cut short is not decided.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const readMost = 4095;

type Case = readonly [
  name: string,
  operator: string,
  values: readonly string[],
  holds: (text: string) => boolean,
];

const any = (values: readonly string[], holds: (value: string) => boolean) => values.some(holds);
const lowered = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

function substring(name: string, ...values: string[]): Case {
  return [name, 'SubString', values, (text) => any(values, (value) => text.includes(value))];
}

function folded(name: string, ...values: string[]): Case {
  const holds = (text: string) => any(values, (value) => lowered(text).includes(lowered(value)));
  return [name, 'SubStringIgnCase', values, holds];
}

/** A text that a failure can show. */
function shown(text = ''): string {
  return text.length < 60 ? text : `${text.slice(0, 20)}...${text.slice(-20)} (${text.length} bytes)`;
}

/** The events of each case, by its name, against what it says of the texts. */
function compare(hooks: Hooks, cases: readonly Case[], texts: readonly string[], position: number): void {
  const events = hooks.events();
  const found = cases.map(([name]) => [
    name,
    events.filter(({ policy }) => policy === name).map(({ args }) => shown(args[position]?.text)),
  ]);
  const expected = cases.map(([name, , , holds]) => [
    name,
    texts.filter(holds).map((text) => shown(Buffer.from(text).toString('latin1'))),
  ]);
  assert.deepEqual(found, expected);
}

/** The call fails, for the descriptor is none; its second argument is read as text all the same. */
const ofCall = { index: 0, operator: 'Equal', values: ['-7'] };

async function open({ run }: ScenarioContext, paths: readonly string[]): Promise<void> {
  const lines = paths.map((path) => `openat\t-7\t${path}\t0\n`).join('');
  const made = await run('calls', [], { input: lines });
  assert.equal(made.code, 0, made.stderr);
}

/** Brings a policy for each case into force, opens each text by a call, and compares; each can be decided. */
async function decidesOpened(
  context: ScenarioContext,
  hooks: Hooks,
  cases: readonly Case[],
  texts: readonly string[],
): Promise<void> {
  await hooks.apply(
    ...cases.map(([name, operator, values]) =>
      policyOf(
        name,
        'sys_openat',
        ['int', 'string'],
        [{ matchArgs: [ofCall, { index: 1, operator, values }] }],
      ),
    ),
  );
  hooks.events();
  await open(context, texts);
  compare(hooks, cases, texts, 1);
  assert.equal(hooks.counter('undecided'), 0n);
}

/** Values of a thousand policies at once cost as much as one. */
const thousand = Array.from({ length: 1000 }, (_, n) => `needle-${n}-`);

async function findsTextsAnywhere(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const cases: Case[] = [
    substring('plain', 'shadow'),
    substring('overlap', 'abab', 'babc', 'bb'),
    substring('ends', '/z', 'zz/'),
    substring('case', 'Secret'),
    folded('folded', 'SECRET', 'Ünï'),
    substring('thousand', ...thousand),
    substring('long', 'deep/'.repeat(60)),
    substring('none', 'nothing-has-this'),
  ];
  const texts = [
    'shadow',
    '/etc/shadow',
    '/etc/shadow-',
    '/etc/shado',
    'shadshadow',
    'x/ababc',
    'ababab',
    'aabb',
    '/zz',
    'zz/',
    '/a/secret/b',
    '/a/Secret/b',
    '/a/sEcReT/b',
    // A kernel knows no alphabets: of letters beyond ASCII the case counts.
    '/ünï',
    '/ÜNÏ',
    '/ÜnÏ/Ünï',
    `/in/needle-999-/and/needle-7-`,
    '/needle-1000-',
    '/needle-12',
    `/${'deep/'.repeat(61)}`,
    `/${'deep/'.repeat(59)}`,
  ];
  await decidesOpened(context, hooks, cases, texts);
}

const long = (end: string, times = 80) => `/${'long-folder/'.repeat(times)}${end}`;

function longCases(): Case[] {
  const starts =
    (...values: string[]) =>
    (text: string) =>
      any(values, (value) => text.startsWith(value));
  const ends =
    (...values: string[]) =>
    (text: string) =>
      any(values, (value) => text.endsWith(value));
  const is =
    (...values: string[]) =>
    (text: string) =>
      values.includes(text);
  const not = (holds: (text: string) => boolean) => (text: string) => !holds(text);
  const whole = [long('file'), long('other', 30), '/short'];
  const fronts = [long('fi'), long('', 21), '/sh'];
  const backs = [long('file').slice(1), long('other', 25).slice(3), 'ort'];
  return [
    ['equal', 'Equal', whole, is(...whole)],
    ['not-equal', 'NotEqual', whole, not(is(...whole))],
    ['prefix', 'Prefix', fronts, starts(...fronts)],
    ['not-prefix', 'NotPrefix', fronts, not(starts(...fronts))],
    ['postfix', 'Postfix', backs, ends(...backs)],
    ['not-postfix', 'NotPostfix', backs, not(ends(...backs))],
    // 251 bytes and a NUL are what a trie takes; one more is one too many.
    ['edge', 'Equal', ['/'.padEnd(251, 'e'), '/'.padEnd(252, 'e')], (text) => /^\/e{250,251}$/.test(text)],
    ['most', 'Equal', ['/'.padEnd(readMost, 'm')], is('/'.padEnd(readMost, 'm'))],
  ];
}

const longTexts = [
  long('file'),
  long('fil'),
  long('files'),
  long('other', 30),
  long('other', 29),
  long('', 21),
  long('x', 20),
  '/short',
  '/shorter',
  '/'.padEnd(250, 'e'),
  '/'.padEnd(251, 'e'),
  '/'.padEnd(252, 'e'),
  '/'.padEnd(253, 'e'),
  '/'.padEnd(readMost, 'm'),
  '',
];

async function takesLongValues(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const cases = longCases();
  await decidesOpened(context, hooks, cases, longTexts);
}

async function takesLongPaths(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const folder = join(context.folder, long('', 40));
  mkdirSync(folder, { recursive: true });
  const files = ['a.key', 'b.KEY', 'plain'].map((name) => join(folder, name));
  for (const file of files) writeFileSync(file, 'x');
  const [key = '', , plain = ''] = files;
  const cases: Case[] = [
    ['path-equal', 'Equal', [key], (text) => text === key],
    ['path-prefix', 'Prefix', [folder], () => true],
    ['path-postfix', 'NotPostfix', [plain.slice(5)], (text) => text !== plain],
    substring('path-substring', '.key', '/plai'),
    folded('path-folded', '.Key'),
  ];
  await hooks.apply(
    ...cases.map(([name, operator, values]) =>
      policyOf(
        name,
        'security_file_open',
        ['file'],
        [
          {
            matchArgs: [
              { index: 0, operator: 'SubString', values: [context.folder] },
              { index: 0, operator, values },
            ],
          },
        ],
      ),
    ),
  );
  hooks.events();
  for (const file of files) assert.equal((await context.run('cat', [file])).code, 0);
  compare(hooks, cases, files, 0);
}

async function matchesBytes(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex');
  const equal = 'x'.repeat(3000);
  const cases: Case[] = [
    ['sized', 'Equal', [equal, 'y'], (text) => text === equal || text === 'y'],
    ['other-size', 'NotEqual', ['x'.repeat(2999)], () => true],
    substring('among-nuls', 'needle'),
  ];
  const texts = [equal, `${equal}x`, 'y', 'a\0needle\0b', 'needl\0e'];
  await hooks.apply(
    ...cases.map(([name, operator, values]) =>
      policyWith(name, {
        kprobes: [
          {
            call: 'sys_write',
            syscall: true,
            args: [
              { index: 0, type: 'int' },
              { index: 1, type: 'char_buf', sizeArgIndex: 3 },
            ],
            selectors: [
              {
                matchArgs: [
                  { index: 0, operator: 'Equal', values: ['9'] },
                  { index: 1, operator, values },
                ],
              },
            ],
          },
        ],
      }),
    ),
  );
  hooks.events();
  const lines = texts.map((text) => `write 9 ${hex(text)}\n`).join('');
  const made = await context.run('sh', ['-c', 'buffers 9> "$0"', join(context.folder, 'out')], {
    input: lines,
  });
  assert.equal(made.code, 0, made.stderr);
  compare(hooks, cases, texts, 1);
  const before = hooks.counter('undecided');
  const cut = await context.run('sh', ['-c', 'buffers 9> "$0"', join(context.folder, 'out')], {
    input: 'fill 9 5000\n',
  });
  assert.equal(cut.code, 0, cut.stderr);
  // Of what is cut short, neither its size nor its beginning is equal; what it has behind the cut, nobody knows.
  assert.deepEqual(
    hooks.events().map(({ policy }) => policy),
    ['other-size'],
  );
  assert.equal(hooks.counter('undecided') - before, 1n);
}

export default scenario(
  'hooks look into texts, and take long ones',
  { timeoutMs: 120_000 },
  async (context) => {
    await withHooks(async (hooks) => {
      for (const step of [findsTextsAnywhere, takesLongValues, takesLongPaths, matchesBytes]) {
        const startMs = performance.now();
        await step(context, hooks);
        context.log(`${step.name}: ${(performance.now() - startMs).toFixed(0)} ms`);
      }
    });
  },
);
