// SPDX-License-Identifier: Apache-2.0
// Policies written as people publish them, with spellings and hooks that the examples do not have: each is loaded, a
// process does what it looks for, and another does not.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type RunResult, type ScenarioContext, scenario } from '../scenario.js';

interface Written {
  readonly name: string;
  readonly spec: Readonly<Record<string, readonly object[]>>;
  /** Does what the policy looks for; answers what came of it. */
  readonly does: () => Promise<RunResult>;
  /** Does something near it. */
  readonly other: () => Promise<RunResult>;
  /** The end of the name of the function that tells of it. */
  readonly tells: string;
  readonly isKilled?: boolean;
  /** What the one who does it prints where the policy has its way. */
  readonly prints?: string;
}

const term = (index: number, operator: string, ...values: (string | number)[]) => ({
  index,
  operator,
  values: values.map(String),
});
const int = (index: number) => ({ index, type: 'int' });

function writtenPolicies({ run, folder }: ScenarioContext): Written[] {
  const [secret, other] = ['secret', 'other'].map((name) => join(folder, name)) as [string, string];
  const shell = (command: string) => () => run('sh', ['-c', command]);
  const bash = (command: string) => () => run('bash', ['-c', command]);
  const calls =
    (...fields: (string | number)[]) =>
    () =>
      run('calls', [], { input: `${fields.join('\t')}\n` });
  const cells =
    (...fields: string[]) =>
    () =>
      run('cells', [], { input: `-\t/\t${fields.join('\t')}\n` });
  const link = (from: string, to: string) => shell(`ln -P ${from} ${to} 2>/dev/null; echo $?`);
  return [
    {
      name: 'hard-links',
      spec: {
        kprobes: [
          {
            call: 'sys_linkat',
            syscall: true,
            args: [int(0), { index: 1, type: 'string' }, int(2), { index: 3, type: 'string' }, int(4)],
            selectors: [
              {
                matchArgs: [term(1, 'Equal', `${secret}\0`)],
                matchActions: [{ action: 'Override', argError: -1 }],
              },
            ],
          },
        ],
      },
      does: link(secret, join(folder, 'linked')),
      other: link(other, join(folder, 'another')),
      tells: 'sys_linkat',
      prints: '1\n',
    },
    {
      name: 'faults',
      spec: {
        kprobes: [
          { call: 'force_sig_fault', args: [int(0)], selectors: [{ matchArgs: [term(0, 'Equal', 11)] }] },
        ],
      },
      does: bash('ulimit -s 256; deeper() { deeper; }; deeper'),
      other: () => run('true'),
      tells: 'force_sig_fault',
    },
    {
      name: 'calls-by-either-abi',
      spec: {
        lists: [{ name: 'ids', type: 'syscalls', values: ['x64/sys_getpgid', 'i386/sys_getpgid'] }],
        kprobes: [{ call: 'list:ids', args: [int(0)], selectors: [{ matchArgs: [term(0, 'Equal', 77)] }] }],
      },
      does: calls('compat', 132, 77),
      other: calls('compat', 132, 78),
      tells: '__ia32_sys_getpgid',
    },
    {
      name: 'numbers-of-calls',
      spec: {
        lists: [{ name: 'links', type: 'syscalls', values: ['sys_symlink', 'sys_symlinkat'] }],
        tracepoints: [
          {
            subsystem: 'raw_syscalls',
            event: 'sys_enter',
            args: [{ index: 4, type: 'uint64' }],
            selectors: [{ matchArgs: [term(4, 'InMap', 'list:links')] }],
          },
        ],
      },
      does: shell(`ln -s nowhere ${folder}/soft`),
      other: shell('true'),
      tells: 'sys_enter',
    },
    {
      name: 'what-is-read',
      spec: {
        kprobes: [
          {
            call: 'sys_read',
            syscall: true,
            args: [
              { index: 0, type: 'fd' },
              { index: 1, type: 'char_buf', returnCopy: true },
              { index: 2, type: 'size_t' },
            ],
            selectors: [{ matchArgs: [term(0, 'Postfix', '/secret'), term(1, 'Prefix', 'the secret')] }],
          },
        ],
      },
      does: () => run('cat', [secret]),
      other: () => run('cat', [other]),
      tells: 'sys_read',
    },
    {
      name: 'links-followed',
      spec: {
        kprobes: [
          {
            call: 'security_inode_follow_link',
            syscall: false,
            args: [{ index: 0, type: 'dentry' }],
            returnArg: int(0),
            selectors: [{ matchArgs: [term(0, 'Postfix', '/to-secret')] }],
          },
        ],
      },
      does: () => run('cat', [join(folder, 'to-secret')]),
      other: () => run('cat', [join(folder, 'to-other')]),
      tells: 'security_inode_follow_link',
    },
    {
      name: 'owned-sockets',
      spec: {
        kprobes: [
          {
            call: 'sk_alloc',
            syscall: false,
            return: true,
            args: [{ index: 1, type: 'int', label: 'family' }],
            returnArg: { type: 'sock' },
            returnArgAction: 'TrackSock',
            selectors: [{ matchArgs: [term(1, 'Equal', 10)] }],
          },
          {
            call: '__sk_free',
            syscall: false,
            args: [{ index: 0, type: 'sock' }],
            selectors: [
              { matchArgs: [term(0, 'Family', 17)] },
              { matchActions: [{ action: 'UntrackSock' }, { action: 'NoPost' }] },
            ],
          },
        ],
      },
      does: cells('tcp', '6', 'udp', 'no', '::', '0', '::1', '9'),
      other: cells('tcp', '4', 'udp', 'no', '0.0.0.0', '0', '127.0.0.1', '9'),
      tells: 'sk_alloc',
    },
    {
      name: 'working-folders',
      spec: {
        kprobes: [
          {
            call: 'set_fs_pwd',
            syscall: false,
            args: [{ index: 1, type: 'path' }],
            selectors: [
              {
                matchBinaries: [{ operator: 'In', values: ['/bin/bash', '/usr/bin/bash'] }],
                matchArgs: [term(1, 'Prefix', '/sys/fs/cgroup')],
                matchActions: [{ action: 'Sigkill' }],
              },
            ],
          },
        ],
      },
      does: bash('cd /sys/fs/cgroup; true'),
      other: shell('cd /sys/fs/cgroup; true'),
      tells: 'set_fs_pwd',
      isKilled: true,
    },
    {
      name: 'folders-made',
      spec: {
        kprobes: [
          {
            call: 'security_inode_mkdir',
            syscall: false,
            selectors: [
              {
                matchBinaries: [{ operator: 'NotIn', values: ['/usr/bin/mkdir'] }],
                matchActions: [{ action: 'NoPost' }],
              },
              { matchActions: [{ action: 'Override', argError: -13 }] },
            ],
          },
        ],
      },
      does: shell(`mkdir ${folder}/denied 2>/dev/null; echo $?`),
      other: shell(`install -d ${folder}/granted; echo $?`),
      tells: 'security_inode_mkdir',
      prints: '1\n',
    },
    {
      name: 'who-is-it',
      spec: {
        kprobes: [
          {
            call: 'security_file_open',
            syscall: false,
            args: [{ index: 0, type: 'file' }],
            data: [
              { index: 0, type: 'string', source: 'current_task', resolve: 'comm' },
              { index: 0, type: 'uint32', source: 'current_task', resolve: 'cred.uid.val', label: 'uid' },
            ],
            selectors: [
              {
                matchArgs: [term(0, 'Equal', secret)],
                matchData: [term(0, 'In', 'head'), term(1, 'Equal', 0)],
              },
            ],
          },
        ],
      },
      does: () => run('head', [secret]),
      other: () => run('tail', [secret]),
      tells: 'security_file_open',
    },
    {
      name: 'families',
      spec: {
        kprobes: [
          {
            call: 'sys_socket',
            syscall: true,
            args: [int(0), int(1), int(2)],
            selectors: [
              {
                matchArgs: [term(0, 'Equal', 10), term(1, 'Mask', 1)],
                matchBinaries: [{ operator: 'NotIn', values: ['/usr/sbin/charon', '/usr/bin/openssl'] }],
              },
            ],
          },
        ],
      },
      does: cells('tcp', '6', 'udp', 'no', '::', '0', '::1', '9'),
      other: cells('tcp', '4', 'udp', 'no', '0.0.0.0', '0', '127.0.0.1', '9'),
      tells: 'sys_socket',
    },
    {
      name: 'datagrams-sent',
      spec: {
        kprobes: [
          {
            call: 'ip_output',
            syscall: false,
            args: [
              { index: 1, type: 'sock' },
              { index: 2, type: 'skb', label: 'datagram' },
            ],
            selectors: [
              {
                matchArgs: [
                  term(2, 'Protocol', 'IPPROTO_UDP'),
                  term(2, 'DAddr', '127.0.0.1/32', '::1/128'),
                  term(2, 'DPort', '53:55'),
                ],
              },
            ],
          },
        ],
      },
      does: bash('exec 3<>/dev/udp/127.0.0.1/54; echo datagram >&3'),
      other: bash('exec 3<>/dev/udp/127.0.0.1/56; echo datagram >&3'),
      tells: 'ip_output',
    },
  ];
}

async function tryWritten(hooks: Hooks, written: Written, wrong: string[]): Promise<void> {
  const { name, does, other, tells, isKilled = false, prints } = written;
  const told = () => hooks.events().filter(({ policy }) => policy === name);
  hooks.events();
  const spared = await other();
  const near = told();
  if (near.length > 0) wrong.push(`${name}: ${near.length} events of the other, as of ${near[0]?.symbol}`);
  if (spared.signal === 'SIGKILL') wrong.push(`${name}: the other is killed`);
  const done = await does();
  const symbols = [...new Set(told().map(({ symbol }) => symbol))];
  if (!symbols.some((symbol) => symbol.endsWith(tells)))
    wrong.push(`${name}: no event of ${tells} (${symbols.join(', ')}); ${done.stdout} ${done.stderr}`);
  if ((done.signal === 'SIGKILL') !== isKilled)
    wrong.push(`${name}: it ended with ${done.signal ?? done.code}`);
  if (prints !== undefined && done.stdout !== prints) wrong.push(`${name}: it printed ${done.stdout}`);
  if (prints !== undefined && spared.stdout === prints) wrong.push(`${name}: the other printed ${prints}`);
}

export default scenario(
  'policies in the spellings of others load, and tell of who does what they look for',
  {},
  async (context) => {
    const { folder, run } = context;
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'secret'), 'the secret\n');
    writeFileSync(join(folder, 'other'), 'no secret\n');
    const made = await run('sh', [
      '-c',
      `ip link set lo up; ln -s ${folder}/secret ${folder}/to-secret; ln -s ${folder}/other ${folder}/to-other`,
    ]);
    assert.equal(made.code, 0, made.stderr);
    await withHooks(async (hooks) => {
      const policies = writtenPolicies(context);
      await hooks.apply(...policies.map(({ name, spec }) => policyWith(name, spec)));
      const wrong: string[] = [];
      for (const written of policies) await tryWritten(hooks, written, wrong);
      assert.deepEqual(wrong, []);
    });
  },
);
