// SPDX-License-Identifier: Apache-2.0
// The talk with a control plane over HTTP, where what answers is a server of the test's: what is given up, and what is
// left behind.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeBatch } from '@weir/segment/fixtures';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentReport } from '../../../control-plane/src/api/wire.js';
import type { Agent } from '../agent.js';
import type { FilterState } from '../socket/types.js';
import { Spool } from '../spool/index.js';
import { Sync } from './sync.js';

let folder: string;
let server: Server;
let url: string;
let answer: (request: IncomingMessage, response: ServerResponse, body: Buffer) => void;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weir-sync-'));
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => answer(request, response, Buffer.concat(parts)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

/** What `Sync` asks of an agent; the real one needs a kernel. */
function agentWith(spool: Spool | undefined, filters: readonly FilterState[] = []): Agent {
  const status = {
    losses: {},
    events: { produced: 0, handled: 0, kept: 0, dropped: 0 },
    policies: [],
    filters,
    filterLog: [],
    errors: [],
    bootId: '00'.repeat(16),
    releaseSequence: 0,
  };
  const agent = {
    config: { dataFolder: folder, reportSeconds: 0.001 },
    status: () => status,
    fail: () => undefined,
    spool,
  };
  return agent as unknown as Agent;
}

function syncOf(agent: Agent): Sync {
  return new Sync(agent, {
    url,
    node: 'n',
    privateKey: '',
    publicKey: '',
    agentId: 'agent-1',
    token: 't',
    cluster: 'c',
    labels: {},
    controlPlaneKey: '',
  });
}

/** Nothing new is desired: asked at once it says so, a long poll waits. */
function desired(request: IncomingMessage, response: ServerResponse): boolean {
  if (!request.url?.includes('/desired')) return false;
  if (!/wait(Seconds)?=[1-9]/.test(request.url)) response.writeHead(304).end();
  return true;
}

describe('reports', () => {
  it('say of each filter all that was left out of what it said', async () => {
    const counts = {
      ...{ events: 9, kept: 5, dropped: 4, traps: 1, alerts: 2, cpuNs: 3000, memoryBytes: 65_536, fuel: 700 },
      ...{ heldBack: 6, labelsRefused: 7, logLinesLost: 8 },
    };
    const filter = {
      name: 'talks',
      version: '1.0.0',
      digest: `sha256:${'0'.repeat(64)}`,
      state: 'loaded',
    } as const;
    const body = new Promise<unknown>((resolve) => {
      answer = (request, response, sent) => {
        if (desired(request, response)) return;
        resolve(JSON.parse(sent.toString()));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      };
    });
    const sync = syncOf(agentWith(undefined, [{ ...filter, ...counts }]));
    await sync.start();
    const report = agentReport.parse(await body);
    await sync.stop();
    expect(report.filters).toEqual([{ ...filter, statistics: counts }]);
  });

  it('leave nothing behind, however many there are', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error) => warnings.push(warning);
    process.on('warning', warned);
    let reports = 0;
    const enough = new Promise<void>((resolve) => {
      answer = (request, response) => {
        if (desired(request, response)) return;
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
        if (++reports === 40) resolve();
      };
    });
    const sync = syncOf(agentWith(undefined));
    await sync.start();
    await enough;
    await sync.stop();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', warned);
    expect(warnings.map(({ name }) => name)).not.toContain('MaxListenersExceededWarning');
  });
});

describe('segments', () => {
  it('are given up when the control plane refuses them, not when something before it does', async () => {
    const spool = await Spool.open({
      folder: join(folder, 'spool'),
      agentId: 'agent-1',
      segmentMs: Infinity,
    });
    await spool.append(describeBatch({ seed: 1, records: 3 }));
    await spool.rotate();
    await spool.settled();
    const answers: [number, string][] = [
      [400, '<html>bad request</html>'],
      [409, ''],
      [422, '{"error":{"code":"invalid_request","message":"no"}}'],
      [422, '{"error":{"code":"invalid_segment","message":"its digest is wrong"}}'],
    ];
    let asked = 0;
    const kept: number[] = [];
    answer = (request, response) => {
      if (desired(request, response)) return;
      const isSegment = request.url?.includes('/segments/');
      const [status, body] = isSegment ? (answers[asked] as [number, string]) : ([200, '{}'] as const);
      if (isSegment) {
        asked++;
        kept.push(spool.stats().sealedSegments);
      }
      response.writeHead(status, { 'content-type': 'application/json' }).end(body);
    };
    const sync = syncOf(agentWith(spool));
    await sync.start();
    await expect.poll(() => spool.stats().sealedSegments, { timeout: 30_000 }).toBe(0);
    expect(kept).toEqual([1, 1, 1, 1]);
    expect(spool.stats().lostRecords.upload).toBe(3);
    expect(spool.eventsGivenUp).toBe(3);
    await sync.stop();
    await spool.close();
    await sync.handOver(1000);
  });
});
