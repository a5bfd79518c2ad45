// SPDX-License-Identifier: Apache-2.0
// Owns the routes of authors' keys.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import { addFilterKey, listFilterKeys, retireFilterKey } from '../services/filter-keys.js';
import { type App, answers, errors, secured } from './environment.js';

const tags = ['filters'];

const add = secured(
  { permission: 'filter-key.add' },
  {
    method: 'post',
    path: '/v1/filter-keys',
    tags,
    summary: "Trust an author's key",
    description: 'From the first key on, filters must be signed by one that is trusted and not retired.',
    request: {
      body: { required: true, content: { 'application/json': { schema: wire.addFilterKeyRequest } } },
    },
    responses: {
      200: answers(wire.filterKey, 'it is trusted already'),
      201: answers(wire.filterKey, 'it is trusted from now on'),
      ...errors(409),
    },
  },
);

const list = secured(
  { permission: 'filter-key.read' },
  {
    method: 'get',
    path: '/v1/filter-keys',
    tags,
    summary: "List authors' keys",
    responses: { 200: answers(wire.filterKeyList, 'all keys, retired ones too') },
  },
);

const retire = secured(
  { permission: 'filter-key.retire' },
  {
    method: 'delete',
    path: '/v1/filter-keys/{id}',
    tags,
    summary: "Retire an author's key",
    request: { params: z.object({ id: wire.filterKeyId }) },
    responses: { 204: { description: 'it is retired: it signs nothing new' }, ...errors(404) },
  },
);

export function filterKeyRoutes(app: App): void {
  app.openapi(add, async (c) => {
    const { key, created } = await addFilterKey(c.get('services'), c.get('principal'), c.req.valid('json'));
    return c.json(key, created ? 201 : 200);
  });
  app.openapi(list, async (c) => {
    return c.json({ keys: await listFilterKeys(c.get('services'), c.get('principal')) }, 200);
  });
  app.openapi(retire, async (c) => {
    await retireFilterKey(c.get('services'), c.get('principal'), c.req.valid('param').id);
    return c.body(null, 204);
  });
}
