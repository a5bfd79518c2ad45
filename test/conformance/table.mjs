// SPDX-License-Identifier: Apache-2.0
// Writes what the planner says of each cell of the conformance matrix: the page docs/reference/conformance.md, and the
// cells that it takes, which the scenario tries in the guests. `--check` compares them with what is there.
//
//   node test/conformance/table.mjs [--check]
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { typeInfo } from '../../policy/dist/index.js';
import { argumentOperators } from '../../policy/dist/testing/index.js';
import { elsewhere, untried } from '../vm/dist/conformance/carriers.js';
import {
  actions,
  carrierOf,
  cellRefusal,
  hookKinds,
  kinds,
  nominalCarrier,
  noOperator,
  operators,
  types,
} from '../vm/dist/conformance/matrix.js';

const root = resolve(fileURLToPath(import.meta.url), '../../..');
export const page = resolve(root, 'docs/reference/conformance.md');
export const taken = resolve(root, 'test/vm/conformance/accepted.ts');

/** Refusals that say the same of many cells, in words that fit all of them. */
const classes = [
  [
    /does not work on the type|nothing of it can be matched|is no type of file/,
    'the type has no such operator',
  ],
  [/the hook has no second argument with capabilities/, 'the hook has no second argument with capabilities'],
  [/is not supported yet by this version/, 'not supported yet by this version'],
  [/has returned already/, 'the call has returned already: nothing of it can be denied'],
  [
    /Override in a program needs a kernel/,
    'needs a kernel that lets its programs change the registers of a process',
  ],
  [/cannot be made to fail/, 'what the hook is on cannot be made to fail'],
  [
    /no security function stands on its path|not known which security function/,
    'no security function is known to stand on the path of the call',
  ],
  [
    /is a kernel object, and a system call has none/,
    'a kernel object, and a system call has none among its arguments',
  ],
  [
    /is a kernel object, and a program has none/,
    'a kernel object, and a program has none among its arguments',
  ],
  [/the record of a tracepoint holds no/, 'the record of a tracepoint holds none'],
  [
    /nothing says how many (bytes a returned buffer has|pieces)|says which argument/,
    'nothing says how many bytes there are',
  ],
  [/a raw tracepoint has none/, 'is a text in the record of a tracepoint, and a raw tracepoint has none'],
  [/which is no socket|the hook has no args/, 'tracks a socket, which the argument is not'],
  [/auto: /, 'nothing tells what the argument is: its type is to be written'],
];

export function classOf(message) {
  return classes.find(([pattern]) => pattern.test(message))?.[1] ?? message;
}

/** Whether the language has an operator on a type at all: then nobody else need be asked. */
function isOfLanguage(operator, type) {
  const { family } = typeInfo(type) ?? {};
  return (
    operator === noOperator || family === 'auto' || argumentOperators[operator]?.includes(family) === true
  );
}

/** What the planner says of a type on a kind of hook. */
function judgeType(kind, type) {
  const tried = carrierOf(kind, type);
  const carrier = tried ?? nominalCarrier(kind, type);
  const byOperator = new Map(
    operators.map((operator) => [
      operator,
      isOfLanguage(operator, type)
        ? cellRefusal(carrier, type, operator, 'Post')
        : 'the type has no such operator: it does not work on the type',
    ]),
  );
  const [some] = [...byOperator].findLast(([, refusal]) => refusal === undefined) ?? [];
  const byAction = new Map(
    actions.map((action) => [
      action,
      some === undefined ? undefined : cellRefusal(carrier, type, some, action),
    ]),
  );
  const whyNot =
    tried === undefined
      ? untried.find(
          ({ kinds: of, types: which }) => of.includes(kind) && (which === 'others' || which.includes(type)),
        )?.reason
      : undefined;
  return { type, isRefused: some === undefined, whyNot, costly: tried?.costly, byOperator, byAction };
}

/** All kinds, with what is said of each type. */
export function judgeAll() {
  return kinds.map((kind) => ({ kind, rows: types.map((type) => judgeType(kind, type)) }));
}

class Notes {
  #letters = new Map();

  letter(message) {
    const text = classOf(message);
    const known = this.#letters.get(text);
    if (known !== undefined) return known;
    const number = this.#letters.size;
    const letter = (number >= 26 ? 'a' : '') + String.fromCharCode(97 + (number % 26));
    this.#letters.set(text, letter);
    return letter;
  }

  lines() {
    return [...this.#letters].map(([text, letter]) => `- **${letter}**: ${text}.`);
  }
}

/** Why an action is not tried, of one that the planner takes as well. */
const whyNotDone = ({ byAction }, action) => byAction.get(action) ?? elsewhere[action];

const code = (text) => `\`${text}\``;
const nameOf = (operator) => (operator === noOperator ? 'none' : code(operator));

/** Puts neighbours together whose cells are all the same. */
function merged(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    groups.set(key, [...(groups.get(key) ?? []), item]);
  }
  return [...groups.values()];
}

function tableOf({ kind, rows }, notes) {
  const cell = (row, operator) => {
    const refusal = row.byOperator.get(operator);
    return refusal === undefined ? '✓' : notes.letter(refusal);
  };
  const full = rows.filter(({ isRefused, whyNot }) => !isRefused && whyNot === undefined);
  const columns = merged(operators, (operator) => full.map((row) => cell(row, operator)).join(' '));
  const actionText = (row) => {
    const done = actions.filter((action) => whyNotDone(row, action) === undefined).map(code);
    const refused = actions
      .filter((action) => whyNotDone(row, action) !== undefined)
      .map((action) => `${code(action)} ${notes.letter(whyNotDone(row, action))}`);
    return [done.join(' '), refused.join(', ')];
  };
  const lines = [`## ${hookKinds[kind]}`, ''];
  const header = [
    'type',
    ...columns.map((column) => column.map(nameOf).join(' ')),
    'actions',
    'other actions',
  ];
  lines.push(`| ${header.join(' | ')} |`, `|${header.map(() => ' --- |').join('')}`);
  const textOf = (row) => [...columns.map(([first]) => cell(row, first)), ...actionText(row)].join(' | ');
  for (const group of merged(full, textOf)) {
    lines.push(`| ${group.map(({ type }) => code(type)).join(' ')} | ${textOf(group[0])} |`);
  }
  lines.push('');
  for (const group of merged(
    full.filter(({ costly }) => costly !== undefined),
    ({ costly }) => costly,
  )) {
    lines.push(
      `- ${group.map(({ type }) => code(type)).join(' ')}: each operator is tried with \`Post\` and each action with one operator, as ${group[0].costly}.`,
    );
  }
  const left = rows.filter((row) => !full.includes(row));
  const reasonOf = ({ isRefused, whyNot, byOperator }) =>
    isRefused
      ? `refused: ${classOf([...byOperator.values()].find((message) => !/the type has no such operator/.test(message)) ?? '')}`
      : `taken, and not tried here: ${whyNot}`;
  for (const group of merged(left, reasonOf)) {
    lines.push(`- ${group.map(({ type }) => code(type)).join(' ')}: ${reasonOf(group[0])}.`);
  }
  lines.push('');
  return lines;
}

function count(all) {
  let cells = 0;
  for (const { rows } of all) {
    for (const row of rows) {
      if (row.isRefused || row.whyNot !== undefined) continue;
      const ofOperators = operators.filter((operator) => row.byOperator.get(operator) === undefined).length;
      const ofActions = actions.filter((action) => whyNotDone(row, action) === undefined).length;
      cells += row.costly === undefined ? ofOperators * ofActions : ofOperators + ofActions - 1;
    }
  }
  return cells;
}

export function pageText(all) {
  const notes = new Notes();
  const tables = all.flatMap((kind) => tableOf(kind, notes));
  return `${[
    '<!-- Generated by test/conformance/table.mjs from the planner: do not edit. -->',
    '# Conformance: hook kind × argument type × operator × action',
    '',
    `What this version takes (✓, with each of the row's actions: ${count(all)} cells), and what it refuses with which reason: a cell that is refused is refused by \`weir policy check\` with a field path, and the letters say why. The page is what the planner says, which a test compares with it. Scenarios try the cells in guests: \`conformance\`, with all tests, on both kernels each operator and each action of each type, and every other cell on one of the two; \`conformance-whole\`, by hand, every cell on both.`,
    '',
    'Spellings of one type (`int`, `int32`, `sint32`) are one row. `none` is an argument that is read without a condition on it. How the cells are made is told in [test/conformance](../../test/conformance/README.md).',
    '',
    ...tables,
    '## What the letters say',
    '',
    ...notes.lines(),
  ].join('\n')}\n`;
}

export function takenText(all) {
  const lines = all.flatMap(({ kind, rows }) =>
    rows
      .filter(({ isRefused, whyNot }) => !isRefused && whyNot === undefined)
      .map(({ type, byOperator, byAction }) => {
        const names = (refusals) =>
          [...refusals]
            .filter(([, refusal]) => refusal === undefined)
            .map(([name]) => (name === noOperator ? '-' : name));
        const done = names(byAction).filter((action) => elsewhere[action] === undefined);
        return `${kind} ${type}: ${names(byOperator).join(' ')}: ${done.join(' ')}`;
      }),
  );
  return `// SPDX-License-Identifier: Apache-2.0
// Generated by test/conformance/table.mjs from the planner: do not edit.

/** Of each kind of hook and type the operators ("-" is none) and the actions that the planner takes. */
export const accepted = \`
${lines.join('\n')}
\`;
`;
}

function main() {
  const all = judgeAll();
  const texts = [
    [page, pageText(all)],
    [taken, takenText(all)],
  ];
  const stale = texts.filter(([path, text]) => {
    try {
      return readFileSync(path, 'utf8') !== text;
    } catch {
      return true;
    }
  });
  if (process.argv.includes('--check')) {
    for (const [path] of stale)
      console.log(`${path} is not what the planner says: node test/conformance/table.mjs`);
    return stale.length > 0 ? 1 : 0;
  }
  for (const [path, text] of stale) writeFileSync(path, text);
  if (stale.some(([path]) => path === taken))
    spawnSync('npx', ['--no-install', 'tsc', '-b'], { cwd: root, stdio: 'inherit' });
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = main();
