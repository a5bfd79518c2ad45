// SPDX-License-Identifier: Apache-2.0
// The public names of the control plane.
export { ControlPlaneClient } from './client.js';
