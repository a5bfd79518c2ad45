// SPDX-License-Identifier: Apache-2.0
// Owns the routes of agents: those that agents call (`/v1/agents/enroll`, `/v1/agents/me/…`), and those of people.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import {
  acceptReport,
  acceptSegment,
  desiredFilter,
  desiredState,
  enrollAgent,
  getAgent,
  listAgents,
  revokeAgent,
} from '../services/agents.js';
import { type App, answers, binary, errors, readBytes, secured } from './environment.js';

const tag = ['agents'];
const params = z.object({ id: wire.line(64).min(1) });
const etagHeader = z.object({ etag: z.string() });

const enroll = secured(
  { permission: 'agent.enroll' },
  {
    method: 'post',
    path: '/v1/agents/enroll',
    tags: tag,
    summary: 'Enrol an agent',
    description:
      'With a bootstrap token, which binds cluster and labels. The same key enrols to the same agent again; its token of before ends.',
    request: { body: { required: true, content: { 'application/json': { schema: wire.enrollRequest } } } },
    responses: { 200: answers(wire.enrollResponse, 'the agent is enrolled'), ...errors(409) },
  },
);

const desired = secured(
  { permission: 'agent.self' },
  {
    method: 'get',
    path: '/v1/agents/me/desired',
    tags: tag,
    summary: 'Get the desired state of the agent',
    description:
      'With `If-None-Match` and `wait`, answers as soon as there is another than the one named, or 304 when the time is over. `payload` is the JSON text of a DesiredState.',
    request: {
      headers: z.object({ 'if-none-match': z.string().max(256).optional() }),
      query: z.object({
        wait: z.coerce
          .number()
          .min(0)
          .max(wire.waitSecondsMax)
          .default(0)
          .openapi({ description: 'seconds' }),
      }),
    },
    responses: {
      200: { ...answers(wire.signedDesiredState, 'another state'), headers: etagHeader },
      304: { description: 'it is still the one named', headers: etagHeader },
    },
  },
);

const filter = secured(
  { permission: 'agent.self' },
  {
    method: 'get',
    path: '/v1/agents/me/filters/{digest}',
    tags: tag,
    summary: 'Download a filter of the desired state',
    request: { params: z.object({ digest: wire.digest }) },
    responses: {
      200: { description: 'the module', content: { 'application/wasm': { schema: binary('the module') } } },
      ...errors(404, 503),
    },
  },
);

const report = secured(
  { permission: 'agent.self', bytesMax: wire.bodyBytesMax.report },
  {
    method: 'post',
    path: '/v1/agents/me/reports',
    tags: tag,
    summary: 'Report what is in force on the agent',
    request: { body: { required: true, content: { 'application/json': { schema: wire.agentReport } } } },
    responses: { 202: answers(wire.reportAccepted, 'the report takes the place of the one before') },
  },
);

const segment = (method: 'put' | 'post') =>
  secured(
    { permission: 'agent.self', bytesMax: wire.bodyBytesMax.segment },
    {
      method,
      path: '/v1/agents/me/segments/{sequence}',
      tags: tag,
      summary: 'Upload a segment',
      description: 'It is verified and stored before the answer. Sending one again answers `duplicate`.',
      request: {
        params: z.object({
          sequence: z
            .string()
            .regex(/^(0|[1-9][0-9]{0,15})$/, { error: 'must be a whole number from 0, below 10^16' }),
        }),
        body: { required: true, content: { 'application/octet-stream': { schema: binary('the segment') } } },
      },
      responses: {
        200: answers(wire.segmentResult, 'it was there already'),
        201: answers(wire.segmentResult, 'it is stored'),
        ...errors(409, 422, 503),
      },
    },
  );

const list = secured(
  { permission: 'agent.read' },
  {
    method: 'get',
    path: '/v1/agents',
    tags: tag,
    summary: 'List agents',
    responses: { 200: answers(wire.agentList, 'all agents') },
  },
);

const get = secured(
  { permission: 'agent.read' },
  {
    method: 'get',
    path: '/v1/agents/{id}',
    tags: tag,
    summary: 'Get an agent and its last report',
    request: { params },
    responses: { 200: answers(wire.agentWithReport, 'the agent'), ...errors(404) },
  },
);

const revoke = secured(
  { permission: 'agent.revoke' },
  {
    method: 'delete',
    path: '/v1/agents/{id}',
    tags: tag,
    summary: 'Revoke an agent',
    description: 'Its token and its key are refused from then on.',
    request: { params },
    responses: { 204: { description: 'it is revoked' }, ...errors(404) },
  },
);

export function agentRoutes(app: App): void {
  app.openapi(enroll, async (c) => {
    return c.json(await enrollAgent(c.get('services'), c.get('principal'), c.req.valid('json')), 200);
  });
  app.openapi(desired, async (c) => {
    const { etag, signed } = await desiredState(c.get('services'), c.get('principal'), {
      known: c.req.valid('header')['if-none-match'],
      waitMs: c.req.valid('query').wait * 1000,
      signal: c.req.raw.signal,
    });
    if (signed === undefined) return c.body(null, 304, { etag });
    return c.json(signed, 200, { etag, 'cache-control': 'private, no-cache' });
  });
  app.openapi(filter, async (c) => {
    const { digest } = c.req.valid('param');
    const module = await desiredFilter(c.get('services'), c.get('principal'), digest);
    return c.body(module, 200, { 'content-type': 'application/wasm', etag: `"${digest}"` });
  });
  app.openapi(report, async (c) => {
    await acceptReport(c.get('services'), c.get('principal'), c.req.valid('json'));
    return c.json({ status: 'accepted' as const }, 202);
  });
  for (const method of ['put', 'post'] as const) {
    app.openapi(segment(method), async (c) => {
      const sequence = BigInt(c.req.valid('param').sequence);
      const bytes = await readBytes(c.req);
      const result = await acceptSegment(c.get('services'), c.get('principal'), sequence, bytes);
      return c.json(result, result.status === 'stored' ? 201 : 200);
    });
  }
  app.openapi(list, async (c) => {
    return c.json({ agents: await listAgents(c.get('services'), c.get('principal')) }, 200);
  });
  app.openapi(get, async (c) => {
    return c.json(await getAgent(c.get('services'), c.get('principal'), c.req.valid('param').id), 200);
  });
  app.openapi(revoke, async (c) => {
    await revokeAgent(c.get('services'), c.get('principal'), c.req.valid('param').id);
    return c.body(null, 204);
  });
}
