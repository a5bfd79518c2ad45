// SPDX-License-Identifier: Apache-2.0
// The archive's files: merged, known to Iceberg by their ids, and watched for changes.
import { readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { columns, EventKind } from '@weir/schema';
import { BatchWriter, CHAIN_START } from '@weir/segment';
import { describeBatch } from '@weir/segment/fixtures';
import { describe, expect, test } from 'vitest';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { Harness, noon, origin, scratch, seal, sqlite, story } from './harness.js';
import { mergeFrom, mergeJob } from './merge.js';
import { address } from './rows.js';

describe('many small files', () => {
  test('are merged into one; no event is lost or doubled; what was replaced goes when no query reads it', async () => {
    const folder = join(scratch, 'merged');
    const harness = await Harness.open(new FolderBlobs(folder), sqlite(), 'scratch-merged');
    let previous = CHAIN_START;
    for (let i = 0; i < mergeFrom; i++) {
      // Every segment but the first repeats the last ten events of the one before it.
      const firstSequence = BigInt(Math.max(0, i * 20 - 10));
      const sealed = await seal(BigInt(i), previous, [
        describeBatch({ seed: 7, records: i === 0 ? 20 : 30, firstSequence, startUnixNs: noon }),
      ]);
      previous = sealed.digest;
      await harness.ingest.accept(sealed.bytes, origin);
      await harness.ingest.convert(sealed.digest);
    }
    const ask = 'SELECT count(*), count(DISTINCT event_id), min(time_ns), max(time_ns) FROM events';
    const before = await harness.sql(ask);
    expect(before[0]?.slice(0, 2)).toEqual([mergeFrom * 20, mergeFrom * 20]);
    expect([...harness.jobs.values()].map(([kind]) => kind)).toContain(mergeJob);
    await harness.work();
    expect(await harness.sql(ask)).toEqual(before);
    expect(await harness.catalogue.totals()).toMatchObject({ files: 1, rows: mergeFrom * 20 });
    const parquets = () =>
      readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.parquet'));
    expect(parquets()).toHaveLength(mergeFrom + 1);
    harness.nowMs += 24 * 3_600_000;
    await harness.merger.merge('2026-03-01', 'prod');
    expect(parquets()).toHaveLength(1);
    expect(await harness.sql(ask)).toEqual(before);
    // A late copy of events that are in the merged file.
    const late = await seal(
      0n,
      CHAIN_START,
      [describeBatch({ seed: 7, records: 20, startUnixNs: noon })],
      'agent-1',
      'ff'.repeat(16),
    );
    await harness.take(late);
    expect(await harness.sql(ask)).toEqual(before);
    await harness.close();
  });
});

describe('the files', () => {
  test('carry the field ids that Iceberg knows columns by', async () => {
    const folder = join(scratch, 'ids');
    const harness = await Harness.open(new FolderBlobs(folder), sqlite(), 'scratch-ids');
    await harness.take(await seal(0n, CHAIN_START, [story()]));
    await harness.close();
    const names = readdirSync(folder, { recursive: true }).map(String);
    const file = join(folder, names.find((name) => name.endsWith('.parquet')) ?? '');
    const instance = await DuckDBInstance.create();
    const connection = await instance.connect();
    const result = await connection.runAndReadAll(
      `SELECT name, field_id FROM parquet_schema('${file}') WHERE field_id IS NOT NULL`,
    );
    const ids = new Map(result.getRows().map(([name, id]) => [String(name), Number(id)]));
    for (const { name, id } of columns) expect(ids.get(name), name).toBe(id);
    connection.closeSync();
    instance.closeSync();
  });

  test('a segment whose rows would be far larger than it is refused', async () => {
    const writer = new BatchWriter({});
    const process = writer.process({ pid: 1, execNs: 1n, arguments: ['x'.repeat(200_000)] });
    for (let i = 0; i < 6000; i++) {
      writer.event({ kind: EventKind.exit, pid: 1, sequence: BigInt(i), process });
    }
    const harness = await Harness.open(new FolderBlobs(join(scratch, 'large')), sqlite(), 'scratch-large');
    const sealed = await seal(0n, CHAIN_START, [writer.finish()]);
    await harness.ingest.accept(sealed.bytes, origin);
    await expect(harness.ingest.convert(sealed.digest)).rejects.toMatchObject({ code: 'invalid-segment' });
    await harness.close();
  });

  test('are checked again when they are written to, and before they are merged', async () => {
    const blobs = new FolderBlobs(join(scratch, 'rewritten'));
    const harness = await Harness.open(blobs, sqlite(), 'scratch-rewritten');
    let previous = CHAIN_START;
    let key = '';
    for (let i = 0; i < mergeFrom; i++) {
      const firstSequence = BigInt(i * 10);
      const sealed = await seal(BigInt(i), previous, [
        describeBatch({ seed: 3, records: 10, firstSequence, startUnixNs: noon }),
      ]);
      previous = sealed.digest;
      await harness.ingest.accept(sealed.bytes, origin);
      key = (await harness.ingest.convert(sealed.digest))[0]?.key ?? '';
    }
    const ask = 'SELECT count(*) FROM events';
    expect(await harness.sql(ask)).toEqual([[mergeFrom * 10]]);
    const whole = await blobs.get(key);
    const { mtime } = statSync(blobs.localPath(key));
    await blobs.put(
      key,
      Uint8Array.from(whole, (byte, at) => (at === 100 ? byte ^ 1 : byte)),
    );
    // As one would who does not want to be seen.
    utimesSync(blobs.localPath(key), mtime, mtime);
    const refused = { code: 'file-changed', message: expect.stringContaining(key) };
    await expect(harness.sql(ask)).rejects.toMatchObject(refused);
    await expect(harness.merger.merge('2026-03-01', 'prod')).rejects.toMatchObject(refused);
    expect(await harness.catalogue.totals()).toMatchObject({ files: mergeFrom });
    await blobs.put(key, whole);
    expect(await harness.sql(ask)).toEqual([[mergeFrom * 10]]);
    await harness.close();
  });

  test('of before digests were kept are read by their size', async () => {
    const db = sqlite();
    const blobs = new FolderBlobs(join(scratch, 'before'));
    const harness = await Harness.open(blobs, db, 'scratch-before');
    const sealed = await seal(0n, CHAIN_START, [story()]);
    await harness.ingest.accept(sealed.bytes, origin);
    const [file] = await harness.ingest.convert(sealed.digest);
    expect(await harness.catalogue.totals()).toMatchObject({ files: 1, filesWithoutDigest: 0 });
    await db.updateTable('archive_files').set({ sha256: null }).execute();
    expect(await harness.catalogue.totals()).toMatchObject({ files: 1, filesWithoutDigest: 1 });
    expect(await harness.sql('SELECT count(*) FROM events')).toEqual([[5]]);
    await blobs.put(file?.key ?? '', new Uint8Array(100));
    await expect(harness.sql('SELECT count(*) FROM events')).rejects.toMatchObject({ code: 'file-changed' });
    await harness.close();
  });

  test('a bucket that was tampered with is noticed', async () => {
    const folder = join(scratch, 'tampered');
    const blobs = new FolderBlobs(folder);
    const harness = await Harness.open(blobs, sqlite(), 'scratch-tampered');
    const sealed = await seal(0n, CHAIN_START, [story()]);
    const other = await seal(0n, CHAIN_START, [story(9n)]);
    await harness.ingest.accept(sealed.bytes, origin);
    const names = readdirSync(folder, { recursive: true }).map(String);
    const key = names.find((name) => name.endsWith('.segment')) ?? '';
    await blobs.put(key, other.bytes);
    await expect(harness.ingest.convert(sealed.digest)).rejects.toMatchObject({
      code: 'invalid-segment',
    });
    await harness.close();
  });
});

test.each([
  [2, [127, 0, 0, 1], '127.0.0.1'],
  [10, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1], '2001:db8::1:0:0:1'],
  [10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], '::1'],
  [10, new Array<number>(16).fill(0), '::'],
  [10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3], '::ffff:10.1.2.3'],
  [10, [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0], 'fe80::200:0:0:0'],
  [1, [], null],
])('address of family %i: %j is %s', (family, bytes, text) => {
  expect(address(family, bytes)).toBe(text);
});
