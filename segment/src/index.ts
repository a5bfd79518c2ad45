// SPDX-License-Identifier: Apache-2.0
// The public names of the batch and segment codec.

export { BATCH_MAGIC, BATCH_VERSION, BatchReader, validateBatch } from './batch-reader.js';
export {
  type AnnotationDescription,
  type ArgumentDescription,
  type BatchDescription,
  BatchWriter,
  type BindingDescription,
  bpfPayload,
  credentialPayload,
  type EventDescription,
  type HookDescription,
  type HookKind,
  type PodDescription,
  type ProcessDescription,
  socketPayload,
  type Text,
} from './batch-writer.js';
export { type ChainBreak, type ChainHead, type ChainPosition, chainPosition, verifyChain } from './chain.js';
export {
  AGENT_CPU,
  BatchDecoder,
  type DecodedAnnotation,
  type DecodedArgument,
  type DecodedBinding,
  type DecodedExec,
  type DecodedHook,
  type DecodedIdentity,
  type DecodedPod,
  type DecodedProcess,
  type DecodedRecord,
  decodeRecord,
  eventId,
  execId,
  flagNames,
  type ImaHashFacts,
  throttleText,
} from './decode.js';
export { SegmentError, type SegmentErrorCode } from './error.js';
export { type Frame, frameBytes, frameParts, readFrame, readWholeFrames, timeRange } from './frame.js';
export {
  ACCOUNTING_BYTES_MAX,
  ANNOTATION_LABELS_MAX,
  BATCH_BYTES_MAX,
  ENTRY_SPAN_BYTES_MAX,
  RECORD_ARGUMENTS_MAX,
  SEGMENT_BYTES_MAX,
  SEGMENT_RAW_BYTES_MAX,
} from './limits.js';
export {
  CHAIN_START,
  type ChainLink,
  readSegment,
  readSegmentHeader,
  type Segment,
  type SegmentContent,
  type SegmentHeader,
  sealSegment,
} from './segment.js';
export { bytesToText, printable, textToBytes } from './text.js';
