// SPDX-License-Identifier: Apache-2.0
// Owns measuring a filter: what an event costs in time, fuel and memory, over recorded events or made-up ones, by the
// very host that runs in the agent; and what its module's bytes are.
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { type Budget, defaultBudget, FilterHost } from '@weir/filter-host';
import { BATCH_HEADER_BYTES, BATCH_HEADER_RECORD_COUNT_AT } from '@weir/schema';
import { BatchReader, readSegment } from '@weir/segment';
import { FilterBuildError } from './error.js';
import { batchOfEvents } from './events.js';

const MADE_UP_EVENTS = 1000;
const BATCH_EVENTS_MAX = 1000;
const ROUNDS_MAX = 100_000;

export interface BenchOptions {
  module: Uint8Array;
  config?: string;
  /** Recordings: JSON lines, a batch or a segment. Without any, made-up events. */
  fixtures?: readonly string[];
  /** Events to judge, at least; the batches are judged again and again. Default 300,000. */
  eventsMin?: number;
}

export interface BenchResult {
  name: string;
  version: string;
  /** Distinct events, and how many were judged in all. */
  fixtureEvents: number;
  events: number;
  judged: number;
  dropped: number;
  traps: number;
  /** Of the filter alone, the copy of the batch included. */
  nsPerEvent: number;
  eventsPerSecond: number;
  fuelPerEvent: number;
  memoryBytes: number;
  /** What it may use on an agent that sets nothing else. */
  budget: Budget;
  madeUp: boolean;
}

/** Execs and file opens, as a node has them. */
function madeUp(): unknown[] {
  const binaries = ['/usr/bin/bash', '/usr/bin/python3', '/tmp/tool', '/usr/sbin/nginx', '/usr/bin/curl'];
  const paths = [
    '/etc/passwd',
    '/proc/self/status',
    '/usr/lib/libc.so.6',
    '/home/u/.ssh/id_ed25519',
    '/var/log/syslog',
  ];
  return Array.from({ length: MADE_UP_EVENTS }, (_, index) => {
    const process = {
      pid: 1000 + (index % 64),
      binary: binaries[index % binaries.length],
      arguments: `--listen 0.0.0.0 --password secret-${index} --verbose`,
      cwd: '/home/u',
      uid: 1000,
    };
    const parent = { pid: 900, binary: '/usr/lib/systemd/systemd', arguments: '--user' };
    return index % 2 === 0
      ? { process_exec: { process, parent } }
      : {
          process_kprobe: {
            process,
            parent,
            function_name: 'security_file_open',
            policy_name: 'files',
            args: [{ file_arg: { path: paths[index % paths.length] } }],
          },
        };
  });
}

function inBatches(events: readonly unknown[], where: string): Uint8Array[] {
  const batches: Uint8Array[] = [];
  for (let from = 0; from < events.length; from += BATCH_EVENTS_MAX) {
    batches.push(batchOfEvents(events.slice(from, from + BATCH_EVENTS_MAX), where));
  }
  return batches;
}

async function load(path: string): Promise<Uint8Array[]> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new FilterBuildError('test', `${path}: ${(cause as Error).message}`, [], { cause });
  }
  if (extname(path) !== '.jsonl') {
    const isBatch =
      bytes.length >= BATCH_HEADER_BYTES && new TextDecoder().decode(bytes.subarray(0, 4)) === 'WEIR';
    return isBatch ? [new BatchReader(bytes).bytes] : readSegment(bytes).batches.map((batch) => batch.bytes);
  }
  const lines = new TextDecoder()
    .decode(bytes)
    .split('\n')
    .filter((line) => line.trim() !== '');
  const events = lines.map((line, index) => {
    try {
      return JSON.parse(line) as unknown;
    } catch (cause) {
      throw new FilterBuildError('test', `${path}:${index + 1} is no JSON`, [], { cause });
    }
  });
  return inBatches(events, path);
}

const recordsOf = (batch: Uint8Array) =>
  new DataView(batch.buffer, batch.byteOffset).getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);

/** Measures a filter. @throws {FilterBuildError} where it or a recording cannot be used. */
export async function benchFilter(options: BenchOptions): Promise<BenchResult> {
  const { module, config, fixtures = [], eventsMin = 300_000 } = options;
  const batches =
    fixtures.length === 0
      ? inBatches(madeUp(), 'made-up events')
      : (await Promise.all(fixtures.map(load))).flat();
  const fixtureEvents = batches.reduce((sum, batch) => sum + recordsOf(batch), 0);
  if (fixtureEvents === 0) throw new FilterBuildError('test', 'there is no event to judge');
  // The watchdog stays; what is measured is fuel and time, not a limit of either.
  const host = await FilterHost.create({
    trapsMax: Number.MAX_SAFE_INTEGER,
    timeLimitMs: 10_000,
    averageFuel: Number.MAX_SAFE_INTEGER,
    averageNs: Number.MAX_SAFE_INTEGER,
  });
  try {
    const source = config === undefined ? { bytes: module } : { bytes: module, config };
    await host.setFilters([source]).catch((cause: unknown) => {
      throw new FilterBuildError('test', (cause as Error).message, [], { cause });
    });
    const judge = async (batch: Uint8Array) => {
      const slot = await host.acquireWhenFree();
      slot.bytes.set(batch);
      const result = await host.run(slot, batch.length);
      host.release(slot);
      return result.recordCount;
    };
    let events = 0;
    const run = async (least: number) => {
      for (let round = 0, seen = 0; seen < least && round < ROUNDS_MAX; round++) {
        for (const batch of batches) seen += await judge(batch);
        if (round === 0 || seen < least) continue;
        events = seen;
      }
      const status = host.status()[0];
      if (status === undefined) throw new FilterBuildError('test', 'the filter is gone');
      return status;
    };
    // The engine compiles what runs often a second time, and better.
    const warm = await run(Math.min(eventsMin / 10, 30_000));
    events = 0;
    const end = await run(eventsMin);
    const judged = end.events - warm.events;
    if (judged === 0) throw new FilterBuildError('test', `${end.name} is bound to none of these events`);
    if (end.quarantine !== undefined) {
      throw new FilterBuildError(
        'test',
        `${end.name} is quarantined (${end.quarantine.code}): ${end.quarantine.reason}`,
      );
    }
    const nsPerEvent = (end.nanoseconds - warm.nanoseconds) / judged;
    return {
      name: end.name,
      version: end.version,
      fixtureEvents,
      events,
      judged,
      dropped: end.dropped - warm.dropped,
      traps: end.traps - warm.traps,
      nsPerEvent,
      eventsPerSecond: 1e9 / nsPerEvent,
      fuelPerEvent: (end.fuel - warm.fuel) / judged,
      memoryBytes: end.memoryBytes,
      budget: { ...defaultBudget, ...end.manifest.budget },
      madeUp: fixtures.length === 0,
    };
  } finally {
    await host.close();
  }
}

function beyond(unit: string, used: number, budget: number): string[] {
  if (used <= budget) return [];
  return [`  beyond its budget of ${budget} ${unit} an event: an agent would stop it (filter.json, budget)`];
}

export function formatBench(result: BenchResult): string {
  const whole = (value: number) => Math.round(value).toLocaleString('en-US');
  const from = result.madeUp
    ? `${whole(result.fixtureEvents)} made-up events`
    : `${whole(result.fixtureEvents)} recorded events`;
  return [
    `${result.name} ${result.version}: ${whole(result.eventsPerSecond)} events/s, ${result.nsPerEvent.toFixed(1)} ns an event`,
    `  fuel ${result.fuelPerEvent.toFixed(1)} an event, memory ${whole(result.memoryBytes / 1024)} KiB`,
    `  ${whole(result.judged)} judged of ${from} over and over: ${whole(result.dropped)} dropped, ${whole(result.traps)} trapped`,
    ...beyond('units of fuel', result.fuelPerEvent, result.budget.averageFuel),
    ...beyond('ns', result.nsPerEvent, result.budget.averageNs),
  ].join('\n');
}

export interface ModuleSize {
  code: number;
  data: number;
  /** Names of functions and the like, for messages alone. */
  custom: number;
  other: number;
}

/** How many bytes of a module are what. The module was accepted before: its sections are sound. */
export function sizeOfModule(bytes: Uint8Array): ModuleSize {
  const size: ModuleSize = { code: 0, data: 0, custom: 0, other: 8 };
  let at = 8;
  while (at < bytes.length) {
    const start = at;
    const id = bytes[at++];
    let length = 0;
    for (let shift = 0, more = true; more && shift < 35; shift += 7) {
      const byte = bytes[at++] ?? 0;
      length += (byte & 0x7f) * 2 ** shift;
      more = (byte & 0x80) !== 0;
    }
    at += length;
    const key = id === 10 ? 'code' : id === 11 ? 'data' : id === 0 ? 'custom' : 'other';
    size[key] += at - start;
  }
  return size;
}

/** What a filter's bytes are and what an event costs, beside the limits. */
export function formatCost(size: ModuleSize, cost: BenchResult | undefined): string {
  const bytes = `  size: code ${size.code}, data ${size.data}, names and manifest ${size.custom}, other ${size.other} bytes`;
  if (cost === undefined) return bytes;
  return [
    bytes,
    `  cost: fuel ${cost.fuelPerEvent.toFixed(1)} an event over made-up events, memory ${Math.round(cost.memoryBytes / 1024)} KiB`,
  ].join('\n');
}
