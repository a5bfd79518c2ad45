// SPDX-License-Identifier: Apache-2.0
// Owns the process that the crash test kills: it appends batches as fast as it can, says which were taken, and
// uploads to a folder, until it is killed. Arguments: spool, remote folder, number of the first batch.
import { writeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeBatch } from '@weir/segment/fixtures';
import { Spool, uploadSegments } from './index.js';

const [folder = '', remote = '', first = '0'] = process.argv.slice(2);
const spool = await Spool.open({ folder, agentId: 'agent-1', segmentBytes: 50_000, syncMs: 20 });
writeSync(1, `recovered ${spool.recovered.accounting?.[0] ?? ''}\n`);

void uploadSegments(
  spool,
  {
    async put(segment) {
      await writeFile(join(remote, `${segment.digest}.${process.pid}`), await segment.read());
      return 'stored';
    },
  },
  new AbortController().signal,
);

for (let number = Number(first); ; number++) {
  const batch = describeBatch({ seed: number, records: 1 + (number % 40), batchSequence: BigInt(number) });
  const accounting = new Uint8Array(new Uint32Array([number]).buffer);
  const taken = await spool.append(batch, accounting);
  writeSync(1, `${taken ? 'taken' : 'refused'} ${number}\n`);
}
