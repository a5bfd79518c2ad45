// SPDX-License-Identifier: Apache-2.0
// What calls return: in one event with their arguments, matched and acted on; also of calls that are denied, and of
// calls that sleep while policies change.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArgumentFlag, RecordFlag } from '@weir/schema';
import { type HookEvent, type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type ScenarioContext, scenario } from '../scenario.js';

const ENOENT = -2n;
const EBADF = -9n;
const ENOTDIR = -20n;
const EINVAL = -22n;

interface Case {
  readonly call: string;
  readonly args: readonly string[];
  readonly returns: string;
  readonly selectors?: readonly object[];
}

function policy(name: string, hook: Case): string {
  return policyWith(name, {
    kprobes: [
      {
        call: hook.call,
        syscall: hook.call.startsWith('sys_'),
        args: hook.args.map((type, index) => ({ index, type })),
        return: true,
        returnArg: { index: 0, type: hook.returns },
        ...(hook.selectors === undefined ? {} : { selectors: hook.selectors }),
      },
    ],
  });
}

const returned = (operator: string, ...values: (bigint | string)[]) => ({
  matchReturnArgs: [{ operator, values: values.map(String) }],
});

function calls({ run }: ScenarioContext, lines: readonly string[]) {
  return run('calls', [], { input: `${lines.join('\n')}\n` });
}

function returnsOf(events: readonly HookEvent[], name: string): (bigint | undefined)[] {
  return events
    .filter((event) => event.policy === name)
    .map((event) => (event.returned === undefined ? undefined : BigInt.asIntN(64, event.returned.value)));
}

async function matchesWhatCallsReturn(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const lseek = { call: 'sys_lseek', args: ['int', 'int64', 'int'], returns: 'int64' };
  const inner = [{ index: 2, operator: 'NotEqual', values: ['0'] }];
  await hooks.apply(
    policy('every', { ...lseek, selectors: [{ matchArgs: inner }] }),
    policy('bad', { ...lseek, selectors: [{ matchArgs: inner, ...returned('Equal', EBADF) }] }),
    policy('failed', { ...lseek, selectors: [{ matchArgs: inner, ...returned('LT', 0n) }] }),
    policy('worked', { ...lseek, selectors: [{ matchArgs: inner, ...returned('NotInRange', '-4095:-1') }] }),
    policy('which', {
      ...lseek,
      selectors: [
        { matchArgs: inner, ...returned('Equal', EINVAL), matchReturnActions: [{ action: 'NoPost' }] },
        { matchArgs: inner, ...returned('LT', 0n) },
        { matchArgs: inner },
      ],
    }),
  );
  hooks.events();
  const file = join(context.folder, 'ten');
  writeFileSync(file, '0123456789');
  const made = await context.run('sh', ['-c', 'calls 3< "$0"', file], {
    input: ['lseek\t99\t0\t1', 'lseek\t3\t4\t1', 'lseek\t3\t0\t77', 'lseek\t3\t-2\t2', 'lseek\t3\t0\t0'].join(
      '\n',
    ),
  });
  assert.equal(made.stdout, `${EBADF}\n4\n${EINVAL}\n8\n0\n`, made.stderr);
  const events = hooks.events();
  assert.deepEqual(returnsOf(events, 'every'), [EBADF, 4n, EINVAL, 8n]);
  assert.deepEqual(returnsOf(events, 'bad'), [EBADF]);
  assert.deepEqual(returnsOf(events, 'failed'), [EBADF, EINVAL]);
  assert.deepEqual(returnsOf(events, 'worked'), [4n, 8n]);
  assert.deepEqual(
    events
      .filter((event) => event.policy === 'which')
      .map((event) => [event.selector, event.returned?.value]),
    [
      [1, BigInt.asUintN(64, EBADF)],
      [2, 4n],
      [2, 8n],
    ],
  );
  const [first] = events.filter((event) => event.policy === 'every');
  assert.ok(first !== undefined);
  assert.deepEqual(
    first.args.map(({ value }) => value),
    [99n, 0n, 1n],
  );
  assert.equal(first.flags & RecordFlag.returned, RecordFlag.returned);
  assert.equal(first.returned?.flags, ArgumentFlag.returned);
  assert.equal(first.returnAction, 'post');
}

async function seesReturnsOfCallsWithoutArguments({ run }: ScenarioContext, hooks: Hooks): Promise<void> {
  await hooks.apply(policy('made', { call: 'sock_alloc', args: [], returns: 'socket' }));
  hooks.events();
  const deed = async (...fields: string[]) =>
    (await run('cells', [], { input: `-\t-\t${fields.join('\t')}\n` })).pid;
  const pid = await deed('unix', '@weir-none');
  const other = await deed('umask');
  const events = hooks.events();
  assert.deepEqual(
    events.filter((event) => event.pid === pid).map((event) => [event.policy, event.args.length]),
    [['made', 0]],
  );
  assert.deepEqual(
    events.filter((event) => event.pid === other),
    [],
  );
}

async function keepsStringsOfTheEntry(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const openat = { call: 'sys_openat', args: ['int', 'string'], returns: 'int' };
  const long = `${context.folder}/${'x/'.repeat(1500)}y`;
  const paths = [`${context.folder}/absent`, `${context.folder}/ten`, `${context.folder}/ten/below`, long];
  const begins = { index: 1, operator: 'Prefix', values: [context.folder] };
  await hooks.apply(
    policy('opens', { ...openat, selectors: [{ matchArgs: [begins] }] }),
    policy('absent', {
      ...openat,
      selectors: [{ matchArgs: [begins], ...returned('Equal', ENOENT, ENOTDIR) }],
    }),
  );
  hooks.events();
  await calls(
    context,
    paths.map((path) => `openat\t-100\t${path}\t0`),
  );
  const events = hooks.events();
  const seen = (name: string) =>
    events.filter((event) => event.policy === name).map((event) => event.args[1]?.text);
  assert.deepEqual(seen('opens'), paths);
  assert.deepEqual(
    returnsOf(events, 'opens').map((value) => (value ?? 0n) >= 0n),
    [false, true, false, false],
  );
  assert.deepEqual(returnsOf(events, 'absent'), [ENOENT, ENOTDIR, ENOENT]);
}

async function actsAtTheReturn(context: ScenarioContext, hooks: Hooks): Promise<void> {
  await hooks.apply(
    policy('kills', {
      call: 'sys_openat',
      args: ['int', 'string'],
      returns: 'int',
      selectors: [
        {
          matchArgs: [{ index: 1, operator: 'Prefix', values: [context.folder] }],
          ...returned('Equal', ENOENT),
          matchReturnActions: [{ action: 'Sigkill' }],
        },
      ],
    }),
  );
  hooks.events();
  const spared = await calls(context, [`openat\t-100\t${context.folder}/ten\t0`]);
  assert.equal(spared.code, 0);
  const killed = await calls(context, [`openat\t-100\t${context.folder}/absent\t0`]);
  assert.equal(killed.signal, 'SIGKILL');
  const events = hooks.events().filter(({ policy: name }) => name === 'kills');
  assert.deepEqual(
    events.map((event) => [event.pid, event.action, event.returnAction, event.signal, event.args[1]?.text]),
    [[killed.pid, 'post', 'sigkill', 9, `${context.folder}/absent`]],
  );
  assert.equal((events[0]?.flags ?? 0) & RecordFlag.protected, RecordFlag.protected);
}

async function tellsWhatDeniedCallsReturn(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const file = join(context.folder, 'secret');
  writeFileSync(file, 'secret');
  const opened = { index: 0, operator: 'Equal', values: [file] };
  const open = { call: 'security_file_open', args: ['file'], returns: 'int' };
  await hooks.apply(
    policy('denies', {
      ...open,
      selectors: [{ matchArgs: [opened], matchActions: [{ action: 'Override', argError: -13 }] }],
    }),
    // Nothing of it matches at the return; what was enforced is told all the same.
    policy('enforces', {
      ...open,
      selectors: [
        { matchArgs: [opened], ...returned('Equal', 0n), matchActions: [{ action: 'Signal', argSig: 23 }] },
      ],
    }),
    policy('sees', { ...open, selectors: [{ matchArgs: [opened], ...returned('LT', 0n) }] }),
  );
  hooks.events();
  const made = await calls(context, [`openat\t-100\t${file}\t0`, `openat\t-100\t${context.folder}/ten\t0`]);
  assert.match(made.stdout, /^-13\n\d+\n$/);
  const events = hooks.events();
  assert.deepEqual(
    events.map((event) => [event.policy, event.action, event.error, event.signal, event.args[0]?.text]),
    [
      ['denies', 'override', -13, 0, file],
      ['enforces', 'signal', 0, 23, file],
      ['sees', 'post', 0, 0, file],
    ],
  );
  for (const event of events) assert.equal(BigInt.asIntN(64, event.returned?.value ?? 0n), -13n);
  assert.equal(events.length, 3);
}

/** A program that waits in read() for a line. */
function sleeper({ waitFor }: ScenarioContext): Promise<ChildProcess> {
  const child = spawn('calls', [], { stdio: ['pipe', 'ignore', 'ignore'] });
  return waitFor('a read that sleeps', () => {
    try {
      return readFileSync(`/proc/${child.pid}/syscall`, 'utf8').startsWith('0 0x0 ') && child;
    } catch {
      return false;
    }
  });
}

async function seesSleepersReturn(context: ScenarioContext, hooks: Hooks): Promise<void> {
  const read = { call: 'sys_read', args: ['int'], returns: 'int64' };
  const stdin = [{ index: 0, operator: 'Equal', values: ['0'] }];
  const first = policy('first', { ...read, selectors: [{ matchArgs: stdin }] });
  const second = policy('second', { ...read, selectors: [{ matchArgs: stdin, ...returned('GT', 0n) }] });
  // Of the same shape as the second: other values alone, so that the program stays.
  const third = second
    .replace('"second"', '"third"')
    .replace('["0"]}],"matchReturnArgs', '["7"]}],"matchReturnArgs');
  assert.notEqual(third.replace('third', 'second'), second);
  const lost = hooks.counter('returnsLost');

  // It was asleep before there was a policy: nobody knows how it began.
  const early = await sleeper(context);
  await hooks.apply(first, second);
  hooks.events();
  const child = await sleeper(context);
  early.stdin?.write('dup\t/\n');
  child.stdin?.write('dup\t/\n');
  const of = (pid: number | undefined, all = hooks.events()) =>
    all.filter((event) => event.pid === pid).map((event) => [event.policy, event.returned?.value]);
  let seen: unknown[] = [];
  await context.waitFor('the first return', () => {
    const all = hooks.events();
    assert.deepEqual(of(early.pid, all), []);
    seen = of(child.pid, all);
    return seen.length > 0;
  });
  assert.deepEqual(seen, [
    ['first', 6n],
    ['second', 6n],
  ]);

  // Now it sleeps again, and another policy comes and goes meanwhile: the configuration is another one at its return.
  await context.waitFor('another sleep', () =>
    readFileSync(`/proc/${child.pid}/syscall`, 'utf8').startsWith('0 0x0 '),
  );
  const programs = () => hooks.set.hooks().map(({ program }) => program.programId);
  const before = programs();
  await hooks.apply(first, second, third);
  await hooks.apply(first, second);
  assert.deepEqual(programs(), before);
  child.stdin?.write('dup\t/etc\n');
  await context.waitFor('the return after the change', () => {
    seen = of(child.pid);
    return seen.length > 0;
  });
  assert.deepEqual(seen, [
    ['first', 9n],
    ['second', 9n],
  ]);
  assert.equal(hooks.counter('returnsLost'), lost);

  // A program that is replaced loses the calls that are under way: they are counted when the thread calls again.
  await context.waitFor('a third sleep', () =>
    readFileSync(`/proc/${child.pid}/syscall`, 'utf8').startsWith('0 0x0 '),
  );
  await hooks.apply(first);
  assert.notDeepEqual(programs(), before);
  child.stdin?.write('dup\t/\ndup\t/etc\n');
  child.stdin?.end();
  await context.waitFor('the end', () => child.exitCode !== null);
  assert.equal(hooks.counter('returnsLost'), lost + 1n);
  early.kill();
}

export default scenario('hooks see what calls return', { timeoutMs: 120_000 }, async (context) => {
  await withHooks(async (hooks) => {
    const steps = [
      matchesWhatCallsReturn,
      seesReturnsOfCallsWithoutArguments,
      keepsStringsOfTheEntry,
      actsAtTheReturn,
      tellsWhatDeniedCallsReturn,
      seesSleepersReturn,
    ];
    for (const step of steps) {
      const startMs = performance.now();
      await step(context, hooks);
      context.log(`${step.name}: ${(performance.now() - startMs).toFixed(0)} ms`);
    }
    assert.equal(hooks.counter('undecided'), 0n);
    assert.equal(hooks.counter('enforceFailed'), 0n);
  });
});
