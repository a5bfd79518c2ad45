// SPDX-License-Identifier: Apache-2.0
// Owns the views of what an argument of a composite type carries: sockets, credentials, namespaces, BPF objects, perf
// events, kernel modules. Each is the address of its struct, all zeros where the argument is of another type.
import { addressOf, IpAddress } from './address';
import { Bytes, viewOf } from './bytes';
import {
  bpfArgumentInstructionCount,
  bpfArgumentKeySize,
  bpfArgumentMaxEntries,
  bpfArgumentNameAt,
  bpfArgumentType,
  bpfArgumentValueSize,
  credentialArgumentAuid,
  credentialArgumentCapEffective,
  credentialArgumentCapInheritable,
  credentialArgumentCapPermitted,
  credentialArgumentEgid,
  credentialArgumentEuid,
  credentialArgumentFsgid,
  credentialArgumentFsuid,
  credentialArgumentGid,
  credentialArgumentSecurebits,
  credentialArgumentSgid,
  credentialArgumentSuid,
  credentialArgumentUid,
  credentialArgumentUserNamespace,
  credentialArgumentUserNamespaceLevel,
  moduleArgumentNameAt,
  moduleArgumentSignatureOk,
  moduleArgumentTainted,
  perfEventArgumentConfig,
  perfEventArgumentFunctionAt,
  perfEventArgumentProbeOffset,
  perfEventArgumentType,
  socketArgumentCookie,
  socketArgumentDestinationAddressAt,
  socketArgumentDestinationPort,
  socketArgumentFamily,
  socketArgumentHash,
  socketArgumentLength,
  socketArgumentMark,
  socketArgumentPriority,
  socketArgumentProtocol,
  socketArgumentSourceAddressAt,
  socketArgumentSourcePort,
  socketArgumentState,
  socketArgumentType,
  userNamespaceArgumentGroup,
  userNamespaceArgumentInode,
  userNamespaceArgumentLevel,
  userNamespaceArgumentOwner,
} from './generated/layout';

/** A name that ends with NUL, or with its field. */
function nameAt(at: usize, most: i32): Bytes {
  let length = 0;
  while (length < most && load<u8>(at + length) != 0) length++;
  return viewOf(at, 0, length);
}

/** Whether a set of capability bits holds one. */
export function hasBit(bits: u64, number: u32): bool {
  return number < 64 && ((bits >> <u64>number) & 1) != 0;
}

/** A socket, or the address of one: `sock`, `socket`, `skb` and `sockaddr`. */
@unmanaged
@final
export class Socket {
  private get at(): usize {
    return changetype<usize>(this);
  }

  /** AF_*: 1 Unix, 2 IPv4, 10 IPv6; 0 where the argument is no socket. */
  get family(): u32 {
    return socketArgumentFamily(this.at);
  }

  /** SOCK_*: 1 stream, 2 datagram. */
  get type(): u32 {
    return socketArgumentType(this.at);
  }

  /** IPPROTO_*: 6 TCP, 17 UDP. */
  get protocol(): u32 {
    return socketArgumentProtocol(this.at);
  }

  get isTcp(): bool {
    return this.protocol == 6;
  }

  get isUdp(): bool {
    return this.protocol == 17;
  }

  /** State of a TCP connection, as the kernel numbers them. */
  get state(): u32 {
    return socketArgumentState(this.at);
  }

  get sourcePort(): u32 {
    return socketArgumentSourcePort(this.at);
  }

  get destinationPort(): u32 {
    return socketArgumentDestinationPort(this.at);
  }

  get source(): IpAddress {
    return addressOf(this.at + socketArgumentSourceAddressAt, this.family);
  }

  /** Where it leads; of a `sockaddr`, the address itself. */
  get destination(): IpAddress {
    return addressOf(this.at + socketArgumentDestinationAddressAt, this.family);
  }

  get mark(): u32 {
    return socketArgumentMark(this.at);
  }

  get priority(): u32 {
    return socketArgumentPriority(this.at);
  }

  /** Bytes of the packet, of an `skb`. */
  get packetBytes(): u32 {
    return socketArgumentLength(this.at);
  }

  get packetHash(): u32 {
    return socketArgumentHash(this.at);
  }

  /** Identity of the socket. */
  get cookie(): u64 {
    return socketArgumentCookie(this.at);
  }
}

/** Credentials: `cred`. */
@unmanaged
@final
export class Credentials {
  private get at(): usize {
    return changetype<usize>(this);
  }

  get uid(): u32 {
    return credentialArgumentUid(this.at);
  }
  get gid(): u32 {
    return credentialArgumentGid(this.at);
  }
  get euid(): u32 {
    return credentialArgumentEuid(this.at);
  }
  get egid(): u32 {
    return credentialArgumentEgid(this.at);
  }
  get suid(): u32 {
    return credentialArgumentSuid(this.at);
  }
  get sgid(): u32 {
    return credentialArgumentSgid(this.at);
  }
  get fsuid(): u32 {
    return credentialArgumentFsuid(this.at);
  }
  get fsgid(): u32 {
    return credentialArgumentFsgid(this.at);
  }
  get auid(): u32 {
    return credentialArgumentAuid(this.at);
  }
  get securebits(): u32 {
    return credentialArgumentSecurebits(this.at);
  }
  get permitted(): u64 {
    return credentialArgumentCapPermitted(this.at);
  }
  get effective(): u64 {
    return credentialArgumentCapEffective(this.at);
  }
  get inheritable(): u64 {
    return credentialArgumentCapInheritable(this.at);
  }
  /** Whether a capability is effective; 21 is CAP_SYS_ADMIN. */
  hasCapability(number: u32): bool {
    return hasBit(this.effective, number);
  }
  /** Inode number of the user namespace. */
  get userNamespace(): u32 {
    return credentialArgumentUserNamespace(this.at);
  }
  get userNamespaceLevel(): u32 {
    return credentialArgumentUserNamespaceLevel(this.at);
  }
}

/** A user namespace: `user_namespace`. */
@unmanaged
@final
export class UserNamespace {
  private get at(): usize {
    return changetype<usize>(this);
  }

  get inode(): u32 {
    return userNamespaceArgumentInode(this.at);
  }
  /** How deep it is nested; 0 is the first. */
  get level(): i32 {
    return userNamespaceArgumentLevel(this.at);
  }
  /** User id of its owner. */
  get owner(): u32 {
    return userNamespaceArgumentOwner(this.at);
  }
  get group(): u32 {
    return userNamespaceArgumentGroup(this.at);
  }
}

/** A BPF program or map: `bpf_attr`, `bpf_prog`, `bpf_map`. */
@unmanaged
@final
export class BpfObject {
  private get at(): usize {
    return changetype<usize>(this);
  }

  /** BPF_PROG_TYPE_* or BPF_MAP_TYPE_*. */
  get type(): u32 {
    return bpfArgumentType(this.at);
  }
  get instructionCount(): u32 {
    return bpfArgumentInstructionCount(this.at);
  }
  get keyBytes(): u32 {
    return bpfArgumentKeySize(this.at);
  }
  get valueBytes(): u32 {
    return bpfArgumentValueSize(this.at);
  }
  get entriesMax(): u32 {
    return bpfArgumentMaxEntries(this.at);
  }
  get name(): Bytes {
    return nameAt(this.at + bpfArgumentNameAt, 16);
  }
}

/** A performance event: `perf_event`. */
@unmanaged
@final
export class PerfEvent {
  private get at(): usize {
    return changetype<usize>(this);
  }

  /** PERF_TYPE_*. */
  get type(): u32 {
    return perfEventArgumentType(this.at);
  }
  get config(): u64 {
    return perfEventArgumentConfig(this.at);
  }
  get probeOffset(): u64 {
    return perfEventArgumentProbeOffset(this.at);
  }
  /** The probed function. */
  get functionName(): Bytes {
    return nameAt(this.at + perfEventArgumentFunctionAt, 64);
  }
}

/** A kernel module: `module`, `load_info`. */
@unmanaged
@final
export class KernelModule {
  private get at(): usize {
    return changetype<usize>(this);
  }

  get name(): Bytes {
    return nameAt(this.at + moduleArgumentNameAt, 64);
  }
  /** Bits: what the module taints the kernel with. */
  get tainted(): u64 {
    return moduleArgumentTainted(this.at);
  }
  /** 1 where the signature is valid, 0 where not, 2 where that is not known. */
  get signature(): u32 {
    return moduleArgumentSignatureOk(this.at);
  }
}
