// SPDX-License-Identifier: Apache-2.0
// What the process sensor must tell, as checks that run on the host (tracepoints are all that they need) and in the
// guest on each kernel.

import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { EXEC_RECORD_BYTES, ExecFlag, limits, NamespaceKind, RecordFlag } from '@weir/schema';
import type { RunResult, ScenarioContext } from '../scenario.js';
import { type CloneEvent, type ExecEvent, type ExitEvent, ProcessSensor } from './process-sensor.js';

/** What a check runs with: a scenario's context in the guest, the same on the host. */
export interface CheckContext extends Pick<ScenarioContext, 'folder' | 'run' | 'waitFor'> {
  readonly sensor: ProcessSensor;
  /** The path of test/vm/programs/process.c, compiled. */
  readonly program: string;
}

export interface Check {
  readonly name: string;
  readonly body: (context: CheckContext) => Promise<void>;
}

interface Life {
  readonly result: RunResult;
  readonly pid: number;
  readonly clones: readonly CloneEvent[];
  readonly execs: readonly ExecEvent[];
  readonly exits: readonly ExitEvent[];
}

/** What the sensor told of one process, once its end was told. */
async function lifeOf(context: CheckContext, pid: number, result: RunResult): Promise<Life> {
  const { sensor } = context;
  await context.waitFor(`the exit record of ${pid}`, () =>
    sensor.records().some((event) => event.kind === 'exit' && event.record.pid === pid),
  );
  const own = sensor.records().filter((event) => event.record.pid === pid);
  return {
    result,
    pid,
    clones: own.filter((event) => event.kind === 'clone'),
    execs: own.filter((event) => event.kind === 'exec'),
    exits: own.filter((event) => event.kind === 'exit'),
  };
}

async function live(
  context: CheckContext,
  program: string,
  args: readonly string[],
  options: Parameters<ScenarioContext['run']>[2] = {},
): Promise<Life> {
  const result = await context.run(program, args, options);
  assert.notEqual(result.code, 99, result.stderr);
  return lifeOf(context, result.pid, result);
}

/** The life of the only child of `parent`. */
async function childOf(context: CheckContext, parent: Life): Promise<Life> {
  const clones = context.sensor
    .records()
    .filter((event) => event.kind === 'clone' && event.record.parentPid === parent.pid);
  assert.equal(clones.length, 1, 'one child');
  return lifeOf(context, clones[0]?.record.pid ?? 0, parent.result);
}

function only<T>(items: readonly T[], what: string): T {
  assert.equal(items.length, 1, `${what}: ${items.length} records`);
  return items[0] as T;
}

function has(flags: number, name: keyof typeof ExecFlag): boolean {
  return (flags & ExecFlag[name]) !== 0;
}

function inodeOf(link: string): number {
  return Number(/\[(\d+)\]/.exec(readlinkSync(link))?.[1]);
}

async function tellsALife(context: CheckContext): Promise<void> {
  const args = ['one', 'two words', '\n\\escape\x1b[31m', ''];
  const life = await live(context, '/bin/echo', args, { cwd: '/usr' });
  const clone = only(life.clones, 'clone');
  const exit = only(life.exits, 'exit');
  const exec = only(life.execs, 'exec');

  assert.equal(exec.binary, '/usr/bin/echo');
  assert.equal(exec.arguments, args.join('\0'));
  assert.equal(exec.record.argumentsOriginal, args.join('\0').length + 1);
  assert.equal(exec.cwd, '/usr');
  assert.equal(exec.record.execFlags, ExecFlag.execve);
  assert.equal(exec.record.flags, 0);

  const stat = statSync('/usr/bin/echo');
  assert.equal(Number(exec.record.inode), stat.ino);
  assert.equal(exec.record.links, stat.nlink);
  assert.equal(exec.record.mode, stat.mode);

  const status = readFileSync('/proc/self/status', 'latin1');
  const field = (name: string): string[] =>
    new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.split(/\s+/) ?? [];
  const { record } = exec;
  assert.deepEqual([record.uid, record.euid, record.suid, record.fsuid].map(String), field('Uid'));
  assert.deepEqual([record.gid, record.egid, record.sgid, record.fsgid].map(String), field('Gid'));
  assert.equal(record.capPermitted, BigInt(`0x${field('CapPrm')[0]}`));
  assert.equal(record.capEffective, BigInt(`0x${field('CapEff')[0]}`));
  assert.equal(record.capInheritable, BigInt(`0x${field('CapInh')[0]}`));
  assert.equal(record.auid, Number(readFileSync('/proc/self/loginuid', 'latin1')));
  assert.equal(record.securebits, 0);

  const links = {
    uts: 'uts',
    ipc: 'ipc',
    mnt: 'mnt',
    pid: 'pid',
    pidForChildren: 'pid_for_children',
    net: 'net',
    time: 'time',
    timeForChildren: 'time_for_children',
    cgroup: 'cgroup',
    user: 'user',
  } as const;
  const namespaces = Object.values(links).map((link) => inodeOf(`/proc/self/ns/${link}`));
  assert.deepEqual([...record.namespaces], namespaces);
  assert.deepEqual([...clone.record.namespaces], namespaces);
  assert.equal(Object.keys(links).length, Object.keys(NamespaceKind).length);

  const group = readFileSync('/proc/self/cgroup', 'latin1')
    .split('\n')
    .find((line) => line.startsWith('0::'))
    ?.slice(3);
  assert.equal(exec.cgroupName, group?.split('/').at(-1));
  assert.equal(clone.cgroupName, exec.cgroupName);
  assert.equal(exit.record.cgroupId, record.cgroupId);

  for (const { record: told } of [clone, exec]) {
    assert.equal(told.parentPid, process.pid);
    assert.equal(told.namespacePid, life.pid);
  }
  for (const { record: told } of [clone, exec, exit]) {
    assert.equal(told.tid, life.pid);
    assert.equal(told.startNs, clone.record.startNs);
    assert.ok(told.startNs <= told.timeNs);
  }
  assert.equal(record.parentStartNs, clone.record.parentStartNs);
  assert.ok(clone.record.timeNs <= record.timeNs && record.timeNs <= exit.record.timeNs);
  assert.deepEqual([exit.record.status, exit.record.signal], [0, 0]);
  // Each says of which program it tells.
  assert.equal(clone.record.execNs, clone.record.startNs);
  assert.equal(record.execNs, record.timeNs);
  assert.equal(exit.record.execNs, record.timeNs);

  const payload = exec.binary.length + exec.arguments.length + exec.cwd.length + exec.cgroupName.length;
  assert.equal(record.size, (EXEC_RECORD_BYTES + payload + 7) & ~7, 'nothing but what is used');
}

async function tellsBytes(context: CheckContext): Promise<void> {
  // sh writes the bytes: arguments of node's spawn are UTF-8.
  const life = await live(context, '/bin/sh', [
    '-c',
    `exec /bin/echo "$(printf 'a\\377\\nb')" "$(printf '\\302\\033')"`,
  ]);
  const exec = life.execs.at(-1);
  assert.equal(exec?.binary, '/usr/bin/echo');
  assert.equal(exec.arguments, 'a\xff\nb\0\xc2\x1b');
}

async function tellsNoArguments(context: CheckContext): Promise<void> {
  const none = only((await live(context, '/bin/true', [])).execs, 'exec');
  assert.deepEqual([none.arguments, none.record.argumentsOriginal], ['', 0]);
  const empty = only((await live(context, '/bin/true', [''])).execs, 'exec');
  assert.deepEqual([empty.arguments, empty.record.argumentsOriginal], ['', 1]);
}

async function cutsArguments(context: CheckContext): Promise<void> {
  const most = 'm'.repeat(limits.arguments_bytes - 1);
  const whole = only((await live(context, '/bin/true', [most])).execs, 'exec');
  assert.equal(whole.arguments, most);
  assert.equal(has(whole.record.execFlags, 'truncatedArguments'), false);

  const before = context.sensor.counter('truncatedArgument');
  const one = 'x'.repeat(limits.arguments_bytes);
  const cut = only((await live(context, '/bin/true', [one])).execs, 'exec');
  assert.equal(cut.arguments, one);
  assert.equal(cut.record.argumentsOriginal, one.length + 1);
  assert.equal(has(cut.record.execFlags, 'truncatedArguments'), true);
  assert.equal(cut.record.flags & RecordFlag.truncated, RecordFlag.truncated);

  const many = Array.from({ length: 3000 }, (_, index) => `argument ${index}`);
  const text = many.join('\0');
  const far = only((await live(context, '/bin/true', many)).execs, 'exec');
  assert.equal(far.arguments, text.slice(0, limits.arguments_bytes));
  assert.equal(far.record.argumentsOriginal, text.length + 1);
  assert.ok(context.sensor.counter('truncatedArgument') >= before + 2n);
}

async function passesOverLongNames(context: CheckContext): Promise<void> {
  for (const bytes of [0, 1, 4094, 4095, 4096, 8190, 8191, 100_000]) {
    const life = await live(context, context.program, ['long-name', String(bytes), 'last']);
    assert.equal(life.execs.length, 2);
    assert.equal(life.execs[1]?.arguments, 'exit\0' + '0\0last', `argv[0] of ${bytes} bytes`);
  }
}

async function tellsDeletedBinaries(context: CheckContext): Promise<void> {
  const copy = join(context.folder, 'copy');
  copyFileSync('/bin/true', copy);
  chmodSync(copy, 0o755);
  const exec = (await live(context, context.program, ['deleted', copy, 'gone'])).execs.at(-1);
  assert.equal(exec?.binary, `${copy} (deleted)`);
  assert.equal(exec.arguments, 'gone');
  assert.equal(exec.record.links, 0);
  assert.equal(has(exec.record.execFlags, 'unlinked'), true);
  assert.equal(has(exec.record.execFlags, 'memfd'), false);
}

async function tellsMemoryFiles(context: CheckContext): Promise<void> {
  const exec = (await live(context, context.program, ['memfd', '/bin/true', 'hidden'])).execs.at(-1);
  assert.equal(exec?.binary, '/memfd:weir-test (deleted)');
  assert.equal(exec.arguments, 'hidden');
  assert.equal(exec.record.links, 0);
  assert.equal(has(exec.record.execFlags, 'unlinked'), true);
  assert.equal(has(exec.record.execFlags, 'memfd'), true);
}

async function tellsScripts(context: CheckContext): Promise<void> {
  const script = join(context.folder, 'script');
  writeFileSync(script, '#!/bin/sh -e\nexit 4\n', { mode: 0o755 });
  const life = await live(context, script, ['given']);
  const exec = only(life.execs, 'exec');
  assert.match(exec.binary, /^\/usr\/bin\/(dash|bash|busybox)$/);
  assert.equal(exec.arguments, ['-e', script, 'given'].join('\0'));
  assert.equal(only(life.exits, 'exit').record.status, 4);
}

async function tellsWorkingDirectories(context: CheckContext): Promise<void> {
  const root = only((await live(context, '/bin/true', [], { cwd: '/' })).execs, 'exec');
  assert.equal(root.cwd, '/');
  assert.equal(has(root.record.execFlags, 'rootcwd'), true);

  const gone = join(context.folder, 'gone');
  mkdirSync(gone);
  const life = await live(context, '/bin/sh', ['-c', 'rmdir "$PWD"; exec /bin/true'], { cwd: gone });
  assert.equal(life.execs.at(-1)?.cwd, `${gone} (deleted)`);

  // Across two mounts.
  const proc = only((await live(context, '/bin/true', [], { cwd: '/proc/sys/kernel' })).execs, 'exec');
  assert.equal(proc.cwd, '/proc/sys/kernel');

  const name = `/${'d'.repeat(250)}`;
  const deepMost = Math.floor((limits.path_bytes - 1 - context.folder.length) / name.length);
  for (const folders of [deepMost, deepMost + 1]) {
    const before = context.sensor.counter('truncatedPath');
    const args = ['deep', String(folders), '/bin/true'];
    const exec = (await live(context, context.program, args, { cwd: context.folder })).execs.at(-1);
    assert.ok(exec !== undefined);
    const cut = folders > deepMost;
    // What does not fit is the front, by whole names.
    assert.equal(exec.cwd, cut ? name.repeat(16) : context.folder + name.repeat(folders));
    assert.equal(has(exec.record.execFlags, 'truncatedCwd'), cut);
    assert.equal(exec.record.flags, cut ? RecordFlag.truncated : 0);
    assert.equal(context.sensor.counter('truncatedPath') > before, cut);
    // Node's rmSync names whole paths, which are too long here.
    await context.run('rm', ['-rf', join(context.folder, name)]);
  }
}

async function tellsEnds(context: CheckContext): Promise<void> {
  for (const code of [0, 1, 127, 255]) {
    const exit = only((await live(context, context.program, ['exit', String(code)])).exits, 'exit');
    assert.deepEqual([exit.record.status, exit.record.signal], [code, 0]);
  }
  // SIGABRT and SIGSEGV would leave a core behind where cores are wanted: its bit is no part of the number.
  for (const name of ['SIGTERM', 'SIGKILL', 'SIGSEGV'] as const) {
    const life = await live(context, context.program, ['signal', String(constants.signals[name])]);
    const exit = only(life.exits, 'exit');
    assert.deepEqual([exit.record.status, exit.record.signal], [0, constants.signals[name]]);
    assert.equal(life.result.signal, name);
  }
}

async function tellsThreads(context: CheckContext): Promise<void> {
  const exits = only((await live(context, context.program, ['thread-exit', '42'])).exits, 'exit');
  assert.equal(exits.record.status, 42);

  const leader = await live(context, context.program, ['leader-first', '3']);
  const last = only(leader.exits, 'exit');
  // The last thread's code from 5.19 on, the leader's before.
  assert.equal(last.record.status, leader.result.code);
  assert.notEqual(last.record.tid, last.record.pid);

  const life = await live(context, context.program, ['thread-exec', '/bin/echo', 'by a thread']);
  only(life.exits, 'exit');
  only(life.clones, 'clone');
  assert.equal(life.execs.length, 2);
  const [first, second] = life.execs;
  assert.equal(second?.binary, '/usr/bin/echo');
  assert.equal(second.arguments, 'by a thread');
  assert.equal(second.record.tid, life.pid, 'the thread has become the leader');
  assert.equal(second.record.startNs, first?.record.startNs);
}

async function tellsRacesOnce(context: CheckContext): Promise<void> {
  const rounds = 100;
  const { sensor } = context;
  sensor.clear();
  const parent = await live(
    context,
    context.program,
    ['thread-race', '8', String(rounds), join(context.folder, 'race')],
    {
      timeoutMs: 60_000,
    },
  );
  const children = sensor
    .records()
    .filter((event) => event.kind === 'clone' && event.record.parentPid === parent.pid)
    .map((event) => `${event.record.pid} ${event.record.startNs}`);
  assert.equal(children.length, rounds);
  const ends = sensor
    .records()
    .filter((event) => event.kind === 'exit')
    .map((event) => `${event.record.pid} ${event.record.startNs}`)
    .filter((id) => children.includes(id));
  assert.deepEqual(ends.sort(), [...children].sort(), 'each ends once');
}

async function tellsChangedRoots(context: CheckContext): Promise<void> {
  const root = join(context.folder, 'root');
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync(context.program, join(root, 'bin/inside'));
  chmodSync(join(root, 'bin/inside'), 0o755);
  const life = await live(context, context.program, ['chroot', root, '/bin/inside', 'exit', '5']);
  const exec = life.execs.at(-1);
  assert.equal(exec?.binary, '/bin/inside');
  assert.equal(exec.cwd, '/');
  assert.equal(has(exec.record.execFlags, 'rootcwd'), true);
  assert.equal(only(life.exits, 'exit').record.status, 5);
}

async function tellsPidNamespaces(context: CheckContext): Promise<void> {
  const parent = await live(context, context.program, ['pidns', '/bin/true']);
  const child = await childOf(context, parent);
  const exec = only(child.execs, 'exec');
  const own = inodeOf('/proc/self/ns/pid');
  const pids = NamespaceKind.pid;
  assert.equal(exec.record.namespacePid, 1);
  assert.equal(only(child.clones, 'clone').record.namespacePid, 1);
  assert.notEqual(exec.record.namespaces[pids], own);
  assert.equal(exec.record.namespaces[NamespaceKind.pidForChildren], exec.record.namespaces[pids]);
  assert.equal(exec.record.parentPid, parent.pid);
  assert.equal(exec.record.parentStartNs, parent.execs[0]?.record.startNs);
}

async function tellsUsers(context: CheckContext): Promise<void> {
  const other = (await live(context, context.program, ['uid', '1000', '1001', '/bin/true'])).execs.at(-1);
  assert.ok(other !== undefined);
  assert.deepEqual([other.record.uid, other.record.euid, other.record.gid], [1000, 1000, 1001]);
  assert.deepEqual([other.record.capPermitted, other.record.capEffective], [0n, 0n]);
  assert.equal(other.record.execFlags & (ExecFlag.setuid | ExecFlag.setgid | ExecFlag.fileCapabilities), 0);
}

async function accountsForStorms(context: CheckContext): Promise<void> {
  const count = 2000;
  const { sensor } = context;
  sensor.clear();
  const args = ['storm', String(count), context.program, 'exit', '0'];
  const parent = await live(context, context.program, args, { timeoutMs: 110_000 });
  const children = new Set(
    sensor
      .records()
      .filter((event) => event.kind === 'clone' && event.record.parentPid === parent.pid)
      .map((event) => event.record.pid),
  );
  const told = sensor.records().filter((event) => children.has(event.record.pid));
  const lost = sensor.counter('ringFull') + sensor.counter('scratchBusy');
  const kinds = (['clone', 'exec', 'exit'] as const).map(
    (kind) => told.filter((event) => event.kind === kind).length,
  );
  if (lost === 0n) assert.deepEqual(kinds, [count, count, count]);
  const { read, missing } = sensor.account();
  assert.ok(missing <= sensor.counter('ringFull'), 'each gap is counted');
  assert.ok(read + missing <= sensor.counter('produced'));
}

/** With a ring that is far too small and nobody reading: what was lost is counted, and shows as gaps. */
async function countsWhatTheRingCannotTake(context: CheckContext): Promise<void> {
  const small = new ProcessSensor({ ringBytes: 16 * 1024 });
  try {
    const args = ['storm', '200', context.program, 'exit', '0'];
    await context.run(context.program, args, { timeoutMs: 60_000 });
    small.records();
    const lost = small.counter('ringFull');
    assert.ok(lost > 400n, `${lost} lost`);
    // The ring has room again: a later record shows the gap.
    await context.run('/bin/true');
    small.detach();
    small.records();
    const { read, missing } = small.account();
    assert.equal(read + small.counter('ringFull'), small.counter('produced'));
    // Of a CPU whose last record was lost, the sequence does not show it; the counters do.
    assert.ok(missing > 0n && missing <= small.counter('ringFull'), `${missing} missing`);
    const kinds =
      small.counter('producedExec') + small.counter('producedClone') + small.counter('producedExit');
    assert.equal(kinds, small.counter('produced'));
  } finally {
    small.close();
  }
}

/** In the order in which they are run. */
export const processChecks: readonly Check[] = [
  { name: 'tells of the life of a process, and emits only what is used', body: tellsALife },
  { name: 'gives arguments back byte for byte', body: tellsBytes },
  { name: 'tells no arguments from one that is empty', body: tellsNoArguments },
  { name: 'cuts arguments off at 4 KiB, says so, and counts it', body: cutsArguments },
  { name: 'passes over an argv[0] of any length', body: passesOverLongNames },
  { name: 'tells of a binary that was deleted', body: tellsDeletedBinaries },
  { name: 'tells of a binary in memory', body: tellsMemoryFiles },
  { name: 'tells the interpreter of a script and its arguments', body: tellsScripts },
  {
    name: 'tells working directories: root, deleted, below mounts, deep, too deep',
    body: tellsWorkingDirectories,
  },
  { name: 'tells exit codes and signals', body: tellsEnds },
  { name: 'tells one end where threads end in many ways, and an exec by a thread', body: tellsThreads },
  { name: 'tells one end of processes whose threads race to it', body: tellsRacesOnce },
  { name: 'ends paths at a changed root', body: tellsChangedRoots },
  { name: 'tells the process id in a pid namespace', body: tellsPidNamespaces },
  { name: 'tells of an ordinary user', body: tellsUsers },
  { name: 'accounts for each record of a storm of vfork and exec', body: accountsForStorms },
  { name: 'counts what a full ring cannot take, and leaves a gap', body: countsWhatTheRingCannotTake },
];
