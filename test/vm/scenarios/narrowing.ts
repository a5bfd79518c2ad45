// SPDX-License-Identifier: Apache-2.0
// Exec, clone and exit of processes are narrowed in the kernel by binary, user, namespaces and pod; whoever is left out is
// in the table of processes all the same.

import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeCgroup, withAgent } from '../guest/agent-events.js';
import { scenario } from '../scenario.js';

/** Ends at once, whatever its arguments are; needs nothing. */
const program = '/weir/bin/openat';
const user = 1234;

export default scenario(
  'processes are narrowed by binary, user, namespaces and pod, and all are known',
  { timeoutMs: 120_000 },
  async ({ folder: own, run, waitFor, log }) => {
    // Others may run what is here; the scenario's own folder is root's.
    const folder = mkdtempSync(join(tmpdir(), 'narrowing-'));
    chmodSync(folder, 0o755);
    const copy = (...name: string[]) => {
      const path = join(folder, ...name);
      mkdirSync(dirname(path), { recursive: true });
      copyFileSync(program, path);
      chmodSync(path, 0o755);
      return path;
    };
    const plain = copy('plain');
    const exact = copy('exact');
    const more = copy('exact-and-more');
    const under = copy('under', 'prefix');
    const suffixed = copy('any.quiet');
    const shell = copy('shell');
    copyFileSync('/bin/dash', shell);
    const pod = makeCgroup('weir-pod');
    const other = makeCgroup('weir-other');
    const facts = (cgroup: { readonly procs: string }, app: string) => ({
      cgroupId: statSync(dirname(cgroup.procs), { bigint: true }).ino,
      namespace: 'shop',
      labels: { app },
      container: 'main',
      repo: '',
    });
    const denied = [
      { binary: [exact, shell, `${folder}/under/*`, '*.quiet'] },
      { uid: [user], binary: [plain] },
      { namespace: ['shop'], labels: ['app=web,!canary'] },
    ];
    const options = [
      '--process-allowlist',
      JSON.stringify({ pid_ns: ['host'], mnt_ns: ['host'] }),
      ...denied.flatMap((filter) => ['--process-denylist', JSON.stringify(filter)]),
    ];
    await withAgent(own, options, [], async ({ agent, records, status }) => {
      await agent.setWorkloads([facts(pod, 'web'), facts(other, 'db')]);
      const inCgroup = (cgroup: { readonly procs: string }, name: string) =>
        run('/bin/sh', ['-c', `echo $$ > ${cgroup.procs}; ${plain} ${name}; :`]);
      await run(exact, ['exact']);
      await run(more, ['!exact-and-more']);
      await run(under, ['under']);
      await run(suffixed, ['suffixed']);
      await run(plain, ['user'], { uid: user, gid: user });
      await run(plain, ['!other-user'], { uid: user + 1, gid: user + 1 });
      await run(more, ['!user-other-binary'], { uid: user, gid: user });
      await run('unshare', ['--mount', plain, 'mounts']);
      await run('unshare', ['--pid', '--fork', plain, 'pids']);
      await run('unshare', ['--net', plain, '!network']);
      await inCgroup(pod, 'pod');
      await inCgroup(other, '!other-pod');
      // A child of one that is left out, which is told.
      const { pid } = await run(shell, ['-c', `${plain} '!child'; :`]);
      await run(plain, ['!last']);

      const seen = (kind: string) =>
        records.flatMap((record) => {
          const name = record.process?.binary.startsWith(`${folder}/`)
            ? record.process.arguments[0]
            : undefined;
          return record.kind === kind && name !== undefined ? [name] : [];
        });
      const last = (kind: string) => waitFor(`the ${kind} of the last`, () => seen(kind).includes('!last'));
      await last('exit');
      const told = [
        'exact-and-more',
        'other-user',
        'user-other-binary',
        'network',
        'other-pod',
        'child',
        'last',
      ];
      const expected = told.map((name) => `!${name}`);
      assert.deepEqual(seen('exec'), expected);
      assert.deepEqual(seen('exit'), expected);
      assert.ok(!records.some(({ flags }) => flags.includes('withheld')));

      // Whose exec nobody was told of is the parent of one that is, with all that is known of it.
      const child = records.find(({ exec }) => exec?.arguments[0] === '!child');
      assert.equal(child?.parent?.pid, pid);
      assert.equal(child?.parent?.binary, shell);
      assert.ok(!child?.flags.includes('orphan'));
      const clones = records.filter(({ kind, parent }) => kind === 'clone' && parent?.pid === pid);
      assert.equal(clones.length, 0, 'the child of one that is left out begins as it is');

      const { kernelCounters, losses, events } = status();
      log(`${kernelCounters.narrowed} of ${kernelCounters.produced} are left out`);
      assert.ok((kernelCounters.narrowed ?? 0) >= 2 * 7);
      assert.equal(kernelCounters.throttled, 0);
      assert.deepEqual(
        Object.entries(losses).filter(([, count]) => count > 0),
        [],
      );
      await waitFor('all to be handled', () => status().events.handled >= events.produced);
    });
    rmSync(folder, { recursive: true });
    pod.remove();
    other.remove();
  },
);
