// SPDX-License-Identifier: Apache-2.0
// Owns the interfaces behind which stand what the app does not do itself: blobs, archive, clock, log. The Node entry
// gives the real ones; nothing here knows Node.
import type { ArchiveEventsQuery, ArchiveIntegrity, ArchiveQueryResult, ProcessTree } from './api/types.js';
import type { Bytes } from './crypto.js';

/** Modules of filters by digest. */
export interface ModuleStore {
  put(digest: string, bytes: Bytes): Promise<void>;
  get(digest: string): Promise<Bytes | undefined>;
}

export interface SegmentUpload {
  readonly agentId: string;
  readonly cluster: string;
  readonly node: string;
  /** Ed25519 public key of the agent, raw, base64. */
  readonly publicKey: string;
  readonly sequence: bigint;
  readonly bytes: Bytes;
}

/** The archive as the app needs it. Refusals are thrown as `ControlPlaneError`. */
export interface Archive {
  /** Verifies and stores a segment. @throws `invalid_segment`, `conflict` */
  ingest(upload: SegmentUpload): Promise<{ status: 'stored' | 'duplicate'; events: number | undefined }>;
  /** Runs one SELECT of somebody who is not trusted. @throws `query_refused`, `query_timeout`, `busy`, `archive_changed` */
  query(request: { sql: string; limit: number; timeoutMs: number }): Promise<ArchiveQueryResult>;
  events(query: ArchiveEventsQuery & { limit: number }): Promise<ArchiveQueryResult>;
  /** @throws `not_found` */
  processTree(execId: string): Promise<ProcessTree>;
  /** Where the chains of segments do not hold. */
  integrity(request: { agent?: string; limit: number }): Promise<ArchiveIntegrity>;
}

export interface Clock {
  nowMs(): number;
}

export interface LogEntry {
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  readonly [key: string]: string | number | boolean | undefined;
}

/** Takes entries without tokens, keys or payloads: the app logs method, route, status, duration and ids only. */
export type Log = (entry: LogEntry) => void;
