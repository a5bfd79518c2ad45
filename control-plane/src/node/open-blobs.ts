// SPDX-License-Identifier: Apache-2.0
// Owns the choice of the blob store: S3 where a bucket is named, else a folder.
import { join } from 'node:path';
import type { BlobStore } from '../blobs/blob-store.js';
import { FolderBlobs } from '../blobs/folder-blobs.js';
import { S3Blobs } from '../blobs/s3-blobs.js';
import type { Config } from './config.js';

export function openBlobs({ dataFolder, s3 }: Pick<Config, 'dataFolder' | 's3'>): BlobStore {
  if (s3 === undefined) return new FolderBlobs(join(dataFolder, 'blobs'));
  const { bucket, endpoint, region, prefix, pathStyle } = s3;
  return new S3Blobs({
    bucket,
    pathStyle,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(prefix === undefined ? {} : { prefix }),
  });
}
