// SPDX-License-Identifier: Apache-2.0
// What SQL of anyone may do, and what ends it.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CHAIN_START } from '@weir/segment';
import { describeBatch } from '@weir/segment/fixtures';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { Harness, scratch, seal, sqlite } from './harness.js';

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
