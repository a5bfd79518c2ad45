// SPDX-License-Identifier: Apache-2.0
// Owns what a tracepoint of a policy must be like, as far as no kernel is needed to say it: its name, the numbers and
// the types of its arguments. Which fields a tracepoint has is the running kernel's to say.
import { isBuffer } from './buffers.js';
import { isRingCall } from './calls.js';
import type { Findings } from './findings.js';
import { typeInfo } from './names.js';
import { quote } from './nearest.js';
import type { ResolvedCall } from './places.js';
import type { Argument, Tracepoint } from './shape.js';

/** Fields that each record of a tracepoint begins with; programs cannot see them. */
const commonFields = ['common_type', 'common_flags', 'common_preempt_count', 'common_pid'];
/** The highest argument of a raw tracepoint: the kernel gives a program twelve values at most. */
const rawIndexMax = 11;

/** Types of what a record holds as a number, or as text. */
const recordTypes = new Set([
  'string',
  'data_loc',
  'syscall64',
  'fd',
  'nop',
  'auto',
  'char_buf',
  'const_buf',
  'char_iovec',
]);

export function tracepointCall({ subsystem, event, raw }: Tracepoint): ResolvedCall {
  const symbol = `${subsystem}:${event}`;
  return {
    symbol,
    kind: 'tracepoint',
    meaning: symbol,
    syscallName: '',
    tracepoint: { subsystem, event, raw: raw === true },
  };
}

function checkArgument(findings: Findings, hook: Tracepoint, argument: Argument, path: string): void {
  const { index, type } = argument;
  // Of the task, not of the tracepoint.
  if (argument.source !== undefined) return;
  if (hook.raw === true) {
    if (index > rawIndexMax)
      findings.error(
        'wrong-index',
        `${path}.index`,
        `is ${index}: the values of a raw tracepoint have the indexes 0 to ${rawIndexMax}`,
      );
    if (type === 'data_loc')
      findings.error(
        'wrong-type',
        `${path}.type`,
        'data_loc is a text in the record of a tracepoint, and a raw tracepoint has none: leave raw out',
      );
    return;
  }
  const common = commonFields[index];
  if (common !== undefined) {
    findings.error(
      'wrong-index',
      `${path}.index`,
      `is ${index}, which is the field ${common}: programs cannot see it; the fields of a tracepoint are counted from 4 on, as its format in tracefs lists them`,
    );
  }
  const family = typeInfo(type)?.family;
  // The type is that of the field, which the kernel's types are asked for.
  if ((argument.resolve ?? '') !== '') return;
  if (hook.subsystem === 'syscalls' && family === 'path' && type !== 'fd') {
    findings.error(
      'wrong-type',
      `${path}.type`,
      `${type} is a kernel object, and a system call has none among its arguments: write string for a path in the caller's memory, fd for the number of an open file`,
    );
  } else if (hook.subsystem === 'syscalls' && (type === 'string' || type === 'sockaddr' || isBuffer(type))) {
    findings.warn(
      'user-memory',
      `${path}.type`,
      "is read from the caller's memory when the call begins: it is what the caller claims, and can be changed before the kernel uses it; security_* functions see what the kernel uses",
    );
  } else if (family !== 'integer' && family !== 'socket' && family !== 'path' && !recordTypes.has(type)) {
    findings.error(
      'wrong-type',
      `${path}.type`,
      `the record of a tracepoint holds no ${type}: it holds numbers, texts (string) and addresses of files and sockets; write raw: true for the values with which the tracepoint was called`,
    );
  }
}

/** Judges the name of a tracepoint and its arguments. */
export function checkTracepoint(findings: Findings, hook: Tracepoint, path: string): void {
  for (const field of ['subsystem', 'event'] as const) {
    if (!/^[A-Za-z0-9_][A-Za-z0-9_-]*$/.test(hook[field])) {
      findings.error(
        'wrong-call',
        `${path}.${field}`,
        `${quote(hook[field])} is no name of a tracepoint's ${field}, such as ${field === 'event' ? 'sched_process_exec' : 'sched'}`,
      );
    }
  }
  hook.args?.forEach((argument, position) => {
    checkArgument(findings, hook, argument, `${path}.args[${position}]`);
  });
  const enters = /^sys_enter_(.+)$/.exec(hook.event)?.[1];
  if (hook.subsystem === 'syscalls' || hook.subsystem === 'raw_syscalls') {
    if (hook.subsystem === 'syscalls') {
      findings.warn(
        'blind-spot',
        `${path}.event`,
        'sees calls of 64-bit programs only: the same call by the 32-bit entry (int 0x80) passes by it; raw_syscalls sees both',
      );
    }
    if (enters === undefined || isRingCall(enters))
      findings.warn(
        'blind-spot',
        `${path}.event`,
        'io_uring does the work of calls without the system call: hook the security_* function to see both',
      );
  }
}
