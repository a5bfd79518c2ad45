// SPDX-License-Identifier: Apache-2.0
import { ArgumentType, EventKind } from '@weir/schema';
import { BatchReader, BatchWriter, socketPayload } from '@weir/segment';
import { expect, test } from 'vitest';
import { RowCollector } from './rows.js';

test('the ends of a connection that a call returns are in the columns of addresses', () => {
  const writer = new BatchWriter({ bootId: new Uint8Array(16), bootToUnixNs: 0n, node: '', cluster: '' });
  const ends = { family: 2, sourceAddress: [10, 0, 0, 1], destinationAddress: [192, 0, 2, 7] };
  writer.event({
    kind: EventKind.kprobe,
    timeNs: 1n,
    arguments: [{ type: ArgumentType.int32, value: 7n }],
    returnValue: {
      type: ArgumentType.sock,
      payload: socketPayload({ ...ends, sourcePort: 80, destinationPort: 40_000 }),
    },
  });
  const collector = new RowCollector();
  collector.add(new BatchReader(writer.finish()));
  expect(collector.rows.details.map((row) => row.slice(3, 7))).toEqual([
    ['10.0.0.1', 80, '192.0.2.7', 40_000],
  ]);
});
