// SPDX-License-Identifier: Apache-2.0
// Owns policies: validated by the same code that plans them, stored as they were sent, versions immutable.
import {
  type Policy as ParsedPolicy,
  PolicyError,
  type PolicyIssue,
  parsePolicies,
  validate,
} from '@weir/policy';
import type { CreatedPolicy, Policy, PolicyWithSource, Retired } from '../api/types.js';
import { authorise, type Principal } from '../auth/permissions.js';
import { digestOf, utf8 } from '../crypto.js';
import { ControlPlaneError, type ErrorDetail } from '../errors.js';
import type { PolicySummary } from '../store/store.js';
import { auditOf, type Services, triesMax } from './context.js';
import { head, releasePolicy, unreleasePolicy } from './releases.js';

/** Issues that one answer names. */
const issuesMax = 50;

function toDetail(issue: PolicyIssue): ErrorDetail {
  return {
    path: issue.path,
    message: issue.line > 0 ? `line ${issue.line}: ${issue.message}` : issue.message,
  };
}

function refused(issues: readonly PolicyIssue[], cause?: unknown): ControlPlaneError {
  return new ControlPlaneError('invalid_policy', 'The policy is refused.', issues.map(toDetail), { cause });
}

/** @throws {ControlPlaneError} `invalid_policy`, with a detail for each field that is wrong. */
function parse(source: string): { policy: ParsedPolicy; warnings: ErrorDetail[] } {
  // YAML allows none anywhere; PostgreSQL stores no text that has one.
  if (source.includes('\0')) {
    throw new ControlPlaneError('invalid_policy', 'The policy is refused.', [
      { path: '', message: `character ${source.indexOf('\0') + 1} is a NUL` },
    ]);
  }
  let policies: ParsedPolicy[];
  try {
    policies = parsePolicies(source);
  } catch (cause) {
    if (!(cause instanceof PolicyError)) throw cause;
    throw refused(cause.issues, cause);
  }
  const [policy, second] = policies;
  if (policy === undefined || second !== undefined) {
    throw new ControlPlaneError('invalid_policy', 'Send one policy a request.', [
      { path: '', message: `the text holds ${policies.length} policies` },
    ]);
  }
  const { errors, warnings } = validate(policy);
  if (errors.length > 0) throw refused(errors.slice(0, issuesMax));
  return { policy, warnings: warnings.slice(0, issuesMax).map(toDetail) };
}

function toWire(row: PolicySummary, released: ReadonlySet<string>): Policy {
  return {
    name: row.name,
    ...(row.namespace === '' ? {} : { namespace: row.namespace }),
    kind: row.kind,
    version: row.version,
    digest: row.digest,
    enabled: released.has(`${row.namespace}/${row.name}@${row.version}`),
    createdMs: row.createdMs,
    createdBy: row.createdBy,
    ...(row.retiredMs === undefined ? {} : { retiredMs: row.retiredMs }),
  };
}

async function releasedPolicies(services: Services): Promise<Set<string>> {
  const { release } = await head(services);
  return new Set(release.policies.map((policy) => `${policy.namespace}/${policy.name}@${policy.version}`));
}

export async function createPolicy(
  services: Services,
  principal: Principal,
  source: string,
  options: { release: boolean },
): Promise<CreatedPolicy> {
  authorise(principal, 'policy.create');
  const { policy: parsed, warnings } = parse(source);
  const { name, kind, namespace } = parsed;
  const digest = await digestOf(utf8(source));
  const row = {
    name,
    namespace,
    kind,
    digest,
    source,
    createdMs: services.clock.nowMs(),
    createdBy: principal.tokenId,
  };
  let version: number | undefined;
  let created = false;
  for (let tries = 0; version === undefined; tries++) {
    if (tries === triesMax)
      throw new ControlPlaneError('busy', `Many changed policy ${name} at the same moment; try again.`);
    const newest = await services.store.findPolicy(name, namespace);
    if (newest?.digest === digest && newest.retiredMs === undefined) {
      version = newest.version;
      continue;
    }
    const audit = auditOf(
      services,
      principal,
      'policy.create',
      namespace === '' ? name : `${namespace}/${name}`,
      { digest },
    );
    version = await services.store.insertPolicy(row, audit);
    created = version !== undefined;
  }
  const releaseSequence = options.release
    ? await releasePolicy(services, principal, { name, namespace, version, digest })
    : undefined;
  const stored = await services.store.findPolicy(name, namespace, version);
  if (stored === undefined)
    throw new ControlPlaneError('internal', `Policy ${name} is not where it was put.`);
  return {
    policy: toWire(stored, await releasedPolicies(services)),
    created,
    warnings,
    ...(releaseSequence === undefined ? {} : { releaseSequence }),
  };
}

export async function listPolicies(services: Services, principal: Principal): Promise<Policy[]> {
  authorise(principal, 'policy.read');
  const released = await releasedPolicies(services);
  return (await services.store.listPolicies()).map((row) => toWire(row, released));
}

export async function getPolicy(
  services: Services,
  principal: Principal,
  name: string,
  namespace: string,
  version: number | undefined,
): Promise<PolicyWithSource> {
  authorise(principal, 'policy.read');
  const row = await services.store.findPolicy(name, namespace, version);
  if (row === undefined) {
    const which = version === undefined ? 'policy' : `version ${version} of policy`;
    throw new ControlPlaneError('not_found', `There is no ${which} ${name}.`);
  }
  return { ...toWire(row, await releasedPolicies(services)), source: row.source };
}

/** Takes a policy from the release in force and retires its versions; history keeps them. */
export async function retirePolicy(
  services: Services,
  principal: Principal,
  name: string,
  namespace: string,
): Promise<Retired> {
  authorise(principal, 'policy.retire');
  const policy = await services.store.findPolicy(name, namespace);
  if (policy === undefined) throw new ControlPlaneError('not_found', `There is no policy ${name}.`);
  // First out of the release: should the second step fail, sending the request again finishes it.
  const releaseSequence = await unreleasePolicy(services, principal, { name, namespace });
  const audit = auditOf(
    services,
    principal,
    'policy.retire',
    namespace === '' ? name : `${namespace}/${name}`,
  );
  const retired = await services.store.retirePolicy(name, namespace, services.clock.nowMs(), audit);
  return { retired, releaseSequence };
}
