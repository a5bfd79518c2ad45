// SPDX-License-Identifier: Apache-2.0
// What tracepoints and programs point to: fields by the types of the kernel, buffers, registers, fields of the task
// beside them, and types that are left open and asked for all the same.

import assert from 'node:assert/strict';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ArgumentType } from '@weir/schema';
import { type HookEvent, policyWith, withHooks } from '../guest/hooks.js';
import { scenario } from '../scenario.js';

type Part = Readonly<Record<string, unknown>>;

const program = '/weir/bin/user';
const AT_FDCWD = -100;
const OPENAT2 = 437;
const O_DIRECTORY = 0o200000;

const tracepoint = (name: string, place: string, args: readonly Part[], selector: Part, more: Part = {}) => {
  const [subsystem, event] = place.split(':');
  return policyWith(name, { tracepoints: [{ subsystem, event, args, selectors: [selector], ...more }] });
};
const uprobe = (name: string, symbol: string, fields: Part) =>
  policyWith(name, { uprobes: [{ path: program, symbols: [symbol], ...fields }] });
const position = (n: number, operator: string, ...values: string[]) => ({ args: [n], operator, values });

function shown(events: readonly HookEvent[]) {
  return events.map(({ policy, args }) => [
    policy,
    ...args.map(({ type, text, value }) =>
      type >= ArgumentType.int8 && type <= ArgumentType.uint64 ? BigInt.asIntN(64, value) : text,
    ),
  ]);
}

export default scenario(
  'fields, buffers and registers are read of tracepoints and programs',
  { timeoutMs: 150_000 },
  async ({ folder, run }) => {
    await withHooks(async (hooks) => {
      const own = readFileSync('/proc/self/comm', 'utf8').trim();
      const copy = join(folder, 'copy-of-calls');
      copyFileSync('/weir/bin/calls', copy);
      const isProgram = { matchBinaries: [{ operator: 'In', values: [program] }] };
      await hooks.apply(
        // Values of a raw tracepoint: what they are the kernel's types tell, and where their fields lie.
        tracepoint(
          'raw',
          'sched:sched_process_exec',
          [
            { index: 1 },
            { index: 2, resolve: 'argc' },
            { index: 2, type: 'path', resolve: 'file.f_path' },
            { index: 0, type: 'string', source: 'current_task', resolve: 'real_parent.comm' },
          ],
          {
            matchArgs: [
              position(0, 'GT', '1'),
              position(1, 'Equal', '2'),
              position(2, 'Equal', copy),
              position(3, 'Equal', own),
            ],
          },
          { raw: true },
        ),
        // Fields of a record: a struct that its format names, one that it does not.
        tracepoint(
          'opens',
          'syscalls:sys_enter_openat2',
          [
            { index: 7, type: 'uint64', resolve: 'flags' },
            { index: 6, type: 'uint8', btfType: 'sockaddr', resolve: 'sa_data[0]' },
            { index: 0, type: 'string', source: 'current_task', resolve: 'comm' },
          ],
          {
            matchArgs: [position(0, 'Mask', String(O_DIRECTORY)), position(2, 'Equal', 'syscalls')],
          },
        ),
        // A buffer and its size; the type of a field, in a condition.
        tracepoint(
          'written',
          'syscalls:sys_enter_write',
          [{ index: 6, type: 'char_buf', sizeArgIndex: 8 }, { index: 7 }],
          { ...isProgram, matchArgs: [position(0, 'Prefix', 'secret'), position(1, 'InRange', '1:8')] },
        ),
        // In programs: bytes, their size, a field of what an argument points to, registers, the task.
        uprobe('bytes', 'user_bytes', {
          args: [
            { index: 0, type: 'char_buf', sizeArgIndex: 2 },
            { index: 2, type: 'uint64', btfType: 'iovec', resolve: 'iov_len' },
          ],
          data: [
            { type: 'string', source: 'pt_regs', resolve: 'rdi' },
            { type: 'uint8', source: 'pt_regs', resolve: 'sil' },
            { type: 'string', source: 'current_task', resolve: 'comm' },
          ],
          selectors: [
            {
              matchArgs: [position(0, 'Equal', 'bytes of it')],
              matchData: [
                { index: 0, operator: 'Prefix', values: ['bytes'] },
                { index: 1, operator: 'Equal', values: ['11'] },
              ],
            },
          ],
        }),
        uprobe('not-these', 'user_bytes', {
          args: [{ index: 2, type: 'uint64', btfType: 'iovec', resolve: 'iov_len' }],
          selectors: [{ matchArgs: [{ index: 2, operator: 'NotEqual', values: ['11'] }] }],
        }),
        policyWith('marker', {
          usdts: [
            {
              path: program,
              provider: 'weir',
              name: 'constant',
              args: [
                { index: 1, type: 'uint32' },
                { index: 0, type: 'int64', source: 'pt_regs', resolve: 'rip' },
              ],
              selectors: [{ matchArgs: [position(1, 'GT', '4096')] }],
            },
          ],
        }),
      );
      hooks.events();
      const input = (lines: readonly (readonly (string | number)[])[]) => ({
        input: lines.map((line) => `${line.join('\t')}\n`).join(''),
      });
      await run(copy, ['only'], input([]));
      await run(copy, ['two', 'more'], input([]));
      const how = (flags: number) => {
        const bytes = Buffer.alloc(24);
        bytes.writeBigUInt64LE(BigInt(flags));
        return bytes.toString('hex');
      };
      for (const flags of [0, O_DIRECTORY])
        await run(
          '/weir/bin/syscalls',
          [],
          input([[OPENAT2, AT_FDCWD, `"${folder}`, `&0:${how(flags)}`, 24]]),
        );
      const first = hooks.events();
      const pid = first[0]?.pid ?? 0;
      assert.deepEqual(shown(first), [
        ['raw', BigInt(pid), 2n, copy, own],
        ['opens', BigInt(O_DIRECTORY), BigInt(folder.charCodeAt(2)), 'syscalls'],
      ]);
      assert.deepEqual(first[0]?.args.map(({ type }) => type).slice(0, 2), [
        ArgumentType.int32,
        ArgumentType.int32,
      ]);

      const acted = await run('user', [
        'say:secret',
        'say:other',
        'say:secret-and-more',
        'bytes:bytes of it',
      ]);
      assert.equal(acted.code, 0, acted.stderr);
      const inProgram = hooks.events();
      assert.deepEqual(shown(inProgram), [
        ['written', 'secret', 6n],
        ['bytes', 'bytes of it', 11n, 'bytes of it', 11n, 'user'],
      ]);
      assert.equal(inProgram[1]?.dataCount, 3);
      await run('user', ['bytes:others', 'mark:1:2:text']);
      const other = hooks.events();
      assert.deepEqual(
        other.map(({ policy, args }) => [policy, args[0]?.value]),
        [
          ['not-these', 6n],
          ['marker', 42n],
        ],
      );

      // What is not there is refused by its field.
      const refusals: readonly [string, RegExp][] = [
        [
          tracepoint('wrong', 'sched:sched_process_exec', [{ index: 2, resolve: 'arg' }], {}, { raw: true }),
          /args\[0\]\.resolve: arg cannot be found: .* has no member arg/,
        ],
        [
          tracepoint('wrong', 'syscalls:sys_enter_openat2', [{ index: 6, type: 'int', resolve: 'x' }], {}),
          /args\[0\]\.resolve: .*name by btfType the struct/,
        ],
        [
          tracepoint(
            'wrong',
            'syscalls:sys_enter_write',
            [{ index: 6, type: 'char_buf', sizeArgIndex: 30 }],
            {},
          ),
          /there is no field 29, which is to say how many bytes/,
        ],
        [
          uprobe('wrong', 'user_add', {
            args: [{ index: 0, type: 'int', source: 'pt_regs', resolve: 'rxx' }],
          }),
          /args\[0\]\.resolve: names no register/,
        ],
      ];
      for (const [text, reason] of refusals) {
        const [outcome] = await hooks.tryApply(text);
        assert.equal(outcome?.state, 'refused', text);
        assert.match(outcome?.reason ?? '', reason);
      }
    });
  },
);
