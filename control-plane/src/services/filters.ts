// SPDX-License-Identifier: Apache-2.0
// Owns filters: accepted, stored by digest, immutable by name and version. Name and version are the module's own, so
// that a module means the same wherever it is found.
import { acceptModule, FILTER_SIGNATURES_MAX } from '@weir/filter-accept';
import type { Filter, FilterConfig, FilterSignature, UploadedFilter } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { type Bytes, digestOf } from '../crypto.js';
import { ControlPlaneError } from '../errors.js';
import type { FilterRow } from '../store/store.js';
import { auditOf, type Services } from './context.js';
import { requireTrustedSignature } from './filter-keys.js';
import { releaseFilter } from './releases.js';

export async function uploadFilter(
  services: Services,
  principal: Principal,
  module: Bytes,
  options: {
    config: FilterConfig | undefined;
    release: boolean;
    signature?: FilterSignature | undefined;
  },
): Promise<UploadedFilter> {
  authorise(principal, 'filter.create');
  const accepted = acceptModule(module, services.filterLimits);
  if (!accepted.ok) {
    throw new ControlPlaneError('invalid_filter', `The module is refused: ${accepted.reason}.`, [
      { path: accepted.code, message: accepted.reason },
    ]);
  }
  if (!accepted.configurable && Object.keys(options.config ?? {}).length > 0) {
    // Each agent would refuse it, and with it the release that it comes in.
    const reason = 'is given a configuration but exports no weir_configure';
    throw new ControlPlaneError('invalid_filter', `The module ${reason}.`, [
      { path: 'config', message: reason },
    ]);
  }
  const { manifest } = accepted;
  const digest = await digestOf(module);
  await checkSignature(
    services,
    { name: manifest.name, version: manifest.version, digest },
    options.signature,
  );
  const row: FilterRow = {
    name: manifest.name,
    version: manifest.version,
    digest,
    bytes: module.length,
    manifest: {
      ...manifest,
      binds: {
        ...manifest.binds,
        kinds: [...manifest.binds.kinds],
        policies: [...manifest.binds.policies],
      },
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
  if (options.signature !== undefined) await keepSignature(services, principal, stored, options.signature);
  const signatures = await signaturesOf(services, digest);
  const base = { filter: filterToWire(stored, signatures), created };
  if (!options.release) return base;
  const { name, version, bytes } = stored;
  const config = options.config ?? stored.config;
  return {
    ...base,
    releaseSequence: await releaseFilter(services, principal, {
      name,
      version,
      digest,
      bytes,
      config,
      ...(signatures.length === 0 ? {} : { signatures }),
    }),
  };
}

/** Refuses what is not signed as it must be; where no key is trusted here, what a signature is worth is the agents' to say. */
async function checkSignature(
  services: Services,
  filter: { name: string; version: string; digest: string },
  signature: FilterSignature | undefined,
): Promise<void> {
  const given = signature === undefined ? [] : [signature];
  await requireTrustedSignature(services, filter, given);
}

async function keepSignature(
  services: Services,
  principal: Principal,
  { name, version, digest }: FilterRow,
  { keyId, signature }: FilterSignature,
): Promise<void> {
  const there = await signaturesOf(services, digest);
  const known = there.find((other) => other.keyId === keyId);
  if (known?.signature === signature) return;
  if (known === undefined && there.length >= FILTER_SIGNATURES_MAX) {
    throw new ControlPlaneError(
      'conflict',
      `Version ${version} of filter ${name} has ${FILTER_SIGNATURES_MAX} signatures already.`,
    );
  }
  const createdMs = services.clock.nowMs();
  await services.store.insertFilterSignature(
    { digest, keyId, signature, createdMs, createdBy: principal.tokenId },
    auditOf(services, principal, 'filter.sign', `${name}@${version}`, { digest, key: keyId }),
  );
}

/** Signatures of a module, as they are handed on. */
export async function signaturesOf(services: Services, digest: string): Promise<FilterSignature[]> {
  const rows = (await services.store.filterSignatures([digest])).get(digest) ?? [];
  return rows.map(({ keyId, signature }) => ({ keyId, signature }));
}

export function filterToWire(row: FilterRow, signatures: FilterSignature[]): Filter {
  return { ...row, signatures };
}

export async function listFilters(services: Services, principal: Principal): Promise<Filter[]> {
  authorise(principal, 'filter.read');
  const rows = await services.store.listFilters();
  const signatures = await services.store.filterSignatures(rows.map(({ digest }) => digest));
  return rows.map((row) => {
    const found = signatures.get(row.digest) ?? [];
    return filterToWire(
      row,
      found.map(({ keyId, signature }) => ({ keyId, signature })),
    );
  });
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
  return filterToWire(row, await signaturesOf(services, row.digest));
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
