// SPDX-License-Identifier: Apache-2.0
// Owns the bounds on what this package reads. A writer never comes near them; they keep a hostile file from
// costing more than its size.

/** Bytes of a batch. The agent's are a few MiB at most. */
export const BATCH_BYTES_MAX = 32 * 1024 * 1024;
/** Arguments, data and return value of a hook record: six arguments and as many data, and room to grow. */
export const RECORD_ARGUMENTS_MAX = 32;
/** Labels on a record, over all filters. */
export const ANNOTATION_LABELS_MAX = 256;
/** Bytes of one string of an entry or an annotation (labels of a pod are the longest: Kubernetes stops at 256 KiB). */
export const ENTRY_SPAN_BYTES_MAX = 256 * 1024;
/**
 * Strings of entries and annotations may share bytes, but all together they may say no more than this many times
 * the bytes of the batch, and this many bytes beyond: or a small batch would make a reader write a large answer.
 */
export const EXPANSION_FACTOR_MAX = 16;
export const EXPANSION_BYTES_FREE = 4 * 1024 * 1024;
/** The same for the spans inside one record, which the kernel writes one after the other. */
export const RECORD_EXPANSION_FACTOR_MAX = 4;
/** Bytes of a segment's batches before they are compressed. */
export const SEGMENT_RAW_BYTES_MAX = 128 * 1024 * 1024;
/** Bytes of a segment as it is stored. */
export const SEGMENT_BYTES_MAX = 64 * 1024 * 1024;
/** Bytes of the agent's accounting beside a batch. */
export const ACCOUNTING_BYTES_MAX = 64 * 1024;
