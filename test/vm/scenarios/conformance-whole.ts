// SPDX-License-Identifier: Apache-2.0
// Every cell of the conformance matrix that the planner takes: every operator with every action.

import { tryCells } from '../guest/conformance.js';
import { scenario } from '../scenario.js';

export default scenario(
  'every cell of the conformance matrix',
  { onDemand: true, timeoutMs: 1_800_000 },
  (context) => tryCells(context, 'whole'),
);
