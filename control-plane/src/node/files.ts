// SPDX-License-Identifier: Apache-2.0
// Owns the writing of small secret files: whole or not at all, readable by their owner alone.
import { open, readFile, rename, rm } from 'node:fs/promises';

/** Writes a file with mode 0600 and syncs it; a reader sees the old content or the new. */
export async function writeSecretFile(path: string, content: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  await rm(temporary, { force: true });
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw cause;
  }
}
