// SPDX-License-Identifier: Apache-2.0
// The hashes of files that events of LSM hooks have, by IMA: of programs that are executed, and of files that are
// mapped; with several policies on a hook, and where the call is denied.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HookEvent, type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

/** The kernel's numbers of algorithms. */
const algorithms: Readonly<Record<number, string>> = { 2: 'sha1', 4: 'sha256', 6: 'sha512' };

function isHashOf(event: HookEvent | undefined, path: string): boolean {
  const { algorithm, digest } = event?.imaHash ?? { algorithm: -1, digest: '' };
  const name = algorithms[algorithm];
  if (name === undefined) return false;
  return digest.startsWith(createHash(name).update(readFileSync(path)).digest('hex'));
}

function atExec(name: string, path: string, actions: object[]): string {
  return policyWith(name, {
    lsmhooks: [
      {
        hook: 'bprm_check_security',
        args: [{ index: 0, type: 'linux_binprm' }],
        selectors: [{ matchArgs: [{ index: 0, operator: 'Prefix', values: [path] }], matchActions: actions }],
      },
    ],
  });
}

const hashed = { action: 'Post', imaHash: true };

async function hashesPrograms({ run, folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const [program, other] = [join(folder, 'program'), join(folder, 'denied')];
  for (const path of [program, other]) copyFileSync('/bin/true', path);
  // Its hash is its own.
  writeFileSync(program, 'more', { flag: 'a' });
  const plain = [
    atExec('tells-only', program, [{ action: 'Post' }]),
    atExec('denies', other, [{ action: 'Override', argError: -1 }, { action: 'NoPost' }]),
  ];
  const isPlain = async () => {
    hooks.events();
    assert.equal((await run(program)).code, 0);
    assert.equal((await run('sh', ['-c', `${other}; echo $?`])).stdout, '126\n');
    assert.deepEqual(
      hooks.events().map(({ policy, imaHash }) => [policy, imaHash]),
      [['tells-only', undefined]],
    );
  };
  await hooks.apply(...plain);
  await isPlain();
  await hooks.apply(
    atExec('hashes', `${folder}/`, [hashed]),
    atExec('hashes-too', program, [hashed]),
    ...plain,
  );
  hooks.events();
  assert.equal((await run(program)).code, 0);
  const events = hooks.events();
  assert.deepEqual(events.map(({ policy }) => policy).sort(), ['hashes', 'hashes-too', 'tells-only']);
  for (const event of events) {
    assert.equal(isHashOf(event, program), event.policy !== 'tells-only', event.policy);
    assert.equal(event.args[0]?.text, program);
  }
  // What is denied is hashed before it is.
  assert.equal((await run('sh', ['-c', `${other}; echo $?`])).stdout, '126\n');
  const denied = hooks.events();
  assert.deepEqual(
    denied.map((event) => [event.policy, isHashOf(event, other)]),
    [['hashes', true]],
  );
  assert.equal((await run('true')).code, 0);
  assert.deepEqual(hooks.events(), []);
  await hooks.apply(...plain);
  await isPlain();
}

async function hashesMappings({ run, folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const program = join(folder, 'mapped');
  copyFileSync('/bin/true', program);
  await hooks.apply(
    policyWith('mappings', {
      lsmhooks: [
        {
          hook: 'mmap_file',
          args: [{ index: 0, type: 'file' }],
          selectors: [
            { matchArgs: [{ index: 0, operator: 'Equal', values: [program] }], matchActions: [hashed] },
          ],
        },
      ],
    }),
  );
  hooks.events();
  assert.equal((await run(program)).code, 0);
  const events = hooks.events();
  assert.ok(events.length > 0);
  for (const event of events) assert.ok(isHashOf(event, program));
}

/** Of a file that is being opened: at first nobody can read it, and IMA has not measured it. */
async function hashesFiles({ run, folder, kernel }: ScenarioContext, hooks: Hooks): Promise<void> {
  const path = join(folder, 'file');
  writeFileSync(path, 'what is read');
  const hooked = ['file_open', ...(kernel === '6.1' ? [] : ['file_post_open'])];
  await hooks.apply(
    policyWith('files', {
      lsmhooks: hooked.map((hook) => ({
        hook,
        args: [{ index: 0, type: 'file' }],
        selectors: [{ matchArgs: [{ index: 0, operator: 'Equal', values: [path] }], matchActions: [hashed] }],
      })),
    }),
  );
  hooks.events();
  assert.equal((await run('cat', [path])).stdout, 'what is read');
  assert.deepEqual(
    hooks.events().map((event) => [event.symbol, isHashOf(event, path)]),
    hooked.map((hook) => [hook, hook === 'file_post_open']),
  );
}

async function isRefused({ folder }: ScenarioContext, hooks: Hooks): Promise<void> {
  const [outcome] = await hooks.tryApply(atExec('hashes', `${folder}/`, [hashed]));
  assert.equal(outcome?.state, 'refused');
  assert.match(outcome?.reason ?? '', /imaHash needs bpf among the active security modules/);
}

export default scenario(
  'events of LSM hooks have the hash of the file where a policy wants it',
  { variants: ['default', 'no-bpf-lsm'] },
  (context) =>
    withHooks(async (hooks) => {
      if (context.variant === 'no-bpf-lsm') {
        await isRefused(context, hooks);
        return;
      }
      await hashesPrograms(context, hooks);
      await hashesMappings(context, hooks);
      await hashesFiles(context, hooks);
    }),
);
