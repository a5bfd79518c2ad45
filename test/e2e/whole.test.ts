// SPDX-License-Identifier: Apache-2.0
// The whole way by the public commands: a control plane and an agent as processes, a policy and a filter sent by the
// command line, events, the archive's answers by command line and HTTP, the tree of a process; what is refused and why;
// an agent whose control plane is gone; losses in the status.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Daemon, World, waitFor, whyNoAgent } from './support.js';

const whyNot = whyNoAgent();

const policy = (folder: string) => `apiVersion: cilium.io/v1alpha1
kind: TracingPolicy
metadata:
  name: opens
spec:
  kprobes:
    - call: "sys_openat"
      syscall: true
      args:
        - index: 1
          type: "string"
      selectors:
        - matchArgs:
            - index: 1
              operator: "Prefix"
              values:
                - "${folder}/watched"
`;

const filter = `import { drop, Event, keep, Verdict } from '@weir/filter-sdk';
export function filter(event: Event): Verdict {
  return event.process.arguments.has('drop-me') ? drop() : keep().labelText('seen', 'yes');
}
`;

const manifest = Buffer.from(JSON.stringify({ abi: 1, name: 'greedy', version: '1.0.0' }));
/** A module that wants to write to files: imports what no filter may. */
const greedy = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[0, manifest.length + 14, 13, ...Buffer.from('weir.manifest'), ...manifest],
  ...[1, 4, 1, 0x60, 0, 0],
  ...[2, 35, 1, 22, ...Buffer.from('wasi_snapshot_preview1'), 8, ...Buffer.from('fd_write'), 0, 0],
]);

describe.skipIf(whyNot !== undefined)(
  `the whole way${whyNot === undefined ? '' : ` (skipped: ${whyNot})`}`,
  () => {
    let world: World;
    let controlPlane: Daemon;
    let agent: Daemon;
    let hooked = false;

    beforeAll(async () => {
      world = new World();
      controlPlane = await world.startControlPlane();
    });
    afterAll(() => world.close());

    /** A shell that opens a watched file and starts a program that waits for nothing. */
    function act(marker: string): void {
      const script = `cat "$1/watched" > /dev/null; sh -c 'exit 3' sh ${marker}-inner; /bin/true ${marker} drop-me; exit 5`;
      const { status } = spawnSync('/bin/sh', ['-c', `${script}`, 'sh', world.folder, marker]);
      expect(status).toBe(5);
    }

    function exits(marker: string): Promise<unknown[][]> {
      return waitFor(
        'the exit in the archive',
        async () => {
          const rows = await world.query(
            `SELECT exec_id, exit_status FROM events WHERE kind = 'exit' AND list_contains(arguments, '${marker}') AND exit_status = 5`,
          );
          return rows.length > 0 && rows;
        },
        { everyMs: 500, limitMs: 90_000 },
      );
    }

    test('takes policies and filters from the command line, enrols an agent, and says what is in force', async () => {
      writeFileSync(join(world.folder, 'watched'), 'x');
      expect(world.ok('policy', 'add', world.file('opens.yaml', policy(world.folder)))).toBe(
        'opens: version 1, in force with release 1\n',
      );
      const folder = world.filterFolder('marks', '1.0.0', filter);
      writeFileSync(
        join(folder, 'filter.json'),
        JSON.stringify({
          name: 'marks',
          version: '1.0.0',
          failMode: 'open',
          binds: { kinds: [], policies: [] },
          labels: ['seen'],
        }),
      );
      expect(world.ok('filter', 'push', folder)).toMatch(/^marks 1\.0\.0, in force with release 2/);
      agent = await world.startAgent();
      const status = world.ok('status');
      expect(status).toMatch(/control plane http:\S+, connected, as agent-/);
      expect(status).toContain('release 2, in monitor mode');
      // Loaded, or refused with the reason where this kernel has no such hook.
      expect(status).toMatch(/^policy opens (loaded|refused), monitor(?: on \S+|: .+)/m);
      hooked = /^policy opens loaded/m.test(status);
      expect(status).toMatch(/^filter marks 1\.0\.0 loaded/m);
      const [{ id, release } = { id: '', release: 0 }] = (
        JSON.parse(world.ok('agents', '-o', 'json')) as { id: string; releaseSequence: number }[]
      ).map(({ id, releaseSequence }) => ({ id, release: releaseSequence }));
      expect(release).toBe(2);
      const shown = await waitFor('the report', () => {
        const text = world.ok('agent', 'show', id);
        return text.includes('filter marks') && text;
      });
      expect(shown).toMatch(/^policy opens (loaded|refused)/m);
    });

    test('archives what happens, and answers by command line, by HTTP and with the tree of a process', async () => {
      const marker = `whole-${Date.now()}`;
      act(marker);
      const [[execId] = []] = await exits(marker);
      const byHttp = await world.query(
        `SELECT kind, exit_status, labels FROM events WHERE exec_id = '${execId}' AND kind IN ('exec', 'exit') ORDER BY time_ns`,
      );
      expect(byHttp.map(([kind]) => kind)).toEqual(['exec', 'exit']);
      expect(byHttp.every(([, , labels]) => String(labels).includes('"filter.marks.seen":"yes"'))).toBe(true);
      const table = world.ok('archive', 'query', '--exec-id', String(execId), '--kind', 'exec');
      expect(table).toMatch(/ exec +\d+ +\S*sh .* -?\S+/);
      const json = JSON.parse(world.ok('archive', 'query', '-o', 'json', '--exec-id', String(execId))) as {
        kind: string;
      }[];
      expect(json.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['exec', 'exit']));
      const tree = world.ok('archive', 'tree', String(execId));
      expect(tree).toMatch(/exit 5, \d+ events?\) {2}<-$/m);
      expect(tree).toMatch(/[└├]─ \S*sh .*exit 3/);
      if (hooked) {
        const [opened] = await world.query(
          `SELECT path, "binary", parent_exec_id FROM events WHERE policy = 'opens' AND parent_exec_id = '${execId}'`,
        );
        expect(opened?.slice(0, 2)).toEqual([join(world.folder, 'watched'), expect.stringMatching(/\/cat$/)]);
      }
      // What the filter dropped was seen by it, and is nowhere.
      const [[dropped] = []] = await world.query(
        `SELECT count(*) FROM events WHERE list_contains(arguments, 'drop-me')`,
      );
      expect(Number(dropped)).toBe(0);
      expect((await world.status()).events.dropped).toBeGreaterThanOrEqual(2);
    });

    test('records what happens, and tests a filter on it', async () => {
      const marker = `recorded-${Date.now()}`;
      const file = join(world.folder, 'recorded.segment');
      const busy = spawn(
        '/bin/sh',
        ['-c', 'for i in $(seq 600); do /bin/true "$1"; sleep 0.1; done', 'sh', marker],
        {
          stdio: 'ignore',
        },
      );
      try {
        expect(world.ok('events', 'record', '--events', '40', '--seconds', '60', file)).toMatch(
          /recorded\.segment: \d+ bytes; weir filter test --events/,
        );
      } finally {
        busy.kill();
        await once(busy, 'exit');
      }
      const folder = world.filterFolder(
        'recorded',
        '1.0.0',
        filter.replace("'drop-me'", `'${marker}'`).replace(".labelText('seen', 'yes')", ''),
      );
      const tested = world.ok('filter', 'test', '--events', file, folder);
      const [, kept, dropped] = /^ok {3}recorded\.segment \((\d+) kept, (\d+) dropped\)$/m.exec(tested) ?? [];
      expect(Number(dropped)).toBeGreaterThan(0);
      expect(Number(kept) + Number(dropped)).toBeGreaterThanOrEqual(40);
      expect(world.ok('filter', 'bench', '--fixtures', file, folder)).toMatch(
        /judged of \d+ recorded events/,
      );
    });

    test('refuses a bad policy and names the field, and a bad filter with the reason', async () => {
      const before = world.ok('release', 'show');
      const wrong = world.weir(
        'policy',
        'add',
        world.file('wrong.yaml', policy(world.folder).replace('"Prefix"', '"Begins"')),
      );
      expect(wrong.status).toBe(1);
      expect(wrong.stderr).toContain('spec.kprobes[0].selectors[0].matchArgs[0].operator');
      expect(wrong.stderr).toContain('Begins');
      writeFileSync(join(world.folder, 'greedy.wasm'), greedy);
      const refused = world.weir('filter', 'push', 'greedy.wasm');
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain('fd_write');
      writeFileSync(join(world.folder, 'none.wasm'), 'no module');
      expect(world.weir('filter', 'push', 'none.wasm')).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/WebAssembly/),
      });
      const mistaken = world.weir(
        'filter',
        'push',
        world.filterFolder('mistaken', '1.0.0', filter.replace('drop()', 'drops()')),
      );
      expect(mistaken.status).toBe(1);
      expect(mistaken.stderr).toMatch(/filter\.ts:3:\d+: error .*drops/);
      for (const { stderr } of [wrong, refused, mistaken]) expect(stderr).not.toMatch(/^\s+at /m);
      expect(world.ok('release', 'show')).toBe(before);
    });

    test('goes on without its control plane, also after a start of its own, and hands over later', async () => {
      await controlPlane.end();
      await waitFor('the agent to notice', () => world.ok('status').includes('not connected'));
      expect(world.ok('status')).toMatch(/^filter marks 1\.0\.0 loaded/m);
      const alone = `alone-${Date.now()}`;
      act(alone);
      await agent.end();
      agent = await world.startAgent();
      const status = world.ok('status');
      expect(status).toContain('release 2, in monitor mode');
      expect(status).toMatch(/^filter marks 1\.0\.0 loaded/m);
      if (hooked) expect(status).toMatch(/^policy opens loaded/m);
      const restarted = `restarted-${Date.now()}`;
      act(restarted);
      controlPlane = await world.startControlPlane();
      for (const marker of [alone, restarted]) {
        const rows = await exits(marker);
        expect(rows).toHaveLength(1);
      }
      const [[dropped] = []] = await world.query(
        `SELECT count(*) FROM events WHERE list_contains(arguments, 'drop-me')`,
      );
      expect(Number(dropped)).toBe(0);
    });

    test('shows what was lost, in the status and in the archive', async () => {
      expect(world.ok('status')).toMatch(/^lost: none$/m);
      await agent.end();
      agent = await world.startAgent({ args: ['--ring-bytes', '65536'] });
      const burst = world.compile('burst');
      agent.child.kill('SIGSTOP');
      await once(spawn(burst, ['500', '/bin/true', 'flood'], { stdio: 'ignore' }), 'exit');
      agent.child.kill('SIGCONT');
      // The kernel's counters are read now and then: what is shown at first can be a part of the loss.
      await waitFor(
        'the loss',
        () => Number(/^lost: ring_full (\d+)$/m.exec(world.ok('status'))?.[1] ?? 0) > 100,
      );
      await waitFor(
        'the loss in the archive',
        async () => {
          const rows = await world.query(
            `SELECT lost_stage, sum(lost_count) FROM events WHERE kind = 'loss' GROUP BY ALL`,
          );
          return rows.length === 1 && rows[0]?.[0] === 'ring_full' && Number(rows[0][1]) > 100;
        },
        { everyMs: 500 },
      );
      await waitFor('the loss in the report', async () => {
        const [{ id } = { id: '' }] = await world.client.agents();
        return world.ok('agent', 'show', id).includes('lost ring_full');
      });
    });

    test('weir down takes nothing down that weir up did not set up', () => {
      expect(world.ok('down')).toMatch(/^nothing was set up here\n/);
      expect(agent.running && controlPlane.running).toBe(true);
    });
  },
);
