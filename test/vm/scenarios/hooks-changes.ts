// SPDX-License-Identifier: Apache-2.0
// What changed since a program was executed: namespaces and capabilities, of the process itself and of what it forks.

import assert from 'node:assert/strict';
import { policyOf, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const newUts = 0x04000000;
const newUser = 0x10000000;
const nobody = 65534;

const onPrctl = (name: string, parts: object) => policyOf(name, 'sys_prctl', ['int'], [parts]);
const call = (number: number) => `prctl\t${number}\t0\t0\t0\t0\n`;

export default scenario('hooks know what changed since the last exec', {}, async ({ run }) => {
  await withHooks(async (hooks) => {
    const namespaces = (operator: string, values: readonly string[]) => ({
      matchNamespaceChanges: [{ operator, values }],
    });
    const capabilities = (operator: string, more: object = {}) => ({
      matchCapabilityChanges: [{ operator, type: 'Effective', values: ['CAP_SYS_ADMIN'], ...more }],
    });
    await hooks.apply(
      onPrctl('uts', namespaces('In', ['Uts'])),
      onPrctl('uts-or-user', namespaces('In', ['Uts', 'User'])),
      onPrctl('not-uts', namespaces('NotIn', ['Uts', 'Pid'])),
      onPrctl('gained', capabilities('In')),
      onPrctl('gained-own', capabilities('In', { isNamespaceCapability: true })),
      onPrctl('same', capabilities('NotIn')),
      onPrctl('other', {
        matchCapabilityChanges: [{ operator: 'In', type: 'Inheritable', values: ['CAP_SYS_ADMIN'] }],
      }),
    );
    hooks.events();
    const input = (change: number, before: number, after: number) =>
      `${call(before)}unshare\t${change}\n${call(after)}`;
    const root = await run('calls', [], { input: input(newUts, -1, -2) });
    assert.equal(root.stdout, '-22\n0\n-22\n', root.stderr);
    const user = await run('calls', [], { input: input(newUser, -3, -4), uid: nobody, gid: nobody });
    assert.equal(user.stdout, '-22\n0\n-22\n', user.stderr);
    // Where the change comes with the exec, nothing has changed since.
    const executed = await run('unshare', ['--uts', '/weir/bin/calls'], { input: call(-5) });
    assert.equal(executed.code, 0, executed.stderr);
    const numbers = [-1, -2, -3, -4, -5];
    const found = Object.fromEntries(
      ['uts', 'uts-or-user', 'not-uts', 'gained', 'gained-own', 'same', 'other'].map((name) => [
        name,
        [] as number[],
      ]),
    );
    for (const { policy, args } of hooks.events()) {
      const number = Number(BigInt.asIntN(64, args[0]?.value ?? 0n));
      if (numbers.includes(number)) found[policy]?.push(number);
    }
    assert.deepEqual(found, {
      uts: [-2],
      'uts-or-user': [-2, -4],
      'not-uts': [-1, -3, -4, -5],
      gained: [-4],
      'gained-own': [-4],
      same: [-1, -2, -3, -5],
      other: [],
    });
    assert.equal(hooks.counter('undecided'), 0n);
  });
});
