// SPDX-License-Identifier: Apache-2.0
// Owns a hook's program as it is attached: the kinds there are and their templates, what the kernel says of one, and
// what is detached with it.
import type { BpfProgram, ProgramStats } from '@weir/native';
import {
  type AttachedProgram,
  detach,
  type HookSlot,
  isAttached,
  type SlotKind,
  SlotPlace,
  type TakeOver,
} from './hook-slots.js';
import type { Denial } from './prevention.js';

/**
 * How a hook's program runs: beside the function, in place of its verdict, at a system call's entry with others that
 * deny the call, at the entry of all system calls for one of them or for a list, as a security module of its own, at
 * a tracepoint, when the function returns, after another at the same LSM hook to hash its file, in a program, or when
 * a function of that returns.
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
  | 'hash-program'
  | 'hash-file'
  | 'after-hash'
  | 'user'
  | 'user-return'
  | 'mapping';

/** Those that lie in a slot. */
export type SlottedKind = Exclude<
  ProgramKind,
  'return' | 'user-return' | 'hash-program' | 'hash-file' | 'after-hash'
>;

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
  'hash-program': { name: 'hash_program', type: 'lsm.s' },
  'hash-file': { name: 'hash_file', type: 'lsm.s' },
  'after-hash': { name: 'after_hash', type: 'lsm' },
  user: { name: 'observe_user', type: 'uprobe' },
  'user-return': { name: 'at_user_return', type: 'uretprobe' },
  mapping: { name: 'observe_mapping', type: 'fentry' },
};

/** In which slot each kind lies. */
export const slotKinds: Readonly<Record<SlottedKind, SlotKind>> = {
  observe: 'entry',
  enforce: 'check',
  prevent: 'entry',
  'system-call': 'raw-tracepoint',
  lsm: 'lsm',
  'listed-calls': 'raw-tracepoint',
  tracepoint: 'tracepoint',
  'raw-tracepoint': 'raw-tracepoint',
  user: 'user',
  mapping: 'entry',
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

/** A program and the slot that it is for. A hook that stands for several places has one for each. */
export interface SlottedProgram {
  readonly program: BpfProgram;
  readonly slot: HookSlot;
}

/** A hook's program. It acts from `enter` on, until another enters in its place, or it leaves. */
export class HookProgram {
  readonly kind: SlottedKind;
  /** Why what is killed is not kept from taking effect, as far as it could be elsewhere; undefined where it is. */
  readonly unprevented: string | undefined;
  /** Of system calls that share it those that this kernel has not. */
  readonly missing: readonly string[];
  readonly #programs: readonly SlottedProgram[];
  readonly #denial: Denial | undefined;
  /** What ends at the return of a call what this begins at its entry. */
  readonly #returns: readonly AttachedProgram[];
  #former: HookProgram | undefined;
  #handOver: TakeOver | undefined;
  #closed = false;

  /** @param programs with slots that it holds */
  constructor(
    kind: SlottedKind,
    programs: readonly SlottedProgram[],
    more: {
      readonly former?: HookProgram | undefined;
      readonly handOver?: TakeOver | undefined;
      readonly denial?: Denial | undefined;
      readonly unprevented?: string | undefined;
      readonly returns?: readonly AttachedProgram[];
      readonly missing?: readonly string[];
    } = {},
  ) {
    this.kind = kind;
    this.#programs = programs;
    this.#former = more.former;
    this.#handOver = more.handOver;
    this.#denial = more.denial;
    this.unprevented = more.unprevented;
    this.#returns = more.returns ?? [];
    this.missing = more.missing ?? [];
  }

  facts(): HookProgramFacts {
    const programs = this.#programs.map(({ program }) => program.stats());
    // Of its runs the kernel tells where it is attached.
    const slots = this.#programs.map(({ slot }) => slot.stats());
    const sum = (stats: ProgramStats[], of: (one: ProgramStats) => number) =>
      stats.reduce((all, one) => all + of(one), 0);
    const sumBig = (of: (one: ProgramStats) => bigint) => slots.reduce((all, one) => all + of(one), 0n);
    const all = [...programs, ...slots];
    return {
      kind: this.kind,
      type: templates[this.kind].type,
      programId: this.#programs[0]?.program.id ?? 0,
      verifiedInstructions: sum(programs, (one) => one.verifiedInstructions),
      memlockBytes: sum(all, (one) => one.memlockBytes),
      jitedBytes: sum(all, (one) => one.jitedBytes),
      runCount: sumBig((one) => one.runCount),
      runTimeNs: sumBig((one) => one.runTimeNs),
      recursionMisses: sumBig((one) => one.recursionMisses),
      deniedThrough: this.#denial?.deniedThrough ?? [],
    };
  }

  get isTracepoint(): boolean {
    return ['system-call', 'listed-calls', 'raw-tracepoint', 'tracepoint', 'user'].includes(this.kind);
  }

  /** Its program and slot at a place. */
  slotAt(key: string): SlottedProgram | undefined {
    return this.#programs.find(({ slot }) => slot.key === key);
  }

  /** Whether calls go over to it from another slot: they have to settle before it enters, and before that is over. */
  get takesOver(): boolean {
    return this.#handOver !== undefined;
  }

  /** From now on it acts, and the one before it no more. */
  enter(): void {
    const former = this.#former;
    this.#former = undefined;
    if (this.#handOver !== undefined) {
      this.#handOver.begin();
      return;
    }
    for (const { program, slot } of this.#programs) {
      slot.put(SlotPlace.acting, program);
      slot.clear(SlotPlace.new);
    }
    former?.leave(new Set(this.#programs.map(({ slot }) => slot)));
  }

  /** Ends what `enter` began, once no call is under way that began before. */
  settleIn(): void {
    this.#handOver?.end();
    this.#handOver?.close();
    this.#handOver = undefined;
  }

  /** From now on it does not act. @param taken slots in which another does */
  leave(taken: ReadonlySet<HookSlot> = new Set()): void {
    for (const { slot } of this.#programs) if (!taken.has(slot)) slot.clear(SlotPlace.acting);
  }

  /** Whether it is attached still, and acts. */
  isAttached(): boolean {
    return (
      this.#programs.every(({ program, slot }) => slot.isAttached() && slot.holds(program)) &&
      this.#returns.every(isAttached) &&
      (this.#denial?.isAttached() ?? true)
    );
  }

  /** Frees the program; what is attached goes where no other program is in its slot. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#handOver?.close();
    this.#former = undefined;
    for (const { program, slot } of this.#programs) {
      // Of one that never entered.
      slot.clear(SlotPlace.new);
      slot.release();
      program.close();
    }
    for (const one of this.#returns) detach(one);
    this.#denial?.close();
  }
}
