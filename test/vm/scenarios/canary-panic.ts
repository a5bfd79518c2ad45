// SPDX-License-Identifier: Apache-2.0
// A canary: a panic ends the guest and fails the scenario; those after it run in a
// guest booted anew. One kernel is enough, the harness is the same.

import { writeFileSync } from 'node:fs';
import { scenario } from '../scenario.js';

export default scenario(
  'canary: a panic is reported and the rest still run',
  { kernels: ['6.12'], expectFailure: /the kernel panicked\n.*fault: .*/ },
  async (ctx) => {
    writeFileSync('/proc/sysrq-trigger', 'c');
    await ctx.waitFor('the end of the guest', () => false);
  },
);
