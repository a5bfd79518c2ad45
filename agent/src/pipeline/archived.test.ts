// SPDX-License-Identifier: Apache-2.0
import { FilterHost, Judgement } from '@weir/filter-host';
import { EventKind } from '@weir/schema';
import { BatchDecoder, BatchReader, BatchWriter } from '@weir/segment';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { assembleModule, done, dropVerdict, eachRecord } from '../../../filters/host/src/fixtures.js';
import { slotViews } from '../join/join.js';
import { ArchivedProcesses } from './archived.js';

let host: FilterHost;
beforeEach(async () => {
  host = await FilterHost.create();
});
afterEach(() => host.close());

interface Told {
  readonly pid: number;
  readonly kind: 'exec' | 'exit';
  readonly startNs?: bigint;
}

function batchOf(events: readonly Told[]): Uint8Array {
  const writer = new BatchWriter({ node: 'node-1', cluster: 'test' });
  for (const [index, { pid, kind, startNs = 5_000_000_000n }] of events.entries()) {
    writer.event({ kind: EventKind[kind], pid, startNs, sequence: BigInt(index) });
  }
  return writer.finish();
}

/** Has a filter drop all execs; gives the verdicts, and notes what is left as the pipeline does. */
async function judge(archived: ArchivedProcesses, ...events: Told[]): Promise<number[]> {
  const slot = await host.acquireWhenFree();
  const batch = batchOf(events);
  slot.bytes.set(batch);
  const views = slotViews(slot.bytes);
  archived.protect(views);
  const result = await host.run(slot, batch.length);
  const verdicts = [...slot.verdicts.slice(0, result.recordCount)];
  archived.note(views, slot.verdicts);
  host.release(slot);
  return verdicts;
}

describe('an exec of a process that the archive has events of', () => {
  beforeEach(async () => {
    const filter = `${eachRecord(dropVerdict)} ${done}`;
    await host.setFilters([
      { bytes: assembleModule({ name: 'drops-execs', binds: { kinds: ['exec'] }, filter }) },
    ]);
  });

  it('is dropped by no filter; that of another process is', async () => {
    const archived = new ArchivedProcesses();
    const { keep, drop } = Judgement;
    expect(await judge(archived, { pid: 7, kind: 'exec' })).toEqual([drop]);
    // What was dropped is not in the archive.
    expect(await judge(archived, { pid: 7, kind: 'exec' }, { pid: 8, kind: 'exit' })).toEqual([drop, keep]);
    expect(
      await judge(
        archived,
        { pid: 7, kind: 'exec' },
        { pid: 8, kind: 'exec' },
        // The same number, given out again.
        { pid: 8, kind: 'exec', startNs: 6_000_000_000n },
      ),
    ).toEqual([drop, keep, drop]);
  });

  it('is known of the latest processes, however many there were', async () => {
    const archived = new ArchivedProcesses(64);
    for (let first = 1; first < 4000; first += 500) {
      await judge(
        archived,
        ...Array.from({ length: 500 }, (_, n) => ({ pid: first + n, kind: 'exit' }) as const),
      );
    }
    const verdicts = await judge(
      archived,
      ...Array.from({ length: 4000 }, (_, n) => ({ pid: 1 + n, kind: 'exec' }) as const),
    );
    const kept = verdicts.flatMap((verdict, n) => (verdict === Judgement.keep ? [1 + n] : []));
    expect(kept.length).toBe(64);
    expect(kept).toContain(4000);
  });

  it('keeps its other flags', () => {
    const archived = new ArchivedProcesses();
    const bytes = batchOf([{ pid: 7, kind: 'exec' }]);
    const views = slotViews(bytes);
    const flags = () => new BatchDecoder(new BatchReader(bytes)).record(0).flagBits;
    archived.protect(views);
    expect(flags()).toBe(0);
    archived.note(views, new Uint8Array(1));
    archived.protect(views);
    expect(flags()).toBe(16);
  });
});
