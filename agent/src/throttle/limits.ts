// SPDX-License-Identifier: Apache-2.0
// Owns what a throttle lets through, as the command line says it and as the kernel is told (bpf/throttle.h).
import {
  makeThrottleLimit,
  THROTTLE_LIMIT_BYTES,
  ThrottleScope,
  throttleScopeNames,
  writeThrottleLimit,
} from '@weir/schema';

export type ThrottleScopeName = keyof typeof ThrottleScope;

export interface ThrottleLimit {
  /** Events of one kind that pass in any window. */
  readonly events: number;
  readonly windowMs: number;
}

/** By scope; a scope without a limit throttles nobody. */
export type ThrottleLimits = Readonly<Partial<Record<ThrottleScopeName, ThrottleLimit>>>;

/** The kernel counts in 20 bits. */
const EVENTS_MAX = 2 ** 20 - 1;
const WINDOW_MS_MAX = 3_600_000;
const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };

export const scopeNames = Object.values(throttleScopeNames) as ThrottleScopeName[];

function readLimit(text: string): [ThrottleScopeName, ThrottleLimit] {
  const [name = '', limit = ''] = text.split('=', 2);
  const scope = scopeNames.find((known) => known === name);
  if (scope === undefined) throw new RangeError(`must name one of ${scopeNames.join(', ')}, not "${name}"`);
  const parts = /^([1-9]\d{0,6})\/([1-9]\d{0,3})?([smh])$/.exec(limit);
  const events = Number(parts?.[1]);
  const windowMs = Number(parts?.[2] ?? 1) * (unitMs[parts?.[3] ?? ''] ?? 0);
  if (parts === null || events > EVENTS_MAX || windowMs > WINDOW_MS_MAX) {
    throw new RangeError(
      `${scope} must be EVENTS/TIME, such as 1000/1s: 1 to ${EVENTS_MAX} events, in 1s to 1h, not "${limit}"`,
    );
  }
  return [scope, { events, windowMs }];
}

/** Reads limits such as `cgroup=1000/1s,policy=5000/1m`. @throws {RangeError} that says what would be right */
export function readThrottles(given: readonly string[]): ThrottleLimits {
  const limits: Partial<Record<ThrottleScopeName, ThrottleLimit>> = {};
  for (const text of given.flatMap((list) => list.split(','))) {
    const [scope, limit] = readLimit(text);
    if (limits[scope] !== undefined) throw new RangeError(`names ${scope} twice`);
    limits[scope] = limit;
  }
  return limits;
}

/** A limit as it is written on the command line. */
export function limitText({ events, windowMs }: ThrottleLimit): string {
  return `${events}/${windowMs / 1000}s`;
}

export function throttlesAny(limits: ThrottleLimits): boolean {
  return Object.keys(limits).length > 0;
}

/** What the map `throttle_limits` is to hold: the key of each scope, and its limit. */
export function encodeThrottles(limits: ThrottleLimits): { key: Uint8Array; value: Uint8Array }[] {
  return Object.entries(limits).map(([scope, { events, windowMs }]) => {
    const value = new Uint8Array(THROTTLE_LIMIT_BYTES);
    const limit = makeThrottleLimit({ events: BigInt(events), windowNs: BigInt(windowMs) * 1_000_000n });
    writeThrottleLimit(new DataView(value.buffer), 0, limit);
    return { key: new Uint8Array(Uint32Array.of(ThrottleScope[scope as ThrottleScopeName]).buffer), value };
  });
}
