// SPDX-License-Identifier: Apache-2.0
// Fields of arguments and of the current task, found by the types of the kernel: read, shown, matched, and refused where
// the kernel has none of that name.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ArgumentFlag, ArgumentType } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

const AT_FDCWD = -100;
const OPENAT2 = 437;
const O_CREAT = 0o100;
const program = '/weir/bin/syscalls';

const values = (event: HookEvent | undefined) =>
  (event?.args ?? []).map(({ type, value, text }) =>
    type === ArgumentType.string || type === ArgumentType.path || type === ArgumentType.file ? text : value,
  );

export default scenario(
  'hooks read and match fields of arguments and of the task',
  { timeoutMs: 120_000 },
  async ({ folder, run }) => {
    const own = readFileSync('/proc/self/comm', 'utf8').trim();
    const openFiles = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? '';
    const opens = (flags: number) => {
      const how = Buffer.alloc(24);
      how.writeBigUInt64LE(BigInt(flags));
      if (flags & O_CREAT) how.writeBigUInt64LE(0o600n, 8);
      const path = join(folder, `made-${flags}`);
      return run(program, [], {
        input: `${OPENAT2}\t${AT_FDCWD}\t"${path}\t&0:${how.toString('hex')}\t24\n`,
      });
    };

    await withHooks(async (hooks) => {
      // What is executed, by whom, with how many arguments.
      const exec = (name: string, selectors: readonly object[]) => ({
        call: 'security_bprm_check',
        syscall: false,
        message: name,
        args: [
          { index: 0, type: 'string', resolve: 'mm.owner.real_parent.comm', label: 'parent' },
          { index: 0, type: 'file', resolve: 'file' },
          { index: 0, type: 'path', resolve: 'file.f_path' },
          { index: 0, type: 'string', resolve: 'filename' },
          { index: 0, resolve: 'argc' },
        ],
        data: [{ type: 'uint8', source: 'current_task', resolve: 'sched_reset_on_fork' }],
        selectors,
      });
      await hooks.apply(
        policyWith('three', {
          kprobes: [
            exec('three', [
              {
                matchArgs: [
                  { args: [4], operator: 'Equal', values: ['3'] },
                  { args: [1], operator: 'Equal', values: [program] },
                  { args: [0], operator: 'Prefix', values: [own.slice(0, 3)] },
                ],
                matchData: [{ index: 0, operator: 'Equal', values: ['1'] }],
              },
            ]),
          ],
        }),
        policyWith('four', {
          kprobes: [
            exec('four', [
              {
                matchArgs: [
                  { args: [4], operator: 'Equal', values: ['4'] },
                  { args: [2], operator: 'Equal', values: [program] },
                ],
              },
            ]),
          ],
        }),
        policyWith('nobody', {
          kprobes: [exec('nobody', [{ matchArgs: [{ args: [0], operator: 'Equal', values: ['nobody'] }] }])],
        }),
      );
      hooks.events();
      // By chrt, which sets the one bit that is asked for, and goes on as the program.
      const reset = await run('/usr/bin/chrt', ['-R', '-r', '1', program, 'a', 'b']);
      assert.equal(reset.code, 0, reset.stderr);
      await run(program, ['a', 'b']);
      await run(program, ['a', 'b', 'c']);
      await run(program, ['a']);
      const executed = hooks.events();
      assert.deepEqual(
        executed.map(({ policy }) => policy),
        ['three', 'four'],
      );
      assert.deepEqual(values(executed[0]), [own, program, program, program, 3n, 1n]);
      assert.deepEqual(executed[0]?.args[4]?.type, ArgumentType.int32);
      assert.equal(executed[0]?.dataCount, 1);
      assert.deepEqual(
        executed.map(({ undecided }) => undecided),
        [0, 0],
      );

      // What a system call's argument points to in the caller's memory; fields of the task beside it.
      const flags = { index: 2, type: 'uint64', btfType: 'open_how', resolve: 'flags' };
      const task = (resolve: string, type?: string) => ({
        ...(type === undefined ? {} : { type }),
        source: 'current_task',
        resolve,
      });
      const open = (
        matchData: readonly object[],
        matchArgs: readonly object[],
        actions: readonly object[] = [],
      ) => ({
        call: 'sys_openat2',
        args: [flags],
        data: [
          task('comm', 'string'),
          task('nsproxy.uts_ns.name.nodename'),
          task('signal.rlim[7].rlim_cur'),
          task('sched_reset_on_fork', 'uint32'),
          task('fs.pwd', 'path'),
        ],
        selectors: [
          {
            matchBinaries: [{ operator: 'In', values: [program] }],
            matchArgs,
            matchData,
            ...(actions.length > 0 ? { matchActions: actions } : {}),
          },
        ],
      });
      const creates = { index: 2, operator: 'Mask', values: [String(O_CREAT)] };
      await hooks.apply(
        policyWith('creates', {
          kprobes: [open([{ index: 1, operator: 'Equal', values: [hostname()] }], [creates])],
        }),
        policyWith('elsewhere', {
          kprobes: [open([{ index: 1, operator: 'NotEqual', values: [hostname()] }], [creates])],
        }),
        policyWith('deep', {
          kprobes: [open([{ index: 2, operator: 'InRange', values: [`${openFiles}:${openFiles}`] }], [])],
        }),
      );
      hooks.events();
      await opens(0);
      await opens(O_CREAT);
      const opened = hooks.events();
      assert.deepEqual(
        opened.map(({ policy, args }) => [policy, args[0]?.value]),
        [
          ['deep', 0n],
          ['creates', BigInt(O_CREAT)],
          ['deep', BigInt(O_CREAT)],
        ],
      );
      assert.deepEqual(values(opened[1]).slice(1), [
        'syscalls',
        hostname(),
        BigInt(openFiles),
        0n,
        process.cwd(),
      ]);
      assert.equal(opened[1]?.dataCount, 5);

      // Enforced by a field: the one call is denied, the other is not.
      await hooks.apply(
        policyWith('deny', { kprobes: [open([], [creates], [{ action: 'Override', argError: -13 }])] }),
      );
      assert.equal((await opens(O_CREAT)).stdout, '-13\n');
      assert.notEqual((await opens(0)).stdout, '-13\n');

      // A pointer that is NULL on the way: nothing to match, said so, counted.
      const undecided = hooks.counter('undecided');
      const plug = { ...open([], []), data: [task('plug.nr_ios', 'uint16')] };
      await hooks.apply(
        policyWith('shown', { kprobes: [plug] }),
        policyWith('asked', {
          kprobes: [
            {
              ...plug,
              selectors: [
                {
                  matchBinaries: [{ operator: 'In', values: [program] }],
                  matchData: [{ index: 0, operator: 'NotEqual', values: ['7'] }],
                },
              ],
            },
          ],
        }),
      );
      hooks.events();
      await opens(0);
      const shown = hooks.events();
      assert.deepEqual(
        shown.map(({ policy, args }) => [policy, (args[1]?.flags ?? 0) & ArgumentFlag.unreadable]),
        [['shown', ArgumentFlag.unreadable]],
      );
      assert.ok(hooks.counter('undecided') > undecided);

      // Types that the kernel tells.
      await hooks.apply(
        policyWith('auto', {
          lsmhooks: [
            {
              hook: 'file_open',
              args: [{ index: 0 }, { index: 0, resolve: 'f_inode.i_size' }],
              selectors: [
                {
                  matchBinaries: [{ operator: 'In', values: ['/usr/bin/cat'] }],
                  matchArgs: [
                    { args: [0], operator: 'Equal', values: ['/etc/hostname'] },
                    { args: [1], operator: 'GT', values: ['0'] },
                  ],
                },
              ],
            },
          ],
        }),
      );
      hooks.events();
      const { stdout } = await run('/usr/bin/cat', ['/etc/hostname']);
      await run('/usr/bin/cat', ['/etc/passwd']);
      assert.deepEqual(
        hooks.events().map((event) => [event.policy, ...values(event)]),
        [['auto', '/etc/hostname', BigInt(stdout.length)]],
      );

      // What the kernel has not is refused by the field, with what is near; the former policy stays in force.
      const [refused] = await hooks.tryApply(
        policyWith('auto', {
          kprobes: [
            {
              call: 'security_bprm_check',
              syscall: false,
              args: [{ index: 0, type: 'string', resolve: 'mm.owner.com' }],
            },
          ],
        }),
      );
      assert.equal(refused?.state, 'refused');
      assert.equal(refused?.formerInForce, true);
      assert.match(
        refused?.reason ?? '',
        /spec\.kprobes\[0\]\.args\[0\]\.resolve: mm\.owner\.com cannot be found: mm\.owner is struct task_struct, which has no member com: nearest of its \d+ members: comm/,
      );
    });
  },
);
