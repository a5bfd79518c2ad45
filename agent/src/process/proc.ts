// SPDX-License-Identifier: Apache-2.0
// Owns the reading of /proc at the start: the processes that were there before the programs were attached.
// A process may end while it is read: what is gone is left out.
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import {
  ExecFlag,
  NamespaceKind,
  PROCESS_ENTRY_ARGUMENTS_AT,
  PROCESS_ENTRY_AUID_AT,
  PROCESS_ENTRY_BINARY_AT,
  PROCESS_ENTRY_CAP_EFFECTIVE_AT,
  PROCESS_ENTRY_CAP_INHERITABLE_AT,
  PROCESS_ENTRY_CAP_PERMITTED_AT,
  PROCESS_ENTRY_CONTAINER_ID_AT,
  PROCESS_ENTRY_CWD_AT,
  PROCESS_ENTRY_EXEC_FLAGS_AT,
  PROCESS_ENTRY_INODE_AT,
  PROCESS_ENTRY_LINKS_AT,
  PROCESS_ENTRY_MODE_AT,
  PROCESS_ENTRY_NAMESPACE_PID_AT,
  PROCESS_ENTRY_NAMESPACES_AT,
  PROCESS_ENTRY_UID_AT,
} from '@weir/schema';
import { CONTAINER_ID_LENGTH, containerIdAt } from '../identity/container.js';
import { IMAGE_WORDS, type ProcessTable } from './table.js';

/** Bytes of arguments that are kept, as in the kernel's records. */
const ARGUMENTS_BYTES_MAX = 4096;

/** What /proc says of one process. */
export interface ProcProcess {
  readonly pid: number;
  readonly parentPid: number;
  /** Field 22 of stat: the start on the boot-time clock, in hundredths of a second. */
  readonly startTicks: bigint;
  readonly binary: Uint8Array;
  readonly arguments: Uint8Array;
  readonly argumentsTruncated: boolean;
  readonly cwd: Uint8Array;
  readonly cgroupName: Uint8Array;
  readonly ids: readonly number[];
  readonly loginUid: number;
  readonly capabilities: {
    readonly permitted: bigint;
    readonly effective: bigint;
    readonly inheritable: bigint;
  };
  readonly namespaces: readonly number[];
  readonly namespacePid: number;
  readonly inode: bigint;
  readonly links: number;
  readonly mode: number;
}

const empty = new Uint8Array(0);

function optional<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

function bytesOf(link: string): Uint8Array {
  return readlinkSync(link, { encoding: 'buffer' });
}

/** Pid, parent and start from the text of `/proc/PID/stat`. The name in parentheses may hold anything. */
export function parseStat(text: string): { parentPid: number; startTicks: bigint } | undefined {
  const end = text.lastIndexOf(')');
  const fields = text
    .slice(end + 2)
    .trim()
    .split(' ');
  const parentPid = fields[1];
  const start = fields[19];
  if (end < 0 || parentPid === undefined || start === undefined || !/^\d+$/.test(start)) return undefined;
  return { parentPid: Number(parentPid), startTicks: BigInt(start) };
}

const namespaceLinks: Readonly<Record<keyof typeof NamespaceKind, string>> = {
  uts: 'uts',
  ipc: 'ipc',
  mnt: 'mnt',
  pid: 'pid',
  pidForChildren: 'pid_for_children',
  net: 'net',
  time: 'time',
  timeForChildren: 'time_for_children',
  cgroup: 'cgroup',
  user: 'user',
};

function status(text: string, field: string): string[] {
  const line = new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text);
  return line?.[1]?.trim().split(/\s+/) ?? [];
}

/** Reads one process; undefined where it is gone. */
export function readProcess(root: string, pid: number): ProcProcess | undefined {
  const folder = `${root}/${pid}`;
  try {
    const stat = parseStat(readFileSync(`${folder}/stat`, 'latin1'));
    if (stat === undefined) return undefined;
    const text = readFileSync(`${folder}/status`, 'latin1');
    const binary = optional(() => bytesOf(`${folder}/exe`), empty);
    const file = optional(() => statSync(`${folder}/exe`, { bigint: true }), undefined);
    const cmdline = readFileSync(`${folder}/cmdline`);
    const first = cmdline.indexOf(0);
    // From argv[1] on; the last one's closing NUL is left out.
    let rest: Uint8Array = first < 0 ? empty : cmdline.subarray(first + 1);
    if (rest.at(-1) === 0) rest = rest.subarray(0, -1);
    const cgroup = optional(() => readFileSync(`${folder}/cgroup`, 'latin1'), '');
    const path = /^0::(.*)$/m.exec(cgroup)?.[1] ?? '';
    const uids = status(text, 'Uid').map(Number);
    const gids = status(text, 'Gid').map(Number);
    const capability = (name: string) => BigInt(`0x${status(text, name)[0] ?? '0'}`);
    const namespaces: number[] = new Array(10).fill(0);
    for (const [name, link] of Object.entries(namespaceLinks)) {
      const inode = /\[(\d+)\]/.exec(optional(() => readlinkSync(`${folder}/ns/${link}`), ''))?.[1];
      namespaces[NamespaceKind[name as keyof typeof NamespaceKind]] = Number(inode ?? 0);
    }
    const [uid = 0, euid = 0, suid = 0, fsuid = 0] = uids;
    const [gid = 0, egid = 0, sgid = 0, fsgid = 0] = gids;
    return {
      pid,
      ...stat,
      binary,
      arguments: rest.subarray(0, ARGUMENTS_BYTES_MAX),
      argumentsTruncated: rest.length > ARGUMENTS_BYTES_MAX,
      cwd: optional(() => bytesOf(`${folder}/cwd`), empty),
      cgroupName: Buffer.from(path.slice(path.lastIndexOf('/') + 1), 'latin1'),
      ids: [uid, gid, euid, egid, suid, sgid, fsuid, fsgid],
      loginUid: optional(() => Number(readFileSync(`${folder}/loginuid`, 'latin1')), 0xffffffff),
      capabilities: {
        permitted: capability('CapPrm'),
        effective: capability('CapEff'),
        inheritable: capability('CapInh'),
      },
      namespaces,
      namespacePid: Number(status(text, 'NSpid').at(-1) ?? pid),
      inode: file?.ino ?? 0n,
      links: file === undefined ? 0 : Number(file.nlink),
      mode: file === undefined ? 0 : Number(file.mode),
    };
  } catch {
    return undefined;
  }
}

/** Fills the image and the strings of a slot. */
export function fillFromProc(table: ProcessTable, slot: number, found: ProcProcess): void {
  const image = new DataView(table.images.buffer, slot * IMAGE_WORDS * 4, IMAGE_WORDS * 4);
  let flags = image.getUint32(PROCESS_ENTRY_EXEC_FLAGS_AT, true) | ExecFlag.procfs;
  let binary = found.binary;
  const deleted = ' (deleted)';
  const text = Buffer.from(binary).toString('latin1');
  if (text.endsWith(deleted) && found.links === 0) {
    binary = binary.subarray(0, binary.length - deleted.length);
    flags |= ExecFlag.unlinked;
    if (text.startsWith('/memfd:')) flags |= ExecFlag.memfd;
  }
  if (found.argumentsTruncated) flags |= ExecFlag.truncatedArguments;
  if (found.cwd.length === 1 && found.cwd[0] === 0x2f) flags |= ExecFlag.rootcwd;
  for (const [index, id] of found.ids.entries()) image.setUint32(PROCESS_ENTRY_UID_AT + index * 4, id, true);
  image.setUint32(PROCESS_ENTRY_AUID_AT, found.loginUid >>> 0, true);
  image.setBigUint64(PROCESS_ENTRY_CAP_PERMITTED_AT, found.capabilities.permitted, true);
  image.setBigUint64(PROCESS_ENTRY_CAP_EFFECTIVE_AT, found.capabilities.effective, true);
  image.setBigUint64(PROCESS_ENTRY_CAP_INHERITABLE_AT, found.capabilities.inheritable, true);
  for (const [index, inode] of found.namespaces.entries()) {
    image.setUint32(PROCESS_ENTRY_NAMESPACES_AT + index * 4, inode >>> 0, true);
  }
  image.setUint32(PROCESS_ENTRY_NAMESPACE_PID_AT, found.namespacePid, true);
  image.setBigUint64(PROCESS_ENTRY_INODE_AT, BigInt.asUintN(64, found.inode), true);
  image.setUint32(PROCESS_ENTRY_LINKS_AT, found.links, true);
  image.setUint32(PROCESS_ENTRY_MODE_AT, found.mode, true);

  const parts: [number, Uint8Array][] = [
    [PROCESS_ENTRY_BINARY_AT, binary.subarray(0, 4096)],
    [PROCESS_ENTRY_ARGUMENTS_AT, found.arguments],
    [PROCESS_ENTRY_CWD_AT, found.cwd.subarray(0, 4096)],
    [0, found.cgroupName.subarray(0, 255)],
  ];
  image.setUint32(PROCESS_ENTRY_EXEC_FLAGS_AT, flags, true);
  const strings = new Uint8Array(parts.reduce((sum, [, bytes]) => sum + bytes.length, 0));
  let end = 0;
  for (const [, bytes] of parts) {
    strings.set(bytes, end);
    end += bytes.length;
  }
  if (!table.handle.setStrings(slot, strings)) return;
  end = 0;
  for (const [at, bytes] of parts) {
    if (at !== 0 && bytes.length > 0) {
      image.setUint32(at, end, true);
      image.setUint32(at + 4, bytes.length, true);
    } else if (at === 0) {
      const container = containerIdAt(strings, end, bytes.length);
      if (container >= 0) {
        image.setUint32(PROCESS_ENTRY_CONTAINER_ID_AT, container, true);
        image.setUint32(PROCESS_ENTRY_CONTAINER_ID_AT + 4, CONTAINER_ID_LENGTH, true);
      }
    }
    end += bytes.length;
  }
}

/**
 * Reads all processes into the table. Attach the programs first: what is created while this runs comes as events.
 * @returns how many were found
 */
export function seedFromProc(table: ProcessTable, root = '/proc'): number {
  const slots: [number, ProcProcess][] = [];
  for (const name of readdirSync(root)) {
    if (!/^\d+$/.test(name)) continue;
    const found = readProcess(root, Number(name));
    if (found === undefined) continue;
    const slot = table.seed(found.pid, found.startTicks);
    if (slot === 0) continue;
    fillFromProc(table, slot, found);
    slots.push([slot, found]);
  }
  for (const [slot, found] of slots) table.handle.linkSeeds(slot, table.handle.seedOf(found.parentPid));
  return slots.length;
}
