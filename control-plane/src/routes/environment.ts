// SPDX-License-Identifier: Apache-2.0
// Owns what routes share: the context of a request, the guard, the limit of bodies, and the answers that any route
// can give.
import { createRoute, type OpenAPIHono, type RouteConfig, z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { bodyBytesMax, errorBody } from '../api/wire.js';
import { authorise, type Permission, type Principal, permissions } from '../auth/permissions.js';
import { recogniseToken } from '../auth/tokens.js';
import type { Bytes } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import type { Services } from '../services/context.js';

export interface Environment {
  Variables: { services: Services; principal: Principal };
}

export type App = OpenAPIHono<Environment>;

const unauthenticated = () =>
  new ControlPlaneError(
    'unauthenticated',
    'Send a valid token: `Authorization: Bearer …`. The one sent is missing, unknown, expired or revoked.',
  );

/** Recognises the token and refuses whoever may not do this, before any of the body is read. */
function guard(permission: Permission): MiddlewareHandler<Environment> {
  return async (c, next) => {
    const services = c.get('services');
    const row = await recogniseToken(services.store, c.req.header('authorization'), services.clock.nowMs());
    if (row === undefined) throw unauthenticated();
    const principal: Principal = {
      tokenId: row.id,
      role: row.role,
      agentId: row.agentId,
      cluster: row.cluster,
      labels: row.labels ?? {},
    };
    authorise(principal, permission);
    c.set('principal', principal);
    await next();
  };
}

function limit(bytesMax: number): MiddlewareHandler<Environment> {
  return bodyLimit({
    maxSize: bytesMax,
    onError: () => {
      throw new ControlPlaneError('too_large', `The body is longer than ${bytesMax} bytes.`);
    },
  });
}

const errorDescriptions = {
  400: 'the request is malformed',
  401: 'the token is missing, unknown, expired or revoked',
  403: 'the role of the token may not do this',
  404: 'there is no such thing',
  409: 'it conflicts with what is there',
  413: 'the body is too long',
  415: 'the type of the body is another',
  422: 'it was understood, and refused',
  503: 'not now; try again',
  504: 'it took too long',
} as const;

/** Answers with an error body, by status. */
export function errors(...statuses: Array<keyof typeof errorDescriptions>) {
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      { description: errorDescriptions[status], content: { 'application/json': { schema: errorBody } } },
    ]),
  );
}

/** The successful answer with a JSON body. */
export function answers<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

/** A body of bytes as the document shows it; handlers read the bytes themselves. */
export function binary(description: string) {
  return z.any().openapi({ type: 'string', format: 'binary', description });
}

interface SecuredRoute {
  readonly permission: Permission;
  /** Default: JSON's. */
  readonly bytesMax?: number;
}

/** Makes a route with guard, body limit and what the document says of both. */
export function secured<const R extends Omit<RouteConfig, 'path'> & { path: string }>(
  { permission, bytesMax = bodyBytesMax.json }: SecuredRoute,
  config: R,
) {
  return createRoute({
    ...config,
    security: [{ bearer: [] }],
    middleware: [guard(permission), limit(bytesMax)],
    'x-weir-permission': permission,
    'x-weir-roles': [...permissions[permission]],
    responses: { ...errors(400, 401, 403, 413), ...config.responses } as R['responses'],
  });
}

/** Reads a body of bytes; its limit was set by the route. */
export async function readBytes(request: { arrayBuffer(): Promise<ArrayBuffer> }): Promise<Bytes> {
  return new Uint8Array(await request.arrayBuffer());
}

export const flag = z.enum(['true', 'false']).optional();
