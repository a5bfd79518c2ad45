// SPDX-License-Identifier: Apache-2.0
// Owns the reading of files that a person names: files themselves, and those of a kind in a folder.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from './errors.js';

export interface InputFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly text: string;
}

/** Largest file that is read. */
const bytesMax = 64 * 1024 * 1024;

/** Reads the files, and those in folders whose name fits; "-" is standard input. */
export function readFiles(paths: readonly string[], inFolders: RegExp): InputFile[] {
  const files = paths.flatMap((path) => {
    if (path === '-' || !stat(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => inFolders.test(name));
    if (names.length === 0) throw new CliError(`There is no such file in the folder ${path}.`);
    return names.sort().map((name) => join(path, name));
  });
  return files.map(readInput);
}

export function readInput(path: string): InputFile {
  let bytes: Buffer<ArrayBuffer>;
  try {
    if (path !== '-' && stat(path).size > bytesMax) throw new Error(`it is larger than ${bytesMax} bytes`);
    bytes = readFileSync(path === '-' ? 0 : path);
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError(
      `${path} cannot be read: ${cause instanceof Error ? cause.message : String(cause)}.`,
      [],
      1,
      {
        cause,
      },
    );
  }
  return { path, bytes: new Uint8Array(bytes), text: bytes.toString('utf8') };
}

function stat(path: string) {
  try {
    return statSync(path);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : '';
    throw new CliError(
      code === 'ENOENT' ? `There is no file ${path}.` : `${path} cannot be read (${code}).`,
      [],
      1,
      {
        cause,
      },
    );
  }
}
