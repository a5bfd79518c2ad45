// SPDX-License-Identifier: Apache-2.0
// Both container runtimes run in the guest, in namespaces of their own.

import assert from 'node:assert/strict';
import { runContainer } from '../guest/container.js';
import { scenario } from '../scenario.js';

export default scenario('runs containers with crun and runc', {}, async (ctx) => {
  for (const runtime of ['crun', 'runc'] as const) {
    const result = await runContainer(ctx, {
      runtime,
      id: `${runtime}-probe`,
      args: ['/bin/sh', '-c', 'echo $$; hostname; cat /proc/self/cgroup'],
    });
    assert.equal(result.code, 0, result.stderr);
    const [pid, hostname] = result.stdout.split('\n');
    assert.equal(pid, '1', 'a pid namespace of its own');
    assert.equal(hostname, runtime);
  }
});
