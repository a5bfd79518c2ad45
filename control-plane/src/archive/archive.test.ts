// SPDX-License-Identifier: Apache-2.0
// The archive end to end: real segments, real DuckDB, a real folder and a real S3 server.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { DuckDBInstance } from '@duckdb/node-api';
import { ArgumentType, columns, EventKind, ExecFlag } from '@weir/schema';
import {
  AGENT_CPU,
  BatchWriter,
  CHAIN_START,
  type EventDescription,
  frameParts,
  readWholeFrames,
  sealSegment,
  socketPayload,
  textToBytes,
} from '@weir/segment';
import { describeBatch } from '@weir/segment/fixtures';
import Database from 'better-sqlite3';
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresFolder, startPostgres } from '../../../test/services/postgres.mjs';
import { startS3, weedPath } from '../../../test/services/s3.mjs';
import type { BlobStore } from '../blobs/blob-store.js';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { S3Blobs } from '../blobs/s3-blobs.js';
import type { CatalogueTables } from './catalogue.js';
import { KyselyCatalogue } from './catalogue.js';
import { ConversionThread } from './conversion-thread.js';
import { convertJob, Ingest } from './ingest.js';
import { FileCache } from './local-files.js';
import { Merger, mergeFrom, mergeJob } from './merge.js';
import { QueryRunner } from './query-runner.js';
import { ArchiveReader, type EventFilters } from './reader.js';
import { address } from './rows.js';

const scratch = mkdtempSync(join(tmpdir(), 'weir-archive-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const origin = { agentId: 'agent-1', cluster: 'prod', node: 'node-1' };
const chainId = 'cd'.repeat(16);
const bootId = Uint8Array.from({ length: 16 }, (_, i) => 255 - i);
/** 2026-03-01T12:00:00Z. */
const noon = 1_772_366_400_000_000_000n;

interface Sealed {
  bytes: Uint8Array;
  digest: string;
}

async function seal(
  sequence: bigint,
  previous: string,
  batches: Uint8Array[],
  agentId = 'agent-1',
  chain = chainId,
): Promise<Sealed> {
  const raw = Buffer.concat(batches.flatMap((batch) => frameParts(batch, new Uint8Array())));
  const { frames } = readWholeFrames(raw);
  return await sealSegment({ agentId, chainId: chain, sequence, previous, raw, frames });
}

/** An archive with a queue of jobs that the test empties itself. */
class Harness {
  readonly jobs = new Map<string, [string, Record<string, string>]>();
  nowMs = Date.now();

  private constructor(
    readonly blobs: BlobStore,
    readonly catalogue: KyselyCatalogue,
    readonly ingest: Ingest,
    readonly reader: ArchiveReader,
    readonly merger: Merger,
    readonly close: () => Promise<void>,
  ) {}

  static async open(blobs: BlobStore, db: Kysely<CatalogueTables>, name: string): Promise<Harness> {
    const scratchFolder = join(scratch, name);
    mkdirSync(scratchFolder);
    const catalogue = new KyselyCatalogue(db);
    await catalogue.migrate();
    const conversion = new ConversionThread();
    const runner = new QueryRunner();
    const cache = new FileCache(blobs, join(scratchFolder, 'cache'));
    const enqueue = async (kind: string, key: string, payload: Record<string, string>): Promise<void> => {
      harness.jobs.set(`${kind} ${key}`, [kind, payload]);
    };
    const nowMs = () => harness.nowMs;
    const common = { blobs, catalogue, conversion, scratchFolder, nowMs };
    const harness: Harness = new Harness(
      blobs,
      catalogue,
      new Ingest({ ...common, enqueue }),
      new ArchiveReader({ catalogue, cache, runner }),
      new Merger({ ...common, cache }),
      async () => {
        runner.close();
        await conversion.close();
      },
    );
    return harness;
  }

  async work(): Promise<void> {
    for (const [key, [kind, payload]] of this.jobs) {
      this.jobs.delete(key);
      if (kind === convertJob) await this.ingest.convert(payload.digest ?? '');
      if (kind === mergeJob) await this.merger.merge(payload.day ?? '', payload.cluster ?? '');
    }
  }

  async take(sealed: Sealed, from = origin): Promise<string> {
    const { status } = await this.ingest.accept(sealed.bytes, from);
    await this.work();
    return status;
  }

  async sql(sql: string, limit = 1000, timeoutMs = 20_000): Promise<unknown[][]> {
    return (await this.reader.sql({ sql, limit, timeoutMs })).rows;
  }
}

function sqlite(): Kysely<CatalogueTables> {
  return new Kysely<CatalogueTables>({ dialect: new SqliteDialect({ database: new Database(':memory:') }) });
}

/** A path that hurts: not UTF-8, a newline, an escape sequence, a quote, an escape of ours that is really there. */
const wildPath = Buffer.concat([
  Buffer.from('/tmp/\n\u001b[31m\'"$x'),
  Buffer.from([0xff, 0xc3]),
  Buffer.from('\uef80é'),
]);

/** A shell that starts a tool, which opens a file, connects, and is killed. */
function story(firstSequence = 0n): Uint8Array {
  const writer = new BatchWriter({
    bootId,
    bootToUnixNs: noon,
    node: 'says-otherwise',
    cluster: 'says-otherwise',
  });
  const pod = writer.pod({
    namespace: 'shop',
    name: 'web-1',
    containerName: 'web',
    imageName: 'web:1',
    workload: 'web',
  });
  const init = writer.process({ pid: 1, startNs: 1n, execNs: 1n, binary: '/sbin/init' });
  const shell = writer.process({
    pid: 100,
    startNs: 10n,
    execNs: 20n,
    parentPid: 1,
    parentExecNs: 1n,
    podIndex: pod,
    binary: '/bin/sh',
    arguments: ['-c', 'tool "$@"', ''],
    uid: 1000,
    userName: 'app',
    execFlags: ExecFlag.execve,
    containerId: 'c0ffee',
  });
  const tool = writer.process({
    pid: 200,
    startNs: 30n,
    execNs: 40n,
    parentPid: 100,
    parentExecNs: 20n,
    podIndex: pod,
    binary: '/usr/bin/tool',
    arguments: [Buffer.from([0x61, 0xff])],
    uid: 1000,
    inode: 2n ** 64n - 1n,
  });
  const binding = writer.binding({
    bindingId: 1,
    eventKind: EventKind.lsm,
    policyName: 'watch-files',
    functionName: 'file_open',
    message: 'a file was opened',
    tags: ['files', 'mitre.T1005'],
  });
  let sequence = firstSequence;
  const add = (event: EventDescription) => writer.event({ cpu: 3, sequence: sequence++, ...event });
  add({
    kind: EventKind.exec,
    timeNs: 20n,
    pid: 100,
    tid: 100,
    process: shell,
    parent: init,
    binary: '/bin/sh',
  });
  add({
    kind: EventKind.exec,
    timeNs: 40n,
    pid: 200,
    tid: 200,
    process: tool,
    parent: shell,
    binary: '/usr/bin/tool',
  });
  add({
    kind: EventKind.lsm,
    timeNs: 50_000n,
    pid: 200,
    process: tool,
    parent: shell,
    binding,
    bindingId: 1,
    action: 1,
    arguments: [
      { type: ArgumentType.file, payload: wildPath, value: 0o100644n },
      {
        type: ArgumentType.sock,
        payload: socketPayload({
          family: 2,
          sourceAddress: [10, 0, 0, 1],
          destinationAddress: [192, 0, 2, 7],
          sourcePort: 40000,
          destinationPort: 443,
        }),
      },
    ],
    returnValue: { type: ArgumentType.int32, value: BigInt.asUintN(64, -13n) },
    annotation: { severity: 4, message: 'looks bad', labels: { 'filter.f.why': 'it' } },
  });
  add({ kind: EventKind.exit, timeNs: 60_000n, pid: 200, process: tool, parent: shell, signal: 9 });
  add({ kind: EventKind.loss, timeNs: 70_000n, cpu: AGENT_CPU, stage: 0, count: 5n });
  return writer.finish();
}

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
      (await harness.catalogue.brokenSegments('agent-1')).map(({ segment, standing }) => [
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
    await Promise.all([harness.ingest.convert(digest), harness.ingest.convert(digest)]);
    expect(await harness.sql("SELECT count(*) FROM events WHERE cluster = 'half'")).toEqual([[5]]);
    expect(await harness.catalogue.waiting(10)).toEqual([]);
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

describe('SQL of somebody who is not trusted', () => {
  let harness: Harness;
  let file: string;
  const folder = join(scratch, 'untrusted');
  beforeAll(async () => {
    harness = await Harness.open(new FolderBlobs(folder), sqlite(), 'scratch-untrusted');
    await harness.take(await seal(0n, CHAIN_START, [describeBatch({ seed: 1, records: 200 })]));
    const names = readdirSync(folder, { recursive: true }).map(String);
    file = join(folder, names.find((name) => name.endsWith('.parquet')) ?? '');
  });
  afterAll(async () => {
    await harness.close();
  });

  test.each([
    ['no SQL', 'nonsense'],
    ['nothing', ''],
    ['two statements', 'SELECT 1; SELECT 2'],
    ['a write', "COPY (SELECT 1) TO '/tmp/weir-must-not-be'"],
    ['a write after a SELECT', "SELECT 1; COPY (SELECT 1) TO '/tmp/weir-must-not-be'"],
    ['a table', 'CREATE TABLE t AS SELECT 1'],
    ['an insert in a WITH', 'WITH x AS (SELECT 1) INSERT INTO events SELECT * FROM x'],
    ['an explained write', "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/weir-must-not-be'"],
    ['a setting', "SET memory_limit = '100GB'"],
    ['an attached database', "ATTACH '/tmp/weir-must-not-be.db'"],
    ['an extension', 'LOAD httpfs'],
    ['an installation', 'INSTALL httpfs'],
    ['a pragma that sets', 'PRAGMA enable_profiling'],
    ['an export', "EXPORT DATABASE '/tmp/weir-must-not-be'"],
    ['a prepared statement', 'PREPARE p AS SELECT 1'],
    ['a call', 'CALL pragma_version()'],
    ['a view', 'DROP VIEW events'],
    ['a file', "SELECT * FROM read_text('/etc/passwd')"],
    ['a file as a table', "SELECT * FROM '/etc/passwd'"],
    ['a list of files', "SELECT * FROM glob('/etc/*')"],
    ['a CSV', "SELECT * FROM read_csv('/etc/passwd')"],
    ['a URL', "SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')"],
    ['the environment', "SELECT getenv('PATH')"],
    ['a query in a query', "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/x''')"],
  ])('cannot use %s', async (_name, sql) => {
    await expect(harness.sql(sql)).rejects.toMatchObject({ name: 'ArchiveError', code: 'query-refused' });
  });

  test('cannot overwrite the archive', async () => {
    await expect(harness.sql(`COPY (SELECT 1) TO '${file}' (USE_TMP_FILE false)`)).rejects.toMatchObject({
      code: 'query-refused',
    });
    expect(await harness.sql('SELECT count(*) FROM events')).toEqual([[200]]);
  });

  test.each([
    [
      'time',
      'SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range + b.range) = 1',
      1500,
      'query-timeout',
    ],
    [
      'memory of strings',
      "SELECT length(repeat('x', 3000000000) || repeat('y', 1000000000))",
      20_000,
      'query-too-large|query-refused',
    ],
    [
      'memory of aggregates',
      "SELECT list(a.range || repeat('x', 10000)) FROM range(10000000) a",
      20_000,
      'query-too-large|query-timeout',
    ],
    ['the answer', "SELECT repeat('x', 60000000)", 20_000, 'query-too-large'],
  ])('is ended by its limit of %s', async (_name, sql, timeoutMs, code) => {
    await expect(harness.sql(sql, 10, timeoutMs)).rejects.toMatchObject({
      code: expect.stringMatching(new RegExp(`^(${code})$`)),
    });
    // And the next one runs.
    expect(await harness.sql('SELECT 1')).toEqual([[1]]);
  });

  test('is cut at its limit of rows, and of bytes', async () => {
    const { reader } = harness;
    const rows = await reader.sql({ sql: 'SELECT * FROM range(100000)', limit: 10, timeoutMs: 20_000 });
    expect([rows.rows.length, rows.truncated]).toEqual([10, true]);
    const bytes = await reader.sql({
      sql: "SELECT repeat('x', 20000) FROM range(100000)",
      limit: 100_000,
      timeoutMs: 20_000,
    });
    expect(bytes.rows.length).toBeLessThan(2000);
    expect(bytes.truncated).toBe(true);
  });

  test('may use what SELECT has', async () => {
    expect(
      await harness.sql(`WITH k AS (SELECT kind, count(*) AS n FROM events GROUP BY kind)
        SELECT sum(n), '2026-01-01'::TIMESTAMPTZ, {a: 1, b: [1.5]}, 2::UBIGINT ** 3, NULL FROM k`),
    ).toEqual([[200, '2026-01-01T00:00:00.000000Z', { a: 1, b: expect.anything() }, 8, null]]);
  });

  test('runs a few at once, lets a few wait, and sends the rest away', async () => {
    const answers = await Promise.allSettled(
      Array.from({ length: 14 }, () => harness.sql('SELECT count(*) FROM events')),
    );
    const refused = answers.filter((answer) => answer.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    for (const answer of refused) expect(answer).toMatchObject({ reason: { code: 'busy' } });
    expect(answers.filter((answer) => answer.status === 'fulfilled').length).toBe(10);
  });
});

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
    writeFileSync(join(scratch, 'x'), '');
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
