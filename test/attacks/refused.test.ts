// SPDX-License-Identifier: Apache-2.0
// Modules that must not get in, against the real control plane's upload and against a running host with two filters
// in force: each is refused for its own reason, nothing of it stays, nothing that ran is touched.
import { gzipSync } from 'node:zlib';
import { acceptModule } from '@weir/filter-accept';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filterModule, startTestServer, type TestServer } from '../../control-plane/src/testing/harness.js';
import { assembleModule, closeHosts, judge, pids, start } from '../../filters/host/src/fixtures.js';
import { refusedAttacks } from './refused.js';
import { innocent } from './running.js';

let t: TestServer;
let running: Awaited<ReturnType<typeof start>>;
beforeAll(async () => {
  t = await startTestServer();
  running = await start([innocent('before', 3), innocent('after', 5)]);
});
afterAll(async () => {
  await closeHosts();
  await t?.close();
});

function upload(body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${t.url}/v1/filters`, {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${t.adminToken}`, 'content-type': 'application/wasm', ...headers },
  });
}

interface Refusal {
  error: { code: string; message: string; details: { path: string; message: string }[] };
}

describe(`${refusedAttacks.length} modules that must not get in`, () => {
  it('are at least 40, each another', () => {
    expect(refusedAttacks.length).toBeGreaterThanOrEqual(40);
    expect(new Set(refusedAttacks.map(({ name }) => name)).size).toBe(refusedAttacks.length);
  });

  it.each(refusedAttacks)(
    'refused by the control plane, for its reason: $name',
    async ({ bytes, code, reason }) => {
      const response = await upload(new Uint8Array(bytes));
      const { error } = (await response.json()) as Refusal;
      expect([response.status, error.details[0]?.path]).toEqual([422, code]);
      expect(error.details[0]?.message).toMatch(reason);
      expect(await t.admin.filters()).toEqual([]);
      expect((await t.admin.release()).sequence).toBe(0);
    },
  );

  it.each(refusedAttacks)(
    'refused by a running host, for the same reason: $name',
    async ({ bytes, code, reason }) => {
      const { host, set } = running;
      const failure = await host
        .setFilters([{ bytes: assembleModule(innocent('before', 3)) }, { bytes }])
        .then(
          () => undefined,
          (error: unknown) => error,
        );
      expect(failure).toMatchObject({ code: 'refused', message: expect.stringContaining(`(${code})`) });
      expect((failure as Error).message).toMatch(reason);
      expect(host.status().map(({ name }) => name)).toEqual(['before', 'after']);
      expect(await judge(host, pids(1, 2, 3))).toMatchObject({ recordCount: 3, filterSet: set.number });
    },
  );
});

describe('an upload', () => {
  it('of 9 MB is refused before it is read as a module', async () => {
    const response = await upload(new Uint8Array(9 * 1024 * 1024)).catch(() => undefined);
    if (response !== undefined) expect(response.status).toBe(413);
    expect((await t.admin.filters()).length).toBe(0);
  });

  it('that is compressed is not inflated, whatever it says it is', async () => {
    // 64 MB of zeros in 64 KB: what inflates it would hold it all.
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    for (const encoding of ['gzip', 'deflate', 'br', 'gzip, gzip', 'x-unknown']) {
      const response = await upload(bomb, { 'content-encoding': encoding });
      const { error } = (await response.json()) as Refusal;
      expect([encoding, response.status, error.code]).toEqual([encoding, 415, 'unsupported_media_type']);
      expect(error.message).toContain('content-encoding');
    }
    expect(await t.admin.filters()).toEqual([]);
  });

  it('as a form without the module, or with two, or with a name in its place is refused or unambiguous', async () => {
    const send = async (form: FormData) => {
      const response = await fetch(`${t.url}/v1/filters?release=false`, {
        method: 'POST',
        body: form,
        headers: { authorization: `Bearer ${t.adminToken}` },
      });
      return { status: response.status, body: (await response.json()) as Refusal };
    };
    const empty = new FormData();
    expect(await send(empty)).toMatchObject({ status: 400 });
    const named = new FormData();
    named.set('module', '/etc/passwd');
    expect(await send(named)).toMatchObject({
      status: 400,
      body: { error: { details: [{ path: 'module' }] } },
    });
    const settings = new FormData();
    settings.set('module', new Blob([filterModule('form', '1.0.0')]));
    settings.set('config', `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`);
    expect(await send(settings)).toMatchObject({
      status: 400,
      body: { error: { details: [{ path: 'config' }] } },
    });
  });

  it('with a configuration that the module does not take is refused, and leaves nothing', async () => {
    const module = new Uint8Array(assembleModule({ ...innocent('fixed', 3), version: '1.0.0' }));
    const refusal = await t.admin
      .uploadFilter(module, { config: { limit: 3 } })
      .catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'invalid_filter', status: 422 });
    expect((refusal as Error).message).toContain('exports no weir_configure');
    expect(await t.admin.filters()).toEqual([]);
  });

  it('in place of a version that is there is refused: versions never change', async () => {
    await t.admin.uploadFilter(filterModule('fixed', '1.0.0'), { release: false });
    const other = filterModule('fixed', '1.0.0', { description: 'another' });
    expect(acceptModule(other).ok).toBe(true);
    await expect(t.admin.uploadFilter(other)).rejects.toMatchObject({ code: 'conflict', status: 409 });
  });
});
