// SPDX-License-Identifier: Apache-2.0
// All that the process sensor tells, as the host's test checks it too (guest/process-checks.ts).

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { processChecks } from '../guest/process-checks.js';
import { ProcessSensor } from '../guest/process-sensor.js';
import { scenario } from '../scenario.js';

export default scenario(
  'tells of processes: exec, clone, exit',
  { timeoutMs: 240_000 },
  async ({ folder, run, waitFor, log }) => {
    const sensor = new ProcessSensor();
    const wrong: unknown[] = [];
    try {
      for (const [index, { name, body }] of processChecks.entries()) {
        const own = join(folder, `check-${index}`);
        mkdirSync(own);
        const startMs = performance.now();
        try {
          await body({ folder: own, run, waitFor, sensor, program: '/weir/bin/process' });
          assert.deepEqual(sensor.failures(), {});
          assert.equal(sensor.counter('storageFailed'), 0n);
        } catch (error) {
          log(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
          wrong.push(name);
        }
        sensor.clear();
        log(`${name}: ${Math.round(performance.now() - startMs)} ms`);
      }
      for (const name of ['process_exec', 'process_clone', 'process_exit'] as const) {
        assert.equal(sensor.stats(name).recursionMisses, 0n);
      }
    } finally {
      sensor.close();
    }
    assert.deepEqual(wrong, []);
  },
);
