// SPDX-License-Identifier: Apache-2.0
// Every scenario on Debian's kernel 6.12.

import { declareScenarioTests } from './scenario-tests.js';

await declareScenarioTests('6.12');
