// SPDX-License-Identifier: Apache-2.0
// Tests that filters are signed where authors' keys are trusted: each refusal, a change of keys, and that signatures
// come to agents as they were made.
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { filterKey, filterSignatureMessage } from '@weir/filter-accept';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { verifyDesiredState } from './client.js';
import { digestOf } from './crypto.js';
import { filterModule, startTestServer, type TestServer } from './testing/harness.js';

const servers: TestServer[] = [];
let t: TestServer;
beforeEach(async () => {
  t = await startTestServer();
  servers.push(t);
});
afterAll(async () => {
  for (const server of servers) await server.close();
});

interface Author {
  id: string;
  publicKey: string;
  privateKey: KeyObject;
}

async function author(): Promise<Author> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(12).toString('base64');
  return { ...(await filterKey(raw)), privateKey };
}

async function signed(module: Uint8Array<ArrayBuffer>, by: Author) {
  const message = filterSignatureMessage(await digestOf(module));
  return { keyId: by.id, signature: sign(null, message, by.privateKey).toString('base64') };
}

const refusal = (reason: RegExp) => ({
  code: 'untrusted_filter',
  status: 422,
  message: expect.stringMatching(reason),
  details: [{ path: 'signature', message: expect.stringMatching(reason) }],
});

describe('where no key was ever trusted', () => {
  test('filters go in unsigned, and a signature is handed on as it came', async () => {
    const ada = await author();
    const module = filterModule('open', '1.0.0');
    expect((await t.admin.uploadFilter(module)).filter.signatures).toEqual([]);
    const signature = await signed(module, ada);
    expect((await t.admin.uploadFilter(module, { signature })).filter.signatures).toEqual([signature]);
  });
});

describe('where a key is trusted', () => {
  let ada: Author;
  const module = filterModule('signed', '1.0.0');
  beforeEach(async () => {
    ada = await author();
    await t.admin.addFilterKey({ publicKey: ada.publicKey, description: 'ada' });
  });

  test('a filter that it signed goes in, into force, and to agents with its signature', async () => {
    const signature = await signed(module, ada);
    expect(await t.admin.uploadFilter(module, { signature })).toMatchObject({
      created: true,
      releaseSequence: 1,
      filter: { signatures: [signature] },
    });
    expect(await t.admin.filters()).toMatchObject([{ name: 'signed', signatures: [signature] }]);
    const agent = await t.enroll('node-1');
    const answer = await t.client(agent.token).desired();
    if (!answer.changed) throw new Error('no desired state');
    const state = await verifyDesiredState(answer.signed, { ...agent, sequenceMin: 0 });
    expect(state.filters).toMatchObject([{ name: 'signed', signatures: [signature] }]);
    expect((await t.admin.audit()).map(({ action }) => action)).toEqual(
      expect.arrayContaining(['filter-key.add', 'filter.sign', 'filter.create']),
    );
  });

  test('an unsigned one is refused, and nothing of it is kept', async () => {
    await expect(t.admin.uploadFilter(module)).rejects.toMatchObject(refusal(/is not signed/));
    expect(await t.admin.filters()).toEqual([]);
    expect((await t.admin.release()).sequence).toBe(0);
  });

  test('one signed by another key is refused', async () => {
    const signature = await signed(module, await author());
    await expect(t.admin.uploadFilter(module, { signature })).rejects.toMatchObject(
      refusal(/is not trusted/),
    );
  });

  test('one signed by another key in its name is refused', async () => {
    const signature = { ...(await signed(module, await author())), keyId: ada.id };
    await expect(t.admin.uploadFilter(module, { signature })).rejects.toMatchObject(
      refusal(/is not over this module/),
    );
  });

  test('one that was changed since is refused, whatever changed', async () => {
    const signature = await signed(module, ada);
    for (const other of [
      filterModule('signed', '1.0.1'),
      filterModule('signed', '1.0.0', { labels: ['x'] }),
    ]) {
      await expect(t.admin.uploadFilter(other, { signature })).rejects.toMatchObject(
        refusal(/is not over this module/),
      );
    }
  });

  test('a signature over the digest without its context is refused', async () => {
    const bare = sign(null, Buffer.from(await digestOf(module)), ada.privateKey).toString('base64');
    await expect(
      t.admin.uploadFilter(module, { signature: { keyId: ada.id, signature: bare } }),
    ).rejects.toMatchObject(refusal(/is not over this module/));
  });

  test('a signature without its key, or of another form, is refused by name', async () => {
    const send = async (query: string) => {
      const response = await fetch(`${t.url}/v1/filters?${query}`, {
        method: 'POST',
        body: module,
        headers: { authorization: `Bearer ${t.adminToken}`, 'content-type': 'application/wasm' },
      });
      return { status: response.status, text: await response.text() };
    };
    const { signature } = await signed(module, ada);
    const encoded = encodeURIComponent(signature);
    for (const [query, field] of [
      [`signature=${encoded}`, 'key'],
      [`key=${ada.id}`, 'signature'],
      [`key=${ada.id}&signature=AAAA`, 'signature'],
      [`key=..%2F..&signature=${encoded}`, 'key'],
    ] as const) {
      const { status, text } = await send(query);
      expect([query, status]).toEqual([query, 400]);
      expect(text).toContain(field);
    }
  });

  test('keys change without a gap: the old one signs no more, the new one signs what is there again', async () => {
    const old = await signed(module, ada);
    await t.admin.uploadFilter(module, { signature: old });
    const grace = await author();
    await t.admin.addFilterKey({ publicKey: grace.publicKey });
    const fresh = await signed(module, grace);
    const again = await t.admin.uploadFilter(module, { signature: fresh });
    // The same version, in force anew with both signatures: agents that hold either key take it.
    expect(again).toMatchObject({ created: false, releaseSequence: 2, filter: { signatures: [old, fresh] } });
    await t.admin.retireFilterKey(ada.id);
    expect(await t.admin.filterKeys()).toMatchObject([
      { id: ada.id, retiredMs: expect.any(Number) },
      { id: grace.id },
    ]);
    const next = filterModule('signed', '2.0.0');
    await expect(t.admin.uploadFilter(next, { signature: await signed(next, ada) })).rejects.toMatchObject(
      refusal(/is retired/),
    );
    expect(await t.admin.uploadFilter(next, { signature: await signed(next, grace) })).toMatchObject({
      created: true,
    });
    await expect(t.admin.addFilterKey({ publicKey: ada.publicKey })).rejects.toMatchObject({
      code: 'conflict',
    });
    await expect(t.admin.retireFilterKey(ada.id)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('with all keys retired nothing goes in', async () => {
    const signature = await signed(module, ada);
    await t.admin.retireFilterKey(ada.id);
    await expect(t.admin.uploadFilter(module, { signature })).rejects.toMatchObject(refusal(/is retired/));
    await expect(t.admin.uploadFilter(module)).rejects.toMatchObject(refusal(/is not signed/));
  });

  test('a release cannot bring back what only a retired key signed', async () => {
    const signature = await signed(module, ada);
    await t.admin.uploadFilter(module, { signature, release: false });
    await t.admin.addFilterKey({ publicKey: (await author()).publicKey });
    await t.admin.retireFilterKey(ada.id);
    const put = t.admin.putRelease({ policies: [], filters: [{ name: 'signed', version: '1.0.0' }] });
    await expect(put).rejects.toMatchObject(refusal(/is retired/));
  });
});

describe('a key', () => {
  test('is refused where it is none', async () => {
    for (const publicKey of ['', 'A'.repeat(44), `${'A'.repeat(42)}=`, 'ssh-ed25519 AAAA']) {
      await expect(t.admin.addFilterKey({ publicKey })).rejects.toMatchObject({ code: 'invalid' });
    }
    expect(await t.admin.filterKeys()).toEqual([]);
  });

  test('that is trusted already is the same one', async () => {
    const { publicKey, id } = await author();
    expect(await t.admin.addFilterKey({ publicKey })).toMatchObject({ id });
    expect(await t.admin.addFilterKey({ publicKey })).toMatchObject({ id });
    expect(await t.admin.filterKeys()).toHaveLength(1);
  });
});
