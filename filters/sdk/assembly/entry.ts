// SPDX-License-Identifier: Apache-2.0
// Owns the glue between the ABI and the author's function: the build makes an entry file that passes it on. Where
// the host may write, and what comes before and after an event. Hot: it is a third of what a simple filter takes.
import { closeConfig, Config, openConfig } from './config';
import { Event } from './event';
import {
  filterCallBatchAt,
  filterCallCursor,
  filterCallVerdictsAt,
  setFilterCallAnnotationCount,
  setFilterCallAnnotationsAt,
} from './generated/layout';
import { openEvent, recordAt } from './memory';
import { annotationsAt, countAnnotations, isDrop, openVerdict, Verdict } from './verdict';

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

/** Begins the event that the host asks for. */
export function openCall(call: usize): Event {
  const index = filterCallCursor(call);
  const batch = filterCallBatchAt(call);
  const record = recordAt(batch, index);
  openEvent(batch, record);
  openVerdict(index);
  return changetype<Event>(record);
}

/** Ends the event: what was said of it is handed over. What was said before a trap is not. */
export function closeCall(call: usize, verdict: Verdict): void {
  const count = countAnnotations();
  if (count != 0) {
    setFilterCallAnnotationsAt(call, annotationsAt());
    setFilterCallAnnotationCount(call, count);
  }
  if (isDrop(verdict)) store<u8>(<usize>filterCallVerdictsAt(call) + filterCallCursor(call), 1);
}

export { closeConfig, Config, openConfig };
export { restoreStates as restore, saveStates as save } from './handover';
