// SPDX-License-Identifier: Apache-2.0
// A canary: a scenario that never ends is stopped at its limit, with what it started.

import { scenario } from '../scenario.js';

export default scenario(
  'canary: a scenario that never ends is stopped',
  { timeoutMs: 3_000, expectFailure: /timed out after 3000 ms/ },
  async (ctx) => {
    await ctx.run('sh', ['-c', 'sleep 1000 & wait'], { timeoutMs: 100_000 });
  },
);
