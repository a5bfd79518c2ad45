// SPDX-License-Identifier: Apache-2.0
// Function tracing is switched off, and with it every hook on a function: the watch finds it, and mends it where told to.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TamperWatch } from '@weir/agent';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const tracing = '/proc/sys/kernel/ftrace_enabled';

export default scenario('finds that hooks were switched off', {}, async ({ folder, run, log }) => {
  await withHooks(async (hooks) => {
    const file = join(folder, 'watched');
    writeFileSync(file, '');
    await hooks.apply(
      policyOf(
        'watched',
        'security_file_open',
        ['file'],
        [{ matchArgs: [{ index: 0, operator: 'Equal', values: [file] }] }],
      ),
    );
    const seen = async () => {
      await run('cat', [file]);
      return hooks.events().length;
    };
    const said: string[] = [];
    const watchOf = (mend: boolean) =>
      new TamperWatch({
        inspect: (mends) => hooks.set.inspect(mends),
        detached: () => [],
        hasFunctionHooks: () => hooks.set.hasFunctionHooks(),
        say: (message) => said.push(message),
        onError: (error) => {
          throw error;
        },
        mend,
      });
    assert.equal(await seen(), 1);
    await watchOf(false).look();
    assert.deepEqual(said, []);
    try {
      writeFileSync(tracing, '0');
    } catch (error) {
      // What is attached for good keeps some kernels from it: then nothing was switched off.
      log(`tracing cannot be switched off here: ${error}`);
      assert.equal(await seen(), 1);
      return;
    }
    log(`with tracing switched off ${await seen()} of 1 opens are seen`);
    await watchOf(true).look();
    assert.deepEqual(said, ['kernel.ftrace_enabled is 0: hooks on functions do not run']);
    assert.equal(await seen(), 1);
    await watchOf(false).look();
    assert.equal(said.length, 1);
  });
});
