// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- fresh`: seconds from the start of a program to the row of its exec event in an archive query over
// HTTP, with control plane and agent as they ship, one after the other. Each sample begins at another moment of the
// spool's turn, since the one before it ended at any.
import { execFileSync } from 'node:child_process';
import { World, waitFor, whyNoAgent } from '../e2e/dist/support.js';
import { median } from './support/numbers.mjs';

const samples = process.argv.includes('--tiny') ? 1 : 9;
const why = whyNoAgent();
if (why !== undefined) {
  console.log(JSON.stringify({ bench: 'fresh', skipped: why }));
  process.exit(0);
}

const world = new World();
const seconds = [];
try {
  await world.startControlPlane();
  await world.startAgent();
  for (let sample = 0; sample < samples; sample++) {
    const marker = `fresh-${process.pid}-${sample}`;
    const startMs = performance.now();
    execFileSync('/bin/true', [marker]);
    await waitFor(
      'the row',
      async () => {
        const rows = await world.query(
          `SELECT event_id FROM events WHERE kind = 'exec' AND list_contains(arguments, '${marker}')`,
        );
        return rows.length > 0;
      },
      { everyMs: 100, limitMs: 120_000 },
    );
    seconds.push((performance.now() - startMs) / 1000);
    console.log(`sample ${sample}: ${seconds.at(-1).toFixed(2)} s`);
  }
} finally {
  await world.close();
}
console.log(
  JSON.stringify({
    bench: 'fresh',
    eventToQueryableSeconds: Number(median(seconds).toFixed(2)),
    maxSeconds: Number(Math.max(...seconds).toFixed(2)),
    samples,
    goal: 30,
  }),
);
