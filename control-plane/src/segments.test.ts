// SPDX-License-Identifier: Apache-2.0
// Tests the way of an agent's segment through HTTP into an answer of the archive.

import { EventKind, ExecFlag } from '@weir/schema';
import { BatchWriter, CHAIN_START, frameParts, readWholeFrames, sealSegment } from '@weir/segment';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresFolder, startPostgres } from '../../test/services/postgres.mjs';
import type { ControlPlaneClient } from './client.js';
import { startTestServer, type TestServer } from './testing/harness.js';

const postgres = postgresFolder() === undefined ? undefined : 'PostgreSQL';
if (postgres === undefined && process.env.CI !== undefined) {
  throw new Error('PostgreSQL is not installed: apt-get install postgresql');
}

let t: TestServer;
let agent: { agentId: string; token: string };
let client: ControlPlaneClient;

const startNs = 5_000_000_000n;

/** Two executions, the second the child of the first, and the end of the second. */
function batch(marker: string): Uint8Array {
  const writer = new BatchWriter({
    bootId: new Uint8Array(16).fill(7),
    bootToUnixNs: 1_790_000_000_000_000_000n,
  });
  const parent = {
    pid: 100,
    startNs,
    execNs: startNs,
    parentPid: 1,
    binary: '/bin/sh',
    arguments: ['-c', marker],
    userName: 'me',
    execFlags: ExecFlag.execve,
  };
  const at = startNs + 1_000n;
  const child = {
    pid: 101,
    startNs: at,
    execNs: at,
    parentPid: 100,
    parentStartNs: startNs,
    parentExecNs: startNs,
    binary: '/bin/ls',
    arguments: [marker],
    userName: 'me',
    execFlags: ExecFlag.execve,
  };
  const parentIndex = writer.process(parent);
  const childIndex = writer.process({ ...child, parentIndex });
  const common = { cpu: 0, uid: 0, cwd: '/' };
  writer.event({
    ...common,
    kind: EventKind.exec,
    pid: 100,
    tid: 100,
    startNs,
    timeNs: startNs,
    sequence: 1n,
    process: parentIndex,
    binary: '/bin/sh',
    arguments: ['-c', marker],
  });
  writer.event({
    ...common,
    kind: EventKind.exec,
    pid: 101,
    tid: 101,
    startNs: at,
    timeNs: at,
    sequence: 2n,
    process: childIndex,
    parent: parentIndex,
    binary: '/bin/ls',
    arguments: [marker],
  });
  writer.event({
    kind: EventKind.exit,
    cpu: 0,
    pid: 101,
    tid: 101,
    startNs: at,
    timeNs: at + 5_000n,
    sequence: 3n,
    process: childIndex,
    parent: parentIndex,
    status: 2,
    signal: 0,
  });
  return writer.finish();
}

async function segment(marker: string, sequence = 0n, agentId = agent.agentId) {
  const raw = Buffer.concat(frameParts(batch(marker), new Uint8Array(0)));
  const { frames } = readWholeFrames(raw);
  const chainId = 'ab'.repeat(16);
  const { bytes } = await sealSegment({ agentId, chainId, sequence, previous: CHAIN_START, raw, frames });
  return new Uint8Array(bytes);
}

async function rows(sql: string, least: number) {
  for (let tries = 0; tries < 600; tries++) {
    const result = await t.admin.query({ sql });
    if (result.rows.length >= least) return result.rows;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the archive has no answer to ${sql}`);
}

// Skipped only on a machine without PostgreSQL; `apt-get install postgresql` brings it.
describe.each(['SQLite', 'PostgreSQL'])('with %s', (database) => {
  const missing = database !== 'SQLite' && postgres === undefined;
  let server: Awaited<ReturnType<typeof startPostgres>> | undefined;
  beforeAll(async () => {
    if (missing) return;
    server = database === 'SQLite' ? undefined : await startPostgres();
    t = await startTestServer(server?.url);
    agent = await t.enroll('node-1');
    client = t.client(agent.token);
  }, 120_000);
  afterAll(async () => {
    if (missing) return;
    await t?.close();
    await server?.close();
  });

  test.skipIf(missing)(
    'a segment is stored once, and answers questions and draws a tree',
    async () => {
      const bytes = await segment('weir-test-marker');
      expect(await client.uploadSegment(0n, bytes)).toEqual({ status: 'stored', sequence: 0, events: 3 });
      expect(await client.uploadSegment(0n, bytes)).toMatchObject({ status: 'duplicate' });
      const found = await rows(
        'SELECT kind, "binary", node, cluster, exec_id FROM events WHERE list_contains(arguments, \'weir-test-marker\') ORDER BY time_ns',
        3,
      );
      expect(found.map((row) => row.slice(0, 4))).toEqual([
        ['exec', '/bin/sh', 'node-1', 'test'],
        ['exec', '/bin/ls', 'node-1', 'test'],
        ['exit', '/bin/ls', 'node-1', 'test'],
      ]);
      const { events } = await t.admin.archiveEvents({ binary: '/bin/ls', limit: 10 });
      expect(events.map((event) => [event.kind, event.agent_id])).toEqual([
        ['exec', agent.agentId],
        ['exit', agent.agentId],
      ]);
      const tree = await t.admin.processTree(String(found[1]?.[4]));
      expect(tree.processes.map(({ binary, exitStatus }) => [binary, exitStatus])).toEqual(
        expect.arrayContaining([
          ['/bin/sh', undefined],
          ['/bin/ls', 2],
        ]),
      );
    },
    120_000,
  );

  test.skipIf(missing)(
    'a segment is refused that is damaged, of another agent, or not where its address says',
    async () => {
      const damaged = await segment('damaged', 1n);
      damaged[damaged.length - 40] = (damaged[damaged.length - 40] ?? 0) ^ 1;
      const refused = { status: 422, code: 'invalid_segment' };
      await expect(client.uploadSegment(1n, damaged)).rejects.toMatchObject(refused);
      await expect(client.uploadSegment(1n, new Uint8Array(10))).rejects.toMatchObject(refused);
      await expect(client.uploadSegment(2n, await segment('elsewhere', 1n))).rejects.toMatchObject(refused);
      await expect(
        client.uploadSegment(1n, await segment('foreign', 1n, 'agent-other')),
      ).rejects.toMatchObject(refused);
    },
    60_000,
  );

  test.skipIf(missing)(
    'another segment in the place of one that is there is a conflict',
    async () => {
      await client.uploadSegment(5n, await segment('first', 5n));
      await expect(client.uploadSegment(5n, await segment('second', 5n))).rejects.toMatchObject({
        status: 409,
        code: 'conflict',
      });
    },
    60_000,
  );

  test.skipIf(missing)(
    'a chain that does not hold is told of, to an admin and a reader, by agent and as far as the limit',
    async () => {
      const { secret } = await t.admin.createToken({ role: 'reader', description: 'reads' });
      const reader = t.client(secret);
      const gap = { agentId: agent.agentId, sequence: 5, standing: 'gap', node: 'node-1', cluster: 'test' };
      expect(await reader.archiveIntegrity()).toMatchObject({
        segments: 2,
        filesWithoutDigest: 0,
        breaks: [gap],
        truncated: false,
      });
      expect(await reader.archiveIntegrity({ agent: 'agent-other' })).toMatchObject({ breaks: [] });
      // It does not follow the one before it.
      await client.uploadSegment(6n, await segment('fork', 6n));
      const both = { breaks: [gap, { sequence: 6, standing: 'fork' }], truncated: false };
      expect(await t.admin.archiveIntegrity({ agent: agent.agentId })).toMatchObject(both);
      expect(await t.admin.archiveIntegrity({ limit: 1 })).toMatchObject({ breaks: [gap], truncated: true });
      await expect(client.archiveIntegrity()).rejects.toMatchObject({ status: 403 });
    },
    60_000,
  );

  test.skipIf(missing)(
    'SQL that is no SELECT is refused, with the reason',
    async () => {
      for (const sql of [
        "COPY (SELECT 1) TO '/tmp/x'",
        'SELECT 1; SELECT 2',
        "SELECT * FROM read_text('/etc/passwd')",
        'nonsense',
      ]) {
        await expect(t.admin.query({ sql })).rejects.toMatchObject({ status: 400, code: 'query_refused' });
      }
    },
    60_000,
  );

  test.skipIf(missing)(
    'a tree of an execution that is not there is not found',
    async () => {
      await expect(t.admin.processTree('bm9ib2R5')).rejects.toMatchObject({ status: 404 });
    },
    60_000,
  );
});
