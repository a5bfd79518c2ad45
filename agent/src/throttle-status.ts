// SPDX-License-Identifier: Apache-2.0
// Owns what status and metrics say of throttles.
import type { Metric } from './metrics/prometheus.js';
import type { AgentStatus } from './socket/types.js';
import { limitText } from './throttle/limits.js';
import type { Throttles } from './throttle/throttles.js';

/** Nothing where there is no limit. */
export function throttleStatus(throttles: Throttles): Pick<AgentStatus, 'throttles'> {
  const limits = Object.entries(throttles.limits).map(([scope, limit]) => [scope, limitText(limit)]);
  if (limits.length === 0) return {};
  return {
    throttles: {
      limits: Object.fromEntries(limits),
      current: throttles.current().map(({ scope, cgroupName, policyName, pid, heldBack }) => ({
        scope,
        cgroup: cgroupName,
        policy: policyName,
        pid,
        heldBack: Number(heldBack),
      })),
    },
  };
}

export function throttleMetrics(throttles: Throttles): Metric[] {
  return [
    {
      name: 'weir_throttled_total',
      help: 'Events that throttles held back, by whose they were.',
      type: 'counter',
      samples: throttles
        .heldBack()
        .map(({ scope, cgroup, policy, heldBack }) => [{ scope, cgroup, policy }, heldBack]),
    },
  ];
}
