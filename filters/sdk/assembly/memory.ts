// SPDX-License-Identifier: Apache-2.0
// Owns the SDK's static memory and where the current batch and event lie. Nothing here, nor anywhere on the path of
// an event, allocates: views are handed out from a fixed arena that is emptied before each event.
//
//   views        VIEWS_MAX x 8   a Bytes each: address, length
//   nothing      512             zeros: an entry for what is not there, so that authors need no null checks
import {
  batchHeaderBindingCount,
  batchHeaderBindingsAt,
  batchHeaderOffsetsAt,
  batchHeaderPodCount,
  batchHeaderPodsAt,
  batchHeaderProcessCount,
  batchHeaderProcessesAt,
  bindingEntryBytes,
  podEntryBytes,
  processEntryBytes,
  recordHeaderTimeNs,
} from './generated/layout';

/** Views that one event may take. A filter that takes more traps on that event. */
export const VIEWS_MAX: u32 = 4096;
const VIEW_BYTES: usize = 8;

const views: usize = memory.data(32768, 8);
const nothing: usize = memory.data(512, 8);

let nextView: usize = views;
/** Address of the batch that is being judged. */
let batch: usize = 0;
/** Address of the record that is being judged; 0 at load. */
let record: usize = 0;

export function batchAt(): usize {
  return batch;
}

/** Begins an event of a batch, and gives back all views of the one before. Both are 0 where there is none, as at load. */
export function openEvent(batchAddress: usize, recordAddress: usize): void {
  nextView = views;
  batch = batchAddress;
  record = recordAddress;
}

/** Address of the record that is being judged. */
export function eventRecord(): usize {
  return record;
}

/** When the event happened that is being judged, on the boot-time clock; 0 at load. */
export function eventTimeNs(): u64 {
  return record == 0 ? 0 : recordHeaderTimeNs(record);
}

function tooManyViews(): void {
  throw new Error('one event takes more than 4096 views');
}

/** Address of a view over `length` bytes at `at`. Traps where one event takes more than VIEWS_MAX. */
export function takeView(at: usize, length: u32): usize {
  const view = nextView;
  if (view >= views + <usize>VIEWS_MAX * VIEW_BYTES) tooManyViews();
  nextView = view + VIEW_BYTES;
  store<u32>(view, <u32>at);
  store<u32>(view, length, 4);
  return view;
}

/** Address of an entry that is all zeros. */
export function emptyAt(): usize {
  return nothing;
}

/** Address of a record of a batch: what follows from the call, rather than from what lies in globals, costs less. */
export function recordAt(batchAddress: usize, index: u32): usize {
  return batchAddress + load<u32>(batchAddress + batchHeaderOffsetsAt(batchAddress) + ((<usize>index) << 2));
}

/** Address of the process entry of a 1-based index, of the empty entry where there is none. */
export function processAt(index: u32): usize {
  if (index == 0 || index > batchHeaderProcessCount(batch)) return nothing;
  return batch + batchHeaderProcessesAt(batch) + <usize>(index - 1) * processEntryBytes;
}

export function podAt(index: u32): usize {
  if (index == 0 || index > batchHeaderPodCount(batch)) return nothing;
  return batch + batchHeaderPodsAt(batch) + <usize>(index - 1) * podEntryBytes;
}

export function bindingAt(index: u32): usize {
  if (index == 0 || index > batchHeaderBindingCount(batch)) return nothing;
  return batch + batchHeaderBindingsAt(batch) + <usize>(index - 1) * bindingEntryBytes;
}
