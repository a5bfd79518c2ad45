// SPDX-License-Identifier: Apache-2.0
// Tests who may do what, route by route and role by role; that hostile bodies get a clear refusal; and that no token
// and no key ever shows in logs, answers or files that are not theirs.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createToken } from './auth/tokens.js';
import { enrollment, filterModule, policyYaml, startTestServer, type TestServer } from './testing/harness.js';

type Who = 'nobody' | 'admin' | 'agent' | 'bootstrap' | 'reader';

/** Written down here by hand, apart from the code: a route that is not in it fails the test. */
const allowed: Record<string, readonly Who[]> = {
  'GET /health': ['nobody', 'admin', 'agent', 'bootstrap', 'reader'],
  'GET /ready': ['nobody', 'admin', 'agent', 'bootstrap', 'reader'],
  'GET /openapi.json': ['nobody', 'admin', 'agent', 'bootstrap', 'reader'],
  'GET /v1/signing-key': ['nobody', 'admin', 'agent', 'bootstrap', 'reader'],
  'GET /metrics': ['admin', 'reader'],
  'POST /v1/filters': ['admin'],
  'GET /v1/filters': ['admin', 'reader'],
  'GET /v1/filters/{name}/{version}': ['admin', 'reader'],
  'GET /v1/filters/{name}/{version}/module': ['admin', 'reader'],
  'POST /v1/filter-keys': ['admin'],
  'GET /v1/filter-keys': ['admin', 'reader'],
  'DELETE /v1/filter-keys/{id}': ['admin'],
  'POST /v1/policies': ['admin'],
  'GET /v1/policies': ['admin', 'reader'],
  'GET /v1/policies/{name}': ['admin', 'reader'],
  'DELETE /v1/policies/{name}': ['admin'],
  'GET /v1/release': ['admin', 'reader'],
  'PUT /v1/release': ['admin'],
  'GET /v1/releases': ['admin', 'reader'],
  'POST /v1/agents/enroll': ['bootstrap'],
  'GET /v1/agents/me/desired': ['agent'],
  'GET /v1/agents/me/filters/{digest}': ['agent'],
  'POST /v1/agents/me/reports': ['agent'],
  'PUT /v1/agents/me/segments/{sequence}': ['agent'],
  'POST /v1/agents/me/segments/{sequence}': ['agent'],
  'GET /v1/agents': ['admin', 'reader'],
  'GET /v1/agents/{id}': ['admin', 'reader'],
  'DELETE /v1/agents/{id}': ['admin'],
  'POST /v1/archive/query': ['admin', 'reader'],
  'GET /v1/archive/events': ['admin', 'reader'],
  'GET /v1/archive/integrity': ['admin', 'reader'],
  'GET /v1/archive/processes/{exec_id}/tree': ['admin', 'reader'],
  'POST /v1/tokens': ['admin'],
  'GET /v1/tokens': ['admin'],
  'DELETE /v1/tokens/{id}': ['admin'],
  'GET /v1/audit': ['admin', 'reader'],
};

let t: TestServer;
let tokens: Record<Exclude<Who, 'nobody'>, string>;
beforeAll(async () => {
  t = await startTestServer();
  const reader = await t.admin.createToken({ role: 'reader' });
  const agent = await t.enroll('matrix');
  tokens = { admin: t.adminToken, agent: agent.token, bootstrap: t.bootstrapToken, reader: reader.secret };
});
afterAll(() => t?.close());

function send(route: string, authorization: string | undefined, init: RequestInit = {}): Promise<Response> {
  const [method = '', pattern = ''] = route.split(' ');
  const path = pattern
    .replace('{digest}', `sha256:${'0'.repeat(64)}`)
    .replace('{sequence}', '0')
    .replaceAll(/\{[a-z_]+\}/g, 'nothing');
  return fetch(`${t.url}${path}`, {
    method,
    ...init,
    headers: { ...init.headers, ...(authorization === undefined ? {} : { authorization }) },
  });
}

describe('the matrix of routes and roles', () => {
  test('has each route that is served, and no other', async () => {
    const document = (await (await send('GET /openapi.json', undefined)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const served = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect([...served, 'GET /openapi.json'].sort()).toEqual(Object.keys(allowed).sort());
  });

  for (const [route, roles] of Object.entries(allowed)) {
    for (const who of ['nobody', 'admin', 'agent', 'bootstrap', 'reader'] as const) {
      const may = roles.includes(who);
      test(`${who} ${may ? 'may' : 'may not'} ${route}`, async () => {
        const token = who === 'nobody' ? undefined : `Bearer ${tokens[who]}`;
        const { status } = await send(route, token);
        if (may) expect([401, 403]).not.toContain(status);
        else expect(status).toBe(who === 'nobody' ? 401 : 403);
      });
    }
  }
});

describe('a token', () => {
  test('is refused where its secret, its id or its form is another', async () => {
    const [prefix, id, secret = ''] = t.adminToken.split('.');
    const other = `${secret.startsWith('A') ? 'B' : 'A'}${secret.slice(1)}`;
    for (const header of [
      `Bearer ${prefix}.${id}.${other}`,
      `Bearer ${prefix}.other-id.${secret}`,
      `Bearer ${prefix}.${id}.`,
      `Bearer ${t.adminToken} `.repeat(2),
      `Basic ${t.adminToken}`,
      `Bearer ${'a'.repeat(8000)}`,
      'Bearer',
    ]) {
      const response = await send('GET /v1/policies', header);
      expect([header.slice(0, 20), response.status]).toEqual([header.slice(0, 20), 401]);
    }
    expect((await send('GET /v1/policies', `Bearer ${t.adminToken}`)).status).toBe(200);
  });

  test('is refused once expired or revoked', async () => {
    const expired = await t.admin.createToken({ role: 'reader', expiresMs: 1 });
    expect((await send('GET /v1/policies', `Bearer ${expired.secret}`)).status).toBe(401);
    const revoked = await t.admin.createToken({ role: 'reader' });
    expect((await send('GET /v1/policies', `Bearer ${revoked.secret}`)).status).toBe(200);
    await t.admin.revokeToken(revoked.token.id);
    expect((await send('GET /v1/policies', `Bearer ${revoked.secret}`)).status).toBe(401);
  });

  test('of role bootstrap must name a cluster', async () => {
    const response = await send('POST /v1/tokens', `Bearer ${t.adminToken}`, {
      body: '{"role":"bootstrap"}',
      headers: { 'content-type': 'application/json' },
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { details: [{ path: 'cluster' }] } });
  });

  test('never shows: not in logs, answers, metrics or the database', async () => {
    const request = await enrollment('secretive');
    const agent = await t.client(t.bootstrapToken).enroll(request);
    const secrets = [...Object.values(tokens), agent.token].map((token) => token.split('.')[2] ?? token);
    const key = JSON.parse(await readFile(join(t.folder, 'signing-key.json'), 'utf8')) as {
      privateKey: string;
    };
    secrets.push(key.privateKey);
    let seen = '';
    for (const route of Object.keys(allowed)) {
      for (const token of Object.values(tokens)) {
        // Bad bodies and a token in the path too: what is refused is not repeated with its secret.
        const response = await send(
          route,
          `Bearer ${token}`,
          route.startsWith('GET') ? {} : { body: `{"token":"${token}"` },
        );
        seen += await response.text();
      }
    }
    seen += JSON.stringify(t.logged);
    for (const name of await readdir(t.folder)) {
      if (name.startsWith('control-plane.sqlite')) seen += await readFile(join(t.folder, name), 'latin1');
    }
    expect(seen.length).toBeGreaterThan(10_000);
    for (const secret of secrets) expect(seen.includes(secret)).toBe(false);
    // The check can fail: an id, which is no secret, is there.
    expect(seen.includes('first-admin')).toBe(true);
  });

  test('made at the first start is in a file of its owner alone, as the signing key is', async () => {
    for (const name of ['credentials.json', 'signing-key.json']) {
      expect([name, (await stat(join(t.folder, name))).mode & 0o777]).toEqual([name, 0o600]);
    }
  });

  test('has 256 bits of chance', async () => {
    const made = await Promise.all(Array.from({ length: 50 }, () => createToken()));
    expect(new Set(made.map(({ token }) => token.split('.')[2])).size).toBe(50);
    expect(made[0]?.token.split('.')[2]).toHaveLength(43);
  });
});

describe('hostile bodies', () => {
  const json = { 'content-type': 'application/json' };
  const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  const cases: Array<{
    name: string;
    route: string;
    who: Exclude<Who, 'nobody'>;
    init: RequestInit;
    status: number;
    path?: string;
  }> = [
    {
      name: 'no JSON',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '{"policies":', headers: json },
      status: 400,
    },
    { name: 'an empty body', route: 'PUT /v1/release', who: 'admin', init: { headers: json }, status: 400 },
    {
      name: 'JSON under another type',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '{}', headers: { 'content-type': 'text/plain' } },
      status: 415,
    },
    {
      name: 'a list for an object',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '[]', headers: json },
      status: 400,
    },
    {
      name: 'a missing field',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '{"filters":[]}', headers: json },
      status: 400,
      path: 'policies',
    },
    {
      name: 'a wrong field deep inside',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '{"policies":[{"name":"a","version":"1"}],"filters":[]}', headers: json },
      status: 400,
      path: 'policies[0].version',
    },
    {
      name: 'JSON nested without end',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: `{"policies":[],"filters":[],"settings":{"a":${nested}}}`, headers: json },
      status: 400,
      path: 'settings.a',
    },
    {
      name: 'a prototype in the place of a field',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: '{"__proto__":{"policies":[],"filters":[]}}', headers: json },
      status: 400,
    },
    {
      name: 'a body beyond the limit',
      route: 'PUT /v1/release',
      who: 'admin',
      init: { body: `{"a":"${'x'.repeat(300_000)}"}`, headers: json },
      status: 413,
    },
    {
      name: 'a module beyond the limit',
      route: 'POST /v1/filters',
      who: 'admin',
      init: { body: new Uint8Array(9_000_000), headers: { 'content-type': 'application/wasm' } },
      status: 413,
    },
    {
      name: 'a module of another type',
      route: 'POST /v1/filters',
      who: 'admin',
      init: { body: '{}', headers: json },
      status: 415,
    },
    {
      name: 'a broken form',
      route: 'POST /v1/filters',
      who: 'admin',
      init: {
        body: '--x',
        headers: { 'content-type': 'multipart/form-data; boundary=weir-test-boundary-0123456789' },
      },
      status: 400,
    },
    {
      name: 'a form without a module',
      route: 'POST /v1/filters',
      who: 'admin',
      init: {
        body: '--weir-test-boundary-0123456789\r\nContent-Disposition: form-data; name="module"\r\n\r\ntext\r\n--weir-test-boundary-0123456789--\r\n',
        headers: { 'content-type': 'multipart/form-data; boundary=weir-test-boundary-0123456789' },
      },
      status: 400,
      path: 'module',
    },
    {
      name: 'a configuration that is none',
      route: 'POST /v1/filters?config=[',
      who: 'admin',
      init: { body: filterModule('config', '1'), headers: { 'content-type': 'application/wasm' } },
      status: 400,
      path: 'config',
    },
    {
      name: 'a policy that is not UTF-8',
      route: 'POST /v1/policies',
      who: 'admin',
      init: { body: Uint8Array.from([0xff, 0xfe]), headers: { 'content-type': 'application/yaml' } },
      status: 422,
    },
    {
      name: 'a policy with a NUL',
      route: 'POST /v1/policies',
      who: 'admin',
      init: { body: `${policyYaml('nul')}# \0`, headers: { 'content-type': 'application/yaml' } },
      status: 422,
    },
    {
      name: 'two policies in one',
      route: 'POST /v1/policies',
      who: 'admin',
      init: {
        body: `${policyYaml('one')}---\n${policyYaml('two')}`,
        headers: { 'content-type': 'application/yaml' },
      },
      status: 422,
    },
    {
      name: 'a name with a NUL',
      route: 'GET /v1/policies/%00',
      who: 'admin',
      init: {},
      status: 400,
      path: 'param.name',
    },
    {
      name: 'a digest that is a path',
      route: 'GET /v1/agents/me/filters/..%2F..%2Fetc%2Fpasswd',
      who: 'agent',
      init: {},
      status: 400,
      path: 'param.digest',
    },
    {
      name: 'a sequence that is none',
      route: 'PUT /v1/agents/me/segments/-1',
      who: 'agent',
      init: { body: 'x' },
      status: 400,
      path: 'param.sequence',
    },
    {
      name: 'a wait without end',
      route: 'GET /v1/agents/me/desired?wait=99999',
      who: 'agent',
      init: {},
      status: 400,
      path: 'query.wait',
    },
    {
      name: 'a report with a state that is none',
      route: 'POST /v1/agents/me/reports',
      who: 'agent',
      init: { body: '{"releaseSequence":1,"policies":[{"name":"a","state":"fine"}]}', headers: json },
      status: 400,
      path: 'policies[0].state',
    },
    {
      name: 'a report with too many errors',
      route: 'POST /v1/agents/me/reports',
      who: 'agent',
      init: {
        body: JSON.stringify({
          releaseSequence: 1,
          errors: Array.from({ length: 101 }, () => ({ code: 'a', message: 'b' })),
        }),
        headers: json,
      },
      status: 400,
      path: 'errors',
    },
    {
      name: 'a report with a negative count',
      route: 'POST /v1/agents/me/reports',
      who: 'agent',
      init: { body: '{"releaseSequence":1,"losses":{"ring_full":-1}}', headers: json },
      status: 400,
      path: 'losses.ring_full',
    },
    {
      name: 'a key that is none',
      route: 'POST /v1/agents/enroll',
      who: 'bootstrap',
      init: { body: '{"node":"a","publicKey":"AAAA","proof":"AAAA"}', headers: json },
      status: 400,
      path: 'publicKey',
    },
    {
      name: 'a node with control characters',
      route: 'POST /v1/agents/enroll',
      who: 'bootstrap',
      init: { body: '{"node":"a\\u001b[2J","publicKey":"AAAA","proof":"AAAA"}', headers: json },
      status: 400,
      path: 'node',
    },
    {
      name: 'a query without SQL',
      route: 'POST /v1/archive/query',
      who: 'reader',
      init: { body: '{"sql":""}', headers: json },
      status: 400,
      path: 'sql',
    },
    {
      name: 'an event query with a time that is none',
      route: 'GET /v1/archive/events?from=yesterday',
      who: 'reader',
      init: {},
      status: 400,
      path: 'query.from',
    },
    { name: 'a route that is none', route: 'GET /v1/nothing', who: 'admin', init: {}, status: 404 },
  ];
  for (const { name, route, who, init, status, path } of cases) {
    test(`refuses ${name}`, async () => {
      const response = await send(route, `Bearer ${tokens[who]}`, init);
      const body = (await response.json()) as {
        error: { code: string; message: string; details: { path: string }[] };
      };
      expect([response.status, body]).toEqual([
        status,
        { error: { code: expect.any(String), message: expect.any(String), details: expect.any(Array) } },
      ]);
      if (path !== undefined) expect(body.error.details.map((detail) => detail.path)).toContain(path);
    });
  }

  test('refuses a body beyond the limit that does not say how long it is', async () => {
    const chunk = new Uint8Array(64 * 1024).fill(0x20);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (sent++ < 64) controller.enqueue(chunk);
        else controller.close();
      },
    });
    const response = await send('PUT /v1/release', `Bearer ${t.adminToken}`, {
      body,
      headers: json,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(413);
  });

  test('does not read the body of one who may not send it', async () => {
    const response = await send('POST /v1/filters', `Bearer ${tokens.reader}`, { body: new Uint8Array(100) });
    expect(response.status).toBe(403);
  });

  test('answers a fault of its own without a word of its inside', async () => {
    const { store } = t.server.services;
    const { listPolicies } = store;
    store.listPolicies = () => Promise.reject(new Error('inside'));
    const response = await send('GET /v1/policies', `Bearer ${t.adminToken}`);
    store.listPolicies = listPolicies;
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('inside');
    expect(JSON.stringify(t.logged)).toContain('inside');
  });
});
