// SPDX-License-Identifier: Apache-2.0
// What a process is, where it comes from and what it may: process ids, capabilities, parents. Each process makes one
// call that is told from the others' by a number; each policy must see it from exactly those that it is for.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HookEvent, type Hooks, withHooks } from '../guest/hooks.js';
import { compare, line, numberOf, onPrctl, seen } from '../guest/prctl-calls.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const nobody = 65534;

async function idsAndCapabilities({ run, folder, waitFor }: ScenarioContext, hooks: Hooks): Promise<void> {
  // Its number is in a policy that is loaded while it runs.
  const known = spawn('/weir/bin/calls', [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const knownEnded = new Promise((resolve) => known.on('close', resolve));
  const shell = join(folder, 'shell');
  copyFileSync('/bin/sh', shell);
  const capabilities = (operator: string, values: readonly string[], more: object = {}) => ({
    matchCapabilities: [{ operator, values, ...more }],
  });
  await hooks.apply(
    onPrctl('pid', { matchPIDs: [{ operator: 'In', values: [String(known.pid), '1'] }] }),
    onPrctl('other-pid', { matchPIDs: [{ operator: 'NotIn', values: [String(known.pid)] }] }),
    onPrctl('first', { matchPIDs: [{ operator: 'In', isNamespacePID: true, values: ['1'] }] }),
    onPrctl('host', { matchPIDs: [{ operator: 'In', isNamespacePID: true, values: ['0'] }] }),
    onPrctl('neither', { matchPIDs: [{ operator: 'NotIn', isNamespacePID: true, values: ['0', '1'] }] }),
    onPrctl('admin', capabilities('In', ['CAP_SYS_ADMIN', 'CAP_BPF'])),
    onPrctl('unprivileged', capabilities('NotIn', ['CAP_SYS_ADMIN'])),
    onPrctl('own-admin', capabilities('In', ['CAP_SYS_ADMIN'], { isNamespaceCapability: true })),
    onPrctl('own-unprivileged', capabilities('NotIn', ['CAP_SYS_ADMIN'], { isNamespaceCapability: true })),
    onPrctl('permitted', capabilities('In', ['CAP_NET_RAW'], { type: 'Permitted' })),
    onPrctl('inheritable', capabilities('In', ['CAP_NET_RAW'], { type: 'Inheritable' })),
    onPrctl('from-shell', { matchParentBinaries: [{ operator: 'In', values: [shell] }] }),
    onPrctl('from-folder', { matchParentBinaries: [{ operator: 'Postfix', values: ['/shell'] }] }),
    onPrctl('not-from-shell', { matchParentBinaries: [{ operator: 'NotPrefix', values: [folder] }] }),
    onPrctl('both', {
      ...capabilities('In', ['CAP_SYS_ADMIN']),
      matchParentBinaries: [{ operator: 'In', values: [shell] }],
    }),
  );
  hooks.events();
  known.stdin?.end(line(-101));
  assert.equal(await knownEnded, 0);
  const calls = async (number: number, program: string, args: readonly string[] = [], options = {}) => {
    const made = await run(program, args, { input: line(number), ...options });
    assert.equal(made.code, 0, made.stderr);
  };
  await calls(-102, 'calls');
  await calls(-103, 'unshare', ['--fork', '--pid', '/weir/bin/calls']);
  await calls(-104, 'unshare', ['--fork', '--pid', 'sh', '-c', 'true; /weir/bin/calls; true']);
  await calls(-105, 'calls', [], { uid: nobody, gid: nobody });
  await calls(-106, 'unshare', ['--user', '--map-root-user', '/weir/bin/calls']);
  await calls(-107, 'setpriv', [
    '--inh-caps',
    '-all,+net_raw',
    '--bounding-set',
    '-all,+net_raw',
    '/weir/bin/calls',
  ]);
  await calls(-108, shell, ['-c', 'true; /weir/bin/calls; true']);
  // Its parent has ended when it calls.
  const input = join(folder, 'input');
  writeFileSync(input, line(-109));
  const orphan = `while [ -d /proc/$$ ]; do sleep 0.02; done; exec /weir/bin/calls <${input} >/dev/null`;
  await calls(-110, shell, ['-c', `(${orphan}) >&- 2>&- & exit 0`]);
  const events: HookEvent[] = [];
  await waitFor('the call of a process without its parent', () => {
    events.push(...hooks.events());
    return events.some(({ args }) => numberOf(args) === -109);
  });
  events.push(...hooks.events());
  const all = [-101, -102, -103, -104, -105, -106, -107, -108, -109];
  const without = (...numbers: number[]) => all.filter((number) => !numbers.includes(number));
  const found = seen(events, all);
  compare(found, {
    pid: [-101],
    'other-pid': without(-101),
    first: [-103],
    host: without(-103, -104),
    neither: [-104],
    admin: without(-105, -107),
    unprivileged: [-105, -107],
    'own-admin': [-106],
    permitted: without(-105),
    inheritable: [-107],
    'from-shell': [-108, -109],
    'from-folder': [-108, -109],
    'not-from-shell': without(-108, -109),
    both: [-108, -109],
  });
  assert.equal(hooks.counter('undecided'), 0n);
}

export default scenario(
  'hooks know a process by its number, its capabilities and its parent',
  {},
  async (ctx) => {
    await withHooks((hooks) => idsAndCapabilities(ctx, hooks));
  },
);
