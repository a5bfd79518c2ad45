// SPDX-License-Identifier: Apache-2.0
// Owns who may ask the archive, and the note of each free question in the log (who, not what: SQL holds names).
import type {
  ArchiveEvents,
  ArchiveEventsQuery,
  ArchiveIntegrity,
  ArchiveIntegrityQuery,
  ArchiveQueryResult,
  ProcessTree,
} from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import type { Services } from './context.js';

export async function queryArchive(
  services: Services,
  principal: Principal,
  request: { sql: string; limit: number; timeoutMs: number },
): Promise<ArchiveQueryResult> {
  authorise(principal, 'archive.read');
  services.log({ level: 'info', message: 'archive query', actor: principal.tokenId });
  return services.archive.query(request);
}

export async function archiveEvents(
  services: Services,
  principal: Principal,
  query: ArchiveEventsQuery & { limit: number },
): Promise<ArchiveEvents> {
  authorise(principal, 'archive.read');
  const { columns, rows, truncated } = await services.archive.events(query);
  const events = rows.map((row) => {
    const event: Record<string, unknown> = {};
    columns.forEach(({ name }, index) => {
      const value = row[index];
      if (value !== null && value !== undefined) event[name] = value;
    });
    return event;
  });
  return { events, truncated };
}

export async function processTree(
  services: Services,
  principal: Principal,
  execId: string,
): Promise<ProcessTree> {
  authorise(principal, 'archive.read');
  return services.archive.processTree(execId);
}

export async function archiveIntegrity(
  services: Services,
  principal: Principal,
  { agent, limit }: ArchiveIntegrityQuery & { limit: number },
): Promise<ArchiveIntegrity> {
  authorise(principal, 'archive.read');
  return services.archive.integrity({ limit, ...(agent === undefined ? {} : { agent }) });
}
