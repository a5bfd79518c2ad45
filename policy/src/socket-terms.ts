// SPDX-License-Identifier: Apache-2.0
// Owns the terms over parts of a socket, or of an address by itself.
import { ArgumentPart, ArgumentType } from '@weir/schema';
import { parseNetwork } from './addresses.js';
import type { ArgumentTerm } from './shape.js';
import { socketNumber } from './socket-names.js';
import type { Term } from './terms.js';
import { orderKey, parseInteger, parseRange } from './values.js';

const privilegedPorts: readonly [bigint, bigint] = [0n, 1023n];

/** A term over a part of a socket. An address by itself has one end only: it is meant, whichever the operator names. */
export function socketTerm(
  term: ArgumentTerm,
  typeName: string,
  ownAddress: boolean,
  argument: number,
  path: string,
): Term {
  const negated = term.operator.startsWith('Not');
  const operator = negated ? term.operator.slice('Not'.length) : term.operator;
  const isSource = typeName === 'sockaddr' ? ownAddress : operator.startsWith('S');
  const impossible = () => new TypeError(`${path}: validation let it pass`);
  if (/Addr$/.test(operator)) {
    const part = isSource ? ArgumentPart.sourceAddress : ArgumentPart.destinationAddress;
    const values = term.values.map((value) => {
      const network = parseNetwork(value);
      if (network === undefined) throw impossible();
      return network;
    });
    return { kind: 'address', argument, part, negated, values, path };
  }
  if (/Port(Priv)?$/.test(operator)) {
    const part = isSource ? ArgumentPart.sourcePort : ArgumentPart.destinationPort;
    const ranges = operator.endsWith('Priv')
      ? [privilegedPorts]
      : term.values.map((value) => {
          const port = parseInteger(value);
          const range = port === undefined ? parseRange(value) : ([port, port] as const);
          if (range === undefined) throw impossible();
          return range;
        });
    const values = ranges.map(([low, high]): readonly [bigint, bigint] => [
      orderKey(low, ArgumentType.uint16),
      orderKey(high, ArgumentType.uint16),
    ]);
    return { kind: 'range', argument, part, negated, values, path };
  }
  const part = { Protocol: ArgumentPart.protocol, Family: ArgumentPart.family, State: ArgumentPart.state }[
    operator
  ];
  if (part === undefined) throw impossible();
  const values = term.values.map((value) => {
    const number = parseInteger(value) ?? socketNumber(operator, value);
    if (number === undefined) throw impossible();
    return number;
  });
  return { kind: 'integer', argument, part, negated, values, path };
}
