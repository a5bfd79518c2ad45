// SPDX-License-Identifier: Apache-2.0
// Owns the views of processes and pods: each is the address of its entry in the batch, all zeros where there is none.
import { Bytes, viewOf } from './bytes';
import {
  ExecFlag,
  podEntryAnnotationsLength,
  podEntryAnnotationsOffset,
  podEntryContainerIdLength,
  podEntryContainerIdOffset,
  podEntryContainerNameLength,
  podEntryContainerNameOffset,
  podEntryContainerPid,
  podEntryContainerStartUnixNs,
  podEntryFlags,
  podEntryImageIdLength,
  podEntryImageIdOffset,
  podEntryImageNameLength,
  podEntryImageNameOffset,
  podEntryLabelsLength,
  podEntryLabelsOffset,
  podEntryNameLength,
  podEntryNameOffset,
  podEntryNamespaceLength,
  podEntryNamespaceOffset,
  podEntryUidLength,
  podEntryUidOffset,
  podEntryWorkloadKindLength,
  podEntryWorkloadKindOffset,
  podEntryWorkloadLength,
  podEntryWorkloadOffset,
  processEntryArgumentsLength,
  processEntryArgumentsOffset,
  processEntryAuid,
  processEntryBinaryLength,
  processEntryBinaryOffset,
  processEntryCapEffective,
  processEntryCapInheritable,
  processEntryCapPermitted,
  processEntryCgroupId,
  processEntryContainerIdLength,
  processEntryContainerIdOffset,
  processEntryCwdLength,
  processEntryCwdOffset,
  processEntryEgid,
  processEntryEnvironmentLength,
  processEntryEnvironmentOffset,
  processEntryEuid,
  processEntryExecFlags,
  processEntryExecNs,
  processEntryFsgid,
  processEntryFsuid,
  processEntryGid,
  processEntryInode,
  processEntryLinks,
  processEntryMode,
  processEntryNamespacePid,
  processEntryNamespaces,
  processEntryParentExecNs,
  processEntryParentIndex,
  processEntryParentPid,
  processEntryParentStartNs,
  processEntryPid,
  processEntryPodIndex,
  processEntrySecurebits,
  processEntrySgid,
  processEntryStartNs,
  processEntrySuid,
  processEntryUid,
  processEntryUserNameLength,
  processEntryUserNameOffset,
} from './generated/layout';
import { batchAt, emptyAt, podAt, processAt } from './memory';
import { hasBit } from './payload';
import { mix } from './state';

/** Ancestors that are looked at: a longer line is not one that anybody asks for. */
const ANCESTORS_MAX = 64;

/** Looks a name up in pairs of name and value, each followed by NUL; empty where it is not. */
export function valueOf(offset: u32, length: u32, name: string): Bytes {
  const pairs = viewOf(batchAt(), offset, length);
  let at = 0;
  while (at < pairs.length) {
    let nameEnd = pairs.indexOfByte(0, at);
    if (nameEnd < 0) nameEnd = pairs.length;
    let valueEnd = pairs.indexOfByte(0, nameEnd + 1);
    if (valueEnd < 0) valueEnd = pairs.length;
    if (pairs.slice(at, nameEnd).equals(name)) return pairs.slice(nameEnd + 1, valueEnd);
    at = valueEnd + 1;
  }
  return pairs.slice(0, 0);
}

/** The arguments of a process, from argv[1] on. */
@unmanaged
@final
export class ArgumentList {
  private address: u32;
  private bytes: i32;

  /** All of them, with a NUL between two. */
  get raw(): Bytes {
    return changetype<Bytes>(changetype<usize>(this));
  }

  get length(): i32 {
    if (this.bytes == 0) return 0;
    const raw = this.raw;
    let count = 1;
    for (let at = raw.indexOfByte(0); at >= 0; at = raw.indexOfByte(0, at + 1)) count++;
    return count;
  }

  /** The argument at an index, from 0 (argv[1]) on; empty beyond the last. Walks the list. */
  at(index: i32): Bytes {
    const raw = this.raw;
    let from = 0;
    for (let i = 0; i < index; i++) {
      const end = raw.indexOfByte(0, from);
      if (end < 0) return raw.slice(0, 0);
      from = end + 1;
    }
    const end = raw.indexOfByte(0, from);
    return raw.slice(from, end < 0 ? raw.length : end);
  }

  /**
   * The first of them. All of them, in one walk:
   * `for (let one = list.first; list.holds(one); one = list.after(one)) …`
   */
  get first(): Bytes {
    const raw = this.raw;
    const end = raw.indexOfByte(0);
    return raw.slice(0, end < 0 ? raw.length : end);
  }

  /** The one that follows; after the last, one that the list does not hold. */
  after(argument: Bytes): Bytes {
    const raw = this.raw;
    const from = <i32>(argument.end - raw.address) + 1;
    if (<u32>from > <u32>raw.length) return viewOf(raw.end + 1, 0, 0);
    const end = raw.indexOfByte(0, from);
    return viewOf(raw.address, from, (end < 0 ? raw.length : end) - from);
  }

  /** Whether an argument that `first` or `after` gave is one of them. */
  holds(argument: Bytes): bool {
    return this.bytes > 0 && argument.address >= this.address && argument.end <= this.raw.end;
  }

  /** Whether a text is in one of them, whatever the case of ASCII letters. */
  contain(text: string): bool {
    return this.raw.containsIgnoreCase(text);
  }

  /** Whether one of them is exactly this. */
  has(text: string): bool {
    const raw = this.raw;
    let from = 0;
    while (from < raw.length) {
      let end = raw.indexOfByte(0, from);
      if (end < 0) end = raw.length;
      if (raw.slice(from, end).equals(text)) return true;
      from = end + 1;
    }
    return false;
  }
}

/** A process as it was when the event was joined. Where it is not known, every field is 0 or empty. */
@unmanaged
@final
export class Process {
  private get entry(): usize {
    return changetype<usize>(this);
  }

  get isKnown(): bool {
    return this.entry != emptyAt();
  }

  get pid(): u32 {
    return processEntryPid(this.entry);
  }

  get parentPid(): u32 {
    return processEntryParentPid(this.entry);
  }

  /** When it was created, on the boot-time clock; with pid, its identity. */
  get startNs(): u64 {
    return processEntryStartNs(this.entry);
  }

  /** When its parent was created; with parentPid, the parent's identity. */
  get parentStartNs(): u64 {
    return processEntryParentStartNs(this.entry);
  }

  /** When its parent had last called exec as this process was created. */
  get parentExecNs(): u64 {
    return processEntryParentExecNs(this.entry);
  }

  /** When it last called exec, on the boot-time clock. */
  get execNs(): u64 {
    return processEntryExecNs(this.entry);
  }

  get uid(): u32 {
    return processEntryUid(this.entry);
  }

  get gid(): u32 {
    return processEntryGid(this.entry);
  }

  get euid(): u32 {
    return processEntryEuid(this.entry);
  }

  get egid(): u32 {
    return processEntryEgid(this.entry);
  }

  /** Login user, 4294967295 where never set. */
  get auid(): u32 {
    return processEntryAuid(this.entry);
  }

  /** See ExecFlag. */
  get flags(): u32 {
    return processEntryExecFlags(this.entry);
  }

  get suid(): u32 {
    return processEntrySuid(this.entry);
  }

  get sgid(): u32 {
    return processEntrySgid(this.entry);
  }

  /** User that access to files goes by. */
  get fsuid(): u32 {
    return processEntryFsuid(this.entry);
  }

  get fsgid(): u32 {
    return processEntryFsgid(this.entry);
  }

  get securebits(): u32 {
    return processEntrySecurebits(this.entry);
  }

  /** Whether the binary lay in memory only when it was executed. */
  get isMemfd(): bool {
    return (this.flags & ExecFlag.memfd) != 0;
  }

  /** Whether an earlier filter has masked something of its arguments, environment or working directory. */
  get isRedacted(): bool {
    return (this.flags & ExecFlag.redacted) != 0;
  }

  /** Whether the binary was deleted when it was executed. */
  get isUnlinked(): bool {
    return (this.flags & ExecFlag.unlinked) != 0;
  }

  /** Whether the program gained a user, a group or capabilities by its file. */
  get isPrivilegedByFile(): bool {
    return (this.flags & (ExecFlag.setuid | ExecFlag.setgid | ExecFlag.fileCapabilities)) != 0;
  }

  /**
   * Whether it descends from the first process of its container: what is brought in from outside, as by
   * `kubectl exec`, does not.
   */
  get isInInitTree(): bool {
    return (this.flags & ExecFlag.inInitTree) != 0;
  }

  /** Identity of the process as a key of state: the same for all its events, another for each process. */
  get key(): u64 {
    return mix(this.startNs, this.pid);
  }

  /** Effective capabilities, as bits. */
  get capabilities(): u64 {
    return processEntryCapEffective(this.entry);
  }

  get permittedCapabilities(): u64 {
    return processEntryCapPermitted(this.entry);
  }

  get inheritableCapabilities(): u64 {
    return processEntryCapInheritable(this.entry);
  }

  /** Whether a capability is effective; 21 is CAP_SYS_ADMIN. */
  hasCapability(number: u32): bool {
    return hasBit(this.capabilities, number);
  }

  /** Its process id within its own pid namespace; 1 is the first process of a container. */
  get namespacePid(): u32 {
    return processEntryNamespacePid(this.entry);
  }

  /** Inode number of a namespace; see NamespaceKind. */
  namespace(kind: u32): u32 {
    return kind < 10 ? processEntryNamespaces(this.entry, kind) : 0;
  }

  get cgroupId(): u64 {
    return processEntryCgroupId(this.entry);
  }

  /** Inode number of the binary. */
  get inode(): u64 {
    return processEntryInode(this.entry);
  }

  /** Links that the binary had when it was executed: 0 where it was deleted or never had a name. */
  get links(): u32 {
    return processEntryLinks(this.entry);
  }

  /** Mode of the binary's inode. */
  get mode(): u32 {
    return processEntryMode(this.entry);
  }

  get binary(): Bytes {
    return viewOf(batchAt(), processEntryBinaryOffset(this.entry), processEntryBinaryLength(this.entry));
  }

  get arguments(): ArgumentList {
    return changetype<ArgumentList>(
      changetype<usize>(
        viewOf(batchAt(), processEntryArgumentsOffset(this.entry), processEntryArgumentsLength(this.entry)),
      ),
    );
  }

  get cwd(): Bytes {
    return viewOf(batchAt(), processEntryCwdOffset(this.entry), processEntryCwdLength(this.entry));
  }

  /** Id of its container, empty on the host. */
  get containerId(): Bytes {
    return viewOf(
      batchAt(),
      processEntryContainerIdOffset(this.entry),
      processEntryContainerIdLength(this.entry),
    );
  }

  get userName(): Bytes {
    return viewOf(batchAt(), processEntryUserNameOffset(this.entry), processEntryUserNameLength(this.entry));
  }

  get inContainer(): bool {
    return processEntryContainerIdLength(this.entry) != 0 || processEntryPodIndex(this.entry) != 0;
  }

  get parent(): Process {
    return changetype<Process>(processAt(processEntryParentIndex(this.entry)));
  }

  get pod(): Pod {
    return changetype<Pod>(podAt(processEntryPodIndex(this.entry)));
  }

  /** Its environment, each variable followed by NUL; empty where the policy does not ask for it. */
  get environment(): Bytes {
    return viewOf(
      batchAt(),
      processEntryEnvironmentOffset(this.entry),
      processEntryEnvironmentLength(this.entry),
    );
  }

  /** Value of a variable of its environment; empty where it has none of that name. */
  variable(name: string): Bytes {
    const all = this.environment;
    let from = 0;
    while (from < all.length) {
      let end = all.indexOfByte(0, from);
      if (end < 0) end = all.length;
      const equals = all.indexOfByte(0x3d, from);
      if (equals >= 0 && equals < end && all.slice(from, equals).equals(name))
        return all.slice(equals + 1, end);
      from = end + 1;
    }
    return all.slice(0, 0);
  }

  /** An ancestor: 1 is the parent, 2 its parent, to 64; unknown where the line ends before. */
  ancestor(generation: i32): Process {
    let process: Process = this;
    for (let i = 0; i < min(generation, ANCESTORS_MAX) && process.isKnown; i++) process = process.parent;
    return process;
  }

  /** Whether one of its ancestors (not itself) runs a binary whose path matches a pattern; see Bytes.glob. */
  hasAncestor(pattern: string): bool {
    let process = this.parent;
    for (let i = 0; i < ANCESTORS_MAX && process.isKnown; i++) {
      if (process.binary.glob(pattern)) return true;
      process = process.parent;
    }
    return false;
  }
}

/** A pod and the container of it that a process runs in. Where there is none, every field is empty. */
@unmanaged
@final
export class Pod {
  private get entry(): usize {
    return changetype<usize>(this);
  }

  get isKnown(): bool {
    return this.entry != emptyAt();
  }

  get namespace(): Bytes {
    return viewOf(batchAt(), podEntryNamespaceOffset(this.entry), podEntryNamespaceLength(this.entry));
  }

  get name(): Bytes {
    return viewOf(batchAt(), podEntryNameOffset(this.entry), podEntryNameLength(this.entry));
  }

  get uid(): Bytes {
    return viewOf(batchAt(), podEntryUidOffset(this.entry), podEntryUidLength(this.entry));
  }

  /** Identity of its workload as a key of state; of a pod without one, of the pod. */
  get workloadKey(): u64 {
    const workload = this.workload;
    return mix(this.namespace.hash, workload.isEmpty ? this.name.hash : workload.hash);
  }

  get workload(): Bytes {
    return viewOf(batchAt(), podEntryWorkloadOffset(this.entry), podEntryWorkloadLength(this.entry));
  }

  get workloadKind(): Bytes {
    return viewOf(batchAt(), podEntryWorkloadKindOffset(this.entry), podEntryWorkloadKindLength(this.entry));
  }

  get container(): Bytes {
    return viewOf(
      batchAt(),
      podEntryContainerNameOffset(this.entry),
      podEntryContainerNameLength(this.entry),
    );
  }

  get containerId(): Bytes {
    return viewOf(batchAt(), podEntryContainerIdOffset(this.entry), podEntryContainerIdLength(this.entry));
  }

  get image(): Bytes {
    return viewOf(batchAt(), podEntryImageNameOffset(this.entry), podEntryImageNameLength(this.entry));
  }

  get imageId(): Bytes {
    return viewOf(batchAt(), podEntryImageIdOffset(this.entry), podEntryImageIdLength(this.entry));
  }

  /** When the container began, in nanoseconds since 1970. */
  get containerStartNs(): u64 {
    return podEntryContainerStartUnixNs(this.entry);
  }

  /** Process id of the container's first process, within its own pid namespace. */
  get containerPid(): u32 {
    return podEntryContainerPid(this.entry);
  }

  /** Whether what runs may be a probe that the pod's own specification has the kubelet run. */
  get mayBeProbe(): bool {
    return (podEntryFlags(this.entry) & 2) != 0;
  }

  get isPrivileged(): bool {
    return (podEntryFlags(this.entry) & 1) != 0;
  }

  /** Value of a label of the pod, empty where it has none of that name. */
  label(name: string): Bytes {
    return valueOf(podEntryLabelsOffset(this.entry), podEntryLabelsLength(this.entry), name);
  }

  /** Value of an annotation of the pod, empty where it has none of that name. */
  annotation(name: string): Bytes {
    return valueOf(podEntryAnnotationsOffset(this.entry), podEntryAnnotationsLength(this.entry), name);
  }
}
