// SPDX-License-Identifier: Apache-2.0
// Owns the files of an agent that stands alone: what they hold is brought into force as what a control plane sends is.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { FilterSignature } from '@weir/filter-accept';
import type { Agent } from './agent.js';

/** Reads the policies and filters of an agent that stands alone. */
export async function applyFiles(agent: Agent): Promise<void> {
  const { policyFiles, filterFiles } = agent.config;
  await agent.desired.applyPolicies(
    policyFiles.map((file) => ({ origin: basename(file), text: readFileSync(file, 'utf8') })),
  );
  await agent.desired.applyFilters(
    filterFiles.map((file) => ({
      name: basename(file, '.wasm'),
      bytes: readFileSync(file),
      signatures: signatureBeside(file),
    })),
  );
}

/** The signature in FILE.sig. What is none is as good as none: the filter is then refused where one is asked for. */
function signatureBeside(file: string): FilterSignature[] {
  try {
    const { keyId, signature } = JSON.parse(readFileSync(`${file}.sig`, 'utf8')) as Partial<FilterSignature>;
    return typeof keyId === 'string' && typeof signature === 'string' ? [{ keyId, signature }] : [];
  } catch {
    return [];
  }
}
