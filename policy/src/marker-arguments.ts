// SPDX-License-Identifier: Apache-2.0
// Owns the notation in which a marker says where its arguments are: `-4@%eax 8@-8(%rbp) 8@(%rdx,%rcx,4) 4@$17`, as
// the assembler of x86-64 writes operands, each after its width. It comes out of a file and is hostile input.

import type { UserRegister } from './plan-types.js';

/** Where a program keeps an argument. Registers are offsets among the saved ones (struct pt_regs of x86-64). */
export type UserArgument = (
  | { readonly kind: 'constant'; readonly value: bigint }
  | { readonly kind: 'register'; readonly register: number }
  | {
      readonly kind: 'memory';
      readonly base?: number;
      readonly index?: number;
      /** By how many bits the index is shifted. */
      readonly shift: number;
      readonly displacement: bigint;
    }
) & { readonly bytes: number; readonly signed: boolean };

const r64 = [
  ['r15', 0],
  ['r14', 8],
  ['r13', 16],
  ['r12', 24],
  ['rbp', 32],
  ['rbx', 40],
  ['r11', 48],
  ['r10', 56],
  ['r9', 64],
  ['r8', 72],
  ['rax', 80],
  ['rcx', 88],
  ['rdx', 96],
  ['rsi', 104],
  ['rdi', 112],
  ['rsp', 152],
] as const;

/** Every spelling of the registers that hold numbers; the upper bytes (`ah`) are not among them. */
const registers: ReadonlyMap<string, readonly [offset: number, bytes: number]> = new Map(
  r64.flatMap(([name, offset]): [string, readonly [number, number]][] => {
    if (/^r\d/.test(name)) {
      return [
        [name, [offset, 8]],
        [`${name}d`, [offset, 4]],
        [`${name}w`, [offset, 2]],
        [`${name}b`, [offset, 1]],
      ];
    }
    const short = name.slice(1);
    const low = short.endsWith('x') ? `${short[0]}l` : `${short}l`;
    return [
      [name, [offset, 8]],
      [`e${short}`, [offset, 4]],
      [short, [offset, 2]],
      [low, [offset, 1]],
    ];
  }),
);

/** The registers in which a function's arguments come, in their order, and the one with what it returns. */
export const functionRegisters = [112, 104, 96, 88, 72, 64] as const;
export const returnRegister = 80;

/** A register by its name, such as `rdi` or `eax`; undefined where it is none that holds numbers. */
export function userRegister(name: string): UserRegister | undefined {
  const [offset, bytes] = registers.get(name.toLowerCase()) ?? instructionPointer(name) ?? [];
  return offset === undefined || bytes === undefined ? undefined : { offset, bytes };
}

/** No marker has it among its arguments. */
function instructionPointer(name: string): readonly [number, number] | undefined {
  return name.toLowerCase() === 'rip' ? [128, 8] : undefined;
}

function register(text: string | undefined): readonly [number, number] | undefined {
  return text?.startsWith('%') === true ? registers.get(text.slice(1)) : undefined;
}

const number = '[+-]?(?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20})';

function readNumber(text: string): bigint {
  const negative = text.startsWith('-');
  const magnitude = BigInt(text.replace(/^[+-]/, ''));
  return BigInt.asUintN(64, negative ? -magnitude : magnitude);
}

const widths = new Set([1, 2, 4, 8]);
const operandForm = new RegExp(`^(${number})?\\((%\\w+)?(?:,(%\\w+)(?:,([1248]))?)?\\)$`);

/** Reads one argument, or says why it cannot be read. */
function readArgument(text: string): UserArgument | string {
  const [, width, operand] = /^(?:(-?[0-9]{1,2})@)?(.+)$/.exec(text) ?? [];
  if (operand === undefined) return `${text} is not understood`;
  const whole = register(operand);
  const bytes = width === undefined ? (whole?.[1] ?? 8) : Math.abs(Number(width));
  if (!widths.has(bytes)) return `${text} has no width of 1, 2, 4 or 8 bytes`;
  const form = { bytes, signed: width?.startsWith('-') === true };
  if (whole !== undefined) return { ...form, kind: 'register', register: whole[0] };
  const constant = new RegExp(`^\\$?(${number})$`).exec(operand)?.[1];
  if (constant !== undefined) return { ...form, kind: 'constant', value: readNumber(constant) };
  const memory = operandForm.exec(operand);
  if (memory === null)
    return `${text} is not understood: a register, a number, or memory at registers can be read`;
  const [, displacement, baseName, indexName, scale = '1'] = memory;
  const base = register(baseName);
  const index = register(indexName);
  if ((baseName !== undefined && base?.[1] !== 8) || (indexName !== undefined && index?.[1] !== 8)) {
    return `${text} is not understood: it names no register of 64 bits`;
  }
  if (base === undefined && index === undefined) return `${text} is not understood: it names no register`;
  return {
    ...form,
    kind: 'memory',
    ...(base === undefined ? {} : { base: base[0] }),
    ...(index === undefined ? {} : { index: index[0] }),
    shift: Math.log2(Number(scale)),
    displacement: readNumber(displacement ?? '0'),
  };
}

/** Reads what a marker says of its arguments: for each where it is, or why that is not understood. */
export function readMarkerArguments(text: string): (UserArgument | string)[] {
  // Spaces stand between arguments, and within an operand's parentheses as well.
  return (text.match(/(?:\([^()]*\)|[^\s()])+/g) ?? []).map((part) => readArgument(part.replace(/\s/g, '')));
}
