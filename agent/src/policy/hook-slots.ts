// SPDX-License-Identifier: Apache-2.0
// Owns the slots of hooks: what is attached to a place is a program that goes on with whatever lies in its slot
// (bpf/slot.bpf.c), so that a hook's program is exchanged by one store; and how calls are handed over from one slot of
// a function to the other, where the programs are of kinds that cannot share one.
import {
  type AttachOptions,
  type BpfLink,
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  cloneProgram,
  createMap,
  kernelFunction,
  openObject,
  type ProgramStats,
} from '@weir/native';
import { explainRefusal } from './errors.js';

/** At a function's entry, at its check, as a security module's, at the two types of tracepoints, in a program. */
export type SlotKind = 'entry' | 'check' | 'lsm' | 'raw-tracepoint' | 'tracepoint' | 'user';

const templates: Readonly<Record<SlotKind, { readonly name: string; readonly type: string }>> = {
  entry: { name: 'at_entry', type: 'fentry' },
  check: { name: 'at_check', type: 'fmod_ret' },
  lsm: { name: 'at_lsm_slot', type: 'lsm' },
  'raw-tracepoint': { name: 'at_raw_tracepoint', type: 'tp_btf' },
  tracepoint: { name: 'at_tracepoint', type: 'tracepoint' },
  user: { name: 'at_user_place', type: 'uprobe' },
};
const handing = ['hand_over', 'judge_handed', 'judge_unhanded'] as const;

/** Of the places in a slot: what runs, what is to run, and what ran before (while calls are handed over). */
export const SlotPlace = { acting: 0, new: 1, old: 2 } as const;
type Place = (typeof SlotPlace)[keyof typeof SlotPlace];

const placesMax = 3;
/** Of bpf/slot.bpf.c. */
const handedCallsMax = 4096;

export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** A program that is attached to its place, beside others. */
export interface AttachedProgram {
  readonly program: BpfProgram;
  readonly link: BpfLink;
}

export function isAttached({ program, link }: AttachedProgram): boolean {
  return link.programId() === program.id;
}

export function detach({ program, link }: AttachedProgram): void {
  link.close();
  program.close();
}

/** Where a slot is to be. */
export interface SlotRequest {
  readonly kind: SlotKind;
  /** The same for the same place, and different for another. */
  readonly key: string;
  /** What messages call the place. */
  readonly symbol: string;
  /** Of kernel functions, LSM hooks and raw tracepoints. */
  readonly target?: string;
  readonly attach?: AttachOptions;
}

/** A place to which programs are attached, one at a time. Whoever uses it holds it; the last to release it detaches. */
export class HookSlot {
  readonly kind: SlotKind;
  readonly key: string;
  readonly target: string | undefined;
  /** Goes with it: what the kernel tells of only while it is open, and the mark by which that is known. */
  companion: { readonly mark: bigint; readonly events: readonly BpfLink[] } | undefined;
  /** Goes with it too: programs that run after it. */
  behind: readonly AttachedProgram[] = [];
  /** @internal what lies in it, by place */
  readonly programs: BpfMap;
  readonly #entry: BpfProgram;
  readonly #link: BpfLink;
  #users = 1;

  /** @internal made by HookSlots */
  constructor(request: SlotRequest, entry: BpfProgram, programs: BpfMap, link: BpfLink) {
    this.kind = request.kind;
    this.key = request.key;
    this.target = request.target;
    this.#entry = entry;
    this.programs = programs;
    this.#link = link;
  }

  hold(): this {
    this.#users++;
    return this;
  }

  /** Puts a program in a place, by one store. @throws {NativeError} where the kernel does not take it there */
  put(place: Place, program: BpfProgram): void {
    this.programs.update(u32(place), u32(program.fd));
  }

  clear(place: Place): void {
    this.programs.delete(u32(place));
  }

  /** Whether it is attached, whatever lies in it. */
  isAttached(): boolean {
    return this.#link.programId() === this.#entry.id && this.behind.every(isAttached);
  }

  /** Whether a program acts. */
  holds(program: BpfProgram): boolean {
    const id = new Uint8Array(4);
    return (
      this.programs.lookup(u32(SlotPlace.acting), id) &&
      Buffer.compare(id, Buffer.from(u32(program.id))) === 0
    );
  }

  /** Of its runs. The kernel counts those of what is attached, not of what that goes on with. */
  stats(): ProgramStats {
    return this.#entry.stats();
  }

  release(): void {
    if (--this.#users > 0) return;
    this.#link.close();
    this.#entry.close();
    this.programs.close();
    for (const event of this.companion?.events ?? []) event.close();
    for (const one of this.behind) detach(one);
  }
}

/** How calls go over from one slot to another. */
export interface TakeOver {
  begin(): void;
  end(): void;
  close(): void;
}

/**
 * Calls that go over from one slot at an LSM hook to another. Until it ends both programs act: a call is told of by
 * both, and denied by either, but none is passed over.
 */
export class Overlap implements TakeOver {
  readonly #from: HookSlot;
  readonly #to: HookSlot;
  readonly #next: BpfProgram;

  constructor(from: HookSlot, to: HookSlot, next: BpfProgram) {
    this.#from = from;
    this.#to = to;
    this.#next = next;
  }

  begin(): void {
    this.#to.put(SlotPlace.acting, this.#next);
    this.#to.clear(SlotPlace.new);
  }

  end(): void {
    this.#from.clear(SlotPlace.acting);
  }

  close(): void {}
}

/** Calls that go over from a function's entry to its check, or back: each is judged by one of the two programs. */
export class HandOver implements TakeOver {
  readonly #from: HookSlot;
  readonly #to: HookSlot;
  readonly #former: BpfProgram;
  readonly #next: BpfProgram;
  readonly #handOver: BpfProgram;
  readonly #judge: BpfProgram;

  /** @internal made by HookSlots */
  constructor(
    from: { readonly slot: HookSlot; readonly program: BpfProgram },
    to: { readonly slot: HookSlot; readonly program: BpfProgram },
    programs: { readonly handOver: BpfProgram; readonly judge: BpfProgram },
  ) {
    this.#from = from.slot;
    this.#former = from.program;
    this.#to = to.slot;
    this.#next = to.program;
    this.#handOver = programs.handOver;
    this.#judge = programs.judge;
  }

  /** From now on the new program judges the calls that begin. All that are under way have to see both slots. */
  begin(): void {
    const isToCheck = this.#to.kind === 'check';
    const entry = isToCheck ? this.#from : this.#to;
    const check = isToCheck ? this.#to : this.#from;
    this.#from.put(SlotPlace.old, this.#former);
    this.#to.put(SlotPlace.new, this.#next);
    check.put(SlotPlace.acting, this.#judge);
    entry.put(SlotPlace.acting, this.#handOver);
  }

  /** Once no call is under way that began before: leaves the new program alone. */
  end(): void {
    if (this.#to.kind === 'check') {
      this.#to.put(SlotPlace.acting, this.#next);
      this.#from.clear(SlotPlace.acting);
    } else {
      this.#from.clear(SlotPlace.acting);
      this.#to.put(SlotPlace.acting, this.#next);
    }
    this.#to.clear(SlotPlace.new);
    this.#from.clear(SlotPlace.old);
  }

  close(): void {
    this.#handOver.close();
    this.#judge.close();
  }
}

/** Makes slots. */
export class HookSlots {
  readonly #objectPath: string;
  readonly #programs = new Map<string, BpfProgram>();
  #object: BpfObject | undefined;

  /** @param objectPath path of `slot.bpf.o` */
  constructor(objectPath: string) {
    this.#objectPath = objectPath;
  }

  /** Attaches an empty slot. @throws {PolicyLoadError} with the reason in words */
  attach(request: SlotRequest): HookSlot {
    const { kind, symbol, target } = request;
    const { name, type } = templates[kind];
    const programs = createMap({
      type: 'progArray',
      name: 'slot',
      keySize: 4,
      valueSize: 4,
      maxEntries: placesMax,
    });
    let entry: BpfProgram;
    try {
      entry = this.#clone(name, programs, target);
    } catch (error) {
      programs.close();
      throw explainRefusal('load', type, symbol, error, kernelFunction(symbol)?.parameters.length);
    }
    try {
      return new HookSlot(request, entry, programs, entry.attach(request.attach));
    } catch (error) {
      entry.close();
      programs.close();
      throw explainRefusal('attach', type, symbol, error, kernelFunction(symbol)?.parameters.length);
    }
  }

  /** Gets ready what hands the calls of a function over. @throws {PolicyLoadError} where the kernel refuses it */
  handOver(
    from: { readonly slot: HookSlot; readonly program: BpfProgram },
    to: { readonly slot: HookSlot; readonly program: BpfProgram },
  ): HandOver {
    const isToCheck = to.slot.kind === 'check';
    const [entry, check] = isToCheck ? [from, to] : [to, from];
    const calls = createMap({
      type: 'hash',
      name: 'handed_calls',
      keySize: 8,
      valueSize: 1,
      maxEntries: handedCallsMax,
    });
    let handOver: BpfProgram | undefined;
    try {
      handOver = this.#clone('hand_over', entry.slot.programs, entry.slot.target, calls);
      const judge = this.#clone(
        isToCheck ? 'judge_handed' : 'judge_unhanded',
        check.slot.programs,
        check.slot.target,
        calls,
      );
      return new HandOver(from, to, { handOver, judge });
    } catch (error) {
      handOver?.close();
      throw explainRefusal('load', 'fmod_ret', to.slot.target ?? '', error);
    } finally {
      // The programs keep it.
      calls.close();
    }
  }

  #clone(name: string, programs: BpfMap, target: string | undefined, calls?: BpfMap): BpfProgram {
    return cloneProgram(this.#template(name), {
      maps: { slot: programs, ...(calls === undefined ? {} : { handed_calls: calls }) },
      ...(target === undefined ? {} : { attachTarget: target }),
    });
  }

  #template(name: string): BpfProgram {
    const ready = this.#programs.get(name);
    if (ready !== undefined) return ready;
    const program = this.#opened().program(name);
    this.#programs.set(name, program);
    return program;
  }

  #opened(): BpfObject {
    if (this.#object !== undefined) return this.#object;
    const object = openObject({
      path: this.#objectPath,
      autoload: [],
      templates: [...Object.values(templates).map((one) => one.name), ...handing],
    });
    try {
      this.#object = object.load();
      return object;
    } catch (error) {
      object.close();
      throw error;
    }
  }

  close(): void {
    for (const program of this.#programs.values()) program.close();
    this.#programs.clear();
    this.#object?.close();
    this.#object = undefined;
  }
}
