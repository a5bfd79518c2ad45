// SPDX-License-Identifier: Apache-2.0
// Owns what keeps a system call from taking effect whose caller is killed or whose result is overridden: programs on
// the security functions of its path, one for each function however many calls need it, there while one does; and one
// at the return of each call. How they play together is told in bpf/prevent.h.
import {
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  cloneProgram,
  kernelFunction,
  openObject,
} from '@weir/native';
import { type HookPlan, type LsmPath, lsmPathFunctions, lsmPathOf, type PlannedSelector } from '@weir/policy';
import { Action } from '@weir/schema';
import { explainRefusal, PolicyLoadError } from './errors.js';
import { type AttachedProgram, detach, isAttached } from './hook-slots.js';

/** What a hook asks to be kept from taking effect. */
export interface Prevention {
  readonly path: LsmPath;
  /** True where a selector overrides: without the denial it would do nothing at all. */
  readonly isNeeded: boolean;
}

function does({ monitor, actions }: PlannedSelector, action: number): boolean {
  return !monitor && (actions & (1 << action)) !== 0;
}

/** Whether a selector has its call kept from taking effect, where that can be had. */
export function prevents(selector: PlannedSelector): boolean {
  return does(selector, Action.override) || does(selector, Action.sigkill);
}

/** What is to be prevented on a hook; undefined where nothing is, or where it is not known how. */
export function preventionOf(hook: HookPlan): Prevention | undefined {
  if (!hook.syscall || hook.calls !== undefined) return undefined;
  if (!hook.selectors.some(prevents)) return undefined;
  const isNeeded = hook.selectors.some((selector) => does(selector, Action.override));
  const path = lsmPathOf(hook.symbol.replace(/^__(x64_|ia32_(compat_)?)sys_/, ''));
  return path === undefined ? undefined : { path, isNeeded };
}

/** Programs that deny a call, for as long as it is not closed. */
export interface Denial {
  /** Bits of the functions, for `denying_functions`. */
  readonly functions: bigint;
  readonly deniedThrough: readonly string[];
  /** Functions of the path that this kernel has not. */
  readonly missing: readonly string[];
  /** Whether all of them are attached still. */
  isAttached(): boolean;
  close(): void;
}

interface Shared extends AttachedProgram {
  users: number;
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

export interface PreventionsOptions {
  /** Path of `prevent.bpf.o`. */
  readonly objectPath: string;
  /** Maps that it shares with the hooks: `call_marks`, and those that all objects share. */
  readonly maps: Readonly<Record<string, BpfMap>>;
}

export class Preventions {
  readonly #options: PreventionsOptions;
  readonly #functions = new Map<string, Shared>();
  #object: BpfObject | undefined;
  #refusal: unknown;
  readonly #templates: BpfProgram[] = [];

  constructor(options: PreventionsOptions) {
    this.#options = options;
  }

  /**
   * Attaches what denies a marked call, and what takes its mark away when it returns.
   * @throws {PolicyLoadError} where this kernel refuses; nothing is then left attached
   */
  deny(symbol: string, path: LsmPath): Denial {
    const present = path.functions.filter((name) => kernelFunction(name) !== undefined);
    const missing = path.either === true ? [] : path.functions.filter((name) => !present.includes(name));
    if (present.length === 0) {
      throw new PolicyLoadError('no-function', `this kernel has none of ${path.functions.join(', ')}`);
    }
    const held: string[] = [];
    const close = () => {
      for (const name of held.splice(0)) this.#release(name);
    };
    try {
      for (const name of present) {
        this.#hold(name);
        held.push(name);
      }
      const clearing = this.#attach('clear_mark', 'fexit', symbol, {});
      return {
        functions: present.reduce((bits, name) => bits | bitOf(name), 0n),
        deniedThrough: present,
        missing,
        isAttached: () => isAttached(clearing) && present.every((name) => this.#isHeld(name)),
        close: () => {
          detach(clearing);
          close();
        },
      };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Functions that have a program, for status. */
  attached(): readonly string[] {
    return [...this.#functions.keys()];
  }

  close(): void {
    for (const shared of this.#functions.values()) detach(shared);
    this.#functions.clear();
    for (const template of this.#templates.splice(0)) template.close();
    this.#object?.close();
    this.#object = undefined;
  }

  #hold(name: string): void {
    const shared = this.#functions.get(name);
    if (shared !== undefined && isAttached(shared)) {
      shared.users++;
      return;
    }
    const attached = this.#attach('deny_marked', 'fmod_ret', name, { function_bit: u64(bitOf(name)) });
    this.#functions.set(name, { ...attached, users: 1 + (shared?.users ?? 0) });
    // Where another hand has detached it.
    if (shared !== undefined) detach(shared);
  }

  #isHeld(name: string): boolean {
    const shared = this.#functions.get(name);
    return shared !== undefined && isAttached(shared);
  }

  #release(name: string): void {
    const shared = this.#functions.get(name);
    if (shared === undefined || --shared.users > 0) return;
    this.#functions.delete(name);
    detach(shared);
  }

  #attach(
    template: 'deny_marked' | 'clear_mark',
    type: string,
    symbol: string,
    rodata: Readonly<Record<string, Uint8Array>>,
  ): AttachedProgram {
    let program: BpfProgram;
    try {
      const name = symbol.replace(/^__x64_sys_|^security_/, '').slice(0, 15);
      program = cloneProgram(this.#template(template), { rodata, name, attachTarget: symbol });
    } catch (error) {
      throw explainRefusal('load', type, symbol, error);
    }
    try {
      return { program, link: program.attach() };
    } catch (error) {
      program.close();
      throw explainRefusal('attach', type, symbol, error);
    }
  }

  #template(name: 'deny_marked' | 'clear_mark'): BpfProgram {
    if (this.#refusal !== undefined) throw this.#refusal;
    if (this.#object === undefined) {
      const object = openObject({
        path: this.#options.objectPath,
        reuseMaps: this.#options.maps,
        autoload: [],
        templates: ['deny_marked', 'clear_mark'],
      });
      try {
        object.load();
        this.#templates.push(object.program('deny_marked'), object.program('clear_mark'));
        this.#object = object;
      } catch (error) {
        object.close();
        this.#refusal = error;
        throw error;
      }
    }
    const found = this.#templates[name === 'deny_marked' ? 0 : 1];
    if (found === undefined) throw new PolicyLoadError('load', `the program ${name} is not loaded`);
    return found;
  }
}

function bitOf(name: string): bigint {
  const position = lsmPathFunctions.indexOf(name);
  if (position < 0 || position >= 64) throw new TypeError(`${name} has no bit`);
  return 1n << BigInt(position);
}
