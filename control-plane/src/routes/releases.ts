// SPDX-License-Identifier: Apache-2.0
// Owns the routes of releases.
import * as wire from '../api/wire.js';
import { getRelease, listReleases, putRelease } from '../services/releases.js';
import { type App, answers, errors, secured } from './environment.js';

const tag = ['releases'];

const get = secured(
  { permission: 'release.read' },
  {
    method: 'get',
    path: '/v1/release',
    tags: tag,
    summary: 'Get the release in force',
    responses: { 200: answers(wire.release, 'what agents are to run') },
  },
);

const put = secured(
  { permission: 'release.put' },
  {
    method: 'put',
    path: '/v1/release',
    tags: tag,
    summary: 'Put a release in force',
    description: 'The whole set, filters in the order in which they run.',
    request: {
      body: { required: true, content: { 'application/json': { schema: wire.putReleaseRequest } } },
    },
    responses: { 200: answers(wire.release, 'it is in force'), ...errors(409, 503) },
  },
);

const list = secured(
  { permission: 'release.read' },
  {
    method: 'get',
    path: '/v1/releases',
    tags: tag,
    summary: 'List the releases that were in force',
    responses: { 200: answers(wire.releaseList, 'the newest 100, newest first') },
  },
);

export function releaseRoutes(app: App): void {
  app.openapi(get, async (c) => c.json(await getRelease(c.get('services'), c.get('principal')), 200));
  app.openapi(put, async (c) => {
    return c.json(await putRelease(c.get('services'), c.get('principal'), c.req.valid('json')), 200);
  });
  app.openapi(list, async (c) => {
    return c.json({ releases: await listReleases(c.get('services'), c.get('principal')) }, 200);
  });
}
