// SPDX-License-Identifier: Apache-2.0
// A canary: a kernel warning must fail the scenario in which it appears.

import { writeFileSync } from 'node:fs';
import { scenario } from '../scenario.js';

export default scenario(
  'canary: a kernel warning fails its scenario',
  { expectFailure: /the kernel reported a fault: .*WARNING: CPU: 0 PID: 1 at canary/ },
  () => {
    writeFileSync('/dev/kmsg', 'WARNING: CPU: 0 PID: 1 at canary.c:1 canary+0x0/0x0\n');
  },
);
