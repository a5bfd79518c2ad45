// SPDX-License-Identifier: Apache-2.0
// Tests `weir up` whole, on this machine: control plane, agent, events, archive, an upload while events flow, ctrl-c,
// `weir down`. The samples are in monitor mode: nothing is killed or denied.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ControlPlaneClient } from '@weir/control-plane/client';
import { signFilter } from '@weir/filter-compile';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { identify, places, readCredentials, readState } from '../../cli/src/state.js';
import { pinFolder } from '../../cli/src/up/agent.js';
import { whyNoAgent } from '../../cli/src/up/host.js';

const program = fileURLToPath(new URL('../../cli/dist/main.js', import.meta.url));
const raised = process.getuid?.() === 0 || spawnSync('sudo', ['-n', 'true']).status === 0;
const whyNot = whyNoAgent() ?? (raised ? undefined : 'the agent needs root, and sudo asks for a password');

describe.skipIf(whyNot !== undefined)(`weir up${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`, () => {
  let home: string;
  let child: ChildProcess;
  let printed = '';
  const environment = () => ({
    ...process.env,
    WEIR_HOME: join(home, 'state'),
    WEIR_URL: undefined,
    WEIR_TOKEN: undefined,
  });
  const weir = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
      env: environment(),
      encoding: 'utf8',
      timeout: 60_000,
    });
    return { status, stdout, stderr };
  };

  async function seen(pattern: RegExp): Promise<void> {
    for (let tries = 0; tries < 2400; tries++) {
      if (pattern.test(printed)) return;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`weir up did not print ${pattern}:\n${printed}`);
  }

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'weir-up-'));
    child = spawn(process.execPath, [program, 'up', '--for', '600'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        printed += text;
      });
    }
    await seen(/live events, until ctrl-c/);
  }, 180_000);

  afterAll(() => {
    if (child.exitCode === null) child.kill('SIGINT');
    weir('down');
    rmSync(home, { recursive: true, force: true });
  }, 60_000);

  test('shows what it set up, events, the archive’s answer and a tree', () => {
    expect(printed).toMatch(/control plane: http:\/\/127\.0\.0\.1:\d+/);
    expect(printed).toMatch(/agent: agent-[0-9a-f]{24} on .*in monitor mode/);
    // Each policy is loaded or refused with a reason; none is passed over.
    const states = [
      ...printed.matchAll(/^ {2}policy [-a-z]+ (?:loaded on|partial|refused \(monitor\): .+)/gm),
    ];
    expect(states).toHaveLength(9);
    expect(printed).toMatch(/filter noisy-paths \S+ loaded/);
    expect(printed).toMatch(/exec {4}\S*\/id\[\d+\] -u uid=/);
    // The live view shows all of the demonstration before it is closed, however busy the machine is.
    const live = printed.slice(0, printed.indexOf('that was, among whatever else'));
    expect(live.match(/ exec {4}\S+\[\d+\] -c .*weir-demo-[0-9a-f]{12}/g)).toHaveLength(5);
    expect(printed).not.toContain('was shown in');
    expect(printed).toMatch(/The archive, asked by SQL/);
    expect(printed).toMatch(/└─ \S+ .*weir-demo-[0-9a-f]{12} {2}\(pid \d+, .*exit 3, \d+ events\) {2}<-/);
  });

  test('answers weir status, events, archive query and archive tree', () => {
    expect(weir('status').stdout).toMatch(/release \d+, in monitor mode/);
    const state = places(environment());
    expect(readState(state)?.pinFolder).toBe(pinFolder(state));
    spawnSync('true');
    const { stdout } = weir('archive', 'query', '-o', 'json', '--kind', 'exit', '--limit', '1');
    const [event] = JSON.parse(stdout) as Array<{ exec_id: string; binary: string }>;
    expect(weir('archive', 'tree', event?.exec_id ?? '').stdout).toContain('<-');
  }, 60_000);

  test('takes an uploaded filter into force while events flow, and loses none', async () => {
    const at = places(environment());
    const client = new ControlPlaneClient({
      url: readState(at)?.url ?? '',
      token: readCredentials(at)?.adminToken ?? '',
    });
    // It drops nothing.
    const example = new URL('../../filters/examples/build/memfd-exec.wasm', import.meta.url);
    const module = new Uint8Array(readFileSync(example));
    const marker = `swap-${Date.now()}`;
    const rounds = 300;
    // One shell for all, so that the load is of events and not of us.
    const load = spawn(
      '/bin/sh',
      ['-c', `i=0; while [ $i -lt ${rounds} ]; do /bin/true ${marker}; i=$((i+1)); done`],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => load.once('exit', resolve));
    const { keyId, signature } = await signFilter(module, at.filterKeyFile);
    const { filter } = await client.uploadFilter(module, { signature: { keyId, signature } });
    const answeredMs = Date.now();
    let inForceMs = 0;
    for (let tries = 0; inForceMs === 0 && tries < 30; tries++) {
      const status = JSON.parse(weir('status', '-o', 'json').stdout) as {
        filters: Array<{ name: string; state: string }>;
      };
      if (status.filters.some(({ name, state }) => name === filter.name && state === 'loaded'))
        inForceMs = Date.now();
    }
    expect(inForceMs).toBeGreaterThan(0);
    console.log(`in force ${inForceMs - answeredMs} ms after the upload's answer, the asking included`);
    await ended;
    const sql = `SELECT count(*) FILTER (kind = 'exec'), count(*) FILTER (kind = 'exit') FROM events WHERE list_contains(arguments, '${marker}') AND "binary" LIKE '%/true'`;
    let counts: unknown[] = [];
    for (let tries = 0; tries < 60 && Number(counts[1] ?? 0) < rounds; tries++) {
      counts = (await client.query({ sql })).rows[0] ?? [];
    }
    expect(counts.map(Number)).toEqual([rounds, rounds]);
    expect(weir('status').stdout).toContain('lost: none');
  }, 120_000);

  test('ends on ctrl-c, and weir down leaves nothing', async () => {
    const at = places(environment());
    const state = readState(at);
    const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
    expect(printed).toMatch(/stopped; weir up starts again/);
    for (const process of [state?.agent, state?.controlPlane]) {
      expect(process).toBeDefined();
      expect(identify(process?.pid ?? 0)?.startTicks).not.toBe(process?.startTicks);
    }
    expect(weir('down').stdout).toContain('removed');
    expect(existsSync(at.folder)).toBe(false);
    expect(existsSync(pinFolder(at))).toBe(false);
  }, 60_000);
});
