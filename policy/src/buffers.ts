// SPDX-License-Identifier: Apache-2.0
// Owns arguments that are buffers: bytes whose number another argument or the return value says, and which may hold
// NULs.
import { ArgumentPart } from '@weir/schema';
import { typeInfo } from './names.js';
import type { PlannedBuffer } from './plan-types.js';
import type { Argument, ArgumentTerm, CalledFields } from './shape.js';
import type { TextTerm } from './terms.js';
import { toBytes } from './values.js';

const bufferTypes: ReadonlySet<string> = new Set(['char_buf', 'const_buf', 'char_iovec', 'iov_iter']);

export function isBuffer(type: string): boolean {
  return bufferTypes.has(type);
}

/** How a hook's argument is read that is a buffer; undefined of others. */
export function bufferOf(argument: Argument, called: CalledFields | undefined): PlannedBuffer | undefined {
  if (!isBuffer(argument.type)) return undefined;
  const copied = argument.returnCopy === true;
  return {
    ...(argument.sizeArgIndex === undefined ? {} : { sizeIndex: argument.sizeArgIndex - 1 }),
    copied,
    narrow: copied && (typeInfo(called?.returnArg?.type ?? '')?.bits ?? 64) <= 32,
    ...(argument.maxData === true ? { whole: true as const } : {}),
  };
}

/** A term of equality: a key ends where a NUL is, so that here the number of bytes stands before them. */
export function sizedTerm(
  term: Pick<ArgumentTerm, 'operator' | 'values'>,
  argument: number,
  path: string,
): TextTerm {
  return {
    kind: 'forward',
    exact: false,
    argument,
    part: ArgumentPart.sized,
    negated: term.operator.startsWith('Not'),
    values: term.values.map((value) => {
      const bytes = toBytes(value);
      return Uint8Array.of(bytes.length >> 8, bytes.length & 0xff, ...bytes);
    }),
    path,
  };
}

/** What is wrong with a field of a buffer, by the field. */
export function bufferIssues(
  argument: Argument,
  returns: boolean,
  argumentsMax: number,
): [field: string, message: string][] {
  const issues: [string, string][] = [];
  const { type, sizeArgIndex, returnCopy } = argument;
  if (!isBuffer(type)) {
    if (sizeArgIndex !== undefined)
      issues.push(['sizeArgIndex', `${type} has no use for it: it says the bytes of char_buf and its like`]);
    if (returnCopy === true)
      issues.push(['returnCopy', `${type} has no use for it: it reads char_buf and its like at the return`]);
    return issues;
  }
  if (sizeArgIndex !== undefined && (sizeArgIndex < 1 || sizeArgIndex > argumentsMax))
    issues.push(['sizeArgIndex', `is ${sizeArgIndex}: it counts the arguments from 1 to ${argumentsMax}`]);
  if (type === 'iov_iter') {
    if (sizeArgIndex !== undefined)
      issues.push(['sizeArgIndex', 'iov_iter has no use for it: it knows its bytes itself']);
    if (returnCopy === true)
      issues.push(['returnCopy', 'iov_iter is used up when the call returns: leave it out']);
    return issues;
  }
  if (returnCopy === true && !returns)
    issues.push(['returnCopy', 'reads at the return of the call: write return: true and returnArg too']);
  if (sizeArgIndex === undefined && (returnCopy !== true || type === 'char_iovec')) {
    const what = type === 'char_iovec' ? 'how many pieces there are' : 'how many bytes there are';
    issues.push(['sizeArgIndex', `is missing: it says which argument, counted from 1, tells ${what}`]);
  }
  return issues;
}
