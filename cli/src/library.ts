// SPDX-License-Identifier: Apache-2.0
// Owns the reading of the ready policies in policy/library.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type LibraryEntry, libraryEntry, parsePolicies, sortLibrary } from '@weir/policy';
import { CliError } from './errors.js';
import { readInput } from './files.js';
import { repository } from './up/repository.js';

export interface LibraryPolicy {
  readonly entry: LibraryEntry;
  readonly text: string;
}

/** All of them, in the order in which they are listed. */
export function readLibrary(): LibraryPolicy[] {
  const folder = join(repository, 'policy/library');
  const found = new Map<string, LibraryPolicy>();
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.yaml'))) {
    const { text } = readInput(join(folder, file));
    for (const policy of parsePolicies(text)) {
      const entry = libraryEntry(policy);
      if (typeof entry === 'string') throw new CliError(`${file}: ${entry}.`);
      found.set(entry.name, { entry, text });
    }
  }
  const entries = [...found.values()].map(({ entry }) => entry);
  return sortLibrary(entries).flatMap(({ name }) => found.get(name) ?? []);
}

/** Those of the given names. @throws {CliError} for a name that the library has not */
export function policiesOfLibrary(names: readonly string[]): LibraryPolicy[] {
  const library = readLibrary();
  return names.map((name) => {
    const policy = library.find(({ entry }) => entry.name === name);
    if (policy === undefined)
      throw new CliError(`The library has no policy "${name}".`, ['weir policy library list shows them.'], 2);
    return policy;
  });
}

/** The text of a policy that has no options, with one that lets it only say what it would do. */
export function inMonitorMode(text: string): string {
  return text.replace(/^spec:\n/m, 'spec:\n  options:\n    - name: policy-mode\n      value: monitor\n');
}
