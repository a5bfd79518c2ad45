// SPDX-License-Identifier: Apache-2.0
// Owns the way from policies to a plan: which hooks, which arguments, which bit is which selector, which look-ups and
// scopes. It knows no kernel: what a certain one lacks is found where the plan is put in force.
import { Action as ActionBit, ArgumentType, EventKind, limits, ScopeAttribute } from '@weir/schema';
import { agentActionsOf } from './agent-actions.js';
import { isBuffer, sizedTerm } from './buffers.js';
import { canDeny } from './calls.js';
import { alternativesOf } from './cel/selector.js';
import { buildDimensions, lookUpsOf } from './dimensions.js';
import { enforcerCalls, enforcerEffects } from './enforcers.js';
import { type PolicyIssue, throwIssues } from './error.js';
import { ungenerated } from './generated-lists.js';
import { hooksOf, type PolicyHook } from './hooks.js';
import { hashOf } from './ima.js';
import { undecidedTypes } from './kernel-types.js';
import { withListValues } from './list-values.js';
import { partCalls, sharedCall } from './listed-calls.js';
import { type TypeInfo, typeInfo } from './names.js';
import { fileTypeTerm, gainedArgument, gainedTerm, sizeFollows, unixFamilyTerm } from './object-terms.js';
import { assignPages, type Demand, doesMoreThanPost, ofOne, type Pages, pageKey, placeOf } from './pages.js';
import type { ResolvedCall } from './places.js';
import type {
  HookPlan,
  Lineage,
  Plan,
  PlannedArgument,
  PlannedBinding,
  PlannedSelector,
  ScopePlan,
} from './plan-types.js';
import { type Located, type Policy, policyIssue } from './policy.js';
import { binaryTerms, processTerms, scopeAttributeChanges } from './process-terms.js';
import { joinComparisons } from './ranges.js';
import { rateLimitOf } from './rate-limit.js';
import { inReadingOrder } from './reading-order.js';
import { type Reading, readingOf } from './readings.js';
import {
  binariesMeanNext,
  type ExpandedSelector,
  expandSelectors,
  findArgument,
  optionValue,
} from './selectors.js';
import { settingOf } from './settings.js';
import type { Action, Argument, ArgumentTerm, CalledFields } from './shape.js';
import { socketTerm } from './socket-terms.js';
import { plannedSockets, withSocketOwners } from './sockets.js';
import { unsupported } from './support.js';
import { syscallValues } from './syscall-values.js';
import type { Term } from './terms.js';
import { substringTerm, textTerm } from './text-term.js';
import { holdsUndecided } from './undecided.js';
import { validate } from './validate.js';
import { integerRange, orderKey, parseBits, parseInteger, parseRange, parseTypedInteger } from './values.js';
import { workloadTerms } from './workloads.js';

export interface PlanInput {
  /** The number by which the plan names the policy; distinct. */
  readonly id: number;
  readonly policy: Policy;
}

interface Slot extends Reading {
  /** The same for the same reading. */
  readonly key: string;
  shown: boolean;
}

interface HookBuilder {
  readonly call: ResolvedCall;
  readonly page: number;
  readonly slots: Slot[];
  readonly selectors: PlannedSelector[];
  readonly terms: Term[][];
  /** Where each selector is written, for what is wrong with it. */
  readonly origins: { readonly policy: Policy; readonly path: string }[];
  readonly bindings: PlannedBinding[];
}

class Scopes {
  private readonly numbers = new Map<string, number>();
  readonly terms: Term[][] = [];
  readonly origins: { readonly policy: Policy; readonly path: string }[] = [];
  holding = 0n;

  /**
   * The number of the scope that is the conjunction of these terms: the same one for the same terms, and the same
   * meaning of what cannot be decided.
   */
  number(terms: readonly Term[], holds: boolean, policy: Policy, path: string): number | null {
    if (terms.length === 0) return null;
    const key = [...terms.map(termKey).sort(), String(holds)].join('\n');
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.terms.length;
    this.numbers.set(key, number);
    if (holds) this.holding |= 1n << BigInt(number);
    this.terms.push([...terms].sort((a, b) => (termKey(a) < termKey(b) ? -1 : 1)));
    this.origins.push({ policy, path });
    return number;
  }
}

function termKey(term: Term): string {
  const values = term.values.map((value) => {
    if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
    if (typeof value === 'bigint' || typeof value === 'number') return String(value);
    if ('host' in value) return JSON.stringify(value);
    if ('key' in value) return value.key;
    if ('hostNamespace' in value) return `host ${value.hostNamespace}`;
    if (!('bytes' in value)) return value.join(' ');
    return `${Buffer.from(value.bytes).toString('hex')}/${value.bits}`;
  });
  const exact = (term.kind === 'forward' || term.kind === 'reverse') && term.exact;
  return JSON.stringify([term.argument, term.kind, term.negated, exact, [...new Set(values)].sort()]);
}

/** Where a sockaddr lies in a socket's payload: with the peer, but for hooks on bind. */
function namesOwnAddress(call: ResolvedCall): boolean {
  return /(^|_)bind($|_)/.test(call.meaning);
}

/** A term over the number of a system call: equal to one of some. */
function syscallTerm(term: ArgumentTerm, policy: Policy, argument: number, path: string): Term {
  const values = term.values.flatMap((value) => {
    const numbers = syscallValues(policy, value);
    if (typeof numbers === 'string') throw new TypeError(`${path}: validation let it pass: ${numbers}`);
    return numbers;
  });
  return { kind: 'integer', argument, negated: term.operator.startsWith('Not'), values, path };
}

function argumentTerm(
  term: ArgumentTerm,
  policy: Policy,
  argument: Argument,
  ownAddress: boolean,
  slot: number,
  path: string,
): Term {
  const type = typeInfo(argument.type);
  if (type?.family === 'syscall') return syscallTerm(term, policy, slot, path);
  if (type?.family === 'socket') return socketTerm(term, argument.type, ownAddress, slot, path);
  if (isBuffer(argument.type) && /^(Not)?(Equal|In)$/.test(term.operator)) return sizedTerm(term, slot, path);
  if (/FileType$/.test(term.operator)) return fileTypeTerm(term, slot, path);
  if (type?.family === 'unix' && term.operator === 'Family') return unixFamilyTerm(term, slot, path);
  if (type?.family !== 'integer' && type?.family !== 'capabilities')
    return (
      substringTerm(term.operator, term.values, slot, path) ??
      textTerm(term.operator, term.values, slot, path)
    );
  return integerTerm(
    { ...term, values: [...withListValues(policy, term.values)] },
    type,
    argument.type,
    slot,
    path,
  );
}

/** A term over numbers: equal to one of some, in one of some ranges, or with one of some bits. */
function integerTerm(
  term: ArgumentTerm,
  type: TypeInfo,
  typeName: string,
  argument: number,
  path: string,
): Term {
  const { operator } = term;
  const read = (result: bigint | string): bigint => {
    if (typeof result === 'string') throw new TypeError(`${path}: validation let it pass: ${result}`);
    return result;
  };
  const number = (value: string) => read(parseTypedInteger(value, typeName, type));
  const negated = operator.startsWith('Not');
  if (operator === 'Mask') {
    const values = term.values.map((value) => read(parseBits(value, typeName, type)));
    return { kind: 'bits', argument, negated: false, values, path };
  }
  const order = (value: bigint) => orderKey(value, type.type);
  const [lowest, highest] = integerRange(type);
  if (operator === 'GT' || operator === 'LT') {
    const values = term.values.map((value): readonly [bigint, bigint] => {
      const bound = order(number(value));
      return operator === 'GT' ? [bound + 1n, order(highest)] : [order(lowest), bound - 1n];
    });
    return { kind: 'range', argument, negated, values, path };
  }
  if (/Range$|Map$/.test(operator)) {
    const values = term.values.map((value): readonly [bigint, bigint] => {
      const range = parseInteger(value) === undefined ? parseRange(value) : undefined;
      const [low, high] = range ?? [number(value), number(value)];
      return [order(low), order(high)];
    });
    return { kind: 'range', argument, negated, values, path };
  }
  return { kind: 'integer', argument, negated, values: term.values.map(number), path };
}

interface Effects {
  readonly actions: number;
  readonly signal: number;
  readonly error: number;
}

/** What a selector's actions come to. Signal 9 is Sigkill by another name. */
function effectsOf(list: readonly Located<Action>[]): Effects {
  let actions = 1 << ActionBit.post;
  let signal = 0;
  let error = 0;
  for (const { item } of list) {
    if (item.action === 'NoPost') actions &= ~(1 << ActionBit.post);
    if (item.action === 'Sigkill' || (item.action === 'Signal' && item.argSig === 9)) {
      actions |= 1 << ActionBit.sigkill;
      signal = 9;
    }
    if (item.action === 'Signal') {
      actions |= 1 << ActionBit.signal;
      if (signal !== 9) signal = item.argSig ?? 0;
    }
    if (item.action === 'Override') {
      actions |= 1 << ActionBit.override;
      error = -Math.abs(item.argError ?? 0);
    }
    if (item.action === 'NotifyEnforcer') actions |= 1 << ActionBit.notifyenforcer;
    if (item.action === 'Set') actions |= 1 << ActionBit.set;
    if (item.action === 'TrackSock') actions |= 1 << ActionBit.tracksock;
    if (item.action === 'UntrackSock') actions |= 1 << ActionBit.untracksock;
    if (item.action === 'GetUrl') actions |= 1 << ActionBit.geturl;
    if (item.action === 'DnsLookup') actions |= 1 << ActionBit.dnslookup;
    if (item.action === 'CleanupEnforcerNotification') actions |= 1 << ActionBit.cleanupenforcernotification;
  }
  return { actions, signal, error };
}

function notificationOf(selector: ExpandedSelector): Pick<PlannedSelector, 'notification'> {
  const notify = selector.matchActions.find(({ item }) => item.action === 'NotifyEnforcer')?.item;
  if (notify === undefined) return {};
  return { notification: { error: -Math.abs(notify.argError ?? 0), signal: notify.argSig ?? 0 } };
}

function stacksOf(selector: ExpandedSelector): Pick<PlannedSelector, 'stacks'> {
  const wants = (field: 'kernelStackTrace' | 'userStackTrace') =>
    [...selector.matchActions, ...selector.part('matchReturnActions')].some(
      ({ item }) => item[field] === true,
    );
  const stacks = { kernel: wants('kernelStackTrace'), user: wants('userStackTrace') };
  return stacks.kernel || stacks.user ? { stacks } : {};
}

/** Identity of a hook over plans. */
function hookKey(call: ResolvedCall): string {
  if (call.calls !== undefined) return `syscalls:${call.calls.join(' ')}`;
  if (call.kind === 'tracepoint')
    return `${call.tracepoint?.raw === true ? 'raw-tracepoint' : 'tracepoint'}:${call.symbol}`;
  if (call.kind === 'mapping') return 'loader';
  if (call.place?.kind === 'marker') return `usdt:${call.symbol}`;
  // One policy may be refused for the digest of its file while another takes any.
  if (call.place !== undefined) return `uprobe:${[call.symbol, ...call.place.digests].join('#')}`;
  return `${call.kind === 'lsm' ? 'lsm' : 'kprobe'}:${call.symbol}`;
}

function eventKindOf(call: ResolvedCall): number {
  if (call.kind === 'tracepoint') return EventKind.tracepoint;
  if (call.kind === 'mapping') return EventKind.loader;
  if (call.place !== undefined) return call.place.kind === 'marker' ? EventKind.usdt : EventKind.uprobe;
  return call.kind === 'lsm' ? EventKind.lsm : EventKind.kprobe;
}

/** What a selector does at the return of the call. */
function returnOf(selector: ExpandedSelector, showsReturn: boolean, called: CalledFields | undefined) {
  const { actions, signal } = effectsOf(selector.part('matchReturnActions'));
  const own = effectsOf([{ item: { action: called?.returnArgAction ?? 'Post' }, path: selector.path }]);
  // NoPost in the list holds.
  const returnActions = actions | (own.actions & ~(1 << ActionBit.post));
  return { returns: true, showsReturn, returnActions, returnSignal: signal };
}

/** What a policy wants on each hook: it is planned by itself. */
function demandsOf(input: PlanInput): Demand[] {
  const alone = new Planner(new Map());
  alone.add(input);
  alone.addEnforcers(input);
  return alone.demands(input.id);
}

class Planner {
  private readonly hooks = new Map<string, HookBuilder>();
  private readonly scopes = new Scopes();
  private readonly issues: PolicyIssue[] = [];

  constructor(private readonly pages: Pages) {}

  private refuse(policy: Policy, path: string, message: string): void {
    this.issues.push(policyIssue(policy, 'limit', path, message));
  }

  private slot(hook: HookBuilder, reading: Reading, shown: boolean, policy: Policy, path: string): number {
    const { type, index, field, register, data, returned, buffer } = reading;
    const key = JSON.stringify([
      type,
      index,
      field ?? register ?? null,
      data === true,
      returned === true,
      buffer ?? null,
    ]);
    let position = hook.slots.findIndex((slot) => slot.key === key);
    if (position < 0) {
      position = hook.slots.push({ ...reading, key, shown: false }) - 1;
      if (position === limits.slots_per_hook) {
        this.refuse(
          policy,
          path,
          `the policies on ${hook.call.symbol} read more than ${limits.slots_per_hook} different values, ${ofOne} (an index as two types counts twice; fields and what is returned count too): use the types that the others use`,
        );
      }
    }
    const slot = hook.slots[position];
    if (slot !== undefined && shown) slot.shown = true;
    return position;
  }

  private builder(call: ResolvedCall, policyId: number): HookBuilder {
    const page = this.pages.get(placeOf(policyId, hookKey(call))) ?? 0;
    const key = pageKey(hookKey(call), page);
    const hook = this.hooks.get(key) ?? {
      call,
      page,
      slots: [],
      selectors: [],
      terms: [],
      origins: [],
      bindings: [],
    };
    this.hooks.set(key, hook);
    return hook;
  }

  /** The enforcers of a policy. After all selectors: where one asks in the same call, it is done in that. */
  addEnforcers({ id, policy }: PlanInput): void {
    const { kills, overrides } = enforcerEffects(policy);
    const monitor = optionValue(policy, 'policy-mode', 'enforce') === 'monitor';
    const hookIndex = hooksOf(policy).length;
    for (const { item: call, path } of enforcerCalls(policy)) {
      const hook = this.builder(call, id);
      hook.bindings.push({
        policyId: id,
        hookIndex,
        policyName: policy.name,
        policyNamespace: policy.namespace,
        message: '',
        tags: [],
        argumentLabels: [],
        eventKind: eventKindOf(call),
        // A kernel that takes no calls of 32-bit programs has none to deny.
        ignoreMissing: call.symbol.startsWith('__ia32_'),
      });
      hook.selectors.push({
        policyId: id,
        hookIndex,
        selectorIndex: 0,
        actions: (kills ? 1 << ActionBit.sigkill : 0) | (overrides ? 1 << ActionBit.override : 0),
        signal: 0,
        error: 0,
        monitor,
        isEnforcer: true,
        scope: null,
        shownArguments: [],
      });
      hook.terms.push([]);
      hook.origins.push({ policy, path });
    }
  }

  add({ id, policy }: PlanInput): void {
    for (const hook of hooksOf(policy)) {
      const { own, shared } =
        hook.kprobe === undefined
          ? { own: hook.calls, shared: [] }
          : partCalls(policy, hook.kprobe, hook.calls, hook.path);
      for (const { item: call } of own) this.addHook(id, policy, hook, call);
      if (shared.length > 0) this.addHook(id, policy, hook, sharedCall(shared));
    }
  }

  /** What has been added so far, of one policy. */
  demands(policyId: number): Demand[] {
    return [...this.hooks].map(([key, hook]): Demand => {
      const nameOf = (slot: number) => hook.slots[slot]?.key ?? '';
      return {
        policyId,
        key,
        selectors: hook.selectors.length,
        readings: new Set(hook.slots.map((slot) => slot.key)),
        lookUps: lookUpsOf(hook.terms, nameOf),
        // Programs on an LSM hook run in the order in which they came, and one that denies ends that.
        enforces: hook.call.kind === 'lsm' || hook.selectors.some(doesMoreThanPost),
      };
    });
  }

  private addHook(
    id: number,
    policy: Policy,
    { fields, called, ignoreMissing, hookIndex, path }: PolicyHook,
    call: ResolvedCall,
  ): void {
    const hook = this.builder(call, id);
    const args = fields.args ?? [];
    const data = called?.data ?? [];
    const slotsOf = (list: readonly Argument[], part: 'args' | 'data') => {
      const slots = new Map<number, number>();
      list.forEach((argument, position) => {
        const reading = readingOf(argument, part === 'data', called, call);
        if (reading.type === ArgumentType.nop) return;
        slots.set(position, this.slot(hook, reading, true, policy, `${path}.${part}[${position}]`));
      });
      return slots;
    };
    const slotOf = slotsOf(args, 'args');
    const dataSlotOf = slotsOf(data, 'data');
    const labels = (list: readonly Argument[], slots: ReadonlyMap<number, number>) =>
      [...slots.keys()].map((position) => list[position]?.label ?? '');
    const returns = called?.return === true;
    const returnSlot = this.returnSlot(hook, called, policy, path);
    const selectors = expandSelectors(policy, fields, path);
    hook.bindings.push({
      policyId: id,
      hookIndex,
      policyName: policy.name,
      policyNamespace: policy.namespace,
      message: fields.message ?? '',
      tags: fields.tags ?? [],
      argumentLabels: [
        ...labels(args, slotOf),
        ...labels(data, dataSlotOf),
        ...(returnSlot === undefined ? [] : [called?.returnArg?.label ?? '']),
      ],
      ...agentActionsOf(selectors),
      eventKind: eventKindOf(call),
      ignoreMissing,
    });
    const monitor = optionValue(policy, 'policy-mode', 'enforce') === 'monitor';
    selectors.forEach((selector, selectorIndex) => {
      const terms: Term[] = [];
      const addTerms = (
        part: readonly Located<ArgumentTerm>[],
        list: readonly Argument[],
        slots: ReadonlyMap<number, number>,
      ) => {
        for (const { item, path: at } of part) {
          if (item.operator === 'CelExpr') continue;
          const found = findArgument(list, item);
          const position = 'position' in found ? found.position : -1;
          const argument = list[position];
          const slot = slots.get(position);
          if (argument === undefined || slot === undefined)
            throw new TypeError(`${at}: validation let it pass`);
          if (item.operator === 'CapabilitiesGained') {
            const gained = gainedArgument(item, list, position);
            const newSlot = typeof gained === 'number' ? slots.get(gained) : undefined;
            if (newSlot === undefined) throw new TypeError(`${at}: validation let it pass`);
            terms.push(gainedTerm(slot, newSlot, at));
          } else {
            terms.push(argumentTerm(item, policy, argument, namesOwnAddress(call), slot, at));
          }
        }
      };
      addTerms(selector.matchArgs, args, slotOf);
      addTerms(selector.part('matchData'), data, dataSlotOf);
      for (const { item, path: at } of selector.part('matchReturnArgs')) {
        if (returnSlot === undefined || called?.returnArg === undefined)
          throw new TypeError(`${at}: validation let it pass`);
        terms.push(argumentTerm(item, policy, called.returnArg, false, returnSlot, at));
      }
      const scopeTerms: Term[] = [];
      const next = binariesMeanNext(policy, call.meaning, args, selector);
      if (next) {
        for (const { item, path: at } of selector.matchBinaries) {
          const slot = this.slot(hook, { type: ArgumentType.linuxBinprm, index: 0 }, false, policy, at);
          terms.push(textTerm(item.operator, item.values, slot, at));
        }
      } else {
        scopeTerms.push(
          ...binaryTerms(selector.matchBinaries, ScopeAttribute.binary, ScopeAttribute.lineage),
        );
      }
      scopeTerms.push(...processTerms(selector), ...workloadTerms(policy, selector));
      const holds = holdsUndecided(policy, selector);
      const planned: PlannedSelector = {
        policyId: id,
        hookIndex,
        selectorIndex,
        ...effectsOf(selector.matchActions),
        monitor,
        ...(holds ? { holdsUndecided: true as const } : {}),
        ...rateLimitOf(selector),
        ...notificationOf(selector),
        ...stacksOf(selector),
        ...hashOf(selector),
        ...settingOf(selector),
        ...plannedSockets(
          selector.matchActions,
          selector.part('matchReturnActions'),
          called,
          args,
          slotOf,
          returnSlot,
        ),
        scope: this.scopes.number(scopeTerms, holds, policy, selector.path),
        shownArguments: [
          ...slotOf.values(),
          ...dataSlotOf.values(),
          ...(returnSlot === undefined ? [] : [returnSlot]),
        ],
        ...(returns ? returnOf(selector, returnSlot !== undefined, called) : {}),
      };
      // Each alternative of its expressions is a bit of its own; of those that match, the first acts.
      for (const more of alternativesOf(selector, args, slotOf)) {
        if (hook.selectors.length === limits.selectors_per_hook) {
          this.refuse(
            policy,
            selector.path,
            `more than ${limits.selectors_per_hook} selectors on ${call.symbol}, ${ofOne}`,
          );
        }
        hook.selectors.push(planned);
        hook.terms.push(joinComparisons([...terms, ...more], (slot) => hook.slots[slot]?.type ?? 0));
        hook.origins.push({ policy, path: selector.path });
      }
    });
  }

  /** The slot of the return value; undefined where the hook does not read it. */
  private returnSlot(
    hook: HookBuilder,
    called: CalledFields | undefined,
    policy: Policy,
    path: string,
  ): number | undefined {
    const returned = called?.returnArg;
    const type = typeInfo(returned?.type ?? '')?.type;
    if (returned === undefined || type === undefined || type === ArgumentType.nop) return undefined;
    const reading = { type, index: returned.index, returned: true };
    return this.slot(hook, reading, true, policy, `${path}.returnArg`);
  }

  private finishHook(key: string, hook: HookBuilder): HookPlan {
    const { symbol, kind } = hook.call;
    const width = Math.min(hook.selectors.length, limits.selectors_per_hook);
    const dimensions = buildDimensions(
      width,
      hook.terms.slice(0, width),
      limits.dimensions_per_hook,
      (bit, term) => {
        const origin = hook.origins[bit];
        if (origin !== undefined) {
          this.refuse(
            origin.policy,
            term.path,
            `the policies on ${symbol} need more than ${limits.dimensions_per_hook} look-ups, ${ofOne}: put values of one operator into one term`,
          );
        }
      },
    );
    const denies =
      canDeny(hook.call) &&
      hook.selectors.some(
        ({ monitor, actions }) =>
          !monitor && (actions & ((1 << ActionBit.sigkill) | (1 << ActionBit.override))) !== 0,
      );
    return inReadingOrder({
      key,
      ...(hook.page === 0 ? {} : { page: hook.page }),
      eventKind: eventKindOf(hook.call),
      symbol,
      ...(hook.call.place === undefined ? {} : { user: hook.call.place }),
      syscall: kind === 'syscall',
      lsmCaller: kind === 'lsm' ? hook.call.meaning : null,
      ...(hook.call.calls === undefined ? {} : { calls: hook.call.calls }),
      ...(hook.call.tracepoint === undefined ? {} : { tracepoint: hook.call.tracepoint }),
      denies,
      returns: hook.selectors.some((selector) => selector.returns === true),
      arguments: hook.slots.map(
        ({ type, index, field, register, data, returned, buffer, userMemory, shown }): PlannedArgument => ({
          type,
          index,
          hidden: !shown,
          ...(field === undefined ? {} : { field }),
          ...(register === undefined ? {} : { register }),
          ...(userMemory === true ? { userMemory } : {}),
          ...(data === true ? { data } : {}),
          ...(returned === true ? { returned } : {}),
          ...(buffer === undefined ? {} : { buffer }),
          ...(type === ArgumentType.sockaddr && namesOwnAddress(hook.call) ? { ownAddress: true } : {}),
          ...(type === ArgumentType.sockaddrUn && field === undefined && sizeFollows(hook.call)
            ? { sized: true }
            : {}),
        }),
      ),
      selectors: hook.selectors,
      bindings: hook.bindings,
      dimensions,
    });
  }

  private finishScopes(): ScopePlan {
    const { terms, origins } = this.scopes;
    const over = origins[limits.selectors_per_hook];
    if (over !== undefined) {
      this.refuse(
        over.policy,
        over.path,
        `the policies need more than ${limits.selectors_per_hook} different scopes (conditions on the process)`,
      );
      return { scopeCount: 0, dimensions: [], changing: 0n, holding: 0n, lineages: [] };
    }
    const dimensions = buildDimensions(terms.length, terms, limits.dimensions_per_hook, (bit, term) => {
      const origin = origins[bit];
      if (origin !== undefined) {
        this.refuse(
          origin.policy,
          term.path,
          `the scopes of the policies need more than ${limits.dimensions_per_hook} look-ups together`,
        );
      }
    });
    let changing = 0n;
    terms.forEach((ofScope, number) => {
      if (ofScope.some(({ argument }) => scopeAttributeChanges(argument))) changing |= 1n << BigInt(number);
    });
    const { holding } = this.scopes;
    return { scopeCount: terms.length, dimensions, changing, holding, lineages: this.lineages() };
  }

  private lineages(): Lineage[] {
    const found = new Map<string, Lineage>();
    this.scopes.terms.forEach((terms, number) => {
      for (const term of terms) {
        for (const value of term.kind === 'set' ? term.values : []) {
          if (typeof value === 'number' || found.has(value.key)) continue;
          found.set(value.key, value);
          const origin = this.scopes.origins[number];
          if (found.size === limits.lineages + 1 && origin !== undefined) {
            this.refuse(
              origin.policy,
              term.path,
              `the policies follow more than ${limits.lineages} different descents (followChildren, followForks)`,
            );
          }
        }
      }
    });
    return [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  finish(): Plan {
    // Later pages first: a policy that has to leave the first one is then told of twice for a moment, and not missed.
    const hooks = [...this.hooks]
      .sort(([, a], [, b]) => b.page - a.page)
      .map(([key, hook]) => this.finishHook(key, hook));
    if (hooks.length > limits.hooks) {
      const last = [...this.hooks.values()][limits.hooks]?.origins[0];
      if (last !== undefined)
        this.refuse(
          last.policy,
          last.path,
          `the policies have ${hooks.length} hooks: ${limits.hooks} is the most`,
        );
    }
    const scopes = this.finishScopes();
    throwIssues(this.issues);
    return { hooks: withSocketOwners(hooks), scopes };
  }
}

/**
 * Plans a set of policies. `former` says on which pages those are that are in force.
 * @throws {PolicyError} where one is wrong, asks what this version cannot do, or all together pass a limit; the
 * issues name the policy and the field.
 */
export function plan(policies: readonly PlanInput[], former: Pages = new Map()): Plan {
  throwIssues(
    policies.flatMap(({ policy }) => {
      const { errors } = validate(policy);
      return errors.length > 0
        ? errors
        : [...ungenerated(policy), ...unsupported(policy), ...undecidedTypes(policy)];
    }),
  );
  const planner = new Planner(assignPages(policies.flatMap(demandsOf), former));
  for (const input of policies) planner.add(input);
  for (const input of policies) planner.addEnforcers(input);
  return planner.finish();
}
