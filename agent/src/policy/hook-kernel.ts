// SPDX-License-Identifier: Apache-2.0
// Owns the kernel's side of hooks: the object with the templates, the programs cloned from them, and the maps that
// they look up. It knows ids and bytes, no policies; what is in force is policy-set.ts's to know.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  cloneProgram,
  type KernelFunction,
  kernelFunction,
  lsmHook,
  openObject,
  waitGracePeriod,
} from '@weir/native';
import { syscallNumber } from '@weir/policy';
import { type CallKey, HOOK_STATE_BYTES, limits, readCallKey, SCOPE_CONFIG_BYTES } from '@weir/schema';
import { callPlaces } from './call-places.js';
import { Counts } from './counts.js';
import type { EntryMap, MapEntry } from './entries.js';
import { errnoOf, PolicyLoadError } from './errors.js';
import { HookPlaces, type LoadRequest } from './hook-places.js';
import { type HookProgram, type ProgramKind, type SlottedKind, templates } from './hook-program.js';
import { systemCallEntries } from './kernel-names.js';
import { type Denial, type Prevention, Preventions, u64 } from './prevention.js';
import { ProcessScopes } from './process-scopes.js';
import { SocketOwners } from './socket-owners.js';
import { throttledSpec } from './throttled-spec.js';

export interface HookKernelOptions {
  /** Path of `hook.bpf.o`. */
  readonly objectPath: string;
  /** Path of `prevent.bpf.o`; by default it lies beside the other. */
  readonly preventionPath?: string;
  /** Path of `user.bpf.o`; by default it lies beside the other. */
  readonly userPath?: string;
  /** Root of the host's file tree, in which policies name programs; as the host's first process sees it by default. */
  readonly hostRoot?: string;
  /** Maps that the hooks share with other objects: events, counters, process_states and the like. */
  readonly sharedMaps: Readonly<Record<string, BpfMap>>;
  /** Whether a throttle of the node holds events back. */
  readonly throttles?: boolean;
  /** Other sizes of maps than the object's own, by name. */
  readonly maxEntries?: Readonly<Record<string, number>>;
}

/** Of takes_registers: the call's arguments are in the registers of the 32-bit entry. */
const BY_32_BIT_ENTRY = 2;

const mapNames = [
  'hook_states',
  'hook_configs',
  'scope_configs',
  'string_masks',
  'integer_masks',
  'range_pages',
  'text_nodes',
  'selectors',
  'classes',
  'class_masks',
  'small_calls',
  'large_calls',
  'workloads',
  'lineage_configs',
  'lineage_strings',
  'lineage_pids',
  'lineage_seeds',
  'throttle_limits',
  'throttle_windows',
  'throttled',
] as const;
type MapName = (typeof mapNames)[number];
/** Maps of the object that a second instance of it has to share with the first. */
const workingMaps = [
  'class_counter',
  'hook_works',
  'hook_texts',
  'call_marks',
  'rate_limits',
  'hook_stacks',
  'notifications',
  'call_frames',
  'hook_counts',
  'binding_counts',
  'socket_owners',
  'ima_kept',
  'idle_state',
] as const;

function checkParameters({ symbol, lastParameter }: LoadRequest, known: KernelFunction): void {
  if (lastParameter < known.parameters.length) return;
  const names = known.parameters.map(({ name, type }) => `${type} ${name}`.trim()).join(', ');
  throw new PolicyLoadError(
    'no-function',
    `${symbol} has no parameter ${lastParameter} on this kernel; it has ${known.parameters.length}, counted from 0: ${names}`,
  );
}

/** A function whose return a policy asks for. */
function checkReturns({ symbol, returns }: LoadRequest, known: KernelFunction): void {
  if (returns && known.returns === 'void')
    throw new PolicyLoadError('attach', `${symbol} returns nothing on this kernel: leave return out`);
}

/** Each program of a hook has another state than the one before it: see hook_states (bpf/hook_maps.h). */
function stateIndex(hookId: number, specId: number): number {
  return 2 * hookId + (specId & 1);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** The kernel as hooks see it. One an agent; `close` detaches nothing that PolicySet has not detached before. */
export class HookKernel {
  readonly #options: HookKernelOptions;
  /** By path. */
  readonly #objects = new Map<string, BpfObject>();
  readonly #templates = new Map<ProgramKind, BpfProgram>();
  readonly #refusals = new Map<ProgramKind, unknown>();
  readonly #maps = new Map<string, BpfMap>();
  /** Configurations as they were written last, by map and index. */
  readonly #configs = new Map<string, Uint8Array>();
  #preventions: Preventions | undefined;
  #socketOwners: SocketOwners | undefined;
  #processScopes: ProcessScopes | undefined;
  readonly #places: HookPlaces;
  #counts: Counts | undefined;
  #flip: BpfProgram | undefined;
  #entries: ReadonlySet<string> | undefined;
  #closed = false;

  constructor(options: HookKernelOptions) {
    this.#options = options;
    this.#places = new HookPlaces({
      slotPath: join(dirname(options.objectPath), 'slot.bpf.o'),
      template: (kind) => this.#template(kind),
      hostRoot: options.hostRoot,
    });
  }

  /** Opens the maps and the object with most templates. @throws {NativeError} where nothing loads. */
  open(): void {
    if (this.#flip !== undefined) return;
    const object = this.#load(this.#options.objectPath, ['set_hook_state']);
    for (const name of [...mapNames, ...workingMaps]) this.#maps.set(name, object.map(name));
    this.#flip = object.program('set_hook_state');
  }

  /**
   * Loads and attaches a program. It does nothing before it enters, and before `setState` names its spec_id.
   * @throws {PolicyLoadError} with the reason in words
   */
  attach(given: LoadRequest): HookProgram {
    this.open();
    const request = this.#options.throttles === true ? { ...given, spec: throttledSpec(given.spec) } : given;
    const { symbol } = request;
    if (request.user !== undefined) return this.#places.attachUser(request, request.user);
    if (request.isMapping === true) return this.#places.attachMapping(request);
    if (request.lsmCaller !== null) return this.#attachLsm(request, request.lsmCaller);
    if (request.calls !== undefined) return this.#attachListed(request, request.calls);
    if (request.tracepoint !== undefined)
      return this.#attachAs(request.tracepoint.raw ? 'raw-tracepoint' : 'tracepoint', request);
    const known = kernelFunction(symbol);
    if (request.prevention !== undefined)
      return this.#attachPreventing(request, request.prevention, known !== undefined);
    if (known === undefined) {
      // Entries of calls without arguments are missing in the types of some kernels, though they are there.
      if (request.syscall && this.#hasSymbol(symbol)) return this.#attachAs('system-call', request);
      throw new PolicyLoadError(
        'no-function',
        `this kernel has no function ${symbol}; /proc/kallsyms has the names it knows, and ignore.callNotFound lets a policy go without`,
      );
    }
    if (!request.syscall) checkParameters(request, known);
    checkReturns(request, known);
    if (request.denies) return this.#attachAs('enforce', request);
    // What has come to be there stays there, where it can.
    if (request.syscall && !request.returns && request.former?.kind === 'system-call')
      return this.#attachAs('system-call', request);
    try {
      return this.#attachAs('observe', request);
    } catch (error) {
      if (!request.syscall || !(error instanceof PolicyLoadError)) throw error;
      // Where functions cannot be hooked, system calls still can, at their common entry.
      try {
        return this.#attachAs('system-call', request);
      } catch {
        throw error;
      }
    }
  }

  /**
   * An LSM hook as a program of the security module bpf; where that is not active, as the function that calls the hook,
   * if that has the hook's own parameters. (A program of a module that is not active attaches, and never runs.)
   */
  #attachLsm(request: LoadRequest, caller: string): HookProgram {
    const { symbol } = request;
    const hook = lsmHook(symbol);
    if (hook === undefined) {
      throw new PolicyLoadError(
        'no-function',
        `this kernel has no LSM hook ${symbol} for BPF: a kernel with CONFIG_BPF_LSM has them, by the names in lsm_hook_defs.h`,
      );
    }
    checkParameters(request, hook);
    if (this.#isBpfLsmActive()) return this.#attachAs('lsm', request);
    if (request.hashed !== undefined)
      throw new PolicyLoadError(
        'attach',
        "imaHash needs bpf among the active security modules (lsm= on the kernel's command line): the kernel hashes for their programs alone",
      );
    const known = kernelFunction(caller);
    const types = (of: KernelFunction) => of.parameters.map(({ type }) => type).join(', ');
    if (known === undefined || types(known) !== types(hook)) {
      throw new PolicyLoadError(
        'attach',
        `the LSM hook ${symbol} needs bpf among the active security modules (lsm= on the kernel's command line), and ${known === undefined ? `there is no function ${caller}` : `${caller} has other parameters`} to hook in its stead`,
      );
    }
    return this.#attachAs(request.denies ? 'enforce' : 'observe', { ...request, symbol: caller });
  }

  /** One program for all calls of a list, which tells them by their numbers. */
  #attachListed(request: LoadRequest, calls: readonly string[]): HookProgram {
    const missing = calls.filter((call) => kernelFunction(call) === undefined && !this.#hasSymbol(call));
    if (missing.length > 0 && (!request.ignoreMissing || missing.length === calls.length)) {
      const more = missing.length > 5 ? ` and ${missing.length - 5} more` : '';
      throw new PolicyLoadError(
        'no-function',
        `this kernel has no function ${missing.slice(0, 5).join(', ')}${more}; ignore.callNotFound lets a policy go without`,
      );
    }
    return this.#attachAs('listed-calls', request, undefined, missing);
  }

  /** Whether the running kernel has a system call's entry of this name, by /proc/kallsyms. */
  #hasSymbol(symbol: string): boolean {
    this.#entries ??= systemCallEntries();
    return this.#entries.has(symbol);
  }

  #isBpfLsmActive(): boolean {
    try {
      return readFileSync('/sys/kernel/security/lsm', 'utf8').trim().split(',').includes('bpf');
    } catch {
      // Not to be seen: what works without it is taken.
      return false;
    }
  }

  /** Attaches what denies a system call, and what marks it; or, where a kill is all that can be had, says so. */
  #attachPreventing(request: LoadRequest, prevention: Prevention, isHookable: boolean): HookProgram {
    const { prevention: _, ...plain } = request;
    let unprevented: string;
    try {
      if (!isHookable)
        throw new PolicyLoadError('no-function', `this kernel has no function ${request.symbol} to hook`);
      const denial = this.#ready().deny(request.symbol, prevention.path);
      try {
        return this.#attachAs('prevent', plain, denial);
      } catch (error) {
        denial.close();
        throw error;
      }
    } catch (error) {
      if (prevention.isNeeded || !(error instanceof PolicyLoadError)) throw error;
      unprevented = error.message;
    }
    return this.attach({ ...plain, unprevented });
  }

  #ready(): Preventions {
    const marks = this.#maps.get('call_marks');
    if (marks === undefined) throw new PolicyLoadError('map', 'the map call_marks is not open');
    this.#preventions ??= new Preventions({
      objectPath: this.#options.preventionPath ?? join(dirname(this.#options.objectPath), 'prevent.bpf.o'),
      // Of those that all objects share it has what programs need to count and to work, and none of the hooks'.
      maps: {
        ...Object.fromEntries(
          Object.entries(this.#options.sharedMaps).filter(
            ([name]) => !(mapNames as readonly string[]).includes(name),
          ),
        ),
        call_marks: marks,
      },
    });
    return this.#preventions;
  }

  #attachAs(
    kind: SlottedKind,
    request: LoadRequest,
    denial?: Denial,
    missing: readonly string[] = [],
  ): HookProgram {
    const { symbol } = request;
    if (request.returns && kind === 'system-call') {
      throw new PolicyLoadError(
        'attach',
        `the return of ${symbol} is not seen where its entry cannot be hooked as a function: leave return out`,
      );
    }
    const rodata: Record<string, Uint8Array> = { spec: request.spec };
    if (kind === 'system-call') {
      const number = syscallNumber(symbol);
      if (number === undefined) {
        throw new PolicyLoadError(
          'load',
          `the number of the system call ${symbol} is not known to this version`,
        );
      }
      rodata.syscall_number = u32(number);
    } else if (kind === 'listed-calls') {
      rodata.call_places = callPlaces(request.calls ?? []);
    } else if (kind === 'tracepoint') {
      rodata.is_record = u32(1);
    } else if (kind !== 'raw-tracepoint') {
      rodata.takes_registers = u32(
        request.syscall ? (symbol.startsWith('__ia32_') ? BY_32_BIT_ENTRY : 1) : 0,
      );
      if (kind === 'lsm') rodata.denies = u32(request.denies ? 1 : 0);
      if (denial !== undefined) rodata.denying_functions = u64(denial.functions);
    }
    return this.#places.attach(kind, request, rodata, { denial, missing });
  }

  /** The template of a kind. Some kernels refuse some kinds, whatever the function: they are asked at its first use. */
  #template(kind: ProgramKind): BpfProgram {
    const ready = this.#templates.get(kind);
    if (ready !== undefined) return ready;
    if (this.#refusals.has(kind)) throw this.#refusals.get(kind);
    try {
      const path = this.#pathOf(kind);
      const object = this.#objects.get(path) ?? this.#load(path, []);
      const template = object.program(templates[kind].name);
      cloneProgram(template).close();
      this.#templates.set(kind, template);
      return template;
    } catch (error) {
      this.#refusals.set(kind, error);
      throw error;
    }
  }

  #pathOf(kind: ProgramKind): string {
    const { objectPath, userPath } = this.#options;
    if (kind !== 'user' && kind !== 'user-return' && kind !== 'mapping') return objectPath;
    return userPath ?? join(dirname(objectPath), 'user.bpf.o');
  }

  /** Loads an object with all the templates that it has. */
  #load(path: string, autoload: readonly string[]): BpfObject {
    const kinds = Object.keys(templates) as ProgramKind[];
    const object = openObject({
      path,
      reuseMaps: this.#mapsOf(path),
      // Of maps that are made now: those that are reused have their size.
      maxEntries: this.#maps.size === 0 ? (this.#options.maxEntries ?? {}) : {},
      autoload,
      templates: kinds.filter((kind) => this.#pathOf(kind) === path).map((kind) => templates[kind].name),
    });
    try {
      object.load();
      this.#objects.set(path, object);
      return object;
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** The maps that an object shares with those that are there. */
  #mapsOf(path: string): Record<string, BpfMap> {
    const maps = { ...this.#options.sharedMaps, ...Object.fromEntries(this.#maps) };
    const { objectPath } = this.#options;
    if (path === objectPath) return maps;
    const object = openObject({ path });
    const names = new Set(object.mapNames());
    object.close();
    return Object.fromEntries(Object.entries(maps).filter(([name]) => names.has(name)));
  }

  /**
   * Keeps the owners of sockets true while hooks tell them, or leaves that off.
   * @throws {PolicyLoadError} where this kernel does not let it
   */
  keepSocketOwners(wanted: boolean): void {
    if (!wanted) {
      this.#socketOwners?.close();
      return;
    }
    const path = join(dirname(this.#options.objectPath), 'socket.bpf.o');
    this.#socketOwners ??= new SocketOwners(path, this.#map('socket_owners'));
    this.#socketOwners.watch();
  }

  /**
   * Works out in which scopes all processes are, of the generations whose configuration is written; those that fork and
   * execute from now on are worked out as they do.
   * @throws {PolicyLoadError} where this kernel does not let it
   */
  workOutScopes(): void {
    const path = join(dirname(this.#options.objectPath), 'scope.bpf.o');
    this.#processScopes ??= new ProcessScopes(path, this.#mapsOf(path));
    this.#processScopes.follow();
    this.#processScopes.walk();
  }

  /** Whether the scopes of processes are worked out as they are to be; `mend` sees to it. */
  areProcessesFollowed(mend: boolean): boolean {
    return this.#processScopes?.isFollowing(mend) ?? true;
  }

  /** Whether owners of sockets are kept true, where they are to be; `mend` begins anew, with none. */
  areSocketOwnersKept(mend: boolean): boolean {
    const owners = this.#socketOwners;
    if (owners === undefined || owners.isAttached()) return true;
    if (mend) {
      owners.close();
      owners.watch();
    }
    return false;
  }

  /** What the kernel stage counts of hooks and policies. */
  get counts(): Counts {
    if (this.#counts === undefined)
      this.#counts = new Counts({ hooks: this.#map('hook_counts'), bindings: this.#map('binding_counts') });
    return this.#counts;
  }

  #map(name: MapName | 'hook_counts' | 'binding_counts' | 'socket_owners'): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new PolicyLoadError('map', `the map ${name} is not open`);
    return map;
  }

  /** Ids of the maps of hooks, by name. */
  mapIds(): Record<string, number> {
    return Object.fromEntries([...this.#maps].map(([name, map]) => [name, map.id]));
  }

  /** Adds entries. @throws {PolicyLoadError} where a map is full; those written are then deleted again. */
  writeEntries(entries: readonly MapEntry[]): void {
    let written = 0;
    try {
      for (const entry of entries) {
        this.#map(entry.map).update(entry.key, entry.value);
        written++;
      }
    } catch (error) {
      this.deleteEntries(entries.slice(0, written));
      const map = this.#map(entries[written]?.map ?? 'selectors');
      throw new PolicyLoadError(
        'map',
        `the kernel map ${map.name} cannot take another entry (it holds up to ${map.maxEntries} of all policies): errno ${errnoOf(error)}`,
        error,
      );
    }
  }

  deleteEntries(entries: readonly { readonly map: EntryMap; readonly key: Uint8Array }[]): void {
    for (const { map, key } of entries) this.#map(map).delete(key);
  }

  readEntry(map: EntryMap, key: Uint8Array): Uint8Array | undefined {
    const value = new Uint8Array(this.#map(map).valueBytes);
    return this.#map(map).lookup(key, value) ? value : undefined;
  }

  keysOf(map: EntryMap): Uint8Array[] {
    const keys: Uint8Array[] = [];
    this.#map(map).forEachKey((key) => {
      keys.push(key.slice());
    });
    return keys;
  }

  writeHookConfig(index: number, config: Uint8Array): void {
    this.#map('hook_configs').update(u32(index), config);
    this.#configs.set(`hook_configs ${index}`, config);
  }

  /** Has the scopes of other generations than this one worked out no more. */
  forgetOtherScopes(generation: number): void {
    this.writeScopeConfig(generation + 1, new Uint8Array(SCOPE_CONFIG_BYTES));
  }

  /** Writes the scopes of another generation than that in force. Programs go by its number, so that comes last. */
  prepareScopes(generation: number, config: Uint8Array): void {
    const unnumbered = config.slice();
    unnumbered.set(new Uint8Array(4));
    this.writeScopeConfig(generation, unnumbered);
    this.writeScopeConfig(generation, config);
  }

  writeScopeConfig(generation: number, config: Uint8Array): void {
    this.#map('scope_configs').update(u32(generation % 2), config);
    this.#configs.set(`scope_configs ${generation % 2}`, config);
  }

  /** Those of the entries that the kernel has not as they were written. */
  differing(entries: readonly MapEntry[]): MapEntry[] {
    return entries.filter(({ map, key, value }) => !this.#has(this.#map(map), key, value));
  }

  /** Whether a hook's state and configuration are those that were written last; `mend` writes them again. */
  isAsWritten(hookId: number, configIndex: number, specId: number, mend: boolean): boolean {
    const state = new Uint8Array(Uint32Array.of(configIndex, specId).buffer);
    if (
      this.#has(this.#map('hook_states'), u32(stateIndex(hookId, specId)), state) &&
      this.#isConfigAsWritten('hook_configs', configIndex)
    )
      return true;
    if (mend) {
      const config = this.#configs.get(`hook_configs ${configIndex}`);
      if (config !== undefined) this.writeHookConfig(configIndex, config);
      this.setState(hookId, configIndex, specId);
    }
    return false;
  }

  /** Whether the scopes of a generation are those that were written; `mend` writes them again. */
  areScopesAsWritten(generation: number, mend: boolean): boolean {
    if (this.#isConfigAsWritten('scope_configs', generation % 2)) return true;
    const config = this.#configs.get(`scope_configs ${generation % 2}`);
    if (mend && config !== undefined) this.writeScopeConfig(generation, config);
    return false;
  }

  #isConfigAsWritten(map: 'hook_configs' | 'scope_configs', index: number): boolean {
    const written = this.#configs.get(`${map} ${index}`);
    return written === undefined || this.#has(this.#map(map), u32(index), written);
  }

  #has(map: BpfMap, key: Uint8Array, value: Uint8Array): boolean {
    const found = new Uint8Array(map.valueBytes);
    return map.lookup(key, found) && Buffer.compare(found, value) === 0;
  }

  /** Flips a hook's program to a configuration, by one store. */
  setState(hookId: number, configIndex: number, specId: number): void {
    const context = new Uint8Array(8 + HOOK_STATE_BYTES);
    const view = new DataView(context.buffer);
    view.setUint32(0, stateIndex(hookId, specId), true);
    view.setUint32(8, configIndex, true);
    view.setUint32(12, specId, true);
    const failed = this.#flip?.testRun({ context });
    if (failed !== 0)
      throw new PolicyLoadError('map', `the state of hook ${hookId} of ${limits.hooks} cannot be set`);
  }

  /** Forgets what programs kept of old generations of scopes and old configurations. */
  sweep(generation: number, configIds: ReadonlySet<number>): void {
    const classes = this.#map('classes');
    const isOld = (key: Uint8Array) =>
      new DataView(key.buffer, key.byteOffset).getUint32(0, true) !== generation;
    classes.forEachKey((key) => {
      if (isOld(key)) classes.delete(key);
    });
    const masks = this.#map('class_masks');
    masks.forEachKey((key) => {
      if (!configIds.has(new DataView(key.buffer, key.byteOffset).getUint32(0, true))) masks.delete(key);
    });
  }

  /** Configurations by which calls matched that have not returned yet. Calls of threads that have ended are forgotten. */
  awaitedConfigs(): Set<number> {
    const configIds = new Set<number>();
    this.#forEachCall((map, { configId, thread }, key) => {
      const pid = thread >> 32n;
      if (existsSync(`/proc/${pid}/task/${thread & 0xffffffffn}`)) configIds.add(configId);
      else map.delete(key);
    });
    return configIds;
  }

  /** Forgets the calls of hooks that are gone: nobody will see them return. */
  forgetCalls(hookIds: ReadonlySet<number>): void {
    this.#forEachCall((map, { hookId }, key) => {
      if (hookIds.has(hookId)) map.delete(key);
    });
  }

  #forEachCall(visit: (map: BpfMap, key: CallKey, bytes: Uint8Array) => void): void {
    for (const name of ['small_calls', 'large_calls'] as const) {
      const map = this.#map(name);
      map.forEachKey((bytes) => {
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        visit(map, readCallKey(view, 0), bytes);
      });
    }
  }

  /** Waits until no run can still use what was in force before. */
  async settle(): Promise<void> {
    await waitGracePeriod();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#preventions?.close();
    this.#socketOwners?.close();
    this.#processScopes?.close();
    this.#places.close();
    for (const template of this.#templates.values()) template.close();
    for (const object of this.#objects.values()) object.close();
    this.#templates.clear();
    this.#objects.clear();
    this.#flip?.close();
    for (const map of this.#maps.values()) map.close();
  }
}
