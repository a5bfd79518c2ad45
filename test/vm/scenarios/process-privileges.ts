// SPDX-License-Identifier: Apache-2.0
// What the process sensor tells where a file gives privileges: setuid, setgid, capabilities; and where the kernel
// does not honour its bits.

import assert from 'node:assert/strict';
import { chmodSync, chownSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ExecFlag } from '@weir/schema';
import { type ExecEvent, ProcessSensor } from '../guest/process-sensor.js';
import { scenario } from '../scenario.js';

const privileges = ExecFlag.setuid | ExecFlag.setgid | ExecFlag.fileCapabilities;
const netBindService = 1n << 10n;

export default scenario('tells of privileges that a file gives', {}, async (ctx) => {
  const sensor = new ProcessSensor();
  // A tmpfs takes all bits, and can be mounted anew without them.
  const folder = join(ctx.folder, 'files');
  mkdirSync(folder);
  chmodSync(ctx.folder, 0o755);
  chmodSync('/root', 0o755);
  assert.equal((await ctx.run('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'none', folder])).code, 0);
  const file = (name: string, mode: number, uid = 0, gid = 0): string => {
    const path = join(folder, name);
    copyFileSync('/weir/bin/process', path);
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    return path;
  };
  /** The last exec of a process that runs `path` as a user. */
  const execAs = async (user: number, path: string, before: readonly string[] = []): Promise<ExecEvent> => {
    const args = ['uid', String(user), String(user), ...before, path, 'exit', '0'];
    const result = await ctx.run('process', args);
    assert.equal(result.code, 0, result.stderr);
    await ctx.waitFor('the exit record', () =>
      sensor.records().some((event) => event.kind === 'exit' && event.record.pid === result.pid),
    );
    const last = sensor
      .records()
      .filter((event) => event.kind === 'exec' && event.record.pid === result.pid)
      .at(-1);
    assert.equal(last?.kind, 'exec');
    return last as ExecEvent;
  };

  try {
    const plain = file('plain', 0o755);
    const setuid = file('setuid', 0o4755);
    const setgid = file('setgid', 0o2755, 0, 2000);
    const both = file('both', 0o6755, 2001, 2002);
    const able = file('able', 0o755);
    assert.equal((await ctx.run('process', ['capability', able, '10'])).code, 0);

    const none = await execAs(1000, plain);
    assert.equal(none.record.execFlags & privileges, 0);

    const user = await execAs(1000, setuid);
    assert.equal(user.record.execFlags & privileges, ExecFlag.setuid);
    assert.deepEqual([user.record.uid, user.record.euid, user.record.suid], [1000, 0, 0]);
    assert.notEqual(user.record.capEffective, 0n);
    assert.equal(user.record.mode & 0o7777, 0o4755);

    const group = await execAs(1000, setgid);
    assert.equal(group.record.execFlags & privileges, ExecFlag.setgid);
    assert.deepEqual([group.record.gid, group.record.egid], [1000, 2000]);

    const two = await execAs(1000, both);
    assert.equal(two.record.execFlags & privileges, ExecFlag.setuid | ExecFlag.setgid);
    assert.deepEqual([two.record.euid, two.record.egid], [2001, 2002]);
    assert.equal(two.record.capEffective, 0n);

    const root = await execAs(0, setuid);
    assert.equal(root.record.execFlags & privileges, 0, 'root has become nobody else');

    const capable = await execAs(1000, able);
    assert.equal(capable.record.execFlags & privileges, ExecFlag.fileCapabilities);
    assert.equal(capable.record.capPermitted, netBindService);
    assert.equal(capable.record.capEffective, netBindService);

    const without = await execAs(1000, setuid, ['/weir/bin/process', 'no-new-privileges']);
    assert.equal(without.record.execFlags & privileges, 0, 'no_new_privs');
    assert.equal(without.record.euid, 1000);

    assert.equal((await ctx.run('mount', ['-o', 'remount,nosuid', folder])).code, 0);
    for (const path of [setuid, both, able]) {
      const kept = await execAs(1000, path);
      assert.equal(kept.record.execFlags & privileges, 0, `nosuid: ${path}`);
      assert.deepEqual([kept.record.euid, kept.record.capPermitted], [1000, 0n]);
    }
    assert.deepEqual(sensor.failures(), {});
  } finally {
    sensor.close();
    await ctx.run('umount', [folder]);
  }
});
