// SPDX-License-Identifier: Apache-2.0
// What takes hooks or enforces, with the agent itself running as a daemon, on both kernels: control plane and command
// line are here, the agent is in a guest.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { AgentStatus } from '@weir/agent/client';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Appliance, bootInteractive } from '../vm/appliance.js';
import { isUnavailable } from '../vm/errors.js';
import { findSplats } from '../vm/kernel-log.js';
import { World, waitFor } from './support.js';

const library = fileURLToPath(new URL('../../policy/library', import.meta.url));
/** Without KVM everything in a guest takes several times as long. */
const limits = { limitMs: 240_000, everyMs: 250 };
const watched = { a: '/run/e2e/watched/a', b: '/run/e2e/watched/b' };

const opens = `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: watched-opens
spec:
  kprobes:
    - call: "security_file_open"
      syscall: false
      args:
        - index: 0
          type: "file"
      selectors:
        - matchArgs:
            - index: 0
              operator: "Prefix"
              values:
                - "/run/e2e/watched/"
`;

const dropping = (path: string) => `import { drop, Event, keep, Verdict } from '@weir/filter-sdk';
export function filter(event: Event): Verdict {
  return event.argument(0).path.equals('${path}') ? drop() : keep();
}
`;

interface Ran {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

class Guest {
  readonly #appliance: Appliance;
  readonly #waiting: Map<number, { resolve(value: unknown): void; reject(error: Error): void }>;
  #next = 1;

  private constructor(appliance: Appliance, waiting: Guest['waiting']) {
    this.#appliance = appliance;
    this.#waiting = waiting;
    void appliance.ended.then(() => {
      for (const { reject } of waiting.values())
        reject(new Error(`the guest has ended:\n${this.consoleText().slice(-2000)}`));
    });
  }

  get waiting() {
    return this.#waiting;
  }

  static async boot(kernel: '6.1' | '6.12', url: string, token: string): Promise<Guest> {
    const folder = mkdtempSync(join(tmpdir(), 'weir-e2e-guest-'));
    const script = join(folder, 'guest-main.mjs');
    await build({
      entryPoints: [fileURLToPath(new URL('guest-main.ts', import.meta.url))],
      outfile: script,
      bundle: true,
      packages: 'external',
      platform: 'node',
      target: 'node20',
      format: 'esm',
      logLevel: 'error',
    });
    const waiting: Guest['waiting'] = new Map();
    let ready = false;
    try {
      const appliance = await bootInteractive({
        kernel,
        payload: {
          command: ['node', '/weir/e2e/guest-main.mjs'],
          // In the guest this address is the host's loopback.
          env: { WEIR_E2E_URL: `http://10.0.2.2:${new URL(url).port}`, WEIR_E2E_TOKEN: token },
          files: [{ from: script, to: 'e2e/guest-main.mjs' }],
        },
        onSerialLine: (line) => {
          if (!line.startsWith('@e2e ')) return;
          const answer = JSON.parse(line.slice(5)) as {
            ready?: true;
            id?: number;
            value?: unknown;
            error?: string;
          };
          if (answer.ready) ready = true;
          const asked = waiting.get(answer.id ?? 0);
          waiting.delete(answer.id ?? 0);
          if (answer.error === undefined) asked?.resolve(answer.value);
          else asked?.reject(new Error(answer.error));
        },
      });
      const guest = new Guest(appliance, waiting);
      await waitFor('the guest', () => ready, { ...limits, detail: () => guest.consoleText().slice(-2000) });
      return guest;
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  ask<T>(action: string, ...args: string[]): Promise<T> {
    const id = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#appliance.writeLine(JSON.stringify({ id, action, args }));
    });
  }

  run(program: string, ...args: string[]): Promise<Ran> {
    return this.ask('run', program, ...args);
  }

  status(): Promise<AgentStatus | null> {
    return this.ask('status');
  }

  consoleText(): string {
    return this.#appliance.consoleText();
  }

  close(): Promise<void> {
    return this.#appliance.close();
  }
}

describe.each(['6.1', '6.12'] as const)('the agent on Linux %s', (kernel) => {
  let world: World;
  let guest: Guest | undefined;
  let unavailable = '';

  beforeAll(async () => {
    world = new World();
    await world.startControlPlane();
    world.ok(
      'policy',
      'add',
      ...['block-cryptominers', 'monitor-sensitive-files'].map((name) => join(library, `${name}.yaml`)),
    );
    world.ok('policy', 'add', world.file('watched.yaml', opens));
    world.ok('filter', 'push', world.filterFolder('one-of-two', '1.0.0', dropping(watched.a)));
    try {
      guest = await Guest.boot(kernel, world.url, world.credentials.bootstrapToken);
    } catch (error) {
      if (!isUnavailable(error) || process.env.CI === 'true') throw error;
      unavailable = `no guest here: ${error.message}`;
      return;
    }
    await guest.ask('start');
    await statusWith('policies and filter in force', (status) => status.releaseSequence >= 4);
  });
  afterAll(async () => {
    await guest?.close();
    await world.close();
  });

  async function statusWith(what: string, holds: (status: AgentStatus) => boolean): Promise<AgentStatus> {
    let last: unknown;
    return waitFor(
      what,
      async () => {
        const status = (await guest?.status()) ?? undefined;
        last = status;
        return status !== undefined && holds(status) && status;
      },
      { ...limits, detail: () => JSON.stringify(last) },
    );
  }

  /** Rows of the archive, once there are so many. */
  function rows(sql: string, count: number): Promise<unknown[][]> {
    let last: unknown[][] = [];
    return waitFor(
      `${count} rows`,
      async () => {
        last = await world.query(sql);
        return last.length >= count && last;
      },
      { limitMs: 90_000, everyMs: 1000, detail: () => JSON.stringify(last) },
    );
  }

  test('has all policies in force', async ({ skip }) => {
    if (guest === undefined) return skip(unavailable);
    const { policies } = await statusWith('status', () => true);
    expect(policies.map(({ name, state, mode, reason }) => ({ name, state, mode, reason }))).toEqual(
      ['block-cryptominers', 'monitor-sensitive-files', 'watched-opens'].map((name) => ({
        name,
        state: 'loaded',
        mode: 'enforce',
        reason: undefined,
      })),
    );
  });

  test('stops the exec of a listed miner before it runs', async ({ skip }) => {
    if (guest === undefined) return skip(unavailable);
    await guest.ask('copy', '/weir/bin/act', '/tmp/xmrig');
    const ran = await guest.run('/bin/sh', '-c', '/tmp/xmrig /run/e2e/trace; echo $?');
    expect(await guest.ask('exists', '/run/e2e/trace'), 'the miner ran').toBe(false);
    expect(Number(ran.stdout)).toBeGreaterThan(0);
    const found = await rows(
      `SELECT action, monitor, path, parent_binary FROM events WHERE policy = 'block-cryptominers'`,
      1,
    );
    expect(found.map((row) => row.slice(0, 3))).toEqual([['sigkill', false, '/tmp/xmrig']]);
    expect(
      (
        await world.query(`SELECT count(*) FROM events WHERE kind = 'exec' AND "binary" = '/tmp/xmrig'`)
      )[0]?.[0],
    ).toSatisfy((count: unknown) => Number(count) === 0);
  });

  test('gives one event for one look at a watched file, with path, process and parent', async ({ skip }) => {
    if (guest === undefined) return skip(unavailable);
    const ran = await guest.run('/bin/sh', '-c', 'cat /etc/shadow > /dev/null; true');
    expect(ran.code).toBe(0);
    const sql = `SELECT path, "binary", arguments, parent_binary, uid, function FROM events WHERE policy = 'monitor-sensitive-files'`;
    await rows(sql, 1);
    // A second look, by another program, comes later: then a second event of the first would have come as well.
    await guest.run('/usr/bin/head', '-c1', '/etc/shadow');
    const found = await rows(sql, 2);
    expect(found).toHaveLength(2);
    expect(found.find(([, binary]) => binary === '/usr/bin/cat')).toEqual([
      '/etc/shadow',
      '/usr/bin/cat',
      ['/etc/shadow'],
      '/usr/bin/dash',
      expect.toSatisfy((uid: unknown) => Number(uid) === 0),
      'security_file_open',
    ]);
  });

  test('has an uploaded filter in force while files are opened, and loses no event', async ({ skip }) => {
    if (guest === undefined) return skip(unavailable);
    const idle = await statusWith('status', () => true);
    for (const path of Object.values(watched)) await guest.ask('write', path, 'x');
    // Making the files opens each of them once. The first version drops one of these two: it must be in the count
    // before, or it is taken for one of the opens that the load makes.
    const before = await statusWith(
      'the events of making the files',
      ({ events, ring }) =>
        events.dropped > idle.events.dropped && events.produced === events.handled && ring.pendingBytes === 0,
    );
    const [[already] = []] = await world.query(`SELECT count(*) FROM events WHERE policy = 'watched-opens'`);
    await guest.ask('load', watched.a, watched.b);
    await statusWith(
      'drops of the first version',
      (status) => status.events.dropped - before.events.dropped > 100,
    );
    world.ok('filter', 'build', world.filterFolder('one-of-two', '1.0.1', dropping(watched.b)));
    const pushed = world.ok('filter', 'push', join(world.folder, 'one-of-two-1.0.1'));
    const answeredMs = performance.now();
    expect(pushed).toContain('in force');
    const swapped = await statusWith('the second version', ({ filters }) =>
      filters.some(
        ({ name, version, state }) => name === 'one-of-two' && version === '1.0.1' && state === 'loaded',
      ),
    );
    console.log(
      `Linux ${kernel}: seen in force ${((performance.now() - answeredMs) / 1000).toFixed(2)} s after the upload's answer`,
    );
    expect(swapped.filters).toHaveLength(1);
    await statusWith('drops of the second version', ({ filters }) => (filters[0]?.dropped ?? 0) > 100);
    const opened = await guest.ask<Record<string, number>>('unload');
    const made = (opened[watched.a] ?? 0) + (opened[watched.b] ?? 0);
    const after = await statusWith(
      'the end of the events',
      ({ events, ring }) => events.produced === events.handled && ring.pendingBytes === 0,
    );
    expect(after.losses).toEqual(Object.fromEntries(Object.keys(after.losses).map((stage) => [stage, 0])));
    const dropped = after.events.dropped - before.events.dropped;
    let counts: unknown[] = [];
    await waitFor(
      'the kept events in the archive',
      async () => {
        counts =
          (
            await world.query(
              `SELECT count(*), count(*) FILTER (path = '${watched.a}'), count(*) FILTER (path = '${watched.b}') FROM events WHERE policy = 'watched-opens' AND "binary" LIKE '%/calls'`,
            )
          )[0] ?? [];
        return Number(counts[0]) + dropped >= made;
      },
      {
        limitMs: 90_000,
        everyMs: 1000,
        detail: () => `${made} opens, ${dropped} dropped, ${counts[0]} archived`,
      },
    );
    console.log(
      `Linux ${kernel}: ${made} opens = ${counts[0]} seen (${counts[1]} + ${counts[2]}) + ${dropped} dropped`,
    );
    expect(Number(already)).toBeLessThanOrEqual(2);
    expect(Number(counts[0]) + dropped).toBe(made);
    // Each version dropped one file and kept the other.
    expect(Number(counts[1])).toBeGreaterThan(100);
    expect(Number(counts[2])).toBeGreaterThan(100);
  });

  test('killed with -9 leaves nothing attached, and no kernel warning', async ({ skip }) => {
    if (guest === undefined) return skip(unavailable);
    await guest.ask('kill', 'SIGKILL');
    const ran = await guest.run('/tmp/xmrig', '/run/e2e/trace');
    expect(ran).toMatchObject({ code: 0, signal: null });
    expect(await guest.ask('exists', '/run/e2e/trace')).toBe(true);
    expect(findSplats(guest.consoleText().split('\n'))).toEqual([]);
  });
});
