// SPDX-License-Identifier: Apache-2.0
// Owns what the types of the running kernel say of arguments: the way to a field that `resolve` names, as a hook's
// program goes it, whether the field is what the policy takes it for, and what an argument of `type: auto` is.
import {
  type FieldStart,
  type KernelField,
  type KernelType,
  kernelField,
  kernelFunction,
  tracepointParameters,
} from '@weir/native';
import {
  type ArgumentTypeOf,
  type HookPlan,
  type PlannedArgument,
  type PlannedField,
  type ResolvedCall,
  type TracepointName,
  typeInfo,
} from '@weir/policy';
import { ArgumentType, limits, makeFieldPlan } from '@weir/schema';
import { PolicyLoadError } from './errors.js';
import { readFormat, typeOfRecordField } from './tracepoint.js';

export type FieldPlan = ReturnType<typeof makeFieldPlan>;
type Lookup = (start: FieldStart, path: string) => KernelField | string;

/** Structs that an argument of a type is, or points to. */
const structsOf: Readonly<Record<string, readonly string[]>> = {
  file: ['file'],
  path: ['path'],
  dentry: ['dentry'],
  kiocb: ['kiocb'],
  linux_binprm: ['linux_binprm'],
  filename: ['filename'],
  sock: ['sock'],
  socket: ['socket'],
  skb: ['sk_buff'],
  sockaddr: ['sockaddr', 'sockaddr_storage', '__kernel_sockaddr_storage', 'sockaddr_in', 'sockaddr_in6'],
  sockaddr_un: ['sockaddr_un'],
  net_device: ['net_device'],
  cred: ['cred'],
  user_namespace: ['user_namespace'],
  bpf_attr: ['bpf_attr'],
  bpf_map: ['bpf_map'],
  bpf_prog: ['bpf_prog'],
  perf_event: ['perf_event'],
  module: ['module'],
  load_info: ['load_info'],
};
const capabilitySets = ['kernel_cap_t', 'cap_inheritable', 'cap_permitted', 'cap_effective'];
const POINTER_BITS = 64;
const STEP_FOLLOWS = 2 ** 31;

const integersBySize: Readonly<Record<number, readonly [signed: string, unsigned: string]>> = {
  1: ['int8', 'uint8'],
  2: ['int16', 'uint16'],
  4: ['int32', 'uint32'],
  8: ['int64', 'uint64'],
};

function isNumber({ kind }: KernelType): boolean {
  return kind === 'integer' || kind === 'boolean' || kind === 'enumeration';
}

function isByte(type: KernelType | undefined): boolean {
  return type?.kind === 'integer' && type.size === 1;
}

function isCapabilitySet({ name, tag }: KernelType): boolean {
  return tag === 'kernel_cap_struct' || /(^| )kernel_cap_t$/.test(name);
}

/** The name of an argument's type that stands for a field, undefined where none does. */
export function typeOfField({ type, target }: KernelField): string | undefined {
  if (isNumber(type)) return integersBySize[type.size]?.[type.isSigned ? 0 : 1];
  const object = type.kind === 'pointer' ? target : type;
  if (
    (type.kind === 'pointer' || type.kind === 'array') &&
    isByte(target) &&
    /char$/.test(target?.name ?? '')
  )
    return 'string';
  if (object !== undefined && (object.kind === 'struct' || object.kind === 'union')) {
    if (isCapabilitySet(object)) return 'kernel_cap_t';
    const known = Object.keys(structsOf).find((name) => structsOf[name]?.includes(object.tag) === true);
    if (known !== undefined) return known;
  }
  return type.kind === 'pointer' ? 'uint64' : undefined;
}

/** What goes into a program so that it finds a field of a type, or why the field is none of that type. */
export function planOfField(field: KernelField, typeName: string): FieldPlan | string {
  const { type, target } = field;
  const info = typeInfo(typeName);
  const steps = field.steps.map(({ offset, follows }) => offset + (follows ? STEP_FOLLOWS : 0));
  const plan = { numberBytes: 0, bits: 0, bitOffset: 0, isSigned: 0, textBytes: 0 };
  // What lies at the end of the walk is a pointer, and what it points to is meant.
  const follow = () => {
    const last = steps.at(-1);
    if (last !== undefined && last < STEP_FOLLOWS) steps[steps.length - 1] = last + STEP_FOLLOWS;
    else steps.push(STEP_FOLLOWS);
  };
  if (info?.family === 'integer' || typeName === 'fd') {
    if (!isNumber(type) && type.kind !== 'pointer') return `is ${type.name}, and no number`;
    const takes = info?.family === 'integer' ? info.bits : 32;
    const bits = field.bits > 0 ? field.bits : type.kind === 'pointer' ? POINTER_BITS : 8 * type.size;
    if (bits > takes) {
      const wide = integersBySize[bits / 8]?.[type.isSigned ? 0 : 1];
      return `is ${type.name} of ${bits} bits, of which ${typeName} takes ${takes}${wide === undefined ? '' : `: write ${wide}`}`;
    }
    plan.bits = bits;
    plan.bitOffset = field.bitOffset;
    plan.numberBytes = Math.ceil((field.bitOffset + bits) / 8);
    plan.isSigned = type.isSigned ? 1 : 0;
    if (plan.numberBytes > 8) return 'is a bit-field that lies across more than 8 bytes';
  } else if (typeName === 'string') {
    const holdsText = isByte(target) || (type.kind === 'pointer' && target?.name === 'void');
    if (!holdsText) return `is ${type.name}, and no text`;
    if (type.kind === 'pointer') follow();
    else plan.textBytes = Math.min(type.size, limits.path_bytes);
  } else {
    const wanted = structsOf[typeName];
    const isSet = capabilitySets.includes(typeName);
    if (wanted === undefined && !isSet) return `is ${type.name}: a field is not read as ${typeName}`;
    const object = type.kind === 'pointer' ? target : type;
    const fits =
      object !== undefined && (isSet ? isCapabilitySet(object) : wanted?.includes(object.tag) === true);
    if (!fits) {
      const what = isSet ? 'a kernel_cap_t' : `a struct ${wanted?.[0] ?? ''}`;
      return `is ${type.name}, and ${typeName} is read of ${what} or a pointer to one`;
    }
    if (type.kind === 'pointer') follow();
  }
  if (steps.length > limits.field_steps) {
    return `takes ${steps.length} steps from pointer to pointer: a program goes ${limits.field_steps}`;
  }
  return makeFieldPlan({
    ...plan,
    stepCount: steps.length,
    steps: Array.from({ length: limits.field_steps }, (_, n) => steps[n] ?? 0),
  });
}

interface Call {
  readonly symbol: string;
  readonly kind: 'lsm' | 'syscall' | 'function' | 'user';
  readonly tracepoint?: TracepointName | undefined;
}

function callOf({ symbol, kind, tracepoint }: ResolvedCall): Call {
  return {
    symbol,
    kind: kind === 'lsm' || kind === 'syscall' || kind === 'user' ? kind : 'function',
    tracepoint,
  };
}

/** The struct that a pointer in a record points to, as its format spells it; what it holds by itself is no way on. */
function startInRecord(tracepoint: TracepointName, index: number): FieldStart | string {
  const spelled = typeOfRecordField(tracepoint, index)?.spelled;
  if (spelled === undefined) return `cannot be found: the record has no field ${index}`;
  const type = /^(?:const )?struct (\w+) ?\*$/.exec(spelled)?.[1];
  return type === undefined
    ? `cannot be found: the field ${index} of the record is ${spelled}: name by btfType the struct that it points to`
    : { type };
}

function nameInTypes({ symbol, kind }: Call): string {
  return kind === 'lsm' ? `bpf_lsm_${symbol}` : symbol;
}

function startOf(call: Call, index: number, field: Partial<PlannedField>): FieldStart | string {
  if (field.source === 'current_task') return { type: 'task_struct' };
  if (field.btfType !== undefined) return { type: field.btfType, module: field.btfTypeModule };
  if (call.kind === 'user')
    return 'cannot be found: the arguments of a program have no types that are known: name the struct by btfType';
  if (call.tracepoint?.raw === true) return { tracepoint: call.tracepoint.event, value: index };
  if (call.tracepoint !== undefined) return startInRecord(call.tracepoint, index);
  if (call.kind === 'syscall')
    return 'cannot be found: the entry of a system call has its arguments in saved registers, which have no types';
  return { functionName: nameInTypes(call), parameter: index };
}

function isThere(tracepoint: TracepointName): boolean {
  if (tracepoint.raw) return tracepointParameters(tracepoint.event) !== undefined;
  try {
    readFormat(tracepoint);
    return true;
  } catch (error) {
    if (error instanceof PolicyLoadError) return false; // said where it is attached
    throw error;
  }
}

function typeInRecord(
  tracepoint: TracepointName,
  index: number,
): { readonly type: string } | { readonly error: string; readonly field: 'type' } {
  const found = typeOfRecordField(tracepoint, index);
  if (found === undefined) return { error: `there is no field ${index}`, field: 'type' };
  const { type, spelled } = found;
  if (type === ArgumentType.none)
    return { error: `the field ${index} is ${spelled}: neither a number nor text`, field: 'type' };
  return { type: type === ArgumentType.string ? 'string' : typeNameOf(type) };
}

/** The types of the running kernel, for `resolveArgumentTypes`. */
export function kernelTypeOf(lookup: Lookup = kernelField): ArgumentTypeOf {
  return (resolved: ResolvedCall, argument) => {
    const call = callOf(resolved);
    const path = argument.resolve ?? '';
    const field = path === '' ? 'type' : 'resolve';
    if (call.tracepoint !== undefined && !isThere(call.tracepoint)) return undefined;
    if (call.tracepoint?.raw === false && path === '' && argument.source === undefined)
      return typeInRecord(call.tracepoint, argument.index);
    const start = startOf(call, argument.index, {
      path,
      source: argument.source === undefined ? 'parameter' : 'current_task',
      ...(argument.btfType === undefined ? {} : { btfType: argument.btfType }),
      ...(argument.btfTypeModule === undefined ? {} : { btfTypeModule: argument.btfTypeModule }),
    });
    if (typeof start === 'string') return { error: start, field };
    if ('functionName' in start && kernelFunction(start.functionName) === undefined) return undefined;
    const found = lookup(start, path);
    const named = path === '' ? `argument ${argument.index} of ${resolved.symbol}` : path;
    if (typeof found === 'string') return { error: `${named} ${found}`, field };
    const type = argument.type === 'auto' ? typeOfField(found) : argument.type;
    if (type === undefined)
      return {
        error: `${named} is ${found.type.name}, for which there is no type: go on to one of its members`,
        field,
      };
    if (path === '') return { type };
    const plan = planOfField(found, type);
    return typeof plan === 'string' ? { error: `${path} ${plan}`, field } : { type };
  };
}

/** The way to the field of a planned argument. @throws {PolicyLoadError} where this kernel has none */
export function fieldPlanOf(
  hook: HookPlan,
  argument: PlannedArgument,
  lookup: Lookup = kernelField,
): FieldPlan {
  const { field } = argument;
  if (field === undefined) return makeFieldPlan({});
  const kind =
    hook.lsmCaller !== null
      ? 'lsm'
      : hook.syscall
        ? 'syscall'
        : hook.user === undefined
          ? 'function'
          : 'user';
  const call: Call = { symbol: hook.symbol, kind, tracepoint: hook.tracepoint };
  const start = startOf(call, argument.index, field);
  const isMissing =
    typeof start === 'object' &&
    'functionName' in start &&
    lookup === kernelField &&
    kernelFunction(start.functionName) === undefined;
  if (isMissing)
    throw new PolicyLoadError('no-function', `this kernel has no function ${hook.symbol} to hook`);
  const found = typeof start === 'string' ? start : lookup(start, field.path);
  const plan = typeof found === 'string' ? found : planOfField(found, typeNameOf(argument.type));
  if (typeof plan === 'string') throw new PolicyLoadError('load', `${hook.symbol}: ${field.path} ${plan}`);
  return plan;
}

/** A spelling of a type by its number. */
function typeNameOf(type: number): string {
  const names = [
    ...Object.keys(structsOf),
    ...capabilitySets,
    ...Object.values(integersBySize).flat(),
    'string',
    'fd',
    'capability',
    'bpf_cmd',
  ];
  const found = names.find((name) => typeInfo(name)?.type === type);
  if (found === undefined) throw new PolicyLoadError('load', `a field is not read as the type ${type}`);
  return found;
}
