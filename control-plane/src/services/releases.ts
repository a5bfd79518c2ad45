// SPDX-License-Identifier: Apache-2.0
// Owns releases and what moves a target from one to another. A release is an immutable set, addressed by the digest
// of its content; a rollout is a target's step to a release, with a sequence that only rises.
import type { PutReleaseRequest, Release } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { digestOf, utf8 } from '../crypto.js';
import { ControlPlaneError, type ErrorDetail } from '../errors.js';
import type { ReleasedFilter, ReleaseRow, RolloutRow } from '../store/store.js';
import { auditOf, defaultTarget, type Services, triesMax } from './context.js';
import { requireTrustedSignature } from './filter-keys.js';

type Content = Omit<ReleaseRow, 'digest'>;

/** Filters that one release may hold. */
export const releasedFiltersMax = 64;

const empty: Content = { policies: [], filters: [], settings: {} };

/** JSON with the keys of objects in order, so that equal content has one digest. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonical(entry)}`).join(',')}}`;
}

async function releaseOf(content: Content): Promise<ReleaseRow> {
  const policies = [...content.policies].sort((a, b) => {
    const [left, right] = [`${a.namespace}\0${a.name}`, `${b.namespace}\0${b.name}`];
    return left < right ? -1 : left > right ? 1 : 0;
  });
  // Named one by one: what came with the digest of another release must not keep it.
  const sorted: Content = { policies, filters: content.filters, settings: content.settings };
  return { digest: await digestOf(utf8(canonical(sorted))), ...sorted };
}

export async function head(
  services: Services,
): Promise<{ rollout: RolloutRow | undefined; release: ReleaseRow }> {
  const rollout = await services.store.headRollout(defaultTarget);
  if (rollout === undefined) return { rollout, release: await releaseOf(empty) };
  const release = await services.store.findRelease(rollout.digest);
  if (release === undefined) {
    throw new ControlPlaneError(
      'internal',
      `Release ${rollout.digest} of rollout ${rollout.sequence} is not there.`,
    );
  }
  return { rollout, release };
}

/**
 * Takes the target from the release in force to what `edit` makes of it; gives the sequence. Where the content stays
 * what it is, nothing is written and the sequence is that in force. Others may change it at the same moment: then it
 * is edited again from what they made.
 */
async function change(
  services: Services,
  principal: Principal,
  action: string,
  edit: (content: Content, sequence: number) => Promise<Content> | Content,
): Promise<{ rollout: RolloutRow; release: ReleaseRow }> {
  for (let tries = 0; tries < triesMax; tries++) {
    const now = await head(services);
    const sequence = now.rollout?.sequence ?? 0;
    const release = await releaseOf(await edit(now.release, sequence));
    if (now.rollout !== undefined && release.digest === now.release.digest) {
      return { rollout: now.rollout, release };
    }
    const rollout: RolloutRow = {
      sequence: sequence + 1,
      target: defaultTarget,
      digest: release.digest,
      fromDigest: now.rollout?.digest,
      createdMs: services.clock.nowMs(),
      createdBy: principal.tokenId,
    };
    const audit = auditOf(services, principal, action, defaultTarget, {
      sequence: rollout.sequence,
      digest: release.digest,
      from: now.rollout?.digest ?? null,
    });
    if (await services.store.insertRollout(rollout, release, audit)) {
      services.watch.announce();
      return { rollout, release };
    }
  }
  throw new ControlPlaneError('busy', 'Many changed the release at the same moment; try again.');
}

function toWire(rollout: RolloutRow, release: ReleaseRow): Release {
  return {
    sequence: rollout.sequence,
    target: rollout.target,
    digest: release.digest,
    ...(rollout.fromDigest === undefined ? {} : { fromDigest: rollout.fromDigest }),
    content: {
      policies: release.policies.map(({ name, namespace, version }) => ({
        name,
        ...(namespace === '' ? {} : { namespace }),
        version,
      })),
      filters: release.filters.map(({ name, version, config }) => ({ name, version, config })),
      settings: release.settings,
    },
    createdMs: rollout.createdMs,
    createdBy: rollout.createdBy,
  };
}

export async function getRelease(services: Services, principal: Principal): Promise<Release> {
  authorise(principal, 'release.read');
  const { rollout, release } = await head(services);
  return toWire(
    rollout ?? {
      sequence: 0,
      target: defaultTarget,
      digest: release.digest,
      fromDigest: undefined,
      createdMs: 0,
      createdBy: '',
    },
    release,
  );
}

export async function listReleases(services: Services, principal: Principal): Promise<Release[]> {
  authorise(principal, 'release.read');
  const rollouts = (await services.store.listRollouts(defaultTarget)).slice(0, 100);
  const found = new Map<string, ReleaseRow>();
  for (const { digest } of rollouts) {
    if (found.has(digest)) continue;
    const release = await services.store.findRelease(digest);
    if (release !== undefined) found.set(digest, release);
  }
  return rollouts.flatMap((rollout) => {
    const release = found.get(rollout.digest);
    return release === undefined ? [] : [toWire(rollout, release)];
  });
}

/** Looks up each part of the request; every one that is wrong is named. */
async function resolve(services: Services, request: PutReleaseRequest): Promise<Content> {
  const details: ErrorDetail[] = [];
  const policies: Array<Content['policies'][number]> = [];
  const seen = new Set<string>();
  for (const [index, { name, namespace = '', version }] of request.policies.entries()) {
    const path = `policies[${index}]`;
    const key = `${namespace}/${name}`;
    if (seen.has(key)) details.push({ path, message: `names policy ${name} a second time` });
    seen.add(key);
    const policy = await services.store.findPolicy(name, namespace, version);
    if (policy === undefined)
      details.push({ path, message: `there is no version ${version} of policy ${name}` });
    else policies.push({ name, namespace, version, digest: policy.digest });
  }
  const filters: Array<Content['filters'][number]> = [];
  for (const [index, { name, version, config }] of request.filters.entries()) {
    const path = `filters[${index}]`;
    const filter = await services.store.findFilter(name, version);
    if (filters.some((other) => other.name === name)) {
      details.push({ path: `${path}.name`, message: `names filter ${name} a second time` });
    } else if (filter === undefined) {
      details.push({ path, message: `there is no version ${version} of filter ${name}` });
    } else {
      const { digest, bytes } = filter;
      const signed = (await services.store.filterSignatures([digest])).get(digest) ?? [];
      const signatures = signed.map(({ keyId, signature }) => ({ keyId, signature }));
      await requireTrustedSignature(services, filter, signatures);
      filters.push({
        name,
        version,
        digest,
        bytes,
        config: config ?? filter.config,
        ...(signatures.length === 0 ? {} : { signatures }),
      });
    }
  }
  if (details.length > 0)
    throw new ControlPlaneError('invalid', 'The release names what is not there.', details);
  return { policies, filters, settings: request.settings ?? {} };
}

export async function putRelease(
  services: Services,
  principal: Principal,
  request: PutReleaseRequest,
): Promise<Release> {
  authorise(principal, 'release.put');
  const content = await resolve(services, request);
  const { rollout, release } = await change(services, principal, 'release.put', (_, sequence) => {
    if (request.expectedSequence !== undefined && request.expectedSequence !== sequence) {
      throw new ControlPlaneError(
        'conflict',
        `The release in force has sequence ${sequence}, not ${request.expectedSequence}.`,
        [{ path: 'expectedSequence', message: `is ${request.expectedSequence}, in force is ${sequence}` }],
      );
    }
    return content;
  });
  return toWire(rollout, release);
}

/** Puts a policy into the release in force, in the place of another version of it; gives the sequence. */
export async function releasePolicy(
  services: Services,
  principal: Principal,
  policy: Content['policies'][number],
): Promise<number> {
  const { rollout } = await change(services, principal, 'release.policy', (content) => ({
    ...content,
    policies: [...content.policies.filter((other) => !samePolicy(other, policy)), policy],
  }));
  return rollout.sequence;
}

/** Takes a policy out of the release in force; gives the sequence. */
export async function unreleasePolicy(
  services: Services,
  principal: Principal,
  policy: { name: string; namespace: string },
): Promise<number> {
  const { rollout } = await change(services, principal, 'release.policy', (content) => ({
    ...content,
    policies: content.policies.filter((other) => !samePolicy(other, policy)),
  }));
  return rollout.sequence;
}

/** Puts a filter into the release in force: in the place of another version of it, or last. */
export async function releaseFilter(
  services: Services,
  principal: Principal,
  filter: ReleasedFilter,
): Promise<number> {
  const { rollout } = await change(services, principal, 'release.filter', (content) => {
    const filters = [...content.filters];
    const index = filters.findIndex((other) => other.name === filter.name);
    if (index < 0 && filters.length >= releasedFiltersMax) {
      throw new ControlPlaneError(
        'conflict',
        `The release has ${releasedFiltersMax} filters already; put one without some of them first.`,
      );
    }
    if (index < 0) filters.push(filter);
    else filters[index] = filter;
    return { ...content, filters };
  });
  return rollout.sequence;
}

function samePolicy(a: { name: string; namespace: string }, b: { name: string; namespace: string }): boolean {
  return a.name === b.name && a.namespace === b.namespace;
}
