// SPDX-License-Identifier: Apache-2.0
// Owns the app: routes, and the one place where errors become answers. Stateless; nothing of Node in it, so that it
// can run in a Workers runtime. What it needs is passed in.
import { createRoute, OpenAPIHono } from '@hono/zod-openapi';
import { HTTPException } from 'hono/http-exception';
import { errorBody, health, signingKey } from './api/wire.js';
import { ControlPlaneError, type ErrorDetail } from './errors.js';
import { Metrics } from './metrics.js';
import { administrationRoutes } from './routes/administration.js';
import { agentRoutes } from './routes/agents.js';
import { archiveRoutes } from './routes/archive.js';
import { type App, answers, type Environment, errors, secured } from './routes/environment.js';
import { filterKeyRoutes } from './routes/filter-keys.js';
import { filterRoutes } from './routes/filters.js';
import { policyRoutes } from './routes/policies.js';
import { releaseRoutes } from './routes/releases.js';
import type { Services } from './services/context.js';
import { metricsOf } from './services/metrics.js';

export interface AppOptions {
  readonly services: Services;
  readonly metrics?: Metrics;
}

export const openApiInfo = {
  openapi: '3.1.0',
  info: {
    title: 'Weir control plane',
    version: '1',
    description: 'Filters, policies, releases, agents and the archive of Weir.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
};

const maxDetails = 50;

/** `[ 'policies', 0, 'name' ]` as `policies[0].name`. */
function pathOf(target: string, path: readonly PropertyKey[]): string {
  let text = target === 'json' ? '' : target;
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}

function toError(cause: unknown): ControlPlaneError {
  if (cause instanceof ControlPlaneError) return cause;
  if (cause instanceof HTTPException) {
    if (cause.status === 413)
      return new ControlPlaneError('too_large', 'The body is too long.', [], { cause });
    if (cause.status === 415) {
      return new ControlPlaneError(
        'unsupported_media_type',
        'The type of the body is another than the route takes.',
        [],
        { cause },
      );
    }
    if (cause.status < 500)
      return new ControlPlaneError('invalid', `The request is malformed: ${cause.message}.`, [], { cause });
  }
  return new ControlPlaneError('internal', 'The control plane failed; its log has the reason.', [], {
    cause,
  });
}

const healthRoute = createRoute({
  method: 'get',
  path: '/health',
  tags: ['service'],
  summary: 'Is the process alive?',
  responses: { 200: answers(health, 'it is') },
});

const readyRoute = createRoute({
  method: 'get',
  path: '/ready',
  tags: ['service'],
  summary: 'Can it serve? Its database answers.',
  responses: { 200: answers(health, 'it can'), ...errors(503) },
});

const keyRoute = createRoute({
  method: 'get',
  path: '/v1/signing-key',
  tags: ['service'],
  summary: 'Get the public key that signs desired states',
  responses: { 200: answers(signingKey, 'the key') },
});

const metricsRoute = secured(
  { permission: 'metrics.read' },
  {
    method: 'get',
    path: '/metrics',
    tags: ['service'],
    summary: 'Get counters of this replica, for Prometheus',
    responses: { 200: { description: 'text form of Prometheus' } },
  },
);

/** Makes the app. Handlers work from the request and the services alone. */
export function createApp({ services, metrics = new Metrics() }: AppOptions): App {
  const app = new OpenAPIHono<Environment>({
    defaultHook: (result) => {
      if (result.success) return;
      const details: ErrorDetail[] = result.error.issues.slice(0, maxDetails).map((issue) => ({
        path: pathOf(result.target, issue.path),
        message: issue.message,
      }));
      throw new ControlPlaneError('invalid', 'The request is refused.', details);
    },
  });

  app.use('*', async (c, next) => {
    c.set('services', services);
    const startMs = services.clock.nowMs();
    await next();
    c.header('x-content-type-options', 'nosniff');
    // The route's pattern, not the path: paths hold names, and labels of metrics must stay few.
    const route = c.req.routePath === '/*' || c.req.routePath === '*' ? 'none' : c.req.routePath;
    metrics.count('weir_http_requests_total', { method: c.req.method, route, status: String(c.res.status) });
    if (c.res.status >= 500) {
      const durationMs = services.clock.nowMs() - startMs;
      services.log({
        level: 'warn',
        message: 'request failed',
        method: c.req.method,
        route,
        status: c.res.status,
        durationMs,
      });
    }
  });

  app.onError((cause, c) => {
    const error = toError(cause);
    if (error.code === 'internal') {
      const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      services.log({ level: 'error', message: 'a handler failed', reason });
    }
    // What is left unread of a body would be taken for the next request: the connection ends with this answer.
    if (c.req.raw.body !== null && !c.req.raw.bodyUsed) c.header('connection', 'close');
    return c.json(error.toBody(), error.status);
  });
  app.notFound((c) => {
    const error = new ControlPlaneError('not_found', 'There is no such route; /openapi.json lists them.');
    return c.json(error.toBody(), error.status);
  });

  app.openapi(healthRoute, (c) => c.json({ status: 'ok' as const }, 200));
  app.openapi(readyRoute, async (c) => {
    try {
      await services.store.ping();
    } catch (cause) {
      throw new ControlPlaneError('unavailable', 'The database does not answer.', [], { cause });
    }
    return c.json({ status: 'ok' as const }, 200);
  });
  app.openapi(keyRoute, (c) => c.json({ publicKey: services.signer.publicKey }, 200));
  app.openapi(metricsRoute, async (c) => c.text(await metricsOf(services, c.get('principal'), metrics), 200));
  filterRoutes(app);
  filterKeyRoutes(app);
  policyRoutes(app);
  releaseRoutes(app);
  agentRoutes(app);
  archiveRoutes(app);
  administrationRoutes(app);

  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' });
  app.openAPIRegistry.register('Error', errorBody);
  // Made once: whoever asks, without a token, must not make it each time.
  let document: ReturnType<typeof app.getOpenAPI31Document> | undefined;
  app.get('/openapi.json', (c) => {
    document ??= app.getOpenAPI31Document(openApiInfo);
    return c.json(document);
  });
  return app;
}
