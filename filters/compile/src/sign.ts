// SPDX-License-Identifier: Apache-2.0
// Owns an author's keys and signatures as files. A private key is written for its owner alone, and read only where
// nobody else can read it.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import {
  checkFilterSignatures,
  type FilterKey,
  type FilterSignature,
  filterSignatureMessage,
  parseFilterKey,
  type SignatureCheck,
} from '@weir/filter-accept';

export type { FilterKey, FilterSignature, SignatureCheck } from '@weir/filter-accept';

export type FilterSignErrorCode = 'exists' | 'unreadable' | 'open-to-others' | 'key' | 'signature';

export class FilterSignError extends Error {
  override readonly name = 'FilterSignError';
  constructor(
    readonly code: FilterSignErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

const FILE_BYTES_MAX = 64 * 1024;

function read(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new FilterSignError('unreadable', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  if (text.length > FILE_BYTES_MAX)
    throw new FilterSignError('unreadable', `${path} is too long for what it should be`);
  return text;
}

/** The digest of a module as it is written everywhere. */
export function moduleDigest(module: Uint8Array): string {
  return `sha256:${createHash('sha256').update(module).digest('hex')}`;
}

export interface NewFilterKey extends FilterKey {
  readonly privateFile: string;
  readonly publicFile: string;
}

/** Makes a key: the private one in `file`, mode 0600, the public one in `file`.pub. Replaces nothing. */
export async function newFilterKey(file: string): Promise<NewFilterKey> {
  const publicFile = `${file}.pub`;
  for (const path of [file, publicFile]) {
    if (existsSync(path)) throw new FilterSignError('exists', `${path} is there already; it is not replaced`);
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  try {
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600, flag: 'wx' });
    writeFileSync(publicFile, pem, { flag: 'wx' });
  } catch (cause) {
    throw new FilterSignError('exists', `the key cannot be written: ${(cause as Error).message}`, { cause });
  }
  return { ...(await parseFilterKey(pem)), privateFile: file, publicFile };
}

/** Reads a public key. @throws {FilterSignError} */
export async function readFilterKey(file: string): Promise<FilterKey> {
  try {
    return await parseFilterKey(read(file));
  } catch (cause) {
    if (cause instanceof FilterSignError) throw cause;
    throw new FilterSignError(
      'key',
      `${file} holds no key that filters are signed with: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}

/** Signs a module with the private key in a file. @throws {FilterSignError} */
export async function signFilter(
  module: Uint8Array,
  keyFile: string,
): Promise<FilterSignature & { publicKey: string }> {
  let descriptor: number;
  try {
    descriptor = openSync(keyFile, 'r');
  } catch (cause) {
    throw new FilterSignError('unreadable', `${keyFile} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  let pem: string;
  try {
    // Looked at through the descriptor: what is read is what was looked at.
    const mode = fstatSync(descriptor).mode & 0o777;
    if ((mode & 0o077) !== 0) {
      throw new FilterSignError(
        'open-to-others',
        `${keyFile} is open to others (mode ${mode.toString(8)}); chmod 600 it, and make a new key where others may have read it`,
      );
    }
    pem = readFileSync(descriptor, 'utf8');
  } finally {
    closeSync(descriptor);
  }
  try {
    const privateKey = createPrivateKey(pem);
    const key = await parseFilterKey(createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString());
    const signature = sign(null, filterSignatureMessage(moduleDigest(module)), privateKey).toString('base64');
    return { keyId: key.id, signature, publicKey: key.publicKey };
  } catch {
    // Without the cause: it may quote the key.
    throw new FilterSignError('key', `${keyFile} holds no Ed25519 private key in PEM form`);
  }
}

/** The text of a signature file. */
export function formatSignature(digest: string, { keyId, signature }: FilterSignature): string {
  return `${JSON.stringify({ context: 'weir.filter.v1', digest, keyId, signature }, undefined, 2)}\n`;
}

export function parseSignature(text: string, where: string): FilterSignature & { digest: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FilterSignError('signature', `${where} is no signature: it is not JSON`, { cause });
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  for (const name of ['digest', 'keyId', 'signature']) {
    if (typeof fields[name] !== 'string') {
      throw new FilterSignError('signature', `${where} is no signature: ${name} must be a string`);
    }
  }
  if (fields.context !== 'weir.filter.v1') {
    throw new FilterSignError(
      'signature',
      `${where} is no signature of a filter: context must be weir.filter.v1`,
    );
  }
  const { digest, keyId, signature } = fields as Record<'digest' | 'keyId' | 'signature', string>;
  return { digest, keyId, signature };
}

export function readSignature(file: string): FilterSignature & { digest: string } {
  if (!existsSync(file)) {
    throw new FilterSignError('signature', `there is no ${file}; weir filter sign makes one beside a module`);
  }
  return parseSignature(read(file), file);
}

/** Whether a module is signed by one of the keys, by the signature of a file. */
export async function verifyFilter(
  module: Uint8Array,
  signature: FilterSignature & { digest: string },
  keys: readonly FilterKey[],
): Promise<SignatureCheck> {
  const digest = moduleDigest(module);
  if (signature.digest !== digest) {
    return { ok: false, reason: `the signature is over ${signature.digest}; the module is ${digest}` };
  }
  return checkFilterSignatures(digest, [signature], keys);
}
