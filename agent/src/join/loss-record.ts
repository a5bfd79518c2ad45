// SPDX-License-Identifier: Apache-2.0
// Owns the record by which the agent says that events were lost.
import {
  EventKind,
  LOSS_RECORD_BYTES,
  LOSS_RECORD_COUNT_AT,
  LOSS_RECORD_STAGE_AT,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_SEQUENCE_AT,
  RECORD_HEADER_SIZE_AT,
  RECORD_HEADER_TIME_NS_AT,
  RecordFlag,
} from '@weir/schema';
import { AGENT_CPU } from '@weir/segment';

/** Makes a record that says that events were lost. `sequence` is the boot-time clock, made to rise. */
export function lossRecord(stage: number, count: bigint, timeNs: bigint, sequence: bigint): Uint8Array {
  const bytes = new Uint8Array(LOSS_RECORD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(RECORD_HEADER_SIZE_AT, LOSS_RECORD_BYTES, true);
  view.setUint16(RECORD_HEADER_KIND_AT, EventKind.loss, true);
  view.setUint16(RECORD_HEADER_FLAGS_AT, RecordFlag.protected, true);
  view.setBigUint64(RECORD_HEADER_TIME_NS_AT, timeNs, true);
  view.setBigUint64(RECORD_HEADER_SEQUENCE_AT, sequence, true);
  view.setUint32(RECORD_HEADER_CPU_AT, AGENT_CPU, true);
  view.setUint32(LOSS_RECORD_STAGE_AT, stage, true);
  view.setBigUint64(LOSS_RECORD_COUNT_AT, count, true);
  return bytes;
}
