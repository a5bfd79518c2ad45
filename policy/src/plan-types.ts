// SPDX-License-Identifier: Apache-2.0
// Owns the shape of a plan: what a set of policies asks of the kernel, in terms of hooks, bits and look-ups, with
// nothing in it that depends on a kernel's state. `agent/src/policy` writes a plan into kernel maps; the reference
// matcher of the tests does not use it, so that the two can be compared.

import type { Network } from './addresses.js';
import type { TracepointName, UserPlace } from './places.js';
import type { LabelSelector } from './shape.js';

/** A set of bits of any width: bit n is selector n of a hook, or scope n. */
export type Mask = bigint;

/** An argument that a hook's program reads. */
export interface PlannedArgument {
  /** argument_type of the schema. */
  readonly type: number;
  /** Number of the parameter of the function, of the argument of the system call, or of the field of the tracepoint, from 0. */
  readonly index: number;
  /** Read for matching only; no event shows it. */
  readonly hidden: boolean;
  /** Of a sockaddr: it is the socket's own, not its peer's. */
  readonly ownAddress?: boolean;
  /** It is what the function returned; `index` says nothing. */
  readonly returned?: boolean;
  /** It is a field of what is named by `index`, or of the current task. */
  readonly field?: PlannedField;
  /** It is a register of the program that the hook is in; `index` says nothing. */
  readonly register?: UserRegister;
  /** It is data: events show it apart from the arguments. */
  readonly data?: boolean;
  /** Of a sockaddr_un: its size is the next parameter. */
  readonly sized?: boolean;
  /** What it points to is a program's memory, whatever it claims. */
  readonly userMemory?: boolean;
  readonly buffer?: PlannedBuffer;
}

/** How many bytes an argument has that is a buffer, and when they are read. */
export interface PlannedBuffer {
  /** Number of the parameter that says how many bytes, or pieces, from 0. */
  readonly sizeIndex?: number;
  /** They are read at the return of the call, which says how many there are. */
  readonly copied: boolean;
  /** The call returns 32 bits. */
  readonly narrow: boolean;
  /** Events have all of them (maxData), and not only those that are matched. */
  readonly whole?: true;
}

/** A register as the kernel saves it (struct pt_regs), or the lower part of one. */
export interface UserRegister {
  readonly offset: number;
  readonly bytes: number;
}

/** A field as a policy names it; where it lies, the types of a kernel tell. */
export interface PlannedField {
  /** Such as `mm.owner.comm`; empty for the start itself. */
  readonly path: string;
  readonly source: 'parameter' | 'current_task';
  /** Name of the type that the parameter points to, where its own is another. */
  readonly btfType?: string;
  readonly btfTypeModule?: string;
}

/** A look-up by bytes. In a `reverse` dimension keys are stored as written; whoever writes the map reverses them. */
export interface StringDimension {
  readonly kind: 'forward' | 'reverse';
  /** argument_part: with `sized`, keys begin with the number of bytes. */
  readonly part?: number;
  /** Position in the hook's arguments; of a scope dimension, the scope_attribute. */
  readonly argument: number;
  readonly defaultMask: Mask;
  /**
   * `exact`: the key is followed by the closing NUL. The mask is the truth of all terms of this dimension, given
   * that this entry is the longest that matches.
   */
  readonly entries: readonly { readonly key: Uint8Array; readonly exact: boolean; readonly mask: Mask }[];
}

/**
 * A look-up of texts anywhere in the text; `substring-fold` takes the letters A to Z as a to z, and its keys have the
 * latter. The mask is that of the entries that are there, ORed, and the default mask.
 */
export interface SubstringDimension {
  readonly kind: 'substring' | 'substring-fold';
  readonly argument: number;
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly key: Uint8Array; readonly mask: Mask }[];
}

/** A look-up by number. Values are 64-bit, as the argument's type extends them, without sign. */
export interface IntegerDimension {
  readonly kind: 'integer';
  readonly argument: number;
  /** argument_part; the whole argument by default. */
  readonly part?: number;
  /** Of a part that compares two arguments: the other, which is read before. */
  readonly other?: number;
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly value: bigint | HostNamespace; readonly mask: Mask }[];
}

/** Stands for the inode number of the host's namespace of this kind, which the agent knows. */
export interface HostNamespace {
  readonly hostNamespace: number;
}

/**
 * A look-up by interval. Numbers are order keys (`orderKey`), so that they compare without sign. An entry holds from
 * its number to that of the next one, the default mask below the first; numbers rise.
 */
export interface RangeDimension {
  readonly kind: 'range';
  readonly argument: number;
  readonly part?: number;
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly from: bigint; readonly mask: Mask }[];
}

/** A look-up bit by bit: the masks of all bits that are set, ORed, turn the default mask over. */
export interface BitsDimension {
  readonly kind: 'bits';
  readonly argument: number;
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly bit: number; readonly mask: Mask }[];
}

/** A look-up by internet address: as in a string dimension, each mask is the truth of all terms. */
export interface AddressDimension {
  readonly kind: 'address';
  readonly argument: number;
  readonly part: number;
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly network: Network; readonly mask: Mask }[];
}

/**
 * A look-up of the members of a set of numbers. An entry's mask has the bits of the terms that name the member; those
 * of all members that are there, ORed, turn the default mask over.
 */
export interface SetDimension {
  readonly kind: 'set';
  readonly argument: number;
  readonly defaultMask: Mask;
  readonly entries: readonly SetMember[];
}

export interface SetMember {
  readonly member: number | LineageMember;
  readonly mask: Mask;
}

/** Stands for the number of a lineage, which the agent gives. */
export interface LineageMember {
  readonly lineage: string;
}

/** A condition that what a process forks is of too. Its key tells it from others, and is the same for the same. */
export type Lineage = BinaryLineage | PidLineage;

export interface BinaryLineage {
  readonly kind: 'forward' | 'reverse';
  readonly key: string;
  readonly exact: boolean;
  readonly values: readonly Uint8Array[];
}

export interface PidLineage {
  readonly kind: 'pid' | 'namespace-pid';
  readonly key: string;
  readonly values: readonly number[];
  /** False where a process is of it by its own number alone. */
  readonly inherited: boolean;
}

/** What one part of a policy asks of a workload. */
export interface WorkloadCondition {
  /** Whether the host's own processes are meant. */
  readonly host: boolean;
  /** Which containers are meant, where any are. */
  readonly containers: {
    readonly namespace?: string;
    readonly pod?: LabelSelector;
    readonly container?: LabelSelector;
  } | null;
}

/** A look-up of the workload that the process is in. An entry's mask has the bits of those that ask these conditions. */
export interface WorkloadDimension {
  readonly kind: 'workload';
  readonly argument: number;
  /** The bits that ask nothing. */
  readonly defaultMask: Mask;
  readonly entries: readonly { readonly conditions: readonly WorkloadCondition[]; readonly mask: Mask }[];
}

export type Dimension =
  | StringDimension
  | SubstringDimension
  | IntegerDimension
  | RangeDimension
  | BitsDimension
  | AddressDimension
  | SetDimension
  | WorkloadDimension;

/** What a selector does where it is the first of its policy to match. Its bit is its position in the hook's list. */
export interface PlannedSelector {
  readonly policyId: number;
  /** Number of the hook in its policy (kprobes, fentries, lsmhooks, tracepoints, uprobes, usdts, the loader), and of the selector in that hook. */
  readonly hookIndex: number;
  readonly selectorIndex: number;
  /** Bits of `action`: bit n is action n. Post is implied and explicit here; NoPost takes it away. */
  readonly actions: number;
  /** Signal to send, 0 for none. */
  readonly signal: number;
  /** errno to return, negative, 0 for none. */
  readonly error: number;
  readonly monitor: boolean;
  /** Of events that are the same, one is sent in so many seconds. Absent where all are. */
  readonly rateLimit?: PlannedRateLimit;
  /** What the enforcers of its policy are to do at the thread's next call of one. Absent where nothing is. */
  readonly notification?: PlannedNotification;
  /** True of an enforcer: it does what a selector of its policy has asked for, where one has. Absent of others. */
  readonly isEnforcer?: true;
  /** It enforces, and its policy has on-undecided: deny: what of its conditions is not known holds. Absent where not. */
  readonly holdsUndecided?: true;
  /** What it sets of the marker's arguments. Absent where nothing. */
  readonly set?: PlannedSetting;
  /** Sockets whose owner it sets or forgets, at the entry and at the return of the call. Absent where none. */
  readonly sockets?: PlannedSockets;
  readonly returnSockets?: PlannedSockets;
  /** Stacks that its events have. Absent where they have none. */
  readonly stacks?: { readonly kernel: boolean; readonly user: boolean };
  /** Its events have the hash of the file that the LSM hook is about. Absent where not. */
  readonly imaHash?: true;
  /** Number of its scope, or null where it holds for every process. */
  readonly scope: number | null;
  /** Positions in the hook's arguments that its event shows. */
  readonly shownArguments: readonly number[];
  /** Its event comes at the return of the call. */
  readonly returns?: boolean;
  /** The last of the arguments shown is what the call returned. */
  readonly showsReturn?: boolean;
  /** Of a selector that returns: what it does then, as `actions` and `signal` do at the entry. */
  readonly returnActions?: number;
  readonly returnSignal?: number;
}

export interface PlannedSetting {
  /** Index of the argument. */
  readonly argument: number;
  /** 64 bits; as many of the lower ones as the argument has. */
  readonly value: bigint;
}

/** Positions in the hook's arguments. */
export interface PlannedSockets {
  readonly track?: number;
  readonly untrack?: number;
}

export interface PlannedNotification {
  /** errno that the call shall return, negative, 0 for none. */
  readonly error: number;
  /** Signal to send, 0 for none. */
  readonly signal: number;
}

/** How a selector's events are thinned out. Enforcement is not. */
export interface PlannedRateLimit {
  readonly seconds: number;
  /** Whose events are the same: those of one thread, of one process, or of all. */
  readonly scope: 'thread' | 'process' | 'global';
}

/** What the agent does for an event of a selector. */
export interface AgentAction {
  readonly selectorIndex: number;
  readonly kind: 'GetUrl' | 'DnsLookup';
  /** A URL as its parser writes it, or a name without a dot at its end. */
  readonly target: string;
}

/** One policy on one hook: what its events have in common. */
export interface PlannedBinding {
  readonly policyId: number;
  /** As in its selectors: two hooks of one policy on the same function are two bindings. */
  readonly hookIndex: number;
  readonly policyName: string;
  readonly policyNamespace: string;
  readonly message: string;
  readonly tags: readonly string[];
  readonly argumentLabels: readonly string[];
  /** What the agent does for its events. Absent where that is nothing. */
  readonly agentActions?: readonly AgentAction[];
  /** event_kind of its records. */
  readonly eventKind: number;
  /** True where the policy does without the hook on a kernel that lacks the function. */
  readonly ignoreMissing: boolean;
}

export interface HookPlan {
  /** Identity of the hook over plans, such as `kprobe:security_file_open`, with `#1` behind it on page 1. */
  readonly key: string;
  /** Where the policies on the hook are parted into several programs: which. Absent of the first. */
  readonly page?: number;
  /** event_kind of its records. */
  readonly eventKind: number;
  /**
   * The kernel's name of the function (`security_file_open`, `__x64_sys_setns`) or of the LSM hook (`file_open`);
   * `sched:sched_switch` of a tracepoint; of a place in a program what it is called in texts (`/bin/bash:readline`).
   */
  readonly symbol: string;
  /** Of a hook in a program or library. */
  readonly user?: UserPlace;
  readonly syscall: boolean;
  /** Of an LSM hook the function that calls it, null of others. */
  readonly lsmCaller: string | null;
  /** Of system calls that share a program all of their entries, which its events tell apart. */
  readonly calls?: readonly string[];
  /** Of a tracepoint its name in two parts, and whether the values are those that it was called with. */
  readonly tracepoint?: TracepointName;
  /** True where a selector enforces by making the call fail (Override, or Sigkill on a check of the kernel's). */
  readonly denies: boolean;
  /** True where a selector's event comes at the return of the call. */
  readonly returns: boolean;
  /** True where events with a socket are of the process that this belongs to. Absent where nobody says which. */
  readonly socketOwners?: boolean;
  readonly arguments: readonly PlannedArgument[];
  /** Bits in order; those of one policy lie side by side, in its order. */
  readonly selectors: readonly PlannedSelector[];
  readonly bindings: readonly PlannedBinding[];
  readonly dimensions: readonly Dimension[];
}

export interface ScopePlan {
  readonly scopeCount: number;
  readonly dimensions: readonly Dimension[];
  /** The scopes that look at what may change while a process runs. */
  readonly changing: Mask;
  /** The scopes that hold as far as they cannot be decided. */
  readonly holding: Mask;
  /** In order of their keys. */
  readonly lineages: readonly Lineage[];
}

export interface Plan {
  readonly hooks: readonly HookPlan[];
  readonly scopes: ScopePlan;
}
