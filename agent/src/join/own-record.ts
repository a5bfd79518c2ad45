// SPDX-License-Identifier: Apache-2.0
// Owns the records that the agent makes itself: that events were lost or are held back, that somebody interfered with it.
import {
  EventKind,
  LOSS_RECORD_BYTES,
  LOSS_RECORD_COUNT_AT,
  LOSS_RECORD_STAGE_AT,
  makeThrottleRecord,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_FLAGS_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_SEQUENCE_AT,
  RECORD_HEADER_SIZE_AT,
  RECORD_HEADER_TIME_NS_AT,
  RecordFlag,
  readRecordHeader,
  TAMPER_RECORD_BYTES,
  TAMPER_RECORD_MESSAGE_AT,
  THROTTLE_RECORD_BYTES,
  ThrottleScope,
  writeThrottleRecord,
} from '@weir/schema';
import { AGENT_CPU } from '@weir/segment';
import type { ThrottleChange } from '../throttle/throttles.js';

/** When a record was made, and its number: the boot-time clock, made to rise. */
export interface OwnTime {
  readonly timeNs: bigint;
  readonly sequence: bigint;
}

/** Bytes of a tamper record's message; the rest is cut off. */
const MESSAGE_BYTES_MAX = 1024;

function ownRecord(kind: number, bytes: number, { timeNs, sequence }: OwnTime) {
  const size = (bytes + 7) & ~7;
  const record = new Uint8Array(size);
  const view = new DataView(record.buffer);
  view.setUint32(RECORD_HEADER_SIZE_AT, size, true);
  view.setUint16(RECORD_HEADER_KIND_AT, kind, true);
  view.setUint16(RECORD_HEADER_FLAGS_AT, RecordFlag.protected, true);
  view.setBigUint64(RECORD_HEADER_TIME_NS_AT, timeNs, true);
  view.setBigUint64(RECORD_HEADER_SEQUENCE_AT, sequence, true);
  view.setUint32(RECORD_HEADER_CPU_AT, AGENT_CPU, true);
  return { record, view };
}

/** Events were lost. */
export function lossRecord(stage: number, count: bigint, time: OwnTime): Uint8Array {
  const { record, view } = ownRecord(EventKind.loss, LOSS_RECORD_BYTES, time);
  view.setUint32(LOSS_RECORD_STAGE_AT, stage, true);
  view.setBigUint64(LOSS_RECORD_COUNT_AT, count, true);
  return record;
}

/** Somebody interfered with the agent. */
export function tamperRecord(message: string, time: OwnTime): Uint8Array {
  const text = Buffer.from(message).subarray(0, MESSAGE_BYTES_MAX);
  const { record, view } = ownRecord(EventKind.tamper, TAMPER_RECORD_BYTES + text.length, time);
  view.setUint32(TAMPER_RECORD_MESSAGE_AT, TAMPER_RECORD_BYTES, true);
  view.setUint32(TAMPER_RECORD_MESSAGE_AT + 4, text.length, true);
  record.set(text, TAMPER_RECORD_BYTES);
  return record;
}

/** A throttle began or ended to hold events back. */
export function throttleRecord(facts: Omit<ThrottleChange, 'timeNs'>, time: OwnTime): Uint8Array {
  const cgroup = Buffer.from(facts.cgroupName, 'latin1');
  const policy = Buffer.from(facts.policyName).subarray(0, MESSAGE_BYTES_MAX);
  const policyAt = THROTTLE_RECORD_BYTES + cgroup.length;
  const { record, view } = ownRecord(EventKind.throttle, policyAt + policy.length, time);
  const header = readRecordHeader(view, 0);
  const { type, cgroupName: _, policyName: __, ...plain } = facts;
  writeThrottleRecord(
    view,
    0,
    makeThrottleRecord({
      ...header,
      ...plain,
      scope: ThrottleScope[facts.scope],
      type: type === 'start' ? 1 : 2,
      cgroupName: { offset: cgroup.length === 0 ? 0 : THROTTLE_RECORD_BYTES, length: cgroup.length },
      policyName: { offset: policy.length === 0 ? 0 : policyAt, length: policy.length },
    }),
  );
  record.set(cgroup, THROTTLE_RECORD_BYTES);
  record.set(policy, policyAt);
  return record;
}
