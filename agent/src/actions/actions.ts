// SPDX-License-Identifier: Apache-2.0
// Owns the actions that the agent does for events of policies, within bounds: how many wait, how many run, how many a
// policy may have in a while, how long one takes. What is over is dropped and counted; nothing of it holds events up.
import type { AgentAction } from '@weir/policy';
import { getUrl, lookUpName } from './do.js';

/** Actions that wait for their turn. */
const WAITING_MAX = 64;
/** Actions under way. */
const RUNNING_MAX = 4;
/** A policy may do so many at once, and one more each second. */
const BURST = 10;
const PER_SECOND = 1;
const TIMEOUT_MS = 5000;
/** Policies whose counts are kept. */
const POLICIES_MAX = 1024;

/** What became of the actions of one kind that a policy asked for, since the agent started. */
export interface ActionCounts {
  readonly policy: string;
  readonly namespace: string;
  readonly action: AgentAction['kind'];
  done: number;
  failed: number;
  /** Over the policy's rate. */
  rateLimited: number;
  /** No room among those that wait. */
  noRoom: number;
  /** Why the last one failed. */
  lastError?: string;
}

/** Whose action it is. */
export interface ActionOwner {
  readonly policyName: string;
  readonly policyNamespace: string;
}

export interface AgentActionsOptions {
  /** Milliseconds that only rise. */
  readonly nowMs?: () => number;
  /** Does one; fails with why. */
  readonly perform?: (action: AgentAction, signal: AbortSignal) => Promise<void>;
  readonly timeoutMs?: number;
}

interface Budget {
  tokens: number;
  atMs: number;
}

interface Waiting {
  readonly action: AgentAction;
  readonly counts: ActionCounts;
}

export function performAction({ kind, target }: AgentAction, signal: AbortSignal): Promise<void> {
  return kind === 'GetUrl' ? getUrl(target, signal) : lookUpName(target, signal);
}

export class AgentActions {
  readonly #nowMs: () => number;
  readonly #perform: NonNullable<AgentActionsOptions['perform']>;
  readonly #timeoutMs: number;
  readonly #counts = new Map<string, ActionCounts>();
  readonly #budgets = new Map<string, Budget>();
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<AbortController>();
  #closed = false;

  constructor(options: AgentActionsOptions = {}) {
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#perform = options.perform ?? performAction;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
  }

  /** Does an action soon, or counts that it is not done. */
  take(owner: ActionOwner, action: AgentAction): void {
    if (this.#closed) return;
    const counts = this.#countsOf(owner, action.kind);
    if (!this.#spend(`${owner.policyNamespace}/${owner.policyName}`)) counts.rateLimited++;
    else if (this.#waiting.length >= WAITING_MAX) counts.noRoom++;
    else {
      this.#waiting.push({ action, counts });
      this.#next();
    }
  }

  /** What became of actions, by policy and kind. */
  counts(): readonly ActionCounts[] {
    return [...this.#counts.values()];
  }

  /** Takes no more, gives up what is under way. */
  close(): void {
    this.#closed = true;
    this.#waiting.length = 0;
    for (const controller of this.#running) controller.abort(new Error('the agent ends'));
  }

  #countsOf({ policyName, policyNamespace }: ActionOwner, action: AgentAction['kind']): ActionCounts {
    const key = `${policyNamespace}/${policyName} ${action}`;
    const known = this.#counts.get(key);
    if (known !== undefined) return known;
    const [oldest] = this.#counts.keys();
    if (this.#counts.size >= POLICIES_MAX && oldest !== undefined) this.#counts.delete(oldest);
    const counts = {
      policy: policyName,
      namespace: policyNamespace,
      action,
      done: 0,
      failed: 0,
      rateLimited: 0,
      noRoom: 0,
    };
    this.#counts.set(key, counts);
    return counts;
  }

  /** Whether a policy may do one more. */
  #spend(policy: string): boolean {
    const now = this.#nowMs();
    const budget = this.#budgets.get(policy) ?? { tokens: BURST, atMs: now };
    this.#budgets.delete(policy);
    const [oldest] = this.#budgets.keys();
    if (this.#budgets.size >= POLICIES_MAX && oldest !== undefined) this.#budgets.delete(oldest);
    this.#budgets.set(policy, budget);
    budget.tokens = Math.min(BURST, budget.tokens + ((now - budget.atMs) / 1000) * PER_SECOND);
    budget.atMs = now;
    if (budget.tokens < 1) return false;
    budget.tokens--;
    return true;
  }

  #next(): void {
    while (this.#running.size < RUNNING_MAX) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      void this.#run(next);
    }
  }

  async #run({ action, counts }: Waiting): Promise<void> {
    const controller = new AbortController();
    this.#running.add(controller);
    const timer = setTimeout(
      () => controller.abort(new Error(`took longer than ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
    try {
      await this.#perform(action, controller.signal);
      counts.done++;
    } catch (error) {
      counts.failed++;
      const reason: unknown = controller.signal.aborted ? controller.signal.reason : error;
      counts.lastError = reason instanceof Error ? reason.message : String(reason);
    } finally {
      clearTimeout(timer);
      this.#running.delete(controller);
      this.#next();
    }
  }
}
