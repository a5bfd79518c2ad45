// SPDX-License-Identifier: Apache-2.0
// Owns the reading of the audit trail; its rows are written by the store, with the change that they tell of.
import type { AuditEntry } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import type { Services } from './context.js';

export async function listAudit(services: Services, principal: Principal): Promise<AuditEntry[]> {
  authorise(principal, 'audit.read');
  return services.store.listAudit();
}
