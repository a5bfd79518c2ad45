// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { PolicyError } from '../error.js';
import { parsePolicies } from '../parse.js';
import { plan } from '../plan.js';
import { type CallArgument, type DescribedCall, referenceHits } from '../reference.js';
import { interpretPlan } from '../testing/interpret.js';
import { Random } from '../testing/random.js';
import { validate } from '../validate.js';
import { compileCel } from './compile.js';

/** One policy on sys_prctl, whose first arguments are of the given types. */
function policiesOf(types: readonly string[], ...expressions: string[]) {
  const args = types.map((type, index) => `    - {index: ${index}, type: ${type}}`).join('\n');
  return parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: p}
spec:
  kprobes:
  - call: sys_prctl
    args:
${args}
    selectors:
    - matchArgs:
      - {operator: CelExpr, values: ${JSON.stringify(expressions)}}
`);
}

function callOf(values: readonly (bigint | string)[]): DescribedCall {
  return {
    symbol: '__x64_sys_prctl',
    arguments: values.map(
      (value): CallArgument =>
        typeof value === 'bigint' ? { integer: value } : { bytes: new TextEncoder().encode(value) },
    ),
    process: { binary: new Uint8Array(), namespaces: [] },
    hostNamespaces: [],
  };
}

/** Which of some calls an expression holds for, by its plan; the reference matcher has to agree. */
function held(
  types: readonly string[],
  expression: string,
  calls: readonly (readonly (bigint | string)[])[],
) {
  const policies = policiesOf(types, expression).map((policy) => ({ id: 1, policy }));
  const planned = plan(policies);
  return calls.filter((values) => {
    const call = callOf(values);
    const hits = interpretPlan(planned, call);
    expect(hits, `${expression} of ${values.join(', ')}`).toEqual(referenceHits(policies, call));
    return hits.length > 0;
  });
}

const edges = [0n, 1n, 2n, 5n, 9n, 10n, 15n, 127n, 128n, 255n, 2n ** 31n - 1n, -(2n ** 31n), -1n, -2n, -10n];
const wide = [...edges, 2n ** 32n - 1n, 2n ** 32n, 2n ** 63n - 1n, -(2n ** 63n)];

describe('an expression', () => {
  it('agrees with its plain meaning at the edges of its types', () => {
    const numbers = ['int', 'uint32', 'int8', 'uint64', 'long'];
    const expressions = (type: string) => {
      const u = /^u/.test(type) ? 'u' : '';
      return [
        `arg0 == 10${u} || arg0 > 100${u} && arg0 != 127${u}`,
        `!(arg0 < 10${u}) && arg0 <= 127${u}`,
        `arg0 + 10${u} < 12${u}`,
        `5${u} - arg0 >= 1${u}`,
        `arg0 in [1, 2, 127] || arg0 + 1 == 0`,
        `math.bitAnd(arg0, 6) == 4 || math.bitAnd(arg0, 9) == 9`,
        `math.bitAnd(arg0, 6) != 4`,
        `math.bitAnd(arg0, 6) == 0`,
        `math.bitNot(arg0) > 4${u}`,
        `(arg0 == 1) == (arg0 < 5)`,
        `(arg0 == 1) != (arg0 < 5)`,
        `arg0 * 3 == 30${u}`,
        `arg0 * 6 == 30${u} || arg0 * 4 == 4${u}`,
        `arg0 * 7 + 1 > 100${u}`,
        `5${u} - arg0 * 2 < 4${u}`,
        `arg0 / 2 == 5${u}`,
        `10${u} - arg0 / 3 <= 9${u}`,
        `arg0 / 5 * 5 == 10${u}`,
        `arg0 == (arg0 > 9${u} ? 10${u} : 2${u})`,
        `arg0 < 9${u} ? arg0 in [1, 2] : arg0 > 100${u}`,
        ...(u === '' ? ['arg0 / -3 >= 1', 'arg0 * -1 > 5', '-(arg0 / 2) == 5', 'arg0 / -1 < 0'] : []),
        ...(u === '' ? [] : ['arg0 % 8u == 7u']),
      ];
    };
    for (const type of numbers) {
      for (const expression of expressions(type)) {
        const some = held(
          [type],
          expression,
          wide.map((value) => [value]),
        ).length;
        expect(some, `${expression} of ${type}`).toBeGreaterThan(0);
        expect(some, `${expression} of ${type}`).toBeLessThan(wide.length);
      }
    }
  });

  it('agrees with its plain meaning for every number of eight bits', () => {
    const random = new Random(7);
    for (const type of ['int8', 'uint8']) {
      const isSigned = type === 'int8';
      const all = Array.from({ length: 256 }, (_, n) => [isSigned ? BigInt.asIntN(8, BigInt(n)) : BigInt(n)]);
      const constant = () => (isSigned ? random.below(256) - 128 : random.below(256));
      const divisor = () => constant() || 1;
      for (let round = 0; round < 60; round++) {
        const operation = random.pick([
          () => `arg0 * ${constant()}`,
          () => `arg0 / ${divisor()}`,
          () => `arg0 % ${divisor()}`,
          () => `(arg0 + ${constant()}) / ${divisor()} * ${constant()}`,
          () => `${constant()} - (arg0 * ${constant()} + ${constant()}) % ${divisor()}`,
          () => `(arg0 < ${constant()} ? arg0 : ${constant()}) % ${divisor()}`,
        ])();
        const expression = `${operation} ${random.pick(['==', '!=', '<', '<=', '>', '>='])} ${constant()}`;
        // All or none of the numbers is refused or warned of, and cannot be planned.
        const [policy] = policiesOf([type], expression);
        if (policy !== undefined && validate(policy).errors.length === 0) held([type], expression, all);
      }
    }
  });

  it('is refused where it would be asked too often, and does not hang', () => {
    for (const text of [
      `true${' == true'.repeat(300)}`,
      `arg0 == 0${' + (arg0 > 1 ? 1 : 2)'.repeat(30)}`,
      'arg0 * 65536 == 65536',
    ])
      expect(compileCel([text], [{ index: 0, type: 'int' }]), text).toMatchObject({
        error: expect.stringMatching(/comes to more than 4096/),
      });
  });

  it('compares two arguments, and their sum and difference, as numbers that wrap at their width', () => {
    const pairs = wide.flatMap((a) => wide.map((b) => [a, b]));
    for (const type of ['int', 'uint32', 'uint8', 'uint64', 'int64']) {
      for (const expression of [
        'arg0 == arg1',
        'arg0 != arg1',
        'arg0 < arg1',
        'arg1 <= arg0',
        'arg0 > arg1 || arg0 == 5',
        'arg0 - arg1 == 5',
        'arg1 - 3 == arg0 + 2',
        'arg0 + arg1 == 10',
        '!(arg0 + arg1 == 0)',
        'arg0 > arg1 && arg0 - arg1 != 1',
      ]) {
        const some = held([type, type], expression, pairs).length;
        expect(some, `${expression} of ${type}`).toBeGreaterThan(0);
        expect(some, `${expression} of ${type}`).toBeLessThan(pairs.length);
      }
    }
  });

  it('reads what other tools write: casts of constants, and sums of two arguments', () => {
    const calls = [
      [2000n, -1n],
      [1000n, -1n],
      [2000n, 0n],
    ];
    expect(held(['int', 'int'], 'arg1 == int32(-1) && arg0 >= int32(1024)', calls)).toEqual([[2000n, -1n]]);
    expect(held(['int', 'int'], 'arg1 == int32(4294967295)', calls)).toHaveLength(2);
    expect(held(['int', 'int'], 'arg0 - int32(10) == arg1 + int32(1991)', calls)).toEqual([[2000n, -1n]]);
    expect(held(['uint64', 'int'], 'arg0 == 2000u', calls)).toHaveLength(2);
  });

  it('asks of texts how they are, begin and end', () => {
    const calls = ['/etc/passwd', '/etc/passwd.conf', '/home/a.conf', "it's"].map((text) => [text]);
    expect(held(['string'], "arg0.startsWith('/etc/') && !arg0.endsWith('.conf')", calls)).toEqual([
      ['/etc/passwd'],
    ]);
    expect(held(['string'], String.raw`arg0 == "/etc\x2fpasswd" || arg0 == 'it\'s'`, calls)).toHaveLength(2);
    expect(held(['string'], "arg0.contains('c/p') && arg0.contains('.co')", calls)).toEqual([
      ['/etc/passwd.conf'],
    ]);
    expect(held(['string'], String.raw`arg0 in ['/home/\u0061.conf']`, calls)).toEqual([['/home/a.conf']]);
  });

  it('asks of texts how many bytes they have', () => {
    const calls = ['', 'a', 'ab', 'abc', 'ü', '/home/a.conf'].map((text) => [text]);
    const texts = (expression: string) => held(['string'], expression, calls).map(([text]) => text);
    expect(texts('size(arg0) == 2')).toEqual(['ab', 'ü']);
    expect(texts('arg0.size() != 0 && arg0.size() < 3')).toEqual(['a', 'ab', 'ü']);
    expect(texts("size(arg0) - 1 >= size('ab') || arg0 == 'a'")).toEqual(['a', 'abc', '/home/a.conf']);
    expect(texts('!(size(arg0) * 2 > 4) && size(arg0) != 1')).toEqual(['', 'ab', 'ü']);
  });

  it('asks of texts whether they match patterns that are made of beginnings, ends and texts anywhere', () => {
    const lines = [
      '',
      'a',
      '/etc',
      '/etc/a.conf',
      '/etc/x',
      '/a.conf',
      '/var/etc/a',
      'aXb',
      'ab',
      'a.b',
      '.conf',
      'ünd',
      'a\nb',
    ];
    for (const pattern of [
      '^/etc/',
      '^/etc/.*$',
      String.raw`^/etc/.*\.conf$`,
      String.raw`\.conf$`,
      'etc',
      '^(/etc|/var)/',
      '^(?:a|/etc)$',
      '^a.*b$',
      '^ab.*b$',
      String.raw`^a\.b|^ünd$`,
      '^$',
      '^.*etc.*$',
      '.*nd',
      '(a|b)(X|n)',
    ]) {
      const calls = lines.map((text) => [text]);
      for (const expression of [
        `arg0.matches(r'${pattern}') && size(arg0) < 90`,
        `!arg0.matches(r'${pattern}')`,
      ]) {
        const compiled = compileCel([expression], [{ index: 0, type: 'string' }]);
        if (expression.startsWith('!') && 'error' in compiled)
          expect(compiled.error).toMatch(/does not contain/);
        else held(['string'], expression, calls);
      }
    }
    const some = lines.filter((text) => /^\/etc\/.*\.conf$/s.test(text)).map((text) => [text]);
    expect(
      held(
        ['string'],
        String.raw`arg0.matches(r'^/etc/.*\.conf$')`,
        lines.map((text) => [text]),
      ),
    ).toEqual(some);
  });

  it('takes one place on its hook where one look-up of each argument tells it', () => {
    const args = [
      { index: 0, type: 'int' },
      { index: 1, type: 'string' },
    ];
    const alternatives = (...expressions: string[]) => {
      const compiled = compileCel(expressions, args);
      return 'error' in compiled ? compiled.error : compiled.length;
    };
    expect(alternatives('arg0 == 1 || arg0 > 5 || arg0 in [3, 4]')).toBe(1);
    expect(alternatives("arg1 == '/a' || arg1 == '/b'")).toBe(1);
    expect(alternatives("(arg0 == 1 || arg1 == '/a') && (arg0 == 1 || arg1 == '/b')")).toBe(1);
    expect(alternatives("arg0 == 1 || arg1 == '/a'")).toBe(2);
    expect(alternatives('arg0 == 1', 'arg0 == 2')).toBe(1);
    const many = Array.from({ length: 33 }, (_, n) => `arg0 == ${n} && arg1 == '/${n}'`).join(' || ');
    expect(alternatives(many)).toMatch(/comes to more than 32 alternatives/);
  });

  const refused: readonly [expression: string, message: RegExp][] = [
    ['', /is empty/],
    ['arg0 ==', /column 8: the end stands where a value is wanted/],
    ['arg0 = 1', /column 6: "= 1" cannot be read/],
    ['arg0', /column 1: a condition is wanted, not a value/],
    ['arg3 == 1', /column 1: there is no arg3: the hook has args up to arg2/],
    ['arg0 == 5u', /column 6: 5u meets int, which has a sign/],
    ['arg0 == 2147483648', /column 6: 2147483648 does not fit int, which takes/],
    ['arg0 == uint32(5u)', /column 6: int meets uint32: both have to be of one type/],
    ['arg0 == int64(5)', /int meets int64/],
    ['int64(arg0) == 5', /column 1: an argument is not brought from int to int64/],
    ['arg0 * arg1 == 4', /column 6: \* takes a number and a constant/],
    ['arg0 / 0 == 4', /column 6: \/ by 0/],
    ['arg0 / 2 == arg1', /column 10: .* is compared with a constant only/],
    ['arg0 ? true : false', /column 1: a condition is wanted, not a value/],
    ['arg0 == 1 ? true', /column 17: the end stands where : is wanted/],
    ['arg0 + arg0 + arg1 == 4', /column 20: more than two arguments meet here, or one of two several times/],
    ['arg0 + 1 < arg1', /column 10: < compares two arguments as they are only/],
    ["!arg2.contains('x')", /column 7: that a text does not contain another has no look-up/],
    ["arg2.matches('a.c')", /column 14: the pattern has a \. without its \*/],
    ["arg2.matches('[ab]')", /column 14: the pattern has \[/],
    ["arg2.matches('ab+')", /column 14: the pattern has \+/],
    ["arg2.matches('(ab')", /column 14: the pattern has a \( without its \)/],
    ["arg2.matches('ab)')", /column 14: the pattern has \)/],
    ["arg2.matches('a^b')", /column 14: the pattern has \^ or \$ inside/],
    ["arg2.matches('a.*b')", /column 14: the pattern has texts that follow each other/],
    [
      "arg2.matches('(a|b)(a|b)(a|b)(a|b)(a|b)(a|b)')",
      /column 14: the pattern has more than 32 alternatives/,
    ],
    ['size(arg0) == 3', /column 1: size is asked of an argument that is a text or a path/],
    ["arg2 < 'x'", /column 6: < of texts has no look-up/],
    ["arg0 == 'x'", /column 6: a text meets a number/],
    ['arg0.pid == 1', /column 6: fields are not read: resolve/],
    ['fd == 1', /column 1: fd is no name that is known/],
    ["arg2 == ''", /is empty: it would match everything/],
    ['arg0 < 1 && arg0 > 2', /holds for no call/],
    ['math.bitAnd(arg0, 511) == 511', /asks for 9 bits to be set/],
    [`${'('.repeat(100)}true${')'.repeat(100)}`, /nested more than 64 deep/],
    [`${'1==1||'.repeat(400)}true`, /more than 1024 words and signs/],
    [String.raw`arg2 == '\q'`, /column 9: the text has \\q/],
  ];
  it('is refused with its column where it cannot be asked', () => {
    for (const [expression, message] of refused) {
      const [policy] = policiesOf(['int', 'int', 'string'], expression);
      if (policy === undefined) throw new Error('no policy');
      const [issue] = validate(policy).errors;
      expect(issue?.path, expression).toBe('spec.kprobes[0].selectors[0].matchArgs[0].values[0]');
      expect(issue?.message, expression).toMatch(message);
      expect(() => plan([{ id: 1, policy }]), expression).toThrow(PolicyError);
    }
  });

  it('is an expression or refused in words, however its text is bent', () => {
    const args = ['int', 'uint64', 'string', 'file', 'sock'].map((type, index) => ({ index, type }));
    const words = [
      ...[
        'arg0',
        'arg1',
        'arg2',
        'arg3',
        'arg4',
        'arg99',
        '0',
        '1',
        '5u',
        '-1',
        '0xffffffffffffffff',
        "'/etc'",
        'true',
      ],
      ...[
        '==',
        '!=',
        '<',
        '<=',
        '>',
        '>=',
        '&&',
        '||',
        '!',
        '+',
        '-',
        '*',
        '/',
        '%',
        '?',
        ':',
        '(',
        ')',
        '[',
        ']',
        ',',
        ' in ',
        '.',
      ],
      ...[
        'startsWith(',
        'endsWith(',
        'math.bitAnd(',
        'math.bitNot(',
        'int32(',
        'uint8(',
        'size(',
        'matches(',
        'math',
        "'",
        '\\',
      ],
    ];
    const whole = [
      'arg0 == 1 || arg0 > 5 && arg1 in [1, 2u]',
      "arg2.startsWith('/etc/') && !(arg3.endsWith('x') || math.bitAnd(arg0, 6) != 4)",
      'arg0 - int32(4) == 5 - arg0 && (arg1 < 3u) == (arg0 >= 0)',
    ];
    const random = new Random(20_262);
    let compiled = 0;
    for (let round = 0; round < 20_000; round++) {
      let text = random.chance(30) ? '' : random.pick(whole);
      for (let n = 1 + random.below(text === '' ? 9 : 3); n > 0; n--) {
        const at = random.below(text.length + 1);
        text = `${text.slice(0, at)}${random.pick(words)}${text.slice(at + random.below(6))}`;
      }
      const result = compileCel([text], args);
      if ('error' in result) expect(result.error, text).toMatch(/^(column \d+: |comes to )/);
      else compiled++;
    }
    expect(compiled).toBeGreaterThan(100);
  });

  it('waits for the types of the kernel where an argument is auto', () => {
    const issuesOf = (hook: string) => {
      const [policy] = parsePolicies(
        `apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {name: p}\nspec: {${hook}, args: [{index: 5, type: auto}], selectors: [{matchArgs: [{operator: CelExpr, values: ["arg0 == 1"]}]}]}]}`,
      );
      if (policy === undefined) throw new Error('no policy');
      expect(validate(policy).errors).toEqual([]);
      try {
        plan([{ id: 1, policy }]);
      } catch (error) {
        return (error as PolicyError).issues.map(({ path }) => path);
      }
      return [];
    };
    expect(issuesOf('kprobes: [{call: vfs_open, syscall: false')).toEqual(['spec.kprobes[0].args[0].type']);
    expect(issuesOf('tracepoints: [{subsystem: sched, event: sched_switch')).toEqual([
      'spec.tracepoints[0].args[0].type',
    ]);
  });

  it('is not asked of data or of what a call returns', () => {
    const [policy] = parsePolicies(`apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata: {name: p}
spec:
  kprobes:
  - call: sys_prctl
    return: true
    returnArg: {index: 0, type: int}
    selectors:
    - matchReturnArgs: [{index: 0, operator: CelExpr, values: ["arg0 == 0"]}]
`);
    const { errors } = validate(policy as NonNullable<typeof policy>);
    expect(errors.map(({ path }) => path)).toEqual([
      'spec.kprobes[0].selectors[0].matchReturnArgs[0].operator',
    ]);
  });
});
