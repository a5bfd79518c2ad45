// SPDX-License-Identifier: Apache-2.0
// Owns what a command is, and the parsing of its arguments.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { usageError } from './errors.js';
import type { Output } from './output.js';

export type OptionTypes = NonNullable<ParseArgsConfig['options']>;

export interface Invocation {
  readonly output: Output;
  readonly positionals: readonly string[];
  /** An option's value; undefined where it was not given. */
  text(name: string): string | undefined;
  /** Values of an option that may be given more than once. */
  list(name: string): readonly string[];
  flag(name: string): boolean;
}

export interface Command {
  /** `policy check` */
  readonly name: string;
  /** `FILE...`, as usage shows it. */
  readonly parameters: string;
  readonly summary: string;
  /** Further lines of help. */
  readonly help?: readonly string[];
  readonly options?: OptionTypes;
  /** How many positional arguments it takes. */
  readonly takes: readonly [least: number, most: number];
  /** Gives the exit code where it is not 0. */
  run(invocation: Invocation): Promise<number | undefined>;
}

export function usageOf(command: Command): string {
  return `weir ${command.name}${command.parameters === '' ? '' : ` ${command.parameters}`}`;
}

/** Joins `--days -1` to `--days=-1`: no option of ours begins with a digit, and what reads the value says what is right. */
function joinNegatives(args: readonly string[], types: OptionTypes): string[] {
  const joined: string[] = [];
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? '';
    if (word === '--') return [...joined, ...args.slice(index)];
    const next = args[index + 1];
    const takesValue = word.startsWith('--') && types[word.slice(2)]?.type === 'string';
    if (takesValue && next !== undefined && /^-[0-9]/.test(next)) {
      joined.push(`${word}=${next}`);
      index++;
    } else joined.push(word);
  }
  return joined;
}

/** @throws {CliError} with exit code 2 */
export function parse(command: Command, args: readonly string[], output: Output): Invocation {
  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: joinNegatives(args, command.options ?? {}),
      options: command.options ?? {},
      allowPositionals: true,
      strict: true,
    }) as typeof parsed;
  } catch (cause) {
    const message = cause instanceof Error ? (cause.message.split('.')[0] ?? '') : String(cause);
    const [, option] = /^Option '(?:-\w, )?(--?[-\w]+)' argument is ambiguous$/.exec(message) ?? [];
    if (option !== undefined) {
      throw usageError(`${option} lacks its value: what follows it begins with a dash.`, usageOf(command));
    }
    throw usageError(`${message}.`, usageOf(command));
  }
  const { values, positionals } = parsed;
  const [least, most] = command.takes;
  if (positionals.length < least)
    throw usageError(`weir ${command.name} lacks an argument.`, usageOf(command));
  if (positionals.length > most) {
    throw usageError(`weir ${command.name} does not take "${positionals[most]}".`, usageOf(command));
  }
  return {
    output,
    positionals,
    text: (name) => (typeof values[name] === 'string' ? values[name] : undefined),
    list: (name) => (Array.isArray(values[name]) ? values[name].map(String) : []),
    flag: (name) => values[name] === true,
  };
}

/** @throws {CliError} where the option is no whole number within its bounds. */
export function wholeNumber(
  name: string,
  value: string | undefined,
  bounds: { least: number; most: number; otherwise: number },
): number {
  if (value === undefined) return bounds.otherwise;
  const number = Number(value);
  if (!/^[0-9]{1,15}$/.test(value) || number < bounds.least || number > bounds.most) {
    throw usageError(
      `--${name} must be a whole number from ${bounds.least} to ${bounds.most}, not "${value}".`,
    );
  }
  return number;
}

/** @throws {CliError} where the option is none of those allowed. */
export function oneOf<T extends string>(
  name: string,
  value: string | undefined,
  allowed: readonly T[],
  otherwise: T,
): T {
  if (value === undefined) return otherwise;
  const found = allowed.find((entry) => entry === value);
  if (found === undefined) throw usageError(`--${name} must be ${allowed.join(' or ')}, not "${value}".`);
  return found;
}

/** Whether `-o json` was asked for; the other form is a table or `otherwise`. */
export function wantsJson(value: string | undefined, otherwise = 'table'): boolean {
  return oneOf('output', value, [otherwise, 'json'], otherwise) === 'json';
}
