// SPDX-License-Identifier: Apache-2.0
// Fuzzes a filter's bytes all the way: what acceptance lets in, metering must take, and a running host must survive,
// whatever the changed module does. WEIR_SEED and WEIR_FUZZ_ROUNDS change what and how much.
import { acceptModule } from '@weir/filter-accept';
import { MeterError, meterModule } from '@weir/filter-meter';
import { afterEach, describe, expect, it } from 'vitest';
import { assembleModule, closeHosts, judge, pids, start } from '../../filters/host/src/fixtures.js';
import { innocent, runningAttacks } from './running.js';

afterEach(closeHosts);

const seed = Number(process.env.WEIR_SEED ?? 20260104);
const rounds = Number(process.env.WEIR_FUZZ_ROUNDS ?? 6_000);

/** mulberry32 */
function random(from: number): (below: number) => number {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

/** Changes one to three bytes: more, and hardly anything is valid. */
function mutate(bytes: Uint8Array, next: (below: number) => number): Uint8Array {
  const result = bytes.slice();
  for (let left = 1 + next(3); left > 0; left--) {
    // Behind the magic; the manifest at the end is for another fuzzer.
    const at = 8 + next(result.length - 8 - 100);
    result[at] =
      next(2) === 0 ? next(256) : ((result[at] as number) + ([1, -1, 0x40, 0x80][next(4)] as number)) & 0xff;
  }
  return result;
}

describe('fuzzing modules that run', () => {
  it(`finds none that is accepted and cannot be metered, and none that the host does not survive (seed ${seed})`, async () => {
    const next = random(seed);
    const bases = [
      innocent('changed', 3),
      ...runningAttacks.map(({ module }) => ({ ...module, name: 'changed' })),
    ].map((text) => assembleModule(text));
    const accepted: Uint8Array[] = [];
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const bytes = mutate(bases[next(bases.length)] as Uint8Array, next);
      if (!acceptModule(bytes).ok) {
        refused++;
        continue;
      }
      try {
        meterModule(bytes);
      } catch (error) {
        expect.fail(
          `round ${round}: accepted, and then not metered: ${error instanceof MeterError ? error.message : String(error)}`,
        );
      }
      accepted.push(bytes);
    }
    const outcomes = { ran: 0, load: 0, quarantined: 0, trapped: 0 };
    const { host } = await start([innocent('before', 3), innocent('after', 5)]);
    const [before, after] = [innocent('before', 3), innocent('after', 5)].map((one) => ({
      bytes: assembleModule(one),
    }));
    if (before === undefined || after === undefined) throw new Error('no filters');
    let seen = host.status()[0]?.events ?? 0;
    for (let index = 0; index < accepted.length; index += Math.max(1, Math.floor(accepted.length / 60))) {
      const bytes = accepted[index] as Uint8Array;
      try {
        await host.setFilters([before, { bytes }, after]);
      } catch (error) {
        // A change may have made it another name of the two, or one that cannot be started.
        expect(error).toMatchObject({ code: expect.stringMatching(/^(load|duplicate)$/) });
        outcomes.load++;
      }
      const judged = await judge(host, pids(1, 2, 666, 3));
      seen += 4;
      expect(judged.kept + judged.dropped + judged.heldBack).toBe(4);
      expect(judged.records.map(({ pid }) => pid)).toEqual([1, 2, 666, 3]);
      expect(host.status()[0]).toMatchObject({ name: 'before', events: seen, traps: 0 });
      const changed = host.status().find(({ name }) => name !== 'before' && name !== 'after');
      if (changed?.quarantine !== undefined) outcomes.quarantined++;
      else if ((changed?.traps ?? 0) > 0) outcomes.trapped++;
      else outcomes.ran++;
    }
    // The canary: a fuzzer that reaches nothing would pass as well.
    expect(refused).toBeGreaterThan(0);
    for (const [what, count] of Object.entries(outcomes)) expect(count, `no ${what}`).toBeGreaterThan(0);
  });
});
