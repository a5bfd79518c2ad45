// SPDX-License-Identifier: Apache-2.0
// Owns who may do what. Every service begins with `authorise`; a route's guard calls it too, so that the body of one
// who may not is never read.
import { ControlPlaneError } from '../errors.js';
import type { Labels, Role } from '../store/store.js';

export const permissions = {
  'agent.enroll': ['bootstrap'],
  'agent.self': ['agent'],
  'agent.read': ['admin', 'reader'],
  'agent.revoke': ['admin'],
  'archive.read': ['admin', 'reader'],
  'audit.read': ['admin', 'reader'],
  'filter.create': ['admin'],
  'filter.read': ['admin', 'reader'],
  'filter-key.add': ['admin'],
  'filter-key.read': ['admin', 'reader'],
  'filter-key.retire': ['admin'],
  'metrics.read': ['admin', 'reader'],
  'policy.create': ['admin'],
  'policy.read': ['admin', 'reader'],
  'policy.retire': ['admin'],
  'release.put': ['admin'],
  'release.read': ['admin', 'reader'],
  'token.create': ['admin'],
  'token.read': ['admin'],
  'token.revoke': ['admin'],
} as const satisfies Record<string, readonly Role[]>;

export type Permission = keyof typeof permissions;

/** Who asks, as its token says. What an agent says of itself is no part of it. */
export interface Principal {
  readonly tokenId: string;
  readonly role: Role;
  /** Of an agent's token. */
  readonly agentId: string | undefined;
  /** Of a bootstrap token. */
  readonly cluster: string | undefined;
  readonly labels: Labels;
}

/** @throws {ControlPlaneError} `forbidden` */
export function authorise(principal: Principal, permission: Permission): void {
  const roles: readonly Role[] = permissions[permission];
  if (!roles.includes(principal.role)) {
    throw new ControlPlaneError(
      'forbidden',
      `A token with the role ${principal.role} may not do this; it takes ${roles.join(' or ')}.`,
    );
  }
}

/** Gives the id of the agent that asks; there is no other way to name an agent on the routes of agents. */
export function authoriseAgent(principal: Principal): string {
  authorise(principal, 'agent.self');
  if (principal.agentId === undefined)
    throw new ControlPlaneError('forbidden', 'The token belongs to no agent.');
  return principal.agentId;
}
