// SPDX-License-Identifier: Apache-2.0
// Policies with the hooks, types and selectors of those that the Tetragon project publishes as examples, written anew:
// each is loaded, or refused for the kernel's reason, and a process does what it looks for, and another does not. Which
// is which is told in test/conformance/README.md.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Hooks, policyWith, withHooks } from '../guest/hooks.js';
import { type RunResult, type ScenarioContext, scenario } from '../scenario.js';

type Lists = Readonly<Record<string, readonly object[]>>;
type Deed = () => Promise<RunResult>;

/** A policy, what has it tell, by which functions (the ends of their names), and what does not. */
interface Example {
  readonly name: string;
  readonly lists: Lists;
  readonly does: Deed;
  readonly tells: readonly string[];
  /** Left out where the policy has no condition. */
  readonly other?: Deed;
  readonly isKilled?: boolean;
  /** The function that newer kernels have no more. */
  readonly missing?: string;
}

const args = (...types: string[]) => types.map((type, index) => ({ index, type }));
const term = (index: number, operator: string, ...values: string[]) => ({ index, operator, values });
const kill = [{ action: 'Sigkill' }];

function kprobe(call: string, types: readonly string[], ...selectors: object[]) {
  return {
    call,
    syscall: call.startsWith('sys_'),
    ...(types.length > 0 ? { args: args(...types) } : {}),
    ...(selectors.length > 0 ? { selectors } : {}),
  };
}

const returning = (hook: object) => ({ ...hook, return: true, returnArg: { index: 0, type: 'int' } });

/** The checks that stand on a file's way, as the examples on files hook them. */
function fileChecks(path: object, actions: object[], reads: object[], maps: object[]): Lists {
  const matchActions = actions.length > 0 ? { matchActions: actions } : {};
  const select = (...terms: object[]) => ({ matchArgs: [path, ...terms], ...matchActions });
  return {
    kprobes: [
      returning(kprobe('security_file_permission', ['file', 'int'], select(...reads))),
      returning(kprobe('security_mmap_file', ['file', 'uint32', 'uint32'], select(...maps))),
      returning(kprobe('security_path_truncate', ['path'], select())),
    ],
  };
}

function limited(...terms: object[]) {
  return { matchArgs: terms, matchActions: [{ action: 'Post', rateLimit: '1m' }] };
}

function examplesOf(context: ScenarioContext): Example[] {
  const { run, folder } = context;
  const [guarded, watched, one, other] = ['guarded', 'watched', 'one', 'other'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  const cells = (...lines: string[][]) =>
    run('cells', [], { input: `${lines.map((line) => ['-', '/', ...line].join('\t')).join('\n')}\n` });
  const touch = (path: string) => () => run('buffers', [], { input: `truncate ${path} 4\n` });
  const map = (path: string) => () => cells(['map-shared', 'r', path]);
  const read = (path: string) => () => run('cat', [path]);
  const setUser = () => run('/usr/bin/setpriv', ['--reuid', '0', '--regid', '0', '--clear-groups', 'true']);
  const user = { uid: 1000, gid: 1000 };
  const nothing = () => run('true');
  const connect = (address: string) => () => cells(['tcp', '4', 'udp', 'yes', '0.0.0.0', '0', address, '9']);
  const dial = (address: string) => () => run('bash', ['-c', `exec 3<>/dev/tcp/${address}/9`]);
  const noAdministrator = {
    matchCapabilities: [{ type: 'Effective', operator: 'NotIn', values: ['CAP_SYS_ADMIN'] }],
  };
  const near = { matchArgs: [term(0, 'DAddr', '127.0.0.1/8', '192.168.0.0/16')] };
  const stream = [term(0, 'Protocol', 'IPPROTO_TCP'), term(1, 'Family', 'AF_INET', 'AF_INET6')];
  const callers = { matchBinaries: [{ operator: 'In', values: ['/weir/bin/cells'] }] };
  const tcp = (...selectors: object[]): Lists => ({
    kprobes: [
      kprobe('tcp_connect', ['sock'], ...selectors),
      kprobe('tcp_close', ['sock'], ...selectors),
      {
        ...kprobe('tcp_sendmsg', [], ...selectors),
        args: [
          { index: 0, type: 'sock' },
          { index: 2, type: 'int' },
        ],
      },
    ],
  });
  const modules = [
    returning(kprobe('security_kernel_module_request', ['string'])),
    returning(kprobe('security_kernel_read_file', ['file', 'int'], { matchArgs: [term(1, 'Equal', '2')] })),
  ];
  const useModule = () =>
    run('sh', [
      '-c',
      'ip link add weir1 type nosuchkind; modprobe -r dummy; modprobe dummy && modprobe -r dummy',
    ]);
  // Debian's 6.12 has its modules compressed: who loads one unpacks it, and the kernel reads no file.
  const isRead = context.kernel === '6.1' ? ['security_kernel_read_file'] : [];

  return [
    {
      name: 'file-monitoring-enforce',
      lists: fileChecks(
        term(0, 'Prefix', guarded),
        kill,
        [term(1, 'Equal', '4')],
        [term(1, 'Equal', '1'), term(2, 'Mask', '1')],
      ),
      does: read(join(guarded, 'file')),
      tells: ['security_file_permission'],
      other: read(other),
      isKilled: true,
    },
    {
      name: 'file-monitoring-enforce-by-mapping',
      lists: fileChecks(
        term(0, 'Postfix', '.history'),
        kill,
        [term(1, 'Equal', '4')],
        [term(1, 'Equal', '1'), term(2, 'Mask', '1')],
      ),
      does: map(join(folder, 'shell.history')),
      tells: ['security_mmap_file'],
      other: map(other),
      isKilled: true,
    },
    {
      name: 'filename-monitoring',
      lists: fileChecks(term(0, 'Prefix', `${watched}/`), [], [], []),
      does: touch(join(watched, 'file')),
      tells: ['security_path_truncate'],
      other: touch(other),
    },
    {
      name: 'filename-monitoring-filtered',
      lists: fileChecks(term(0, 'Equal', one), [], [term(1, 'Equal', '2')], [term(1, 'Mask', '2')]),
      does: () => run('sh', ['-c', `echo x >> ${one}`]),
      tells: ['security_file_permission'],
      other: read(one),
    },
    {
      name: 'unprivileged-user-namespace',
      lists: { kprobes: [kprobe('create_user_ns', ['nop'], { ...noAdministrator, matchActions: kill })] },
      does: () => run('unshare', ['--user', 'true'], user),
      tells: ['create_user_ns'],
      other: () => run('unshare', ['--user', 'true']),
      isKilled: true,
    },
    {
      name: 'killed-at-listed-calls',
      lists: {
        lists: [{ name: 'calls', type: 'syscalls', values: ['sys_dup', 'sys_dup2', '__ia32_sys_dup'] }],
        enforcers: [{ calls: ['list:calls'] }],
        tracepoints: [
          {
            subsystem: 'raw_syscalls',
            event: 'sys_enter',
            args: [{ index: 4, type: 'syscall64' }],
            selectors: [
              {
                matchArgs: [term(0, 'InMap', 'list:calls')],
                matchBinaries: [{ operator: 'In', values: ['/weir/bin/calls'] }],
                matchActions: [{ action: 'NotifyEnforcer', argError: -1, argSig: 9 }],
              },
            ],
          },
        ],
      },
      does: () => run('calls', [], { input: `dup\t${other}\n` }),
      tells: ['sys_enter'],
      other: () => run('calls', [], { input: 'unshare\t0\n' }),
      isKilled: true,
    },
    {
      name: 'commit-creds',
      lists: { kprobes: [kprobe('commit_creds', ['cred'])] },
      does: setUser,
      tells: ['commit_creds'],
    },
    {
      name: 'listed-calls',
      lists: {
        lists: [{ name: 'calls', type: 'syscalls', values: ['sys_sync', 'sys_syncfs'] }],
        kprobes: [{ call: 'list:calls' }],
      },
      does: () => run('sync'),
      tells: ['sys_sync'],
      other: nothing,
    },
    {
      name: 'lsm-denies-programs',
      lists: {
        lsmhooks: [
          {
            hook: 'bprm_check_security',
            args: args('linux_binprm'),
            selectors: [
              {
                matchBinaries: [{ operator: 'In', values: ['/usr/bin/zsh', '/usr/bin/dash'] }],
                matchArgs: [term(0, 'Postfix', 'bin/objects')],
                matchActions: [
                  { action: 'Override', argError: -1 },
                  { action: 'Post', imaHash: true },
                ],
              },
            ],
          },
        ],
      },
      does: async () => {
        const made = await run('dash', ['-c', '/weir/bin/objects; echo $?']);
        assert.equal(made.stdout, '126\n', made.stderr);
        return made;
      },
      tells: ['bprm_check_security'],
      other: () => run('bash', ['-c', '/weir/bin/objects; echo $?']),
    },
    {
      name: 'lsm-file-open',
      lists: {
        lsmhooks: [
          {
            hook: 'file_open',
            args: args('file'),
            selectors: [
              {
                matchBinaries: [{ operator: 'In', values: ['/usr/bin/cat'] }],
                matchArgs: [term(0, 'Equal', '/etc/hostname', '/etc/shadow')],
              },
            ],
          },
        ],
      },
      does: read('/etc/shadow'),
      tells: ['file_open'],
      other: () => run('head', ['/etc/shadow']),
    },
    {
      name: 'modules-are-read',
      lists: { kprobes: modules },
      does: useModule,
      tells: ['security_kernel_module_request', ...isRead],
      other: nothing,
    },
    {
      name: 'modules-come-and-go',
      lists: {
        kprobes: [...modules, kprobe('do_init_module', ['module']), kprobe('free_module', ['module'])],
      },
      does: useModule,
      tells: ['security_kernel_module_request', 'do_init_module', 'free_module', ...isRead],
      other: nothing,
    },
    {
      name: 'egress',
      lists: {
        kprobes: [
          kprobe('tcp_connect', ['sock'], {
            matchArgs: [term(0, 'NotDAddr', '127.0.0.1', '10.244.0.0/16', '10.96.0.0/12')],
          }),
        ],
      },
      does: dial('10.9.8.7'),
      tells: ['tcp_connect'],
      other: dial('127.0.0.1'),
    },
    {
      name: 'privileges-raised',
      lists: {
        kprobes: [
          {
            ...kprobe('security_capset', [
              'nop',
              'cred',
              'cap_effective',
              'cap_inheritable',
              'cap_permitted',
            ]),
            selectors: [2, 3, 4].map((index) => limited(term(index, 'NotEqual', '0'))),
          },
          kprobe('create_user_ns', ['nop'], noAdministrator),
          ...['setuid', 'setgid', 'setfsuid', 'setfsgid'].map((name) =>
            kprobe(`__sys_${name}`, ['int'], limited(term(0, 'Equal', '0'))),
          ),
          ...['setreuid', 'setregid'].map((name) =>
            kprobe(
              `__sys_${name}`,
              ['int', 'int'],
              ...[0, 1].map((index) => limited(term(index, 'Equal', '0'))),
            ),
          ),
          ...['setresuid', 'setresgid'].map((name) =>
            kprobe(
              `__sys_${name}`,
              ['int', 'int', 'int'],
              ...[1, 2].map((index) => limited(term(index, 'Equal', '0'))),
            ),
          ),
        ],
      },
      does: setUser,
      tells: ['__sys_setresuid', '__sys_setresgid'],
      other: nothing,
    },
    {
      name: 'programs-begin',
      lists: { kprobes: [kprobe('security_bprm_creds_from_file', ['nop', 'file'])] },
      does: nothing,
      tells: ['security_bprm_creds_from_file'],
    },
    {
      name: 'raw-exec',
      lists: {
        tracepoints: [
          {
            subsystem: 'sched',
            event: 'sched_process_exec',
            raw: true,
            args: [{ index: 2, type: 'linux_binprm' }],
          },
        ],
      },
      does: nothing,
      tells: ['sched_process_exec'],
    },
    {
      name: 'connects-elsewhere',
      lists: {
        kprobes: [
          kprobe(
            'security_socket_connect',
            ['socket', 'sockaddr', 'int'],
            {
              ...callers,
              matchArgs: [...stream, term(1, 'SAddr', '127.0.0.9'), term(1, 'SPort', '9')],
              matchActions: [{ action: 'Post' }],
            },
            { ...callers, matchArgs: stream, matchActions: [{ action: 'Override', argError: 1 }] },
          ),
        ],
      },
      does: async () => {
        // By itself nobody listens; denied it is not permitted.
        assert.match((await connect('127.0.0.9')()).stdout, /^-111 /);
        const denied = await connect('127.0.0.8')();
        assert.match(denied.stdout, /^-1 /);
        return denied;
      },
      tells: ['security_socket_connect'],
      other: () => run('bash', ['-c', 'exec 3<>/dev/tcp/127.0.0.8/9']),
    },
    {
      name: 'stacks',
      lists: {
        kprobes: [
          kprobe('kfree_skb_reason', ['skb', 'int'], {
            matchActions: [{ action: 'Post', kernelStackTrace: true, userStackTrace: true }],
          }),
        ],
      },
      does: dial('127.0.0.1'),
      tells: ['kfree_skb_reason'],
      missing: 'kfree_skb_reason',
    },
    {
      name: 'mounts',
      lists: { kprobes: [kprobe('sys_mount', ['string', 'string'])] },
      does: () => run('mount', ['-t', 'tmpfs', 'none', '/nowhere']),
      tells: ['sys_mount'],
      other: nothing,
    },
    {
      name: 'traces',
      lists: { kprobes: [{ call: 'sys_ptrace', syscall: true, args: [{ index: 2, type: 'int' }] }] },
      does: () => run('strace', ['-o', '/dev/null', 'true']),
      tells: ['sys_ptrace'],
      other: nothing,
    },
    {
      name: 'users',
      lists: { kprobes: [kprobe('sys_setuid', ['int'])] },
      does: () => run('chroot', ['--userspec=1000', '/', 'true']),
      tells: ['sys_setuid'],
      other: nothing,
    },
    {
      name: 'connections-near',
      lists: tcp(near),
      does: dial('127.0.0.1'),
      tells: ['tcp_connect'],
      other: dial('10.9.8.7'),
    },
    {
      name: 'connections',
      lists: tcp(),
      does: dial('10.9.8.7'),
      tells: ['tcp_connect', 'tcp_close'],
      other: nothing,
    },
    {
      name: 'shells',
      lists: { uprobes: [{ path: '/bin/bash', symbols: ['readline', 'main'] }] },
      does: () => run('bash', ['-c', 'true']),
      tells: ['main'],
      other: () => run('dash', ['-c', 'true']),
    },
    {
      name: 'markers',
      lists: {
        usdts: [
          { path: '/weir/bin/user', provider: 'weir', name: 'registers', args: args('int32', 'int64') },
        ],
      },
      does: () => run('user', ['mark:1:2:text']),
      tells: ['registers'],
      other: () => run('user', ['gated']),
    },
    {
      name: 'writes',
      lists: {
        kprobes: [
          {
            call: 'sys_write',
            syscall: true,
            args: [
              { index: 0, type: 'int' },
              { index: 1, type: 'char_buf', sizeArgIndex: 3 },
              { index: 2, type: 'size_t' },
            ],
            selectors: [
              {
                // All in the guest descend from the first process, and none of it from the second.
                matchPIDs: [{ operator: 'NotIn', followForks: true, isNamespacePID: true, values: ['2'] }],
                matchArgs: [term(0, 'Equal', '1')],
              },
            ],
          },
        ],
      },
      does: () => run('echo', ['hello']),
      tells: ['sys_write'],
      other: nothing,
    },
  ];
}

async function tryExample(hooks: Hooks, example: Example, wrong: string[]): Promise<void> {
  const { name, does, tells, other, isKilled = false } = example;
  const told = () => hooks.events().filter(({ policy }) => policy === name);
  hooks.events();
  if (other !== undefined) {
    const spared = await other();
    const events = told();
    if (spared.signal === 'SIGKILL') wrong.push(`${name}: the other is killed`);
    if (events.length > 0)
      wrong.push(`${name}: ${events.length} events of the other, as of ${events[0]?.symbol}`);
  }
  const done = await does();
  const events = told();
  const symbols = new Set(events.map(({ symbol }) => symbol));
  // Before a name may stand the architecture's prefix, the program, or the provider.
  const missing = tells.filter((name) => ![...symbols].some((symbol) => symbol.endsWith(name)));
  if (missing.length > 0)
    wrong.push(`${name}: no event of ${missing.join(', ')} (${[...symbols].join(', ')})`);
  if ((done.signal === 'SIGKILL') !== isKilled)
    wrong.push(`${name}: it ended with ${done.signal ?? done.code}`);
}

export default scenario(
  'policies like the published examples load, and tell of who does what they look for',
  { timeoutMs: 120_000 },
  async (context) => {
    const { folder, run, log, kernel } = context;
    for (const name of ['guarded', 'watched']) mkdirSync(join(folder, name));
    for (const name of ['guarded/file', 'watched/file', 'one', 'other', 'shell.history'])
      writeFileSync(join(folder, name), 'secret');
    for (const command of ['ip link set lo up', 'ip address add 10.9.8.7/32 dev lo']) {
      const made = await run('sh', ['-c', command]);
      assert.equal(made.code, 0, made.stderr);
    }
    await withHooks(async (hooks) => {
      const examples = examplesOf(context);
      const outcomes = await hooks.tryApply(...examples.map(({ name, lists }) => policyWith(name, lists)));
      const wrong: string[] = [];
      for (const [at, example] of examples.entries()) {
        const outcome = outcomes[at];
        if (outcome?.state !== 'loaded') {
          const { missing } = example;
          const isKernels = missing !== undefined && outcome?.reason?.includes(missing) === true;
          log(`${example.name} is refused: ${outcome?.reason}`);
          if (!isKernels || kernel !== '6.12') wrong.push(`${example.name}: ${outcome?.reason}`);
          continue;
        }
        await tryExample(hooks, example, wrong);
      }
      assert.deepEqual(wrong, []);
      assert.ok(existsSync(join(folder, 'guarded/file')));
    });
  },
);
