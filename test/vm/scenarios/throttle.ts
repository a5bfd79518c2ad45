// SPDX-License-Identifier: Apache-2.0
// Throttles: a cgroup that makes a burst of processes is throttled, and another is not; so is a policy, whose denials go
// on; both are told of when that begins and when it ends, all that is held back is counted, and the table of processes
// knows those that nobody was told of.

import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DecodedRecord } from '@weir/segment';
import { type AgentGuest, guarding, makeCgroup, withAgent } from '../guest/agent-events.js';
import { type ScenarioContext, scenario } from '../scenario.js';

// Slow machines make few processes in a second.
const bursts = 150;
const limit = 10;
const windowSeconds = 3;
const denials = 60;

function changesOf({ records }: AgentGuest, name: string): NonNullable<DecodedRecord['throttle']>[] {
  return records.flatMap(({ throttle }) =>
    throttle !== undefined && name === (throttle.policyName || throttle.cgroupName) ? [throttle] : [],
  );
}

/** What a throttle held back, once it has ended as often as it began. */
function heldBack(guest: AgentGuest, { waitFor }: ScenarioContext, name: string): Promise<number> {
  return waitFor(`the end of the throttle of ${name}`, () => {
    const changes = changesOf(guest, name);
    const ends = changes.filter(({ type }) => type === 'stop');
    if (ends.length === 0 || changes.length !== 2 * ends.length) return undefined;
    assert.equal(changes[0]?.type, 'start');
    return ends.reduce((sum, end) => sum + Number(end.heldBack), 0);
  });
}

async function checkCgroups(guest: AgentGuest, context: ScenarioContext): Promise<void> {
  const { folder, run, waitFor } = context;
  const burst = makeCgroup('weir-burst');
  const calm = makeCgroup('weir-calm');
  const id = (cgroup: { procs: string }) => statSync(dirname(cgroup.procs), { bigint: true }).ino;
  // Its exec is one of those that are too many; then it is elsewhere, and what it runs there is told.
  const inner = join(folder, 'inner.sh');
  writeFileSync(inner, `echo $$ > ${calm.procs}\n/usr/bin/true told\n:\n`);
  const burstScript = [
    `echo $$ > ${burst.procs}`,
    `/weir/bin/process storm ${bursts} /weir/bin/openat`,
    `/bin/sh ${inner}`,
    ':', // else the shell would become the other one
  ];
  const calmScript = [
    `echo $$ > ${calm.procs}`,
    '/usr/bin/true one; /usr/bin/true two; /usr/bin/true three; :',
  ];
  const [, quiet] = await Promise.all([
    run('/bin/sh', ['-c', burstScript.join('\n')], { timeoutMs: 60_000 }),
    run('/bin/sh', ['-c', calmScript.join('\n')]),
  ]);
  const calmExecs = () =>
    guest.records.filter(({ kind, cgroupId }) => kind === 'exec' && cgroupId === id(calm));
  const told = await waitFor('what was run elsewhere', () =>
    calmExecs().find(({ exec }) => exec?.arguments[0] === 'told'),
  );
  const held = await heldBack(guest, context, 'weir-burst');

  assert.deepEqual(
    calmExecs()
      .filter(({ parent }) => parent?.pid === quiet.pid)
      .map(({ exec }) => exec?.arguments[0]),
    ['one', 'two', 'three'],
  );
  assert.deepEqual(changesOf(guest, 'weir-calm'), []);
  assert.ok(!told.flags.includes('orphan'));
  assert.deepEqual(told.parent?.arguments, [inner]);
  const seen = (kind: string) =>
    guest.records.filter((record) => record.kind === kind && record.cgroupId === id(burst)).length;
  // In it: clone, exec and exit of each, and of who makes them; clone and exec of the inner shell, which has left before
  // it ends; and the exit of the outer one.
  const made = 3 * bursts + 6;
  const seenAll = seen('clone') + seen('exec') + seen('exit');
  context.log(`of ${made} events ${seenAll} are told, ${held} held back`);
  assert.ok(seen('exec') >= limit && seen('exec') < bursts, `${seen('exec')} execs are told`);
  assert.equal(seenAll + held, made);
  assert.ok(!guest.records.some(({ flags }) => flags.includes('withheld')));
  burst.remove();
  calm.remove();
}

/** What is counted of the policy. */
function countOf({ agent }: AgentGuest, what: string): number {
  const counts = agent.metrics().find(({ name }) => name === 'weir_policy_hook_total')?.samples ?? [];
  return counts.find(([labels]) => labels.what === what)?.[1] ?? 0;
}

async function checkPolicies(guest: AgentGuest, context: ScenarioContext): Promise<void> {
  const { folder, run, waitFor } = context;
  const file = join(folder, 'guarded');
  const { stdout } = await run('openat', new Array<string>(denials).fill(file));
  assert.equal(stdout, '13\n'.repeat(denials));
  // Some are too many for the cgroup already, whatever else it does; how many these are is not told apart.
  const held = await heldBack(guest, context, 'guarding');
  assert.ok(held > 0);
  const throttled = countOf(guest, 'throttled');
  const told = await waitFor('all that is told', () => {
    const { length } = guest.records.filter(({ hook }) => hook !== undefined);
    return length + throttled >= denials ? length : undefined;
  });
  context.log(`of ${denials} denials ${told} are told, ${throttled} held back`);
  assert.equal(told + throttled, denials);
  assert.ok(held <= throttled);
  await waitFor('the loss', () => {
    const { losses, kernelCounters } = guest.status();
    assert.equal(kernelCounters.enforced, denials);
    return losses.throttled === kernelCounters.throttled;
  });
}

export default scenario(
  'throttles hold a burst back, and tell of it; the table of processes stays whole',
  { timeoutMs: 120_000 },
  async (context) => {
    const file = join(context.folder, 'guarded');
    writeFileSync(file, '');
    const policy = guarding(file);
    const options = ['--throttle', `cgroup=${limit}/${windowSeconds}s,policy=3/1s`];
    await withAgent(context.folder, options, [policy], async (guest) => {
      await checkCgroups(guest, context);
      await checkPolicies(guest, context);
    });
  },
);
