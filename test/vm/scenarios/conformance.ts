// SPDX-License-Identifier: Apache-2.0
// Of the cells of the conformance matrix that the planner takes: of each type on each kind of hook every operator, and
// every action.

import { tryCells } from '../guest/conformance.js';
import { scenario } from '../scenario.js';

export default scenario('the rows of the conformance matrix', { timeoutMs: 600_000 }, (context) =>
  tryCells(context, false),
);
