// SPDX-License-Identifier: Apache-2.0
// Keys and signatures of authors as files.
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filterSignatureMessage } from '@weir/filter-accept';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  formatSignature,
  moduleDigest,
  newFilterKey,
  parseSignature,
  readFilterKey,
  signFilter,
  verifyFilter,
} from './sign.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-sign-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const module = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const file = (name: string) => join(folder, name);

async function signature(keyFile: string, of = module) {
  return parseSignature(formatSignature(moduleDigest(of), await signFilter(of, keyFile)), 'text');
}

describe('a key', () => {
  it('is written for its owner alone, its public half for all, and replaces nothing', async () => {
    const key = await newFilterKey(file('a'));
    expect(statSync(file('a')).mode & 0o777).toBe(0o600);
    expect(await readFilterKey(file('a.pub'))).toEqual({ id: key.id, publicKey: key.publicKey });
    const before = readFileSync(file('a'), 'utf8');
    await expect(newFilterKey(file('a'))).rejects.toMatchObject({ code: 'exists' });
    expect(readFileSync(file('a'), 'utf8')).toBe(before);
  });

  it('that others can read signs nothing', async () => {
    await newFilterKey(file('a'));
    for (const mode of [0o640, 0o604, 0o660, 0o622]) {
      chmodSync(file('a'), mode);
      await expect(signFilter(module, file('a'))).rejects.toMatchObject({ code: 'open-to-others' });
    }
  });

  it('of another kind, or damaged, is refused, and never shown in the message', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const pem = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    writeFileSync(file('rsa'), pem, { mode: 0o600 });
    const failure = await signFilter(module, file('rsa')).catch((error: Error) => error);
    expect(failure).toMatchObject({ code: 'key' });
    expect((failure as Error).message).not.toContain(pem.split('\n')[1]);
    writeFileSync(file('rsa.pub'), rsa.publicKey.export({ type: 'spki', format: 'pem' }));
    await expect(readFilterKey(file('rsa.pub'))).rejects.toMatchObject({
      message: expect.stringMatching(/another kind/),
    });
    await newFilterKey(file('a'));
    await expect(readFilterKey(file('a'))).rejects.toMatchObject({
      message: expect.stringMatching(/private key/),
    });
    for (const text of ['', 'ssh-ed25519 AAAA', '-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----']) {
      writeFileSync(file('bad.pub'), text);
      await expect(readFilterKey(file('bad.pub'))).rejects.toMatchObject({ code: 'key' });
    }
  });

  it('is one that openssl understands', async () => {
    const key = await newFilterKey(file('a'));
    const { signature: made } = await signFilter(module, file('a'));
    writeFileSync(file('message'), filterSignatureMessage(moduleDigest(module)));
    writeFileSync(file('signature'), Buffer.from(made, 'base64'));
    const args = ['pkeyutl', '-verify', '-pubin', '-inkey', file('a.pub'), '-rawin', '-in', file('message')];
    expect(String(execFileSync('openssl', [...args, '-sigfile', file('signature')]))).toMatch(/Success/);
    expect(key.id).toMatch(/^fk-[0-9a-f]{32}$/);
  });
});

describe('a signature', () => {
  it('is good for the module and the key, and for no other', async () => {
    const a = await newFilterKey(file('a'));
    const b = await newFilterKey(file('b'));
    const made = await signature(file('a'));
    expect(await verifyFilter(module, made, [b, a])).toEqual({ ok: true, keyId: a.id });
    const refused: [Uint8Array, typeof made, RegExp][] = [
      [Uint8Array.from([...module, 0]), made, /the module is/],
      [
        Uint8Array.from([...module, 0]),
        { ...made, digest: moduleDigest(Uint8Array.from([...module, 0])) },
        /not over this module/,
      ],
      [module, { ...made, keyId: b.id }, /not over this module/],
      [module, { ...made, keyId: 'fk-0' }, /is not trusted/],
      [module, { ...made, signature: `A${made.signature.slice(1)}` }, /not over this module/],
      [module, { ...made, signature: '' }, /not over this module/],
    ];
    for (const [bytes, given, reason] of refused) {
      expect(await verifyFilter(bytes, given, [a, b])).toMatchObject({
        ok: false,
        reason: expect.stringMatching(reason),
      });
    }
    expect(await verifyFilter(module, made, [b])).toMatchObject({ ok: false });
    expect(await verifyFilter(module, made, [])).toMatchObject({ ok: false });
  });

  it('of another purpose or form is refused', async () => {
    await newFilterKey(file('a'));
    const text = formatSignature(moduleDigest(module), await signFilter(module, file('a')));
    expect(() => parseSignature(text.replace('weir.filter.v1', 'weir.desired.v1'), 'f')).toThrow(/context/);
    expect(() => parseSignature('{}', 'f')).toThrow(/digest must be a string/);
    expect(() => parseSignature('[', 'f')).toThrow(/not JSON/);
    expect(() => parseSignature('null', 'f')).toThrow(/digest/);
  });
});
