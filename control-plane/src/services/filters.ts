// SPDX-License-Identifier: Apache-2.0
// Owns filters: accepted, stored by digest, immutable by name and version. Name and version are the module's own, so
// that a module means the same wherever it is found.
import { acceptModule } from '@weir/filter-accept';
import type { Filter, FilterConfig, UploadedFilter } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { type Bytes, digestOf } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import type { FilterRow } from '../store/store.js';
import { auditOf, type Services } from './context.js';
import { releaseFilter } from './releases.js';

export async function uploadFilter(
  services: Services,
  principal: Principal,
  module: Bytes,
  options: { config: FilterConfig | undefined; release: boolean },
): Promise<UploadedFilter> {
  authorise(principal, 'filter.create');
  const accepted = acceptModule(module);
  if (!accepted.ok) {
    throw new ControlPlaneError('invalid_filter', `The module is refused: ${accepted.reason}.`, [
      { path: accepted.code, message: accepted.reason },
    ]);
  }
  const { manifest } = accepted;
  const digest = await digestOf(module);
  const row: FilterRow = {
    name: manifest.name,
    version: manifest.version,
    digest,
    bytes: module.length,
    manifest: {
      ...manifest,
      binds: { kinds: [...manifest.binds.kinds], policies: [...manifest.binds.policies] },
    },
    config: options.config ?? {},
    createdMs: services.clock.nowMs(),
    createdBy: principal.tokenId,
  };
  // The module goes first: a row never points at what is not there. A module without a row is only space.
  await services.modules.put(digest, module);
  const audit = auditOf(services, principal, 'filter.create', `${row.name}@${row.version}`, { digest });
  const created = await services.store.insertFilter(row, audit);
  let stored = row;
  if (!created) {
    const existing = await services.store.findFilter(row.name, row.version);
    if (existing?.digest !== digest) {
      throw new ControlPlaneError(
        'conflict',
        `Version ${row.version} of filter ${row.name} is there already, with another content; versions never change: raise "version" in the manifest.`,
        [{ path: 'manifest.version', message: `${row.version} is taken` }],
      );
    }
    stored = existing;
  }
  const base = { filter: filterToWire(stored), created };
  if (!options.release) return base;
  const { name, version, bytes } = stored;
  const config = options.config ?? stored.config;
  return {
    ...base,
    releaseSequence: await releaseFilter(services, principal, { name, version, digest, bytes, config }),
  };
}

export function filterToWire(row: FilterRow): Filter {
  return { ...row };
}

export async function listFilters(services: Services, principal: Principal): Promise<Filter[]> {
  authorise(principal, 'filter.read');
  return (await services.store.listFilters()).map(filterToWire);
}

export async function getFilter(
  services: Services,
  principal: Principal,
  name: string,
  version: string,
): Promise<Filter> {
  authorise(principal, 'filter.read');
  const row = await services.store.findFilter(name, version);
  if (row === undefined)
    throw new ControlPlaneError('not_found', `There is no version ${version} of filter ${name}.`);
  return filterToWire(row);
}

export async function downloadFilter(
  services: Services,
  principal: Principal,
  name: string,
  version: string,
): Promise<{ digest: string; module: Bytes }> {
  const { digest } = await getFilter(services, principal, name, version);
  return { digest, module: await moduleOf(services, digest) };
}

/** Reads a module and verifies it: the blob store is not trusted for integrity. */
export async function moduleOf(services: Services, digest: string): Promise<Bytes> {
  const module = await services.modules.get(digest);
  if (module === undefined)
    throw new ControlPlaneError('unavailable', `The module ${digest} is not in the blob store.`);
  if ((await digestOf(module)) !== digest) {
    services.log({ level: 'error', message: 'a module in the blob store does not have its digest', digest });
    throw new ControlPlaneError(
      'unavailable',
      `The module ${digest} in the blob store does not have its digest.`,
    );
  }
  return module;
}
