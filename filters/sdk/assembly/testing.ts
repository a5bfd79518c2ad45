// SPDX-License-Identifier: Apache-2.0
// Owns what authors' unit tests need beside the SDK: bytes that come from no event. Not for filters: it allocates.
import { Bytes, viewOf } from './bytes';
import { openEvent } from './memory';
import { textBytes, writeText } from './text';

/** Makes bytes from text, as an event would have them. Valid until `reset`. */
export function bytes(text: string): Bytes {
  const length = textBytes(text);
  // Never at address 0, nor of no bytes: a view needs a place.
  const at = heap.alloc(max(length, 1));
  writeText(text, at, length);
  return viewOf(at, 0, length);
}

/** Gives back all views, as before each event: for a test that makes thousands. */
export function reset(): void {
  openEvent(0, 0);
}
