// SPDX-License-Identifier: Apache-2.0
// Owns the hooks by which the conformance matrix tries each type of argument: which function passes one, how a cell is
// told from the others on the same hook, and what a process does to have it called. Deeds are those of programs/cells.c.

export const hookKinds = {
  function: 'kprobes, a function',
  syscall: 'kprobes, a system call',
  return: 'kprobes, what a call returns',
  fentry: 'fentries',
  lsm: 'lsmhooks',
  tracepoint: 'tracepoints',
  raw: 'tracepoints, raw',
  uprobe: 'uprobes',
  usdt: 'usdts',
} as const;
export type HookKind = keyof typeof hookKinds;

/**
 * What tells a cell from the others: another argument has its number; the text begins with it; an address is made of
 * it; or the program that acts is called by it.
 */
export type Mark = 'number' | 'prefix' | 'address' | 'binary';

/** What values are chosen for. */
export type Values =
  | 'integer'
  | 'text'
  | 'path'
  | 'socket'
  | 'capabilities'
  | 'syscall'
  | 'function'
  | 'none';

export interface Carrier {
  readonly kind: HookKind;
  readonly types: readonly string[];
  /** Name of the function, the hook, the tracepoint (SUBSYSTEM:EVENT) or the symbol. */
  readonly hook: string;
  readonly index: number;
  /** What else the argument needs to be read. */
  readonly more?: Readonly<Record<string, unknown>>;
  /** Further arguments, of which the first has the number of the cell where that is the mark. */
  readonly others?: readonly { readonly index: number; readonly type: string }[];
  readonly mark: Mark;
  readonly values: Values;
  /** Whether what is passed can be below 0. */
  readonly negative?: boolean;
  /** Letters of kinds of file: what is meant, and what is not; none where the hook sees one kind only. */
  readonly files?: readonly [string, string];
  /** Operators for which no process can do otherwise on this hook: their opposite is tried beside them. */
  readonly opposite?: readonly string[];
  /** Whether an IPv6 packet is passed where a socket's address is IPv4 within IPv6. */
  readonly realIpv6?: boolean;
  /** Why not every operator is tried with every action, but each with one. */
  readonly costly?: string;
  /** Whether the folder stands before the text. */
  readonly inFolder?: boolean;
  /** The only errno that its callers return where it denies. */
  readonly onlyError?: number;
  readonly deed: (parts: readonly string[]) => readonly string[];
}

const integers = ['int8', 'uint8', 'int16', 'uint16', 'int', 'uint32', 'int64', 'uint64'];
const numbers = [...integers, 'capability', 'bpf_cmd'];
const all = String((1n << 41n) - 1n);
const verb =
  (name: string) =>
  (parts: readonly string[]): readonly string[] => [name, ...parts];
const onFile = (name: string) => (parts: readonly string[]) => [name, ...parts];
const withPath =
  (name: string) =>
  ([text = '', path = '']: readonly string[]): readonly string[] => [name, path, text];
const cell = (index: number) => [{ index, type: 'int' }];

type Body = Omit<Carrier, 'kind'>;

/** Functions that a kprobe, an fentry and, where they are security hooks, an LSM hook can be on. */
const functions: readonly Body[] = [
  {
    types: [...numbers, 'auto'],
    hook: 'security_task_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'integer',
    negative: true,
    deed: verb('prctl'),
  },
  {
    types: ['syscall64'],
    hook: 'security_task_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'syscall',
    deed: verb('prctl'),
  },
  {
    types: ['nop'],
    hook: 'security_task_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'none',
    deed: verb('prctl'),
  },
  {
    types: ['string'],
    hook: 'security_sb_mount',
    index: 0,
    mark: 'prefix',
    values: 'text',
    deed: verb('mount'),
  },
  {
    types: ['char_buf', 'const_buf'],
    hook: 'security_inode_setxattr',
    index: 3,
    more: { sizeArgIndex: 5 },
    mark: 'prefix',
    values: 'text',
    deed: withPath('setxattr'),
  },
  {
    types: ['iov_iter'],
    hook: 'ext4_file_write_iter',
    index: 1,
    mark: 'prefix',
    values: 'text',
    deed: withPath('write'),
  },
  {
    types: ['filename'],
    hook: 'do_filp_open',
    index: 1,
    mark: 'prefix',
    values: 'text',
    inFolder: true,
    deed: ([path = '']) => ['open', 'r', path],
  },
  {
    types: ['fd'],
    hook: 'ksys_fchown',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('fchown'),
  },
  {
    types: ['file'],
    hook: 'security_file_open',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('open'),
  },
  {
    types: ['path'],
    hook: 'security_path_chmod',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['p', 'r'],
    deed: onFile('chmod'),
  },
  {
    types: ['dentry'],
    hook: 'security_inode_setxattr',
    index: 1,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('attribute'),
  },
  {
    types: ['kiocb'],
    hook: 'filemap_read',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['b', 'r'],
    deed: onFile('read'),
  },
  {
    types: ['linux_binprm'],
    hook: 'security_bprm_check',
    index: 0,
    mark: 'prefix',
    values: 'path',
    opposite: ['FileType', 'NotFileType'],
    deed: ([, path = '']) => ['exec', path],
  },
  { types: ['sock'], hook: 'udp_sendmsg', index: 0, mark: 'address', values: 'socket', deed: verb('udp') },
  {
    types: ['socket'],
    hook: 'security_socket_sendmsg',
    index: 0,
    mark: 'address',
    values: 'socket',
    deed: verb('udp'),
  },
  {
    types: ['skb'],
    hook: '__dev_queue_xmit',
    index: 0,
    mark: 'address',
    values: 'socket',
    realIpv6: true,
    deed: verb('udp'),
  },
  {
    types: ['sockaddr'],
    hook: 'security_socket_connect',
    index: 1,
    mark: 'address',
    values: 'socket',
    deed: verb('connect'),
  },
  {
    types: ['sockaddr_un'],
    hook: 'security_socket_connect',
    index: 1,
    mark: 'prefix',
    values: 'text',
    opposite: ['Family'],
    deed: ([text = '']) => ['unix', text],
  },
  {
    types: ['kernel_cap_t', 'cap_effective'],
    hook: 'security_capset',
    index: 2,
    others: [{ index: 4, type: 'cap_permitted' }],
    mark: 'binary',
    values: 'capabilities',
    deed: ([set = '', gains]) => ['capset', gains === 'no' ? all : set, all, '0'],
  },
  {
    types: ['cap_inheritable'],
    hook: 'security_capset',
    index: 3,
    others: [{ index: 4, type: 'cap_permitted' }],
    mark: 'binary',
    values: 'capabilities',
    deed: ([set = '', gains]) => ['capset', '0', all, gains === 'no' ? all : set],
  },
  {
    types: ['cap_permitted'],
    hook: 'security_capset',
    index: 4,
    others: [{ index: 3, type: 'cap_inheritable' }],
    mark: 'binary',
    values: 'capabilities',
    deed: ([set = '', gains]) => ['capset', '0', gains === 'no' ? all : set, gains === undefined ? '0' : all],
  },
  {
    types: ['user_namespace'],
    hook: 'security_capable',
    index: 1,
    mark: 'binary',
    values: 'none',
    onlyError: -1,
    deed: () => ['hostname'],
  },
  {
    types: ['bpf_attr'],
    hook: 'security_bpf',
    index: 1,
    mark: 'prefix',
    values: 'text',
    deed: verb('program'),
  },
  {
    types: ['bpf_map'],
    hook: 'security_bpf_map',
    index: 0,
    mark: 'prefix',
    values: 'text',
    deed: verb('map'),
  },
  {
    types: ['bpf_prog'],
    hook: 'security_bpf_prog',
    index: 0,
    mark: 'prefix',
    values: 'text',
    deed: verb('program'),
  },
  {
    types: ['perf_event'],
    hook: 'security_perf_event_alloc',
    index: 0,
    mark: 'binary',
    values: 'function',
    costly: 'a function is probed for each',
    deed: verb('perf'),
  },
];

/** LSM hooks whose names are not those of the functions that call them. */
const lsmNames: Readonly<Record<string, string>> = { security_bprm_check: 'bprm_check_security' };

const others: readonly Carrier[] = [
  {
    kind: 'syscall',
    types: numbers,
    hook: 'sys_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'integer',
    negative: true,
    deed: verb('prctl'),
  },
  {
    kind: 'syscall',
    types: ['syscall64'],
    hook: 'sys_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'syscall',
    deed: verb('prctl'),
  },
  {
    kind: 'syscall',
    types: ['nop'],
    hook: 'sys_prctl',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'none',
    deed: verb('prctl'),
  },
  {
    kind: 'syscall',
    types: ['string'],
    hook: 'sys_mount',
    index: 0,
    mark: 'prefix',
    values: 'text',
    deed: verb('mount'),
  },
  {
    kind: 'syscall',
    types: ['char_buf', 'const_buf'],
    hook: 'sys_setxattr',
    index: 2,
    more: { sizeArgIndex: 4 },
    mark: 'prefix',
    values: 'text',
    deed: withPath('setxattr'),
  },
  {
    kind: 'syscall',
    types: ['char_iovec'],
    hook: 'sys_writev',
    index: 1,
    more: { sizeArgIndex: 3 },
    mark: 'prefix',
    values: 'text',
    deed: withPath('writev'),
  },
  {
    kind: 'syscall',
    types: ['fd'],
    hook: 'sys_fchmod',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('fchmod'),
  },
  {
    kind: 'syscall',
    types: ['sockaddr'],
    hook: 'sys_connect',
    index: 1,
    mark: 'address',
    values: 'socket',
    deed: verb('connect'),
  },
  {
    kind: 'syscall',
    types: ['sockaddr_un'],
    hook: 'sys_connect',
    index: 1,
    mark: 'prefix',
    values: 'text',
    opposite: ['Family'],
    deed: ([text = '']) => ['unix', text],
  },
  {
    kind: 'syscall',
    types: ['bpf_attr'],
    hook: 'sys_bpf',
    index: 1,
    mark: 'prefix',
    values: 'text',
    deed: verb('program'),
  },
  {
    kind: 'return',
    types: numbers,
    hook: 'sys_lseek',
    index: 0,
    others: cell(0),
    mark: 'number',
    values: 'integer',
    deed: verb('lseek'),
  },
  {
    kind: 'return',
    types: ['file'],
    hook: 'do_filp_open',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('open'),
  },
  {
    kind: 'tracepoint',
    types: numbers,
    hook: 'syscalls:sys_enter_prctl',
    index: 6,
    others: cell(7),
    mark: 'number',
    values: 'integer',
    negative: true,
    deed: verb('prctl'),
  },
  {
    kind: 'tracepoint',
    types: ['nop'],
    hook: 'syscalls:sys_enter_prctl',
    index: 6,
    others: cell(7),
    mark: 'number',
    values: 'none',
    deed: verb('prctl'),
  },
  {
    kind: 'tracepoint',
    types: ['string'],
    hook: 'syscalls:sys_enter_mount',
    index: 5,
    mark: 'prefix',
    values: 'text',
    deed: verb('mount'),
  },
  {
    kind: 'tracepoint',
    types: ['data_loc'],
    hook: 'sched:sched_process_exec',
    index: 4,
    mark: 'prefix',
    values: 'text',
    inFolder: true,
    deed: ([path = '']) => ['exec', path],
  },
  {
    kind: 'tracepoint',
    types: ['fd'],
    hook: 'syscalls:sys_enter_fchmod',
    index: 5,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('fchmod'),
  },
  {
    kind: 'tracepoint',
    types: ['sockaddr'],
    hook: 'syscalls:sys_enter_connect',
    index: 6,
    mark: 'address',
    values: 'socket',
    deed: verb('connect'),
  },
  {
    kind: 'tracepoint',
    types: ['sock'],
    hook: 'sock:inet_sock_set_state',
    index: 4,
    mark: 'address',
    values: 'socket',
    opposite: ['Protocol', 'State'],
    deed: verb('tcp'),
  },
  {
    kind: 'tracepoint',
    types: ['skb'],
    hook: 'net:net_dev_queue',
    index: 4,
    mark: 'address',
    values: 'socket',
    realIpv6: true,
    deed: verb('udp'),
  },
  {
    kind: 'raw',
    types: numbers,
    hook: 'ext4:ext4_fallocate_enter',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'integer',
    deed: ([offset = '', length = '', path = '']) => ['fallocate', path, offset, length],
  },
  {
    kind: 'raw',
    types: ['nop'],
    hook: 'ext4:ext4_fallocate_enter',
    index: 1,
    others: cell(2),
    mark: 'number',
    values: 'none',
    deed: ([offset = '', length = '', path = '']) => ['fallocate', path, offset, length],
  },
  {
    kind: 'raw',
    types: ['string'],
    hook: 'task:task_rename',
    index: 1,
    mark: 'prefix',
    values: 'text',
    deed: verb('rename'),
  },
  {
    kind: 'raw',
    types: ['file'],
    hook: 'ext4:ext4_sync_file_enter',
    index: 0,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('fsync'),
  },
  {
    kind: 'raw',
    types: ['dentry'],
    hook: 'ext4:ext4_unlink_enter',
    index: 1,
    mark: 'prefix',
    values: 'path',
    files: ['p', 'r'],
    deed: onFile('unlink'),
  },
  {
    kind: 'raw',
    types: ['linux_binprm'],
    hook: 'sched:sched_process_exec',
    index: 2,
    mark: 'prefix',
    values: 'path',
    opposite: ['FileType', 'NotFileType'],
    deed: ([, path = '']) => ['exec', path],
  },
  {
    kind: 'raw',
    types: ['sock'],
    hook: 'sock:inet_sock_set_state',
    index: 0,
    mark: 'address',
    values: 'socket',
    opposite: ['Protocol', 'State'],
    deed: verb('tcp'),
  },
  {
    kind: 'raw',
    types: ['skb'],
    hook: 'net:net_dev_queue',
    index: 0,
    mark: 'address',
    values: 'socket',
    realIpv6: true,
    deed: verb('udp'),
  },
];

/** Functions and markers of the program itself: what they take is the same. */
function ofPrograms(kind: 'uprobe' | 'usdt', hook: string, name: string): Carrier[] {
  const at = { kind, hook, index: 0 } as const;
  return [
    {
      ...at,
      types: numbers,
      others: cell(1),
      mark: 'number',
      values: 'integer',
      negative: true,
      deed: verb(name),
    },
    { ...at, types: ['syscall64'], others: cell(1), mark: 'number', values: 'syscall', deed: verb(name) },
    { ...at, types: ['nop'], others: cell(1), mark: 'number', values: 'none', deed: verb(name) },
    { ...at, types: ['string'], mark: 'prefix', values: 'text', deed: verb(`${name}-text`) },
    { ...at, types: ['sockaddr'], mark: 'address', values: 'socket', deed: verb(`${name}-address`) },
    { ...at, types: ['fd'], mark: 'prefix', values: 'path', files: ['d', 'r'], deed: onFile(`${name}-fd`) },
  ];
}

export const carriers: readonly Carrier[] = [
  ...functions.map((body): Carrier => ({ ...body, kind: 'function' })),
  ...functions.map((body): Carrier => ({ ...body, kind: 'fentry' })),
  ...functions
    .filter(({ hook }) => hook.startsWith('security_'))
    .map(
      (body): Carrier => ({
        ...body,
        kind: 'lsm',
        hook: lsmNames[body.hook] ?? body.hook.slice('security_'.length),
      }),
    ),
  ...others,
  ...ofPrograms('uprobe', 'cell_value', 'value'),
  ...ofPrograms('usdt', 'weir:cell', 'marked'),
];

/** Types that the planner takes on a kind of hook and that are not tried there cell by cell, with the reason. */
export const untried: readonly {
  readonly kinds: readonly HookKind[];
  readonly types: readonly string[] | 'others';
  readonly reason: string;
}[] = [
  {
    kinds: ['function', 'fentry'],
    types: ['module', 'load_info'],
    reason: 'tried by the scenario hooks-types: a kernel module is not loaded for each cell',
  },
  {
    kinds: ['function', 'fentry'],
    types: ['net_device'],
    reason: 'tried by the scenario hooks-types: a device is not renamed for each cell',
  },
  {
    kinds: ['function', 'fentry', 'lsm'],
    types: ['cred'],
    reason: 'tried by the scenario hooks-credentials',
  },
  {
    kinds: ['tracepoint', 'raw'],
    types: ['syscall64'],
    reason:
      'tried by the scenario hooks-tracepoints: a process makes other calls too, which NotEqual means as well',
  },
  {
    kinds: ['tracepoint'],
    types: ['auto'],
    reason: 'tried by the scenario hooks-tracepoints: what is read is what the format of the tracepoint says',
  },
  {
    kinds: Object.keys(hookKinds) as HookKind[],
    types: 'others',
    reason:
      'no hook of this kind is known by which a process could pass one of its choice; it is read and matched by the same program as at a function, where it is tried',
  },
];

/** Actions that the planner takes and that are not tried here. */
export const elsewhere: Readonly<Record<string, string>> = {
  GetUrl: 'taken, and done by the agent: tried by the scenario hooks-agent-actions',
  DnsLookup: 'taken, and done by the agent: tried by the scenario hooks-agent-actions',
  Set: 'taken where the argument lies in memory: tried by the scenario hooks-usdts',
};
