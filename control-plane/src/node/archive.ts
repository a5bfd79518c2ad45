// SPDX-License-Identifier: Apache-2.0
// Owns the archive as the Node entry gives it to the app.
import { ControlPlaneError } from '../errors.js';
import type { JobHandler } from '../jobs/worker.js';
import type { Archive } from '../ports.js';

export interface OpenArchive {
  readonly archive: Archive;
  readonly jobs: Readonly<Record<string, JobHandler>>;
  close(): Promise<void>;
}

export async function openArchive(): Promise<OpenArchive> {
  const away = () =>
    Promise.reject(new ControlPlaneError('unavailable', 'This server was started without an archive.'));
  return {
    archive: { ingest: away, query: away, events: away, processTree: away },
    jobs: {},
    close: async () => {},
  };
}
