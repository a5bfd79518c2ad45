// SPDX-License-Identifier: Apache-2.0
// Owns what the hooks of the policies in force have done and cost, as the command line is told.
import { setTimeout as sleep } from 'node:timers/promises';
import { enableProgramStats } from '@weir/native';
import type { Metric } from './metrics/prometheus.js';
import type { HookReport, PolicySet } from './policy/index.js';
import type { ActionState, HookState } from './socket/types.js';

type Runs = ReadonlyMap<number, { readonly runs: bigint; readonly ns: bigint }>;

function runsOf(report: readonly HookReport[]): Runs {
  return new Map(
    report.map(({ program }) => [program.programId, { runs: program.runCount, ns: program.runTimeNs }]),
  );
}

function stateOf(hook: HookReport, before: Runs): HookState {
  const { program } = hook;
  const began = before.get(program.programId);
  const runs = began === undefined ? 0n : program.runCount - began.runs;
  const ns = began === undefined ? 0n : program.runTimeNs - began.ns;
  return {
    hook: hook.symbol,
    type: program.type,
    hits: Number(hook.hits),
    skipped: Number(program.recursionMisses),
    undecided: Number(hook.undecided),
    ...(runs === 0n ? {} : { nsPerRun: Number(ns) / Number(runs) }),
    memoryBytes: program.memlockBytes + hook.entryBytes,
    policies: hook.policies.map(({ counts, ...policy }) => ({
      ...policy,
      ...(counts === undefined
        ? {}
        : {
            counts: {
              matches: Number(counts.matches),
              posted: Number(counts.posted),
              rateLimited: Number(counts.rateLimited),
              lost: Number(counts.lost),
              enforced: Number(counts.enforced),
              enforceFailed: Number(counts.enforceFailed),
              throttled: Number(counts.throttled),
            },
          }),
    })),
  };
}

/** The hooks in force. With `measureMs` the kernel's run statistics are turned on for so long: they cost time themselves. */
export async function hookStates(
  policies: PolicySet | undefined,
  measureMs: number,
): Promise<readonly HookState[]> {
  if (policies === undefined) return [];
  if (measureMs === 0) return policies.report().map((hook) => stateOf(hook, new Map()));
  const statistics = enableProgramStats();
  try {
    const before = runsOf(policies.report());
    await sleep(measureMs);
    return policies.report().map((hook) => stateOf(hook, before));
  } finally {
    statistics.close();
  }
}

/** What each policy did on each hook, for metrics. */
export function policyHooks(policies: PolicySet | undefined): Metric {
  const sums = new Map<string, { labels: Record<string, string>; value: number }>();
  for (const { symbol, policies: onHook } of policies?.report() ?? []) {
    for (const { name, namespace, counts } of onHook) {
      for (const [what, value] of Object.entries(counts ?? {})) {
        // A policy can have several hooks on one function: they are one series.
        const labels = { policy: name, namespace, hook: symbol, what };
        const key = Object.values(labels).join(' ');
        const known = sums.get(key);
        sums.set(key, { labels, value: (known?.value ?? 0) + Number(value) });
      }
    }
  }
  const samples = [...sums.values()].map(({ labels, value }): Metric['samples'][number] => [labels, value]);
  return {
    name: 'weir_policy_hook_total',
    help: 'What policies did on their hooks: calls matched, events posted, lost and held back, calls enforced on.',
    type: 'counter',
    samples,
  };
}

/** What became of the actions that the agent does, as a metric. */
export function policyActions(states: readonly ActionState[]): Metric {
  return {
    name: 'weir_policy_action_total',
    help: 'GetUrl and DnsLookup of policies, by what became of them.',
    type: 'counter',
    samples: states.flatMap(({ policy, namespace, action, done, failed, rateLimited, noRoom }) =>
      Object.entries({ done, failed, rate_limited: rateLimited, no_room: noRoom }).map(
        ([result, count]): [Record<string, string>, number] => [{ policy, namespace, action, result }, count],
      ),
    ),
  };
}
