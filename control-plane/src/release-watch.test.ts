// SPDX-License-Identifier: Apache-2.0
// Tests the waiting of long polls.
import { expect, test } from 'vitest';
import { ReleaseWatch } from './release-watch.js';

const foreverMs = 1_000_000;

test('wakes who waits, and misses no announcement between look and wait', async () => {
  const watch = new ReleaseWatch({ look: async () => '1', intervalMs: foreverMs });
  const { generation } = watch;
  const waiting = watch.wait(generation, '1', foreverMs);
  expect(watch.waiting).toBe(1);
  watch.announce();
  expect(await waiting).toBe(true);
  expect(watch.waiting).toBe(0);
  // The look was before the announcement, the wait comes after it.
  expect(await watch.wait(generation, '1', foreverMs)).toBe(true);
  watch.close();
});

test('wakes by what the store has, and only those who know something else', async () => {
  let now = '1';
  const watch = new ReleaseWatch({ look: async () => now, intervalMs: 1 });
  const old = watch.wait(watch.generation, '1', foreverMs);
  const stays = watch.wait(watch.generation, '2', foreverMs);
  now = '2';
  expect(await old).toBe(true);
  expect(watch.waiting).toBe(1);
  watch.close();
  await stays;
});

test('sends back at once who is one too many, gave up, or comes after its end', async () => {
  const watch = new ReleaseWatch({ look: async () => '1', intervalMs: foreverMs, waitersMax: 1 });
  const gaveUp = new AbortController();
  const waiting = watch.wait(watch.generation, '1', foreverMs, gaveUp.signal);
  expect(await watch.wait(watch.generation, '1', foreverMs)).toBe(false);
  gaveUp.abort();
  await waiting;
  expect(watch.waiting).toBe(0);
  watch.close();
  expect(await watch.wait(watch.generation, '1', foreverMs)).toBe(false);
});

test('goes on looking when the store was away', async () => {
  let looks = 0;
  const look = async () => {
    if (looks++ === 0) throw new Error('away');
    return '2';
  };
  const watch = new ReleaseWatch({ look, intervalMs: 1 });
  expect(await watch.wait(watch.generation, '1', foreverMs)).toBe(true);
  expect(looks).toBe(2);
  watch.close();
});
