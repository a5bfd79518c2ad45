// SPDX-License-Identifier: Apache-2.0
// Owns the metrics of the agent as a whole: what its parts have counted, by name.
import { policyActions, policyHooks } from './hook-states.js';
import type { Join } from './join/join.js';
import { labelled, type Metric, single } from './metrics/prometheus.js';
import type { PipelineStats } from './pipeline/pipeline.js';
import type { PolicySet } from './policy/index.js';
import type { AgentStatus } from './socket/types.js';
import type { Throttles } from './throttle/throttles.js';
import { throttleMetrics } from './throttle-status.js';

export interface MetricSources {
  readonly status: AgentStatus;
  readonly stats: PipelineStats;
  readonly join: Pick<Join, 'orphans' | 'unbound' | 'malformed'>;
  readonly keptWithoutKeys: number;
  readonly stringsRefused: number;
  readonly throttles: Throttles;
  readonly policies: PolicySet | undefined;
}

export function agentMetrics({
  status,
  stats,
  join,
  keptWithoutKeys,
  stringsRefused,
  throttles,
  policies,
}: MetricSources): Metric[] {
  return [
    labelled(
      'weir_kernel_total',
      'counter',
      'Counters of the kernel stage since they were made.',
      'counter',
      status.kernelCounters,
    ),
    labelled('weir_lost_total', 'counter', 'Events lost since the agent started.', 'stage', status.losses),
    labelled('weir_events_total', 'counter', 'Events by what became of them.', 'verdict', {
      kept: stats.kept,
      dropped: stats.dropped,
      held_back: stats.heldBack,
      unjudged: stats.unjudged,
      withheld: stats.withheld,
    }),
    ...throttleMetrics(throttles),
    single('weir_batches_total', 'counter', 'Batches that were joined.', stats.batches),
    single('weir_alerts_total', 'counter', 'Alerts that filters derived.', stats.alerts),
    single('weir_annotations_lost_total', 'counter', 'Annotations without room.', stats.annotationsLost),
    single('weir_alerts_lost_total', 'counter', 'Alerts without room.', stats.alertsLost),
    single('weir_filter_errors_total', 'counter', 'Events on which a filter trapped.', stats.filterErrors),
    single(
      'weir_filters_kept_without_keys_total',
      'counter',
      'Times that a filter stayed in force while the keys of authors could not be read.',
      keptWithoutKeys,
    ),
    single('weir_own_lost_total', 'counter', "Records of the agent's own without room.", stats.ownLost),
    single('weir_orphans_total', 'counter', 'Events of processes that were not known.', join.orphans),
    single('weir_unbound_total', 'counter', 'Events of policies that were not known.', join.unbound),
    single('weir_malformed_total', 'counter', 'Records of a wrong shape.', join.malformed),
    single(
      'weir_tamper_total',
      'counter',
      'Times that somebody interfered with the agent.',
      status.tamper.count,
    ),
    single('weir_process_entries', 'gauge', 'Entries of the process table.', status.processes.entries),
    single(
      'weir_process_evicted_total',
      'counter',
      'Running processes that were evicted.',
      status.processes.evicted,
    ),
    single(
      'weir_process_strings_refused_total',
      'counter',
      'Processes whose strings had no room.',
      stringsRefused,
    ),
    single('weir_ring_bytes', 'gauge', 'Size of the ring buffer.', status.ring.bytes),
    single('weir_ring_pending_bytes', 'gauge', 'Bytes of the ring buffer in use.', status.ring.pendingBytes),
    single('weir_subscribers', 'gauge', 'Live readers of events.', status.subscribers.current),
    single(
      'weir_subscriber_dropped_total',
      'counter',
      'Events that live readers were too slow for.',
      status.subscribers.droppedEvents,
    ),
    ...(status.spool === undefined
      ? []
      : [
          single('weir_spool_bytes', 'gauge', 'Bytes of the spool.', status.spool.bytes),
          single(
            'weir_spool_segments',
            'gauge',
            'Segments that wait for upload.',
            status.spool.waitingSegments,
          ),
          single('weir_spool_records_total', 'counter', 'Records written.', status.spool.appendedRecords),
        ]),
    {
      name: 'weir_filter_events_total',
      help: 'Events judged by each filter.',
      type: 'counter',
      samples: status.filters.map(({ name, version, events }) => [{ filter: name, version }, events]),
    },
    {
      name: 'weir_filter_dropped_total',
      help: 'Events dropped by each filter.',
      type: 'counter',
      samples: status.filters.map(({ name, version, dropped }) => [{ filter: name, version }, dropped]),
    },
    ...perFilter(status.filters),
    policyHooks(policies),
    policyActions(status.actions),
    {
      name: 'weir_policy_loaded',
      help: '1 where a policy is in force.',
      type: 'gauge',
      samples: status.policies.map(({ name, namespace, state }) => [
        { policy: name, namespace },
        state === 'refused' || state === 'skipped' ? 0 : 1,
      ]),
    },
  ];
}

/** What each filter costs, and what befell it. */
function perFilter(filters: AgentStatus['filters']): Metric[] {
  const each = (
    name: string,
    type: Metric['type'],
    help: string,
    value: (filter: AgentStatus['filters'][number]) => number,
  ): Metric => ({
    name,
    help,
    type,
    samples: filters.map((filter) => [{ filter: filter.name, version: filter.version }, value(filter)]),
  });
  return [
    each('weir_filter_cpu_seconds_total', 'counter', 'Time in each filter.', ({ cpuNs }) => cpuNs / 1e9),
    each('weir_filter_fuel_total', 'counter', 'Fuel that each filter used.', ({ fuel }) => fuel),
    each('weir_filter_memory_bytes', 'gauge', 'Memory of each filter.', ({ memoryBytes }) => memoryBytes),
    each('weir_filter_traps_total', 'counter', 'Events on which each filter trapped.', ({ traps }) => traps),
    each(
      'weir_filter_held_back_total',
      'counter',
      'Events that each filter held back in quarantine: lost.',
      ({ heldBack }) => heldBack,
    ),
    each('weir_filter_alerts_total', 'counter', 'Alerts that each filter raised.', ({ alerts }) => alerts),
    each(
      'weir_filter_labels_refused_total',
      'counter',
      'Labels that the manifest of each filter does not declare: left out.',
      ({ labelsRefused }) => labelsRefused,
    ),
    each(
      'weir_filter_log_lines_lost_total',
      'counter',
      'Lines of the log of each filter beyond the limit: left out.',
      ({ logLinesLost }) => logLinesLost,
    ),
    each('weir_filter_quarantined', 'gauge', '1 where a filter is in quarantine.', ({ state }) =>
      state === 'quarantined' ? 1 : 0,
    ),
  ];
}
