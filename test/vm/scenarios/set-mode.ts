// SPDX-License-Identifier: Apache-2.0
// A policy's mode is set by hand while a program makes calls without end: each call is denied or let through by one of the
// two modes, the one that holds, and each makes its one event.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { guarding, withAgent } from '../guest/agent-events.js';
import { scenario } from '../scenario.js';

const modes = ['monitor', 'enforce', 'monitor', 'enforce'] as const;
/** Calls in each mode, and calls whose answer may be waited for. */
const callsEach = 100;
const waitingMax = 20;

export default scenario(
  'the mode of a policy is set while calls go on, and none falls between',
  { timeoutMs: 120_000 },
  async ({ folder, waitFor, log }) => {
    const file = join(folder, 'guarded');
    writeFileSync(file, '');
    const policy = guarding(file);
    await withAgent(folder, [], [policy], async ({ agent, records }) => {
      const loop = spawn('/weir/bin/calls', [], { stdio: ['pipe', 'pipe', 'inherit'] });
      const results: string[] = [];
      let asked = 0;
      let isOver = false;
      const ask = () => {
        for (; !isOver && asked - results.length < waitingMax; asked++)
          loop.stdin.write(`openat\t-100\t${file}\t0\n`);
      };
      createInterface({ input: loop.stdout }).on('line', (line) => {
        results.push(line === '-13' ? 'enforce' : 'monitor');
        ask();
      });
      ask();
      const more = () => {
        const until = results.length + callsEach;
        return waitFor('more calls', () => results.length >= until, 60_000);
      };
      await more();
      for (const mode of modes) {
        const status = await agent.desired.setMode({ name: 'guarding', namespace: '' }, mode);
        assert.deepEqual([status.mode, status.modeIsSet], [mode, true]);
        // Those under way were answered by the mode before, or by this one; none of what comes now is.
        const from = results.length + waitingMax;
        await more();
        assert.deepEqual([...new Set(results.slice(from))], [mode]);
      }
      isOver = true;
      loop.stdin.end();
      await once(loop, 'close');
      const changes = results.filter((result, index) => index > 0 && result !== results[index - 1]);
      log(`${results.length} calls`);
      assert.deepEqual(changes, [...modes], 'each call is one of the mode that holds');

      const events = () => records.filter(({ pid, hook }) => pid === loop.pid && hook !== undefined);
      await waitFor('an event of each call', () => events().length >= results.length);
      const told = events().map(({ flags, hook }) => {
        assert.equal(hook?.action, 'override');
        return flags.includes('monitor') ? 'monitor' : 'enforce';
      });
      assert.deepEqual(told, results);
    });
  },
);
