// SPDX-License-Identifier: Apache-2.0
// Owns the answer to "what can this kernel and this process do?". Loads tiny programs, attaches none.
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { raw } from './addon.js';
import { errnoName, NativeError } from './error.js';

export interface Ability {
  readonly ok: boolean;
  /** A sentence that says why not; empty where it is ok. */
  readonly reason: string;
  readonly errno: number;
}

/** What is asked for, in the order in which it is shown. */
export const abilityNames = [
  'btf',
  'tracepoint',
  'rawTracepoint',
  'tpBtf',
  'fentry',
  'fexit',
  'fmodRet',
  'lsm',
  'kprobe',
  'kprobeMulti',
  'syscallProgram',
  'ringbuf',
  'taskStorage',
  'bpfLoop',
] as const;

export type AbilityName = (typeof abilityNames)[number];

export interface Probe {
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly btf: boolean;
  readonly capabilities: {
    readonly bpf: boolean;
    readonly perfmon: boolean;
    readonly sysAdmin: boolean;
    readonly sysResource: boolean;
  };
  /** Names of the active LSMs; undefined where securityfs does not say. */
  readonly activeLsms: readonly string[] | undefined;
  /** True where BPF LSM programs run: `bpf` is among the active LSMs. */
  readonly bpfLsmActive: boolean;
  readonly abilities: Readonly<Record<AbilityName, Ability>>;
}

function capabilities(): Probe['capabilities'] {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  const bits = BigInt(`0x${line?.[1] ?? '0'}`);
  const has = (bit: bigint) => ((bits >> bit) & 1n) === 1n;
  return { bpf: has(39n), perfmon: has(38n), sysAdmin: has(21n), sysResource: has(24n) };
}

function activeLsms(): string[] | undefined {
  try {
    return readFileSync('/sys/kernel/security/lsm', 'utf8').trim().split(',').filter(Boolean);
  } catch {
    return undefined;
  }
}

function reasonOf(name: AbilityName, errno: number, log: string, permitted: boolean): string {
  const code = errnoName(errno) || String(errno);
  if (!permitted && (errno === 1 || errno === 13 || errno === 524)) {
    return `the process may not load programs (${code}): it needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN`;
  }
  if (errno === 1 || errno === 13) {
    return `the kernel forbids ${name} to this process though it has the capabilities (${code}): a lockdown, or a policy of the host`;
  }
  if (errno === 2 || errno === 3) return `the kernel has no BTF for what ${name} needs (${code})`;
  if (errno === 524 || errno === 95) return `the kernel was built without ${name} (${code})`;
  const last =
    log
      .trim()
      .split('\n')
      .filter((line) => !line.startsWith('processed '))
      .at(-1) ?? '';
  return `the kernel refused ${name} with ${code}${last === '' ? '' : `: ${last}`}`;
}

/** Finds out what can be done here. It takes up to some hundred milliseconds: the kernel's BTF is parsed. */
export function probe(): Probe {
  const rights = capabilities();
  const permitted = rights.sysAdmin || (rights.bpf && rights.perfmon);
  const btf = existsSync('/sys/kernel/btf/vmlinux');
  const abilities = {} as Record<AbilityName, Ability>;
  for (const name of abilityNames) {
    if (name === 'btf') {
      abilities[name] = btf
        ? { ok: true, reason: '', errno: 0 }
        : {
            ok: false,
            reason: 'the kernel has no /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)',
            errno: 2,
          };
      continue;
    }
    const { errno, log } = raw().probe(name);
    abilities[name] =
      errno === 0
        ? { ok: true, reason: '', errno: 0 }
        : { ok: false, reason: reasonOf(name, errno, log, permitted), errno };
  }
  const lsms = activeLsms();
  return {
    kernelRelease: release(),
    architecture: process.arch,
    btf,
    capabilities: rights,
    activeLsms: lsms,
    bpfLsmActive: lsms?.includes('bpf') ?? false,
    abilities,
  };
}

/** Says in one line why nothing can be loaded here at all; undefined where something can. */
export function whyNothingLoads(): string | undefined {
  try {
    const { abilities } = probe();
    if (!abilities.btf.ok) return abilities.btf.reason;
    if (!abilities.tpBtf.ok) return abilities.tpBtf.reason;
    if (!abilities.ringbuf.ok) return abilities.ringbuf.reason;
    return undefined;
  } catch (error) {
    if (error instanceof NativeError) return error.message;
    throw error;
  }
}
