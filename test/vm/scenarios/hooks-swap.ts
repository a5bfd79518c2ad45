// SPDX-License-Identifier: Apache-2.0
// Policies are exchanged while a program opens a file without end: each open makes exactly one event. What two processors can
// do to each other meanwhile is tried in hooks-exchange.ts.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const swaps = 14;
/** Opens whose events may be unread: a third of what the ring holds. */
const outstandingMax = 10_000;

export default scenario(
  'an exchange of policies misses no hit and doubles none',
  { variants: ['default'], timeoutMs: 240_000 },
  async ({ folder, log }) => {
    await withHooks(async (hooks) => {
      const file = join(folder, 'watched');
      writeFileSync(file, '');
      const equal = { matchArgs: [{ index: 0, operator: 'Equal', values: [file] }] };
      const never = (name: string) => ({
        matchArgs: [{ index: 0, operator: 'Equal', values: [join(folder, name)] }],
      });
      const versions = [
        // Another mask of the same program.
        [equal],
        [never('x'), equal],
        // Another program: a further look-up.
        [{ matchArgs: [{ index: 0, operator: 'Postfix', values: ['/watched'] }] }],
        // Another type of program.
        [equal, { ...never('y'), matchActions: [{ action: 'Override', argError: -1 }] }],
        // Other scopes.
        [{ ...equal, matchBinaries: [{ operator: 'In', values: ['/weir/bin/openloop'] }] }],
        [{ ...equal, matchBinaries: [{ operator: 'Postfix', values: ['openloop', '/nothing'] }] }],
        [{ ...equal, matchNamespaces: [{ namespace: 'Uts', operator: 'In', values: ['host_ns'] }] }],
      ].map((selectors) => policyOf('watch', 'security_file_open', ['file'], selectors));

      await hooks.apply(versions[0] ?? '');
      const loop = spawn('openloop', [file], { stdio: ['pipe', 'pipe', 'inherit'] });
      const lines = createInterface({ input: loop.stdout })[Symbol.asyncIterator]();
      assert.equal((await lines.next()).value, 'ready');
      let seen = 0;
      let granted = 0;
      const count = () => {
        for (const event of hooks.events()) {
          if (event.pid !== loop.pid) continue;
          assert.equal(event.args[0]?.text, file);
          seen++;
        }
      };
      const times: number[] = [];
      for (let swap = 1; swap <= swaps; swap++) {
        // A second's work, so that it goes on through the exchange, and never more than the ring has room for.
        const grants = Math.floor((outstandingMax - (granted - seen)) / 100);
        loop.stdin.write('.'.repeat(grants));
        granted += 100 * grants;
        const startMs = performance.now();
        await hooks.apply(versions[swap % versions.length] ?? '');
        times.push(performance.now() - startMs);
        count();
      }
      loop.stdin.end();
      const opened = Number((await lines.next()).value);
      await once(loop, 'close');
      count();
      times.sort((a, b) => a - b);
      log(
        `${opened} opens, ${swaps} exchanges, median ${times[swaps >> 1]?.toFixed(1)} ms, longest ${times.at(-1)?.toFixed(1)} ms`,
      );
      assert.equal(hooks.counter('ringFull'), 0n);
      assert.ok(opened > 0);
      assert.equal(seen, opened);
    });
  },
);
