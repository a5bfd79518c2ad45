// SPDX-License-Identifier: Apache-2.0
// A policy that cannot be brought in is refused in words, the others and its former version stay; and what an agent
// attached is gone with it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

/** Links of BPF programs that any process holds. */
function bpfLinks(): number {
  let links = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
        if (/^link_type:/m.test(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))) links++;
      }
    } catch {
      // It ended meanwhile.
    }
  }
  return links;
}

const holderArgument = 'hold';

/** Runs in a process of its own: denies a file, says so, and waits to be killed. */
async function hold(secret: string): Promise<void> {
  const { Hooks } = await import('../guest/hooks.js');
  const hooks = new Hooks();
  await hooks.apply(deny(secret));
  process.stdout.write('ready\n');
  setInterval(() => {}, 1000);
}

function deny(secret: string): string {
  return policyOf(
    'deny',
    'security_file_open',
    ['file'],
    [
      {
        matchArgs: [{ index: 0, operator: 'Equal', values: [secret] }],
        matchActions: [{ action: 'Override', argError: -1 }],
      },
    ],
  );
}

export default scenario(
  'what cannot be attached is refused in words, and what was attached ends with the agent',
  { timeoutMs: 120_000 },
  async ({ folder, run, waitFor }) => {
    const secret = join(folder, 'secret');
    writeFileSync(secret, '');
    await withHooks(async (hooks) => {
      const good = policyOf('good', 'security_file_open', ['file'], [{}]);
      const missing = policyOf('missing', 'security_no_such_function', [], [{}]);
      const [first, second] = await hooks.tryApply(good, missing);
      assert.equal(first?.state, 'loaded');
      assert.deepEqual(first.hooks, ['security_file_open']);
      assert.equal(second?.state, 'refused');
      assert.match(second.reason ?? '', /no function security_no_such_function/);
      assert.equal(second.formerInForce, false);

      // A function that these kernels were built without a place for hooks in.
      const bare = policyOf('bare', 'import_iovec', ['int'], [{}]);
      const [refused] = await hooks.tryApply(bare, good);
      assert.equal(refused?.state, 'refused');
      assert.match(refused.reason ?? '', /^import_iovec cannot be hooked \(errno 16: .*entry/);

      // A second parameter that the function has not.
      const wrong = policyOf('good', 'security_file_open', ['file', 'int'], [{}]);
      const [replaced] = await hooks.tryApply(wrong);
      assert.equal(replaced?.state, 'refused');
      assert.match(replaced.reason ?? '', /has no parameter 1/);
      assert.equal(replaced.formerInForce, true);
      hooks.events();
      const { pid } = await run('openat', [secret]);
      const seen = hooks.events().filter((event) => event.pid === pid && event.args[0]?.text === secret);
      assert.deepEqual(
        seen.map((event) => event.policy),
        ['good'],
      );
    });

    assert.equal(bpfLinks(), 0);
    const agent = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `const { hold } = await import('${import.meta.url}'); await hold('${secret}');`,
      holderArgument,
    ]);
    agent.stderr.pipe(process.stderr);
    const lines = createInterface({ input: agent.stdout })[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, 'ready');
    assert.equal((await run('openat', [secret])).stdout, '1\n');
    assert.ok(bpfLinks() > 0);
    agent.kill('SIGKILL');
    await once(agent, 'exit');
    await waitFor('the links to be gone', () => bpfLinks() === 0);
    assert.equal((await run('openat', [secret])).stdout, '0\n');
  },
);

export { hold };
