// SPDX-License-Identifier: Apache-2.0
// Owns the routes of tokens and audit.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import { listAudit } from '../services/audit.js';
import { listTokens, makeToken, revokeToken } from '../services/tokens.js';
import { type App, answers, errors, secured } from './environment.js';

const createToken = secured(
  { permission: 'token.create' },
  {
    method: 'post',
    path: '/v1/tokens',
    tags: ['tokens'],
    summary: 'Create a token',
    request: {
      body: { required: true, content: { 'application/json': { schema: wire.createTokenRequest } } },
    },
    responses: { 201: answers(wire.createdToken, 'the token, shown once') },
  },
);

const tokens = secured(
  { permission: 'token.read' },
  {
    method: 'get',
    path: '/v1/tokens',
    tags: ['tokens'],
    summary: 'List tokens',
    responses: { 200: answers(wire.tokenList, 'all tokens, without their secrets') },
  },
);

const revoke = secured(
  { permission: 'token.revoke' },
  {
    method: 'delete',
    path: '/v1/tokens/{id}',
    tags: ['tokens'],
    summary: 'Revoke a token',
    request: { params: z.object({ id: wire.line(64).min(1) }) },
    responses: { 204: { description: 'it is revoked' }, ...errors(404) },
  },
);

const audit = secured(
  { permission: 'audit.read' },
  {
    method: 'get',
    path: '/v1/audit',
    tags: ['audit'],
    summary: 'List who changed what',
    responses: { 200: answers(wire.auditList, 'the newest first') },
  },
);

export function administrationRoutes(app: App): void {
  app.openapi(createToken, async (c) => {
    return c.json(await makeToken(c.get('services'), c.get('principal'), c.req.valid('json')), 201);
  });
  app.openapi(tokens, async (c) => {
    return c.json({ tokens: await listTokens(c.get('services'), c.get('principal')) }, 200);
  });
  app.openapi(revoke, async (c) => {
    await revokeToken(c.get('services'), c.get('principal'), c.req.valid('param').id);
    return c.body(null, 204);
  });
  app.openapi(audit, async (c) => {
    return c.json({ entries: await listAudit(c.get('services'), c.get('principal')) }, 200);
  });
}
