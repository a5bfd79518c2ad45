// SPDX-License-Identifier: Apache-2.0
// Policies in the form in which many are published: functions of the kernel's checks with the return value beside
// their arguments, for the integrity of files and for kernel modules.

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HookEvent, type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

function hook(call: string, types: readonly string[], matchArgs: readonly object[], actions: object[] = []) {
  return {
    call,
    syscall: false,
    return: true,
    args: types.map((type, index) => ({ index, type })),
    returnArg: { index: 0, type: 'int' },
    selectors: [{ matchArgs, ...(actions.length > 0 ? { matchActions: actions } : {}) }],
  };
}

/** What an event tells, for those of this scenario's own processes. */
function told(events: readonly HookEvent[]) {
  return events.map(({ symbol, args, returned, action }) => [
    symbol,
    args[0]?.text,
    Number(BigInt.asIntN(64, returned?.value ?? 0x7fffn)),
    action,
  ]);
}

async function watchesFiles({ run, folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const under = { index: 0, operator: 'Prefix', values: [`${folder}/watched`] };
  const [secret, program] = [join(folder, 'watched-secret'), join(folder, 'watched-program')];
  const other = join(folder, 'other');
  for (const file of [secret, other]) writeFileSync(file, 'secret');
  copyFileSync('/bin/true', program);
  await run('chmod', ['755', program]);
  await hooks.apply(
    policyWith('file-monitoring', {
      kprobes: [
        hook(
          'security_file_permission',
          ['file', 'int'],
          [under, { index: 1, operator: 'Equal', values: ['4'] }],
        ),
        hook(
          'security_mmap_file',
          ['file', 'uint32', 'uint32'],
          [under, { index: 1, operator: 'Mask', values: ['4'] }],
        ),
        hook('security_path_truncate', ['path'], [under]),
      ],
    }),
  );
  hooks.events();
  const lines = (file: string) => `read 9 3\nwrite 9 61\ntruncate ${file} 2\n`;
  for (const file of [secret, other]) {
    const made = await run('sh', ['-c', `buffers 9<> ${file}`], { input: lines(file) });
    assert.equal(made.stdout, '3\n1\n0\n', made.stderr);
  }
  assert.deepEqual(told(hooks.events()), [
    ['security_file_permission', secret, 0, 'post'],
    ['security_path_truncate', secret, 0, 'post'],
  ]);
  assert.equal((await run(program)).code, 0);
  const mapped = hooks.events().filter(({ symbol }) => symbol === 'security_mmap_file');
  assert.ok(mapped.length > 0);
  for (const event of told(mapped)) assert.deepEqual(event, ['security_mmap_file', program, 0, 'post']);
}

async function killsWhoTouchesThem({ run, folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const secret = join(folder, 'watched-secret');
  const kill = [{ action: 'Sigkill' }];
  await hooks.apply(
    policyWith('file-monitoring-enforce', {
      kprobes: [
        hook(
          'security_file_permission',
          ['file', 'int'],
          [
            { index: 0, operator: 'Prefix', values: [secret] },
            { index: 1, operator: 'Equal', values: ['2'] },
          ],
          kill,
        ),
      ],
    }),
  );
  hooks.events();
  const spared = await run('sh', ['-c', `exec buffers 9<> ${secret}`], { input: 'read 9 3\n' });
  assert.equal(spared.code, 0);
  const killed = await run('sh', ['-c', `exec buffers 9<> ${secret}`], { input: 'write 9 7a7a\n' });
  assert.equal(killed.signal, 'SIGKILL');
  assert.deepEqual(told(hooks.events()), [['security_file_permission', secret, -1, 'sigkill']]);
  const kept = await run('cat', [secret]);
  assert.doesNotMatch(kept.stdout, /zz/);
}

async function watchesModules({ run }: ScenarioContext, hooks: Hooks): Promise<void> {
  const request = { ...hook('security_kernel_module_request', ['string'], []), selectors: [] };
  await hooks.apply(policyWith('monitor-kernel-modules', { kprobes: [request] }));
  hooks.events();
  const made = await run('ip', ['link', 'add', 'weir0', 'type', 'nosuchkind']);
  assert.notEqual(made.code, 0);
  const requested = told(hooks.events());
  assert.ok(requested.length > 0);
  for (const event of requested)
    assert.deepEqual(event, ['security_kernel_module_request', 'rtnl-link-nosuchkind', 0, 'post']);
}

export default scenario('policies as they are published tell what checks return', {}, async (context) => {
  await withHooks(async (hooks) => {
    for (const step of [watchesFiles, killsWhoTouchesThem, watchesModules]) await step(context, hooks);
  });
});
