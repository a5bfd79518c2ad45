// SPDX-License-Identifier: Apache-2.0
import {
  makeThrottled,
  makeThrottleKey,
  THROTTLE_KEY_BYTES,
  THROTTLED_BYTES,
  ThrottleScope,
  writeThrottled,
  writeThrottleKey,
} from '@weir/schema';
import { describe, expect, it } from 'vitest';
import { encodeThrottles, limitText, readThrottles } from './limits.js';
import { type ThrottleChange, type ThrottledMap, Throttles } from './throttles.js';

describe('readThrottles', () => {
  it('takes limits by scope', () => {
    const limits = readThrottles(['cgroup=1000/1s,policy=50/m', 'thread=5/10s', 'process=1048575/1h']);
    expect(limits).toEqual({
      cgroup: { events: 1000, windowMs: 1000 },
      policy: { events: 50, windowMs: 60_000 },
      thread: { events: 5, windowMs: 10_000 },
      process: { events: 1048575, windowMs: 3_600_000 },
    });
    expect(limitText({ events: 50, windowMs: 60_000 })).toBe('50/60s');
    expect(encodeThrottles({ policy: { events: 50, windowMs: 60_000 } })).toEqual([
      {
        key: Uint8Array.of(3, 0, 0, 0),
        value: Uint8Array.of(50, 0, 0, 0, 0, 0, 0, 0, 0, 88, 71, 248, 13, 0, 0, 0),
      },
    ]);
  });

  it.each([
    ['pod=1/1s', 'must name one of thread, process, cgroup, policy, not "pod"'],
    ['cgroup', 'cgroup must be EVENTS/TIME'],
    ['cgroup=0/1s', 'cgroup must be'],
    ['cgroup=1048576/1s', '1 to 1048575 events'],
    ['cgroup=1/2h', 'in 1s to 1h'],
    ['cgroup=1/1ms', 'cgroup must be'],
    ['cgroup=1/1s,cgroup=2/1s', 'names cgroup twice'],
  ])('refuses %s', (text, message) => {
    expect(() => readThrottles([text])).toThrow(message);
  });
});

/** The kernel's map, and what is said of it. */
function setup() {
  const entries = new Map<string, Uint8Array>();
  const said: ThrottleChange[] = [];
  const state = { nowNs: 0n, hasRoom: true };
  const map: ThrottledMap = {
    valueBytes: THROTTLED_BYTES,
    forEachKey: (visit) => {
      for (const key of [...entries.keys()]) visit(Uint8Array.from(Buffer.from(key, 'latin1')));
    },
    lookup: (key, value) => {
      const found = entries.get(Buffer.from(key).toString('latin1'));
      if (found !== undefined) value.set(found);
      return found !== undefined;
    },
    delete: (key) => entries.delete(Buffer.from(key).toString('latin1')),
  };
  const hold = (scope: number, id: number, instance: bigint, heldBack: bigint, name = '') => {
    const key = new Uint8Array(THROTTLE_KEY_BYTES);
    writeThrottleKey(new DataView(key.buffer), 0, makeThrottleKey({ scope, id, instance }));
    const value = new Uint8Array(THROTTLED_BYTES);
    const cgroupName = [...Buffer.from(name.padEnd(128, '\0'), 'latin1')];
    writeThrottled(
      new DataView(value.buffer),
      0,
      makeThrottled({ sinceNs: 5n, lastNs: state.nowNs, heldBack, cgroupId: instance, pid: 7, cgroupName }),
    );
    entries.set(Buffer.from(key).toString('latin1'), value);
  };
  const throttles = new Throttles({
    map,
    limits: { cgroup: { events: 1, windowMs: 1000 }, policy: { events: 1, windowMs: 2000 } },
    policyName: (id) => (id === 3 ? 'shop/guard' : undefined),
    say: (change) => {
      if (state.hasRoom) said.push(change);
      return state.hasRoom;
    },
    nowNs: () => state.nowNs,
    onError: (error) => {
      throw error;
    },
  });
  const told = () =>
    said
      .splice(0)
      .map(({ type, cgroupName, policyName, heldBack }) => [type, cgroupName || policyName, heldBack]);
  return { entries, state, hold, throttles, told };
}

describe('Throttles', () => {
  it('tells when one begins, and by the clock when it ends, with what was held back', () => {
    const { entries, state, hold, throttles, told } = setup();
    state.nowNs = 10n;
    hold(ThrottleScope.cgroup, 0, 99n, 4n, 'pod\xff');
    throttles.look();
    expect(told()).toEqual([['start', 'pod\xff', 0n]]);
    expect(throttles.current()).toMatchObject([
      { scope: 'cgroup', heldBack: 4n, cgroupId: 99n, pid: 7, timeNs: 5n },
    ]);
    state.nowNs = 900_000_000n;
    hold(ThrottleScope.cgroup, 0, 99n, 6n, 'pod\xff');
    state.nowNs = 1_900_000_000n;
    throttles.look();
    expect(told()).toEqual([]);
    state.nowNs += 1n;
    throttles.look();
    expect(told()).toEqual([['stop', 'pod\xff', 6n]]);
    expect([entries.size, throttles.current()]).toEqual([0, []]);
    throttles.look();
    expect(told()).toEqual([]);
  });

  it('names policies, and counts what was held back by name', () => {
    const { hold, throttles, told } = setup();
    hold(ThrottleScope.policy, 3, 0n, 2n);
    hold(ThrottleScope.policy, 4, 0n, 1n);
    hold(ThrottleScope.process, 7, 1n, 1n, 'pod');
    hold(ThrottleScope.process, 8, 1n, 2n, 'pod');
    throttles.look();
    expect(told()).toEqual([
      ['start', 'shop/guard', 0n],
      ['start', '4', 0n],
      ['start', 'pod', 0n],
      ['start', 'pod', 0n],
    ]);
    throttles.look();
    expect(throttles.heldBack()).toEqual([
      { scope: 'policy', cgroup: '', policy: 'shop/guard', heldBack: 2 },
      { scope: 'policy', cgroup: '', policy: '4', heldBack: 1 },
      { scope: 'process', cgroup: 'pod', policy: '', heldBack: 3 },
    ]);
  });

  it('tells a beginning later where there is no room, and no end before it', () => {
    const { entries, state, hold, throttles, told } = setup();
    hold(ThrottleScope.cgroup, 0, 99n, 1n, 'pod');
    state.hasRoom = false;
    state.nowNs = 9_000_000_000n;
    throttles.look();
    expect(entries.size).toBe(1);
    state.hasRoom = true;
    throttles.look();
    expect(told()).toEqual([
      ['start', 'pod', 0n],
      ['stop', 'pod', 1n],
    ]);
  });

  it('ends all when the agent does', () => {
    const { hold, throttles, told } = setup();
    hold(ThrottleScope.cgroup, 0, 99n, 1n, 'pod');
    throttles.close();
    expect(told().map(([type]) => type)).toEqual(['start', 'stop']);
  });
});
