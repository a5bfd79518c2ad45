// SPDX-License-Identifier: Apache-2.0
// Owns the samples that `weir up` puts in force: some policies of policy/library and one filter of filters/examples,
// in one release.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ControlPlaneClient, ControlPlaneClientError } from '@weir/control-plane/client';
import { newFilterKey, readFilterKey, signFilter } from '@weir/filter-compile';
import { CliError } from '../errors.js';
import { readInput } from '../files.js';
import { policiesOfLibrary } from '../library.js';
import type { Output } from '../output.js';
import { repository } from './repository.js';

/** Policies that show much, and tell of little on a machine that is at work: the others are for weir policy library. */
const samplePolicies = [
  'block-cryptominers',
  'detect-container-escape',
  'detect-exec-from-writable-folders',
  'detect-privilege-escalation',
  'monitor-kernel-modules',
  'monitor-mounts',
  'monitor-persistence',
  'monitor-process-memory-access',
  'monitor-sensitive-files',
] as const;

/** The filter that is put in force; the other examples are for weir filter push. */
const sampleFilter = 'noisy-paths';

export interface Samples {
  readonly sequence: number;
  readonly policies: readonly string[];
  readonly filters: readonly string[];
}

/** Uploads the sample; where an earlier build of the same version is there already, that one stays. */
async function putFilter(client: ControlPlaneClient, path: string, keyFile: string, output: Output) {
  const { bytes } = readInput(path);
  const { keyId, signature } = await signFilter(bytes, keyFile);
  try {
    const { filter } = await client.uploadFilter(bytes, { release: false, signature: { keyId, signature } });
    return { name: filter.name, version: filter.version };
  } catch (cause) {
    if (!(cause instanceof ControlPlaneClientError && cause.code === 'conflict')) throw cause;
    const existing = (await client.filters()).find(({ name }) => name === sampleFilter);
    if (existing === undefined) throw cause;
    output.note(
      `the filter ${sampleFilter} has been built anew since; weir down, then weir up, begins with the new one`,
    );
    return { name: existing.name, version: existing.version };
  }
}

/** The author's key of this `weir up`, made where it is not there yet, and trusted by the control plane. */
async function trustKey(client: ControlPlaneClient, keyFile: string): Promise<void> {
  if (!existsSync(keyFile)) await newFilterKey(keyFile);
  const { publicKey } = await readFilterKey(`${keyFile}.pub`);
  await client.addFilterKey({ publicKey, description: 'made by weir up' });
}

export async function putSamples(
  client: ControlPlaneClient,
  keyFile: string,
  output: Output,
): Promise<Samples> {
  const policies: Array<{ name: string; namespace?: string; version: number }> = [];
  for (const { text } of policiesOfLibrary(samplePolicies)) {
    const { policy } = await client.createPolicy(text, { release: false });
    const { name, namespace, version } = policy;
    policies.push({ name, version, ...(namespace === undefined ? {} : { namespace }) });
  }
  const path = join(repository, 'filters/examples/build', `${sampleFilter}.wasm`);
  if (!existsSync(path)) throw new CliError(`${path} is not built.`, ['npm run build:filters builds it.']);
  await trustKey(client, keyFile);
  const filters = [await putFilter(client, path, keyFile, output)];
  const { sequence } = await client.putRelease({ policies, filters, settings: {} });
  return {
    sequence,
    policies: policies.map(({ name }) => name),
    filters: filters.map(({ name, version }) => `${name} ${version}`),
  };
}
