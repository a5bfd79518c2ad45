// SPDX-License-Identifier: Apache-2.0
// Owns where the parts of the repository are that `weir up` starts.
import { fileURLToPath } from 'node:url';

/** From cli/dist/up/ up to the root. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url));

export const controlPlaneEntry = fileURLToPath(
  new URL('server.js', import.meta.resolve('@weir/control-plane')),
);
