// SPDX-License-Identifier: Apache-2.0
// Owns a hook's program as it is attached: the kinds there are and their templates, what the kernel says of one, and
// what is detached with it.
import type { BpfLink, BpfProgram, ProgramStats } from '@weir/native';
import type { Denial } from './prevention.js';
import type { AttachedProgram } from './user-hooks.js';

/**
 * How a hook's program runs: beside the function, in place of its verdict, at a system call's entry with others that
 * deny the call, at the entry of all system calls for one of them or for a list, as a security module of its own, at
 * a tracepoint, when the function returns, in a program, or when a function of that returns.
 */
export type ProgramKind =
  | 'observe'
  | 'enforce'
  | 'prevent'
  | 'system-call'
  | 'lsm'
  | 'listed-calls'
  | 'tracepoint'
  | 'raw-tracepoint'
  | 'return'
  | 'user'
  | 'user-return'
  | 'mapping';

export const templates: Readonly<Record<ProgramKind, { readonly name: string; readonly type: string }>> = {
  observe: { name: 'observe_function', type: 'fentry' },
  enforce: { name: 'enforce_function', type: 'fmod_ret' },
  prevent: { name: 'mark_function', type: 'fentry' },
  'system-call': { name: 'observe_system_call', type: 'tp_btf' },
  lsm: { name: 'at_lsm_hook', type: 'lsm' },
  'listed-calls': { name: 'observe_listed_calls', type: 'tp_btf' },
  tracepoint: { name: 'observe_tracepoint', type: 'tracepoint' },
  'raw-tracepoint': { name: 'observe_raw_tracepoint', type: 'tp_btf' },
  return: { name: 'at_return', type: 'fexit' },
  user: { name: 'observe_user', type: 'uprobe' },
  'user-return': { name: 'at_user_return', type: 'uretprobe' },
  mapping: { name: 'observe_mapping', type: 'fentry' },
};

/** What the kernel says of a loaded program. */
export interface HookProgramFacts {
  readonly kind: ProgramKind;
  readonly type: string;
  readonly programId: number;
  readonly verifiedInstructions: number;
  readonly memlockBytes: number;
  readonly jitedBytes: number;
  readonly runCount: bigint;
  readonly runTimeNs: bigint;
  readonly recursionMisses: bigint;
  /** Security functions through which it denies a system call. */
  readonly deniedThrough: readonly string[];
}

/** A program that is attached to a function, and acts while the hook's state names it. */
export class HookProgram {
  readonly kind: ProgramKind;
  /** Why what is killed is not kept from taking effect, as far as it could be elsewhere; undefined where it is. */
  readonly unprevented: string | undefined;
  /** Of system calls that share it those that this kernel has not. */
  readonly missing: readonly string[];
  readonly #program: BpfProgram;
  readonly #denial: Denial | undefined;
  /** What ends at the return of a call what this begins at its entry. */
  readonly #atReturn: HookProgram | undefined;
  /** Of a hook that stands for several places: those at the others. */
  readonly #others: readonly AttachedProgram[];
  /** What the kernel tells of only while they are open. */
  readonly #events: readonly BpfLink[];
  #link: BpfLink | undefined;

  constructor(
    kind: ProgramKind,
    program: BpfProgram,
    link: BpfLink,
    more: {
      readonly denial?: Denial;
      readonly unprevented?: string | undefined;
      readonly atReturn?: HookProgram | undefined;
      readonly missing?: readonly string[];
      readonly others?: readonly AttachedProgram[];
      readonly events?: readonly BpfLink[];
    } = {},
  ) {
    this.kind = kind;
    this.#program = program;
    this.#link = link;
    this.#denial = more.denial;
    this.#others = more.others ?? [];
    this.#events = more.events ?? [];
    this.unprevented = more.unprevented;
    this.#atReturn = more.atReturn;
    this.missing = more.missing ?? [];
  }

  facts(): HookProgramFacts {
    const stats = [this.#program, ...this.#others.map(({ program }) => program)].map((one) => one.stats());
    const sum = (of: (one: ProgramStats) => number) => stats.reduce((all, one) => all + of(one), 0);
    const sumBig = (of: (one: ProgramStats) => bigint) => stats.reduce((all, one) => all + of(one), 0n);
    return {
      kind: this.kind,
      type: templates[this.kind].type,
      programId: this.#program.id,
      verifiedInstructions: sum((one) => one.verifiedInstructions),
      memlockBytes: sum((one) => one.memlockBytes),
      jitedBytes: sum((one) => one.jitedBytes),
      runCount: sumBig((one) => one.runCount),
      runTimeNs: sumBig((one) => one.runTimeNs),
      recursionMisses: sumBig((one) => one.recursionMisses),
      deniedThrough: this.#denial?.deniedThrough ?? [],
    };
  }

  get isTracepoint(): boolean {
    return ['system-call', 'listed-calls', 'raw-tracepoint', 'tracepoint', 'user'].includes(this.kind);
  }

  /** Whether it is attached still. */
  isAttached(): boolean {
    return (
      this.#link?.programId() === this.#program.id &&
      this.#others.every(({ program, link }) => link.programId() === program.id) &&
      (this.#atReturn?.isAttached() ?? true)
    );
  }

  /** Detaches and frees the program. */
  close(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#program.close();
    for (const event of this.#events) event.close();
    this.#atReturn?.close();
    for (const { program, link } of this.#others) {
      link.close();
      program.close();
    }
    this.#denial?.close();
  }
}
