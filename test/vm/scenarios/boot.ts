// SPDX-License-Identifier: Apache-2.0
// The guest is what the harness says it is: kernel, node, type information, file systems.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { scenario } from '../scenario.js';

export default scenario('boots with what the agent needs', {}, async (ctx) => {
  assert.match(release(), new RegExp(`^${ctx.kernel.replace('.', '\\.')}\\.`));
  const node = await ctx.run('node', ['--version']);
  assert.equal(node.stdout.trim(), process.version);
  assert.ok(statSync('/sys/kernel/btf/vmlinux').size > 1_000_000);
  for (const path of ['/sys/fs/bpf', '/sys/kernel/tracing', '/sys/fs/cgroup', '/sys/kernel/security']) {
    assert.match(readFileSync('/proc/self/mounts', 'utf8'), new RegExp(` ${path} `));
  }
  assert.equal(statSync('/usr/bin/node').uid, 0, 'the image belongs to root, whoever built it');
  assert.ok(existsSync('/sys/kernel/tracing/events/sched/sched_process_exec'));
  const link = await ctx.run('ip', ['-oneline', 'link', 'show', 'lo']);
  assert.match(link.stdout, /UP/);
  ctx.log(`${release()}, node ${process.version}`);
});
