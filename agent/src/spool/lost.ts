// SPDX-License-Identifier: Apache-2.0
// Owns what is lost with a batch that nobody takes: the events in it, and what it would have told of other losses.
import {
  BATCH_HEADER_OFFSETS_AT_AT,
  BATCH_HEADER_RECORD_COUNT_AT,
  EventKind,
  LOSS_RECORD_COUNT_AT,
  LOSS_RECORD_STAGE_AT,
  RECORD_HEADER_CPU_AT,
  RECORD_HEADER_KIND_AT,
  RECORD_HEADER_SEQUENCE_AT,
} from '@weir/schema';
import { AGENT_CPU } from '@weir/segment';

/** A loss record of a batch. */
export interface ToldLoss {
  readonly sequence: bigint;
  readonly stage: number;
  readonly count: number;
}

export interface Contents {
  /** Records that the kernel numbered. */
  readonly numbered: number;
  /** Records of the agent's own that tell of no loss. */
  readonly own: number;
  readonly told: readonly ToldLoss[];
}

/** Counts what is in a batch. It is the agent's own, so its offsets are believed. */
export function contentsOf(batch: Uint8Array): Contents {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  const records = view.getUint32(BATCH_HEADER_RECORD_COUNT_AT, true);
  const offsetsAt = view.getUint32(BATCH_HEADER_OFFSETS_AT_AT, true);
  const told: ToldLoss[] = [];
  let numbered = 0;
  for (let index = 0; index < records; index++) {
    const at = view.getUint32(offsetsAt + index * 4, true);
    if (view.getUint32(at + RECORD_HEADER_CPU_AT, true) !== AGENT_CPU) {
      numbered++;
    } else if (view.getUint16(at + RECORD_HEADER_KIND_AT, true) === EventKind.loss) {
      told.push({
        sequence: view.getBigUint64(at + RECORD_HEADER_SEQUENCE_AT, true),
        stage: view.getUint32(at + LOSS_RECORD_STAGE_AT, true),
        count: Number(view.getBigUint64(at + LOSS_RECORD_COUNT_AT, true)),
      });
    }
  }
  return { numbered, own: records - numbered - told.length, told };
}

/** Events that are lost with batches: their own, and those of which they would have told. */
export function eventsLostWith(batches: Iterable<Uint8Array>): number {
  let sum = 0;
  for (const batch of batches) {
    const { numbered, told } = contentsOf(batch);
    sum += told.reduce((count, loss) => count + loss.count, numbered);
  }
  return sum;
}
