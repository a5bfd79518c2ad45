// SPDX-License-Identifier: Apache-2.0
// Owns the view of one argument of a hook event. Its address is that of its struct in the record; its payload counts
// from the start of the record, which is therefore kept beside it.
import { Bytes, viewOf } from './bytes';
import {
  argumentFlags,
  argumentIndex,
  argumentPayloadLength,
  argumentPayloadOffset,
  argumentType,
  argumentValue,
  socketArgumentBytes,
  socketArgumentDestinationAddress,
  socketArgumentDestinationPort,
  socketArgumentFamily,
  socketArgumentSourcePort,
} from './generated/layout';
import { takeView } from './memory';

export function argumentOf(record: usize, at: usize): Argument {
  return changetype<Argument>(takeView(record, <u32>at));
}

/** One argument. Where there is none at the index that was asked for, its type is `ArgumentType.none`. */
@unmanaged
@final
export class Argument {
  private record: u32;
  private struct: u32;

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

  /** Integers, file descriptors, modes, capabilities: the value; signed types are sign-extended. */
  get value(): i64 {
    return <i64>argumentValue(this.struct);
  }

  /** Strings, buffers and paths: the bytes. */
  get bytes(): Bytes {
    return viewOf(this.record, argumentPayloadOffset(this.struct), argumentPayloadLength(this.struct));
  }

  /** The same as `bytes`, for files, paths, file descriptors and programs. */
  get path(): Bytes {
    return this.bytes;
  }

  get hasSocket(): bool {
    return argumentPayloadLength(this.struct) >= socketArgumentBytes && this.type >= 22 && this.type <= 25;
  }

  /** Sockets: address family; 0 for other types. */
  get family(): u32 {
    return this.hasSocket ? socketArgumentFamily(this.payload()) : 0;
  }

  get sourcePort(): u32 {
    return this.hasSocket ? socketArgumentSourcePort(this.payload()) : 0;
  }

  get destinationPort(): u32 {
    return this.hasSocket ? socketArgumentDestinationPort(this.payload()) : 0;
  }

  /** Sockets: the IPv4 address, first byte highest; 0 for other families. */
  get destinationIPv4(): u32 {
    if (!this.hasSocket || this.family != 2) return 0;
    const at = this.payload();
    return (
      ((<u32>socketArgumentDestinationAddress(at, 0)) << 24) |
      ((<u32>socketArgumentDestinationAddress(at, 1)) << 16) |
      ((<u32>socketArgumentDestinationAddress(at, 2)) << 8) |
      socketArgumentDestinationAddress(at, 3)
    );
  }

  private payload(): usize {
    return <usize>this.record + argumentPayloadOffset(this.struct);
  }
}
