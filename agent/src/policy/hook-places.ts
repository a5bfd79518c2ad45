// SPDX-License-Identifier: Apache-2.0
// Owns how a hook's program comes to where it runs: loaded for its place, laid into the slot there, and what goes with
// it attached before it.
import { type BpfProgram, type CloneOptions, cloneProgram, kernelFunction } from '@weir/native';
import { type HookPlan, type ImaFile, isDeniable } from '@weir/policy';
import { explainRefusal, PolicyLoadError } from './errors.js';
import {
  HookProgram,
  type ProgramKind,
  type SlottedKind,
  type SlottedProgram,
  slotKinds,
  templates,
} from './hook-program.js';
import {
  type AttachedProgram,
  detach,
  type HookSlot,
  HookSlots,
  Overlap,
  type SlotKind,
  SlotPlace,
  type SlotRequest,
  type TakeOver,
  u32,
} from './hook-slots.js';
import { hostRoot } from './host-paths.js';
import { newMappingMark, openMappingEvents } from './mappings.js';
import { type Denial, type Prevention, u64 } from './prevention.js';
import { atUserPlaces, type UserPlaced, type UserRequest } from './user-hooks.js';

export interface LoadRequest {
  /** The function, or the LSM hook. */
  readonly symbol: string;
  readonly syscall: boolean;
  /** Of an LSM hook the function that calls it, null of others. */
  readonly lsmCaller: string | null;
  /** Of system calls that share a program their entries, and whether those that are missing may be left out. */
  readonly calls?: readonly string[] | undefined;
  readonly ignoreMissing: boolean;
  /** Of a tracepoint its name in two parts. */
  readonly tracepoint?: HookPlan['tracepoint'];
  readonly denies: boolean;
  /** Of an LSM hook whose events have the hash of its file: what its first parameter is. */
  readonly hashed?: ImaFile | undefined;
  /** Events come at the return of the call. */
  readonly returns: boolean;
  /** Of a hook in a program: where. */
  readonly user?: UserRequest | undefined;
  /** It is told of files that are mapped to run. */
  readonly isMapping?: boolean;
  /** What is to be kept from taking effect. */
  readonly prevention?: Prevention | undefined;
  readonly spec: Uint8Array;
  /** Why a prevention that was asked for cannot be had. */
  readonly unprevented?: string;
  /** The program in whose place this one comes. */
  readonly former?: HookProgram | undefined;
  /** The highest parameter that is read, -1 for none. */
  readonly lastParameter: number;
}

export interface HookPlacesOptions {
  /** Path of `slot.bpf.o`. */
  readonly slotPath: string;
  /** Gives the template of a kind, or throws what the kernel has against it. */
  readonly template: (kind: ProgramKind) => BpfProgram;
  /** Root of the host's file tree; as the host's first process sees it by default. */
  readonly hostRoot?: string | undefined;
}

/** Whether a kind is attached to a tracepoint, by no name of its own or by the attachment's. */
function isAtEachCall(kind: SlottedKind): boolean {
  return kind === 'system-call' || kind === 'listed-calls' || kind === 'tracepoint';
}

/** At the end of the key of a slot behind which files are hashed. */
const hashedKey = ' hashed';

function nameOf(target: string): string {
  return target.replace(/^__x64_sys_|^security_/, '').slice(0, 15);
}

function slotRequestOf(
  kind: SlottedKind,
  symbol: string,
  target: string,
  { tracepoint, hashed }: LoadRequest,
): SlotRequest {
  const slot = slotKinds[kind];
  if (kind === 'tracepoint' && tracepoint !== undefined) {
    const { subsystem, event } = tracepoint;
    const attach = { kind, category: subsystem, name: event } as const;
    return { kind: slot, key: `${slot} ${subsystem}/${event}`, symbol, attach };
  }
  return isAtEachCall(kind)
    ? { kind: slot, key: slot, symbol }
    : { kind: slot, key: `${slot} ${target}${hashed === undefined ? '' : hashedKey}`, symbol, target };
}

/** Where hooks' programs run. */
export class HookPlaces {
  readonly #options: HookPlacesOptions;
  readonly #slots: HookSlots;

  constructor(options: HookPlacesOptions) {
    this.#options = options;
    this.#slots = new HookSlots(options.slotPath);
  }

  /**
   * Loads a program for a function, an LSM hook or a tracepoint, and lays it into the slot there, where it waits.
   * @throws {PolicyLoadError} with nothing left of it
   */
  attach(
    kind: SlottedKind,
    request: LoadRequest,
    rodata: Readonly<Record<string, Uint8Array>>,
    { denial, missing }: { readonly denial: Denial | undefined; readonly missing: readonly string[] },
  ): HookProgram {
    const { symbol } = request;
    const target = request.tracepoint?.event ?? symbol;
    // First, so that no call has begun whose return nobody sees.
    const returns = request.returns ? [this.#attachReturn(request, target, rodata)] : [];
    let program: BpfProgram | undefined;
    let slot: HookSlot | undefined;
    try {
      program = this.#clone(kind, symbol, {
        rodata,
        name: request.calls === undefined ? nameOf(target) : 'listed_calls',
        ...(isAtEachCall(kind) ? {} : { attachTarget: target }),
      });
      slot = this.#slotFor(slotRequestOf(kind, symbol, target, request), request.former, () =>
        this.#attachHashing(request),
      );
      const slotted = this.#slotted(kind, symbol, program, slot);
      return new HookProgram(kind, [slotted], {
        former: request.former,
        handOver: this.#handOver(slotted, target, request.former),
        returns,
        denial,
        missing,
        unprevented:
          denial !== undefined && denial.missing.length > 0
            ? `this kernel has no ${denial.missing.join(', ')}`
            : request.unprevented,
      });
    } catch (error) {
      slot?.clear(SlotPlace.new);
      slot?.release();
      program?.close();
      for (const one of returns) detach(one);
      throw error;
    }
  }

  /** Attaches what ends at the return of a call what a program begins at its entry. */
  #attachReturn(
    { symbol }: LoadRequest,
    attachTarget: string,
    rodata: Readonly<Record<string, Uint8Array>>,
  ): AttachedProgram {
    const program = this.#clone('return', symbol, {
      rodata,
      name: nameOf(attachTarget),
      attachTarget,
    });
    try {
      return { program, link: program.attach() };
    } catch (error) {
      program.close();
      throw explainRefusal('attach', templates.return.type, symbol, error);
    }
  }

  /** Gets ready what hands the calls of a function over, where its program goes to the other slot of that function. */
  #handOver(to: SlottedProgram, target: string, former: HookProgram | undefined): TakeOver | undefined {
    if (to.slot.kind === 'lsm') {
      const plain = `lsm ${target}`;
      const left = former?.slotAt(to.slot.key === plain ? plain + hashedKey : plain)?.slot;
      return left?.isAttached() === true ? new Overlap(left, to.slot, to.program) : undefined;
    }
    const others: Readonly<Partial<Record<SlotKind, SlotKind>>> = { entry: 'check', check: 'entry' };
    const other = others[to.slot.kind];
    const from = other === undefined ? undefined : former?.slotAt(`${other} ${target}`);
    if (from?.slot.isAttached() !== true) return undefined;
    return this.#slots.handOver(from, to);
  }

  /** Attaches what is told of files that are mapped to run. */
  attachMapping({ symbol, spec, former }: LoadRequest): HookProgram {
    if (kernelFunction(symbol) === undefined)
      throw new PolicyLoadError('no-function', `loader: this kernel has no function ${symbol} to hook`);
    const slot = this.#slotFor({ kind: 'entry', key: `entry ${symbol}`, symbol, target: symbol }, former);
    try {
      if (slot.companion === undefined) {
        const mark = newMappingMark();
        slot.companion = { mark, events: openMappingEvents(mark) };
      }
      const program = this.#clone('mapping', symbol, {
        rodata: { spec, mapping_mark: u64(slot.companion.mark) },
        name: 'mapping',
        attachTarget: symbol,
      });
      try {
        return new HookProgram('mapping', [this.#slotted('mapping', symbol, program, slot)], { former });
      } catch (error) {
        program.close();
        throw error;
      }
    } catch (error) {
      slot.release();
      throw error;
    }
  }

  /** Attaches a program to each place in a program that a hook stands for. */
  attachUser(request: LoadRequest, user: UserRequest): HookProgram {
    const { symbol, former } = request;
    // First, so that no call has begun whose return nobody sees.
    const returns = request.returns
      ? this.#attachUserAs('user-return', request, user, detach, (program, { path, offset }) => ({
          program,
          link: program.attach({ kind: 'uretprobe', path, offset }),
        }))
      : [];
    try {
      const undo = ({ program, slot }: SlottedProgram) => {
        program.close();
        slot.clear(SlotPlace.new);
        slot.release();
      };
      const programs = this.#attachUserAs('user', request, user, undo, (program, place) => {
        const { path, offset, counterOffset } = place;
        const slot = this.#slotFor(
          {
            kind: 'user',
            key: `user ${place.file} ${offset} ${counterOffset}`,
            symbol,
            attach: { kind: 'uprobe', path, offset, counterOffset },
          },
          former,
        );
        try {
          return this.#slotted('user', symbol, program, slot);
        } catch (error) {
          slot.release();
          throw error;
        }
      });
      return new HookProgram('user', programs, { former, returns });
    } catch (error) {
      for (const one of returns) detach(one);
      throw error;
    }
  }

  #attachUserAs<Attached>(
    kind: 'user' | 'user-return',
    { symbol, spec }: LoadRequest,
    user: UserRequest,
    undo: (attached: Attached) => void,
    attach: (program: BpfProgram, place: UserPlaced) => Attached,
  ): Attached[] {
    const { type } = templates[kind];
    const attached: Attached[] = [];
    try {
      atUserPlaces(user, spec, this.#options.hostRoot ?? hostRoot(), (rodata, name, place) => {
        const program = this.#clone(kind, symbol, { rodata, name });
        try {
          attached.push(attach(program, place));
        } catch (error) {
          program.close();
          throw error instanceof PolicyLoadError ? error : explainRefusal('attach', type, symbol, error);
        }
      });
    } catch (error) {
      for (const one of attached) undo(one);
      throw error;
    }
    if (attached.length === 0) throw new PolicyLoadError('no-function', `${symbol} is nowhere in its file`);
    return attached;
  }

  /** Loads a program. @throws {PolicyLoadError} with the reason in words */
  #clone(kind: ProgramKind, symbol: string, options: CloneOptions): BpfProgram {
    try {
      return cloneProgram(this.#options.template(kind), options);
    } catch (error) {
      throw explainRefusal('load', templates[kind].type, symbol, error);
    }
  }

  /** The slot at a place: that of the program that is there, or a new one. Whoever asks has to release it. */
  #slotFor(
    request: SlotRequest,
    former: HookProgram | undefined,
    attachBehind: () => readonly AttachedProgram[] = () => [],
  ): HookSlot {
    const slot = former?.slotAt(request.key)?.slot;
    // Another hand may have detached it.
    if (slot?.isAttached() === true) return slot.hold();
    const behind = attachBehind();
    try {
      const made = this.#slots.attach(request);
      made.behind = behind;
      return made;
    } catch (error) {
      for (const one of behind) detach(one);
      throw error;
    }
  }

  /**
   * What runs after the program that matches, and is attached before it: of those at one hook, the kernel runs the one
   * that was attached last first. The one that hashes cannot lie in a slot, as it may sleep.
   */
  #attachHashing({ hashed, symbol, lsmCaller }: LoadRequest): readonly AttachedProgram[] {
    if (hashed === undefined) return [];
    const attached: AttachedProgram[] = [];
    for (const kind of ['after-hash', `hash-${hashed}`] as const) {
      let program: BpfProgram | undefined;
      try {
        program = this.#clone(kind, symbol, {
          rodata: { denies: u32(isDeniable(lsmCaller ?? '') ? 1 : 0) },
          name: `hash_${symbol}`.slice(0, 15),
          attachTarget: symbol,
        });
        attached.push({ program, link: program.attach() });
      } catch (error) {
        program?.close();
        for (const one of attached) detach(one);
        throw error instanceof PolicyLoadError
          ? error
          : explainRefusal('attach', templates[kind].type, symbol, error);
      }
    }
    return attached;
  }

  /** Lays a program into its slot, where it waits for its turn: what the kernel has against it is said now. */
  #slotted(kind: ProgramKind, symbol: string, program: BpfProgram, slot: HookSlot): SlottedProgram {
    try {
      slot.put(SlotPlace.new, program);
      return { program, slot };
    } catch (error) {
      throw explainRefusal('attach', templates[kind].type, symbol, error);
    }
  }

  close(): void {
    this.#slots.close();
  }
}
