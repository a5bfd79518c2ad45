// SPDX-License-Identifier: Apache-2.0
// Runs the agent as a whole in the process of a scenario, and keeps what it tells, decoded as the archive would.

import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, type AgentStatus, applyFiles, readConfig } from '@weir/agent';
import { BatchDecoder, BatchReader, type DecodedRecord } from '@weir/segment';
import { policyOf } from './hooks.js';

export interface AgentGuest {
  readonly agent: Agent;
  /** All that was told so far, in the order of its batches. */
  readonly records: readonly DecodedRecord[];
  status(): AgentStatus;
}

/** Runs a body beside an agent with these options and policies, and ends it whatever comes. */
export async function withAgent(
  folder: string,
  options: readonly string[],
  policies: readonly string[],
  body: (guest: AgentGuest) => Promise<void>,
): Promise<void> {
  const files = policies.flatMap((text, index) => {
    const file = join(folder, `policy-${index}.yaml`);
    writeFileSync(file, text);
    return ['--policy', file];
  });
  const data = join(folder, 'agent');
  const answer = readConfig([
    ...[
      '--no-spool',
      '--pin',
      'none',
      '--data',
      data,
      '--socket',
      join(folder, 'agent.sock'),
      '--node',
      'guest',
    ],
    ...options,
    ...files,
  ]);
  if (!('config' in answer)) throw new Error('these are no options to run an agent with');
  const agent = await Agent.start(answer.config, { agentId: 'guest', clusterName: '', nodeLabels: {} });
  const records: DecodedRecord[] = [];
  agent.pipeline.observe((batch) => {
    const reader = new BatchReader(batch.slice());
    const decoder = new BatchDecoder(reader);
    for (let index = 0; index < reader.header.recordCount; index++) records.push(decoder.record(index));
  });
  try {
    await applyFiles(agent);
    for (const { name, state, reason } of agent.desired.policies()) {
      if (state !== 'loaded') throw new Error(`${name} is ${state}: ${reason}`);
    }
    await body({ agent, records, status: () => agent.status() });
  } finally {
    await agent.close();
  }
}

/** Makes a cgroup, and a file to which processes write their number to be in it. The last to go takes it away. */
export function makeCgroup(name: string): { readonly procs: string; remove(): void } {
  const path = join('/sys/fs/cgroup', name);
  mkdirSync(path);
  return { procs: join(path, 'cgroup.procs'), remove: () => rmdirSync(path) };
}

/** A policy, `guarding`, by which nobody opens a file: EACCES. */
export function guarding(file: string): string {
  const matchArgs = [{ index: 0, operator: 'Equal', values: [file] }];
  const matchActions = [{ action: 'Override', argError: -13 }];
  return policyOf('guarding', 'security_file_open', ['file'], [{ matchArgs, matchActions }]);
}
