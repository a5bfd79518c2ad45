#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Owns the process of weir-agent: its command line, its signals, and its end.
import { BatchReader } from '@weir/segment';
import { Agent, agentVersion } from './agent.js';
import { applyFiles } from './apply-files.js';
import { ConfigError, readConfig, usage } from './config.js';
import { Subscriber } from './socket/subscriber.js';
import { enrol, Sync } from './sync/index.js';
import { WorkloadFile } from './workload-file.js';

/** How long an orderly end may take. */
const END_MS_MAX = 10_000;
/** Of that, for what the spool still holds. */
const HAND_OVER_MS_MAX = 5_000;

function complain(message: string): void {
  process.stderr.write(`weir-agent: ${message}\n`);
}

async function run(args: readonly string[]): Promise<number> {
  const answer = readConfig(args);
  if ('help' in answer) {
    process.stdout.write(usage);
    return 0;
  }
  if ('version' in answer) {
    process.stdout.write(`weir-agent ${agentVersion}\n`);
    return 0;
  }
  const { config } = answer;
  const signal = endSignal();
  const enrolment = config.controlPlane === undefined ? undefined : await enrol(config, signal);
  if (signal.aborted) return 0;
  const agent = await Agent.start(config, {
    agentId: enrolment?.agentId ?? `standalone.${config.nodeName}`.slice(0, 64),
    clusterName: enrolment?.cluster ?? config.clusterName,
    nodeLabels: { ...config.nodeLabels, ...enrolment?.labels },
  });
  if (config.print !== 'none') {
    const printer = new Subscriber(
      process.stdout,
      { format: config.print, colour: process.stdout.isTTY },
      { details: config.details, ancestors: Math.max(0, config.ancestors - 1) },
    );
    agent.pipeline.observe((batch) => printer.show(new BatchReader(batch)));
  }
  const sync = enrolment === undefined ? undefined : new Sync(agent, enrolment);
  let workloads: WorkloadFile | undefined;
  try {
    if (config.workloadsFile !== undefined) {
      workloads = await WorkloadFile.open({
        path: config.workloadsFile,
        set: (list) => agent.setWorkloads(list),
        complain,
      });
    }
    if (sync === undefined) {
      await applyFiles(agent);
      for (const policy of agent.desired.policies()) {
        const reason = policy.reason === undefined ? '' : `: ${policy.reason}`;
        complain(`policy ${policy.name} is ${policy.state} (${policy.mode})${reason}`);
      }
      for (const filter of agent.desired.filters()) {
        complain(
          `filter ${filter.name} is ${filter.state}${filter.reason === undefined ? '' : `: ${filter.reason}`}`,
        );
      }
    } else {
      await sync.start();
    }
    complain(`ready on ${config.nodeName}, socket ${config.socketPath}`);
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener('abort', () => resolve(), { once: true });
    });
  } finally {
    // What hangs here must not hold the node's shutdown.
    setTimeout(() => process.exit(1), END_MS_MAX).unref();
    await workloads?.close();
    await sync?.stop();
    await agent.close();
    await sync?.handOver(HAND_OVER_MS_MAX);
  }
  return 0;
}

function endSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => controller.abort());
  }
  return controller.signal;
}

run(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    complain(error instanceof Error ? error.message : String(error));
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  },
);
