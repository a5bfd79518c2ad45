// SPDX-License-Identifier: Apache-2.0
// The text of a path is what /proc/PID/fd shows, for files of every kind, and can be made in every kind of program.

import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { checkPathTexts, PathProbe } from '../guest/path-checks.js';
import { scenario } from '../scenario.js';

export default scenario(
  'makes the same text of a path as the kernel, in each kind of program',
  {},
  async (ctx) => {
    const folder = join(ctx.folder, 'files');
    mkdirSync(folder);
    await checkPathTexts({ run: ctx.run, folder }, '/weir/bin/paths');

    for (const program of ['paths_fentry', 'paths_fexit', 'paths_fmod_ret', 'paths_lsm', 'paths_kprobe']) {
      const probe = new PathProbe(program);
      try {
        probe.watch(process.pid);
        const before = probe.results().length;
        closeSync(openSync('/etc/passwd', 'r'));
        const opened = probe.results().slice(before);
        assert.deepEqual(
          opened.map(({ text, flags }) => [text, flags]),
          [['/etc/passwd', 0]],
          program,
        );
      } finally {
        probe.close();
      }
    }
  },
);
