// SPDX-License-Identifier: Apache-2.0
// Owns the record by which the agent says that somebody interfered with it.
import {
  EventKind,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_SEQUENCE_AT,
  RECORD_HEADER_SIZE_AT,
  RECORD_HEADER_TIME_NS_AT,
  RecordFlag,
  TAMPER_RECORD_BYTES,
  TAMPER_RECORD_MESSAGE_AT,
} from '@weir/schema';
import { AGENT_CPU } from '@weir/segment';

/** Makes the record. `sequence` is the boot-time clock, made to rise. */
export function tamperRecord(message: string, timeNs: bigint, sequence: bigint): Uint8Array {
  const text = Buffer.from(message).subarray(0, 1024);
  const size = (TAMPER_RECORD_BYTES + text.length + 7) & ~7;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(RECORD_HEADER_SIZE_AT, size, true);
  view.setUint16(RECORD_HEADER_KIND_AT, EventKind.tamper, true);
  view.setUint16(RECORD_HEADER_FLAGS_AT, RecordFlag.protected, true);
  view.setBigUint64(RECORD_HEADER_TIME_NS_AT, timeNs, true);
  view.setBigUint64(RECORD_HEADER_SEQUENCE_AT, sequence, true);
  view.setUint32(RECORD_HEADER_CPU_AT, AGENT_CPU, true);
  view.setUint32(TAMPER_RECORD_MESSAGE_AT, TAMPER_RECORD_BYTES, true);
  view.setUint32(TAMPER_RECORD_MESSAGE_AT + 4, text.length, true);
  bytes.set(text, TAMPER_RECORD_BYTES);
  return bytes;
}
