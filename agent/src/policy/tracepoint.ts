// SPDX-License-Identifier: Apache-2.0
// Owns where the arguments of a tracepoint lie on the running kernel: in its record, as the format in tracefs says it,
// or among the values that a raw one is called with.
import { readFileSync, statSync } from 'node:fs';
import { tracepointParameters } from '@weir/native';
import type { HookPlan, PlannedArgument, TracepointName } from '@weir/policy';
import { ArgumentSource, ArgumentType, argumentTypeNames } from '@weir/schema';
import { PolicyLoadError } from './errors.js';

/** A field of a tracepoint's record. */
export interface RecordField {
  readonly name: string;
  /** As the kernel spells it, without the name: `const char *`, `__data_loc char[]`. */
  readonly type: string;
  readonly offset: number;
  readonly size: number;
  readonly signed: boolean;
}

/** How an argument is read. */
export interface ArgumentPlace {
  /** argument_type: another than the plan's where that left it open. */
  readonly type: number;
  /** argument_source. */
  readonly source: number;
  readonly offset: number;
  readonly size: number;
}

/** Places where tracefs is mounted, in the order in which they are tried. */
export const tracefsPaths: readonly string[] = ['/sys/kernel/tracing', '/sys/kernel/debug/tracing'];
const formatBytesMax = 1024 * 1024;

/** Reads the fields of a format file, in its order. */
export function parseFormat(text: string): RecordField[] {
  const fields: RecordField[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*field:(.+?);\s*offset:(\d+);\s*size:(\d+);\s*signed:([01]);/.exec(line);
    if (match === null) continue;
    const [, declaration = '', offset, size, signed] = match;
    // `char comm[16]`, `const char * filename`, `__data_loc char[] name`
    const parts = /^(.*?)\s*\b(\w+)(\[[^\]]*\])?$/.exec(declaration);
    fields.push({
      name: parts?.[2] ?? declaration,
      type: `${parts?.[1] ?? ''}${parts?.[3] ?? ''}`,
      offset: Number(offset),
      size: Number(size),
      signed: signed === '1',
    });
  }
  return fields;
}

/** The fields of a tracepoint. @throws {PolicyLoadError} where there is none, or no tracefs to say so */
export function readFormat(
  { subsystem, event }: { readonly subsystem: string; readonly event: string },
  paths = tracefsPaths,
): RecordField[] {
  for (const root of paths) {
    try {
      // It is there also where nothing is mounted, and then has no events.
      statSync(`${root}/events`);
    } catch {
      continue;
    }
    let text: string;
    try {
      text = readFileSync(`${root}/events/${subsystem}/${event}/format`, 'latin1');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'error';
      throw new PolicyLoadError(
        'no-function',
        code === 'ENOENT'
          ? `this kernel has no tracepoint ${subsystem}:${event}: ${root}/available_events has the names it knows`
          : `the format of the tracepoint ${subsystem}:${event} in ${root} cannot be read: ${code}`,
        error,
      );
    }
    return parseFormat(text.slice(0, formatBytesMax));
  }
  throw new PolicyLoadError(
    'load',
    `tracefs is not mounted at ${paths.join(' or ')}, and only there the kernel says where the fields of ${subsystem}:${event} lie: mount -t tracefs tracefs ${paths[0]}, or write raw: true`,
  );
}

/** Whether the characters of a field are text. */
function isText(type: string): boolean {
  return /\bchar\s*\[/.test(type) || /\b(__)?[us]8\s*\[/.test(type);
}

function isPointer(type: string): boolean {
  return type.endsWith('*');
}

const integerTypes: readonly number[] = [
  ArgumentType.int8,
  ArgumentType.uint8,
  ArgumentType.int16,
  ArgumentType.uint16,
  ArgumentType.int32,
  ArgumentType.uint32,
  ArgumentType.int64,
  ArgumentType.uint64,
  ArgumentType.capability,
  ArgumentType.bpfCmd,
  ArgumentType.syscall64,
  ArgumentType.fd,
];
const textTypes: readonly number[] = [ArgumentType.string, ArgumentType.dataLoc];

/** The type that a field has by itself. */
function typeOf(field: RecordField, isSystemCall: boolean): number {
  if (isText(field.type)) return ArgumentType.string;
  if (isPointer(field.type))
    return /\bchar\s*\*/.test(field.type) && isSystemCall ? ArgumentType.string : ArgumentType.uint64;
  const sizes = {
    1: [ArgumentType.uint8, ArgumentType.int8],
    2: [ArgumentType.uint16, ArgumentType.int16],
    4: [ArgumentType.uint32, ArgumentType.int32],
    8: [ArgumentType.uint64, ArgumentType.int64],
  } as const;
  const sizeOf = sizes[field.size as keyof typeof sizes];
  return sizeOf?.[field.signed ? 1 : 0] ?? ArgumentType.none;
}

/** The argument type of a field by itself: what `auto` is; undefined where the record has no such field. */
export function typeOfRecordField(
  { subsystem, event }: TracepointName,
  index: number,
  paths = tracefsPaths,
): { readonly spelled: string; readonly type: number } | undefined {
  const field = readFormat({ subsystem, event }, paths)[index];
  return field && { spelled: field.type, type: typeOf(field, subsystem === 'syscalls') };
}

const noSizePlace = 0xffff;
const offsetMax = 0x3fff;

/** Where the number of bytes of a buffer lies, as a program takes it. */
function sizePlace(
  sizeIndex: number | undefined,
  fields: readonly RecordField[],
  refuse: (why: string) => never,
): number {
  if (sizeIndex === undefined) return noSizePlace;
  const field = fields[sizeIndex];
  if (field === undefined) return refuse(`there is no field ${sizeIndex}, which is to say how many bytes`);
  if (field.type.includes('[') || ![1, 2, 4, 8].includes(field.size) || field.offset > offsetMax)
    return refuse(`the field ${sizeIndex} (${field.type} ${field.name}) says no number of bytes`);
  return 4 * field.offset + Math.log2(field.size);
}

function placeInRecord(
  { index, type: wanted, field: way, buffer }: PlannedArgument,
  fields: readonly RecordField[],
  subsystem: string,
  where: string,
): ArgumentPlace {
  const field = fields[index];
  const refuse = (why: string): never => {
    throw new PolicyLoadError('load', `${where}: ${why}`);
  };
  if (field === undefined) {
    const names = fields.slice(4).map(({ name, type }, n) => `${n + 4} ${type} ${name}`);
    return refuse(`there is no field ${index} on this kernel; it has ${names.join(', ')}`);
  }
  const { name, type: spelled, offset, size } = field;
  const type = wanted === ArgumentType.none ? typeOf(field, subsystem === 'syscalls') : wanted;
  const asked = argumentTypeNames[type] ?? String(type);
  if (way !== undefined || buffer !== undefined) {
    if (size !== 8 || isText(spelled))
      return refuse(
        `the field ${index} (${spelled} ${name}) is no address: ${way === undefined ? `${asked} is not read from it` : 'it has no fields'}`,
      );
    const at = buffer === undefined ? size : sizePlace(buffer.sizeIndex, fields, refuse);
    return { type, source: ArgumentSource.record, offset, size: at };
  }
  if (isText(spelled)) {
    if (!textTypes.includes(type))
      return refuse(
        `the field ${index} (${spelled} ${name}) holds text: ${asked} cannot be read from it, write string`,
      );
    const source = spelled.startsWith('__data_loc')
      ? ArgumentSource.recordData
      : spelled.startsWith('__rel_loc')
        ? ArgumentSource.recordRelativeData
        : ArgumentSource.recordText;
    return { type, source, offset, size };
  }
  if (spelled.includes('[') || ![1, 2, 4, 8].includes(size))
    return refuse(
      `the field ${index} (${spelled} ${name}) is neither a number nor text, which is all that can be read`,
    );
  // Of a system call's arguments the numbers are in registers, whatever their types: the format has no sign for them.
  if (!integerTypes.includes(type)) {
    if (type === ArgumentType.dataLoc)
      return refuse(`the field ${index} (${spelled} ${name}) is no __data_loc: it is a number`);
    if (size !== 8 || !isPointer(spelled))
      return refuse(
        `the field ${index} (${spelled} ${name}) is a number, not the address of what ${asked} would be`,
      );
  }
  return { type, source: field.signed ? ArgumentSource.recordSigned : ArgumentSource.record, offset, size };
}

/**
 * Where each argument of a tracepoint lies; undefined for what is the task's.
 * @throws {PolicyLoadError} where this kernel has not the tracepoint, or not the field
 */
export function placesOf(
  hook: HookPlan,
  paths = tracefsPaths,
): readonly (ArgumentPlace | undefined)[] | undefined {
  const { tracepoint } = hook;
  if (tracepoint === undefined) return undefined;
  const { subsystem, event, raw } = tracepoint;
  if (!raw) {
    const fields = readFormat(tracepoint, paths);
    return hook.arguments.map((argument) =>
      isOfTask(argument) ? undefined : placeInRecord(argument, fields, subsystem, hook.symbol),
    );
  }
  const parameters = tracepointParameters(event);
  if (parameters === undefined) {
    throw new PolicyLoadError(
      'no-function',
      `this kernel has no raw tracepoint ${event} among its types: those of modules are not there, leave raw out for them`,
    );
  }
  return hook.arguments.map((argument) => {
    const { index, type, buffer } = argument;
    if (isOfTask(argument)) return undefined;
    const last = Math.max(index, buffer?.sizeIndex ?? 0);
    if (last >= parameters.length) {
      const names = parameters.map(({ type: spelled }, n) => `${n} ${spelled}`).join(', ');
      throw new PolicyLoadError(
        'no-function',
        `the raw tracepoint ${event} has no value ${last} on this kernel; it has ${names}`,
      );
    }
    const size = buffer === undefined ? 8 : 4 * 8 * (buffer.sizeIndex ?? 0) + 3;
    return {
      type,
      source: ArgumentSource.context,
      offset: 0,
      size: buffer !== undefined && buffer.sizeIndex === undefined ? noSizePlace : size,
    };
  });
}

function isOfTask({ field }: PlannedArgument): boolean {
  return field?.source === 'current_task';
}
