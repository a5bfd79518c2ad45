// SPDX-License-Identifier: Apache-2.0
// What is kept of a process for the hooks (guest/state-checks.ts).

import { ProcessSensor } from '../guest/process-sensor.js';
import { checkStates } from '../guest/state-checks.js';
import { scenario } from '../scenario.js';

export default scenario('keeps the state of a process for the hooks', {}, async (ctx) => {
  const { folder, run, waitFor } = ctx;
  const sensor = new ProcessSensor();
  try {
    await checkStates({ folder, run, waitFor, sensor, program: '/weir/bin/process' });
  } finally {
    sensor.close();
  }
});
