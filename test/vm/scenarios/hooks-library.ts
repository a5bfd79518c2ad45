// SPDX-License-Identifier: Apache-2.0
// The ready policies that bear well-known names do what their names say.

import assert from 'node:assert/strict';
import { copyFileSync, existsSync, lstatSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runContainer } from '../guest/container.js';
import { libraryPolicy, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'the policies of the library do what their names say',
  { variants: ['default', 'no-bpf-lsm'], timeoutMs: 180_000 },
  async (ctx) => {
    const { folder, run, log } = ctx;
    // As Debian sets it up; the guest's disk is made without its set-up scripts.
    if (!lstatSync('/var/run', { throwIfNoEntry: false })?.isSymbolicLink()) {
      rmSync('/var/run', { recursive: true, force: true });
      symlinkSync('/run', '/var/run');
    }
    await withHooks(async (hooks) => {
      const outcomes = await hooks.apply(
        ...[
          'block-cryptominers',
          'detect-container-escape',
          'detect-privilege-escalation',
          'monitor-sensitive-files',
        ].map(libraryPolicy),
      );
      for (const { name, hooks: symbols, links } of outcomes) {
        log(`${name}: ${symbols.join(', ')}; ${links.map(({ from, to }) => `${from} is ${to}`).join(', ')}`);
      }
      const events = (policy: string) => hooks.events().filter((event) => event.policy === policy);

      // block-cryptominers: killed before it did anything.
      const trace = join(folder, 'trace');
      copyFileSync('/weir/bin/act', '/tmp/xmrig');
      hooks.events();
      const miner = await run('sh', ['-c', `/tmp/xmrig ${trace}; exit 7`]);
      rmSync('/tmp/xmrig');
      assert.equal(existsSync(trace), false, 'the miner ran');
      assert.equal(miner.code, 7);
      assert.deepEqual(
        events('block-cryptominers').map(({ args, action, signal }) => [args[0]?.text, action, signal]),
        [['/tmp/xmrig', 'sigkill', 9]],
      );

      // detect-container-escape: setns kills in a container, and not on the host.
      hooks.events();
      const outside = await run('act', [trace, 'setns']);
      assert.equal(outside.stdout, '0\n');
      assert.deepEqual(events('detect-container-escape'), []);
      hooks.events();
      const inside = await runContainer(ctx, {
        id: 'escape',
        args: ['/bin/sh', '-c', '/bin/act /dev/trace setns; echo $?'],
        addFiles: (rootfs) => copyFileSync('/weir/bin/act', join(rootfs, 'bin/act')),
      });
      assert.equal(inside.stdout, '137\n', `${inside.stdout}${inside.stderr}`);
      const escapes = events('detect-container-escape').filter(({ action }) => action === 'sigkill');
      assert.ok(escapes.length >= 1);
      // Denied as well as killed: it did not join.
      assert.ok(escapes.every(({ signal, error }) => signal === 9 && error === -1));

      // detect-privilege-escalation: su in a container, by the name that the policy's link leads to.
      hooks.events();
      await run('/bin/su', ['--version']);
      assert.deepEqual(events('detect-privilege-escalation'), []);
      await run('unshare', ['--pid', '--fork', '/bin/su', '--version']);
      assert.deepEqual(
        events('detect-privilege-escalation').map(({ args, action }) => [args[0]?.text, action]),
        [['/usr/bin/su', 'post']],
      );

      // monitor-sensitive-files: one event for one look, with the whole path, through the link /var/run as well.
      mkdirSync('/run/secrets/kubernetes.io', { recursive: true });
      writeFileSync('/run/secrets/kubernetes.io/token', 'x');
      hooks.events();
      await run('cat', ['/etc/shadow', '/var/run/secrets/kubernetes.io/token', '/etc/hostname']);
      assert.deepEqual(
        events('monitor-sensitive-files').map(({ args }) => args[0]?.text),
        ['/etc/shadow', '/run/secrets/kubernetes.io/token'],
      );
      assert.equal(hooks.counter('enforceFailed'), 0n);
    });
  },
);
