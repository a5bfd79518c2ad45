// SPDX-License-Identifier: Apache-2.0
// Arguments that are buffers: how they are planned, and what of them is refused.
import { ArgumentPart, ArgumentType } from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { parsePolicies } from './parse.js';
import { plan } from './plan.js';
import { unsupported } from './support.js';
import { validate } from './validate.js';

function policyOf(argument: object, more: object = {}, operator = 'Equal', value = 'ab') {
  const [policy] = parsePolicies(
    JSON.stringify({
      apiVersion: 'cilium.io/v1alpha1',
      kind: 'TracingPolicy',
      metadata: { name: 'buffers' },
      spec: {
        kprobes: [
          {
            call: 'sys_read',
            args: [{ index: 1, ...argument }],
            selectors: [{ matchArgs: [{ index: 1, operator, values: [value] }] }],
            ...more,
          },
        ],
      },
    }),
  );
  if (policy === undefined) throw new Error('no policy');
  return policy;
}

const returns = { return: true, returnArg: { index: 0, type: 'int' } };

function errorsOf(argument: object, more: object = {}) {
  return validate(policyOf(argument, more)).errors.map(({ path, message }) => `${path}: ${message}`);
}

describe('buffers', () => {
  it('are equal by their number of bytes and these, and alike by the bytes alone', () => {
    const argument = { type: 'char_buf', sizeArgIndex: 3 };
    const [equal] = plan([{ id: 1, policy: policyOf(argument) }]).hooks;
    expect(equal?.arguments).toEqual([
      {
        type: ArgumentType.charBuf,
        index: 1,
        hidden: false,
        buffer: { sizeIndex: 2, copied: false, narrow: false },
      },
    ]);
    expect(equal?.dimensions[0]).toMatchObject({
      kind: 'forward',
      part: ArgumentPart.sized,
      entries: [{ key: Uint8Array.of(0, 2, 97, 98), exact: false }],
    });
    const [prefix] = plan([{ id: 1, policy: policyOf(argument, {}, 'Prefix') }]).hooks;
    expect(prefix?.dimensions[0]).not.toHaveProperty('part');
  });

  it('that are read at the return are other arguments than those of the entry', () => {
    const copied = policyOf({ type: 'char_buf', returnCopy: true }, returns);
    const { hooks } = plan([
      { id: 1, policy: policyOf({ type: 'char_buf', sizeArgIndex: 3 }) },
      { id: 2, policy: copied },
    ]);
    expect(hooks[0]?.arguments.map(({ buffer }) => buffer)).toEqual([
      { sizeIndex: 2, copied: false, narrow: false },
      { copied: true, narrow: true },
      undefined,
    ]);
  });

  it('are told of as a whole where that is asked for, beside what others ask', () => {
    const whole = policyOf({ type: 'char_buf', sizeArgIndex: 3, maxData: true });
    const { hooks } = plan([
      { id: 1, policy: whole },
      { id: 2, policy: policyOf({ type: 'char_buf', sizeArgIndex: 3 }) },
    ]);
    expect(hooks[0]?.arguments.map(({ buffer }) => buffer)).toEqual([
      { sizeIndex: 2, copied: false, narrow: false, whole: true },
      { sizeIndex: 2, copied: false, narrow: false },
    ]);
    const { warnings } = validate(policyOf({ type: 'string', maxData: true }));
    expect(warnings.map(({ path }) => path)).toContain('spec.kprobes[0].args[0].maxData');
  });

  it('want to know how many bytes they have', () => {
    expect(errorsOf({ type: 'char_buf' })).toEqual([
      expect.stringMatching(/args\[0\]\.sizeArgIndex: is missing: .* how many bytes/),
    ]);
    expect(errorsOf({ type: 'char_iovec', returnCopy: true }, returns)).toEqual([
      expect.stringMatching(/args\[0\]\.sizeArgIndex: is missing: .* how many pieces/),
    ]);
    expect(errorsOf({ type: 'char_buf', returnCopy: true }, { call: 'vfs_read', syscall: false })).toEqual([
      expect.stringMatching(/args\[0\]\.returnCopy: reads at the return of the call: write return: true/),
    ]);
    expect(errorsOf({ type: 'string', sizeArgIndex: 3 })).toEqual([
      expect.stringMatching(/args\[0\]\.sizeArgIndex: string has no use for it/),
    ]);
    expect(errorsOf({ type: 'char_buf', sizeArgIndex: 7 })).toEqual([
      expect.stringMatching(/args\[0\]\.sizeArgIndex: is 7: it counts the arguments from 1 to 6/),
    ]);
    expect(
      errorsOf(
        { type: 'char_buf', sizeArgIndex: 3 },
        { return: true, returnArg: { index: 0, type: 'char_buf' } },
      ),
    ).toEqual([expect.stringMatching(/returnArg\.type: char_buf: nothing says how many bytes/)]);
  });

  it('take values as long as what is read of them', () => {
    const argument = { type: 'char_buf', sizeArgIndex: 3 };
    const refused = (operator: string, bytes: number) =>
      unsupported(policyOf(argument, {}, operator, 'x'.repeat(bytes))).length > 0;
    for (const operator of ['Equal', 'Prefix', 'Postfix', 'SubString'])
      expect([refused(operator, 4095), refused(operator, 4096)]).toEqual([false, true]);
  });
});
