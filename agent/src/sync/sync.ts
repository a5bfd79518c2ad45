// SPDX-License-Identifier: Apache-2.0
// Owns the talk with the control plane: desired state in (verified before anything of it is used), reports and
// segments out. Three loops that end together; each goes on whatever befalls the others.

import { release } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type AgentReport,
  ControlPlaneClient,
  ControlPlaneClientError,
  type DesiredState,
  type SignedDesiredState,
  verifyDesiredState,
} from '@weir/control-plane/client';
import { FILTERS_MAX } from '@weir/schema';
import { type Agent, agentVersion } from '../agent.js';
import type { FilterModule } from '../desired.js';
import { uploadSegments } from '../spool/index.js';
import type { Enrolment } from './enrol.js';
import { ReleaseStore } from './release.js';

/** A long poll; the control plane may answer sooner. */
const WAIT_SECONDS = 20;
const RETRY_MS_MAX = 15_000;
/** What a report may say of one thing. */
const TEXT_MAX = 500;

/** Codes with which the control plane itself refuses a segment for good. */
const refusals: ReadonlySet<string> = new Set(['invalid_segment', 'conflict']);

export class Sync {
  readonly #agent: Agent;
  readonly #enrolment: Enrolment;
  readonly #client: ControlPlaneClient;
  readonly #store: ReleaseStore;
  readonly #ended = new AbortController();
  readonly #uploadsEnded = new AbortController();
  readonly #loops: Promise<unknown>[] = [];
  #uploads: Promise<void> | undefined;
  #sequence = 0;
  #etag: string | undefined;
  #connected = false;
  #error: string | undefined;
  #lastContactMs: number | undefined;
  #wakeReport: () => void = () => {};

  constructor(agent: Agent, enrolment: Enrolment) {
    this.#agent = agent;
    this.#enrolment = enrolment;
    this.#client = new ControlPlaneClient({ url: enrolment.url, token: enrolment.token });
    this.#store = new ReleaseStore(agent.config.dataFolder);
    this.#tell();
  }

  /** Puts the last good release in force, then begins to listen. Answers once something is in force or was asked for. */
  async start(): Promise<void> {
    const last = await this.#store.read();
    if (last !== undefined)
      await this.#apply(last, false).catch((error) => this.#agent.fail('release', error));
    const first = this.#listen();
    this.#loops.push(this.#report());
    const { spool } = this.#agent;
    if (spool !== undefined) {
      this.#uploads = uploadSegments(
        spool,
        {
          put: async (segment, signal) => {
            const bytes = await segment.read();
            try {
              const copy = new Uint8Array(bytes);
              return (await this.#client.uploadSegment(segment.sequence, copy, { signal })).status;
            } catch (error) {
              // Wrong bytes never become right, nor does a place in the chain that another segment has; all else may
              // pass, and so may whatever stands between and answers as it likes.
              if (error instanceof ControlPlaneClientError && refusals.has(error.code)) {
                this.#agent.fail('upload', error);
                return 'refused';
              }
              throw error;
            }
          },
        },
        this.#uploadsEnded.signal,
        {
          onFailure: (error) => {
            this.#failed(error);
            // Who is about to end waits for nobody who does not answer: the spool keeps it all for the next start.
            const answered = error instanceof ControlPlaneClientError && error.status !== 0;
            if (this.#ended.signal.aborted && !answered) this.#uploadsEnded.abort();
          },
        },
      );
    }
    await first;
  }

  /** Asks once, then goes on asking beside everything else. */
  async #listen(): Promise<void> {
    await this.#ask(0).catch((error) => this.#failed(error));
    this.#loops.push(this.#listenOn());
  }

  async #listenOn(): Promise<void> {
    let waitMs = 250;
    while (!this.#ended.signal.aborted) {
      try {
        await this.#ask(WAIT_SECONDS);
        waitMs = 250;
      } catch (error) {
        this.#failed(error);
        await delay(waitMs * (0.5 + Math.random() / 2), undefined, { signal: this.#ended.signal }).catch(
          () => undefined,
        );
        waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
      }
    }
  }

  async #ask(waitSeconds: number): Promise<void> {
    const answer = await this.#client.desired({
      ...(this.#etag === undefined ? {} : { etag: this.#etag }),
      waitSeconds,
      signal: this.#ended.signal,
    });
    this.#succeeded();
    if (!answer.changed) return;
    await this.#apply(answer.signed, true);
    this.#etag = answer.etag;
    this.#wakeReport();
  }

  async #apply(signed: SignedDesiredState, fresh: boolean): Promise<void> {
    const state = await verifyDesiredState(signed, {
      controlPlaneKey: this.#enrolment.controlPlaneKey,
      agentId: this.#enrolment.agentId,
      sequenceMin: this.#sequence,
    });
    const filters = await this.#filters(state, fresh);
    // Filters first: events of a new policy should meet the filters that were made for it.
    await this.#agent.desired.applyFilters(filters);
    await this.#agent.desired.applyPolicies(
      state.policies.map(({ name, source, digest }) => ({ origin: name, text: source, digest })),
    );
    this.#sequence = state.release.sequence;
    this.#agent.setRelease(state.release.sequence);
    if (!fresh) return;
    await this.#store.write(signed);
    await this.#store.keepOnly(state.filters.map(({ digest }) => digest));
  }

  async #filters(state: DesiredState, fresh: boolean): Promise<FilterModule[]> {
    const modules: FilterModule[] = [];
    for (const { name, version, digest, config, signatures } of state.filters) {
      let bytes = await this.#store.filter(digest);
      if (bytes === undefined) {
        bytes = await this.#client.desiredFilter(digest, { signal: this.#ended.signal });
        if (fresh) await this.#store.putFilter(digest, bytes);
      }
      const text =
        config === undefined || Object.keys(config).length === 0 ? undefined : JSON.stringify(config);
      modules.push({
        name,
        version,
        digest,
        bytes,
        ...(text === undefined ? {} : { config: text }),
        ...(signatures === undefined ? {} : { signatures }),
      });
    }
    return modules;
  }

  #succeeded(): void {
    this.#connected = true;
    this.#error = undefined;
    this.#lastContactMs = Date.now();
    this.#tell();
  }

  #failed(error: unknown): void {
    if (this.#ended.signal.aborted) return;
    const message = error instanceof Error ? error.message : String(error);
    // The same trouble is told of once.
    if (message !== this.#error) this.#agent.fail('control-plane', error);
    this.#connected = false;
    this.#error = message;
    this.#tell();
  }

  #tell(): void {
    this.#agent.controlPlane = {
      url: this.#enrolment.url,
      agentId: this.#enrolment.agentId,
      connected: this.#connected,
      ...(this.#error === undefined ? {} : { error: this.#error }),
      ...(this.#lastContactMs === undefined ? {} : { lastContactMs: this.#lastContactMs }),
    };
  }

  async #report(): Promise<void> {
    while (!this.#ended.signal.aborted) {
      try {
        await this.#client.report(this.#makeReport());
        this.#succeeded();
      } catch (error) {
        this.#failed(error);
      }
      if (this.#ended.signal.aborted) return;
      // `stop` wakes it as well.
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.#agent.config.reportSeconds * 1000);
        this.#wakeReport = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #makeReport(): AgentReport {
    const status = this.#agent.status();
    const cut = (text: string) => text.slice(0, TEXT_MAX);
    return {
      releaseSequence: status.releaseSequence,
      agentVersion,
      kernel: release(),
      bootId: status.bootId,
      policies: status.policies.map((policy) => ({
        name: policy.name,
        ...(policy.namespace === '' ? {} : { namespace: policy.namespace }),
        ...(policy.digest === undefined ? {} : { digest: policy.digest }),
        state: policy.state,
        mode: policy.mode,
        ...(policy.reason === undefined ? {} : { reason: cut(policy.reason) }),
        hooks: [
          ...policy.hooks.map((name) => ({ name, attached: true })),
          ...policy.skippedHooks.map((name) => ({
            name,
            attached: false,
            reason: 'this kernel has no such function',
          })),
        ],
      })),
      filters: status.filters.slice(0, 2 * FILTERS_MAX).map((filter) => ({
        name: filter.name,
        ...(filter.version === '' ? {} : { version: filter.version }),
        ...(filter.digest === '' ? {} : { digest: withScheme(filter.digest) }),
        state: filter.state,
        ...(filter.code === undefined ? {} : { code: filter.code }),
        ...(filter.reason === undefined ? {} : { reason: cut(filter.reason) }),
        statistics: {
          events: filter.events,
          kept: filter.kept,
          dropped: filter.dropped,
          traps: filter.traps,
          alerts: filter.alerts,
          cpuNs: Math.round(filter.cpuNs),
          memoryBytes: filter.memoryBytes,
          fuel: filter.fuel,
          heldBack: filter.heldBack,
          labelsRefused: filter.labelsRefused,
          logLinesLost: filter.logLinesLost,
        },
      })),
      losses: Object.fromEntries(Object.entries(status.losses).filter(([, count]) => count > 0)),
      counters: {
        produced: status.events.produced,
        handled: status.events.handled,
        kept: status.events.kept,
        dropped: status.events.dropped,
      },
      errors: status.errors.slice(-20).map(({ code, message }) => ({ code, message: cut(message) })),
    };
  }

  /** Listens and reports no more. Segments go on being uploaded: see `handOver`. */
  async stop(): Promise<void> {
    this.#ended.abort();
    this.#wakeReport();
    await Promise.allSettled(this.#loops);
  }

  /** Uploads what is left in the spool once that was closed, as far as it goes within the limit. */
  async handOver(limitMs: number): Promise<void> {
    if (!this.#connected) this.#uploadsEnded.abort();
    const timer = setTimeout(() => this.#uploadsEnded.abort(), limitMs);
    await this.#uploads;
    clearTimeout(timer);
  }
}

function withScheme(digest: string): string {
  return digest.startsWith('sha256:') ? digest : `sha256:${digest}`;
}
