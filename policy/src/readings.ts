// SPDX-License-Identifier: Apache-2.0
// Owns how an argument of a policy is read: of a parameter, a register, a field, a buffer.
import { bufferOf } from './buffers.js';
import { userRegister } from './marker-arguments.js';
import { typeInfo } from './names.js';
import type { ResolvedCall } from './places.js';
import type { PlannedArgument } from './plan-types.js';
import type { Argument, CalledFields } from './shape.js';

/** What is read, and as which type. */
export type Reading = Pick<
  PlannedArgument,
  'type' | 'index' | 'field' | 'register' | 'data' | 'returned' | 'buffer' | 'userMemory'
>;

export function readingOf(
  argument: Argument,
  isData: boolean,
  called: CalledFields | undefined,
  call: ResolvedCall,
): Reading {
  const { resolve = '', source, btfType, btfTypeModule } = argument;
  const register = source === 'pt_regs' ? userRegister(resolve) : undefined;
  const isField = register === undefined && (resolve !== '' || source !== undefined);
  const buffer = isField ? undefined : bufferOf(argument, called);
  return {
    type: typeInfo(argument.type)?.type ?? 0,
    index: source === undefined ? argument.index : 0,
    ...(isField
      ? {
          field: {
            path: resolve,
            source: source === undefined ? 'parameter' : 'current_task',
            ...(btfType === undefined ? {} : { btfType }),
            ...(btfTypeModule === undefined ? {} : { btfTypeModule }),
          },
        }
      : {}),
    ...(register === undefined ? {} : { register }),
    ...(isData ? { data: true } : {}),
    ...(buffer === undefined ? {} : { buffer }),
    ...(source === undefined && isSyscallRecord(call) ? { userMemory: true } : {}),
  };
}

/** Whether what the arguments point to is the caller's, whatever it claims: those of functions say it themselves. */
function isSyscallRecord({ tracepoint }: ResolvedCall): boolean {
  return tracepoint?.subsystem === 'syscalls' && !tracepoint.raw;
}
