// SPDX-License-Identifier: Apache-2.0
// Owns the making and revoking of tokens by hand. Tokens of agents are made by enrolment alone.
import type { CreatedToken, CreateTokenRequest, Token } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { createToken } from '../auth/tokens.js';
import { ControlPlaneError } from '../errors.js';
import type { TokenRow } from '../store/store.js';
import { auditOf, type Services } from './context.js';

function toWire(row: TokenRow): Token {
  return {
    id: row.id,
    role: row.role,
    description: row.description,
    ...(row.cluster === undefined ? {} : { cluster: row.cluster }),
    ...(row.labels === undefined ? {} : { labels: row.labels }),
    ...(row.agentId === undefined ? {} : { agentId: row.agentId }),
    createdMs: row.createdMs,
    ...(row.expiresMs === undefined ? {} : { expiresMs: row.expiresMs }),
    ...(row.revokedMs === undefined ? {} : { revokedMs: row.revokedMs }),
  };
}

export async function makeToken(
  services: Services,
  principal: Principal,
  request: CreateTokenRequest,
): Promise<CreatedToken> {
  authorise(principal, 'token.create');
  const { id, hash, token } = await createToken();
  const row: TokenRow = {
    id,
    role: request.role,
    hash,
    description: request.description ?? '',
    cluster: request.cluster,
    labels: request.labels,
    agentId: undefined,
    createdMs: services.clock.nowMs(),
    expiresMs: request.expiresMs,
    revokedMs: undefined,
  };
  await services.store.insertToken(row, auditOf(services, principal, 'token.create', id, { role: row.role }));
  return { token: toWire(row), secret: token };
}

export async function listTokens(services: Services, principal: Principal): Promise<Token[]> {
  authorise(principal, 'token.read');
  return (await services.store.listTokens()).map(toWire);
}

export async function revokeToken(services: Services, principal: Principal, id: string): Promise<void> {
  authorise(principal, 'token.revoke');
  const audit = auditOf(services, principal, 'token.revoke', id);
  if (!(await services.store.revokeToken(id, services.clock.nowMs(), audit))) {
    throw new ControlPlaneError('not_found', `There is no token ${id} that could be revoked.`);
  }
}
