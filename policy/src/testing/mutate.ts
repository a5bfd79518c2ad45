// SPDX-License-Identifier: Apache-2.0
// Owns mutations of policies for fuzzers: of their text, byte by byte and line by line, and of their structure, so that
// what comes of it is often a policy still. A seed gives the same row on any machine.
import { parseAllDocuments } from 'yaml';
import { actionNames, argumentOperatorNames, binaryOperators, namespaceNames, typeNames } from '../names.js';
import type { Random } from './random.js';

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

/** Bends a text in up to three places. `others` lend pieces of theirs. */
export function mutateText(random: Random, text: string, others: readonly string[]): string {
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
      const other = random.pick(others);
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

type Tree = null | boolean | number | string | Tree[] | { [key: string]: Tree };

function isBranch(tree: Tree): tree is Tree[] | { [key: string]: Tree } {
  return typeof tree === 'object' && tree !== null;
}

/** A place in a tree: what it hangs on, and by which key. */
interface Place {
  readonly parent: Tree[] | { [key: string]: Tree };
  readonly key: string | number;
}

/** The documents of texts, and what stands in them by the name of its field: what mutations put elsewhere. */
export class PolicyTrees {
  readonly documents: readonly Tree[];
  readonly #byField = new Map<string, Tree[]>();

  constructor(texts: readonly string[]) {
    this.documents = texts.flatMap((text) =>
      parseAllDocuments(text, { merge: true }).map((document) => document.toJS() as Tree),
    );
    for (const document of this.documents) {
      for (const { parent, key } of placesOf(document)) {
        const field = fieldOf(parent, key);
        const list = this.#byField.get(field) ?? [];
        list.push((parent as Record<string | number, Tree>)[key] as Tree);
        this.#byField.set(field, list);
      }
    }
  }

  /** What stands somewhere in a field of this name. */
  like(random: Random, field: string): Tree {
    return random.pick(this.#byField.get(field) ?? [null]);
  }

  /** The name of some field. */
  field(random: Random): string {
    return random.pick([...this.#byField.keys()]);
  }
}

function fieldOf(parent: Place['parent'], key: string | number): string {
  return Array.isArray(parent) ? '[]' : String(key);
}

function placesOf(tree: Tree): Place[] {
  if (!isBranch(tree)) return [];
  const keys = Array.isArray(tree) ? [...tree.keys()] : Object.keys(tree);
  return keys.flatMap((key) => [
    { parent: tree, key },
    ...placesOf((tree as Record<string | number, Tree>)[key] as Tree),
  ]);
}

const words: readonly string[] = [
  ...actionNames,
  ...argumentOperatorNames,
  ...binaryOperators,
  ...namespaceNames,
  ...typeNames,
  'host_ns',
  'list:dups',
  'sys_openat',
  'security_file_open',
  'CAP_SYS_ADMIN',
  '/etc/passwd',
  '127.0.0.0/8',
  '1:5',
  '0x10',
  '-1',
  '',
  '__proto__',
];

function scalar(random: Random): Tree {
  return random.pick<Tree>([
    null,
    true,
    false,
    0,
    1,
    -1,
    2.5,
    63,
    4096,
    2 ** 53,
    Number.POSITIVE_INFINITY,
    random.pick(words),
    random.pick(words),
    random.pick(words),
    'x'.repeat(random.pick([1, 15, 251, 252, 4096, 5000])),
    [],
    {},
  ]);
}

function change(random: Random, trees: PolicyTrees, { parent, key }: Place): void {
  const branch = parent as Record<string | number, Tree>;
  const isList = Array.isArray(parent);
  switch (random.below(7)) {
    case 0:
      if (isList) parent.splice(Number(key), 1);
      else delete branch[key];
      return;
    case 1:
      branch[key] = scalar(random);
      return;
    case 2:
      if (isList) parent.push(structuredClone(branch[key] as Tree));
      else {
        const field = trees.field(random);
        // As a field of its own, whatever it is called.
        Object.defineProperty(branch, field, {
          value: structuredClone(trees.like(random, field)),
          enumerable: true,
          configurable: true,
          writable: true,
        });
      }
      return;
    case 3:
      if (isList && parent.length < 64) {
        for (let n = random.pick([1, 2, 6, 20]); n > 0; n--)
          parent.push(structuredClone(branch[key] as Tree));
      }
      return;
    case 4:
      if (typeof branch[key] === 'string') branch[key] = random.pick(words);
      return;
    default:
      // What stands elsewhere in a field of the same name: most often a policy comes of it.
      branch[key] = structuredClone(trees.like(random, fieldOf(parent, key)));
  }
}

/** Bends a policy's structure in up to three places, and writes it as JSON, which is YAML too. */
export function mutateStructure(random: Random, trees: PolicyTrees): string {
  const root = { document: structuredClone(random.pick(trees.documents)) };
  for (let n = 1 + random.below(3); n > 0; n--) {
    const places = placesOf(root.document);
    if (places.length === 0) break;
    change(random, trees, random.pick(places));
  }
  return JSON.stringify(root.document) ?? 'null';
}
