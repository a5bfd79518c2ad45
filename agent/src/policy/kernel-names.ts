// SPDX-License-Identifier: Apache-2.0
// Owns the names that the running kernel has: entries of its system calls, and functions that can be hooked.
import { readFileSync } from 'node:fs';
import { kernelFunction } from '@weir/native';
import type { KernelNames } from '@weir/policy';
import { tracefsPaths } from './tracepoint.js';

/** The entries of system calls that the running kernel has, by /proc/kallsyms. */
export function systemCallEntries(): ReadonlySet<string> {
  try {
    // Searched as bytes: it has some ten million, of which a few hundred lines are looked for.
    const text = readFileSync('/proc/kallsyms');
    const entries = new Set<string>();
    for (let at = text.indexOf(' __x64_sys_'); at >= 0; at = text.indexOf(' __x64_sys_', at + 1)) {
      const end = text.indexOf('\n', at);
      entries.add(text.toString('latin1', at + 1, end < 0 ? text.length : end));
    }
    return entries;
  } catch {
    return new Set();
  }
}

/** Names of functions that the kernel can trace, those of modules left out; where tracefs does not say, all names. */
function traceableFunctions(): string[] {
  for (const root of tracefsPaths) {
    try {
      const lines = readFileSync(`${root}/available_filter_functions`, 'latin1').split('\n');
      return lines.filter((line) => line !== '' && !line.includes(' '));
    } catch {
      // Not mounted there.
    }
  }
  try {
    const lines = readFileSync('/proc/kallsyms', 'latin1').split('\n');
    return lines.flatMap((line) => /^\S+ [tT] (\S+)$/.exec(line)?.[1] ?? []);
  } catch {
    return [];
  }
}

/** What the running kernel has, asked when it is first needed. */
export class RunningKernelNames implements KernelNames {
  #systemCalls: readonly string[] | undefined;

  systemCalls(): readonly string[] {
    // One that is not there stands for itself in the table of calls (__x64_sys_ni_syscall).
    this.#systemCalls ??= [...systemCallEntries()].filter((name) => name !== '__x64_sys_ni_syscall').sort();
    return this.#systemCalls;
  }

  functions(): readonly string[] {
    // Not kept: there are tens of thousands, and lists of them are rare.
    return [...new Set(traceableFunctions())].sort();
  }

  canHook(name: string): boolean {
    return kernelFunction(name) !== undefined;
  }
}
