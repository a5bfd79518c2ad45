// SPDX-License-Identifier: Apache-2.0
// Owns what a hook has to say for the conformance matrix to try a type of argument on it, and the words in which deeds
// are written. Deeds are those of programs/cells.c.

export const hookKinds = {
  function: 'kprobes, a function',
  syscall: 'kprobes, a system call',
  return: 'kprobes, what a call returns',
  fentry: 'fentries',
  lsm: 'lsmhooks',
  tracepoint: 'tracepoints',
  raw: 'tracepoints, raw',
  uprobe: 'uprobes',
  usdt: 'usdts',
} as const;
export type HookKind = keyof typeof hookKinds;

/**
 * What tells a cell from the others: another argument has its number; the text begins with it; an address is made of
 * it; or the program that acts is called by it.
 */
export type Mark = 'number' | 'prefix' | 'address' | 'binary';

/** What values are chosen for. */
export type Values =
  | 'integer'
  | 'text'
  | 'path'
  | 'socket'
  | 'capabilities'
  | 'syscall'
  | 'function'
  | 'none';

export interface Carrier {
  readonly kind: HookKind;
  readonly types: readonly string[];
  /** Name of the function, the hook, the tracepoint (SUBSYSTEM:EVENT) or the symbol. */
  readonly hook: string;
  readonly index: number;
  /** What else the argument needs to be read. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Further arguments, of which the first has the number of the cell where that is the mark. */
  readonly others?: readonly { readonly index: number; readonly type: string }[];
  readonly mark: Mark;
  readonly values: Values;
  /** Whether what is passed can be below 0. */
  readonly negative?: boolean;
  /** Letters of kinds of file: what is meant, and what is not; none where the hook sees one kind only. */
  readonly files?: readonly [string, string];
  /** Operators for which no process can do otherwise on this hook: their opposite is tried beside them. */
  readonly opposite?: readonly string[];
  /** Whether an IPv6 packet is passed where a socket's address is IPv4 within IPv6. */
  readonly realIpv6?: boolean;
  /** Why not every operator is tried with every action, but each with one. */
  readonly costly?: string;
  /** Whether the folder stands before the text. */
  readonly inFolder?: boolean;
  /** The only errno that its callers return where it denies. */
  readonly onlyError?: number;
  readonly deed: (parts: readonly string[]) => readonly string[];
}

const integers = ['int8', 'uint8', 'int16', 'uint16', 'int', 'uint32', 'int64', 'uint64'];
export const numbers = [...integers, 'capability', 'bpf_cmd'];
/** Every capability that the kernel knows. */
export const all = String((1n << 41n) - 1n);
export const verb =
  (name: string) =>
  (parts: readonly string[]): readonly string[] => [name, ...parts];
export const onFile = (name: string) => (parts: readonly string[]) => [name, ...parts];
export const withPath =
  (name: string) =>
  ([text = '', path = '']: readonly string[]): readonly string[] => [name, path, text];
export const cell = (index: number) => [{ index, type: 'int' }];
