// SPDX-License-Identifier: Apache-2.0
// Owns what is to be in force: policies and filters, wherever they come from, and what became of each.
import { createHash } from 'node:crypto';
import type { FilterSignature } from '@weir/filter-accept';
import { type FilterHost, FilterHostError, type FilterSource } from '@weir/filter-host';
import { type Policy, parsePolicies } from '@weir/policy';
import type { PolicyOutcome, PolicySet } from './policy/index.js';
import type { FilterState, PolicyStatus } from './socket/types.js';
import { type FilterTrust, FilterTrustError } from './trust.js';

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

function digestOf({ bytes }: FilterModule): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
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
  /** Told what is amiss and does not stop anything. */
  readonly onError?: (code: string, message: string) => void;
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
  #keptWithoutKeys = 0;
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
          state: stateOf(outcome, from.unreadable !== undefined),
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
   * of its name runs, that one stays in its place. Where the list is refused for another reason, the one before stays; where
   * none was in force, those that are not to blame run.
   */
  applyFilters(wanted: readonly FilterModule[]): Promise<FilterState[]> {
    return this.#queued(async () => {
      const { modules, untrusted } = await this.#trusted(wanted);
      const refused = [...untrusted];
      let list = modules;
      // Each turn ends, or leaves one out.
      for (;;) {
        try {
          await this.#options.host.setFilters(
            list.map(({ bytes, config }) => (config === undefined ? { bytes } : { bytes, config })),
          );
          this.#running = list;
          break;
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          const blamed = error instanceof FilterHostError ? error.source : undefined;
          const module = blamed === undefined ? undefined : list[blamed];
          if (module === undefined || this.#options.host.status().length > 0) {
            const inForce = new Set(this.#options.host.status().map(({ digest }) => digest));
            refused.push(
              ...list
                .filter(({ digest }) => digest === undefined || !inForce.has(digest.replace(/^sha256:/, '')))
                .map((one) => refusedFilter(one, reason)),
            );
            break;
          }
          refused.push(refusedFilter(module, reason));
          list = list.filter((one) => one !== module);
        }
      }
      this.#refusedFilters = refused;
      return this.filters();
    });
  }

  /** Sorts out what no trusted author signed. Where the keys cannot be read, what runs stays, and nothing new comes. */
  async #trusted(
    wanted: readonly FilterModule[],
  ): Promise<{ modules: readonly FilterModule[]; untrusted: FilterState[] }> {
    const { trust } = this.#options;
    if (!trust.required) return { modules: wanted, untrusted: [] };
    let unreadable: string | undefined;
    let isKnown = true;
    await trust.read().catch((error: unknown) => {
      unreadable = error instanceof Error ? error.message : String(error);
      // Keys that were taken away are known to be gone; of those that cannot be read nothing is known.
      isKnown = error instanceof FilterTrustError && error.code === 'no-filter-key';
    });
    const modules: FilterModule[] = [];
    const untrusted: FilterState[] = [];
    let kept = 0;
    for (const module of wanted) {
      const before = this.#running.find(({ name }) => name === module.name);
      // Of the bytes that would run, whatever they are said to be.
      const digest = digestOf(module);
      if (!isKnown && before !== undefined) {
        // The signature of what runs was checked as it was loaded. It says nothing of configurations: the same module is
        // taken with another one.
        const isSame = digestOf(before) === digest && (module.digest ?? digest) === digest;
        modules.push(isSame ? module : before);
        kept++;
        if (!isSame) untrusted.push(refusedFilter(module, unreadable ?? ''));
        continue;
      }
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
      if (before !== undefined && (await trust.check(digestOf(before), before.signatures ?? [])).ok) {
        modules.push(before);
      }
    }
    if (kept > 0) this.#keptUntrusted(kept, unreadable ?? '');
    return { modules, untrusted };
  }

  #keptUntrusted(count: number, unreadable: string): void {
    this.#keptWithoutKeys += count;
    this.#options.onError?.(
      'filter-key',
      `${unreadable}; ${count} filters whose signatures were checked before stay in force, no other is taken`,
    );
  }

  /** How often a filter was kept in force though its author's key could not be read. */
  get keptWithoutKeys(): number {
    return this.#keptWithoutKeys;
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
        labelsRefused: status.labelsRefused,
        logLinesLost: status.logLinesLost,
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
  labelsRefused: 0,
  logLinesLost: 0,
};

function refusedFilter({ name, version, digest }: FilterModule, reason: string): FilterState {
  return { name, version: version ?? '', digest: digest ?? '', state: 'refused', reason, ...noCounts };
}

function stateOf(
  { state, reason, skippedHooks }: PolicyOutcome,
  isUnreadable: boolean,
): PolicyStatus['state'] {
  if (isUnreadable) return 'refused';
  if (state === 'skipped') return 'skipped';
  if (reason !== undefined) return 'refused';
  return skippedHooks.length > 0 ? 'partial' : 'loaded';
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
