// SPDX-License-Identifier: Apache-2.0
// Of the cells of the conformance matrix that the planner takes: of each type on each kind of hook every operator, and
// every action; and of all others this kernel's share.

import { tryCells } from '../guest/conformance.js';
import { scenario } from '../scenario.js';

export default scenario(
  "the rows of the conformance matrix, and this kernel's share of it",
  { timeoutMs: 900_000 },
  (context) => tryCells(context, context.kernel),
);
