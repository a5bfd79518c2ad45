// SPDX-License-Identifier: Apache-2.0
// Owns the keys of authors: which are trusted, and what an upload must show where any is. A key is retired, never
// deleted: what it signed stays as it is, and it signs nothing new.
import { checkFilterSignatures, type FilterSignature, filterKey } from '@weir/filter-accept';
import type { AddFilterKeyRequest, FilterKey } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { ControlPlaneError } from '../errors.js';
import type { FilterKeyRow } from '../store/store.js';
import { auditOf, type Services } from './context.js';

function toWire(row: FilterKeyRow): FilterKey {
  const { retiredMs, ...rest } = row;
  return { ...rest, ...(retiredMs === undefined ? {} : { retiredMs }) };
}

export async function addFilterKey(
  services: Services,
  principal: Principal,
  request: AddFilterKeyRequest,
): Promise<{ key: FilterKey; created: boolean }> {
  authorise(principal, 'filter-key.add');
  const { id, publicKey } = await filterKey(request.publicKey);
  const row: FilterKeyRow = {
    id,
    publicKey,
    description: request.description ?? '',
    createdMs: services.clock.nowMs(),
    createdBy: principal.tokenId,
    retiredMs: undefined,
  };
  const created = await services.store.insertFilterKey(
    row,
    auditOf(services, principal, 'filter-key.add', id),
  );
  if (created) return { key: toWire(row), created };
  const existing = (await services.store.listFilterKeys()).find((other) => other.id === id);
  if (existing?.publicKey !== publicKey || existing.retiredMs !== undefined) {
    throw new ControlPlaneError(
      'conflict',
      `The key ${id} is retired: it does not come back. Make a new one.`,
    );
  }
  return { key: toWire(existing), created };
}

export async function listFilterKeys(services: Services, principal: Principal): Promise<FilterKey[]> {
  authorise(principal, 'filter-key.read');
  return (await services.store.listFilterKeys()).map(toWire);
}

export async function retireFilterKey(services: Services, principal: Principal, id: string): Promise<void> {
  authorise(principal, 'filter-key.retire');
  const audit = auditOf(services, principal, 'filter-key.retire', id);
  if (!(await services.store.retireFilterKey(id, services.clock.nowMs(), audit))) {
    throw new ControlPlaneError('not_found', `There is no key ${id} that could be retired.`);
  }
}

/**
 * Checks that a module is signed by a key that is trusted and not retired. Where no key was ever trusted, nothing is
 * asked: the release's own signature is then all that agents go by, and whatever keys they hold.
 * @throws {ControlPlaneError} `untrusted_filter`
 */
export async function requireTrustedSignature(
  services: Services,
  filter: { name: string; version: string; digest: string },
  signatures: readonly FilterSignature[],
): Promise<void> {
  const keys = await services.store.listFilterKeys();
  if (keys.length === 0) return;
  const retired = keys.filter(({ retiredMs }) => retiredMs !== undefined);
  const trusted = keys.filter(({ retiredMs }) => retiredMs === undefined);
  const check = await checkFilterSignatures(filter.digest, signatures, trusted);
  if (check.ok) return;
  const named = retired.find(({ id }) => signatures.some(({ keyId }) => keyId === id));
  const reason = named === undefined ? check.reason : `key ${named.id} is retired`;
  throw new ControlPlaneError(
    'untrusted_filter',
    `Version ${filter.version} of filter ${filter.name} is refused: ${reason}. Sign it with a key that is trusted here: weir filter push --key FILE.`,
    [{ path: 'signature', message: reason }],
  );
}
