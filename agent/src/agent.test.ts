// SPDX-License-Identifier: Apache-2.0
// Runs the agent as a process on this kernel: what it shows, and that no event goes unaccounted for when it is
// killed. Needs root, and the rights to load tracing programs and to mount a BPF file system.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { whyNothingLoads } from '@weir/native';
import { AGENT_CPU, BatchDecoder, BatchReader, readSegment, readWholeFrames } from '@weir/segment';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AgentClient, type AgentStatus } from './socket/client.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const objects = fileURLToPath(new URL('../../bpf/build/process.bpf.o', import.meta.url));
const limitMs = 60_000;

function why(): string | undefined {
  if (process.getuid?.() !== 0) return 'they need root';
  if (!existsSync(main) || !existsSync(objects)) return 'the agent is not built';
  return whyNothingLoads();
}
const reason = why();
if (reason !== undefined) console.warn(`the tests of the running agent do not run: ${reason}`);

async function until<T>(what: string, condition: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const found = await condition().catch(() => undefined);
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

interface Counted {
  records: number;
  distinct: number;
  lost: number;
}

/** Everything that is in a spool: numbered records, those of them that differ, and what loss records tell. */
function countSpool(folder: string): Counted {
  const ids = new Set<string>();
  let records = 0;
  let lost = 0;
  for (const name of readdirSync(folder)) {
    const bytes = () => readFileSync(join(folder, name));
    const batches = name.endsWith('.open')
      ? readWholeFrames(bytes()).frames.map(({ batch }) => batch)
      : name.endsWith('.segment')
        ? readSegment(bytes()).batches.map((batch) => batch.bytes)
        : [];
    for (const batch of batches) {
      const reader = new BatchReader(batch);
      const decoder = new BatchDecoder(reader);
      for (let index = 0; index < reader.header.recordCount; index++) {
        const record = decoder.record(index);
        if (record.loss !== undefined) lost += Number(record.loss.count);
        if (record.cpu === AGENT_CPU) continue;
        records++;
        ids.add(record.eventId);
      }
    }
  }
  return { records, distinct: ids.size, lost };
}

describe.skipIf(reason !== undefined)('agent', () => {
  let folder = '';
  let pins = '';
  let agent: ChildProcess | undefined;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-agent-test-'));
    pins = join(folder, 'bpf');
    mkdirSync(pins);
    execFileSync('mount', ['-t', 'bpf', 'bpf', pins]);
  });
  afterAll(() => {
    agent?.kill('SIGKILL');
    if (pins === '') return;
    execFileSync('umount', [pins]);
    rmSync(folder, { recursive: true, force: true });
  });

  // What a failed test has left running must not answer the next one.
  afterEach(() => {
    agent?.kill('SIGKILL');
  });

  const client = () => new AgentClient(join(folder, 'agent.sock'));
  function start(...options: string[]): Promise<AgentStatus> {
    const places = ['--data', join(folder, 'data'), '--socket', join(folder, 'agent.sock')];
    // A small ring and few segments, so that a burst is somewhere on its way when the kill comes.
    const args = [main, ...places, '--pin', join(pins, 'weir'), '--node', 'test', ...options];
    agent = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    return until('the agent to answer', () => client().status());
  }
  function ended(): Promise<unknown> {
    return new Promise((resolve) => agent?.once('exit', resolve));
  }

  it('shows an exec with its arguments, parent and exit code, whatever bytes are in them', async () => {
    await start();
    expect(statSync(join(folder, 'agent.sock')).mode & 0o777).toBe(0o600);
    const seen: { json: string[]; compact: string[] } = { json: [], compact: [] };
    const stop = new AbortController();
    const marker = `weir-test-${process.pid}`;
    const readers = (['json', 'compact'] as const).map(async (format) => {
      for await (const line of client().events({ format, kinds: ['exec', 'exit'] }, stop.signal)) {
        if (line.includes(marker)) seen[format].push(line);
      }
    });
    await until('the readers to be there', async () =>
      (await client().status()).subscribers.current === 2 ? true : undefined,
    );
    execFileSync('sh', [
      '-c',
      `printf '${marker}' > /dev/null; /bin/sh -c "exit 3" '${marker}\n\x1b[31m' || true`,
    ]);
    await until('the events to come', async () =>
      seen.json.filter((line) => line.includes('process_exit')).length >= 2 && seen.compact.length >= 2
        ? true
        : undefined,
    );
    stop.abort();
    await Promise.all(readers);
    const events = seen.json.map((line) => JSON.parse(line));
    const inner = events.find((event) => event.process_exec?.process.arguments.includes(`${marker}\n`));
    expect(inner.process_exec.process.arguments).toContain(`${marker}\n\x1b[31m`);
    expect(inner.process_exec.parent.exec_id).toBe(inner.process_exec.process.parent_exec_id);
    expect(events.some((event) => event.process_exit?.status === 3)).toBe(true);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    for (const line of seen.compact) expect(line).not.toMatch(/[\x00-\x1f\x7f]/);
    expect(seen.compact.join('\n')).toContain('\\x0a\\x1b[31m');
    agent?.kill('SIGTERM');
    expect(await ended()).toBe(0);
    expect(existsSync(join(folder, 'agent.sock'))).toBe(false);
  }, 120_000);

  it('accounts for every event when it is killed in the middle of bursts', async () => {
    let seed = 20_241_124;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const burst = () =>
      spawn('sh', ['-c', 'i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done'], { stdio: 'ignore' });
    for (let round = 0; round < 4; round++) {
      const before = (await start()).events.produced;
      const running = burst();
      const done = new Promise((resolve) => running.once('exit', resolve));
      const after = 50 + random(800);
      await until('the burst to be under way', async () =>
        (await client().status()).events.produced >= before + after ? true : undefined,
      );
      agent?.kill('SIGKILL');
      await ended();
      await done;
    }
    await start();
    // Gaps are settled after two looks.
    const status = await until('the books to balance', async () => {
      const now = await client().status();
      const lost = Object.values(now.losses).reduce((sum, count) => sum + count, 0);
      return lost >= 0 && now.ring.pendingBytes === 0 ? now : undefined;
    });
    expect(status.losses.agent_down).toBeGreaterThanOrEqual(0);
    agent?.kill('SIGTERM');
    expect(await ended()).toBe(0);
    const counted = countSpool(join(folder, 'data', 'spool'));
    expect(counted.records).toBe(counted.distinct);
    const produced = producedBy(join(pins, 'weir', 'counters'));
    expect(counted.distinct + counted.lost).toBe(produced);
    expect(counted.distinct).toBeGreaterThan(200);
  }, 240_000);

  it('accounts for every event that a full spool refused, when it is killed then', async () => {
    rmSync(join(folder, 'data'), { recursive: true, force: true });
    rmSync(join(pins, 'weir', 'counters'), { force: true });
    await start('--spool-bytes', String(1024 * 1024));
    // Arguments that do not compress.
    const script =
      'for i in $(seq 200); do /bin/true $(head -c 2800 /dev/urandom | base64 -w 0); done 2> /dev/null';
    let lost = 0;
    for (let burst = 0; burst < 20 && lost === 0; burst++) {
      execFileSync('sh', ['-c', script]);
      lost = (await client().status()).losses.spool_full ?? 0;
    }
    expect(lost).toBeGreaterThan(0);
    agent?.kill('SIGKILL');
    await ended();
    // It has room again: what was refused is told of by this one.
    await start();
    agent?.kill('SIGTERM');
    expect(await ended()).toBe(0);
    const counted = countSpool(join(folder, 'data', 'spool'));
    expect(counted.records).toBe(counted.distinct);
    expect(counted.lost).toBeGreaterThan(0);
    expect(counted.distinct + counted.lost).toBe(producedBy(join(pins, 'weir', 'counters')));
  }, 240_000);
});

/** What is pinned: the sum over the CPUs of the first counter. */
function producedBy(path: string): number {
  const text = execFileSync(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openPinnedMap } from '@weir/native';
     const map = openPinnedMap(${JSON.stringify(path)});
     const values = map.lookupPerCpu(new Uint8Array(4)) ?? [];
     console.log(values.reduce((sum, value) => sum + Number(new DataView(value.buffer, value.byteOffset).getBigUint64(0, true)), 0));`,
    ],
    { cwd: fileURLToPath(new URL('..', import.meta.url)), encoding: 'utf8' },
  );
  return Number(text);
}
