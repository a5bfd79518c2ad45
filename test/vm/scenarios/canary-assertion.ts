// SPDX-License-Identifier: Apache-2.0
// A canary: a failed assertion must come back with its message.

import assert from 'node:assert/strict';
import { scenario } from '../scenario.js';

export default scenario(
  'canary: a failed assertion is reported',
  { expectFailure: /AssertionError.*\n?.*the canary sings/ },
  () => {
    assert.equal(1, 2, 'the canary sings');
  },
);
