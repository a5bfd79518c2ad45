// SPDX-License-Identifier: Apache-2.0
// Owns what the process table adds to what /proc says of where processes come from: ancestors that have ended, and what
// a process ran before.
import { PROCESS_ENTRY_BYTES, readProcessEntry } from '@weir/schema';
import { type Execution, type KnownProcess, processesInProc } from './policy/known-processes.js';
import type { ProcessTable } from './process/table.js';

const nsPerTick = 10_000_000n;
/** Inode number of the first pid namespace (linux/proc_ns.h). */
const hostPidNamespace = 0xeffffffc;
const pidNamespaceAt = 3;

interface Entry {
  readonly execution: { -readonly [Field in keyof Execution]: Execution[Field] };
  readonly identity: string;
  readonly startNs: bigint;
  readonly execNs: bigint;
  readonly parent: string;
}

/** The processes that run now, with all that the table knows of what they descend from. */
export function knownProcesses(table: ProcessTable, root = '/proc'): KnownProcess[] {
  const view = new DataView(table.images.buffer);
  const entries: Entry[] = [];
  for (const slot of table.slots()) {
    const entry = readProcessEntry(view, slot * PROCESS_ENTRY_BYTES);
    const isHost = entry.namespaces[pidNamespaceAt] === hostPidNamespace;
    entries.push({
      execution: {
        pid: entry.pid,
        namespacePid: isHost ? 0 : entry.namespacePid,
        binary: table.bytesOf(slot, entry.binary.offset, entry.binary.length),
        former: undefined,
        parent: undefined,
      },
      identity: `${entry.pid} ${entry.startNs / nsPerTick}`,
      startNs: entry.startNs,
      execNs: entry.execNs,
      parent: `${entry.parentPid} ${entry.parentExecNs}`,
    });
  }
  entries.sort((a, b) => (a.execNs < b.execNs ? -1 : a.execNs > b.execNs ? 1 : 0));
  const byExecution = new Map(
    entries.map(({ execution, execNs }) => [`${execution.pid} ${execNs}`, execution]),
  );
  const latest = new Map<string, Entry['execution']>();
  for (const { execution, identity, parent } of entries) {
    execution.former = latest.get(identity);
    execution.parent = byExecution.get(parent);
    latest.set(identity, execution);
  }
  // What runs is /proc's to say: the table may be full, or late.
  return processesInProc(root).map((process) => {
    const known = latest.get(`${process.pid} ${process.startTicks}`);
    if (known === undefined) return process;
    const { execution } = process;
    return {
      ...process,
      execution: { ...execution, former: known, parent: known.parent ?? execution.parent },
    };
  });
}
