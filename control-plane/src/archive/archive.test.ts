// SPDX-License-Identifier: Apache-2.0
// The archive end to end: real segments, real DuckDB, a real folder and a real S3 server, SQLite and PostgreSQL.
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { columns } from '@weir/schema';
import { CHAIN_START, textToBytes } from '@weir/segment';
import { describeBatch } from '@weir/segment/fixtures';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresFolder, startPostgres } from '../../../test/services/postgres.mjs';
import { startS3, weedPath } from '../../../test/services/s3.mjs';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { S3Blobs } from '../blobs/s3-blobs.js';
import type { CatalogueTables } from './catalogue.js';
import {
  bootId,
  chainId,
  Harness,
  noon,
  origin,
  type Sealed,
  scratch,
  seal,
  sqlite,
  story,
  wildPath,
} from './harness.js';
import type { EventFilters } from './reader.js';

function contract(open: () => Promise<Harness>): void {
  let harness: Harness;
  let first: Sealed;
  const toolId = Buffer.from('says-otherwise:40:200').toString('base64');
  const shellId = Buffer.from('says-otherwise:20:100').toString('base64');
  beforeAll(async () => {
    harness = await open();
    first = await seal(0n, CHAIN_START, [story()]);
  });
  afterAll(async () => {
    await harness?.close();
  });

  test('has every column, and nothing, before the first segment', async () => {
    const answer = await harness.reader.sql({
      sql: 'SELECT * FROM events',
      limit: 5,
      timeoutMs: 20_000,
    });
    expect(answer.columns.map(({ name }) => name)).toEqual(columns.map(({ name }) => name));
    expect(answer.rows).toEqual([]);
  });

  test('answers with what was sent, once, however often it was sent', async () => {
    expect(await harness.take(first)).toBe('stored');
    expect(await harness.take(first)).toBe('duplicate');
    await harness.ingest.convert(first.digest);
    expect(await harness.sql('SELECT count(*), count(DISTINCT event_id) FROM events')).toEqual([[5, 5]]);
    const answer = await harness.reader.events({ kind: 'lsm' }, 10);
    const row = Object.fromEntries(answer.columns.map(({ name }, i) => [name, answer.rows[0]?.[i]]));
    expect(row).toMatchObject({
      event_id: `${Buffer.from(bootId).toString('hex')}-3-2`,
      time: '2026-03-01T12:00:00.000050Z',
      time_ns: (noon + 50_000n).toString(),
      cluster: 'prod',
      node: 'node-1',
      agent_id: 'agent-1',
      policy: 'watch-files',
      function: 'file_open',
      action: 'post',
      monitor: false,
      message: 'looks bad',
      tags: ['files', 'mitre.T1005'],
      exec_id: toolId,
      parent_exec_id: shellId,
      pid: 200,
      parent_pid: 100,
      start_time: '2026-03-01T12:00:00.000000Z',
      binary: '/usr/bin/tool',
      parent_binary: '/bin/sh',
      parent_arguments: ['-c', 'tool "$@"', ''],
      inode: -1,
      pod_namespace: 'shop',
      pod: 'web-1',
      container: 'web',
      image: 'web:1',
      workload: 'web',
      return_value: -13,
      source_address: '10.0.0.1',
      destination_address: '192.0.2.7',
      destination_port: 443,
      severity: 'high',
      labels: '{"filter.f.why":"it"}',
    });
    expect(JSON.parse(String(row.args))).toHaveLength(2);
  });

  test('gives strings back byte for byte', async () => {
    const [path, args, argument] = (
      await harness.sql("SELECT path, args::json->0->>'text', arguments[1] FROM events WHERE kind = 'lsm'")
    )[0] as string[];
    expect(Buffer.from(textToBytes(path ?? ''))).toEqual(wildPath);
    expect(Buffer.from(textToBytes(args ?? ''))).toEqual(wildPath);
    expect(Buffer.from(textToBytes(argument ?? ''))).toEqual(Buffer.from([0x61, 0xff]));
  });

  test.each<[EventFilters, number]>([
    [{}, 5],
    [{ kind: 'exec' }, 2],
    [{ binary: '/usr/bin/' }, 3],
    [{ binary: '/bin' }, 1],
    [{ pod: 'web-1' }, 4],
    [{ pod: "x' OR true --" }, 0],
    [{ cluster: 'other' }, 0],
    [{ cluster: 'prod', node: 'node-1' }, 5],
    [{ policy: 'watch-files' }, 1],
    [{ path: '/tmp/' }, 1],
    [{ text: '$@' }, 1],
    [{ exec_id: toolId }, 3],
    [{ from: '2026-03-01T12:00:00.00005Z', to: '2026-03-01T12:00:00.00006Z' }, 2],
    [{ from: '2026-03-02T00:00:00Z' }, 0],
    [{ to: '2026-02-28T00:00:00Z' }, 0],
  ])('finds events by %j', async (filters, count) => {
    expect((await harness.reader.events(filters, 100)).rows).toHaveLength(count);
  });

  test('gives the newest events, oldest first, and says that there are more', async () => {
    const { rows, truncated } = await harness.reader.events({}, 2);
    expect(rows.map((row) => row[6])).toEqual(['exit', 'loss']);
    expect(truncated).toBe(true);
    await expect(harness.reader.events({ from: 'yesterday' }, 2)).rejects.toMatchObject({
      code: 'query-refused',
    });
  });

  test('shows the tree of a process, with a parent of which nothing was archived', async () => {
    const tree = await harness.reader.processTree(toolId);
    const init = Buffer.from('says-otherwise:1:1').toString('base64');
    expect(tree.root).toBe(init);
    expect(tree.processes.map((node) => [node.depth, node.binary, node.events, node.exitSignal])).toEqual([
      [0, '/sbin/init', 0, undefined],
      [1, '/bin/sh', 1, undefined],
      [2, '/usr/bin/tool', 3, 'SIGKILL'],
    ]);
    expect(tree.processes[2]).toMatchObject({ pid: 200, endTime: '2026-03-01T12:00:00.000060Z' });
    await expect(harness.reader.processTree('nobody')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('refuses what is no segment, is of another agent, or takes a place that is taken', async () => {
    const { ingest } = harness;
    await expect(ingest.accept(first.bytes.slice(0, 300), origin)).rejects.toMatchObject({
      code: 'invalid-segment',
    });
    const changed = first.bytes.slice();
    changed[250] = (changed[250] ?? 0) ^ 1;
    await expect(ingest.accept(changed, origin)).rejects.toMatchObject({
      code: 'invalid-segment',
      message: expect.stringContaining('digest'),
    });
    await expect(ingest.accept(first.bytes, { ...origin, agentId: 'agent-2' })).rejects.toMatchObject({
      code: 'invalid-segment',
    });
    const other = await seal(0n, CHAIN_START, [story(100n)]);
    await expect(ingest.accept(other.bytes, origin)).rejects.toMatchObject({ code: 'conflict' });
    expect(harness.jobs.size).toBe(0);
  });

  test('shows a segment that is missing, one that does not follow, and closes the gap when it comes', async () => {
    const broken = async () =>
      (await harness.catalogue.brokenSegments(100, 'agent-1')).map(({ segment, standing }) => [
        segment.sequence,
        standing,
      ]);
    const second = await seal(1n, first.digest, [story(10n)]);
    const third = await seal(2n, second.digest, [story(20n)]);
    expect(await harness.take(third)).toBe('stored');
    expect(await broken()).toEqual([[2n, 'gap']]);
    expect(await harness.take(second)).toBe('stored');
    expect(await broken()).toEqual([]);
    expect(await harness.take(await seal(3n, 'ee'.repeat(32), [story(30n)]))).toBe('stored');
    expect(await broken()).toEqual([[3n, 'fork']]);
    const count = "SELECT count(*), count(DISTINCT event_id) FROM events WHERE agent_id = 'agent-1'";
    expect(await harness.sql(count)).toEqual([[20, 20]]);
  });

  test('shows an event once that is in two segments', async () => {
    const twice = describeBatch({ seed: 5, records: 50 });
    const chain = 'aa'.repeat(16);
    const one = await seal(0n, CHAIN_START, [twice, twice], 'agent-3', chain);
    const two = await seal(
      1n,
      one.digest,
      [twice, describeBatch({ seed: 6, records: 50, firstSequence: 50n })],
      'agent-3',
      chain,
    );
    const from = { ...origin, agentId: 'agent-3', cluster: 'twice' };
    await harness.take(one, from);
    const count = "SELECT count(*), count(DISTINCT event_id) FROM events WHERE cluster = 'twice'";
    expect(await harness.sql(count)).toEqual([[50, 50]]);
    await harness.take(two, from);
    expect(await harness.sql(count)).toEqual([[100, 100]]);
  });

  test('goes on after a worker that ended half-way', async () => {
    const sealed = await seal(0n, CHAIN_START, [story()], 'agent-4');
    const from = { ...origin, agentId: 'agent-4', cluster: 'half' };
    await harness.ingest.accept(sealed.bytes, from);
    harness.jobs.clear();
    expect((await harness.catalogue.waiting(10)).map(({ digest }) => digest)).toEqual([sealed.digest]);
    // The request comes again: the job is queued again. Two workers do it at once.
    expect((await harness.ingest.accept(sealed.bytes, from)).status).toBe('duplicate');
    const { digest } = sealed;
    const [one, two] = await Promise.all([harness.ingest.convert(digest), harness.ingest.convert(digest)]);
    // The digest of the one is that of the other, whichever lies in the store.
    expect(one?.map(({ sha256 }) => sha256)).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
    expect(two).toEqual(one);
    expect(await harness.sql("SELECT count(*) FROM events WHERE cluster = 'half'")).toEqual([[5]]);
    expect(await harness.catalogue.waiting(10)).toEqual([]);
  });

  test('refuses a file that was changed or taken away, by its name, and reads it when it is as it was', async () => {
    const sealed = await seal(0n, CHAIN_START, [story()], 'agent-6');
    await harness.ingest.accept(sealed.bytes, { ...origin, agentId: 'agent-6', cluster: 'changed' });
    harness.jobs.clear();
    const [file] = await harness.ingest.convert(sealed.digest);
    const { key = '' } = file ?? {};
    const ask = (cluster: string) =>
      harness.reader.sql({
        sql: 'SELECT count(*) > 0 FROM events',
        limit: 1,
        timeoutMs: 20_000,
        cluster,
      });
    const whole = await harness.blobs.get(key);
    // Another file of the archive, whole in itself.
    const otherKey = key.replaceAll('agent-6', 'agent-4').replace('=changed', '=half');
    const flipped = Uint8Array.from(whole, (byte, at) => (at === whole.length >> 1 ? byte ^ 1 : byte));
    for (const bytes of [flipped, whole.subarray(0, -1), await harness.blobs.get(otherKey)]) {
      await harness.blobs.put(key, bytes);
      await expect(ask('changed')).rejects.toMatchObject({
        code: 'file-changed',
        message: expect.stringContaining(key),
      });
      // What does not read it is answered.
      expect((await ask('prod')).rows).toEqual([[true]]);
    }
    await harness.blobs.delete(key);
    await expect(ask('changed')).rejects.toMatchObject({
      code: 'file-changed',
      message: `the object ${key} is gone from the store`,
    });
    await harness.blobs.put(key, whole);
    expect((await ask('changed')).rows).toEqual([[true]]);
  });

  test('takes events of any kind and any bytes, and days apart into files of their own', async () => {
    const days = [0n, 1n, 400n].map((day, i) =>
      describeBatch({
        seed: 50 + i,
        records: 100,
        firstSequence: BigInt(i) * 100n,
        startUnixNs: noon + day * 86_400_000_000_000n,
      }),
    );
    const sealed = await seal(0n, CHAIN_START, days, 'agent-5');
    await harness.ingest.accept(sealed.bytes, { ...origin, agentId: 'agent-5', cluster: 'days' });
    harness.jobs.clear();
    const files = await harness.ingest.convert(sealed.digest);
    expect(files.map(({ day, rows }) => [day, rows])).toEqual([
      ['2026-03-01', 100],
      ['2026-03-02', 100],
      ['2027-04-05', 100],
    ]);
    expect(files[0]?.key).toBe(
      `events/day=2026-03-01/cluster=days/agent-5-${chainId.slice(0, 8)}-0000000000000000.parquet`,
    );
    expect(
      await harness.sql("SELECT count(DISTINCT kind) > 8, count(*) FROM events WHERE cluster = 'days'"),
    ).toEqual([[true, 300]]);
  });
}

describe('in a folder, with SQLite', () => {
  contract(async () => Harness.open(new FolderBlobs(join(scratch, 'folder')), sqlite(), 'scratch-folder'));
});

const noS3 = weedPath() === undefined && process.env.CI !== 'true';
describe.skipIf(noS3)(
  'in S3, with SQLite (skipped where SeaweedFS is not: node test/services/s3.mjs install)',
  () => {
    let s3: Awaited<ReturnType<typeof startS3>>;
    afterAll(async () => {
      await s3?.close();
    });
    contract(async () => {
      s3 = await startS3();
      const { endpoint, region, accessKeyId, secretAccessKey } = s3;
      const credentials = { accessKeyId, secretAccessKey };
      const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
      await client.send(new CreateBucketCommand({ Bucket: 'weir' }));
      client.destroy();
      const blobs = new S3Blobs({ bucket: 'weir', endpoint, region, pathStyle: true, credentials });
      return await Harness.open(blobs, sqlite(), 'scratch-s3');
    });
  },
);

const noPostgres = postgresFolder() === undefined && process.env.CI !== 'true';
describe.skipIf(noPostgres)('in a folder, with PostgreSQL (skipped where it is not installed)', () => {
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  let db: Kysely<CatalogueTables>;
  afterAll(async () => {
    await db?.destroy();
    await postgres?.close();
  });
  contract(async () => {
    postgres = await startPostgres();
    db = new Kysely<CatalogueTables>({
      dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: postgres.url, max: 4 }) }),
    });
    return await Harness.open(new FolderBlobs(join(scratch, 'folder-postgres')), db, 'scratch-postgres');
  });
});
