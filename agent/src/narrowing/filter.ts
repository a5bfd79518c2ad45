// SPDX-License-Identifier: Apache-2.0
// Owns the filters by which processes are narrowed, as the command line gives them: what they may say, and what is
// refused. The names of fields are those of Tetragon's export filters, where it has them.

/** How a filter names a pod's labels: each condition must hold. */
export interface LabelCondition {
  readonly key: string;
  /** Without values: whether there is such a label. */
  readonly value: string | undefined;
  readonly negated: boolean;
}

/** Which processes are meant: those that one value of every field given fits. */
export interface ProcessFilter {
  readonly binary?: readonly string[];
  readonly uid?: readonly number[];
  readonly pid_ns?: readonly (number | 'host')[];
  readonly mnt_ns?: readonly (number | 'host')[];
  /** Namespaces of pods; '' is what is of no pod. */
  readonly namespace?: readonly string[];
  readonly labels?: readonly (readonly LabelCondition[])[];
  readonly container?: readonly string[];
}

/** Those that are told of (all, where there is no filter), less those that are not. */
export interface Narrowing {
  readonly allowed: readonly ProcessFilter[];
  readonly denied: readonly ProcessFilter[];
}

/** Bits of a word of the kernel's. */
export const FILTERS_MAX = 32;
const VALUES_MAX = 1000;
/** What the kernel's trie takes, less the closing NUL. */
const BINARY_BYTES_MAX = 251;
const fields = ['binary', 'uid', 'pid_ns', 'mnt_ns', 'namespace', 'labels', 'container'] as const;
type Field = (typeof fields)[number];

function fail(where: string, what: string): never {
  throw new RangeError(`${where} ${what}`);
}

function binaryOf(value: unknown, where: string): string {
  if (typeof value !== 'string' || value === '') fail(where, 'must be the path of a binary');
  const inner = value.replace(/^\*|\*$/g, '');
  const isPattern = inner !== value;
  if (inner.includes('*') || inner === '' || (value.startsWith('*') && value.endsWith('*')))
    fail(where, `must be a path, or have one "*" at its beginning or at its end, not "${value}"`);
  if (!isPattern && !value.startsWith('/')) fail(where, `must begin with "/" or "*", not "${value}"`);
  if (Buffer.byteLength(inner) > BINARY_BYTES_MAX)
    fail(where, `has ${Buffer.byteLength(inner)} bytes; the kernel looks at ${BINARY_BYTES_MAX}`);
  if (inner.includes('\0')) fail(where, 'must not have NUL in it');
  return value;
}

function numberOf(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** 32)
    fail(where, `must be a whole number from 0 to ${2 ** 32 - 1}`);
  return value;
}

function namespaceOf(value: unknown, where: string): number | 'host' {
  if (value === 'host') return value;
  if (typeof value === 'string') fail(where, `must be "host" or an inode number, not "${value}"`);
  return numberOf(value, where);
}

function textOf(value: unknown, where: string): string {
  if (typeof value !== 'string') fail(where, 'must be text');
  return value;
}

/** `app=web,tier!=front,canary,!old`: each must hold. */
function labelsOf(value: unknown, where: string): LabelCondition[] {
  return textOf(value, where)
    .split(',')
    .map((text) => {
      const parts = /^(!?)([A-Za-z0-9._/-]+)(?:(!=|==?)([A-Za-z0-9._-]*))?$/.exec(text.trim());
      const [, not = '', key = '', operator, wanted] = parts ?? [];
      if (parts === null || (not !== '' && operator !== undefined))
        fail(where, `must be conditions such as app=web,tier!=front,canary,!old, not "${text}"`);
      return {
        key,
        value: operator === undefined ? undefined : wanted,
        negated: not !== '' || operator === '!=',
      };
    });
}

const readers: Readonly<Record<Field, (value: unknown, where: string) => unknown>> = {
  binary: binaryOf,
  uid: numberOf,
  pid_ns: namespaceOf,
  mnt_ns: namespaceOf,
  namespace: textOf,
  labels: labelsOf,
  container: textOf,
};

function readFilter(value: unknown): ProcessFilter {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    fail('must be', 'a JSON object, such as {"binary":["/usr/bin/*"],"uid":[0]}');
  const entries = Object.entries(value);
  if (entries.length === 0) fail('must be', `an object with one of ${fields.join(', ')} at least`);
  return Object.fromEntries(
    entries.map(([name, values]) => {
      const field = fields.find((known) => known === name);
      if (field === undefined) fail(`has no field ${JSON.stringify(name)};`, `it takes ${fields.join(', ')}`);
      if (!Array.isArray(values) || values.length === 0 || values.length > VALUES_MAX)
        fail(`field ${name}`, `must be a list of 1 to ${VALUES_MAX} values`);
      return [field, values.map((one: unknown, index) => readers[field](one, `field ${name}[${index}]`))];
    }),
  );
}

/** Reads filters, each a JSON object. @throws {RangeError} that names the field */
export function readFilters(given: readonly string[]): ProcessFilter[] {
  if (given.length > FILTERS_MAX) fail('was given', `${given.length} times; ${FILTERS_MAX} at most`);
  return given.map((text) => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      return fail('must be', `JSON: ${error instanceof Error ? error.message : String(error)}`);
    }
    return readFilter(value);
  });
}
