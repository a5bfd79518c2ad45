// SPDX-License-Identifier: Apache-2.0
// Owns which policies are in force, and the way from one set to the next: plan, attach what is new beside what is
// there, write the new configurations beside the old ones, flip each hook by one store, wait until no run can use the
// old, delete that. A policy comes into force as a whole or not at all, and one that cannot leaves its former
// version in force.
import {
  type FollowedLink,
  generateLists,
  type HookPlan,
  imaFileOf,
  type KernelNames,
  type Plan,
  type Policy,
  PolicyError,
  type PolicyIssue,
  pagesOf,
  plan,
  type RealPath,
  resolveArgumentTypes,
  resolveLinks,
  type ScopePlan,
  selectsNode,
  workloadField,
} from '@weir/policy';
import { EventKind, limits } from '@weir/schema';
import { type Binding, BindingTable, bindingIdsOf, idOfBinding } from './bindings.js';
import { digestOf, ignoresMissing, keyOf, sameSpec, shapeOf } from './digests.js';
import {
  checkLimits,
  encodeHookConfig,
  encodeHookEntries,
  encodeScopeConfig,
  encodeScopeEntries,
  encodeSpec,
  type HostNamespaces,
} from './encode.js';
import type { MapEntry } from './entries.js';
import { PolicyLoadError } from './errors.js';
import { kernelTypeOf } from './fields.js';
import type { HookKernel } from './hook-kernel.js';
import type { HookProgram } from './hook-program.js';
import { hostRealPath } from './host-paths.js';
import { RunningKernelNames } from './kernel-names.js';
import { type ProcessList, processesInProc, uptimeTicks } from './known-processes.js';
import { Lineages } from './lineages.js';
import { type HookReport, type HookStatus, type PolicyOutcome, skippedOutcome } from './outcomes.js';
import { preventionOf, prevents } from './prevention.js';
import { refuseActions } from './refused-actions.js';
import { placesOf } from './tracepoint.js';
import { userRequestOf } from './user-hooks.js';
import { type Workload, type WorkloadChange, Workloads } from './workloads.js';

export interface PolicySetOptions {
  readonly kernel: HookKernel;
  readonly hostNamespaces: HostNamespaces;
  /** How links of this host are followed; by default as its first process does. */
  readonly realPath?: RealPath;
  /** Of this node; none by default. */
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** What runs now, and where it comes from; by default what /proc says. */
  readonly processes?: ProcessList;
  /** What this kernel has; by default it is asked. */
  readonly names?: KernelNames;
  /** What of a policy's GetUrl and DnsLookup is not done here; by default all of it. */
  readonly refusedActions?: (policy: Policy) => readonly PolicyIssue[];
}

interface ActiveHook {
  readonly hookId: number;
  plan: HookPlan;
  digest: string;
  shape: string;
  program: HookProgram;
  specId: number;
  configId: number;
  /** Of the two configurations that a hook has room for. */
  configSlot: 0 | 1;
  scopeGeneration: number;
  entries: readonly MapEntry[];
}

interface ActiveScopes {
  readonly digest: string;
  readonly generation: number;
  readonly plan: ScopePlan;
  readonly entries: readonly MapEntry[];
}

/** A policy that is to be in force, and the way it got there. */
interface Candidate {
  readonly key: string;
  readonly id: number;
  readonly policy: Policy;
  readonly links: readonly FollowedLink[];
  /** Why its lists cannot be made from this kernel, and what the types of the kernel say against it. */
  readonly issues: readonly PolicyIssue[];
}

/** A program that was attached for a hook, and waits for its turn. */
interface PreparedHook {
  readonly plan: HookPlan;
  readonly hookId: number;
  readonly specId: number;
  readonly shape: string;
  readonly program: HookProgram;
}

const emptyScopes: ScopePlan = { scopeCount: 0, dimensions: [], changing: 0n, holding: 0n, lineages: [] };
const noScopes: ActiveScopes = {
  digest: digestOf(emptyScopes),
  generation: 0,
  plan: emptyScopes,
  entries: [],
};

/** Follows the links in a policy's paths on this host; both texts then are values. */
export function resolvePolicyPaths(
  policy: Policy,
  realPath: RealPath = hostRealPath(),
): { policy: Policy; followed: FollowedLink[] } {
  return resolveLinks(policy, realPath);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The policies in force on this node. `apply` calls run one after the other; `close` detaches everything. */
export class PolicySet {
  readonly bindings = new BindingTable();
  readonly #options: PolicySetOptions;
  readonly #lineages: Lineages;
  readonly #names: KernelNames;
  readonly #workloads: Workloads;
  #knowsWorkloads = false;
  readonly #hooks = new Map<string, ActiveHook>();
  readonly #freeHookIds: number[] = [];
  readonly #policyIds = new Map<string, number>();
  #inForce = new Map<string, Candidate>();
  #scopes: ActiveScopes = noScopes;
  #skipped = new Map<string, readonly string[]>();
  /** Entries of configurations that are no longer in force, but by which calls matched that have not returned. */
  #awaited: { readonly configId: number; readonly entries: readonly MapEntry[] }[] = [];
  #hookIds = 0;
  #specIds = 0;
  #configIds = 0;
  #generations = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: PolicySetOptions) {
    this.#options = options;
    this.#lineages = new Lineages(options.kernel, options.processes ?? processesInProc, uptimeTicks);
    this.#names = options.names ?? new RunningKernelNames();
    this.#workloads = new Workloads(options.kernel);
  }

  /**
   * Tells which containers there are: exactly these; all else is the host's. Before, policies that ask are refused.
   * @throws {PolicyLoadError} where the kernel has no room; what was told before holds on
   */
  setWorkloads(workloads: readonly Workload[]): Promise<void> {
    const result = this.#queue.then(async () => {
      if (this.#closed) throw new PolicyLoadError('load', 'the set of policies is closed');
      this.#options.kernel.open();
      await this.#workloads.set(workloads, this.#scopes.plan, this.#scopes.generation);
      this.#knowsWorkloads = true;
    });
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /**
   * Brings exactly these policies into force; what is in force and not among them is taken out.
   * @returns what became of each, in their order; a refused one leaves its former version, where it has one
   */
  apply(policies: readonly Policy[]): Promise<PolicyOutcome[]> {
    const result = this.#queue.then(() => this.#apply(policies));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** The hooks in force, for status and metrics. */
  hooks(): HookStatus[] {
    return [...this.#hooks.values()].map((hook) => ({
      symbol: hook.plan.symbol,
      policies: [...new Set(hook.plan.bindings.map((binding) => binding.policyName))],
      selectors: hook.plan.selectors.length,
      program: hook.program.facts(),
    }));
  }

  /** The hooks in force with what they have counted. Reads kernel maps: for who asks, not for each second. */
  report(): HookReport[] {
    const { counts } = this.#options.kernel;
    return [...this.#hooks.values()].map((hook) => ({
      symbol: hook.plan.symbol,
      program: hook.program.facts(),
      entryBytes: hook.entries.reduce((sum, { key, value }) => sum + key.length + value.length, 0),
      ...counts.hook(hook.hookId),
      policies: hook.plan.bindings.map((binding) => ({
        name: binding.policyName,
        namespace: binding.policyNamespace,
        // One may have several bits.
        selectors: new Set(
          hook.plan.selectors.flatMap(({ policyId, hookIndex, selectorIndex }) =>
            policyId === binding.policyId && hookIndex === binding.hookIndex ? [selectorIndex] : [],
          ),
        ).size,
        counts: counts.policy(idOfBinding(this.bindings, hook.plan, binding)),
      })),
    }));
  }

  /** Whether a program is attached to a function, and stops where the kernel's function tracing does. */
  hasFunctionHooks(): boolean {
    return [...this.#hooks.values()].some(({ program }) => !program.isTracepoint);
  }

  /**
   * Compares what is in force with what the kernel has: programs that are attached no more, maps that another hand has
   * changed. `mend` puts it right.
   * @returns what was found, in words; empty where all is as it should be
   */
  inspect(mend: boolean): Promise<string[]> {
    const result = this.#queue.then(() => this.#inspect(mend));
    this.#queue = result.catch(() => undefined);
    return result;
  }

  async #inspect(mend: boolean): Promise<string[]> {
    const { kernel } = this.#options;
    if (this.#closed || this.#hooks.size === 0) return [];
    const found: string[] = [];
    const check = (what: string, entries: readonly MapEntry[]) => {
      const differing = kernel.differing(entries);
      if (differing.length === 0) return;
      const maps = [...new Set(differing.map(({ map }) => map))].join(', ');
      found.push(
        `${what}: ${differing.length} entries of the kernel maps ${maps} were changed by another hand`,
      );
      if (mend) kernel.writeEntries(differing);
    };
    let isDetached = false;
    for (const hook of this.#hooks.values()) {
      const { symbol } = hook.plan;
      if (!hook.program.isAttached()) {
        found.push(`${symbol}: its program is attached no more`);
        // Another program comes in its place.
        if (mend) hook.shape = '';
        isDetached = true;
      }
      if (!kernel.isAsWritten(hook.hookId, 2 * hook.hookId + hook.configSlot, hook.specId, mend))
        found.push(`${symbol}: its state in the kernel was changed by another hand`);
      check(symbol, hook.entries);
    }
    check('scopes', this.#scopes.entries);
    if (this.#scopes.generation > 0 && !kernel.areScopesAsWritten(this.#scopes.generation, mend))
      found.push('scopes: their configuration in the kernel was changed by another hand');
    if (!kernel.areProcessesFollowed(mend))
      found.push('scopes: the programs that work out those of processes run no more at forks and execs');
    // Of whom no room was left for when it began.
    if (this.#scopes.plan.scopeCount > 0) kernel.workOutScopes();
    if (!kernel.areSocketOwnersKept(mend))
      found.push('owners of sockets: the program that forgets them is attached no more');
    // A program that ends within a function never returns from it.
    if ([...this.#hooks.values()].some(({ plan: hook }) => hook.user !== undefined && hook.returns))
      kernel.awaitedConfigs();
    if (isDetached && mend) await this.#apply([...this.#inForce.values()].map(({ policy }) => policy));
    return found;
  }

  binding(bindingId: number): Binding | undefined {
    return this.bindings.get(bindingId);
  }

  /** Detaches all programs. The policies are then no longer in force. */
  async close(): Promise<void> {
    if (this.#closed) return;
    await this.apply([]);
    this.#closed = true;
  }

  async #apply(policies: readonly Policy[]): Promise<PolicyOutcome[]> {
    if (this.#closed) throw new PolicyLoadError('load', 'the set of policies is closed');
    const refused = new Map<string, string>();
    const chosen = new Map<string, Candidate>();
    const order: { policy: Policy; key: string; duplicate: boolean; skipped?: true }[] = [];
    for (const policy of policies) {
      const key = keyOf(policy);
      if (!selectsNode(policy, this.#options.nodeLabels ?? {})) {
        order.push({ policy, key, duplicate: false, skipped: true });
        continue;
      }
      const duplicate = chosen.has(key);
      order.push({ policy, key, duplicate });
      if (!duplicate) chosen.set(key, this.#candidate(policy, key));
    }
    const wanted = new Map(chosen);
    const fallBack = (key: string, reason: string) => {
      refused.set(key, reason);
      const former = this.#inForce.get(key);
      if (former !== undefined && chosen.get(key) !== former) chosen.set(key, former);
      else chosen.delete(key);
    };
    for (const [key, { policy }] of wanted) {
      const field = this.#knowsWorkloads ? undefined : workloadField(policy);
      if (field !== undefined)
        fallBack(
          key,
          `${field} asks for containers, and this agent is told of none: start it with --workloads`,
        );
    }
    // Each turn takes a policy out, or puts its former version in: at most two a policy.
    for (let turn = 0; turn <= 2 * policies.length; turn++) {
      const planned = this.#plan([...chosen.values()], fallBack, chosen);
      if (planned === undefined) continue;
      if (await this.#bringIn(planned, chosen, fallBack)) break;
    }
    return order.map(({ policy, key, duplicate, skipped }) => {
      if (skipped === true) return skippedOutcome(policy);
      const reason = duplicate
        ? `another policy of the same name, ${policy.name}, comes before it`
        : refused.get(key);
      const inForce = this.#inForce.get(key);
      const hooks = inForce === undefined || duplicate ? [] : this.#symbolsOf(inForce.id);
      return {
        name: policy.name,
        namespace: policy.namespace,
        state: reason === undefined ? 'loaded' : 'refused',
        ...(reason === undefined ? {} : { reason }),
        formerInForce: reason !== undefined && !duplicate && inForce !== undefined,
        hooks,
        skippedHooks: [
          ...(this.#skipped.get(key) ?? []),
          ...(inForce === undefined || duplicate ? [] : this.#missingOf(inForce.id)),
        ],
        unprevented: inForce === undefined || duplicate ? [] : this.#unpreventedOf(inForce.id),
        links: wanted.get(key)?.links ?? [],
      };
    });
  }

  #candidate(policy: Policy, key: string): Candidate {
    let id = this.#policyIds.get(key);
    if (id === undefined) {
      id = this.#policyIds.size + 1;
      this.#policyIds.set(key, id);
    }
    const made = generateLists(policy, this.#names);
    const typed = resolveArgumentTypes(made.policy, kernelTypeOf());
    const { policy: resolved, followed } = resolvePolicyPaths(typed.policy, this.#options.realPath);
    const notDone = (this.#options.refusedActions ?? refuseActions)(resolved);
    const issues = [...made.issues, ...typed.issues, ...notDone];
    return { key, id, policy: resolved, links: followed, issues };
  }

  #hooksOf(policyId: number): ActiveHook[] {
    return [...this.#hooks.values()].filter((hook) =>
      hook.plan.bindings.some((binding) => binding.policyId === policyId),
    );
  }

  #symbolsOf(policyId: number): string[] {
    return this.#hooksOf(policyId).flatMap(({ plan: hook, program }) =>
      (hook.calls ?? [hook.symbol]).filter((symbol) => !program.missing.includes(symbol)),
    );
  }

  /** Calls of lists that this kernel has not. */
  #missingOf(policyId: number): readonly string[] {
    return this.#hooksOf(policyId).flatMap(({ program }) => program.missing);
  }

  #unpreventedOf(policyId: number): string[] {
    return [...this.#hooks.values()].flatMap(({ plan: hook, program }) =>
      program.unprevented !== undefined &&
      hook.selectors.some((selector) => selector.policyId === policyId && prevents(selector))
        ? [`${hook.symbol}: the caller is killed, but the call can take effect: ${program.unprevented}`]
        : [],
    );
  }

  /** Plans the candidates; where that is refused, falls back for those it names, and returns nothing. */
  #plan(
    candidates: readonly Candidate[],
    fallBack: (key: string, reason: string) => void,
    chosen: ReadonlyMap<string, Candidate>,
  ): Plan | undefined {
    try {
      const [issue, ...others] = candidates.flatMap(({ issues }) => issues);
      if (issue !== undefined) throw new PolicyError([issue, ...others]);
      const planned = plan(candidates, pagesOf([...this.#hooks.values()].map((hook) => hook.plan)));
      for (const hook of planned.hooks) checkLimits(hook);
      return planned;
    } catch (error) {
      if (!(error instanceof PolicyError) && !(error instanceof PolicyLoadError)) throw error;
      const names = new Set(error instanceof PolicyError ? error.issues.map((issue) => issue.policy) : []);
      const blamed = candidates.filter(({ policy }) => names.has(policy.name));
      for (const candidate of blamed.length > 0 ? blamed : this.#newest(chosen)) {
        const own =
          error instanceof PolicyError
            ? error.issues
                .filter((issue) => issue.policy === candidate.policy.name)
                .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
            : [];
        fallBack(candidate.key, own.length > 0 ? own.join('; ') : error.message);
      }
      return undefined;
    }
  }

  /** The candidates that are not in force as they are; all where there is none. */
  #newest(chosen: ReadonlyMap<string, Candidate>): Candidate[] {
    const all = [...chosen.values()];
    const fresh = all.filter((candidate) => !this.#isInForce(candidate));
    return fresh.length > 0 ? fresh : all;
  }

  #isInForce(candidate: Candidate): boolean {
    const former = this.#inForce.get(candidate.key);
    return former === candidate || (former !== undefined && sameSpec(former.policy, candidate.policy));
  }

  /** Brings a plan into force. Where it cannot be, falls back for those who are the reason, and returns false. */
  async #bringIn(
    planned: Plan,
    chosen: Map<string, Candidate>,
    fallBack: (key: string, reason: string) => void,
  ): Promise<boolean> {
    const blame = (hook: HookPlan | undefined, error: unknown) => {
      const onHook = [...chosen.values()].filter(
        ({ id }) => hook === undefined || hook.bindings.some(({ policyId }) => policyId === id),
      );
      const isFresh = (candidate: Candidate) => !this.#isInForce(candidate);
      const fresh = onHook.filter(isFresh);
      // A hook of those in force alone has another program because of the scopes of those that are new.
      const blamed = fresh.length > 0 ? fresh : [...chosen.values()].filter(isFresh);
      for (const { key } of blamed.length > 0 ? blamed : onHook) fallBack(key, reasonOf(error));
    };
    const prepared = new Map<string, PreparedHook>();
    const skipped = new Map<string, string[]>();
    const missing = new Set<string>();
    const undo = () => {
      for (const { program, hookId, plan: hook } of prepared.values()) {
        program.close();
        if (!this.#hooks.has(hook.key)) this.#freeHookIds.push(hookId);
      }
    };
    for (const hook of planned.hooks) {
      const active = this.#hooks.get(hook.key);
      try {
        const shape = shapeOf(hook, planned.scopes);
        if (active?.shape === shape) continue;
        prepared.set(hook.key, this.#attach(hook, planned.scopes, shape, active));
      } catch (error) {
        const isMissing = error instanceof PolicyLoadError && error.code === 'no-function';
        if (isMissing && ignoresMissing(hook)) {
          for (const { policyName, policyNamespace } of hook.bindings) {
            const key = `${policyNamespace}/${policyName}`;
            skipped.set(key, [...(skipped.get(key) ?? []), ...(hook.calls ?? [hook.symbol])]);
          }
          missing.add(hook.key);
          continue;
        }
        undo();
        blame(hook, error);
        return false;
      }
    }
    const hooks = planned.hooks.filter((hook) => !missing.has(hook.key));
    try {
      await this.#commit(hooks, planned.scopes, prepared);
    } catch (error) {
      if (!(error instanceof CommitError)) throw error;
      undo();
      blame(error.hook, error.cause);
      return false;
    }
    this.#inForce = new Map(chosen);
    this.#skipped = skipped;
    this.bindings.prune(this.#bindingIdsInForce());
    return true;
  }

  #attach(hook: HookPlan, scopes: ScopePlan, shape: string, active: ActiveHook | undefined): PreparedHook {
    const hookId = active?.hookId ?? this.#freeHookIds.pop() ?? this.#hookIds++;
    // Of the other parity than the one before: they have different states.
    this.#specIds += active !== undefined && (this.#specIds + 1 - active.specId) % 2 === 0 ? 2 : 1;
    const specId = this.#specIds;
    try {
      this.#options.kernel.open();
      if (active === undefined) this.#options.kernel.counts.clear(hookId);
      const program = this.#options.kernel.attach({
        symbol: hook.symbol,
        syscall: hook.syscall,
        lsmCaller: hook.lsmCaller,
        denies: hook.denies,
        hashed: hook.selectors.some(({ imaHash: wants }) => wants === true)
          ? imaFileOf(hook.symbol)
          : undefined,
        returns: hook.returns,
        user: userRequestOf(hook),
        isMapping: hook.eventKind === EventKind.loader,
        prevention: preventionOf(hook),
        tracepoint: hook.tracepoint,
        calls: hook.calls,
        ignoreMissing: ignoresMissing(hook),
        former: active?.program,
        spec: encodeSpec(hook, hookId, specId, placesOf(hook), undefined, scopes),
        lastParameter: Math.max(
          -1,
          ...hook.arguments.flatMap(({ field, index, returned, buffer }) => [
            field?.source === 'current_task' || returned === true ? -1 : index,
            buffer?.sizeIndex ?? -1,
          ]),
        ),
      });
      return { plan: hook, hookId, specId, shape, program };
    } catch (error) {
      if (active === undefined) this.#freeHookIds.push(hookId);
      throw error;
    }
  }

  /** Writes what is new, flips, waits, deletes what is old. @throws {CommitError} with all as it was */
  async #commit(
    hooks: readonly HookPlan[],
    scopePlan: ScopePlan,
    prepared: ReadonlyMap<string, PreparedHook>,
  ): Promise<void> {
    const { kernel, hostNamespaces } = this.#options;
    kernel.open();
    const written: MapEntry[] = [];
    const flips: (() => void)[] = [];
    const stale: MapEntry[] = [];
    const replaced = [...this.#awaited];
    const closing: HookProgram[] = [];
    const takingOver: HookProgram[] = [];
    const freed: number[] = [];
    const next = new Map<string, ActiveHook>();
    let scopes = this.#scopes;
    let workloads: WorkloadChange | undefined;
    let current: HookPlan | undefined;
    const tellsOwners = hooks.find(({ socketOwners }) => socketOwners === true);
    try {
      current = tellsOwners;
      if (tellsOwners !== undefined) kernel.keepSocketOwners(true);
      const digest = digestOf(scopePlan);
      if (digest !== scopes.digest) {
        // The other place holds the one in force. A number that was given in vain is not given again: processes may
        // have been worked out under it.
        while (++this.#generations % 2 === scopes.generation % 2);
        const generation = this.#generations;
        this.#lineages.include(scopePlan.lineages);
        const entries = encodeScopeEntries(scopePlan, generation, hostNamespaces, this.#lineages.numbers());
        kernel.writeEntries(entries);
        written.push(...entries);
        workloads = this.#workloads.prepare(scopePlan, generation);
        kernel.writeEntries(workloads.entries);
        written.push(...workloads.entries);
        kernel.prepareScopes(generation, encodeScopeConfig(scopePlan, generation));
        // All processes are known in it before a hook asks.
        if (scopePlan.scopeCount > 0) kernel.workOutScopes();
        stale.push(...scopes.entries);
        scopes = { digest, generation, plan: scopePlan, entries };
      }
      for (const hook of hooks) {
        current = hook;
        const active = this.#hooks.get(hook.key);
        const ready = prepared.get(hook.key);
        const hookDigest = digestOf(hook);
        const isScoped = hook.selectors.some((selector) => selector.scope !== null);
        const scopeGeneration = isScoped ? scopes.generation : 0;
        // Where another hand has detached the program, another comes for the same plan.
        const isSame = active?.digest === hookDigest && active.scopeGeneration === scopeGeneration;
        if (isSame && ready === undefined) {
          next.set(hook.key, active);
          continue;
        }
        const program = ready?.program ?? active?.program;
        if (program === undefined) throw new TypeError(`${hook.symbol} has no program`);
        const hookId = ready?.hookId ?? active?.hookId ?? 0;
        const specId = ready?.specId ?? active?.specId ?? 0;
        const configSlot = active?.configSlot === 0 ? 1 : 0;
        let configId = active?.configId ?? 0;
        let entries = active?.entries ?? [];
        // With the same look-ups and selectors, only the numbers of the scopes have another meaning.
        if (active?.digest !== hookDigest) {
          configId = ++this.#configIds;
          entries = encodeHookEntries(
            hook,
            configId,
            (selector) => this.#bindingId(hook, selector),
            hostNamespaces,
          );
          kernel.writeEntries(entries);
          written.push(...entries);
          if (active !== undefined) replaced.push({ configId: active.configId, entries: active.entries });
        }
        const configIndex = 2 * hookId + configSlot;
        if (configIndex >= limits.hook_configs) {
          throw new PolicyLoadError(
            'limit',
            `more than ${limits.hooks} hooks; the kernel stage takes no more`,
          );
        }
        kernel.writeHookConfig(configIndex, encodeHookConfig(hook, { configId, scopeGeneration }));
        flips.push(() => {
          kernel.setState(hookId, configIndex, specId);
          ready?.program.enter();
        });
        if (ready?.program.takesOver === true) takingOver.push(ready.program);
        if (ready !== undefined && active !== undefined) closing.push(active.program);
        next.set(hook.key, {
          hookId,
          plan: hook,
          digest: hookDigest,
          shape: ready?.shape ?? active?.shape ?? '',
          program,
          specId,
          configId,
          configSlot,
          scopeGeneration,
          entries,
        });
      }
    } catch (error) {
      kernel.forgetOtherScopes(this.#scopes.generation);
      kernel.deleteEntries(written);
      await this.#lineages.retain(this.#scopes.plan.lineages);
      throw new CommitError(current, error);
    }
    for (const [key, hook] of this.#hooks) {
      if (next.has(key)) continue;
      flips.push(() => {
        hook.program.leave();
      });
      closing.push(hook.program);
      replaced.push({ configId: hook.configId, entries: hook.entries });
      freed.push(hook.hookId);
    }
    kernel.counts.begin(bindingIdsOf(next.values(), this.bindings));
    // Calls that are handed over have to come by both slots.
    if (takingOver.length > 0) await kernel.settle();
    // Nothing below can be refused: each flip is one store.
    for (const flip of flips) flip();
    stale.push(...(workloads?.commit() ?? []));
    const generationBefore = this.#scopes.generation;
    this.#hooks.clear();
    for (const [key, hook] of next) this.#hooks.set(key, hook);
    this.#scopes = scopes;
    if (flips.length === 0 && stale.length === 0 && replaced.length === 0) return;
    await kernel.settle();
    if (takingOver.length > 0) {
      for (const program of takingOver) program.settleIn();
      await kernel.settle();
    }
    if (scopes.generation !== generationBefore) kernel.forgetOtherScopes(scopes.generation);
    kernel.deleteEntries(stale);
    if (tellsOwners === undefined) kernel.keepSocketOwners(false);
    for (const program of closing) program.close();
    kernel.forgetCalls(new Set(freed));
    const awaited = kernel.awaitedConfigs();
    this.#awaited = replaced.filter(({ configId }) => awaited.has(configId));
    for (const { configId, entries } of replaced) if (!awaited.has(configId)) kernel.deleteEntries(entries);
    this.#freeHookIds.push(...freed);
    kernel.counts.keep(this.#bindingIdsInForce());
    kernel.sweep(scopes.generation, new Set([...next.values()].map((hook) => hook.configId)));
    await this.#lineages.retain(scopes.plan.lineages);
  }

  #bindingId(hook: HookPlan, selector: { readonly policyId: number; readonly hookIndex: number }): number {
    const binding = hook.bindings.find(
      ({ policyId, hookIndex }) => policyId === selector.policyId && hookIndex === selector.hookIndex,
    );
    if (binding === undefined) throw new TypeError(`${hook.symbol} has a selector of no policy`);
    return idOfBinding(this.bindings, hook, binding);
  }

  #bindingIdsInForce(): Set<number> {
    return bindingIdsOf(this.#hooks.values(), this.bindings);
  }
}

/** A commit that came to nothing, and the hook at which it did. */
class CommitError extends Error {
  readonly hook: HookPlan | undefined;

  constructor(hook: HookPlan | undefined, cause: unknown) {
    super(reasonOf(cause), { cause });
    this.hook = hook;
  }
}
