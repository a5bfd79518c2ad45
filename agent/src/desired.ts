// SPDX-License-Identifier: Apache-2.0
// Owns what is to be in force: policies and filters, wherever they come from, and what became of each.
import { createHash } from 'node:crypto';
import type { FilterSignature } from '@weir/filter-accept';
import type { FilterHost, FilterSource } from '@weir/filter-host';
import { type Policy, parsePolicies } from '@weir/policy';
import type { PolicySet } from './policy/index.js';
import type { FilterState, PolicyStatus } from './socket/types.js';
import type { FilterTrust } from './trust.js';

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
  /** Authors' signatures, where it came with any. */
  readonly signatures?: readonly FilterSignature[];
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
  readonly trust: FilterTrust;
  /** All policies in monitor mode. */
  readonly monitor: boolean;
}

/** Brings policies and filters into force. One after the other: calls wait for those before them. */
export class Desired {
  readonly #options: DesiredOptions;
  #policies: PolicyStatus[] = [];
  /** By where each came from: the policies of its last text that could be read. */
  #parsed = new Map<string, readonly Policy[]>();
  #refusedFilters: FilterState[] = [];
  /** What was put in force last. */
  #running: readonly FilterModule[] = [];
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
    const parsed: { policy: Policy; digest: string | undefined; unreadable?: string }[] = [];
    const former: typeof parsed = [];
    const readable = new Map<string, readonly Policy[]>();
    for (const { origin, text, digest } of texts) {
      try {
        const policies = parsePolicies(text).map((policy) =>
          this.#options.monitor ? inMonitorMode(policy) : policy,
        );
        readable.set(origin, policies);
        parsed.push(...policies.map((policy) => ({ policy, digest })));
      } catch (error) {
        const unreadable = error instanceof Error ? error.message : String(error);
        // A text that says nothing does not say that its policies are to go.
        const before = this.#parsed.get(origin) ?? [];
        if (before.length === 0) statuses.push(refused(origin, 'enforce', unreadable, digest));
        readable.set(origin, before);
        former.push(...before.map((policy) => ({ policy, digest, unreadable })));
      }
    }
    this.#parsed = readable;
    // Behind those that were read: of two of the same name the first counts.
    parsed.push(...former);
    const set = this.#options.policies;
    if (set === undefined) {
      for (const { policy, digest, unreadable } of parsed) {
        const reason = unreadable ?? this.#options.noPolicies;
        statuses.push(refused(policy.name, modeOf(policy), reason, digest, policy.namespace));
      }
    } else {
      const outcomes = await set.apply(parsed.map(({ policy }) => policy));
      for (const [index, outcome] of outcomes.entries()) {
        const from = parsed[index];
        if (from === undefined) continue;
        const reason = from.unreadable ?? outcome.reason;
        statuses.push({
          name: outcome.name,
          namespace: outcome.namespace,
          state: reason !== undefined ? 'refused' : outcome.skippedHooks.length > 0 ? 'partial' : 'loaded',
          mode: modeOf(from.policy),
          ...(reason === undefined ? {} : { reason }),
          hooks: outcome.hooks,
          skippedHooks: outcome.skippedHooks,
          ...(outcome.unprevented.length === 0 ? {} : { unprevented: outcome.unprevented }),
          ...(from.digest === undefined ? {} : { digest: from.digest }),
        });
      }
    }
    this.#policies = statuses;
    return statuses;
  }

  /**
   * All that are wanted, in the order in which they run. One that no trusted author signed is left out; where another
   * of its name runs, that one stays in its place. Where the list is refused for another reason, the one before stays.
   */
  applyFilters(wanted: readonly FilterModule[]): Promise<FilterState[]> {
    return this.#queued(async () => {
      const { modules, untrusted } = await this.#trusted(wanted);
      try {
        await this.#options.host.setFilters(
          modules.map(({ bytes, config }) => (config === undefined ? { bytes } : { bytes, config })),
        );
        this.#running = modules;
        this.#refusedFilters = untrusted;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const inForce = new Set(this.#options.host.status().map(({ digest }) => digest));
        this.#refusedFilters = [
          ...untrusted,
          ...modules
            .filter(({ digest }) => digest === undefined || !inForce.has(digest.replace(/^sha256:/, '')))
            .map((module) => refusedFilter(module, reason)),
        ];
      }
      return this.filters();
    });
  }

  /** Sorts out what no trusted author signed. */
  async #trusted(
    wanted: readonly FilterModule[],
  ): Promise<{ modules: readonly FilterModule[]; untrusted: FilterState[] }> {
    const { trust } = this.#options;
    if (!trust.required) return { modules: wanted, untrusted: [] };
    let unreadable: string | undefined;
    await trust.read().catch((error: unknown) => {
      unreadable = error instanceof Error ? error.message : String(error);
    });
    const modules: FilterModule[] = [];
    const untrusted: FilterState[] = [];
    for (const module of wanted) {
      // Of the bytes that would run, whatever they are said to be.
      const digest = `sha256:${createHash('sha256').update(module.bytes).digest('hex')}`;
      const check =
        module.digest !== undefined && module.digest !== digest
          ? { ok: false as const, reason: `its digest is ${digest}, not ${module.digest}` }
          : await trust.check(digest, module.signatures ?? []);
      if (check.ok) {
        modules.push(module);
        continue;
      }
      untrusted.push(
        refusedFilter(module, unreadable ?? `no author whom this agent trusts signed it: ${check.reason}`),
      );
      const before = this.#running.find(({ name }) => name === module.name);
      if (before !== undefined && unreadable === undefined) {
        const still = `sha256:${createHash('sha256').update(before.bytes).digest('hex')}`;
        if ((await trust.check(still, before.signatures ?? [])).ok) modules.push(before);
      }
    }
    return { modules, untrusted };
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
        fuel: status.fuel,
        heldBack: status.heldBack,
      }),
    );
    return [...running, ...this.#refusedFilters];
  }
}

const noCounts = {
  events: 0,
  kept: 0,
  dropped: 0,
  traps: 0,
  alerts: 0,
  cpuNs: 0,
  memoryBytes: 0,
  fuel: 0,
  heldBack: 0,
};

function refusedFilter({ name, version, digest }: FilterModule, reason: string): FilterState {
  return { name, version: version ?? '', digest: digest ?? '', state: 'refused', reason, ...noCounts };
}

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
