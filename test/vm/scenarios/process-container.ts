// SPDX-License-Identifier: Apache-2.0
// What the process sensor tells of a container: paths as its processes see them, its namespaces and its cgroup, and
// the runtime that executes itself from memory.

import assert from 'node:assert/strict';
import { readlinkSync, statSync } from 'node:fs';
import { ExecFlag, NamespaceKind } from '@weir/schema';
import { runContainer } from '../guest/container.js';
import { ProcessSensor } from '../guest/process-sensor.js';
import { type ScenarioContext, scenario } from '../scenario.js';

// As long as runtimes make them.
const crunId = 'c0ffee'.repeat(11).slice(0, 64);
const runcId = 'decade'.repeat(11).slice(0, 64);

export default scenario('tells of processes in a container', {}, async (ctx) => {
  for (const runtime of ['crun', 'runc'] as const) await runIn(ctx, runtime);
});

async function runIn(ctx: ScenarioContext, runtime: 'crun' | 'runc'): Promise<void> {
  const id = runtime === 'crun' ? crunId : runcId;
  const sensor = new ProcessSensor();
  try {
    const result = await runContainer(ctx, {
      runtime,
      id,
      args: ['/bin/sh', '-c', 'cd /tmp; /bin/busybox echo inside; exit 6'],
    });
    assert.equal(result.code, 6, result.stderr);
    const events = sensor.records();
    const execs = events.filter((event) => event.kind === 'exec');
    ctx.log(execs.map(({ binary, arguments: args }) => `${binary} ${args}`.replaceAll('\0', ' ')).join('\n'));

    const shell = execs.find(({ arguments: args }) => args.startsWith('-c\0cd /tmp'));
    assert.ok(shell !== undefined);
    assert.equal(shell.binary, '/bin/busybox', 'as the container sees it');
    assert.equal(shell.cwd, '/');
    assert.ok(shell.cgroupName.includes(id), shell.cgroupName);
    assert.equal(shell.record.namespacePid, 1);
    for (const [name, link] of [
      ['uts', 'uts'],
      ['mnt', 'mnt'],
      ['pid', 'pid'],
      ['net', 'net'],
      ['cgroup', 'cgroup'],
    ] as const) {
      const host = Number(/\[(\d+)\]/.exec(readlinkSync(`/proc/self/ns/${link}`))?.[1]);
      assert.notEqual(shell.record.namespaces[NamespaceKind[name]], host, name);
    }

    const echo = execs.find(({ arguments: args }) => args === 'echo\0inside');
    assert.ok(echo !== undefined);
    assert.equal(echo.binary, '/bin/busybox');
    assert.equal(echo.cwd, '/tmp');
    assert.equal(echo.record.parentPid, shell.record.pid);
    assert.equal(echo.record.parentStartNs, shell.record.startNs);
    assert.equal(echo.record.cgroupId, shell.record.cgroupId);

    const end = events.find((event) => event.kind === 'exit' && event.record.pid === shell.record.pid);
    assert.equal(end?.kind === 'exit' ? end.record.status : undefined, 6);

    // A runtime executes itself from where a container cannot write: a mount that hangs in no tree, of which the
    // kernel itself says no more than "/" (or, other versions, from a memory file).
    const runtimeOwn = execs.filter(
      ({ arguments: args }) => args.startsWith('run\0--bundle') || args === 'init',
    );
    const again = runtimeOwn.at(-1);
    assert.ok(again !== undefined);
    assert.equal(again.binary, '/');
    assert.equal(Number(again.record.inode), statSync(`/usr/bin/${runtime}`).ino);
    assert.equal(again.record.execFlags & (ExecFlag.memfd | ExecFlag.unlinked), 0);
    assert.deepEqual(sensor.failures(), {});
  } finally {
    sensor.close();
  }
}
