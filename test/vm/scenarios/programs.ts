// SPDX-License-Identifier: Apache-2.0
// Programs of test/vm/programs are there by name; their input and output are bytes.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { scenario } from '../scenario.js';

export default scenario('runs compiled programs and returns their end', {}, async (ctx) => {
  const file = join(ctx.folder, 'there');
  writeFileSync(file, 'x');
  const opened = await ctx.run('openat', [file, `${file}-not`]);
  assert.equal(opened.stdout, `0\n${constants.errno.ENOENT}\n`);
  const killed = await ctx.run('sh', ['-c', 'kill -9 $$']);
  assert.deepEqual([killed.code, killed.signal], [null, 'SIGKILL']);
  const bytes = await ctx.run('cat', [], { input: Buffer.from([0xff, 0x0a, 0x1b]) });
  assert.equal(bytes.stdout, '\xff\n\x1b');
  const user = await ctx.run('id', ['-u'], { uid: 1000, gid: 1000 });
  assert.equal(user.stdout, '1000\n');
  ctx.artifact('bytes.bin', Buffer.from(bytes.stdout, 'latin1'));
});
