// SPDX-License-Identifier: Apache-2.0
// Owns the layouts that the host and a filter share in the filter's memory, beside the batch itself. Addresses count
// from the start of the filter's memory. docs/filter-abi.md tells how they are used.
import { enumeration, field, layout } from './layout.js';

/** Most filters that run together: what a release may hold, and what an agent and its filter host take. */
export const FILTERS_MAX = 128;

export const filterMark = enumeration(
  'filter_mark',
  "What the host writes in a record's verdict byte before a call.",
  {
    judge: [0, 'the filter judges it'],
    skip: [255, 'the filter passes over it and leaves the byte as it is'],
  },
);

export const filterAnswer = enumeration('filter_answer', 'What weir_filter returns.', {
  done: [0, 'every record that was to be judged has its verdict'],
  again: [1, 'no room for more annotations: call again from the cursor on'],
});

export const filterCall = layout('filter_call', 'What weir_filter is given: the address of this struct.', [
  field('batch_at', 'u32', 'host: address of the batch, a multiple of 8'),
  field('batch_bytes', 'u32', 'host: bytes of the batch'),
  field('record_count', 'u32', 'host: records of the batch'),
  field('verdicts_at', 'u32', 'host: address of the verdict bytes, one a record; holds a filter_mark before'),
  field('cursor', 'u32', 'index of the record to judge; with `again`, filter: of the next one'),
  field('annotation_count', 'u32', 'filter: annotations so far'),
  field('annotations_at', 'u32', 'filter: address of the annotations, structs filter_annotation'),
  field('reserved', 'u32', '0'),
]);

export const filterAnnotation = layout(
  'filter_annotation',
  'What a filter says of a record, beside its verdict.',
  [
    field('record', 'u32', 'index of the record; never falls from one annotation to the next'),
    field('severity', 'u8', 'severity'),
    field('alert', 'u8', '1: an alert derived from the record, not a note on it'),
    field('label_count', 'u16', 'structs filter_label'),
    field('labels_at', 'u32', 'address of the labels'),
    field(
      'redactions_at',
      'u32',
      'address of a struct filter_spans: bytes of the batch to mask; 0 where there are none',
    ),
    field('message', 'span', 'address and bytes'),
  ],
);

export const filterSpans = layout(
  'filter_spans',
  'A list of pieces of memory: what is to be masked, or what a state consists of. `count` structs filter_span follow.',
  [field('count', 'u32', 'how many'), field('reserved', 'u32', '0')],
);

export const filterSpan = layout('filter_span', 'A piece of memory.', [
  field('piece', 'span', 'address and bytes'),
]);

export const filterLabel = layout('filter_label', 'A label that a filter puts on a record.', [
  field('name', 'span', "address and bytes; without the prefix, one of the manifest's labels"),
  field('value', 'span', 'address and bytes'),
]);

export const filterEnumerations = [filterMark, filterAnswer];
export const filterParts = [filterCall, filterAnnotation, filterSpans, filterSpan, filterLabel];
