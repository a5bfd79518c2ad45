// SPDX-License-Identifier: Apache-2.0
// Tracepoints: raw ones by the values that they are called with, others by the fields of their records; numbers, texts
// in the record and beside it, arguments and results of system calls, calls by their number. Each with what matches and
// what does not.

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EventKind } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

type Part = Readonly<Record<string, unknown>>;

function tracepoint(
  name: string,
  place: string,
  args: readonly Part[],
  selectors: readonly Part[],
  more: Part = {},
) {
  const [subsystem, event] = place.split(':');
  return policyWith(name, { tracepoints: [{ subsystem, event, args, selectors, ...more }] });
}

const when = (index: number, operator: string, ...values: string[]) => ({ index, operator, values });

/** What is told apart in an event. */
function shown(events: readonly HookEvent[]) {
  return events.map(({ policy, args }) => [
    policy,
    ...args.map(({ text, value }) => (text === '' ? BigInt.asIntN(64, value) : text)),
  ]);
}

export default scenario(
  'tracepoints give their fields, and selectors hold to them',
  { timeoutMs: 120_000 },
  async ({ folder, run, log }) => {
    await withHooks(async (hooks) => {
      const startMs = performance.now();
      const program = join(folder, 'nothing-but-this');
      const other = join(folder, 'something-else');
      for (const path of [program, other]) copyFileSync('/weir/bin/calls', path);
      writeFileSync(join(folder, 'named'), '');
      const calls = (...lines: readonly (readonly (string | number)[])[]) =>
        run('calls', [], { input: lines.map((line) => `${line.join('\t')}\n`).join('') });

      await hooks.apply(
        tracepoint(
          'raw',
          'sched:sched_process_exec',
          [{ index: 2, type: 'linux_binprm' }],
          [{ matchArgs: [when(2, 'Equal', program)] }],
          { raw: true, message: 'it runs', tags: ['exec'] },
        ),
        tracepoint(
          'record',
          'sched:sched_process_exec',
          [
            { index: 4, type: 'string', label: 'path' },
            { index: 5, type: 'int' },
          ],
          [{ matchArgs: [when(4, 'Postfix', 'nothing-but-this')] }],
        ),
        tracepoint(
          'not-this',
          'sched:sched_process_exec',
          [{ index: 4, type: 'data_loc' }],
          [{ matchArgs: [when(4, 'Prefix', folder), when(4, 'NotEqual', program)] }],
        ),
      );
      hooks.events();
      await calls(['exec', program], ['exec', other]);
      const executed = hooks.events();
      assert.deepEqual(shown(executed), [
        ['raw', program],
        ['record', program, BigInt(executed[0]?.pid ?? 0)],
        ['not-this', other],
      ]);
      assert.ok(executed.every(({ kind }) => kind === EventKind.tracepoint));
      assert.deepEqual(hooks.set.binding(1)?.subsystem, 'sched');
      assert.deepEqual([...new Set(executed.map(({ symbol }) => symbol))], ['sched_process_exec']);

      // System calls: arguments in registers, results, a path in the caller's memory, a descriptor.
      await hooks.apply(
        tracepoint(
          'enter',
          'syscalls:sys_enter_prctl',
          [
            { index: 5, type: 'int' },
            { index: 6, type: 'int64' },
          ],
          [{ matchArgs: [when(5, 'Equal', '-7'), when(6, 'InRange', '-3:5')] }],
        ),
        tracepoint(
          'exit',
          'syscalls:sys_exit_lseek',
          [{ index: 5, type: 'int64' }],
          [{ matchArgs: [when(5, 'Equal', '-9', '-29')] }],
        ),
        tracepoint(
          'open',
          'syscalls:sys_enter_openat',
          [{ index: 6, type: 'string' }, { index: 7 }],
          [{ matchArgs: [when(6, 'Equal', join(folder, 'named'))] }],
        ),
        tracepoint(
          'close',
          'syscalls:sys_enter_close',
          [{ index: 5, type: 'fd' }],
          [{ matchArgs: [when(5, 'Postfix', '/named')] }],
        ),
        // Characters that lie in the record itself, up to the end of the field.
        tracepoint(
          'rename',
          'task:task_rename',
          [{ index: 5, type: 'string' }, { index: 6 }],
          [{ matchArgs: [when(5, 'Equal', 'calls')] }],
        ),
      );
      hooks.events();
      const made = await calls(
        ['prctl', -7, -4, 0, 0, 0],
        ['prctl', -7, -3, 0, 0, 0],
        ['prctl', -8, -3, 0, 0, 0],
        ['prctl', -7, 5, 0, 0, 0],
        ['lseek', 999, 0, 0],
        ['lseek', 0, 0, 77],
        ['openat', -100, join(folder, 'named'), 0],
        ['openat', -100, join(folder, 'nothing-but-this'), 0],
        ['exec', program],
      );
      assert.equal(made.code, 0, made.stderr);
      const bySystemCall = hooks.events();
      assert.deepEqual(shown(bySystemCall), [
        ['enter', -7n, -3n],
        ['enter', -7n, 5n],
        ['exit', -9n],
        ['open', join(folder, 'named'), 0n],
        ['close', join(folder, 'named')],
        ['rename', 'calls', 'nothing-but-this'.slice(0, 15)],
      ]);
      // Calls by their number, from a list; a scope of the process; who is killed.
      const enter = (name: string, selector: Part, lists: readonly Part[] = []) =>
        policyWith(name, {
          lists: lists as object[],
          tracepoints: [
            {
              subsystem: 'raw_syscalls',
              event: 'sys_enter',
              args: [{ index: 4, type: 'syscall64' }],
              selectors: [selector],
            },
          ],
        });
      const binary = { matchBinaries: [{ operator: 'In', values: [program] }] };
      await hooks.apply(
        enter('listed', { ...binary, matchArgs: [when(4, 'InMap', 'list:some')] }, [
          { name: 'some', type: 'syscalls', values: ['sys_unshare', 'sys_prctl'] },
        ]),
        enter('named', { ...binary, matchArgs: [when(4, 'Equal', 'sys_lseek')] }),
        enter('out-of-scope', {
          matchBinaries: [{ operator: 'In', values: [other] }],
          matchArgs: [when(4, 'Equal', 'prctl')],
        }),
      );
      hooks.events();
      await run(program, [], { input: 'prctl\t-7\t1\nlseek\t999\t0\t0\ndup\t/nowhere\nunshare\t0\n' });
      assert.deepEqual(shown(hooks.events()), [
        ['listed', 157n],
        ['named', 8n],
        ['listed', 272n],
      ]);

      await hooks.apply(
        tracepoint(
          'kill',
          'syscalls:sys_enter_prctl',
          [{ index: 5, type: 'int' }],
          [{ matchArgs: [when(5, 'Equal', '-11')], matchActions: [{ action: 'Sigkill' }] }],
        ),
        tracepoint(
          'kill-executed',
          'sched:sched_process_exec',
          [{ index: 4, type: 'string' }],
          [{ matchArgs: [when(4, 'Equal', other)], matchActions: [{ action: 'Signal', argSig: 9 }] }],
        ),
      );
      hooks.events();
      assert.equal((await calls(['prctl', -7, 0])).code, 0);
      assert.equal((await calls(['prctl', -11, 0])).signal, 'SIGKILL');
      assert.equal((await run(program, ['nothing'])).code, 0);
      assert.equal((await run(other, ['nothing'])).signal, 'SIGKILL');
      assert.deepEqual(
        hooks.events().map(({ policy, action, signal }) => [policy, action, signal]),
        [
          ['kill', 'sigkill', 9],
          ['kill-executed', 'sigkill', 9],
        ],
      );
      assert.equal(hooks.counter('enforceFailed'), 0n);
      assert.equal(hooks.counter('undecided'), 0n);

      const refused = async (place: string, args: readonly Part[], more: Part = {}) =>
        (await hooks.tryApply(tracepoint('refused', place, args, [], more)))[0]?.reason ?? '';
      assert.match(await refused('sched:no_such_event', []), /no tracepoint sched:no_such_event/);
      assert.match(
        await refused('sched:sched_process_exec', [{ index: 9, type: 'int' }]),
        /no field 9 on this kernel; it has 4 __data_loc char\[\] filename, 5 pid_t pid/,
      );
      assert.match(await refused('sched:sched_process_exec', [{ index: 4, type: 'int' }]), /holds text/);
      assert.match(
        await refused('sched:sched_process_exec', [{ index: 5, type: 'string' }]),
        /field 5 \(pid_t pid\) is a number/,
      );
      assert.match(
        await refused('sched:sched_process_exec', [{ index: 3, type: 'linux_binprm' }], { raw: true }),
        /has no value 3 on this kernel; it has 0 struct task_struct \*/,
      );
      log(`all in ${(performance.now() - startMs).toFixed(0)} ms`);
    });
  },
);
