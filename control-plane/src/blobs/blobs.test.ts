// SPDX-License-Identifier: Apache-2.0
// One contract, run by every blob store: a folder, and a real S3 server.
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startS3, weedPath } from '../../../test/services/s3.mjs';
import type { BlobStore } from './blob-store.js';
import { FolderBlobs } from './folder-blobs.js';
import { S3Blobs } from './s3-blobs.js';

const scratch = mkdtempSync(join(tmpdir(), 'weir-blobs-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const text = (value: string) => new TextEncoder().encode(value);

function contract(open: () => Promise<BlobStore>): void {
  let store: BlobStore;
  beforeAll(async () => {
    store = await open();
  });
  afterAll(async () => {
    await store.close();
  });

  test('gives back what was put, and in its place what was put later', async () => {
    await store.put('a/one', text('first'));
    await store.put('a/one', text('second, longer'));
    expect(Buffer.from(await store.get('a/one')).toString()).toBe('second, longer');
    expect(await store.head('a/one')).toMatchObject({ key: 'a/one', bytes: 14 });
    await store.put('a/empty', new Uint8Array());
    expect(await store.get('a/empty')).toHaveLength(0);
  });

  test('keeps bytes of any kind, and keys with every character that may be in one', async () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31) & 255);
    const key = "t/day=2026-01-02/cluster=a.b/x_y-z!*'(),@:+.parquet";
    await store.put(key, bytes);
    expect(Buffer.from(await store.get(key)).equals(bytes)).toBe(true);
    expect((await store.list('t/day=2026-01-02/')).blobs.map((blob) => blob.key)).toEqual([key]);
  });

  test('gives a range, and of one that reaches past the end what there is', async () => {
    await store.put('r', text('0123456789'));
    const get = async (from: number, bytes: number) =>
      Buffer.from(await store.get('r', { from, bytes })).toString();
    expect(await get(2, 3)).toBe('234');
    expect(await get(8, 100)).toBe('89');
    expect(await get(10, 5)).toBe('');
    expect(await get(0, 0)).toBe('');
  });

  test('says not-found', async () => {
    await expect(store.get('nothing')).rejects.toMatchObject({ name: 'BlobError', code: 'not-found' });
    await expect(store.get('nothing', { from: 0, bytes: 1 })).rejects.toMatchObject({ code: 'not-found' });
    await expect(store.getFile('nothing', join(scratch, 'x'))).rejects.toMatchObject({ code: 'not-found' });
    expect(await store.head('nothing')).toBeUndefined();
    await store.delete('nothing');
  });

  test('lists by prefix, in order, in pages', async () => {
    const keys = ['p/b', 'p/a', 'p/c/d', 'p/c/e', 'p2/x'];
    for (const key of keys) await store.put(key, text(key));
    const list = async (prefix: string) => (await store.list(prefix)).blobs.map((blob) => blob.key);
    expect(await list('p/')).toEqual(['p/a', 'p/b', 'p/c/d', 'p/c/e']);
    expect(await list('p/c')).toEqual(['p/c/d', 'p/c/e']);
    expect(await list('none/')).toEqual([]);
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await store.list('p/', { limit: 2, ...(after === undefined ? {} : { after }) });
      expect(page.blobs.length).toBeLessThanOrEqual(2);
      seen.push(...page.blobs.map((blob) => blob.key));
      after = page.next;
    } while (after !== undefined);
    expect(seen).toEqual(['p/a', 'p/b', 'p/c/d', 'p/c/e']);
  });

  test('deletes', async () => {
    await store.put('d/x', text('x'));
    await store.delete('d/x');
    expect(await store.head('d/x')).toBeUndefined();
    expect((await store.list('d/')).blobs).toEqual([]);
  });

  test('puts and gets files', async () => {
    const from = join(scratch, 'from');
    const to = join(scratch, 'to');
    const bytes = Buffer.alloc(3_000_000, 'weir');
    writeFileSync(from, bytes);
    await store.putFile('f/file', from);
    await store.getFile('f/file', to);
    expect((await readFile(to)).equals(bytes)).toBe(true);
    expect((await readdir(scratch)).filter((name) => name.startsWith('to.'))).toEqual([]);
  });

  test.each([
    '',
    '/etc/passwd',
    'a//b',
    'a/../../b',
    '..',
    'a/./b',
    '.tmp/x',
    'a\0b',
    'a b',
    'ä',
    'a\\b',
    'x'.repeat(901),
  ])('refuses the key %j everywhere', async (key) => {
    const refused = { name: 'BlobError', code: 'key' };
    for (const call of [
      async () => store.put(key, text('x')),
      async () => store.get(key),
      async () => store.head(key),
      async () => store.delete(key),
      async () => store.getFile(key, join(scratch, 'y')),
    ]) {
      await expect(call()).rejects.toMatchObject(refused);
    }
    if (key !== '') await expect((async () => store.list(key))()).rejects.toMatchObject(refused);
  });

  test('many writers of one key leave one of their values whole', async () => {
    const values = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(50_000));
    await Promise.all(values.map((value) => store.put('race', text(value))));
    expect(values).toContain(Buffer.from(await store.get('race')).toString());
  });
}

describe('a folder', () => {
  const folder = join(scratch, 'store');
  contract(async () => new FolderBlobs(folder));

  test('leaves no unfinished file, and has no URLs', async () => {
    const store = new FolderBlobs(join(scratch, 'other'));
    await store.put('a/b', text('x'));
    expect(await readdir(join(scratch, 'other/.tmp'))).toEqual([]);
    await expect(store.presignGet()).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('does not list what a link points at', async () => {
    const store = new FolderBlobs(join(scratch, 'linked'));
    await store.put('a/b', text('x'));
    symlinkSync('/etc', join(scratch, 'linked/a/etc'));
    expect((await store.list('')).blobs.map((blob) => blob.key)).toEqual(['a/b']);
  });

  test('says denied where the folder may not be read', async () => {
    const store = new FolderBlobs(join(scratch, 'denied'));
    await store.put('a/b', text('x'));
    chmodSync(join(scratch, 'denied/a'), 0);
    // Root may do everything: for this one call it is nobody.
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65_534);
    try {
      await expect(store.get('a/b')).rejects.toMatchObject({ code: 'denied' });
    } finally {
      if (isRoot) process.seteuid?.(0);
      chmodSync(join(scratch, 'denied/a'), 0o700);
    }
  });
});

const missing = weedPath() === undefined && process.env.CI !== 'true';
describe.skipIf(missing)('S3 (skipped where SeaweedFS is not: node test/services/s3.mjs install)', () => {
  let s3: Awaited<ReturnType<typeof startS3>>;
  let store: S3Blobs;
  beforeAll(async () => {
    s3 = await startS3();
    const { endpoint, region, accessKeyId, secretAccessKey } = s3;
    const credentials = { accessKeyId, secretAccessKey };
    const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: 'weir' }));
    client.destroy();
    store = new S3Blobs({
      bucket: 'weir',
      prefix: 'archive/',
      endpoint,
      region,
      pathStyle: true,
      credentials,
    });
  });
  afterAll(async () => {
    await s3?.close();
  });
  contract(async () => store);

  test('stores and reads by a URL that is signed for one key and a while', async () => {
    const put = await store.presignPut('signed', 60);
    const stored = await fetch(put, { method: 'PUT', body: 'by url' });
    expect(stored.status).toBe(200);
    expect(Buffer.from(await store.get('signed')).toString()).toBe('by url');
    const got = await fetch(await store.presignGet('signed', 60));
    expect(await got.text()).toBe('by url');
    const other = new URL(put);
    other.pathname = other.pathname.replace('signed', 'other');
    expect((await fetch(other, { method: 'PUT', body: 'x' })).status).toBe(403);
    expect((await fetch(new URL(other.pathname, s3.endpoint))).status).toBe(403);
  });

  test('says denied to a wrong key, and unavailable for a bucket that is not there or a server that is away', async () => {
    const { endpoint, region, accessKeyId, secretAccessKey } = s3;
    const wrong = new S3Blobs({
      bucket: 'weir',
      endpoint,
      region,
      pathStyle: true,
      credentials: { accessKeyId, secretAccessKey: 'wrong' },
    });
    await expect(wrong.get('signed')).rejects.toMatchObject({ code: 'denied' });
    await wrong.close();
    const credentials = { accessKeyId, secretAccessKey };
    const nowhere = new S3Blobs({ bucket: 'none', endpoint, region, pathStyle: true, credentials });
    // Read, not written: a server may make a bucket for an administrator who writes to it (SeaweedFS does by default).
    await expect(nowhere.get('x')).rejects.toMatchObject({ name: 'BlobError', code: 'unavailable' });
    await nowhere.close();
    const away = new S3Blobs({
      bucket: 'b',
      endpoint: 'http://127.0.0.1:9',
      region,
      pathStyle: true,
      credentials,
    });
    await expect(away.get('x')).rejects.toMatchObject({ code: 'unavailable' });
    await away.close();
  });
});
