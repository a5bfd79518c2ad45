// SPDX-License-Identifier: Apache-2.0
// Owns the view of one argument of a hook event. Its address is that of its struct in the record; its payload counts
// from the start of the record, which is therefore kept beside it. What is of another type than is asked for is 0,
// empty, or a view of nothing.
import { IpAddress } from './address';
import { Bytes, viewOf } from './bytes';
import {
  ArgumentFlag,
  ArgumentType,
  argumentFlags,
  argumentIndex,
  argumentOriginalLength,
  argumentPayloadLength,
  argumentPayloadOffset,
  argumentType,
  argumentValue,
  bpfArgumentBytes,
  credentialArgumentBytes,
  moduleArgumentBytes,
  perfEventArgumentBytes,
  socketArgumentBytes,
  userNamespaceArgumentBytes,
} from './generated/layout';
import { emptyAt, eventRecord } from './memory';
import { BpfObject, Credentials, KernelModule, PerfEvent, Socket, UserNamespace } from './payload';

/** One argument of the event that is being judged. Where there is none at the index that was asked for, its type is `ArgumentType.none`. */
@unmanaged
@final
export class Argument {
  private get struct(): usize {
    return changetype<usize>(this);
  }

  /** See ArgumentType. */
  get type(): i32 {
    return argumentType(this.struct);
  }

  /** Number of the parameter of the hooked function. */
  get index(): i32 {
    return argumentIndex(this.struct);
  }

  /** See ArgumentFlag. */
  get flags(): u32 {
    return argumentFlags(this.struct);
  }

  get isTruncated(): bool {
    return (this.flags & ArgumentFlag.truncated) != 0;
  }

  /** Whether the memory could not be read: then it has no value. */
  get isUnreadable(): bool {
    return (this.flags & ArgumentFlag.unreadable) != 0;
  }

  /** Whether an earlier filter has masked something of it. */
  get isRedacted(): bool {
    return (this.flags & ArgumentFlag.redacted) != 0;
  }

  /** Whether the file that it names was deleted. */
  get isUnlinked(): bool {
    return (this.flags & ArgumentFlag.unlinked) != 0;
  }

  /** Bytes that it had before it was cut. */
  get originalLength(): u32 {
    return argumentOriginalLength(this.struct);
  }

  get isInteger(): bool {
    return this.type >= ArgumentType.int8 && this.type <= ArgumentType.uint64;
  }

  /** Integers, file descriptors, modes, capabilities: the value; signed types are sign-extended. */
  get value(): i64 {
    return <i64>argumentValue(this.struct);
  }

  /** Strings, buffers and paths: the bytes. */
  get bytes(): Bytes {
    return viewOf(eventRecord(), argumentPayloadOffset(this.struct), argumentPayloadLength(this.struct));
  }

  /** Whether it carries text or bytes that are no path: strings and buffers. */
  get isText(): bool {
    const type = this.type;
    return (
      (type >= ArgumentType.string && type <= ArgumentType.constBuf) ||
      type == ArgumentType.iovIter ||
      type == ArgumentType.dataLoc
    );
  }

  /** Whether it names a file: file names, descriptors, files, paths, programs. */
  get isPath(): bool {
    const type = this.type;
    return (
      (type >= ArgumentType.filename && type <= ArgumentType.kiocb) ||
      type == ArgumentType.linuxBinprm ||
      type == ArgumentType.sockaddrUn
    );
  }

  /** The same as `bytes`, for files, paths, file descriptors and programs. */
  get path(): Bytes {
    return this.bytes;
  }

  /** Files, paths: the mode of the inode, type bits included. */
  get mode(): u32 {
    const type = this.type;
    const has = (type >= ArgumentType.file && type <= ArgumentType.kiocb) || type == ArgumentType.linuxBinprm;
    return has ? <u32>this.value : 0;
  }

  /** File descriptors: the number; -1 for other types. */
  get descriptor(): i32 {
    return this.type == ArgumentType.fd ? <i32>this.value : -1;
  }

  /** `capability`: its number; -1 for other types. 21 is CAP_SYS_ADMIN. */
  get capability(): i32 {
    return this.type == ArgumentType.capability ? <i32>this.value : -1;
  }

  /** Sets of capabilities: the bits. */
  get capabilities(): u64 {
    const type = this.type;
    return type >= ArgumentType.kernelCapT && type <= ArgumentType.capEffective ? <u64>this.value : 0;
  }

  /** `syscall64`: number of the call; -1 for other types. */
  get syscall(): i32 {
    return this.type == ArgumentType.syscall64 ? <i32>(this.value & 0xffffffff) : -1;
  }

  /** `syscall64`: whether it came by the 32-bit entry, whose numbers are others. */
  get isCompatSyscall(): bool {
    return this.type == ArgumentType.syscall64 && this.value >> 32 == 1;
  }

  /** `bpf_cmd`: number of the command; -1 for other types. */
  get bpfCommand(): i32 {
    return this.type == ArgumentType.bpfCmd ? <i32>this.value : -1;
  }

  get hasSocket(): bool {
    return this.structAt(ArgumentType.sock, ArgumentType.sockaddr, socketArgumentBytes) != emptyAt();
  }

  /** `sock`, `socket`, `skb`, `sockaddr`. */
  get socket(): Socket {
    return changetype<Socket>(this.structAt(ArgumentType.sock, ArgumentType.sockaddr, socketArgumentBytes));
  }

  /** `cred`. */
  get credentials(): Credentials {
    return changetype<Credentials>(
      this.structAt(ArgumentType.cred, ArgumentType.cred, credentialArgumentBytes),
    );
  }

  /** `user_namespace`. */
  get userNamespace(): UserNamespace {
    return changetype<UserNamespace>(
      this.structAt(ArgumentType.userNamespace, ArgumentType.userNamespace, userNamespaceArgumentBytes),
    );
  }

  /** `bpf_attr`, `bpf_map`, `bpf_prog`. */
  get bpf(): BpfObject {
    if (this.type == ArgumentType.bpfCmd) return changetype<BpfObject>(emptyAt());
    return changetype<BpfObject>(this.structAt(ArgumentType.bpfAttr, ArgumentType.bpfProg, bpfArgumentBytes));
  }

  /** `perf_event`. */
  get perfEvent(): PerfEvent {
    return changetype<PerfEvent>(
      this.structAt(ArgumentType.perfEvent, ArgumentType.perfEvent, perfEventArgumentBytes),
    );
  }

  /** `module`, `load_info`. */
  get module(): KernelModule {
    return changetype<KernelModule>(
      this.structAt(ArgumentType.loadInfo, ArgumentType.module, moduleArgumentBytes),
    );
  }

  /** Sockets: address family; 0 for other types. */
  get family(): u32 {
    return this.socket.family;
  }

  get sourcePort(): u32 {
    return this.socket.sourcePort;
  }

  get destinationPort(): u32 {
    return this.socket.destinationPort;
  }

  get destination(): IpAddress {
    return this.socket.destination;
  }

  /** Sockets: the IPv4 address, first byte highest; 0 for other families. */
  get destinationIPv4(): u32 {
    return this.family == 2 ? this.destination.ipv4 : 0;
  }

  private structAt(first: i32, last: i32, bytes: u32): usize {
    const type = this.type;
    if (type < first || type > last || argumentPayloadLength(this.struct) < bytes) return emptyAt();
    return eventRecord() + argumentPayloadOffset(this.struct);
  }
}
