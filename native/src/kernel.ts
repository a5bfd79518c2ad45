// SPDX-License-Identifier: Apache-2.0
// Owns small questions to the kernel: clocks, CPUs, boot id, functions in BTF, a grace period.
import { readFileSync } from 'node:fs';
import { raw } from './addon.js';
import { guard, toNativeError } from './error.js';
import type { KernelField } from './kernel-field.js';

let cpus = 0;

/** How many CPUs per-CPU maps have values for. */
export function possibleCpus(): number {
  if (cpus === 0) cpus = guard(() => raw().possibleCpus());
  return cpus;
}

export type Clock = 'monotonic' | 'boottime' | 'realtime';

/** What to add to a time on clock `from` to have it on clock `to`, now (suspends and clock steps change it). */
export function clockOffsetNs(from: Clock, to: Clock): bigint {
  return guard(() => raw().clockOffsetNs(from, to));
}

/** The kernel's random id of this boot, 16 bytes. */
export function bootId(): Uint8Array {
  const text = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  return Uint8Array.from(Buffer.from(text.replaceAll('-', ''), 'hex'));
}

export interface KernelFunction {
  readonly btfId: number;
  /** C type of the result. */
  readonly returns: string;
  readonly parameters: readonly { readonly name: string; readonly type: string }[];
}

/** A function of the running kernel by its BTF (vmlinux only, not modules); undefined where it has none. */
export function kernelFunction(name: string): KernelFunction | undefined {
  return guard(() => raw().kernelFunction(name, ''));
}

/** An LSM hook of the running kernel, as BPF LSM programs see it; undefined where there is none. */
export function lsmHook(name: string): KernelFunction | undefined {
  return guard(() => raw().kernelFunction(name, 'bpf_lsm_'));
}

/** What a raw tracepoint of the running kernel (vmlinux only) is called with; undefined where there is none. */
export function tracepointParameters(name: string): KernelFunction['parameters'] | undefined {
  return guard(() => raw().kernelFunction(name, 'btf_trace_'))?.parameters;
}

/** Where a walk through fields begins: at a parameter of a function, at a value of a raw tracepoint, or at an object of a type. */
export type FieldStart =
  | { readonly functionName: string; readonly parameter: number }
  | {
      /** Event of a raw tracepoint, and the number of a value that it is called with. */
      readonly tracepoint: string;
      readonly value: number;
    }
  | {
      /** Name of a struct, union or typedef. */
      readonly type: string;
      /** The module that has it; the kernel itself by default. */
      readonly module?: string | undefined;
    };

/**
 * Finds a field by the BTF of the running kernel: `a.b[2].c`, through pointers and embedded structs alike. An empty path
 * describes the start itself.
 * @returns the field, or why there is none, in words that follow the path
 */
export function kernelField(start: FieldStart, path: string): KernelField | string {
  return guard(() => {
    if ('type' in start) return raw().kernelField('', 0, start.type, start.module ?? '', path);
    if ('tracepoint' in start)
      return raw().kernelField(`btf_trace_${start.tracepoint}`, start.value, '', '', path);
    return raw().kernelField(start.functionName, start.parameter, '', '', path);
  });
}

/**
 * Waits until every program run that had begun before the call has ended (an RCU grace period; programs that may
 * sleep are not waited for). What maps said before can no longer be in use then.
 */
export function waitGracePeriod(): Promise<void> {
  return new Promise((resolve, reject) => {
    guard(() =>
      raw().waitGracePeriod((error) => {
        if (error === null) resolve();
        else reject(toNativeError(error));
      }),
    );
  });
}
