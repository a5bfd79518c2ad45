// SPDX-License-Identifier: Apache-2.0
// Owns the terms over what kernel objects are: a file's type, the family of an address, capabilities that one set has and
// another has not. And what of a hook such an argument takes besides its own parameter.
import { ArgumentPart } from '@weir/schema';
import { fileTypeNumber } from './file-types.js';
import { typeInfo } from './names.js';
import type { ResolvedCall } from './places.js';
import type { Argument, ArgumentTerm } from './shape.js';
import { socketNumber } from './socket-names.js';
import type { IntegerTerm } from './terms.js';
import { parseInteger } from './values.js';

export function fileTypeTerm(term: ArgumentTerm, argument: number, path: string): IntegerTerm {
  const values = term.values.map((value) => {
    const number = fileTypeNumber(value);
    if (number === undefined) throw new TypeError(`${path}: validation let it pass`);
    return number;
  });
  const negated = term.operator.startsWith('Not');
  return { kind: 'integer', argument, part: ArgumentPart.fileType, negated, values, path };
}

/** Of the address of a Unix socket the family is the value: its text is that of AF_UNIX alone. */
export function unixFamilyTerm(term: ArgumentTerm, argument: number, path: string): IntegerTerm {
  const values = term.values.map((value) => {
    const number = parseInteger(value) ?? socketNumber('Family', value);
    if (number === undefined) throw new TypeError(`${path}: validation let it pass`);
    return number;
  });
  return { kind: 'integer', argument, negated: false, values, path };
}

/** Whether the parameter behind an address is its size, as where a socket is bound, connected, or sent through. */
export function sizeFollows(call: ResolvedCall): boolean {
  return /(^|_)(bind|connect)($|_)|^unix_(stream|dgram)_connect$|^__x64_sys_sendto$/.test(call.meaning);
}

function isCapabilitySet(argument: Argument | undefined): boolean {
  const family = typeInfo(argument?.type ?? '')?.family;
  return family === 'capabilities' || family === 'credentials';
}

/**
 * The position in `args` of the argument with the new capabilities, which the value of CapabilitiesGained names as an
 * index does: the term itself names the one with the old capabilities. Else what is wrong.
 */
export function gainedArgument(term: ArgumentTerm, args: readonly Argument[], old: number): number | string {
  const [value = '', ...others] = term.values;
  const number = parseInteger(value);
  if (number === undefined || others.length > 0) {
    return 'CapabilitiesGained wants one value: the index of the argument with the new capabilities (the term itself names that with the old ones)';
  }
  const byIndex = args.findIndex(({ index }) => BigInt(index) === number);
  const position = byIndex >= 0 ? byIndex : Number(number);
  const sets = args.flatMap((argument, at) =>
    at !== old && isCapabilitySet(argument) ? [argument.index] : [],
  );
  if (position === old || !isCapabilitySet(args[position])) {
    return sets.length === 0
      ? 'the hook has no second argument with capabilities: kernel_cap_t, cap_inheritable, cap_permitted, cap_effective or cred'
      : `argument ${value} is no other set of capabilities: ${sets.join(', ')} would be one`;
  }
  return position;
}

/** The new set has something that the old one has not. Asked where the second of the two has been read. */
export function gainedTerm(oldSlot: number, newSlot: number, path: string): IntegerTerm {
  const isNewLast = newSlot > oldSlot;
  return {
    kind: 'integer',
    argument: Math.max(oldSlot, newSlot),
    part: isNewLast ? ArgumentPart.capabilitiesMore : ArgumentPart.capabilitiesLess,
    other: Math.min(oldSlot, newSlot),
    negated: true,
    values: [0n],
    path,
  };
}
