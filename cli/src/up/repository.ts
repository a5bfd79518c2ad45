// SPDX-License-Identifier: Apache-2.0
// Owns where the parts of the repository are that `weir up` starts.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** From cli/dist/up/ up to the root. */
export const repository = fileURLToPath(new URL('../../..', import.meta.url));

export const controlPlaneEntry = fileURLToPath(
  new URL('server.js', import.meta.resolve('@weir/control-plane')),
);

export const agentEntry = join(repository, 'agent/dist/main.js');

/** Prints what the kernel offers. */
export const probeEntry = join(repository, 'agent/dist/probe.js');

/** This program itself, to be raised. */
export const cliEntry = join(repository, 'cli/dist/main.js');

/** Where test/vm keeps the kernels and images of guests. */
export function guestCache(environment: NodeJS.ProcessEnv = process.env): string {
  return join(environment.WEIR_CACHE || join(repository, '.cache'), 'vm');
}
