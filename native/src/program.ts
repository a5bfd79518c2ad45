// SPDX-License-Identifier: Apache-2.0
// Owns BpfProgram and BpfLink: a loaded program, its clones, and what attaches it.
import { type RawLink, type RawProgram, raw } from './addon.js';
import { badArgument, guard, NativeError } from './error.js';
import type { BpfMap } from './map.js';

/**
 * Where a program is attached. `auto` uses what the program was loaded for: enough for fentry, fexit, fmod_ret,
 * lsm, tp_btf (clones too), and for raw_tp/NAME, tracepoint/CATEGORY/NAME and kprobe/FUNCTION sections.
 */
export type AttachOptions =
  | { readonly kind: 'auto' | 'fentry' | 'fexit' | 'fmod_ret' | 'lsm' | 'tp_btf' }
  | { readonly kind: 'raw_tp'; readonly name: string }
  | { readonly kind: 'tracepoint'; readonly category: string; readonly name: string }
  | { readonly kind: 'kprobe' | 'kretprobe'; readonly function: string; readonly offset?: number }
  | { readonly kind: 'kprobe_multi' | 'kretprobe_multi'; readonly functions: readonly string[] }
  | {
      readonly kind: 'uprobe' | 'uretprobe';
      readonly path: string;
      /** Offset in the file. */
      readonly offset: number;
      /** Offset in the file of a 16-bit counter that is raised while the program is attached; 0 for none. */
      readonly counterOffset?: number;
    };

/** What a clone is loaded for. */
export type CloneAttachType = 'fentry' | 'fexit' | 'fmod_ret' | 'lsm' | 'tp_btf';

export interface CloneOptions {
  /** Kernel function (or LSM hook, or tracepoint); without it, that of the template. */
  readonly attachTarget?: string;
  /** Without it, that of the template. */
  readonly expectedAttachType?: CloneAttachType;
  /** The bytes of the whole `.rodata` section, or of single variables in it (the rest as in the object). */
  readonly rodata?: Uint8Array | Readonly<Record<string, Uint8Array>>;
  /** Maps that it uses in place of the object's own, by the names of these. */
  readonly maps?: Readonly<Record<string, BpfMap>>;
  /** Name of the program in the kernel, cut to 15 characters; without it, that of the template. */
  readonly name?: string;
}

export interface ProgramStats {
  /** Runs; 0 until statistics are enabled (`enableProgramStats`). */
  readonly runCount: bigint;
  readonly runTimeNs: bigint;
  /** Runs that the kernel skipped because the program was running on that CPU already. */
  readonly recursionMisses: bigint;
  /** What the kernel charges for the program. */
  readonly memlockBytes: number;
  /** Bytes of machine code. */
  readonly jitedBytes: number;
  readonly verifiedInstructions: number;
}

/** A loaded program. Closing it does not detach its links. */
export class BpfProgram {
  readonly name: string;
  /** The kernel's number of the program type. */
  readonly type: number;
  readonly #raw: RawProgram;
  #closed = false;

  /** @internal made by BpfObject and cloneProgram */
  constructor(program: RawProgram) {
    this.#raw = program;
    this.name = program.name;
    this.type = program.type;
  }

  /** The kernel's id of the program. */
  get id(): number {
    return this.raw().id;
  }

  get fd(): number {
    return this.raw().fd();
  }

  /** Attaches the program; `close` of the link detaches it. */
  attach(options: AttachOptions = { kind: 'auto' }): BpfLink {
    const program = this.raw();
    switch (options.kind) {
      case 'raw_tp':
        return link(() => program.attach('raw_tp', options.name, '', 0, false, []));
      case 'tracepoint':
        return link(() => program.attach('tracepoint', options.category, options.name, 0, false, []));
      case 'kprobe':
      case 'kretprobe':
        return link(() =>
          program.attach(
            'kprobe',
            options.function,
            '',
            options.offset ?? 0,
            options.kind === 'kretprobe',
            [],
          ),
        );
      case 'kprobe_multi':
      case 'kretprobe_multi':
        if (options.functions.length === 0) throw badArgument('functions', 'is empty');
        return link(() =>
          program.attach('kprobe_multi', '', '', 0, options.kind === 'kretprobe_multi', options.functions),
        );
      case 'uprobe':
      case 'uretprobe':
        if (!Number.isSafeInteger(options.offset) || options.offset < 0) {
          throw badArgument('offset', `${options.offset} is not an offset in a file`);
        }
        if (!isCounterOffset(options.counterOffset ?? 0)) {
          throw badArgument('counterOffset', `${options.counterOffset} is not an offset of 32 bits`);
        }
        return link(() =>
          program.attach(
            'uprobe',
            options.path,
            '',
            options.offset,
            options.kind === 'uretprobe',
            [],
            options.counterOffset ?? 0,
          ),
        );
      case 'auto':
      case 'fentry':
      case 'fexit':
      case 'fmod_ret':
      case 'lsm':
      case 'tp_btf':
        return link(() => program.attach('auto', '', '', 0, false, []));
      default:
        throw badArgument('kind', `${(options as { kind: unknown }).kind} is not a way to attach`);
    }
  }

  stats(): ProgramStats {
    return guard(() => this.raw().stats());
  }

  /**
   * Runs the program once (SYSCALL programs take `context`; raw tracepoints take up to 12 u64 arguments).
   * @returns what the program returned
   */
  testRun(options: { readonly context?: Uint8Array } = {}): number {
    return guard(() => this.raw().testRun(options.context, 1)).returned;
  }

  /** Runs an iterator (`iter/task` and the like) over all that it comes to. What it writes is passed over. */
  iterate(): void {
    guard(() => this.raw().iterate());
  }

  /** Pins the program at a path on a BPF file system. */
  pin(path: string): void {
    guard(() => this.raw().pin(path));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  raw(): RawProgram {
    if (this.#closed) throw new NativeError('BAD_STATE', `program ${this.name} is closed`);
    return this.#raw;
  }
}

/** What keeps a program attached. */
export class BpfLink {
  readonly #raw: RawLink;
  #closed = false;

  /** @internal */
  constructor(rawLink: RawLink) {
    this.#raw = rawLink;
  }

  get id(): number {
    if (this.#closed) throw new NativeError('BAD_STATE', 'the link is closed');
    return this.#raw.id;
  }

  /** Id of the program that it attaches now; 0 where it is a link no more. */
  programId(): number {
    return this.#closed ? 0 : this.#raw.programId();
  }

  /** Pins the link: it outlives this process, until the path is unlinked. */
  pin(path: string): void {
    if (this.#closed) throw new NativeError('BAD_STATE', 'the link is closed');
    guard(() => this.#raw.pin(path));
  }

  /** Detaches the program, unless the link is pinned. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#raw.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function isCounterOffset(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff;
}

function link(attach: () => RawLink): BpfLink {
  return new BpfLink(guard(attach));
}

/**
 * Loads a further instance of a program of a loaded object, with a `.rodata` of its own, for another function.
 * The object must be open. Costs some milliseconds, against 100 or more for an object.
 */
export function cloneProgram(template: BpfProgram, options: CloneOptions = {}): BpfProgram {
  const rodata = options.rodata;
  return new BpfProgram(
    guard(() =>
      template.raw().clone({
        name: (options.name ?? template.name).slice(0, 15),
        attachTarget: options.attachTarget ?? '',
        attachType: options.expectedAttachType ?? '',
        rodata: rodata instanceof Uint8Array ? rodata : undefined,
        variables: rodata === undefined || rodata instanceof Uint8Array ? {} : { ...rodata },
        maps: Object.fromEntries(Object.entries(options.maps ?? {}).map(([name, map]) => [name, map.raw()])),
      }),
    ),
  );
}

/**
 * Lets the kernel tell of what is mapped on a CPU, with build ids, for as long as the returned link is open: to programs
 * that look on at `perf_event_mmap_output`, which know the event by its mark (`attr.config1`).
 */
export function openMappingEvent(cpu: number, mark: bigint): BpfLink {
  return link(() => raw().openMappingEvent(cpu, mark));
}

/** Turns the kernel's run statistics on for as long as the returned link is open. */
export function enableProgramStats(): BpfLink {
  return link(() => raw().enableStats());
}

/** Opens a link that was pinned on a BPF file system. */
export function openPinnedLink(path: string): BpfLink {
  return link(() => raw().openPinnedLink(path));
}
