// SPDX-License-Identifier: Apache-2.0
// Owns the finding of a compiled script of this folder: threads and processes of their own run JavaScript, also
// when the tests run the sources.

/** The URL of `name` beside the module `from`, in `dist/` where that is in `src/`. */
export function compiled(from: string, name: string): URL {
  return new URL(from.endsWith('.ts') ? `../../dist/archive/${name}` : `./${name}`, from);
}
