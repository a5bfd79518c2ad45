// SPDX-License-Identifier: Apache-2.0
// What is mapped to run is told of: the program, its interpreter and its libraries, each with its path and build id, by
// exec, by a library that is loaded later, and through overlayfs; what is mapped to be read is not.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { EventKind } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const loader = JSON.stringify({
  apiVersion: 'cilium.io/v1alpha1',
  kind: 'TracingPolicy',
  metadata: { name: 'loaded' },
  spec: { loader: true },
});

/** The build id of a file, read here by the simplest of means: the note of that kind, wherever it is. */
function buildId(path: string): string {
  const file = readFileSync(path);
  const owner = Buffer.from([4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, ...Buffer.from('GNU\0')]);
  const at = file.indexOf(owner);
  return at < 0 ? '' : file.toString('latin1', at + owner.length, at + owner.length + 20);
}

function mappings(events: readonly HookEvent[], pid: number): string[][] {
  return events
    .filter((event) => event.kind === EventKind.loader && event.pid === pid)
    .map(({ args }) => args.map(({ text }) => text));
}

export default scenario(
  'what is mapped to run is told of',
  { timeoutMs: 150_000 },
  async ({ folder, run }) => {
    await withHooks(async (hooks) => {
      const act = async (program: string, args: readonly string[]) => {
        hooks.events();
        const result = await run(program, args);
        return { ...result, mapped: mappings(hooks.events(), result.pid) };
      };
      await hooks.apply(loader);

      // A program that is linked statically: that, and nothing else.
      const alone = await act('user', ['add:1:2']);
      assert.equal(alone.stdout, '3\n');
      assert.deepEqual(alone.mapped, [['/weir/bin/user', buildId('/weir/bin/user')]]);
      assert.equal(alone.mapped[0]?.[1]?.length, 20);

      // One with libraries: itself, its interpreter, the C library; a file that is only read is not among them.
      const cat = realpathSync('/bin/cat');
      const linked = await act('/bin/cat', ['/etc/hostname']);
      const paths = linked.mapped.map(([path]) => path);
      assert.equal(paths[0], cat);
      assert.ok(
        paths.some((path) => /\/ld-linux-x86-64\.so\.2$|\/ld-[\d.]+\.so$/.test(path ?? '')),
        paths.join(),
      );
      assert.ok(
        paths.some((path) => /\/libc\.so\.6$/.test(path ?? '')),
        paths.join(),
      );
      for (const [path = '', id] of linked.mapped) assert.equal(id, buildId(path), path);
      assert.equal(new Set(paths).size, paths.length, 'each once');

      // Through overlayfs the path is the one by which the process knows the file.
      const [lower, upper, work, merged] = ['lower', 'upper', 'work', 'merged'].map((name) =>
        join(folder, name),
      ) as [string, string, string, string];
      for (const path of [lower, upper, work, merged]) mkdirSync(path);
      const memory = join(folder, 'lower');
      copyFileSync('/weir/bin/user', join(memory, 'program'));
      execFileSync('chmod', ['755', join(memory, 'program')]);
      execFileSync('mount', [
        '-t',
        'overlay',
        'overlay',
        '-o',
        `lowerdir=${lower},upperdir=${upper},workdir=${work}`,
        merged,
      ]);
      try {
        const through = await act(join(merged, 'program'), ['add:2:2']);
        assert.equal(through.stdout, '4\n');
        assert.deepEqual(through.mapped, [[join(merged, 'program'), buildId('/weir/bin/user')]]);
      } finally {
        execFileSync('umount', [merged]);
      }

      // Two policies are two events; without one, nothing is told.
      await hooks.apply(loader, loader.replace('"loaded"', '"loaded-too"'));
      assert.equal((await act('user', ['add:1:2'])).mapped.length, 2);
      await hooks.apply(
        policyWith('other', { uprobes: [{ path: '/weir/bin/user', symbols: ['user_six'] }] }),
      );
      assert.deepEqual((await act('user', ['add:1:2'])).mapped, []);
    });
  },
);
