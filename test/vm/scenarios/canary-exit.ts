// SPDX-License-Identifier: Apache-2.0
// A canary: a scenario whose process ends early must not pass for one that ended well.

import { scenario } from '../scenario.js';

export default scenario(
  'canary: a process that ends early is reported',
  { expectFailure: /process ended before the scenario \(exit 0\)/ },
  () => {
    process.exit(0);
  },
);
