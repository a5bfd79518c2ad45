// SPDX-License-Identifier: Apache-2.0
// Owns what an expression means of the arguments of a hook: its types are checked, and it is brought to alternatives of
// questions that the kernel stage has look-ups for. What cannot be said so is refused with its column and the reason.
//
// Numbers are as wide as their argument and wrap at its width, as they do in the kernel. A number without a cast takes
// the type of what it meets; `int32(...)` and its like cut a constant to their width.
import { type TypeFamily, type TypeInfo, typeInfo } from '../names.js';
import type { Argument } from '../shape.js';
import { toBytes } from '../values.js';
import {
  type Alternatives,
  type Atom,
  allOf,
  always,
  anyOf,
  complement,
  never,
  type Range,
  TooMuch,
  unite,
} from './alternatives.js';
import { choiceOf } from './choices.js';
import { CelError, type CelNode, parseCel } from './parse.js';
import { askedByPattern } from './pattern.js';
import { divided, multiplied, type NumberType, remaining, wholeOf, wrap } from './preimages.js';

const casts: Readonly<Record<string, NumberType>> = Object.fromEntries([
  ...[8, 16, 32, 64].flatMap((bits) => [
    [`int${bits}`, { name: `int${bits}`, bits, signed: true }],
    [`uint${bits}`, { name: `uint${bits}`, bits, signed: false }],
  ]),
  ['int', { name: 'int64', bits: 64, signed: true }],
  ['uint', { name: 'uint64', bits: 64, signed: false }],
]);

/** Numbers of bytes are as wide as numbers without a type. */
const lengthType: NumberType = { name: 'int64', bits: 64, signed: true };

/** Arguments with their coefficients, and a constant beside them. Without a type: a constant that takes any. */
interface Linear {
  readonly kind: 'linear';
  readonly type: NumberType | undefined;
  readonly unsigned: boolean;
  readonly coefficients: ReadonlyMap<number, bigint>;
  readonly constant: bigint;
}

/** A number that comes of one argument, told by which numbers of that lead into a range of it. */
interface Derived {
  readonly kind: 'derived';
  readonly type: NumberType;
  readonly position: number;
  readonly preimage: (range: Range) => readonly Range[];
  /** It comes of how many bytes the argument has, which is a text. */
  readonly ofLength?: true;
}

/** The bits of an argument that a constant has too. */
interface Masked {
  readonly kind: 'masked';
  readonly type: NumberType;
  readonly position: number;
  readonly bits: bigint;
}

type Value =
  | Linear
  | Masked
  | Derived
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'textArgument'; readonly position: number };

const comparisons = ['==', '!=', '<', '<=', '>', '>='] as const;
type Comparison = (typeof comparisons)[number];
const opposites = { '==': '!=', '!=': '==', '<': '>=', '<=': '>', '>': '<=', '>=': '<' } as const;
const mirrors = { '==': '==', '!=': '!=', '<': '>', '<=': '>=', '>': '<', '>=': '<=' } as const;

type TextOperator = 'Prefix' | 'Postfix' | 'SubString';
const textMethods: Readonly<Record<string, TextOperator>> = {
  startsWith: 'Prefix',
  endsWith: 'Postfix',
  contains: 'SubString',
};

/** Conditions that are looked at: what stands in an expression once can be asked many times. */
const conditionsMax = 4096;

/** Terms that a bit test may come to: each takes a look-up. */
const bitTermsMax = 8;

function holds(operator: Comparison, left: bigint, right: bigint): boolean {
  switch (operator) {
    case '==':
      return left === right;
    case '!=':
      return left !== right;
    case '<':
      return left < right;
    case '<=':
      return left <= right;
    case '>':
      return left > right;
    case '>=':
      return left >= right;
  }
}

/** The type that numbers of an argument have; undefined where it is none. */
function numberType({ family, bits, signed }: TypeInfo, name: string): NumberType | undefined {
  if (family === 'integer') return { name, bits, signed };
  return family === 'capabilities' ? { name, bits: 64, signed: false } : undefined;
}

/** A number in which no argument takes part; undefined where it is none. */
function constantOf(value: Value): Linear | undefined {
  return value.kind === 'linear' && value.coefficients.size === 0 ? value : undefined;
}

class Compiler {
  readonly #args: readonly Argument[];
  #conditions = 0;

  constructor(args: readonly Argument[]) {
    this.#args = args;
  }

  /** What a condition comes to; negated, what its opposite does. */
  condition(node: CelNode, negated: boolean): Alternatives {
    if (++this.#conditions > conditionsMax)
      throw new TooMuch(`comes to more than ${conditionsMax} conditions, written out`);
    if (node.kind === 'bool') return node.value !== negated ? always : never;
    if (node.kind !== 'call') throw new CelError(node.column, 'a condition is wanted, not a value');
    const { name, operands, column } = node;
    if (name === '!') return this.condition(this.#operand(node, 0), !negated);
    if (name === '&&' || name === '||') {
      const sides = operands.map((operand) => this.condition(operand, negated));
      return (name === '&&') === negated ? anyOf(sides) : allOf(sides);
    }
    if (name === '?') {
      const [asked, either, other] = [this.#operand(node, 0), this.#operand(node, 1), this.#operand(node, 2)];
      return this.#chosen(asked, either, other, negated);
    }
    if (name === '==' || name === '!=') {
      if (isCondition(this.#operand(node, 0)) || isCondition(this.#operand(node, 1)))
        return this.#sameTruth(node, (name === '==') === negated);
    }
    const choice = choiceOf(node);
    if (choice !== undefined) return this.#chosen(choice.condition, choice.either, choice.other, negated);
    if (name === 'in') return this.#within(node, negated);
    if (name === 'matches') return this.#matches(node, negated);
    const method = Object.hasOwn(textMethods, name) ? textMethods[name] : undefined;
    if (method !== undefined) return this.#method(node, method, negated);
    const operator = comparisons.find((sign) => sign === name);
    if (operator === undefined)
      throw new CelError(column, `${spelled(name)} gives no condition that the kernel stage can ask`);
    const [left, right] = [this.#value(this.#operand(node, 0)), this.#value(this.#operand(node, 1))];
    return this.#compare(negated ? opposites[operator] : operator, left, right, column);
  }

  #operand(node: CelNode & { kind: 'call' }, number: number): CelNode {
    const operand = node.operands[number];
    if (operand === undefined)
      throw new CelError(node.column, `${spelled(node.name)} wants more than ${number} values`);
    return operand;
  }

  #chosen(condition: CelNode, either: CelNode, other: CelNode, negated: boolean): Alternatives {
    return anyOf([
      allOf([this.condition(condition, false), this.condition(either, negated)]),
      allOf([this.condition(condition, true), this.condition(other, negated)]),
    ]);
  }

  /** Two conditions that both hold, or neither; `differ`: one of them alone. */
  #sameTruth(node: CelNode & { kind: 'call' }, differ: boolean): Alternatives {
    const [left, right] = [this.#operand(node, 0), this.#operand(node, 1)];
    const one = (negated: boolean) =>
      allOf([this.condition(left, negated), this.condition(right, negated !== differ)]);
    return anyOf([one(false), one(true)]);
  }

  #within(node: CelNode & { kind: 'call' }, negated: boolean): Alternatives {
    const list = this.#operand(node, 1);
    if (list.kind !== 'list') throw new CelError(list.column, 'in wants a list such as [1, 2]');
    const left = this.#value(this.#operand(node, 0));
    const each = list.items.map((item) =>
      this.#compare(negated ? '!=' : '==', left, this.#value(item), item.column),
    );
    return negated ? allOf(each) : anyOf(each);
  }

  #method(node: CelNode & { kind: 'call' }, operator: TextOperator, negated: boolean): Alternatives {
    const asked = this.#value(this.#operand(node, 0));
    const given = this.#value(this.#operand(node, 1));
    if (asked.kind === 'text' && given.kind === 'text') {
      const { value } = given;
      const found = {
        Prefix: asked.value.startsWith(value),
        Postfix: asked.value.endsWith(value),
        SubString: asked.value.includes(value),
      }[operator];
      return found !== negated ? always : never;
    }
    if (asked.kind !== 'textArgument' || given.kind !== 'text')
      throw new CelError(
        node.column,
        `${node.name} is asked of an argument that is text, with a text to look for`,
      );
    if (operator === 'SubString' && negated)
      throw new CelError(node.column, 'that a text does not contain another has no look-up in the kernel');
    return [[{ kind: 'text', position: asked.position, operator, values: [given.value], negated }]];
  }

  /** A pattern that is made of beginnings, ends and texts anywhere is asked as these. */
  #matches(node: CelNode & { kind: 'call' }, negated: boolean): Alternatives {
    const [asked, pattern] = [this.#operand(node, 0), this.#operand(node, 1)];
    if (pattern.kind !== 'text')
      throw new CelError(pattern.column, 'matches wants a pattern that is written as a text');
    return this.condition(askedByPattern(asked, pattern), negated);
  }

  #length(node: CelNode & { kind: 'call' }): Value {
    const asked = this.#value(this.#operand(node, 0));
    if (asked.kind === 'text') return this.#literal(BigInt(toBytes(asked.value).length), false, node.column);
    const family = asked.kind === 'textArgument' ? this.#familyOf(asked.position) : undefined;
    if (asked.kind !== 'textArgument' || (family !== 'text' && family !== 'path'))
      throw new CelError(node.column, 'size is asked of an argument that is a text or a path');
    const { position } = asked;
    return { kind: 'derived', type: lengthType, position, ofLength: true, preimage: (range) => [range] };
  }

  #familyOf(position: number): TypeFamily | undefined {
    return typeInfo(this.#args[position]?.type ?? '')?.family;
  }

  #value(node: CelNode): Value {
    switch (node.kind) {
      case 'number':
        return this.#literal(node.value, node.unsigned, node.column);
      case 'text':
        return { kind: 'text', value: node.value };
      case 'argument':
        return this.#argument(node.position, node.column);
      case 'list':
        throw new CelError(node.column, 'a list stands behind in only');
      case 'bool':
        throw new CelError(node.column, 'a number or a text is wanted, not a condition');
      case 'call':
        return this.#call(node);
    }
  }

  #literal(value: bigint, unsigned: boolean, column: number): Linear {
    const [low, high] = wholeOf({ name: '', bits: 64, signed: !unsigned });
    if (value < low || value > high)
      throw new CelError(
        column,
        `${value} does not fit 64 bits${unsigned ? '' : ' with a sign: write a u behind it'}`,
      );
    return { kind: 'linear', type: undefined, unsigned, coefficients: new Map(), constant: value };
  }

  #argument(position: number, column: number): Value {
    const argument = this.#args[position];
    if (argument === undefined) {
      const has = this.#args.length === 0 ? 'no args' : `args up to arg${this.#args.length - 1}`;
      throw new CelError(column, `there is no arg${position}: the hook has ${has}`);
    }
    const info = typeInfo(argument.type);
    const type = info === undefined ? undefined : numberType(info, argument.type);
    if (type !== undefined) {
      const coefficients = new Map([[position, 1n]]);
      return { kind: 'linear', type, unsigned: !type.signed, coefficients, constant: 0n };
    }
    if (info !== undefined && ['text', 'path', 'unix', 'name'].includes(info.family))
      return { kind: 'textArgument', position };
    throw new CelError(
      column,
      `arg${position} is of the type ${argument.type}: expressions read numbers, texts and paths`,
    );
  }

  #call(node: CelNode & { kind: 'call' }): Value {
    const { name, operands, column } = node;
    const cast = Object.hasOwn(casts, name) ? casts[name] : undefined;
    if (cast !== undefined) return this.#cast(node, cast);
    if (name === 'negate')
      return this.#sum(this.#literal(0n, false, column), this.#value(this.#operand(node, 0)), -1n, column);
    if (name === '+' || name === '-') {
      const [left, right] = [this.#value(this.#operand(node, 0)), this.#value(this.#operand(node, 1))];
      return this.#sum(left, right, name === '+' ? 1n : -1n, column);
    }
    if (name === '*' || name === '/' || name === '%')
      return this.#product(
        name,
        this.#value(this.#operand(node, 0)),
        this.#value(this.#operand(node, 1)),
        column,
      );
    if (name === 'size' && operands.length === 1) return this.#length(node);
    if (name === 'math.bitAnd' && operands.length === 2) return this.#masked(node);
    if (name === 'math.bitNot' && operands.length === 1) return this.#turned(node);
    if (isCondition(node)) throw new CelError(column, 'a number or a text is wanted, not a condition');
    throw new CelError(
      column,
      `${spelled(name)} has no look-up in the kernel: there are comparisons, in, startsWith, endsWith, contains, matches, size, + - * / %, math.bitAnd, math.bitNot, and casts such as int32`,
    );
  }

  /** All bits of a number turned over: in two's complement that is -1 - number. */
  #turned(node: CelNode & { kind: 'call' }): Linear {
    const value = this.#value(this.#operand(node, 0));
    if (value.kind !== 'linear')
      throw new CelError(node.column, 'math.bitNot takes an argument or a constant');
    const { type, unsigned } = value;
    if (type === undefined && unsigned)
      throw new CelError(node.column, 'the width of the number is not known: write uint32(...) or its like');
    const constant = -1n - value.constant;
    return {
      ...value,
      coefficients: new Map([...value.coefficients].map(([position, factor]) => [position, -factor])),
      constant: type === undefined ? constant : wrap(constant, type),
    };
  }

  #cast(node: CelNode & { kind: 'call' }, type: NumberType): Value {
    const value = this.#value(this.#operand(node, 0));
    if (node.operands.length !== 1) throw new CelError(node.column, `${node.name} takes one value`);
    const constant = constantOf(value);
    if (constant !== undefined) {
      if (constant.type === undefined && constant.unsigned && type.signed)
        throw new CelError(node.column, `${node.name} takes a number with a sign: leave the u out`);
      return { ...constant, type, unsigned: !type.signed, constant: wrap(constant.constant, type) };
    }
    const own = 'type' in value ? value.type : undefined;
    if (own !== undefined && own.bits === type.bits && own.signed === type.signed) return value;
    throw new CelError(
      node.column,
      own === undefined
        ? `${node.name} takes a number`
        : `an argument is not brought from ${own.name} to ${type.name}: write ${type.name} as its type in args`,
    );
  }

  /** The type of two numbers that meet, which have to be of one. */
  #meet(left: Linear, right: Linear, column: number): NumberType | undefined {
    const type = left.type ?? right.type;
    if (left.type !== undefined && right.type !== undefined) {
      if (left.type.bits === right.type.bits && left.type.signed === right.type.signed) return left.type;
      throw new CelError(column, `${left.type.name} meets ${right.type.name}: both have to be of one type`);
    }
    if (type === undefined) {
      if (left.unsigned === right.unsigned) return undefined;
      throw new CelError(column, 'a number with a u behind it meets one without');
    }
    const free = left.type === undefined ? left : right;
    const [low, high] = wholeOf(type);
    if (free.unsigned && type.signed)
      throw new CelError(column, `${free.constant}u meets ${type.name}, which has a sign: leave the u out`);
    if (free.constant < low || free.constant > high)
      throw new CelError(column, `${free.constant} does not fit ${type.name}, which takes ${low} to ${high}`);
    return type;
  }

  #sum(left: Value, right: Value, sign: bigint, column: number): Linear | Derived {
    if (left.kind === 'derived' || right.kind === 'derived') return this.#moved(left, right, sign, column);
    return this.#linearSum(left, right, sign, column);
  }

  /** What a derived number and a constant add up to, or are apart. */
  #moved(left: Value, right: Value, sign: bigint, column: number): Derived {
    const [derived, constant] =
      left.kind === 'derived' ? [left, constantOf(right)] : [right, constantOf(left)];
    if (derived.kind !== 'derived' || constant === undefined)
      throw new CelError(column, 'a product, quotient or remainder and another argument are not added up');
    const { type, preimage } = derived;
    this.#meetConstant(derived, constant, column);
    const factor = derived === right ? sign : 1n;
    const added = derived === right ? constant.constant : sign * constant.constant;
    return { ...derived, preimage: (range) => multiplied(range, factor, added, type).flatMap(preimage) };
  }

  #linearSum(left: Value, right: Value, sign: bigint, column: number): Linear {
    if (left.kind !== 'linear' || right.kind !== 'linear')
      throw new CelError(column, 'only numbers are added up, and no result of math.bitAnd');
    const type = this.#meet(left, right, column);
    const coefficients = new Map(left.coefficients);
    for (const [position, factor] of right.coefficients) {
      const sum = (coefficients.get(position) ?? 0n) + sign * factor;
      if (sum === 0n) coefficients.delete(position);
      else coefficients.set(position, sum);
    }
    const unsigned = type === undefined ? left.unsigned : !type.signed;
    const constant = left.constant + sign * right.constant;
    if (type === undefined) return this.#literal(constant, unsigned, column);
    return { kind: 'linear', type, unsigned, coefficients, constant: wrap(constant, type) };
  }

  /** A number times, by or modulo a constant. */
  #product(name: '*' | '/' | '%', left: Value, right: Value, column: number): Value {
    const isTurned = name === '*' && constantOf(left) !== undefined;
    const [value, factor] = isTurned ? [right, constantOf(left)] : [left, constantOf(right)];
    if (factor === undefined || (value.kind !== 'linear' && value.kind !== 'derived'))
      throw new CelError(column, `${name} takes a number and a constant, and no result of math.bitAnd`);
    const { type, constant } = this.#meetConstant(value, factor, column);
    if (constant === 0n && name !== '*') throw new CelError(column, `${name} by 0`);
    if (value.kind === 'linear' && (name === '*' || value.coefficients.size === 0)) {
      const calculated = {
        '*': () => value.constant * constant,
        '/': () => value.constant / constant,
        '%': () => value.constant % constant,
      }[name]();
      const unsigned = type === undefined ? value.unsigned : !type.signed;
      if (type === undefined) return this.#literal(calculated, unsigned, column);
      const coefficients = new Map<number, bigint>();
      for (const [position, own] of value.coefficients) {
        const product = BigInt.asIntN(type.bits, own * constant);
        if (product !== 0n) coefficients.set(position, product);
      }
      return { kind: 'linear', type, unsigned, coefficients, constant: wrap(calculated, type) };
    }
    if (type === undefined) throw new TypeError('an argument without a type');
    if (name === '%' && value.kind === 'linear') {
      const bits = this.#lowBits(value, constant, type);
      if (bits !== undefined) return bits;
    }
    const derived = value.kind === 'derived' ? value : this.#derived(value, type, column);
    const sources: Record<typeof name, (range: Range) => readonly Range[]> = {
      '*': (range) => multiplied(range, constant, 0n, type),
      '/': (range) => (constant === -1n ? multiplied(range, -1n, 0n, type) : divided(range, constant, type)),
      '%': (range) => remaining(range, constant, type),
    };
    return { ...derived, preimage: (range) => sources[name](range).flatMap(derived.preimage) };
  }

  /** A remainder by a power of two as the low bits of an argument that it is, where there are too many ranges. */
  #lowBits(value: Linear, divisor: bigint, type: NumberType): Masked | undefined {
    const [[position, factor] = [0, 0n], ...others] = value.coefficients;
    const isPlain = others.length === 0 && factor === 1n && value.constant === 0n;
    if (!isPlain || type.signed || (divisor & (divisor - 1n)) !== 0n || type.bits <= 8) return undefined;
    return { kind: 'masked', type, position, bits: divisor - 1n };
  }

  #meetConstant(value: Linear | Derived, constant: Linear, column: number) {
    const free = value.kind === 'linear' ? value : { ...constant, type: value.type, constant: 0n };
    return { type: this.#meet(free, constant, column), constant: constant.constant };
  }

  /** A sum in which one argument takes part, as a number that comes of it. */
  #derived({ coefficients, constant }: Linear, type: NumberType, column: number): Derived {
    const [[position, factor] = [0, 0n], ...others] = coefficients;
    if (others.length > 0)
      throw new CelError(column, 'two arguments together are not multiplied, divided or compared by size');
    return {
      kind: 'derived',
      type,
      position,
      preimage: (range) => multiplied(range, factor, constant, type),
    };
  }

  #masked(node: CelNode & { kind: 'call' }): Value {
    const sides = [this.#value(this.#operand(node, 0)), this.#value(this.#operand(node, 1))];
    const constant = sides.map(constantOf).find((side) => side !== undefined);
    const other = sides.find((side) => side !== constant);
    if (constant === undefined || other?.kind !== 'linear')
      throw new CelError(node.column, 'math.bitAnd takes an argument and a constant');
    const type = this.#meet(constant, other, node.column);
    if (other.coefficients.size === 0) {
      const bits = constant.constant & other.constant;
      return { ...constant, type, constant: type === undefined ? bits : wrap(bits, type) };
    }
    const [position, factor] = [...other.coefficients][0] ?? [0, 0n];
    if (type === undefined || other.coefficients.size > 1 || factor !== 1n || other.constant !== 0n)
      throw new CelError(node.column, 'math.bitAnd takes an argument as it is, with nothing added');
    return { kind: 'masked', type, position, bits: BigInt.asUintN(type.bits, constant.constant) };
  }

  #compare(operator: Comparison, left: Value, right: Value, column: number): Alternatives {
    const isText = ({ kind }: Value) => kind === 'text' || kind === 'textArgument';
    if (isText(left) || isText(right)) return this.#compareTexts(operator, left, right, column);
    if (constantOf(left) !== undefined && constantOf(right) === undefined)
      return this.#compare(mirrors[operator], right, left, column);
    if (left.kind === 'masked') return this.#compareBits(operator, left, right, column);
    if (left.kind === 'derived') return this.#compareDerived(operator, left, right, column);
    if (left.kind !== 'linear' || right.kind !== 'linear')
      throw new CelError(
        column,
        'a result of math.bitAnd, a quotient or a remainder is compared with a constant only',
      );
    const type = this.#meet(left, right, column);
    if (type === undefined || (left.coefficients.size === 0 && right.coefficients.size === 0))
      return holds(operator, left.constant, right.constant) ? always : never;
    if (operator === '==' || operator === '!=')
      return this.#equal(operator === '!=', left, right, type, column);
    return this.#order(operator, left, right, type, column);
  }

  #compareDerived(operator: Comparison, left: Derived, right: Value, column: number): Alternatives {
    const constant = constantOf(right);
    if (constant === undefined)
      throw new CelError(column, 'a product, quotient or remainder is compared with a constant only');
    this.#meetConstant(left, constant, column);
    const ranges = heldRanges(operator, constant.constant, left.type);
    return numbers(left, ranges.flatMap(left.preimage));
  }

  #compareTexts(operator: Comparison, left: Value, right: Value, column: number): Alternatives {
    if (operator !== '==' && operator !== '!=')
      throw new CelError(
        column,
        `${operator} of texts has no look-up in the kernel: there are ==, != and in`,
      );
    const negated = operator === '!=';
    if (left.kind === 'text' && right.kind === 'text')
      return (left.value === right.value) !== negated ? always : never;
    const argument = [left, right].find((side) => side.kind === 'textArgument');
    const text = [left, right].find((side) => side.kind === 'text');
    if (argument?.kind !== 'textArgument' || text?.kind !== 'text')
      throw new CelError(
        column,
        argument === undefined || [left, right].some(({ kind }) => kind === 'linear')
          ? 'a text meets a number'
          : 'two arguments that are texts are not compared with each other in the kernel',
      );
    return [
      [{ kind: 'text', position: argument.position, operator: 'Equal', values: [text.value], negated }],
    ];
  }

  #compareBits(operator: Comparison, left: Masked, right: Value, column: number): Alternatives {
    const constant = constantOf(right);
    if (constant === undefined)
      throw new CelError(column, 'a result of math.bitAnd is compared with a constant only');
    if (operator !== '==' && operator !== '!=')
      throw new CelError(
        column,
        `${operator} of a result of math.bitAnd has no look-up: there are == and !=`,
      );
    const { position, type } = left;
    this.#meet(constant, { ...constant, type, constant: 0n }, column);
    const wanted = BigInt.asUintN(type.bits, constant.constant);
    const isEqual = operator === '==';
    if ((wanted & ~left.bits) !== 0n) return isEqual ? never : always;
    const set = Array.from({ length: type.bits }, (_, bit) => 1n << BigInt(bit)).filter(
      (bit) => wanted & bit,
    );
    if (set.length > bitTermsMax)
      throw new CelError(
        column,
        `asks for ${set.length} bits to be set, each of which takes a look-up: up to ${bitTermsMax} can be asked for`,
      );
    const unset = left.bits & ~wanted;
    const atoms: Atom[] = set.map((bits) => ({ kind: 'bits', position, bits, negated: !isEqual }));
    if (unset !== 0n) atoms.push({ kind: 'bits', position, bits: unset, negated: isEqual });
    return isEqual ? allOf(atoms.map((atom) => [[atom]])) : anyOf(atoms.map((atom) => [[atom]]));
  }

  /** Both sides are the same number of their width: what is left where one is taken from the other is 0. */
  #equal(negated: boolean, left: Linear, right: Linear, type: NumberType, column: number): Alternatives {
    const { coefficients, constant } = this.#linearSum(left, right, -1n, column);
    const terms = [...coefficients]
      .map(([position, factor]) => [position, BigInt.asIntN(type.bits, factor)] as const)
      .filter(([, factor]) => factor !== 0n)
      .sort(([a], [b]) => a - b);
    const [first, second, third] = terms;
    if (first === undefined) return (wrap(constant, type) === 0n) !== negated ? always : never;
    if (second === undefined) {
      const solved = multiplied([0n, 0n], first[1], constant, type);
      const position = first[0];
      return numbers({ position, type }, negated ? complement(solved, wholeOf(type)) : solved);
    }
    if (third !== undefined || terms.some(([, factor]) => factor !== 1n && factor !== -1n))
      throw new CelError(column, 'more than two arguments meet here, or one of two several times');
    // first + rest = 0, where first is made positive
    const rest = first[1] === 1n ? constant : -constant;
    const isSum = second[1] === first[1];
    const values = exactValues(-rest, type, isSum);
    const positions: readonly [number, number] = [first[0], second[0]];
    return [[{ kind: 'pair', of: isSum ? 'sum' : 'difference', positions, values, negated }]];
  }

  #order(
    operator: Exclude<Comparison, '==' | '!='>,
    left: Linear,
    right: Linear,
    type: NumberType,
    column: number,
  ): Alternatives {
    if (right.coefficients.size === 0) {
      const derived = this.#derived(left, type, column);
      return this.#compareDerived(operator, derived, right, column);
    }
    const alone = ({ coefficients, constant }: Linear) => {
      const [[position, factor] = [0, 0n], ...others] = coefficients;
      return others.length === 0 && factor === 1n && constant === 0n ? position : undefined;
    };
    const [a, b] = [alone(left), alone(right)];
    if (a === undefined || b === undefined)
      throw new CelError(column, `${operator} compares two arguments as they are only, with nothing added`);
    if (a === b) return operator === '<=' || operator === '>=' ? always : never;
    const asWritten = { '<': [0n], '<=': [0n, 1n], '>': [2n], '>=': [1n, 2n] }[operator];
    const values = a < b ? asWritten : asWritten.map((value) => 2n - value).sort();
    return [
      [{ kind: 'pair', of: 'order', positions: [Math.min(a, b), Math.max(a, b)], values, negated: false }],
    ];
  }
}

function spelled(name: string): string {
  return name === 'negate' ? '-' : name;
}

/** Whether a tree is a condition, not a number or text. */
function isCondition(node: CelNode): boolean {
  if (node.kind === 'bool') return true;
  if (node.kind !== 'call') return false;
  return (
    ['!', '&&', '||', 'in', 'matches'].includes(node.name) ||
    (node.name === '?' && node.operands.some((operand, at) => at > 0 && isCondition(operand))) ||
    comparisons.some((sign) => sign === node.name) ||
    Object.hasOwn(textMethods, node.name)
  );
}

function numbers(
  { position, type, ofLength }: Pick<Derived, 'position' | 'type' | 'ofLength'>,
  ranges: readonly Range[],
): Alternatives {
  const whole = wholeOf(type);
  const united = unite(ranges);
  if (united.length === 0) return never;
  if (complement(united, whole).length === 0) return always;
  return [[{ kind: 'numbers', position, ...(ofLength ? { ofLength } : {}), whole, ranges: united }]];
}

/** The numbers that compare with a constant so. */
function heldRanges(operator: Comparison, constant: bigint, type: NumberType): readonly Range[] {
  const [low, high] = wholeOf(type);
  switch (operator) {
    case '==':
      return [[constant, constant]];
    case '!=':
      return complement([[constant, constant]], [low, high]);
    case '<':
      return unite([[low, constant - 1n]]);
    case '<=':
      return [[low, constant]];
    case '>':
      return unite([[constant + 1n, high]]);
    case '>=':
      return [[constant, high]];
  }
}

/**
 * Sums and differences as the kernel takes them, in 64 bits: where arguments are narrower it sees them without the
 * wrap, so that several numbers stand for one.
 */
function exactValues(wanted: bigint, type: NumberType, isSum: boolean): bigint[] {
  if (type.bits === 64) return [BigInt.asUintN(64, wanted)];
  const [low, high] = wholeOf(type);
  const [least, most] = isSum ? [2n * low, 2n * high] : [low - high, high - low];
  const turn = 1n << BigInt(type.bits);
  const base = BigInt.asUintN(type.bits, wanted);
  return [base - turn, base, base + turn]
    .filter((value) => value >= least && value <= most)
    .map((value) => BigInt.asUintN(64, value));
}

/**
 * Says what one of some expressions asks of the arguments of a hook. A text is why it cannot be asked; `at` is which of
 * the expressions that is said of.
 */
export function compileCel(
  expressions: readonly string[],
  args: readonly Argument[],
): Alternatives | { readonly at: number; readonly error: string } {
  const found: Alternatives[] = [];
  for (const [at, text] of expressions.entries()) {
    try {
      found.push(new Compiler(args).condition(parseCel(text), false));
      // Together they take places as one does.
      anyOf(found);
    } catch (error) {
      if (error instanceof CelError || error instanceof TooMuch) return { at, error: error.message };
      throw error;
    }
  }
  return anyOf(found);
}
