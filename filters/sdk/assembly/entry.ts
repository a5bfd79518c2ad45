// SPDX-License-Identifier: Apache-2.0
// Owns the glue between the ABI and the author's function: the build makes an entry file that passes it on. Where
// the host may write, and the walk over the records of a batch.
import { closeConfig, Config, openConfig } from './config';
import { Event } from './event';
import {
  filterCallBatchAt,
  setFilterCallAnnotationCount,
  setFilterCallAnnotationsAt,
  setFilterCallCursor,
} from './generated/layout';
import { eventRecord, openBatch, openEvent, recordAt } from './memory';
import { annotationsAt, countAnnotations, hasRoom, isDrop, openAnnotations, openVerdict } from './verdict';

let area: usize = 0;
let areaBytes: usize = 0;

/** The most that is asked for at once: more does not fit beside anything else. */
const AREA_BYTES_MAX: usize = 16 << 20;

/** Finds room for the host to write in; asked for at load, and again only for more. */
export function reserve(bytes: usize): usize {
  if (bytes > AREA_BYTES_MAX) return 0;
  if (bytes > areaBytes || area == 0) {
    area = heap.alloc((bytes + 7) & ~7);
    areaBytes = bytes;
  }
  return area;
}

export function openCall(call: usize): void {
  openBatch(filterCallBatchAt(call));
  openAnnotations();
  setFilterCallAnnotationsAt(call, annotationsAt());
}

/** Begins an event. Returns false where there may be no room for what it will say. */
export function openRecord(call: usize, index: u32): bool {
  setFilterCallCursor(call, index);
  if (!hasRoom()) return false;
  openEvent(recordAt(index));
  openVerdict(index);
  setFilterCallAnnotationCount(call, countAnnotations());
  return true;
}

/** The event that was begun last. */
export function event(): Event {
  return changetype<Event>(eventRecord());
}

export { isDrop };

export function closeCall(call: usize): void {
  setFilterCallAnnotationCount(call, countAnnotations());
}

export { closeConfig, Config, openConfig };
export { restoreStates as restore, saveStates as save } from './handover';
