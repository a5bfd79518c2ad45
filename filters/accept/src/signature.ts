// SPDX-License-Identifier: Apache-2.0
// Owns what an author's signature of a module is, and whether one is good. On WebCrypto alone: the same code runs in
// the control plane (also in a Workers runtime) and in the agent. Private keys never come here.

/** What is signed begins with this and a newline, so that no other signature of the key can be taken for one. */
export const FILTER_SIGNATURE_CONTEXT = 'weir.filter.v1';

/** Signatures that one module may carry: an old key's and a new one's, while keys change. */
export const FILTER_SIGNATURES_MAX = 8;

/** The header of an Ed25519 key in SubjectPublicKeyInfo (RFC 8410); 32 bytes follow. */
const SPKI_HEADER = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const KEY_BYTES = 32;
const PEM_CHARACTERS_MAX = 4096;

export interface FilterSignature {
  /** Which key; only a hint, what counts is whether the signature is that key's. */
  readonly keyId: string;
  /** Ed25519, base64. */
  readonly signature: string;
}

export interface FilterKey {
  /** `fk-` and the first 32 hexadecimal digits of the SHA-256 of the key. */
  readonly id: string;
  /** Ed25519 public key, raw, base64. */
  readonly publicKey: string;
}

export type SignatureCheck =
  | { readonly ok: true; readonly keyId: string }
  | { readonly ok: false; readonly reason: string };

/** The bytes that an author signs, for a module with this digest (`sha256:` and hexadecimal digits). */
export function filterSignatureMessage(digest: string): Uint8Array<ArrayBuffer> {
  if (!/^sha256:[0-9a-f]{64}$/.test(digest))
    throw new TypeError('a digest is sha256: and 64 hexadecimal digits');
  return new TextEncoder().encode(`${FILTER_SIGNATURE_CONTEXT}\n${digest}`);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The key with its id. @throws {TypeError} where it is none. */
export async function filterKey(publicKey: string): Promise<FilterKey> {
  if (!/^[A-Za-z0-9+/]{43}=$/.test(publicKey)) throw new TypeError('a public key is 32 bytes in base64');
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', fromBase64(publicKey)));
  return { id: `fk-${toHex(digest).slice(0, 32)}`, publicKey };
}

/** Reads a public key as `weir filter keygen` and openssl write it. @throws {TypeError} that says what is wrong. */
export async function parseFilterKey(pem: string): Promise<FilterKey> {
  if (pem.includes('PRIVATE KEY')) {
    throw new TypeError('it is a private key, which stays with its author; the public one ends in .pub');
  }
  const match =
    pem.length > PEM_CHARACTERS_MAX
      ? null
      : /^\s*-----BEGIN PUBLIC KEY-----([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*$/.exec(pem);
  if (match === null) throw new TypeError('it is not one public key in PEM form (BEGIN PUBLIC KEY)');
  let der: Uint8Array;
  try {
    der = fromBase64((match[1] ?? '').replaceAll(/\s/g, ''));
  } catch {
    throw new TypeError('its base64 is damaged');
  }
  if (
    der.length !== SPKI_HEADER.length + KEY_BYTES ||
    SPKI_HEADER.some((byte, index) => der[index] !== byte)
  ) {
    throw new TypeError('it is a key of another kind; filters are signed with Ed25519');
  }
  return filterKey(btoa(String.fromCharCode(...der.subarray(SPKI_HEADER.length))));
}

async function isSignedBy(digest: string, signature: string, key: FilterKey): Promise<boolean> {
  if (!/^[A-Za-z0-9+/]{86}==$/.test(signature)) return false;
  try {
    const imported = await crypto.subtle.importKey('raw', fromBase64(key.publicKey), 'Ed25519', false, [
      'verify',
    ]);
    return await crypto.subtle.verify(
      'Ed25519',
      imported,
      fromBase64(signature),
      filterSignatureMessage(digest),
    );
  } catch {
    return false;
  }
}

/** Whether any of the signatures is by one of the keys, over this digest; where none is, why. */
export async function checkFilterSignatures(
  digest: string,
  signatures: readonly FilterSignature[],
  keys: readonly FilterKey[],
): Promise<SignatureCheck> {
  if (signatures.length === 0) return { ok: false, reason: 'it is not signed' };
  if (signatures.length > FILTER_SIGNATURES_MAX) {
    return {
      ok: false,
      reason: `it has ${signatures.length} signatures; at most ${FILTER_SIGNATURES_MAX} are allowed`,
    };
  }
  const reasons: string[] = [];
  for (const { keyId, signature } of signatures) {
    const shown = JSON.stringify(String(keyId).slice(0, 64));
    const key = keys.find(({ id }) => id === keyId);
    if (key === undefined) reasons.push(`key ${shown} is not trusted`);
    else if (await isSignedBy(digest, signature, key)) return { ok: true, keyId };
    else reasons.push(`the signature that names key ${shown} is not over this module`);
  }
  return { ok: false, reason: reasons.join('; ') };
}
