// SPDX-License-Identifier: Apache-2.0
// Owns what a filter answers: verdicts, and the annotations that go with them, in static memory.
//
//   annotations  ANNOTATIONS_MAX x 24    structs filter_annotation, one after the other
//   labels       ANNOTATIONS_MAX x 256   16 structs filter_label for each annotation
//   messages     ANNOTATIONS_MAX x 512   the message of each annotation, where it is no literal: the last one counts
//   words        INTERNED_BYTES          literals as UTF-8, each encoded once
//   table        INTERNED_MAX x 16       address of a literal, address and length of its bytes
//   redactions   8 + REDACTIONS_MAX x 8  a struct filter_spans and its spans
// Text that is no literal is in scratch.ts. All but the literals is of one event, and empty again before the next.
import { Bytes } from './bytes';
import {
  filterAnnotationBytes,
  filterAnnotationLabelCount,
  filterLabelBytes,
  filterSpanBytes,
  filterSpansBytes,
  filterSpansCount,
  setFilterAnnotationAlert,
  setFilterAnnotationLabelCount,
  setFilterAnnotationLabelsAt,
  setFilterAnnotationMessage,
  setFilterAnnotationRecord,
  setFilterAnnotationRedactionsAt,
  setFilterAnnotationSeverity,
  setFilterLabelName,
  setFilterLabelValue,
  setFilterSpanPiece,
  setFilterSpansCount,
  setFilterSpansReserved,
} from './generated/layout';
import { Process } from './process';
import { openScratch, scratchAt, scratchUsed, takeScratch } from './scratch';
import { writeText } from './text';

/** An event's own annotation and three alerts. */
const ANNOTATIONS_MAX: u32 = 4;
const LABELS_MAX: u32 = 16;
const MESSAGE_BYTES_MAX: u32 = 512;
const VALUE_BYTES_MAX: u32 = 256;
const NAME_BYTES_MAX: u32 = 63;
/** Pieces that one event may have masked. */
const REDACTIONS_MAX: u32 = 64;
const INTERNED_BYTES: u32 = 16_384;
const INTERNED_MAX: u32 = 256;

const annotations: usize = memory.data(96, 8);
const labels: usize = memory.data(1024, 8);
const redactions: usize = memory.data(520, 8);
const messages: usize = memory.data(2048, 8);
const words: usize = memory.data(16384, 8);
const table: usize = memory.data(4096, 8);
/** Never read through: their addresses are the verdicts. */
const KEEP: usize = memory.data(8, 8);
const DROP: usize = memory.data(8, 8);

let annotationCount: u32 = 0;
/** Address of the event's list of redactions, 0 where it has none yet. */
let masked: usize = 0;
let wordsUsed: u32 = 0;
let interned: u32 = 0;
let record: u32 = 0;
/** Address of the event's own annotation, 0 where it has none yet. */
let note: usize = 0;

/** Begins an event. Most say nothing, so that there is nothing to empty. */
export function openVerdict(index: u32): void {
  record = index;
  if ((annotationCount | scratchUsed()) == 0) return;
  annotationCount = 0;
  note = 0;
  masked = 0;
  openScratch();
}

export function annotationsAt(): u32 {
  return <u32>annotations;
}

export function countAnnotations(): u32 {
  return annotationCount;
}

export function isDrop(verdict: Verdict): bool {
  return changetype<usize>(verdict) == DROP;
}

function newAnnotation(alert: u8): usize {
  // The event's own annotation keeps a place: whether it comes before its alerts or after them.
  const most = alert == 1 && note == 0 ? ANNOTATIONS_MAX - 1 : ANNOTATIONS_MAX;
  if (annotationCount >= most) throw new Error('more than 3 alerts on one event');
  const at = annotations + <usize>annotationCount * filterAnnotationBytes;
  setFilterAnnotationRecord(at, record);
  setFilterAnnotationSeverity(at, 0);
  setFilterAnnotationAlert(at, alert);
  setFilterAnnotationLabelCount(at, 0);
  setFilterAnnotationLabelsAt(at, <u32>(labels + <usize>annotationCount * LABELS_MAX * filterLabelBytes));
  setFilterAnnotationRedactionsAt(at, 0);
  setFilterAnnotationMessage(at, 0, 0);
  annotationCount++;
  return at;
}

function ownAnnotation(): usize {
  if (note == 0) note = newAnnotation(0);
  return note;
}

/** Address of a literal's bytes in the low half, their number in the high half; encoded once. 0 where it is none, or there is no room. */
function placeLiteral(text: string, most: u32): u64 {
  const literal = changetype<usize>(text) < __heap_base;
  if (literal) {
    let slot = (<u32>changetype<usize>(text) >> 3) & (INTERNED_MAX - 1);
    // At most half of the table is in use, so a free slot ends the search.
    while (true) {
      const entry = table + ((<usize>slot) << 4);
      const owner = load<u32>(entry);
      if (owner == <u32>changetype<usize>(text) && load<u32>(entry, 12) == most) {
        return ((<u64>load<u32>(entry, 8)) << 32) | load<u32>(entry, 4);
      }
      if (owner == 0) {
        if (interned >= INTERNED_MAX / 2 || wordsUsed + most > INTERNED_BYTES) break;
        const at = words + wordsUsed;
        const bytes = writeText(text, at, most);
        wordsUsed += bytes;
        interned++;
        store<u32>(entry, <u32>changetype<usize>(text));
        store<u32>(entry, <u32>at, 4);
        store<u32>(entry, bytes, 8);
        store<u32>(entry, most, 12);
        return ((<u64>bytes) << 32) | <u32>at;
      }
      slot = (slot + 1) & (INTERNED_MAX - 1);
    }
  }
  return 0;
}

/** Encodes text; returns the address in the low half, the bytes in the high half. */
function place(text: string, most: u32): u64 {
  const placed = placeLiteral(text, most);
  if (placed != 0) return placed;
  const at = scratchAt(most);
  const bytes = writeText(text, at, most);
  takeScratch(bytes);
  return ((<u64>bytes) << 32) | <u32>at;
}

function addLabel(annotation: usize, name: string, valueAt: u32, valueBytes: u32): void {
  const count = <u32>filterAnnotationLabelCount(annotation);
  if (count >= LABELS_MAX) throw new Error('more than 16 labels');
  const index = <u32>((annotation - annotations) / filterAnnotationBytes);
  const at = labels + <usize>(index * LABELS_MAX + count) * filterLabelBytes;
  const placed = place(name, NAME_BYTES_MAX);
  setFilterLabelName(at, <u32>placed, <u32>(placed >> 32));
  setFilterLabelValue(at, valueAt, valueBytes);
  setFilterAnnotationLabelCount(annotation, <u16>(count + 1));
}

function addText(annotation: usize, name: string, value: string): void {
  const placed = place(value, VALUE_BYTES_MAX);
  addLabel(annotation, name, <u32>placed, <u32>(placed >> 32));
}

function addMessage(annotation: usize, text: string): void {
  const placed = placeLiteral(text, MESSAGE_BYTES_MAX);
  if (placed != 0) {
    setFilterAnnotationMessage(annotation, <u32>placed, <u32>(placed >> 32));
    return;
  }
  const at = messages + ((annotation - annotations) / filterAnnotationBytes) * MESSAGE_BYTES_MAX;
  setFilterAnnotationMessage(annotation, <u32>at, writeText(text, at, MESSAGE_BYTES_MAX));
}

function addRedaction(address: u32, bytes: u32): void {
  if (bytes == 0) return;
  if (masked == 0) {
    masked = redactions;
    setFilterSpansCount(masked, 0);
    setFilterSpansReserved(masked, 0);
    setFilterAnnotationRedactionsAt(ownAnnotation(), <u32>masked);
  }
  const count = filterSpansCount(masked);
  // The host masks all that the manifest names of an event on which its redactor fails.
  if (count >= REDACTIONS_MAX) throw new Error('more than 64 redactions on one event');
  setFilterSpanPiece(masked + filterSpansBytes + count * filterSpanBytes, address, bytes);
  setFilterSpansCount(masked, count + 1);
}

/** What a filter says of an event. Made by `keep` and `drop`. */
@unmanaged
@final
export class Verdict {
  /** Judges how grave the event is. Of several filters, the gravest counts. */
  severity(severity: i32): Verdict {
    setFilterAnnotationSeverity(ownAnnotation(), <u8>severity);
    return this;
  }

  /**
   * Puts a label on the event; the manifest must declare its name. Bytes beyond 1024 are cut. A 17th label traps, which
   * costs the event its verdict.
   */
  label(name: string, value: Bytes): Verdict {
    addLabel(ownAnnotation(), name, value.address, <u32>min(value.length, 1024));
    return this;
  }

  /** The same with text; cut to 256 bytes. */
  labelText(name: string, value: string): Verdict {
    addText(ownAnnotation(), name, value);
    return this;
  }

  /**
   * Says in words what was found; cut to 512 bytes. The last one counts.
   */
  message(text: string): Verdict {
    addMessage(ownAnnotation(), text);
    return this;
  }

  /**
   * Has bytes of the event masked: they become one `*` before anything else sees or stores the event. They must lie
   * within one field that `redacts` in filter.json names. A 65th piece traps: all of these fields are masked then.
   */
  redact(bytes: Bytes): Verdict {
    addRedaction(bytes.address, bytes.length);
    return this;
  }

  /** The same for all arguments of a process; where they begin and end can still be seen. */
  redactArguments(process: Process): Verdict {
    return this.redact(process.arguments.raw);
  }

  /** The same for the environment of a process. */
  redactEnvironment(process: Process): Verdict {
    return this.redact(process.environment);
  }
}

/** An alert that was derived from the event: an event of its own. Made by `alert`. */
@unmanaged
@final
export class Alert {
  label(name: string, value: Bytes): Alert {
    addLabel(changetype<usize>(this), name, value.address, <u32>min(value.length, 1024));
    return this;
  }

  labelText(name: string, value: string): Alert {
    addText(changetype<usize>(this), name, value);
    return this;
  }
}

/** The event goes on. */
export function keep(): Verdict {
  return changetype<Verdict>(KEEP);
}

/** The event ends here. Of what cannot be dropped (enforcement, losses), this is passed over. */
export function drop(): Verdict {
  return changetype<Verdict>(DROP);
}

/**
 * Derives an alert from the event, whatever the verdict on the event itself. A fourth of one event traps, and its others
 * do not count.
 */
export function alert(severity: i32, message: string): Alert {
  const at = newAnnotation(1);
  setFilterAnnotationSeverity(at, <u8>severity);
  addMessage(at, message);
  return changetype<Alert>(at);
}
