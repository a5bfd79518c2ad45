// SPDX-License-Identifier: Apache-2.0
// Owns what /proc tells of where processes come from: for lineages of what ran before a policy was loaded. Ancestors
// that have ended are not there; whoever has kept them (the process table) adds them.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';

/** One program that a process runs or ran. */
export interface Execution {
  readonly pid: number;
  /** In its own pid namespace; 0 where that is the host's. */
  readonly namespacePid: number;
  readonly binary: Uint8Array;
  /** What the same process ran before, as far as it is known. */
  readonly former: Execution | undefined;
  /** What made the process, as it was then; it may have ended. */
  readonly parent: Execution | undefined;
}

/** A process that runs. */
export interface KnownProcess {
  readonly pid: number;
  /** When it began, on the boot-time clock, in hundredths of a second. */
  readonly startTicks: bigint;
  readonly execution: Execution;
}

export type ProcessList = () => KnownProcess[];

interface Found {
  readonly pid: number;
  readonly parentPid: number;
  readonly startTicks: bigint;
  readonly namespacePid: number;
  readonly binary: Uint8Array;
}

const deletedSuffix = Buffer.from(' (deleted)');

function readBinary(folder: string): Uint8Array {
  try {
    const binary = readlinkSync(`${folder}/exe`, { encoding: 'buffer' });
    const isMarked = binary.subarray(-deletedSuffix.length).equals(deletedSuffix);
    if (!isMarked || statSync(`${folder}/exe`).nlink > 0) return binary;
    return binary.subarray(0, -deletedSuffix.length);
  } catch {
    return new Uint8Array(); // a kernel thread, or gone
  }
}

function read(root: string, pid: number): Found | undefined {
  const folder = `${root}/${pid}`;
  try {
    const stat = readFileSync(`${folder}/stat`, 'latin1');
    // The name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const numbers =
      /^NSpid:\s*(.*)$/m.exec(readFileSync(`${folder}/status`, 'latin1'))?.[1]?.split(/\s+/) ?? [];
    return {
      pid,
      parentPid: Number(fields[1] ?? 0),
      startTicks: BigInt(fields[19] ?? 0),
      namespacePid: numbers.length > 1 ? Number(numbers.at(-1)) : 0,
      binary: readBinary(folder),
    };
  } catch {
    return undefined;
  }
}

/** The processes that run now, with those of their ancestors that do. */
export function processesInProc(root = '/proc'): KnownProcess[] {
  const found = new Map<number, Found>();
  for (const name of readdirSync(root)) {
    const process = /^\d+$/.test(name) ? read(root, Number(name)) : undefined;
    if (process !== undefined) found.set(process.pid, process);
  }
  const executions = new Map<number, { -readonly [Field in keyof Execution]: Execution[Field] }>();
  for (const { pid, namespacePid, binary } of found.values())
    executions.set(pid, { pid, namespacePid, binary, former: undefined, parent: undefined });
  for (const process of found.values()) {
    const parent = found.get(process.parentPid);
    const execution = executions.get(process.pid);
    // A parent that began later has the number of one that has ended.
    if (execution !== undefined && parent !== undefined && parent.startTicks <= process.startTicks)
      execution.parent = executions.get(parent.pid);
  }
  return [...found.values()].flatMap(({ pid, startTicks }) => {
    const execution = executions.get(pid);
    return execution === undefined ? [] : [{ pid, startTicks, execution }];
  });
}

/** The boot-time clock, in hundredths of a second. */
export function uptimeTicks(root = '/proc'): bigint {
  const seconds = Number(readFileSync(`${root}/uptime`, 'latin1').split(' ')[0]);
  return BigInt(Math.round(seconds * 100));
}
