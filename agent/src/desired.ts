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

export type PolicyMode = 'enforce' | 'monitor';

/** Makes a policy do what it says, or say only what it would have done. */
export function inMode(policy: Policy, mode: PolicyMode): Policy {
  const options = (policy.spec.options ?? []).filter(({ name }) => name !== 'policy-mode');
  return { ...policy, spec: { ...policy.spec, options: [...options, { name: 'policy-mode', value: mode }] } };
}

/** Why the mode of a policy was not set. */
export class SetModeError extends Error {
  override readonly name = 'SetModeError';
}

function keyOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`;
}

function modeOf(policy: Policy): PolicyMode {
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
  /** What was wanted last. */
  #texts: readonly PolicyText[] = [];
  /** Modes that were set by hand, by namespace and name. Each holds for as long as the policy is wanted. */
  readonly #modes = new Map<string, PolicyMode>();
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

  /**
   * Sets the mode of a policy, whatever its own option says, until it is set again or the policy is no longer wanted.
   * @throws {SetModeError} where there is no such policy, or it cannot be in force in this mode: then it is as before
   */
  setMode(
    policy: { readonly name: string; readonly namespace: string },
    mode: PolicyMode,
  ): Promise<PolicyStatus> {
    return this.#queued(async () => {
      const key = keyOf(policy);
      const isKnown = [...this.#parsed.values()].flat().some((other) => keyOf(other) === key);
      if (!isKnown) {
        const names = [...this.#parsed.values()].flat().map(({ name }) => name);
        const known = names.length === 0 ? 'there are none' : `there are ${names.slice(0, 20).join(', ')}`;
        throw new SetModeError(`there is no policy ${policy.name} here: ${known}`);
      }
      if (this.#options.monitor && mode === 'enforce')
        throw new SetModeError(
          'this agent runs with --monitor: all of its policies only say what they would do',
        );
      const former = this.#modes.get(key);
      this.#modes.set(key, mode);
      const status = (await this.#applyPolicies(this.#texts)).find((other) => keyOf(other) === key);
      if (status !== undefined && status.state !== 'refused') return status;
      if (former === undefined) this.#modes.delete(key);
      else this.#modes.set(key, former);
      await this.#applyPolicies(this.#texts);
      throw new SetModeError(status?.reason ?? 'it is not in force');
    });
  }

  /** A policy in the mode that it is to have. */
  #inItsMode(policy: Policy): Policy {
    const mode = this.#options.monitor ? 'monitor' : this.#modes.get(keyOf(policy));
    return mode === undefined ? policy : inMode(policy, mode);
  }

  async #applyPolicies(texts: readonly PolicyText[]): Promise<PolicyStatus[]> {
    const statuses: PolicyStatus[] = [];
    const parsed: { policy: Policy; digest: string | undefined; unreadable?: string }[] = [];
    const former: typeof parsed = [];
    const readable = new Map<string, readonly Policy[]>();
    for (const { origin, text, digest } of texts) {
      try {
        const policies = parsePolicies(text);
        readable.set(origin, policies);
        parsed.push(...policies.map((policy) => ({ policy: this.#inItsMode(policy), digest })));
      } catch (error) {
        const unreadable = error instanceof Error ? error.message : String(error);
        // A text that says nothing does not say that its policies are to go.
        const before = this.#parsed.get(origin) ?? [];
        if (before.length === 0) statuses.push(refused(origin, 'enforce', unreadable, digest));
        readable.set(origin, before);
        former.push(...before.map((policy) => ({ policy: this.#inItsMode(policy), digest, unreadable })));
      }
    }
    this.#parsed = readable;
    this.#texts = texts;
    const wanted = new Set([...readable.values()].flat().map(keyOf));
    for (const key of this.#modes.keys()) if (!wanted.has(key)) this.#modes.delete(key);
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
          ...(this.#modes.has(keyOf(from.policy)) ? { modeIsSet: true } : {}),
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
        ...(status.quarantine === undefined
          ? {}
          : { code: status.quarantine.code, reason: status.quarantine.reason }),
        events: status.events,
        kept: status.kept,
        dropped: status.dropped,
        traps: status.traps,
        alerts: status.alerts,
        cpuNs: Math.round(status.processorNs),
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
