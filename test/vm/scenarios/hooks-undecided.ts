// SPDX-License-Identifier: Apache-2.0
// What cannot be decided: let through by default, denied where the policy says so; and nothing else is.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, openSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArgumentFlag, RecordFlag } from '@weir/schema';
import { type Hooks, policyOf, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

/** A name in memory that is not resident is not to be had where the call begins: that is said, and is no "no". */
async function checkAbsent(hooks: Hooks, { folder, run }: ScenarioContext): Promise<void> {
  const opened = join(folder, 'opened');
  writeFileSync(opened, '');
  let files = 0;
  // Each time another file: what was read once is resident.
  const open = async () => {
    const name = join(folder, `name-${++files}`);
    writeFileSync(name, `${opened}\0`);
    await run('sync');
    writeFileSync('/proc/sys/vm/drop_caches', '1');
    return (await run('absent', [name])).stdout;
  };
  const policy = (name: string, selector: object, options: Parameters<typeof policyOf>[4] = []) =>
    policyOf(
      name,
      'sys_openat',
      ['nop', 'string'],
      [{ matchBinaries: [{ operator: 'Postfix', values: ['/absent'] }], ...selector }],
      options,
    );
  const equal = (value: string) => ({ matchArgs: [{ index: 1, operator: 'Equal', values: [value] }] });
  await hooks.apply(policy('all', {}), policy('equal', equal(opened)));
  hooks.events();
  const before = hooks.counter('undecided');
  assert.equal(await open(), '0\n0\n');
  const events = hooks.events().filter(({ args }) => args[0]?.text === opened || args[0]?.text === '');
  assert.deepEqual(
    events.map(({ policy: name, args }) => [
      name,
      args[0]?.text,
      (args[0]?.flags ?? 0) & ArgumentFlag.unreadable,
    ]),
    [
      ['all', '', ArgumentFlag.unreadable],
      ['all', opened, 0],
      ['equal', opened, 0],
    ],
  );
  assert.equal(hooks.counter('undecided') - before, 1n);

  const deny = { ...equal('/secret'), matchActions: [{ action: 'Override', argError: -13 }] };
  await hooks.apply(policy('denies', deny, [{ name: 'on-undecided', value: 'deny' }]));
  assert.equal(await open(), '13\n0\n');
}

const part = 'd'.repeat(250);

/** A file whose path is longer than any that is read: where it begins is not known. It is in the working folder. */
function makeDeep(folder: string): number {
  process.chdir(folder);
  let depth = 0;
  for (; folder.length + depth * 251 <= 4096 + 250; depth++) {
    mkdirSync(part);
    process.chdir(part);
  }
  writeFileSync('deep', '');
  return depth;
}

/** What a path is not equal to is known of one that is too long to be read, of files and of programs. */
async function checkLonger(hooks: Hooks, folder: string, near: string): Promise<void> {
  const starter = join(folder, 'starter');
  copyFileSync('/bin/sh', starter);
  copyFileSync('/weir/bin/openat', 'program');
  /** What a program that lies too deep gets, started by another one. */
  const started = (by: string) =>
    spawnSync(by, ['-c', `./program ${near}; true`], { encoding: 'utf8' }).stdout;
  const guard = (name: string, selector: object, options: Parameters<typeof policyOf>[4] = []) =>
    policyOf(
      name,
      'security_file_open',
      ['file'],
      [
        {
          matchArgs: [{ index: 0, operator: 'Equal', values: [near] }],
          matchActions: [{ action: 'Override', argError: -13 }],
          ...selector,
        },
      ],
      options,
    );
  const binaries = (operator: string, values: readonly string[], followChildren = false) => ({
    matchBinaries: [{ operator, values, followChildren }],
  });
  const deny = [{ name: 'on-undecided', value: 'deny' }];
  const check = async (expected: readonly [string, string], ...policies: readonly string[]) => {
    await hooks.apply(...policies);
    assert.deepEqual([started('/bin/sh'), started(starter)], [`${expected[0]}\n`, `${expected[1]}\n`]);
  };
  const before = hooks.counter('undecided');
  await check(['13', '13'], guard('not-in', binaries('NotIn', ['/usr/bin/nobody'])));
  await check(['0', '0'], guard('in', binaries('In', ['/usr/bin/nobody']), deny));
  await check(['0', '13'], guard('from', binaries('In', [starter], true)));
  await check(['13', '0'], guard('not-from', binaries('NotIn', [starter], true)));
  await hooks.apply(
    guard('file', {
      matchArgs: [
        { index: 0, operator: 'NotEqual', values: [near] },
        { index: 0, operator: 'Postfix', values: ['/program'] },
      ],
    }),
  );
  assert.throws(() => closeSync(openSync('program', 'r')), { code: 'EACCES' });
  assert.equal(hooks.counter('undecided') - before, 0n);

  // Where somebody asks what a path begins with, that is not known; what is known besides still counts.
  const other = guard('other', binaries('Prefix', ['/nowhere/'], true));
  await check(['0', '13'], other, guard('from', binaries('In', [starter], true)));
  await check(['0', '0'], other, guard('not-from', binaries('NotIn', [starter], true)));
  assert.ok(hooks.counter('undecided') > before);
  await hooks.apply();
  rmSync('program');
  rmSync(starter);
}

export default scenario(
  'what cannot be decided is let through, or denied where the policy says so',
  { timeoutMs: 120_000 },
  async (context) => {
    const { folder, log } = context;
    const near = join(folder, 'near');
    writeFileSync(near, '');
    const open = (path: string): string => {
      try {
        closeSync(openSync(path, 'r'));
        return 'opened';
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? '';
      }
    };
    const guard = (name: string, options: Readonly<Record<string, string>>, selectors: readonly object[]) =>
      policyOf(
        name,
        'security_file_open',
        ['file'],
        selectors,
        Object.entries(options).map(([option, value]) => ({ name: option, value })),
      );
    const secret = { matchArgs: [{ index: 0, operator: 'Prefix', values: ['/secret/'] }] };
    const passes = { ...secret, matchActions: [{ action: 'Post' }] };
    const denies = { ...secret, matchActions: [{ action: 'Override', argError: -13 }] };
    const deny = { 'on-undecided': 'deny' };

    let depth = 0;
    await withHooks(async (hooks) => {
      await checkAbsent(hooks, context);

      depth = makeDeep(folder);
      await checkLonger(hooks, folder, near);
      const result = () => [open('deep'), open(near)];
      const before = hooks.counter('undecided');
      await hooks.apply(guard('allows', {}, [denies]));
      hooks.events();
      assert.deepEqual(result(), ['opened', 'opened']);
      assert.deepEqual(hooks.events(), []);
      assert.ok(hooks.counter('undecided') > before);
      assert.ok((hooks.set.report()[0]?.undecided ?? 0n) > 0n);

      await hooks.apply(guard('denies', deny, [denies]));
      hooks.events();
      assert.deepEqual(result(), ['EACCES', 'opened']);
      const [event, ...more] = hooks.events();
      assert.deepEqual(more, []);
      assert.deepEqual([event?.action, event?.error, event?.selector], ['override', -13, 0]);
      assert.equal((event?.flags ?? 0) & RecordFlag.undecided, RecordFlag.undecided);

      // A selector that only looks does not stand in the way of the one that denies.
      await hooks.apply(guard('second', deny, [passes, denies]));
      hooks.events();
      assert.deepEqual(result(), ['EACCES', 'opened']);
      assert.deepEqual(
        hooks.events().map(({ selector }) => selector),
        [1],
      );

      // What is decided otherwise, decides: another program, or another end of the path.
      const elsewhere = [{ operator: 'In', values: ['/usr/bin/not-this'] }];
      const ends = [...secret.matchArgs, { index: 0, operator: 'Postfix', values: ['/other'] }];
      await hooks.apply(
        guard('binary', deny, [{ ...denies, matchBinaries: elsewhere }]),
        guard('end', deny, [{ ...denies, matchArgs: ends }]),
      );
      assert.deepEqual(result(), ['opened', 'opened']);

      // The same condition of two policies, of which one denies what it does not know.
      await hooks.apply(guard('one', {}, [denies]), guard('two', deny, [denies]));
      hooks.events();
      assert.deepEqual(result(), ['EACCES', 'opened']);
      assert.deepEqual(
        hooks.events().map(({ policy }) => policy),
        ['two'],
      );

      await hooks.apply(guard('says', { ...deny, 'policy-mode': 'monitor' }, [denies]));
      hooks.events();
      assert.deepEqual(result(), ['opened', 'opened']);
      const said = hooks.events();
      assert.deepEqual(
        said.map(({ flags }) => flags & (RecordFlag.monitor | RecordFlag.undecided)),
        [RecordFlag.monitor | RecordFlag.undecided],
      );
      log(`${hooks.counter('undecided') - before} terms undecided`);
    });
    // By steps, as no call takes the whole path.
    rmSync('deep');
    for (; depth > 0; depth--) {
      process.chdir('..');
      rmdirSync(part);
    }
  },
);
