// SPDX-License-Identifier: Apache-2.0
// In which scopes a process is, is known from its first call on: of what was there before the policies, whatever has
// become of its leader, of what begins while they are exchanged, and of the task that runs where no process does.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, policyOf, policyWith, withHooks } from '../guest/hooks.js';
import { numberOf, onPrctl } from '../guest/prctl-calls.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const births = 40;

const binary = (operator: string, ...values: string[]) => ({ matchBinaries: [{ operator, values }] });

/** Some live when the policies come. */
async function thereBefore({ folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const program = join(folder, 'program');
  copyFileSync('/weir/bin/process', program);
  const ways = ['ask-later', 'ask-thread-later'];
  const processes = ways.map((way) => spawn(program, [way], { stdio: ['pipe', 'pipe', 'inherit'] }));
  for (const { stdout } of processes) await once(stdout, 'data');
  const onAsking = (name: string, parts: object) => policyOf(name, 'sys_readahead', ['int'], [parts]);
  await hooks.apply(
    onAsking('in', binary('In', program)),
    onAsking('not-in', binary('NotIn', program)),
    onAsking('child', { matchParentBinaries: [{ operator: 'In', values: [process.execPath] }] }),
  );
  hooks.events();
  for (const child of processes) {
    child.stdin.end();
    await once(child, 'close');
  }
  const pids = processes.map(({ pid }) => pid);
  const all = hooks.events().filter(({ pid }) => pids.includes(pid));
  assert.deepEqual(all.map(({ policy, pid }) => `${policy} ${pids.indexOf(pid)}`).sort(), [
    'child 0',
    'child 1',
    'in 0',
    'in 1',
  ]);
}

/** Processes begin, execute a program and call, while the scopes of all policies are exchanged without end. */
async function born({ run }: ScenarioContext, hooks: Hooks): Promise<void> {
  const always = onPrctl('always', binary('In', '/weir/bin/calls'));
  const never = onPrctl(
    'never',
    binary('NotIn', '/weir/bin/calls', '/bin/sh', '/usr/bin/sh', '/usr/bin/dash'),
  );
  await hooks.apply(always, never);
  hooks.events();
  let isOver = false;
  const loop = `i=0; while [ $i -lt ${births} ]; do i=$((i+1)); printf 'prctl\\t-%d\\t0\\t0\\t0\\t0\\n' $i | /weir/bin/calls; done`;
  const making = run('sh', ['-c', loop], { timeoutMs: 120_000 }).finally(() => {
    isOver = true;
  });
  let exchanges = 0;
  const events = [];
  while (!isOver || exchanges < 2) {
    exchanges++;
    await hooks.apply(always, never, onPrctl('other', binary('In', `/nowhere/${exchanges}`)));
    events.push(...hooks.events());
  }
  const made = await making;
  assert.equal(made.code, 0, made.stderr);
  events.push(...hooks.events());
  const numbers = Array.from({ length: births }, (_, n) => -n - 1);
  const told = events.filter(({ policy, args }) => policy === 'always' && numbers.includes(numberOf(args)));
  assert.deepEqual(
    told.map(({ args }) => numberOf(args)),
    numbers,
    'each call once',
  );
  assert.deepEqual(
    events.filter(({ policy, args }) => policy === 'never' && numbers.includes(numberOf(args))),
    [],
  );
}

/** Where a CPU finds nothing to do, its task 0 is the current one. */
async function idle({ waitFor }: ScenarioContext, hooks: Hooks): Promise<void> {
  const atSwitch = (name: string, parts: object) =>
    policyWith(name, {
      tracepoints: [{ subsystem: 'sched', event: 'sched_switch', raw: true, args: [], selectors: [parts] }],
    });
  await hooks.apply(
    atSwitch('idle', { matchPIDs: [{ operator: 'In', values: ['0'] }] }),
    atSwitch('program', {
      matchPIDs: [{ operator: 'In', values: ['0'] }],
      ...binary('In', process.execPath),
    }),
  );
  const found = await waitFor('a switch from the idle task', () => {
    const events = hooks.events();
    return events.length > 0 && { events };
  });
  for (const { policy, pid, undecided } of found.events)
    assert.deepEqual([policy, pid, undecided], ['idle', 0, 0]);
}

export default scenario(
  'hooks know the scopes of a process from its first call',
  { timeoutMs: 180_000 },
  async (context) => {
    await withHooks(async (hooks) => {
      await thereBefore(context, hooks);
      await born(context, hooks);
      assert.equal(hooks.counter('ringFull'), 0n);
      await idle(context, hooks);
      assert.equal(hooks.counter('undecided'), 0n);
    });
  },
);
