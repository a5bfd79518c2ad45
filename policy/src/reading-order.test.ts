// SPDX-License-Identifier: Apache-2.0
import { ArgumentType } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { inReadingOrder } from './reading-order.js';

/** Types of a hook's arguments in the order in which they are read, and what of them is looked at and shown. */
function readingOf(args: string, matchArgs: string) {
  const text = `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: p}
spec:
  kprobes: [{call: security_thing, syscall: false, args: [${args}], selectors: [{matchArgs: [${matchArgs}]}]}]`;
  const [hook] = plan(parsePolicies(text).map((policy) => ({ id: 1, policy }))).hooks;
  if (hook === undefined) throw new Error('no hook');
  const typeAt = (position: number) => hook.arguments[position]?.type;
  return {
    types: hook.arguments.map(({ type }) => type),
    shown: hook.selectors[0]?.shownArguments.map(typeAt),
    lookedAt: hook.dimensions.map(({ argument }) => typeAt(argument)),
    compared: hook.dimensions.map((dimension) =>
      'other' in dimension && dimension.other !== undefined ? typeAt(dimension.other) : undefined,
    ),
  };
}

describe('the order of arguments', () => {
  it('has numbers that decide first, then what else decides, then what is only shown', () => {
    const args =
      '{index: 0, type: path}, {index: 1, type: string}, {index: 2, type: int64}, {index: 3, type: uint32}';
    const { string, path, int64, uint32 } = ArgumentType;
    expect(
      readingOf(args, '{index: 1, operator: Equal, values: [x]}, {index: 3, operator: Equal, values: ["4"]}'),
    ).toEqual({
      types: [uint32, string, path, int64],
      shown: [path, string, int64, uint32],
      lookedAt: [string, uint32],
      compared: [undefined, undefined],
    });
  });

  it('is that of the policy where there is nothing to gain', () => {
    const { string, path } = ArgumentType;
    expect(
      readingOf(
        '{index: 0, type: path}, {index: 1, type: string}',
        '{index: 1, operator: Equal, values: [x]}, {index: 0, operator: Equal, values: ["/y"]}',
      ).types,
    ).toEqual([path, string]);
  });

  it('keeps the order of what look-ups compare, be it quick to read or not', () => {
    const { uint64, capability, int64, string } = ArgumentType;
    const argument = (type: number, index: number) => ({ type, index, hidden: false });
    const compare = (position: number, other: number) => ({
      kind: 'integer' as const,
      argument: position,
      other,
      defaultMask: 0n,
      entries: [],
    });
    const [hook] = plan(
      parsePolicies(
        'apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {kprobes: [{call: security_thing, syscall: false}]}',
      ).map((policy) => ({ id: 1, policy })),
    ).hooks;
    if (hook === undefined) throw new Error('no hook');
    const {
      arguments: read,
      dimensions,
      selectors,
    } = inReadingOrder({
      ...hook,
      arguments: [string, capability, uint64, int64, uint64].map(argument),
      dimensions: [compare(2, 1), compare(3, 2), compare(4, 4)],
      selectors: hook.selectors.map((selector) => ({
        ...selector,
        sockets: { track: 0 },
        returnSockets: { untrack: 4 },
      })),
    });
    expect(selectors.map(({ sockets, returnSockets }) => [sockets, returnSockets])).toEqual([
      [{ track: 4 }, { untrack: 0 }],
    ]);
    expect(read.map(({ index }) => index)).toEqual([4, 1, 2, 3, 0]);
    expect(dimensions).toEqual([compare(2, 1), compare(3, 2), compare(0, 0)]);
  });

  it('reads what a look-up compares with before what it compares', () => {
    const { capPermitted, capEffective, string } = ArgumentType;
    const { types, compared, lookedAt } = readingOf(
      '{index: 0, type: string}, {index: 1, type: cap_permitted}, {index: 2, type: cap_effective}',
      '{index: 2, operator: CapabilitiesGained, values: ["1"]}',
    );
    expect(types).toEqual([capPermitted, capEffective, string]);
    expect([lookedAt, compared]).toEqual([[capEffective], [capPermitted]]);
  });
});
