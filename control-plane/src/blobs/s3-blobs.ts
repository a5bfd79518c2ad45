// SPDX-License-Identifier: Apache-2.0
// Owns the blob store in a bucket of anything that speaks S3.

import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import {
  BlobError,
  type BlobErrorCode,
  type BlobInfo,
  type BlobPage,
  type BlobStore,
  type ByteRange,
  checkKey,
  checkPrefix,
} from './blob-store.js';

export interface S3Options {
  readonly bucket: string;
  readonly region?: string;
  /** For stores other than AWS. */
  readonly endpoint?: string;
  /** `endpoint/bucket/key` in the place of `bucket.endpoint/key`: most stores other than AWS want it. */
  readonly pathStyle?: boolean;
  /** Before every key, with its closing "/"; empty by default. */
  readonly prefix?: string;
  /** From the environment, files or the machine's role where it is not given. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

const octets = 'application/octet-stream';

export class S3Blobs implements BlobStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(options: S3Options) {
    this.#bucket = options.bucket;
    this.#prefix = checkPrefix(options.prefix ?? '');
    this.#client = new S3Client({
      region: options.region ?? 'us-east-1',
      maxAttempts: 4,
      // Stores other than AWS know no trailing check sums; TLS and the digests of what is stored cover it.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      ...(options.pathStyle === undefined ? {} : { forcePathStyle: options.pathStyle }),
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    });
  }

  #at(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + checkKey(key) };
  }

  async put(key: string, bytes: Uint8Array, contentType = octets): Promise<void> {
    const command = new PutObjectCommand({ ...this.#at(key), Body: bytes, ContentType: contentType });
    await this.#doing(key, () => this.#client.send(command));
  }

  async putFile(key: string, path: string, contentType = octets): Promise<void> {
    const at = this.#at(key);
    const { size } = await stat(path);
    await this.#doing(key, () =>
      this.#client.send(
        new PutObjectCommand({
          ...at,
          Body: createReadStream(path),
          ContentLength: size,
          ContentType: contentType,
        }),
      ),
    );
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    const at = this.#at(key);
    if (range !== undefined && range.bytes <= 0) return new Uint8Array();
    const header =
      range === undefined ? {} : { Range: `bytes=${range.from}-${range.from + range.bytes - 1}` };
    return await this.#doing(key, async () => {
      try {
        const { Body } = await this.#client.send(new GetObjectCommand({ ...at, ...header }));
        return (await Body?.transformToByteArray()) ?? new Uint8Array();
      } catch (error) {
        // A range that begins past the end: nothing of the blob lies in it.
        if (nameOf(error) === 'InvalidRange') return new Uint8Array();
        throw error;
      }
    });
  }

  async getFile(key: string, path: string): Promise<void> {
    const at = this.#at(key);
    const temporary = `${path}.${randomBytes(6).toString('hex')}`;
    await this.#doing(key, async () => {
      const { Body, ContentLength } = await this.#client.send(new GetObjectCommand(at));
      try {
        if (!(Body instanceof Readable)) throw new Error('the answer has no body');
        await pipeline(Body, createWriteStream(temporary, { mode: 0o600 }));
        // A connection that ends early is no blob.
        const { size } = await stat(temporary);
        if (ContentLength !== undefined && size !== ContentLength) {
          throw new BlobError('unavailable', `${key}: ${size} of ${ContentLength} bytes came`);
        }
        await rename(temporary, path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  async head(key: string): Promise<BlobInfo | undefined> {
    const at = this.#at(key);
    try {
      const { ContentLength = 0, LastModified } = await this.#client.send(new HeadObjectCommand(at));
      return { key, bytes: ContentLength, modifiedMs: LastModified?.getTime() ?? 0 };
    } catch (error) {
      const wrapped = wrap(key, error);
      if (wrapped.code === 'not-found') return undefined;
      throw wrapped;
    }
  }

  async list(prefix: string, options: { after?: string; limit?: number } = {}): Promise<BlobPage> {
    checkPrefix(prefix);
    const { after, limit = 1000 } = options;
    const command = new ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      MaxKeys: Math.min(limit, 1000),
      ...(after === undefined ? {} : { StartAfter: this.#prefix + after }),
    });
    const answer = await this.#doing(prefix, () => this.#client.send(command));
    const blobs = (answer.Contents ?? []).map((entry) => ({
      key: (entry.Key ?? '').slice(this.#prefix.length),
      bytes: entry.Size ?? 0,
      modifiedMs: entry.LastModified?.getTime() ?? 0,
    }));
    return { blobs, next: answer.IsTruncated === true ? blobs.at(-1)?.key : undefined };
  }

  async delete(key: string): Promise<void> {
    const command = new DeleteObjectCommand(this.#at(key));
    try {
      await this.#client.send(command);
    } catch (error) {
      const wrapped = wrap(key, error);
      if (wrapped.code !== 'not-found') throw wrapped;
    }
  }

  presignPut(key: string, expiresSeconds: number): Promise<string> {
    const command = new PutObjectCommand(this.#at(key));
    return this.#doing(key, () => getSignedUrl(this.#client, command, { expiresIn: expiresSeconds }));
  }

  presignGet(key: string, expiresSeconds: number): Promise<string> {
    const command = new GetObjectCommand(this.#at(key));
    return this.#doing(key, () => getSignedUrl(this.#client, command, { expiresIn: expiresSeconds }));
  }

  close(): Promise<void> {
    this.#client.destroy();
    return Promise.resolve();
  }

  async #doing<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw wrap(key, error);
    }
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function wrap(key: string, error: unknown): BlobError {
  if (error instanceof BlobError) return error;
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  const name = nameOf(error);
  let code: BlobErrorCode = 'unavailable';
  if (name === 'NoSuchBucket') code = 'unavailable';
  else if (status === 404 || name === 'NoSuchKey' || name === 'NotFound') code = 'not-found';
  else if (status === 401 || status === 403) code = 'denied';
  return new BlobError(code, `${key}: ${name || 'failed'}${status === undefined ? '' : ` (${status})`}`, {
    cause: error,
  });
}
