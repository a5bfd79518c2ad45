// SPDX-License-Identifier: Apache-2.0
// Owns what is to be in force: policies and filters, wherever they come from, and what became of each.
import type { FilterHost, FilterSource } from '@weir/filter-host';
import { type Policy, parsePolicies } from '@weir/policy';
import type { PolicySet } from './policy/index.js';
import type { FilterState, PolicyStatus } from './socket/types.js';

/** A policy's text, as it came. */
export interface PolicyText {
  /** Where it came from, for messages. */
  readonly origin: string;
  readonly text: string;
  readonly digest?: string;
}

export interface FilterModule extends FilterSource {
  readonly name: string;
  readonly version?: string;
  readonly digest?: string;
}

/** Makes a policy say only what it would have done. */
export function inMonitorMode(policy: Policy): Policy {
  const options = (policy.spec.options ?? []).filter(({ name }) => name !== 'policy-mode');
  return {
    ...policy,
    spec: { ...policy.spec, options: [...options, { name: 'policy-mode', value: 'monitor' }] },
  };
}

function modeOf(policy: Policy): 'enforce' | 'monitor' {
  const monitor = policy.spec.options?.some(
    ({ name, value }) => name === 'policy-mode' && value === 'monitor',
  );
  return monitor === true ? 'monitor' : 'enforce';
}

export interface DesiredOptions {
  readonly policies: PolicySet | undefined;
  /** Why there is no set of policies. */
  readonly noPolicies: string;
  readonly host: FilterHost;
  /** All policies in monitor mode. */
  readonly monitor: boolean;
}

/** Brings policies and filters into force. One after the other: calls wait for those before them. */
export class Desired {
  readonly #options: DesiredOptions;
  #policies: PolicyStatus[] = [];
  #refusedFilters: FilterState[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: DesiredOptions) {
    this.#options = options;
  }

  /** All that are wanted: what is in force and not among them goes. */
  applyPolicies(texts: readonly PolicyText[]): Promise<PolicyStatus[]> {
    return this.#queued(() => this.#applyPolicies(texts));
  }

  async #applyPolicies(texts: readonly PolicyText[]): Promise<PolicyStatus[]> {
    const statuses: PolicyStatus[] = [];
    const parsed: { policy: Policy; digest: string | undefined }[] = [];
    for (const { origin, text, digest } of texts) {
      try {
        for (const policy of parsePolicies(text)) {
          parsed.push({ policy: this.#options.monitor ? inMonitorMode(policy) : policy, digest });
        }
      } catch (error) {
        statuses.push(
          refused(origin, 'enforce', error instanceof Error ? error.message : String(error), digest),
        );
      }
    }
    const set = this.#options.policies;
    if (set === undefined) {
      for (const { policy, digest } of parsed) {
        statuses.push(
          refused(policy.name, modeOf(policy), this.#options.noPolicies, digest, policy.namespace),
        );
      }
    } else {
      const outcomes = await set.apply(parsed.map(({ policy }) => policy));
      for (const [index, outcome] of outcomes.entries()) {
        const from = parsed[index];
        if (from === undefined) continue;
        statuses.push({
          name: outcome.name,
          namespace: outcome.namespace,
          state:
            outcome.state === 'refused' ? 'refused' : outcome.skippedHooks.length > 0 ? 'partial' : 'loaded',
          mode: modeOf(from.policy),
          ...(outcome.reason === undefined ? {} : { reason: outcome.reason }),
          hooks: outcome.hooks,
          skippedHooks: outcome.skippedHooks,
          ...(from.digest === undefined ? {} : { digest: from.digest }),
        });
      }
    }
    this.#policies = statuses;
    return statuses;
  }

  /** All that are wanted, in the order in which they run. Where the list is refused, the one before stays. */
  applyFilters(modules: readonly FilterModule[]): Promise<FilterState[]> {
    return this.#queued(async () => {
      try {
        await this.#options.host.setFilters(
          modules.map(({ bytes, config }) => (config === undefined ? { bytes } : { bytes, config })),
        );
        this.#refusedFilters = [];
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const inForce = new Set(this.#options.host.status().map(({ digest }) => digest));
        this.#refusedFilters = modules
          .filter(({ digest }) => digest === undefined || !inForce.has(digest.replace(/^sha256:/, '')))
          .map(({ name, version, digest }) => ({
            name,
            version: version ?? '',
            digest: digest ?? '',
            state: 'refused' as const,
            reason,
            ...noCounts,
          }));
      }
      return this.filters();
    });
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  policies(): readonly PolicyStatus[] {
    return this.#policies;
  }

  filters(): FilterState[] {
    const running = this.#options.host.status().map(
      (status): FilterState => ({
        name: status.name,
        version: status.version,
        digest: status.digest,
        state: status.quarantine === undefined ? 'loaded' : 'quarantined',
        ...(status.quarantine === undefined ? {} : { reason: status.quarantine.reason }),
        events: status.events,
        kept: status.kept,
        dropped: status.dropped,
        traps: status.traps,
        alerts: status.alerts,
        cpuNs: status.nanoseconds,
        memoryBytes: status.memoryBytes,
      }),
    );
    return [...running, ...this.#refusedFilters];
  }
}

const noCounts = { events: 0, kept: 0, dropped: 0, traps: 0, alerts: 0, cpuNs: 0, memoryBytes: 0 };

function refused(
  name: string,
  mode: 'enforce' | 'monitor',
  reason: string,
  digest: string | undefined,
  namespace = '',
): PolicyStatus {
  return {
    name,
    namespace,
    state: 'refused',
    mode,
    reason,
    hooks: [],
    skippedHooks: [],
    ...(digest === undefined ? {} : { digest }),
  };
}
