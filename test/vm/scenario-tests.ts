// SPDX-License-Identifier: Apache-2.0
// Shows each scenario on a kernel as a test: each kernel has a test file of its own, so that both run at once. Where no
// guest can be had, the tests are skipped by name with the reason; in CI (`CI=true`) that is a failure.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isUnavailable } from './errors.js';
import { bootName, loadScenarios, openSession, type Preparation, planBoots, prepare } from './host.js';
import type { KernelName } from './kernels.js';
import { scenarioTimeoutMsDefault } from './scenario.js';
import type { Session } from './session.js';

// A first run downloads kernels and packages; vitest's limits are not what ends a
// guest, the harness's own are.
const prepareTimeoutMs = 900_000;
const bootAllowanceMs = 240_000;

/** Declares the tests of all scenarios on a kernel. */
export async function declareScenarioTests(kernel: KernelName): Promise<void> {
  const all = await loadScenarios();
  const plans = planBoots(
    all.filter(({ scenario }) => scenario.onDemand !== true),
    [kernel],
  );
  let preparation: Preparation | undefined;
  let unavailable: string | null = null;

  beforeAll(async () => {
    try {
      preparation = await prepare();
    } catch (error) {
      if (!isUnavailable(error) || process.env.CI === 'true') throw error;
      unavailable = `no guest here: ${error.message}`;
    }
  }, prepareTimeoutMs);

  afterAll(() => preparation?.close());

  describe.each(plans.map((plan) => ({ name: bootName(plan), plan })))('kernel $name', ({ plan }) => {
    let session: Session | undefined;

    afterAll(async () => {
      await session?.close();
    });

    for (const loaded of plan.scenarios) {
      const limitMs = bootAllowanceMs + (loaded.scenario.timeoutMs ?? scenarioTimeoutMsDefault);
      test(loaded.scenario.name, { timeout: limitMs }, async ({ skip }) => {
        if (preparation === undefined) return skip(unavailable ?? 'the guest was not prepared');
        session ??= openSession(preparation, plan);
        const outcome = await session.run(loaded);
        if (!outcome.passed) expect.fail(`${outcome.error}\nresults: ${outcome.folder}`);
      });
    }
  });
}
