// SPDX-License-Identifier: Apache-2.0
// Owns what a hook is on: a function or check of the kernel, a tracepoint, or a place in a program or library.

export interface TracepointName {
  readonly subsystem: string;
  readonly event: string;
  readonly raw: boolean;
}

/** A function of a program or library: by its symbol, its offset in the file, or its address. */
export interface UserFunction {
  readonly kind: 'function';
  /** Of the file, as the policy writes it. */
  readonly path: string;
  readonly symbol?: string;
  readonly offset?: bigint;
  readonly address?: bigint;
  /** Offset in the file of a counter that is above 0 while anybody looks; 0 for none. */
  readonly counterOffset: bigint;
  /** SHA-256 of the files that are meant, in hexadecimal digits; any where it is empty. */
  readonly digests: readonly string[];
}

/** A marker that a program or library defines statically (usdt). */
export interface UserMarker {
  readonly kind: 'marker';
  readonly path: string;
  readonly provider: string;
  readonly name: string;
}

export type UserPlace = UserFunction | UserMarker;

export interface ResolvedCall {
  /** The kernel's name of the function, or of the LSM hook; of a place in a program what it is called in texts. */
  readonly symbol: string;
  readonly kind: 'security' | 'syscall' | 'function' | 'lsm' | 'tracepoint' | 'user' | 'mapping';
  /** The kernel function whose arguments and verdict these are: of an LSM hook the one that calls it; empty for a place in a program. */
  readonly meaning: string;
  /** Name of the system call without a prefix, empty for others. */
  readonly syscallName: string;
  /** Of system calls that share a program all of their entries. */
  readonly calls?: readonly string[];
  /** Of a tracepoint its name in two parts, and whether the values are those that it was called with. */
  readonly tracepoint?: TracepointName;
  /** Of the kind `user`: where in which file. */
  readonly place?: UserPlace;
}
