// SPDX-License-Identifier: Apache-2.0
// What processes descend from: binaries (followChildren) and process ids (followForks), through forks and execs, past
// the end of ancestors and the exchange of policies, and for what ran before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, withHooks } from '../guest/hooks.js';
import { compare, line, numberOf, onPrctl, seen } from '../guest/prctl-calls.js';
import { type ScenarioContext, scenario } from '../scenario.js';

/** A process that waits for a line before it calls. */
function waiting(
  program: string,
  args: readonly string[],
): { pid: number; call: (number: number) => Promise<void> } {
  const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  return {
    pid: child.pid ?? 0,
    call: async (number) => {
      child.stdin?.end(line(number));
      assert.equal(await ended, 0);
    },
  };
}

const isCalls = (pid: number) => readlinkOf(pid) === '/weir/bin/calls';

function readlinkOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}

/** The processes that a process has made, and that run. */
function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

async function descent({ run, folder, waitFor }: ScenarioContext, hooks: Hooks): Promise<void> {
  const shell = join(folder, 'shell');
  copyFileSync('/bin/sh', shell);
  // What lies behind the end of a path in the kernel's buffers is of the path before it: here of a longer one.
  const deep = join(folder, 'x'.repeat(200));
  mkdirSync(deep);
  copyFileSync('/bin/sh', join(deep, 'deep'));
  const follow = (operator: string, values: readonly string[]) => [
    { operator, values, followChildren: true },
  ];
  const before = waiting(shell, ['-c', 'true; /weir/bin/calls; true']);
  await waitFor('the child of the shell', () => childrenOf(before.pid).some(isCalls));
  const followed = waiting('/bin/sh', ['-c', 'true; /weir/bin/calls; true']);
  await waitFor('the child that is followed', () => childrenOf(followed.pid).some(isCalls));
  const first = waiting('unshare', ['--fork', '--pid', 'sh', '-c', 'true; /weir/bin/calls; true']);
  await waitFor('the first process of a namespace', () =>
    childrenOf(first.pid).some((pid) => childrenOf(pid).some(isCalls)),
  );
  const policies = [
    onPrctl('from-shell', { matchBinaries: follow('In', [shell]) }),
    onPrctl('from-suffix', { matchBinaries: follow('Postfix', ['/shell']) }),
    onPrctl('from-longer', { matchBinaries: follow('Postfix', [`x${shell}`]) }),
    onPrctl('not-from-shell', { matchBinaries: follow('NotPrefix', [shell]) }),
    onPrctl('parent-from-shell', { matchParentBinaries: follow('In', [shell]) }),
    onPrctl('of-pid', {
      matchPIDs: [{ operator: 'In', followForks: true, values: [String(followed.pid)] }],
    }),
    onPrctl('of-first', {
      matchPIDs: [{ operator: 'In', followForks: true, isNamespacePID: true, values: ['1'] }],
    }),
    onPrctl('intruder', {
      matchPIDs: [{ operator: 'NotIn', followForks: true, isNamespacePID: true, values: ['0', '1'] }],
    }),
  ];
  await hooks.apply(...policies);
  hooks.events();
  const calls = async (number: number, program: string, args: readonly string[] = [], cwd = folder) => {
    const made = await run(program, args, { input: line(number), cwd });
    assert.equal(made.code, 0, made.stderr);
  };
  // What an orphan inherited stays, also where the policies are exchanged meanwhile.
  const input = join(folder, 'orphan');
  const orphan = `while [ ! -s ${input} ]; do sleep 0.02; done; exec /weir/bin/calls <${input} >/dev/null`;
  await calls(-213, shell, ['-c', `(${orphan}) >&- 2>&- & exit 0`]);
  await before.call(-201);
  await followed.call(-202);
  await calls(-203, shell, ['-c', 'true; env /weir/bin/calls; true']);
  await calls(-204, shell, ['-c', 'exec env /weir/bin/calls']);
  await calls(-205, shell, ['-c', 'true; /bin/sh -c "true; env /weir/bin/calls; true"; true']);
  await calls(-206, shell, ['-c', 'exec /weir/bin/process thread-exec /weir/bin/calls']);
  await calls(-207, '/bin/sh', ['-c', `true; ${shell} -c true; /weir/bin/calls; true`]);
  const inside = childrenOf(first.pid)[0];
  await calls(-208, 'nsenter', ['--target', String(inside), '--pid', '/weir/bin/calls']);
  await first.call(-209);
  await calls(-210, 'unshare', ['--fork', '--pid', '/weir/bin/calls']);
  const events = [...hooks.events()];
  // The others go and come back: what followed them did not follow meanwhile.
  await hooks.apply(...policies.slice(0, 4));
  await hooks.apply(...policies);
  writeFileSync(input, line(-211));
  await waitFor('the call of the orphan', () => {
    events.push(...hooks.events());
    return events.some(({ policy, args }) => policy !== 'not-from-shell' && numberOf(args) === -211);
  });
  await calls(-212, shell, ['-c', 'true; /weir/bin/calls; true']);
  await calls(-214, join(deep, 'deep'), ['-c', `exec ${shell} -c 'true; /weir/bin/calls; true'`], deep);
  events.push(...hooks.events());
  const all = [-201, -202, -203, -204, -205, -206, -207, -208, -209, -210, -211, -212, -214];
  const fromShell = [-201, -203, -204, -205, -206, -211, -212, -214];
  compare(seen(events, all), {
    'from-shell': fromShell,
    'from-suffix': fromShell,
    'from-longer': [],
    'not-from-shell': all.filter((number) => !fromShell.includes(number)),
    'parent-from-shell': [-201, -203, -205, -211, -212, -214],
    'of-pid': [-202],
    'of-first': [-209, -210],
    intruder: [-208],
  });
  assert.equal(hooks.counter('undecided'), 0n);
}

export default scenario('hooks know what a process descends from', { timeoutMs: 120_000 }, async (ctx) => {
  await withHooks((hooks) => descent(ctx, hooks));
});
