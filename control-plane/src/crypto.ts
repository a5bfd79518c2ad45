// SPDX-License-Identifier: Apache-2.0
// Owns digests, Ed25519 and comparison of secrets, on WebCrypto alone: it runs in Node and in a Workers runtime.

/** Bytes that WebCrypto takes: not over a SharedArrayBuffer. */
export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();

export function utf8(text: string): Bytes {
  return encoder.encode(text);
}

export function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** @throws {Error} where the text is not base64. */
export function fromBase64(text: string): Bytes {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

export function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

/** Gives the digest as it is written everywhere: `sha256:` and hexadecimal digits. */
export async function digestOf(bytes: Bytes): Promise<string> {
  return `sha256:${toHex(await sha256(bytes))}`;
}

/** Compares without a branch on the content, so that the time says nothing of where two secrets differ. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= (a[index] ?? 0) ^ (b[index] ?? 0);
  return difference === 0;
}

export function randomBytes(count: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(count));
}

/** Signs for the control plane. */
export interface Signer {
  /** Ed25519 public key, raw, base64. */
  readonly publicKey: string;
  /** Signs the context, a newline, and the message; the context keeps a signature to its purpose. */
  sign(context: string, message: string): Promise<string>;
}

/** Contexts of signatures. A key never signs anything outside of one. */
export const signatureContexts = { desired: 'weir.desired.v1', enroll: 'weir.enroll.v1' } as const;

function framed(context: string, message: string): Bytes {
  return utf8(`${context}\n${message}`);
}

/** Makes a key pair; `privateKey` is PKCS#8 in base64. */
export async function generateSigningKey(): Promise<{ privateKey: string; publicKey: string }> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error('Ed25519 gave no key pair');
  return {
    privateKey: toBase64(new Uint8Array(await crypto.subtle.exportKey('pkcs8', pair.privateKey))),
    publicKey: toBase64(new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))),
  };
}

export async function createSigner(key: { privateKey: string; publicKey: string }): Promise<Signer> {
  const privateKey = await crypto.subtle.importKey('pkcs8', fromBase64(key.privateKey), 'Ed25519', false, [
    'sign',
  ]);
  return {
    publicKey: key.publicKey,
    async sign(context, message) {
      const signature = await crypto.subtle.sign('Ed25519', privateKey, framed(context, message));
      return toBase64(new Uint8Array(signature));
    },
  };
}

/** Is false where the signature is not by that key over that context and message, or key or signature are malformed. */
export async function verifySignature(
  publicKey: string,
  context: string,
  message: string,
  signature: string,
): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey('raw', fromBase64(publicKey), 'Ed25519', false, ['verify']);
    return await crypto.subtle.verify('Ed25519', key, fromBase64(signature), framed(context, message));
  } catch {
    return false;
  }
}
