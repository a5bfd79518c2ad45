// SPDX-License-Identifier: Apache-2.0
// Owns the agent that `weir up` starts on this machine, raised by sudo where we are not root.
import type { ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentWithReport, ControlPlaneClient } from '@weir/control-plane/client';
import { CliError } from '../errors.js';
import { cell, type Output } from '../output.js';
import type { Places, ProcessIdentity } from '../state.js';
import { identifyRaised, isRoot, start, tail, until } from './processes.js';
import { agentEntry } from './repository.js';

/** Counters of the agent of this `weir up`, apart from those of an agent that was installed or of another one. */
export function pinFolder(at: Places): string {
  const name = createHash('sha256').update(at.folder).digest('hex').slice(0, 12);
  return `/sys/fs/bpf/weir-up-${name}`;
}

/** Says whether a path can be one that {@link pinFolder} gives. */
export function isPinFolder(path: string): boolean {
  return /^\/sys\/fs\/bpf\/weir-up-[0-9a-f]{12}$/.test(path);
}

const startMs = 60_000;

export interface StartedAgent {
  readonly identity: ProcessIdentity;
  readonly child: ChildProcess;
}

export interface AgentOptions {
  readonly url: string;
  readonly bootstrapToken: string;
  readonly monitor: boolean;
}

export async function startAgent(at: Places, options: AgentOptions): Promise<StartedAgent> {
  const tokenFile = join(at.folder, 'bootstrap-token');
  writeFileSync(tokenFile, `${options.bootstrapToken}\n`, { mode: 0o600 });
  const sudo = !isRoot();
  const args = [
    ...['--control-plane', options.url, '--token-file', tokenFile],
    ...['--data', at.agentData, '--socket', at.socket, '--pin', pinFolder(at), '--report-seconds', '2'],
    ...['--filter-key', `${at.filterKeyFile}.pub`],
    ...(options.monitor ? ['--monitor'] : []),
    // So that weir events and weir status need no root.
    ...(sudo ? ['--socket-owner', String(process.getuid?.())] : []),
  ];
  // sudo asks its own terminal whether we may: so it stays in our session, and is told by us when to end.
  const child = start(agentEntry, args, at.agentLog, { detached: !sudo, sudo });
  const identity = await identifyRaised(child, sudo);
  if (identity === undefined) throw notStarted(at);
  return { identity, child };
}

function notStarted(at: Places): CliError {
  return new CliError('The agent did not start.', [
    ...tail(at.agentLog),
    `Its log: ${at.agentLog}`,
    'weir probe says what this kernel offers; weir up --vm runs the agent in a small virtual machine instead.',
  ]);
}

/** Waits until the agent has reported the release in force. */
export async function waitForReport(
  client: ControlPlaneClient,
  sequence: number,
  options: { sinceMs: number; limitMs?: number; ended: () => boolean; signal: AbortSignal },
): Promise<AgentWithReport | undefined> {
  return until(
    options.limitMs ?? startMs,
    async () => {
      if (options.ended()) return undefined;
      const agents = await client.agents();
      const ready = agents.find(
        (agent) => (agent.reportedMs ?? 0) >= options.sinceMs && (agent.releaseSequence ?? 0) >= sequence,
      );
      return ready === undefined ? undefined : client.agent(ready.id);
    },
    options.signal,
  );
}

export async function agentReady(
  at: Places,
  client: ControlPlaneClient,
  sequence: number,
  agent: StartedAgent,
  options: { sinceMs: number; signal: AbortSignal },
): Promise<AgentWithReport> {
  const ended = () => agent.child.exitCode !== null || agent.child.signalCode !== null;
  const found = await waitForReport(client, sequence, { ...options, ended });
  if (found === undefined) throw notStarted(at);
  return found;
}

/** Says what of the release runs on the agent, and what this kernel refused and why. */
export function showReport(output: Output, { report }: AgentWithReport): void {
  for (const policy of report?.policies ?? []) {
    const hooks = policy.hooks.filter(({ attached }) => attached).map(({ name }) => cell(name));
    const where =
      hooks.length === 0 ? '' : ` on ${hooks.slice(0, 4).join(', ')}${hooks.length > 4 ? ', …' : ''}`;
    const mode = policy.mode === undefined ? '' : ` (${policy.mode})`;
    const reason = policy.reason === undefined ? '' : `: ${cell(policy.reason)}`;
    output.line(`  policy ${cell(policy.name)} ${policy.state}${where}${mode}${reason}`);
    for (const hook of policy.hooks.filter(({ attached }) => !attached)) {
      output.line(`    ${cell(hook.name)} not attached: ${cell(hook.reason)}`);
    }
  }
  for (const filter of report?.filters ?? []) {
    const reason = filter.reason === undefined ? '' : `: ${cell(filter.reason)}`;
    output.line(`  filter ${cell(filter.name)} ${cell(filter.version)} ${filter.state}${reason}`);
  }
  for (const error of report?.errors ?? []) output.line(`  ${cell(error.code)}: ${cell(error.message)}`);
}
