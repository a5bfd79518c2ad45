// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- hotswap`: seconds from the answer to a filter's upload until the agent says that it is in force, while
// programs are run as fast as one process can; and how many events of these programs were neither seen in the
// archive nor dropped by a verdict, over all of it. Versions in turn drop what the one before kept.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildFilter } from '@weir/filter-compile';
import { World, waitFor, whyNoAgent } from '../e2e/dist/support.js';
import { median } from './support/numbers.mjs';

const swaps = process.argv.includes('--tiny') ? 2 : 10;
const programsOfRun = 100;
const why = whyNoAgent();
if (why !== undefined) {
  console.log(JSON.stringify({ bench: 'hotswap', skipped: why }));
  process.exit(0);
}

const source = (kind) => `import { drop, Event, EventKind, keep, Verdict } from '@weir/filter-sdk';
export function filter(event: Event): Verdict {
  return event.kind == EventKind.${kind} && event.process.binary.endsWith('/target') ? drop() : keep();
}
`;

const world = new World();
try {
  await world.startControlPlane();
  const modules = [];
  for (let version = 0; version <= swaps; version++) {
    const folder = world.filterFolder(
      'swapped',
      `1.0.${version}`,
      source(version % 2 === 0 ? 'exec' : 'exit'),
    );
    modules.push(new Uint8Array((await buildFilter({ source: folder })).bytes));
  }
  const { client } = world;
  await client.uploadFilter(modules[0]);
  await world.startAgent();
  const before = await world.status();
  const burst = world.compile('burst');
  const target = join(world.folder, 'target');
  copyFileSync('/bin/true', target);

  let programs = 0;
  let stop = false;
  const load = (async () => {
    while (!stop) {
      const [code] = await once(
        spawn(burst, [String(programsOfRun), target, 'swap'], { stdio: 'ignore' }),
        'exit',
      );
      if (code !== 0) throw new Error('the load failed');
      programs += programsOfRun;
    }
  })();
  const seconds = [];
  for (const [version, module] of modules.entries()) {
    if (version === 0) continue;
    const { filter } = await client.uploadFilter(module);
    const answeredMs = performance.now();
    const inForce = await waitFor(
      `version ${filter.version}`,
      async () => {
        const { filters } = await world.status();
        return (
          filters.some((each) => each.version === filter.version && each.state === 'loaded') &&
          performance.now()
        );
      },
      { everyMs: 5 },
    );
    seconds.push((inForce - answeredMs) / 1000);
    // Each version judges some before the next one comes.
    await waitFor('verdicts', async () => ((await world.status()).filters[0]?.dropped ?? 0) > 50, {
      everyMs: 20,
    });
  }
  stop = true;
  await load;
  const after = await waitFor('the end of the events', async () => {
    const status = await world.status();
    // What this machine does besides goes on, so that the ring is never known to be empty: numbers meet for a moment.
    return status.events.produced === status.events.handled && status;
  });
  const dropped = after.events.dropped - before.events.dropped;
  const made = programs * 2;
  let seen = 0;
  await waitFor(
    'all events in the archive',
    async () => {
      const [[count]] = await world.query(
        `SELECT count(DISTINCT event_id) FROM events WHERE "binary" = '${target}' AND kind IN ('exec', 'exit')`,
      );
      seen = Number(count);
      return seen + dropped >= made;
    },
    { everyMs: 1000, limitMs: 60_000 },
  ).catch(() => console.log('not all events came into the archive'));
  const losses = Object.values(after.losses).reduce((sum, count) => sum + count, 0);
  console.log(`${made} events = ${seen} seen + ${dropped} dropped; losses ${JSON.stringify(after.losses)}`);
  console.log(
    JSON.stringify({
      bench: 'hotswap',
      seconds: Number(median(seconds).toFixed(3)),
      maxSeconds: Number(Math.max(...seconds).toFixed(3)),
      lost: made - seen - dropped,
      lossesCounted: losses,
      events: made,
      swaps,
      goals: { seconds: 2, lost: 0 },
    }),
  );
} finally {
  await world.close();
}
