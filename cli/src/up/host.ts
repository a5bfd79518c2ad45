// SPDX-License-Identifier: Apache-2.0
// Owns the look at this machine before anything is started: one line says what stands in the way, and what works
// instead. What the kernel itself refuses is found out by the agent, hook by hook.
import { existsSync, readFileSync } from 'node:fs';
import { CliError } from '../errors.js';

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Where this runs, as far as it matters to a reader: the agent may work all the same. */
export function surroundings(): string | undefined {
  if (/microsoft/i.test(read('/proc/version'))) return 'WSL';
  if (existsSync('/.dockerenv') || existsSync('/run/.containerenv')) return 'a container';
  const container = /^container=(.+)$/m.exec(read('/proc/1/environ').replaceAll('\0', '\n'))?.[1];
  return container === undefined ? undefined : `a container (${container})`;
}

const capabilityBits = { CAP_BPF: 39, CAP_PERFMON: 38, CAP_SYS_ADMIN: 21 } as const;

function bounding(): bigint {
  return BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(read('/proc/self/status'))?.[1] ?? '0'}`);
}

/** Says why no agent can run here, whatever its user; undefined where one can be tried. */
export function whyNoAgent(): string | undefined {
  if (process.platform !== 'linux') return `this is ${process.platform}, and eBPF is Linux's`;
  if (process.arch !== 'x64') return `the processor is ${process.arch}; x86-64 is what has been tested`;
  const where = surroundings();
  const inside = where === undefined ? '' : `, and this is ${where}`;
  if (!existsSync('/sys/kernel/btf/vmlinux')) {
    return `the kernel describes its types to nobody (no /sys/kernel/btf/vmlinux)${inside}`;
  }
  const bits = bounding();
  const has = (name: keyof typeof capabilityBits) => ((bits >> BigInt(capabilityBits[name])) & 1n) === 1n;
  if (!has('CAP_SYS_ADMIN') && !(has('CAP_BPF') && has('CAP_PERFMON'))) {
    return `no process here can have the right to load eBPF (CAP_BPF and CAP_PERFMON)${inside}`;
  }
  return undefined;
}

/** @throws {CliError} where no agent can run here. */
export function checkHost(): void {
  const reason = whyNoAgent();
  if (reason === undefined) return;
  throw new CliError(`The agent cannot run on this machine: ${reason}.`, [
    'weir up --vm runs it in a small virtual machine instead, where all of it works.',
  ]);
}
