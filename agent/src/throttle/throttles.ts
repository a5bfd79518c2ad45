// SPDX-License-Identifier: Apache-2.0
// Owns the telling of throttles: the kernel notes who is throttled, and here it is read, and said when one begins and
// when it ends. An end is told by the clock: who has fallen silent makes no event by which it could be seen.
import { readThrottled, readThrottleKey, ThrottleScope, throttleScopeNames } from '@weir/schema';
import type { ThrottleLimits, ThrottleScopeName } from './limits.js';

/** How often the kernel is asked who is throttled. */
export const LOOK_MS = 250;
/** Who was ever throttled is counted by name up to here; the others together. */
const NAMES_MAX = 1000;

export interface ThrottledMap {
  forEachKey(visit: (key: Uint8Array) => void): void;
  lookup(key: Uint8Array, value: Uint8Array): boolean;
  delete(key: Uint8Array): boolean;
  readonly valueBytes: number;
}

/** That a throttle began or ended to hold events back. */
export interface ThrottleChange {
  readonly type: 'start' | 'stop';
  readonly scope: ThrottleScopeName;
  /** On the boot-time clock: when the first event was held back, or when it was found that no more are. */
  readonly timeNs: bigint;
  readonly heldBack: bigint;
  readonly cgroupId: bigint;
  /** Empty of a policy. */
  readonly cgroupName: string;
  /** Empty but of a policy. */
  readonly policyName: string;
  /** Process and thread that made the first; 0 of a policy. */
  readonly pid: number;
  readonly tid: number;
  readonly startNs: bigint;
}

export interface ThrottlesOptions {
  readonly map: ThrottledMap;
  readonly limits: ThrottleLimits;
  /** Name of a policy by its number, with its namespace where it has one. */
  readonly policyName: (policyId: number) => string | undefined;
  /** Tells of it; false where there is no room, and it is told again at the next look. */
  readonly say: (change: ThrottleChange) => boolean;
  /** The boot-time clock. */
  readonly nowNs: () => bigint;
  readonly onError: (error: unknown) => void;
}

/** What was held back of one cgroup, policy, or of the processes and threads of a cgroup. */
export interface HeldBack {
  readonly scope: ThrottleScopeName;
  readonly cgroup: string;
  readonly policy: string;
  heldBack: number;
}

interface Active {
  readonly key: Uint8Array;
  change: ThrottleChange;
  isTold: boolean;
}

export class Throttles {
  readonly #options: ThrottlesOptions;
  readonly #value: Uint8Array;
  readonly #active = new Map<string, Active>();
  readonly #heldBack = new Map<string, HeldBack>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ThrottlesOptions) {
    this.#options = options;
    this.#value = new Uint8Array(options.map.valueBytes);
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      try {
        this.look();
      } catch (error) {
        this.#options.onError(error);
      }
    }, LOOK_MS).unref();
  }

  get limits(): ThrottleLimits {
    return this.#options.limits;
  }

  /** Who is throttled now. */
  current(): ThrottleChange[] {
    return [...this.#active.values()].map(({ change }) => change);
  }

  /** What was held back since the agent started, by name. */
  heldBack(): readonly HeldBack[] {
    return [...this.#heldBack.values()];
  }

  /** Reads who is throttled, and tells who began to be and who no longer is. With `all`, none is any more. */
  look(all = false): void {
    const { map, limits, nowNs } = this.#options;
    const keys: Uint8Array[] = [];
    map.forEachKey((key) => keys.push(Uint8Array.from(key)));
    const now = nowNs();
    for (const key of keys) {
      if (!map.lookup(key, this.#value)) continue;
      const change = this.#change(key);
      const active = this.#update(key, change);
      const { lastNs } = readThrottled(new DataView(this.#value.buffer), 0);
      const windowNs = BigInt(limits[change.scope]?.windowMs ?? 0) * 1_000_000n;
      if (active.isTold && (all || now - lastNs > windowNs)) this.#end(active, now);
    }
  }

  #change(key: Uint8Array): ThrottleChange {
    const { scope, id } = readThrottleKey(new DataView(key.buffer, key.byteOffset), 0);
    const entry = readThrottled(new DataView(this.#value.buffer), 0);
    const name = Buffer.from(entry.cgroupName);
    const isPolicy = scope === ThrottleScope.policy;
    return {
      type: 'start',
      scope: (throttleScopeNames[scope] ?? 'cgroup') as ThrottleScopeName,
      timeNs: entry.sinceNs,
      heldBack: entry.heldBack,
      cgroupId: entry.cgroupId,
      cgroupName: isPolicy ? '' : name.subarray(0, Math.max(0, name.indexOf(0))).toString('latin1'),
      policyName: isPolicy ? (this.#options.policyName(id) ?? String(id)) : '',
      pid: entry.pid,
      tid: entry.tid,
      startNs: entry.startNs,
    };
  }

  #update(key: Uint8Array, change: ThrottleChange): Active {
    const text = Buffer.from(key).toString('latin1');
    const known = this.#active.get(text);
    this.#count(change, change.heldBack - (known?.change.heldBack ?? 0n));
    const active = known ?? { key, change, isTold: false };
    active.change = change;
    active.isTold ||= this.#options.say({ ...change, heldBack: 0n });
    this.#active.set(text, active);
    return active;
  }

  /** What is held back between the look and here goes with the entry; the kernel's counter has it. */
  #end({ key, change }: Active, now: bigint): void {
    if (!this.#options.say({ ...change, type: 'stop', timeNs: now })) return;
    this.#options.map.delete(key);
    this.#active.delete(Buffer.from(key).toString('latin1'));
  }

  #count({ scope, cgroupName: cgroup, policyName: policy }: ThrottleChange, count: bigint): void {
    let name = `${scope}\0${cgroup}\0${policy}`;
    let known = this.#heldBack.get(name);
    if (known === undefined && this.#heldBack.size >= NAMES_MAX) {
      name = scope;
      known = this.#heldBack.get(name);
      known ??= { scope, cgroup: '', policy: '', heldBack: 0 };
    }
    known ??= { scope, cgroup, policy, heldBack: 0 };
    known.heldBack += Number(count);
    this.#heldBack.set(name, known);
  }

  /** Tells that no throttle holds any more. */
  close(): void {
    clearInterval(this.#timer);
    this.look(true);
  }
}
