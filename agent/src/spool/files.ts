// SPDX-License-Identifier: Apache-2.0
// Owns the names and the durable writing of the spool's files.
//
//   <sequence>.open      frames as they were appended (segment/src/frame.ts); the last one is being appended to
//   <sequence>.segment   sealed: compressed, in its chain, waiting for upload
//   chain.json           where the chain goes on, and the accounting of what has been sealed
//   *.tmp                not yet whole; removed at start
import { open, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';

const sequenceDigits = 16;

export type SpoolFileKind = 'open' | 'segment';

export interface SpoolFile {
  readonly kind: SpoolFileKind;
  readonly sequence: bigint;
  readonly path: string;
}

export function spoolPath(folder: string, sequence: bigint, kind: SpoolFileKind): string {
  return join(folder, `${sequence.toString().padStart(sequenceDigits, '0')}.${kind}`);
}

/** The spool's files in the order of their sequences, and the names of what was left unfinished. */
export async function listSpool(folder: string): Promise<{ files: SpoolFile[]; unfinished: string[] }> {
  const files: SpoolFile[] = [];
  const unfinished: string[] = [];
  for (const name of await readdir(folder)) {
    const match = /^(\d{16})\.(open|segment)$/.exec(name);
    if (match !== null) {
      const kind: SpoolFileKind = match[2] === 'open' ? 'open' : 'segment';
      files.push({ kind, sequence: BigInt(match[1] ?? '0'), path: join(folder, name) });
    } else if (name.endsWith('.tmp')) {
      unfinished.push(join(folder, name));
    }
  }
  files.sort((a, b) => (a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0));
  return { files, unfinished };
}

/** Syncs a folder, so that the names in it survive a power loss. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Writes a file so that it is there whole or not at all, also after a power loss. */
export async function writeDurably(
  folder: string,
  path: string,
  bytes: Uint8Array,
  beforeRename: () => void = () => {},
): Promise<void> {
  const temporary = `${path}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  beforeRename();
  await rename(temporary, path);
  await syncFolder(folder);
}
