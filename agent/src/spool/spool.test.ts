// SPDX-License-Identifier: Apache-2.0
// The spool against a simple model: what was taken is delivered, in order, once, whatever stops the process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readSegment, type Segment, verifyChain } from '@weir/segment';
import { describeBatch, random } from '@weir/segment/fixtures';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Spool, SpoolError, type SpoolOptions, uploadSegments } from './index.js';
import type { SpoolStep } from './spool.js';

let root: string;
let folders = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'weir-spool-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

function newFolder(): string {
  folders++;
  return join(root, `spool-${folders}`);
}

/** Timers off: the test says when. */
function manual(folder: string, options: Partial<SpoolOptions> = {}): SpoolOptions {
  return { folder, agentId: 'agent-1', segmentMs: Infinity, syncMs: Infinity, ...options };
}

function batch(number: number, records = 3): Uint8Array {
  return describeBatch({ seed: number, records, batchSequence: BigInt(number) });
}

/** Takes all sealed segments out of a spool, as an upload that always succeeds. */
async function drain(spool: Spool, remote: Map<string, Segment>): Promise<void> {
  for (let segment = spool.oldestSealed(); segment !== undefined; segment = spool.oldestSealed()) {
    const read = readSegment(await segment.read());
    expect(read.header).toMatchObject({ digest: segment.digest, sequence: segment.sequence });
    expect(read.header.recordCount).toBe(BigInt(segment.recordCount));
    remote.set(segment.digest, read);
    await spool.acknowledge(segment, 'stored');
  }
}

function numbersOf(segments: Iterable<Segment>): number[] {
  return [...segments].flatMap((segment) => segment.batches.map((each) => Number(each.header.batchSequence)));
}

describe('a spool', () => {
  test('seals what was appended, in order, in a chain, and is empty when all is acknowledged', async () => {
    const spool = await Spool.open(manual(newFolder(), { segmentBytes: 10_000 }));
    for (let i = 0; i < 30; i++) expect(await spool.append(batch(i), Uint8Array.of(i))).toBe(true);
    await spool.close();
    const remote = new Map<string, Segment>();
    await drain(spool, remote);
    expect(remote.size).toBeGreaterThan(2);
    expect(numbersOf(remote.values())).toEqual(Array.from({ length: 30 }, (_, i) => i));
    expect(verifyChain([...remote.values()].map((each) => each.header))).toEqual([]);
    expect([...remote.values()].flatMap((each) => each.accounting.map((bytes) => bytes[0]))).toHaveLength(30);
    expect(spool.stats()).toMatchObject({ bytes: 0, appendedBatches: 30, acknowledgedRecords: 90 });
  });

  test('seals by itself when its time has come', async () => {
    const spool = await Spool.open(manual(newFolder(), { segmentMs: 1 }));
    await spool.append(batch(1));
    const segment = await spool.nextSealed(AbortSignal.timeout(10_000));
    expect(segment?.recordCount).toBe(3);
    await spool.close();
  });

  test('syncs by itself what was appended', async () => {
    const spool = await Spool.open(manual(newFolder(), { syncMs: 1 }));
    await spool.append(batch(1));
    await vi.waitFor(() => expect(spool.stats().unsyncedBytes).toBe(0), { timeout: 10_000 });
    await spool.close();
    const lazy = await Spool.open(manual(newFolder()));
    await lazy.append(batch(1));
    expect(lazy.stats().unsyncedBytes).toBe(lazy.stats().bytes);
    await lazy.sync();
    expect(lazy.stats().unsyncedBytes).toBe(0);
    await lazy.close();
  });

  test('goes on with chain and accounting after a stop, also when all was uploaded', async () => {
    const folder = newFolder();
    const remote = new Map<string, Segment>();
    for (let round = 0; round < 3; round++) {
      const spool = await Spool.open(manual(folder));
      expect(spool.recovered.accounting?.[0]).toBe(round === 0 ? undefined : round - 1);
      await spool.append(batch(round), Uint8Array.of(round));
      await spool.close();
      await drain(spool, remote);
    }
    expect(verifyChain([...remote.values()].map((each) => each.header))).toEqual([]);
    expect(numbersOf(remote.values())).toEqual([0, 1, 2]);
  });

  test('refuses the newest when it is full, counts it, and takes again when there is room', async () => {
    const lost: [string, number][] = [];
    const onLoss = (stage: string, records: number) => lost.push([stage, records]);
    const spool = await Spool.open(manual(newFolder(), { bytesMax: 60_000, segmentBytes: 10_000, onLoss }));
    let taken = 0;
    for (; taken < 1000 && (await spool.append(batch(taken))); taken++) await spool.settled();
    expect(taken).toBeGreaterThan(10);
    expect(taken).toBeLessThan(1000);
    expect(await spool.append(batch(0, 5))).toBe(false);
    expect(lost).toEqual([
      ['spool_full', 3],
      ['spool_full', 5],
    ]);
    await spool.settled();
    expect(spool.stats().bytes).toBeLessThanOrEqual(60_000);
    expect(spool.stats().lostRecords.spool_full).toBe(8);
    const remote = new Map<string, Segment>();
    await drain(spool, remote);
    expect(await spool.append(batch(taken))).toBe(true);
    await spool.close();
    await drain(spool, remote);
    expect(numbersOf(remote.values())).toEqual(Array.from({ length: taken + 1 }, (_, i) => i));
    expect(verifyChain([...remote.values()].map((each) => each.header))).toEqual([]);
  });

  test('counts what the file system refuses', async () => {
    const folder = newFolder();
    const errors: unknown[] = [];
    const spool = await Spool.open(manual(folder, { onError: (error) => errors.push(error) }));
    // The name that the spool wants is taken by somebody else's file.
    await writeFile(join(folder, `${'0'.repeat(16)}.open`), '');
    expect(await spool.append(batch(1))).toBe(false);
    expect(spool.stats().lostRecords.sink).toBe(3);
    expect(errors).toHaveLength(1);
    await spool.close();
  });

  test("refuses another agent's folder, and one without its chain", async () => {
    const folder = newFolder();
    const spool = await Spool.open(manual(folder));
    await spool.append(batch(1));
    await spool.close();
    await expect(Spool.open({ ...manual(folder), agentId: 'agent-2' })).rejects.toMatchObject({
      code: 'wrong-agent',
    });
    await rm(join(folder, 'chain.json'));
    await expect(Spool.open(manual(folder))).rejects.toMatchObject({ code: 'damaged' });
    await writeFile(join(folder, 'chain.json'), '{"agentId":1}');
    await expect(Spool.open(manual(folder))).rejects.toBeInstanceOf(SpoolError);
  });

  test('refuses appends after close; close is idempotent; its files are private', async () => {
    const folder = newFolder();
    const spool = await Spool.open(manual(folder));
    await spool.append(batch(1));
    await Promise.all([spool.close(), spool.close()]);
    await spool.close();
    await expect(spool.append(batch(2))).rejects.toMatchObject({ code: 'closed' });
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o077, name).toBe(0);
    await chmod(folder, 0o700);
  });
});

describe('upload', () => {
  test('tries again until it is acknowledged, gives up what is refused, and ends with the spool', async () => {
    const spool = await Spool.open(manual(newFolder()));
    for (let i = 0; i < 3; i++) {
      await spool.append(batch(i));
      await spool.rotate();
    }
    await spool.settled();
    const puts: bigint[] = [];
    const waits: number[] = [];
    const running = uploadSegments(
      spool,
      {
        put(segment) {
          puts.push(segment.sequence);
          if (segment.sequence === 0n && puts.length < 4) throw new Error('no network');
          return Promise.resolve(segment.sequence === 1n ? 'refused' : 'stored');
        },
      },
      new AbortController().signal,
      {
        delayMinMs: 4,
        delayMaxMs: 8,
        random: () => 1,
        onFailure: (_error, _segment, wait) => waits.push(wait),
      },
    );
    await spool.close();
    await running;
    expect(puts).toEqual([0n, 0n, 0n, 0n, 1n, 2n]);
    expect(waits).toEqual([4, 8, 8]);
    expect(spool.stats()).toMatchObject({ acknowledgedRecords: 6, bytes: 0, lostRecords: { upload: 3 } });
  });
});

/** Ends the process at a step, as far as the spool can see. */
class Killed extends Error {}

describe('random interleavings against a model', () => {
  const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
  const steps: SpoolStep[] = ['segment-written', 'segment-named', 'chain-written', 'open-removed'];

  test.each(Array.from({ length: 12 }, (_, i) => seed + i))('seed %i', async (runSeed) => {
    const next = random(runSeed);
    const folder = newFolder();
    const remote = new Map<string, Segment>();
    let killAt: SpoolStep | undefined;
    const options = manual(folder, {
      segmentBytes: 3000 + next(8000),
      onStep: (step) => {
        if (step === killAt) throw new Killed(step);
      },
      onError: (error) => {
        if (!(error instanceof Killed)) throw error;
      },
    });
    let spool = await Spool.open(options);
    let number = 0;
    /** Taken and not known to be gone; the first `synced` of them survive a power loss. */
    let taken: number[] = [];
    let synced = 0;
    let syncedLengths = new Map<string, number>();
    // Of a file whose segment is being named meanwhile nothing is there to lose any more.
    const lengths = () =>
      new Map(
        readdirSync(folder)
          .filter((name) => name.endsWith('.open'))
          .flatMap((name): [string, number][] => {
            const size = statSync(join(folder, name), { throwIfNoEntry: false })?.size;
            return size === undefined ? [] : [[name, size]];
          }),
      );

    const restart = async (how: 'kill' | 'power'): Promise<void> => {
      await spool.abandon();
      if (how === 'power') losePower();
      killAt = undefined;
      spool = await Spool.open(options);
      // What is there now is what the model goes on with: no less than was synced, and of the rest a beginning.
      await spool.settled();
      const held = [...numbersOf(remote.values()), ...(await numbersHeld())];
      const unique = [...new Set(held)].sort((a, b) => a - b);
      if (how === 'kill') expect(unique).toEqual(taken);
      expect(unique).toEqual(taken.slice(0, unique.length));
      expect(unique.length).toBeGreaterThanOrEqual(synced);
      taken = unique;
      synced = unique.length;
    };
    const losePower = (): void => {
      // Of the bytes that were not synced the disk has a beginning, or garbage in their place. Files are cut from
      // the last to the first that keeps all, so that what survives is a beginning of what was written.
      for (const [name, length] of [...lengths()].sort().reverse()) {
        const path = join(folder, name);
        const kept = syncedLengths.get(name) ?? 0;
        const keep = kept + next(length - kept + 1);
        truncateSync(path, keep);
        if (next(2) === 0)
          appendFileSync(
            path,
            Uint8Array.from({ length: next(200) }, () => next(256)),
          );
        if (keep > kept) break;
      }
    };
    const numbersHeld = async (): Promise<number[]> => {
      const names = readdirSync(folder).filter((name) => name.endsWith('.segment'));
      return numbersOf(names.map((name) => readSegment(readFileSync(join(folder, name)))));
    };

    for (let operation = 0; operation < 150; operation++) {
      switch (next(10)) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const count = 1 + next(4);
          const numbers = Array.from({ length: count }, () => number++);
          const answers = await Promise.all(
            numbers.map((n) => spool.append(batch(n, 1 + (n % 5)), Uint8Array.of(n & 255))),
          );
          taken.push(...numbers.filter((_, i) => answers[i]));
          break;
        }
        case 4:
          await spool.rotate();
          break;
        case 5:
          await spool.sync();
          synced = taken.length;
          syncedLengths = lengths();
          break;
        case 6:
          await spool.settled();
          await drain(spool, remote);
          break;
        case 7:
          killAt = steps[next(steps.length)];
          break;
        case 8:
          await restart('kill');
          expect(spool.recovered.accounting?.[0]).toBe(
            taken.length === 0 ? undefined : (taken.at(-1) ?? 0) & 255,
          );
          break;
        default:
          await restart('power');
      }
    }
    await restart('kill');
    await spool.close();
    await drain(spool, remote);
    const headers = [...remote.values()].map((each) => each.header);
    expect(verifyChain(headers)).toEqual([]);
    expect(numbersOf(remote.values())).toEqual(taken);
    expect(taken.length).toBeGreaterThan(10);
  });
});

describe('kill -9', () => {
  test('of a process that appends, at ten seeded moments, loses nothing that was taken', async () => {
    const seed = Number(process.env.WEIR_SEED ?? Date.now() % 2 ** 31);
    const next = random(seed);
    const script = join(root, 'crash-child.mjs');
    await build({
      entryPoints: [join(import.meta.dirname, 'crash-child.ts')],
      outfile: script,
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'error',
    });
    const folder = newFolder();
    const remote = await mkdtemp(join(root, 'remote-'));
    const taken: number[] = [];
    let started = 0;
    for (let round = 0; round < 10; round++) {
      const child = spawn(process.execPath, [script, folder, remote, String(started)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      const killAfter = 1 + next(400);
      let seen = 0;
      for await (const line of createInterface({ input: child.stdout })) {
        const [word, number] = line.split(' ');
        if (word === 'recovered') continue;
        expect(word, `seed ${seed}`).toBe('taken');
        taken.push(Number(number));
        started = Number(number) + 1;
        seen++;
        if (seen === killAfter) child.kill('SIGKILL');
      }
      const [, signal] = await exited;
      expect(signal).toBe('SIGKILL');
      // The append that was under way may have been written, and its number is not used again.
      started += 1;
    }
    const spool = await Spool.open({ folder, agentId: 'agent-1' });
    await spool.close();
    const segments = new Map<string, Segment>();
    for (const name of await readdir(remote)) {
      try {
        const segment = readSegment(await readFile(join(remote, name)));
        segments.set(segment.header.digest, segment);
      } catch {
        // The upload itself was killed half-way: it was not acknowledged, and is there again.
      }
    }
    await drain(spool, segments);
    const ordered = [...segments.values()].sort((a, b) => Number(a.header.sequence - b.header.sequence));
    expect(verifyChain(ordered.map((each) => each.header)), `seed ${seed}`).toEqual([]);
    const found = numbersOf(ordered);
    expect(new Set(found).size, `seed ${seed}: each once`).toBe(found.length);
    expect(found, `seed ${seed}: in order`).toEqual([...found].sort((a, b) => a - b));
    const missing = taken.filter((number) => !found.includes(number));
    expect(missing, `seed ${seed}`).toEqual([]);
    expect(found.length - taken.length, `seed ${seed}`).toBeLessThanOrEqual(10);
  });
});
