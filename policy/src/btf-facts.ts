// SPDX-License-Identifier: Apache-2.0
// Owns what `policy check` knows of a kernel from its types alone, on whatever machine it runs.
import type { Btf, PathStart } from './btf.js';
import type { KernelFacts } from './check.js';
import { typeInfo } from './names.js';
import type { ResolvedCall } from './places.js';
import type { Argument } from './shape.js';

/** Why a field is not of the type that a policy reads it as, of numbers and text. */
function misfitOf(btf: Btf, start: PathStart, { type, resolve = '' }: Argument): string | undefined {
  const info = typeInfo(type);
  const isNumber = info?.family === 'integer';
  if (!isNumber && type !== 'fd' && type !== 'string') return undefined;
  const misfit = btf.misfitOnPath(start, resolve, type === 'string' ? 'text' : isNumber ? info.bits : 32);
  return misfit === undefined ? undefined : `${resolve} ${misfit} (${type})`;
}

/** What a kernel has by its types. What only the running kernel tells (active security modules, events) is left open. */
export function factsOfBtf(btf: Btf, release: string): KernelFacts {
  const nameOf = ({ kind, symbol }: ResolvedCall) => (kind === 'lsm' ? `bpf_lsm_${symbol}` : symbol);
  return {
    release,
    hasFunction: (symbol) => btf.hasFunction(symbol),
    names: {
      systemCalls: () => btf.functions().filter((name) => name.startsWith('__x64_sys_')),
      functions: () => btf.functions(),
      canHook: (name) => btf.hasFunction(name),
    },
    hasTracepoint: ({ subsystem, event }) => {
      const call = subsystem === 'syscalls' ? /^sys_(?:enter|exit)_(\w+)$/.exec(event)?.[1] : undefined;
      if (call !== undefined) return btf.hasFunction(`__x64_sys_${call}`);
      // Events of the function tracer have no type.
      return btf.hasTypedef(`btf_trace_${event}`) || (subsystem === 'ftrace' ? undefined : false);
    },
    argumentProblem: (call: ResolvedCall, argument: Argument) => {
      const { resolve = '', source, btfType, btfTypeModule, index } = argument;
      const isFunction = ['security', 'function', 'lsm', 'syscall'].includes(call.kind);
      // Of tracepoints and programs the task and named types are known, what they are called with is not.
      if (source === 'pt_regs' || (!isFunction && source === undefined && btfType === undefined))
        return undefined;
      if (btfTypeModule !== undefined) return undefined;
      const own = { functionName: nameOf(call), parameter: index };
      if (source === undefined && btfType === undefined) {
        if (call.kind === 'syscall') return undefined;
        const missing = btf.missingOnPath(own, '');
        if (missing !== undefined) return { field: 'index', message: missing };
      }
      if (resolve === '') return undefined;
      const start =
        source === 'current_task' ? { type: 'task_struct' } : btfType === undefined ? own : { type: btfType };
      const missing = btf.missingOnPath(start, resolve);
      if (missing !== undefined) return { field: 'resolve', message: missing };
      const misfit = misfitOf(btf, start, argument);
      return misfit === undefined ? undefined : { field: 'resolve', message: misfit };
    },
  };
}
