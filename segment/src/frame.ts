// SPDX-License-Identifier: Apache-2.0
// Owns the framing of batches: in the spool's open file as they are, in a segment compressed.
//
//   frame_header   40 bytes
//   accounting     the agent's own bytes (what each CPU has produced so far), padded to a multiple of 8
//   batch          padded to a multiple of 8
//
//   0 u32 magic "WFRM"          16 u32 CRC-32 of bytes 0 to 16, 24 to 40, accounting and batch
//   4 u32 bytes of the batch    20 u32 0
//   8 u32 bytes of accounting   24 i64 time of the first record, nanoseconds since 1970
//  12 u32 records               32 i64 time of the last record
//
// A frame is whole or it is not there: a file that was cut anywhere reads as the frames before the cut.
import { crc32 } from 'node:zlib';
import {
  BATCH_HEADER_BOOT_TO_UNIX_NS_AT,
  BATCH_HEADER_BYTES,
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  RECORD_HEADER_TIME_NS_AT,
} from '@weir/schema';
import { SegmentError } from './error.js';
import { ACCOUNTING_BYTES_MAX, BATCH_BYTES_MAX } from './limits.js';

export const FRAME_HEADER_BYTES = 40;
/** "WFRM", read as a little-endian number. */
const FRAME_MAGIC = 0x4d524657;

const padding = new Uint8Array(8);

export interface Frame {
  readonly batch: Uint8Array;
  readonly accounting: Uint8Array;
  readonly recordCount: number;
  readonly firstTimeNs: bigint;
  readonly lastTimeNs: bigint;
  /** Bytes of the whole frame. */
  readonly byteLength: number;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** Bytes of the frame of a batch. */
export function frameBytes(batchBytes: number, accountingBytes: number): number {
  return FRAME_HEADER_BYTES + padded(accountingBytes) + padded(batchBytes);
}

/**
 * Finds the first and the last record by time, without a bigint for each: the halves of a time are compared as
 * numbers. The batch must be valid.
 * @returns [0n, 0n] for a batch without records.
 */
export function timeRange(batch: Uint8Array): readonly [first: bigint, last: bigint] {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const count = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
  if (count === 0) return [0n, 0n];
  const offsets = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
  let first = view.getUint32(offsets, true) + RECORD_HEADER_TIME_NS_AT;
  let last = first;
  for (let i = 1; i < count; i++) {
    const at = view.getUint32(offsets + i * 4, true) + RECORD_HEADER_TIME_NS_AT;
    if (compare(view, at, first) < 0) first = at;
    if (compare(view, at, last) > 0) last = at;
  }
  const toUnix = view.getBigInt64(BATCH_HEADER_BOOT_TO_UNIX_NS_AT, true);
  return [
    BigInt.asIntN(64, view.getBigUint64(first, true) + toUnix),
    BigInt.asIntN(64, view.getBigUint64(last, true) + toUnix),
  ];
}

function compare(view: DataView, a: number, b: number): number {
  const high = view.getUint32(a + 4, true) - view.getUint32(b + 4, true);
  return high !== 0 ? high : view.getUint32(a, true) - view.getUint32(b, true);
}

function checksum(header: Uint8Array, rest: Iterable<Uint8Array>): number {
  let sum = crc32(header.subarray(24, FRAME_HEADER_BYTES), crc32(header.subarray(0, 16)));
  for (const part of rest) sum = crc32(part, sum);
  return sum;
}

/**
 * Frames a valid batch. Nothing is copied: the parts are to be written one after the other.
 * @throws {SegmentError} too-large
 */
export function frameParts(batch: Uint8Array, accounting: Uint8Array): Uint8Array[] {
  if (batch.length > BATCH_BYTES_MAX || batch.length < BATCH_HEADER_BYTES) {
    throw new SegmentError('too-large', 'batch', `has ${batch.length} bytes; ${BATCH_BYTES_MAX} is the most`);
  }
  if (accounting.length > ACCOUNTING_BYTES_MAX) {
    throw new SegmentError(
      'too-large',
      'accounting',
      `has ${accounting.length} bytes; ${ACCOUNTING_BYTES_MAX} is the most`,
    );
  }
  const header = new Uint8Array(FRAME_HEADER_BYTES);
  const view = new DataView(header.buffer);
  const count = new DataView(batch.buffer, batch.byteOffset).getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
  const [first, last] = timeRange(batch);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint32(4, batch.length, true);
  view.setUint32(8, accounting.length, true);
  view.setUint32(12, count, true);
  view.setBigInt64(24, first, true);
  view.setBigInt64(32, last, true);
  view.setUint32(16, checksum(header, [accounting, batch]), true);
  const parts = [
    header,
    accounting,
    padding.subarray(0, padded(accounting.length) - accounting.length),
    batch,
  ];
  parts.push(padding.subarray(0, padded(batch.length) - batch.length));
  return parts.filter((part) => part.length > 0);
}

/** Reads the frame at `at`. The batch within is not checked. @throws {SegmentError} */
export function readFrame(bytes: Uint8Array, at: number, where: string): Frame {
  const left = bytes.length - at;
  if (left < FRAME_HEADER_BYTES) {
    throw new SegmentError('truncated', where, `has ${left} bytes, a header ${FRAME_HEADER_BYTES}`);
  }
  const header = bytes.subarray(at, at + FRAME_HEADER_BYTES);
  const view = new DataView(header.buffer, header.byteOffset, FRAME_HEADER_BYTES);
  if (view.getUint32(0, true) !== FRAME_MAGIC) throw new SegmentError('corrupt', where, 'is no frame');
  const batchBytes = view.getUint32(4, true);
  const accountingBytes = view.getUint32(8, true);
  if (
    batchBytes > BATCH_BYTES_MAX ||
    accountingBytes > ACCOUNTING_BYTES_MAX ||
    view.getUint32(20, true) !== 0
  ) {
    throw new SegmentError('too-large', where, `claims a batch of ${batchBytes} bytes`);
  }
  const byteLength = frameBytes(batchBytes, accountingBytes);
  if (byteLength > left) throw new SegmentError('truncated', where, `claims ${byteLength} bytes of ${left}`);
  const accounting = bytes.subarray(at + FRAME_HEADER_BYTES, at + FRAME_HEADER_BYTES + accountingBytes);
  const batchAt = at + FRAME_HEADER_BYTES + padded(accountingBytes);
  const batch = bytes.subarray(batchAt, batchAt + batchBytes);
  if (checksum(header, [accounting, batch]) !== view.getUint32(16, true)) {
    throw new SegmentError('corrupt', where, 'does not fit its check sum');
  }
  return {
    batch,
    accounting,
    recordCount: view.getUint32(12, true),
    firstTimeNs: view.getBigInt64(24, true),
    lastTimeNs: view.getBigInt64(32, true),
    byteLength,
  };
}

/** The whole frames at the beginning of `bytes`, and how many bytes they are. What follows was cut, or never whole. */
export function readWholeFrames(bytes: Uint8Array): { frames: Frame[]; byteLength: number } {
  const frames: Frame[] = [];
  let at = 0;
  while (at < bytes.length) {
    let frame: Frame;
    try {
      frame = readFrame(bytes, at, `frames[${frames.length}]`);
    } catch (error) {
      if (error instanceof SegmentError) break;
      throw error;
    }
    frames.push(frame);
    at += frame.byteLength;
  }
  return { frames, byteLength: at };
}
