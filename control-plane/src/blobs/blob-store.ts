// SPDX-License-Identifier: Apache-2.0
// Owns what a blob store is: bytes by key, as S3 has them and a folder can have them.

export interface BlobInfo {
  readonly key: string;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modifiedMs: number;
}

export interface ByteRange {
  /** First byte. */
  readonly from: number;
  /** How many; what lies past the end of the blob is left out. */
  readonly bytes: number;
}

export interface BlobPage {
  readonly blobs: readonly BlobInfo[];
  /** Give it back as `after` for the next page; undefined on the last. */
  readonly next: string | undefined;
}

export type BlobErrorCode =
  /** There is no such blob. */
  | 'not-found'
  /** The key is none: see {@link checkKey}. */
  | 'key'
  /** The store does not let us. */
  | 'denied'
  /** It could not be reached, or failed: try again. */
  | 'unavailable'
  /** This store cannot do that. */
  | 'unsupported';

export class BlobError extends Error {
  override readonly name = 'BlobError';
  readonly code: BlobErrorCode;

  constructor(code: BlobErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Bytes by key. A blob is there whole or not at all, and what `put` has answered for is seen by every later call.
 * All methods throw {@link BlobError}.
 */
export interface BlobStore {
  /** Stores bytes under a key, in the place of what was there. */
  put(key: string, bytes: Uint8Array, contentType?: string): Promise<void>;
  /** Stores a file of this machine under a key. */
  putFile(key: string, path: string, contentType?: string): Promise<void>;
  /** @throws not-found */
  get(key: string, range?: ByteRange): Promise<Uint8Array>;
  /** Writes the blob to a file of this machine, whole or not at all. @throws not-found */
  getFile(key: string, path: string): Promise<void>;
  /** Undefined where there is none. */
  head(key: string): Promise<BlobInfo | undefined>;
  /** Blobs whose key begins with `prefix`, in the order of their keys' bytes. At most `limit`, 1,000 by default. */
  list(prefix: string, options?: { after?: string; limit?: number }): Promise<BlobPage>;
  /** Removes a blob; nothing happens where there is none. */
  delete(key: string): Promise<void>;
  /** A URL with which anyone can store this one blob for a while. @throws unsupported */
  presignPut(key: string, expiresSeconds: number): Promise<string>;
  /** A URL with which anyone can read this one blob for a while. @throws unsupported */
  presignGet(key: string, expiresSeconds: number): Promise<string>;
  close(): Promise<void>;
}

const keyBytesMax = 900;
const partBytesMax = 200;

/**
 * Checks a key: parts of printable ASCII joined by "/", none empty, "." or "..", none beginning with a dot, so that
 * a key is a path in every store, and leads nowhere else.
 * @throws {BlobError} key
 */
export function checkKey(key: string): string {
  const fail = (why: string): never => {
    throw new BlobError('key', `key ${JSON.stringify(key.slice(0, 100))}: ${why}`);
  };
  if (key.length === 0 || key.length > keyBytesMax) fail(`must have 1 to ${keyBytesMax} characters`);
  if (!/^[A-Za-z0-9!_.*'()=,@:+/-]+$/.test(key)) fail("may hold letters, digits and !_.*'()=,@:+/- only");
  for (const part of key.split('/')) {
    if (part === '') fail('has an empty part');
    if (part.startsWith('.')) fail('has a part that begins with a dot');
    if (part.length > partBytesMax) fail(`has a part of more than ${partBytesMax} characters`);
  }
  return key;
}

/** Checks a prefix: empty, or the beginning of a key. @throws {BlobError} key */
export function checkPrefix(prefix: string): string {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? `${prefix}x` : prefix);
  return prefix;
}
