// SPDX-License-Identifier: Apache-2.0
// Owns which namespaces are the host's.
import { statSync } from 'node:fs';
import { namespaceKindNames } from '@weir/schema';
import type { HostNamespaces } from './encode.js';

/** Numbers that the kernel gives its first namespaces (linux/proc_ns.h); mnt and net have none that is fixed. */
const initialNamespaces: Readonly<Record<string, bigint>> = {
  uts: 0xeffffffen,
  ipc: 0xefffffffn,
  pid: 0xeffffffcn,
  pid_for_children: 0xeffffffcn,
  time: 0xeffffffan,
  time_for_children: 0xeffffffan,
  cgroup: 0xeffffffbn,
  user: 0xeffffffdn,
};

/**
 * Inode numbers of the namespaces of the host's first process, by namespace_kind: 0 where the kernel has none of a
 * kind, undefined where it cannot be read (that needs CAP_SYS_PTRACE) and is not known.
 */
export function readHostNamespaces(procPath = '/proc'): HostNamespaces {
  return Object.values(namespaceKindNames).map((name) => {
    try {
      return BigInt(statSync(`${procPath}/1/ns/${name}`).ino);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 0n : initialNamespaces[name];
    }
  });
}
