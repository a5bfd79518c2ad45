// SPDX-License-Identifier: Apache-2.0
// What the rest of the agent uses of the sync with the control plane.

export { type Enrolment, enrol } from './enrol.js';
export { Sync } from './sync.js';
