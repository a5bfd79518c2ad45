// SPDX-License-Identifier: Apache-2.0
// Owns the process sensor: its object, the maps that all programs share, and what attaches it.
import { existsSync, mkdirSync, rmSync, statfsSync } from 'node:fs';
import { type BpfLink, type BpfMap, NativeError, openObject, possibleCpus } from '@weir/native';
import { KernelCounter, kernelCounterNames, sharedMapNames } from '@weir/schema';

/** f_type of a BPF file system (linux/magic.h). */
const BPF_FS_MAGIC = 0xcafe4a11;

const programNames = ['process_exec', 'process_clone', 'process_exit', 'agent_signalled'] as const;

export interface SensorOptions {
  /** Path of `process.bpf.o`. */
  readonly objectPath: string;
  /** A power of two. */
  readonly ringBytes: number;
  /** Process whose being signalled is told of. */
  readonly agentPid: number;
  /** Folder on a BPF file system in which the counters are pinned, so that they outlive the agent. */
  readonly pinFolder?: string;
  /** Entries of `throttle_limits`; none: nothing is throttled, and no room is taken to count what passes. */
  readonly throttles?: readonly MapEntry[];
  /** Which processes are told of; without it all are. */
  readonly narrowing?: {
    readonly config: Uint8Array;
    readonly strings: readonly MapEntry[];
    readonly numbers: readonly MapEntry[];
  };
}

interface MapEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** True where a folder is on a BPF file system. */
export function isBpfFileSystem(path: string): boolean {
  try {
    return Number(statfsSync(path).type) === BPF_FS_MAGIC;
  } catch {
    return false;
  }
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

interface SensorProgram {
  readonly name: string;
  readonly id: number;
  attach(): BpfLink;
  close(): void;
  misses(): bigint;
}

export class Sensor {
  readonly maps: Readonly<Record<string, BpfMap>>;
  /** Rules of narrowing by numbers; no other program has it. */
  readonly narrowingNumbers: BpfMap;
  /** True where the counters were there before: sequences go on. */
  readonly countersPinned: boolean;
  readonly #programs: SensorProgram[];
  readonly #links: { readonly program: SensorProgram; readonly link: BpfLink }[] = [];
  readonly #value: Uint8Array;
  #closed = false;

  private constructor(
    maps: Record<string, BpfMap>,
    narrowingNumbers: BpfMap,
    programs: readonly SensorProgram[],
    pinned: boolean,
  ) {
    this.maps = maps;
    this.narrowingNumbers = narrowingNumbers;
    this.#programs = [...programs];
    this.countersPinned = pinned;
    this.#value = new Uint8Array((maps.counters as BpfMap).valueBytes);
  }

  /** Loads the sensor, and attaches nothing. @throws {NativeError} */
  static load(options: SensorOptions): Sensor {
    const pin = options.pinFolder === undefined ? undefined : `${options.pinFolder}/counters`;
    if (options.pinFolder !== undefined) mkdirSync(options.pinFolder, { recursive: true, mode: 0o700 });
    const was = pin !== undefined && existsSync(pin);
    try {
      return Sensor.#load(options, pin, was);
    } catch (error) {
      // What is pinned may be of another version, with another shape; its counts are then of no use.
      if (!was || pin === undefined || !(error instanceof NativeError)) throw error;
      rmSync(pin);
      return Sensor.#load(options, pin, false);
    }
  }

  static #load(options: SensorOptions, pin: string | undefined, pinned: boolean): Sensor {
    const wakeupBytes = new Uint8Array(8);
    new DataView(wakeupBytes.buffer).setBigUint64(0, BigInt(Math.floor(options.ringBytes / 4)), true);
    const throttles = options.throttles ?? [];
    const object = openObject({
      path: options.objectPath,
      maxEntries: { events: options.ringBytes, ...(throttles.length === 0 ? { throttle_windows: 1 } : {}) },
      rodata: {
        wakeup_bytes: wakeupBytes,
        agent_pid: u32(options.agentPid),
        throttles: u32(throttles.length === 0 ? 0 : 1),
        ...(options.narrowing === undefined ? {} : { narrowing: options.narrowing.config }),
      },
      ...(pin === undefined ? {} : { pinnedMaps: { counters: pin } }),
    });
    try {
      object.load();
      const maps = Object.fromEntries(sharedMapNames.map((name) => [name, object.map(name)]));
      for (const { key, value } of throttles) maps.throttle_limits?.update(key, value);
      const { narrowing } = options;
      const numbers = object.map('narrowing_numbers');
      for (const { key, value } of narrowing?.numbers ?? []) numbers.update(key, value);
      const strings = object.map('narrowing_strings');
      for (const { key, value } of narrowing?.strings ?? []) strings.update(key, value);
      strings.close();
      const programs = programNames.map((name) => {
        const program = object.program(name);
        return {
          name,
          attach: () => program.attach(),
          close: () => program.close(),
          misses: () => program.stats().recursionMisses,
          id: program.id,
        };
      });
      return new Sensor(maps, numbers, programs, pinned);
    } finally {
      object.close();
    }
  }

  attach(): void {
    for (const program of this.#programs) this.#links.push({ program, link: program.attach() });
  }

  /** Names of programs that were attached, and are no more. */
  detached(): string[] {
    return this.#links
      .filter(({ program, link }) => link.programId() !== program.id)
      .map(({ program }) => program.name);
  }

  /** Runs of the sensor's programs that the kernel skipped. */
  skipped(): number {
    return Number(this.#programs.reduce((sum, program) => sum + program.misses(), 0n));
  }

  #counts(index: number): DataView {
    (this.maps.counters as BpfMap).lookup(u32(index), this.#value);
    return new DataView(this.#value.buffer);
  }

  /** What each CPU has numbered so far. */
  produced(): number[] {
    const view = this.#counts(KernelCounter.produced);
    return Array.from({ length: possibleCpus() }, (_, cpu) => Number(view.getBigUint64(cpu * 8, true)));
  }

  /** Lets the numbers go on from here. Before the programs are attached. */
  setProduced(next: readonly number[]): void {
    const view = new DataView(this.#value.buffer);
    for (let cpu = 0; cpu < possibleCpus(); cpu++) {
      view.setBigUint64(cpu * 8, BigInt(Math.max(0, Math.floor(next[cpu] ?? 0))), true);
    }
    (this.maps.counters as BpfMap).update(u32(KernelCounter.produced), this.#value);
  }

  /** All counters of the kernel stage, summed over the CPUs, by their names. */
  counters(): Record<string, number> {
    const result: Record<string, number> = {};
    for (const [index, name] of Object.entries(kernelCounterNames)) {
      const view = this.#counts(Number(index));
      let sum = 0;
      for (let cpu = 0; cpu < possibleCpus(); cpu++) sum += Number(view.getBigUint64(cpu * 8, true));
      result[name] = sum;
    }
    return result;
  }

  /** Detaches. */
  detach(): void {
    for (const { link } of this.#links.splice(0)) link.close();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.detach();
    for (const program of this.#programs) program.close();
    for (const map of Object.values(this.maps)) map.close();
    this.narrowingNumbers.close();
  }
}
