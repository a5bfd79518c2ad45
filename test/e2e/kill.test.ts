// SPDX-License-Identifier: Apache-2.0
// The agent is killed with -9 ten times, each in the middle of a burst of 10,000 events, at seeded moments; in every
// other burst it was also stopped for a while, so that its ring overflowed. Then the books must balance exactly: what
// the kernel numbered is in the archive, or was dropped by a verdict, or is counted in a loss event; and what the spool
// had when the agent was killed is in the archive exactly once. Everything else that runs on this machine is in the
// same books.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openPinnedMap, possibleCpus } from '@weir/native';
import { KernelCounter, readRecordHeader } from '@weir/schema';
import { AGENT_CPU, BatchReader, eventId, readSegment, readWholeFrames } from '@weir/segment';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { random, seedOfRun, World, waitFor, whyNoAgent } from './support.js';

const whyNot = whyNoAgent();
const rounds = 10;
/** Each is a clone, an exec and an exit. */
const programsOfBurst = 3334;
/** Room for some hundred events. */
const ringBytes = 128 * 1024;

const filter = `import { drop, Event, EventKind, keep, Verdict } from '@weir/filter-sdk';
export function filter(event: Event): Verdict {
  return event.kind == EventKind.exit && event.process.binary.endsWith('/target') ? drop() : keep();
}
`;

interface Books {
  readonly next: number;
  readonly handled: number;
  readonly dropped: number;
  readonly lost: number;
}

describe.skipIf(whyNot !== undefined)(
  `kill -9 of the agent${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`,
  () => {
    let world: World;
    let burst: string;
    let target: string;

    beforeAll(async () => {
      world = new World();
      await world.startControlPlane();
      burst = world.compile('burst');
      target = join(world.folder, 'target');
      copyFileSync('/bin/true', target);
      world.ok('filter', 'push', world.filterFolder('drops-exits', '1.0.0', filter));
    });
    afterAll(() => world.close());

    /** Event ids of all records that are whole in the spool's files. */
    function idsInSpool(): string[] {
      const folder = join(world.agentData, 'spool');
      const ids: string[] = [];
      for (const name of readdirSync(folder)) {
        const bytes = readFileSync(join(folder, name));
        const batches = name.endsWith('.open')
          ? readWholeFrames(bytes).frames.map(({ batch }) => new BatchReader(batch))
          : name.endsWith('.segment')
            ? readSegment(bytes).batches
            : [];
        for (const batch of batches) {
          const bootId = Buffer.from(batch.header.bootId).toString('hex');
          for (let index = 0; index < batch.recordCount; index++) {
            const { cpu, sequence } = readRecordHeader(batch.view, batch.recordAt(index));
            ids.push(eventId(bootId, cpu, sequence));
          }
        }
      }
      return ids;
    }

    /** What the kernel numbered, by CPU, from the pinned counters. */
    function produced(): number[] {
      const map = openPinnedMap(join(world.pinFolder, 'counters'));
      try {
        return map
          .lookupPerCpu(new Uint8Array(Uint32Array.of(KernelCounter.produced).buffer))
          ?.map((value) => Number(Buffer.from(value).readBigUInt64LE())) as number[];
      } finally {
        map.close();
      }
    }

    /** The agent's books as they are beside the last batch of the spool. */
    function books(): Books[] {
      const chain = JSON.parse(readFileSync(join(world.agentData, 'spool/chain.json'), 'utf8')) as {
        accounting: string;
      };
      const bytes = Buffer.from(chain.accounting, 'base64');
      return Array.from({ length: possibleCpus() }, (_, cpu) => {
        const [next = 0, handled = 0, dropped = 0, lost = 0] = [0, 8, 16, 24].map((at) =>
          bytes.readDoubleLE(24 + cpu * 32 + at),
        );
        return { next, handled, dropped, lost };
      });
    }

    /** Ids of all events of the archive, with how often each is there. */
    async function archived(): Promise<Map<string, number>> {
      const found = new Map<string, number>();
      for (let after = ''; ; ) {
        const rows = await world.query(
          `SELECT event_id, count(*) FROM events WHERE event_id > '${after}' GROUP BY ALL ORDER BY event_id LIMIT 10000`,
        );
        for (const [id, count] of rows) found.set(String(id), Number(count));
        if (rows.length < 10_000) return found;
        after = String(rows.at(-1)?.[0]);
      }
    }

    test('loses nothing that the spool had, and counts all else', { timeout: 600_000 }, async () => {
      const seed = seedOfRun();
      const next = random(seed);
      const taken = new Set<string>();
      for (let round = 0; round < rounds; round++) {
        const agent = await world.startAgent({ pin: true, args: ['--ring-bytes', String(ringBytes)] });
        const stopAt = round % 2 === 1 ? next(programsOfBurst / 2) : -1;
        // In the middle: at least as far as the stop goes.
        const goOnAt = stopAt + 400;
        const killAt = stopAt < 0 ? next(programsOfBurst) : goOnAt + next(programsOfBurst - goOnAt);
        const load = spawn(burst, [String(programsOfBurst), target, `round-${round}`], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const loadEnded = once(load, 'exit');
        for await (const line of createInterface({ input: load.stdout })) {
          const number = Number(line);
          if (number === stopAt) agent.child.kill('SIGSTOP');
          if (number === goOnAt) agent.child.kill('SIGCONT');
          if (number === killAt) await agent.end('SIGKILL');
        }
        expect((await loadEnded)[0], `seed ${seed}: the burst`).toBe(0);
        for (const id of idsInSpool()) taken.add(id);
      }
      // It hands over what it holds when it ends; where the control plane was too busy for that, the next one does.
      const left = () =>
        readdirSync(join(world.agentData, 'spool')).filter((name) => /\.(open|segment)$/.test(name));
      for (let start = 0; start === 0 || (start < 5 && left().length > 0); start++) {
        const last = await world.startAgent({ pin: true });
        await last.end();
      }
      expect(left(), 'the spool is empty').toEqual([]);

      const numbered = produced();
      const total = numbered.reduce((sum, count) => sum + count, 0);
      const perCpu = books();
      const dropped = perCpu.reduce((sum, cpu) => sum + cpu.dropped, 0);
      let balance = '';
      const found = await waitFor(
        `seed ${seed}: the balance`,
        async () => {
          const ids = await archived();
          const stages = await world.query(
            "SELECT lost_stage, sum(lost_count) FROM events WHERE kind = 'loss' GROUP BY ALL",
          );
          const lost = stages.reduce((sum, [, count]) => sum + Number(count), 0);
          const kept = [...ids.keys()].filter((id) => !id.includes(`-${AGENT_CPU}-`)).length;
          balance = `${total} produced = ${kept} archived + ${dropped} dropped + ${lost} lost (${stages.map(([stage, count]) => `${stage} ${count}`).join(', ')}), off by ${total - kept - dropped - lost}; books ${JSON.stringify(perCpu)}`;
          return total === kept + dropped + lost && ids;
        },
        { limitMs: 120_000, everyMs: 1000, detail: () => balance },
      );
      console.log(balance);
      expect(dropped).toBeGreaterThan(rounds);
      expect(
        [...found.values()].every((count) => count === 1),
        'each event is there once',
      ).toBe(true);
      expect(
        [...taken].filter((id) => !found.has(id)),
        'what the spool had',
      ).toEqual([]);
      expect(taken.size).toBeGreaterThan(1000);
      for (const [cpu, { dropped: away, lost }] of perCpu.entries()) {
        const kept = [...found.keys()].filter((id) => id.split('-').at(-2) === String(cpu)).length;
        expect(kept + away + lost, `CPU ${cpu}`).toBe(numbered[cpu]);
      }
      // Dropped exits are nowhere, kept execs of the same programs are.
      const [[exits, execs] = []] = await world.query(
        `SELECT count(*) FILTER (kind = 'exit'), count(*) FILTER (kind = 'exec') FROM events WHERE "binary" = '${target}'`,
      );
      expect(Number(exits)).toBe(0);
      expect(Number(execs)).toBeGreaterThan(1000);
    });
  },
);
