// SPDX-License-Identifier: Apache-2.0
// Tests the server as its clients see it: the way of a filter and a policy to an agent, and what is refused.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ControlPlaneClientError, verifyDesiredState } from './client.js';
import { enrollment, filterModule, policyYaml, startTestServer, type TestServer } from './testing/harness.js';

let t: TestServer;
beforeAll(async () => {
  t = await startTestServer();
});
afterAll(() => t?.close());

async function failure(promise: Promise<unknown>): Promise<ControlPlaneClientError> {
  const error: unknown = await promise.then(
    () => new Error('it was not refused'),
    (cause: unknown) => cause,
  );
  if (!(error instanceof ControlPlaneClientError)) throw error;
  return error;
}

describe('filters', () => {
  test('stores a module once, and serves its very bytes', async () => {
    const module = filterModule('stored', '1.0.0');
    const first = await t.admin.uploadFilter(module, { release: false });
    expect(first).toMatchObject({
      created: true,
      filter: { name: 'stored', version: '1.0.0', bytes: module.length },
    });
    expect(first.releaseSequence).toBeUndefined();
    expect((await t.admin.uploadFilter(module, { release: false })).created).toBe(false);
    expect(await t.admin.downloadFilter('stored', '1.0.0')).toEqual(module);
    expect((await t.admin.filters()).filter(({ name }) => name === 'stored')).toHaveLength(1);
  });

  test('refuses another content under a version that is there', async () => {
    await t.admin.uploadFilter(filterModule('taken', '1.0.0'), { release: false });
    const error = await failure(
      t.admin.uploadFilter(filterModule('taken', '1.0.0', { description: 'other' }), { release: false }),
    );
    expect(error).toMatchObject({ status: 409, code: 'conflict', details: [{ path: 'manifest.version' }] });
  });

  test('refuses what is no filter, with the reason', async () => {
    for (const bytes of [
      new Uint8Array(0),
      Uint8Array.from([0, 0x61, 0x73, 0x6d]),
      filterModule('Bad Name', '1'),
    ]) {
      const error = await failure(t.admin.uploadFilter(bytes));
      expect(error).toMatchObject({ status: 422, code: 'invalid_filter' });
      expect(error.details[0]?.message).not.toBe('');
    }
  });

  test('takes a module as a form, with a configuration', async () => {
    const form = new FormData();
    form.set('module', new Blob([filterModule('form', '1.0.0')]), 'form.wasm');
    form.set('config', '{"threshold":3}');
    const response = await fetch(`${t.url}/v1/filters?release=false`, {
      method: 'POST',
      body: form,
      headers: { authorization: `Bearer ${t.adminToken}` },
    });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ filter: { name: 'form', config: { threshold: 3 } } });
  });

  test('finds damage in the blob store before it serves it', async () => {
    const { filter } = await t.admin.uploadFilter(filterModule('damaged', '1.0.0'), { release: false });
    await t.server.services.modules.put(filter.digest, Uint8Array.from([1, 2, 3]));
    expect(await failure(t.admin.downloadFilter('damaged', '1.0.0'))).toMatchObject({
      status: 503,
      code: 'unavailable',
    });
  });
});

describe('policies', () => {
  test('counts versions, and answers the same text with the version that it has', async () => {
    expect(await t.admin.createPolicy(policyYaml('versions'))).toMatchObject({
      created: true,
      policy: { version: 1, enabled: true },
    });
    expect(await t.admin.createPolicy(policyYaml('versions'))).toMatchObject({
      created: false,
      policy: { version: 1 },
    });
    expect(await t.admin.createPolicy(policyYaml('versions', '/etc/passwd'))).toMatchObject({
      created: true,
      policy: { version: 2 },
    });
    expect((await t.admin.policy('versions')).source).toContain('/etc/passwd');
    expect((await t.admin.policy('versions', { version: 1 })).source).toContain('/etc/shadow');
    expect((await t.admin.release()).content.policies.filter(({ name }) => name === 'versions')).toEqual([
      { name: 'versions', version: 2 },
    ]);
  });

  test('names the field that is wrong', async () => {
    const error = await failure(
      t.admin.createPolicy(policyYaml('wrong').replace('operator: Equal', 'operator: Same')),
    );
    expect(error).toMatchObject({ status: 422, code: 'invalid_policy' });
    expect(error.details[0]?.path).toBe('spec.kprobes[0].selectors[0].matchArgs[0].operator');
  });

  test('retires a policy: out of the release, still in history', async () => {
    await t.admin.createPolicy(policyYaml('retiring'));
    expect(await t.admin.retirePolicy('retiring')).toMatchObject({ retired: true });
    expect((await t.admin.release()).content.policies.some(({ name }) => name === 'retiring')).toBe(false);
    expect((await t.admin.policy('retiring')).retiredMs).toBeTypeOf('number');
    expect(await t.admin.createPolicy(policyYaml('retiring'))).toMatchObject({
      created: true,
      policy: { version: 2 },
    });
  });

  test('loses none of many policies that come at once', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `at-once-${index}`);
    await Promise.all(names.map((name) => t.admin.createPolicy(policyYaml(name))));
    const released = (await t.admin.release()).content.policies.map(({ name }) => name);
    expect(released).toEqual(expect.arrayContaining(names));
  });
});

describe('releases', () => {
  test('puts a whole set, and names each part that is not there', async () => {
    await t.admin.uploadFilter(filterModule('set-a', '1.0.0'), { release: false });
    await t.admin.uploadFilter(filterModule('set-b', '1.0.0'), { release: false });
    const error = await failure(
      t.admin.putRelease({
        policies: [{ name: 'nobody', version: 1 }],
        filters: [{ name: 'set-a', version: '9' }],
      }),
    );
    expect(error.details.map(({ path }) => path)).toEqual(['policies[0]', 'filters[0]']);
    const order = [
      { name: 'set-b', version: '1.0.0' },
      { name: 'set-a', version: '1.0.0' },
    ];
    const release = await t.admin.putRelease({ policies: [], filters: order, settings: { quiet: true } });
    expect(release.content.filters.map(({ name }) => name)).toEqual(['set-b', 'set-a']);
    expect((await t.admin.releases())[0]).toEqual(release);
  });

  test('refuses a change that was made from an older release', async () => {
    const { sequence } = await t.admin.release();
    const error = await failure(
      t.admin.putRelease({ policies: [], filters: [], expectedSequence: sequence - 1 }),
    );
    expect(error).toMatchObject({ status: 409, code: 'conflict' });
  });

  test('writes nothing where the set stays what it is', async () => {
    const before = await t.admin.putRelease({ policies: [], filters: [], settings: { a: 1, b: 2 } });
    const after = await t.admin.putRelease({ policies: [], filters: [], settings: { b: 2, a: 1 } });
    expect(after).toEqual(before);
  });
});

describe('agents', () => {
  test('go from enrolment to a verified filter and policy, and report', async () => {
    const agent = await t.enroll('node-1');
    const client = t.client(agent.token);
    const module = filterModule('desired', '1.0.0');
    await t.admin.putRelease({ policies: [], filters: [] });
    await t.admin.uploadFilter(module, { config: { level: 2 } });
    await t.admin.createPolicy(policyYaml('desired'));
    const answer = await client.desired();
    if (!answer.changed) throw new Error('there is no desired state');
    const state = await verifyDesiredState(answer.signed, { ...agent, sequenceMin: 1 });
    expect(state).toMatchObject({
      cluster: 'test',
      policies: [{ name: 'desired', source: policyYaml('desired') }],
      filters: [{ name: 'desired', version: '1.0.0', bytes: module.length, config: { level: 2 } }],
    });
    expect(await client.desiredFilter(state.filters[0]?.digest ?? '')).toEqual(module);
    expect(await client.desired({ etag: answer.etag })).toEqual({ changed: false });
    const report = {
      releaseSequence: state.release.sequence,
      policies: [{ name: 'desired', state: 'refused' as const, reason: 'no fentry on this kernel' }],
      losses: { ring_full: 3 },
    };
    await client.report(report);
    expect(await t.admin.agent(agent.agentId)).toMatchObject({
      node: 'node-1',
      releaseSequence: state.release.sequence,
      report,
    });
  });

  test('are woken from a long poll by an upload', async () => {
    const agent = await t.enroll('node-2');
    const client = t.client(agent.token);
    const now = await client.desired();
    if (!now.changed) throw new Error('there is no desired state');
    const poll = client.desired({ etag: now.etag, waitSeconds: 50 });
    const { releaseSequence } = await t.admin.uploadFilter(filterModule('woken', `1.0.${Date.now()}`));
    const answer = await poll;
    if (!answer.changed) throw new Error('the poll ended without a change');
    expect((await verifyDesiredState(answer.signed, { ...agent, sequenceMin: 0 })).release.sequence).toBe(
      releaseSequence,
    );
  });

  test('are woken by what another replica changed', async () => {
    const agent = await t.enroll('node-3');
    const client = t.client(agent.token);
    const now = await client.desired();
    if (!now.changed) throw new Error('there is no desired state');
    const poll = client.desired({ etag: now.etag, waitSeconds: 50 });
    const { store } = t.server.services;
    const head = await store.headRollout('default');
    const release = { digest: 'sha256:other', policies: [], filters: [], settings: {} };
    await store.insertRollout(
      {
        sequence: (head?.sequence ?? 0) + 1,
        target: 'default',
        digest: release.digest,
        fromDigest: head?.digest,
        createdMs: 1,
        createdBy: 'other',
      },
      release,
      {
        id: 'other-replica',
        timeMs: 1,
        actor: 'other',
        role: 'admin',
        action: 'release.put',
        subject: 'default',
        details: {},
      },
    );
    expect((await poll).changed).toBe(true);
  });

  test('get nothing of a filter that is not in their desired state', async () => {
    const agent = await t.enroll('node-4');
    const { filter } = await t.admin.uploadFilter(filterModule('unreleased', '1.0.0'), { release: false });
    expect(await failure(t.client(agent.token).desiredFilter(filter.digest))).toMatchObject({ status: 404 });
  });

  test('see nothing of each other', async () => {
    const [one, two] = [await t.enroll('node-5'), await t.enroll('node-6')];
    await t.client(two.token).report({ releaseSequence: 1 });
    for (const path of [
      `/v1/agents/${two.agentId}`,
      '/v1/agents',
      '/v1/tokens',
      '/v1/policies',
      '/v1/audit',
    ]) {
      const response = await fetch(`${t.url}${path}`, { headers: { authorization: `Bearer ${one.token}` } });
      expect([path, response.status]).toEqual([path, 403]);
    }
    const states = await Promise.all([one, two].map((agent) => t.client(agent.token).desired()));
    const [first] = states;
    if (first?.changed !== true) throw new Error('there is no desired state');
    const error = await failure(verifyDesiredState(first.signed, { ...two, sequenceMin: 0 }));
    expect(error.message).toContain('another agent');
  });

  test('enrol again with the same key as the same agent, and the token of before ends', async () => {
    const request = await enrollment('node-7');
    const bootstrap = t.client(t.bootstrapToken);
    const first = await bootstrap.enroll(request);
    const second = await bootstrap.enroll(request);
    expect(second.agentId).toBe(first.agentId);
    expect(await failure(t.client(first.token).desired())).toMatchObject({ status: 401 });
    expect((await t.client(second.token).desired()).changed).toBe(true);
  });

  test('are refused without the proof that they hold their key', async () => {
    const [mine, other] = [await enrollment('node-8'), await enrollment('node-8')];
    const error = await failure(t.client(t.bootstrapToken).enroll({ ...mine, proof: other.proof }));
    expect(error).toMatchObject({ status: 400, details: [{ path: 'proof' }] });
  });

  test('are refused once revoked, and enrol no more with that key', async () => {
    const request = await enrollment('node-9');
    const agent = await t.client(t.bootstrapToken).enroll(request);
    await t.admin.revokeAgent(agent.agentId);
    expect(await failure(t.client(agent.token).desired())).toMatchObject({ status: 401 });
    expect(await failure(t.client(t.bootstrapToken).enroll(request))).toMatchObject({ status: 409 });
  });
});

describe('a desired state', () => {
  test('is refused where a byte of it is another, the key is another, or it is older than what was applied', async () => {
    const agent = await t.enroll('node-10');
    const answer = await t.client(agent.token).desired();
    if (!answer.changed) throw new Error('there is no desired state');
    const { signed } = answer;
    const expected = { ...agent, sequenceMin: 0 };
    const state = await verifyDesiredState(signed, expected);
    const changed = { ...signed, payload: signed.payload.replace('"test"', '"tesT"') };
    expect(changed.payload).not.toBe(signed.payload);
    expect((await failure(verifyDesiredState(changed, expected))).code).toBe('untrusted');
    const { controlPlaneKey } = { controlPlaneKey: (await enrollment('x')).publicKey };
    expect((await failure(verifyDesiredState(signed, { ...expected, controlPlaneKey }))).code).toBe(
      'untrusted',
    );
    const later = { ...expected, sequenceMin: state.release.sequence + 1 };
    expect((await failure(verifyDesiredState(signed, later))).code).toBe('replayed');
  });
});

describe('audit', () => {
  test('has a row for each change, with who made it', async () => {
    await t.admin.createPolicy(policyYaml('audited'));
    const { token } = await t.admin.createToken({ role: 'reader', description: 'for the audit' });
    await t.admin.revokeToken(token.id);
    const entries = await t.admin.audit();
    for (const [action, subject] of [
      ['policy.create', 'audited'],
      ['token.create', token.id],
      ['token.revoke', token.id],
    ]) {
      expect(entries).toContainEqual(
        expect.objectContaining({ action, subject, actor: 'first-admin', role: 'admin' }),
      );
    }
  });
});
