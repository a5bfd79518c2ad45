// SPDX-License-Identifier: Apache-2.0
// Owns the routes of the archive.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import { archiveEvents, archiveIntegrity, processTree, queryArchive } from '../services/archive.js';
import { type App, answers, errors, secured } from './environment.js';

const tag = ['archive'];

const query = secured(
  { permission: 'archive.read' },
  {
    method: 'post',
    path: '/v1/archive/query',
    tags: tag,
    summary: 'Query the archive by SQL',
    request: {
      body: { required: true, content: { 'application/json': { schema: wire.archiveQueryRequest } } },
    },
    responses: { 200: answers(wire.archiveQueryResult, 'the rows'), ...errors(422, 503, 504) },
  },
);

const events = secured(
  { permission: 'archive.read' },
  {
    method: 'get',
    path: '/v1/archive/events',
    tags: tag,
    summary: 'Find events in the archive',
    request: { query: wire.archiveEventsQuery },
    responses: {
      200: answers(wire.archiveEvents, 'the newest that match, the oldest of them first'),
      ...errors(422, 503, 504),
    },
  },
);

const tree = secured(
  { permission: 'archive.read' },
  {
    method: 'get',
    path: '/v1/archive/processes/{exec_id}/tree',
    tags: tag,
    summary: 'Get the tree of a process: its ancestors and its descendants',
    request: { params: z.object({ exec_id: wire.line(512).min(1) }) },
    responses: { 200: answers(wire.processTree, 'the tree'), ...errors(404, 422, 503, 504) },
  },
);

const integrity = secured(
  { permission: 'archive.read' },
  {
    method: 'get',
    path: '/v1/archive/integrity',
    tags: tag,
    summary: 'Find where the chains of segments do not hold',
    request: { query: wire.archiveIntegrityQuery },
    responses: { 200: answers(wire.archiveIntegrity, 'what is checked, and the breaks') },
  },
);

export function archiveRoutes(app: App): void {
  app.openapi(query, async (c) => {
    return c.json(await queryArchive(c.get('services'), c.get('principal'), c.req.valid('json')), 200);
  });
  app.openapi(events, async (c) => {
    return c.json(await archiveEvents(c.get('services'), c.get('principal'), c.req.valid('query')), 200);
  });
  app.openapi(tree, async (c) => {
    const { exec_id } = c.req.valid('param');
    return c.json(await processTree(c.get('services'), c.get('principal'), exec_id), 200);
  });
  app.openapi(integrity, async (c) => {
    return c.json(await archiveIntegrity(c.get('services'), c.get('principal'), c.req.valid('query')), 200);
  });
}
