// SPDX-License-Identifier: Apache-2.0
// Owns how names from outside become parts of keys in the blob store.

/** A part of a key that names an agent, whatever its id holds. */
export function keyPart(text: string): string {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/.test(text) ? text : `x${Buffer.from(text).toString('hex')}`;
}
