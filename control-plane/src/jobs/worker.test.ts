// SPDX-License-Identifier: Apache-2.0
// Tests the worker of jobs on a real store, with a clock of its own.
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LogEntry } from '../ports.js';
import { openSqlite } from '../store/open.js';
import type { Store } from '../store/store.js';
import { type JobHandler, JobWorker } from './worker.js';

let store: Store;
let nowMs: number;
let logged: LogEntry[];
beforeEach(async () => {
  store = (await openSqlite(':memory:')).store;
  nowMs = 1_000_000;
  logged = [];
});
afterEach(() => store.close());

function worker(handler: JobHandler, owner = 'w'): JobWorker {
  return new JobWorker({
    store,
    clock: { nowMs: () => nowMs },
    log: (entry) => logged.push(entry),
    owner,
    handlers: { convert: handler },
    leaseMs: 60_000,
    attemptsMax: 3,
  });
}

const enqueue = (key: string) => store.enqueueJob({ id: key, kind: 'convert', key, payload: { key }, nowMs });

test('runs each job once, in order', async () => {
  const ran: unknown[] = [];
  const w = worker(async ({ payload }) => void ran.push(payload.key));
  await enqueue('a');
  await enqueue('b');
  while (await w.runOne());
  expect(ran).toEqual(['a', 'b']);
  expect(await store.countJobs()).toEqual({ ready: 0, leased: 0, done: 2, failed: 0 });
});

test('tries a job that fails again after a pause, and gives it up after its tries', async () => {
  let tries = 0;
  const w = worker(async () => {
    tries++;
    throw new Error('away');
  });
  await enqueue('a');
  expect(await w.runOne()).toBe(true);
  expect(await w.runOne()).toBe(false);
  nowMs += 1_000;
  expect(await w.runOne()).toBe(true);
  nowMs += 2_000;
  expect(await w.runOne()).toBe(true);
  nowMs += 1_000_000;
  expect(await w.runOne()).toBe(false);
  expect(tries).toBe(3);
  expect(await store.countJobs()).toEqual({ ready: 0, leased: 0, done: 0, failed: 1 });
  expect(logged.map(({ level }) => level)).toEqual(['warn', 'warn', 'error']);
});

test('takes over the job of a worker that ended, and gives up one that ends each worker', async () => {
  await enqueue('a');
  for (let died = 0; died < 3; died++) {
    expect(await store.leaseJob(['convert'], 'dead', nowMs, 60_000)).toBeDefined();
    nowMs += 60_001;
  }
  const ran: string[] = [];
  await worker(async () => void ran.push('a')).runOne();
  expect(ran).toEqual([]);
  expect((await store.countJobs()).failed).toBe(1);
});

test('runs what is enqueued while it is idle, once woken, and stops when closed', async () => {
  let done: (key: unknown) => void = () => {};
  const first = new Promise((resolve) => {
    done = resolve;
  });
  const w = worker(async ({ payload }) => done(payload.key));
  w.start();
  await enqueue('a');
  w.wake();
  expect(await first).toBe('a');
  await w.close();
  await enqueue('b');
  w.wake();
  expect((await store.countJobs()).ready).toBe(1);
});
