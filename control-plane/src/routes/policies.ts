// SPDX-License-Identifier: Apache-2.0
// Owns the routes of policies.
import { z } from '@hono/zod-openapi';
import * as wire from '../api/wire.js';
import { ControlPlaneError } from '../errors.js';
import { createPolicy, getPolicy, listPolicies, retirePolicy } from '../services/policies.js';
import { type App, answers, binary, errors, flag, readBytes, secured } from './environment.js';

const tag = ['policies'];
const params = z.object({ name: wire.line(253).min(1) });
const namespace = wire.line(253).optional();

const create = secured(
  { permission: 'policy.create', bytesMax: wire.bodyBytesMax.policy },
  {
    method: 'post',
    path: '/v1/policies',
    tags: tag,
    summary: 'Create a policy, or a new version of it',
    description:
      'The YAML of one TracingPolicy. It is checked; each wrong field is named. Unless `release=false` it is put into the release in force.',
    request: {
      query: z.object({ release: flag }),
      body: { required: true, content: { 'application/yaml': { schema: binary('the YAML') } } },
    },
    responses: {
      200: answers(wire.createdPolicy, 'this very text is the newest version already'),
      201: answers(wire.createdPolicy, 'the policy is stored'),
      ...errors(422, 503),
    },
  },
);

const list = secured(
  { permission: 'policy.read' },
  {
    method: 'get',
    path: '/v1/policies',
    tags: tag,
    summary: 'List policies',
    responses: { 200: answers(wire.policyList, 'the newest version of each') },
  },
);

const get = secured(
  { permission: 'policy.read' },
  {
    method: 'get',
    path: '/v1/policies/{name}',
    tags: tag,
    summary: 'Get a policy',
    request: {
      params,
      query: z.object({ namespace, version: z.coerce.number().int().min(1).optional() }),
    },
    responses: { 200: answers(wire.policyWithSource, 'the policy'), ...errors(404) },
  },
);

const retire = secured(
  { permission: 'policy.retire' },
  {
    method: 'delete',
    path: '/v1/policies/{name}',
    tags: tag,
    summary: 'Retire a policy',
    description: 'Takes it out of the release in force; its versions stay in history.',
    request: { params, query: z.object({ namespace }) },
    responses: { 200: answers(wire.retired, 'it is no longer in force'), ...errors(404, 503) },
  },
);

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function policyRoutes(app: App): void {
  app.openapi(create, async (c) => {
    let source: string;
    try {
      source = decoder.decode(await readBytes(c.req));
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause;
      throw new ControlPlaneError('invalid_policy', 'The text is not valid UTF-8.', [], { cause });
    }
    const created = await createPolicy(c.get('services'), c.get('principal'), source, {
      release: c.req.valid('query').release !== 'false',
    });
    return c.json(created, created.created ? 201 : 200);
  });
  app.openapi(list, async (c) => {
    return c.json({ policies: await listPolicies(c.get('services'), c.get('principal')) }, 200);
  });
  app.openapi(get, async (c) => {
    const { namespace: space = '', version } = c.req.valid('query');
    const { name } = c.req.valid('param');
    return c.json(await getPolicy(c.get('services'), c.get('principal'), name, space, version), 200);
  });
  app.openapi(retire, async (c) => {
    const { namespace: space = '' } = c.req.valid('query');
    const { name } = c.req.valid('param');
    return c.json(await retirePolicy(c.get('services'), c.get('principal'), name, space), 200);
  });
}
