// SPDX-License-Identifier: Apache-2.0
// Owns what the metrics say of the store and of waiting polls, beside the counters of the replica.
import { authorise, type Principal } from '../auth/permissions.js';
import type { Metrics } from '../metrics.js';
import { releaseInForce } from './agents.js';
import type { Services } from './context.js';

export async function metricsOf(services: Services, principal: Principal, metrics: Metrics): Promise<string> {
  authorise(principal, 'metrics.read');
  const jobs = await services.store.countJobs();
  const gauges: Record<string, number> = {
    weir_long_polls_waiting: services.watch.waiting,
    weir_release_sequence: Number(await releaseInForce(services)),
  };
  for (const [state, count] of Object.entries(jobs)) gauges[`weir_jobs{state="${state}"}`] = count;
  return metrics.render(gauges);
}
