// SPDX-License-Identifier: Apache-2.0
// Owns the functions and LSM hooks by which the conformance matrix tries each type of argument.
import { all, type Carrier, cell, numbers, onFile, verb, withPath } from './carrier.js';

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
    // What gains has none in effect before.
    types: ['cred'],
    hook: 'security_capset',
    index: 1,
    others: [{ index: 2, type: 'cap_effective' }],
    mark: 'binary',
    values: 'capabilities',
    deed: ([set = '', gains]) => [
      gains === 'yes' ? 'regain' : 'capset',
      gains === 'no' ? all : set,
      all,
      '0',
    ],
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

/** Functions that no LSM hook has the arguments of, or has with others. */
const onlyFunctions: readonly Body[] = [
  {
    types: ['net_device'],
    hook: 'dev_change_flags',
    index: 0,
    mark: 'prefix',
    values: 'text',
    costly: 'a device is renamed for each',
    deed: ([text = '']) => ['device', 'weir0', text],
  },
];

/** LSM hooks with arguments that functions are tried with elsewhere. */
const onlyLsm: readonly Carrier[] = [
  {
    kind: 'lsm',
    types: ['fd'],
    hook: 'task_prctl',
    index: 1,
    mark: 'prefix',
    values: 'path',
    files: ['d', 'r'],
    deed: onFile('prctl-fd'),
  },
];

/** LSM hooks whose names are not those of the functions that call them. */
const lsmNames: Readonly<Record<string, string>> = { security_bprm_check: 'bprm_check_security' };

/** Of each function a kprobe, an fentry and, where it is a security hook, an LSM hook. */
export const functionCarriers: readonly Carrier[] = [
  ...[...functions, ...onlyFunctions].flatMap((body): Carrier[] => [
    { ...body, kind: 'function' },
    { ...body, kind: 'fentry' },
  ]),
  ...functions
    .filter(({ hook }) => hook.startsWith('security_'))
    .map(
      (body): Carrier => ({
        ...body,
        kind: 'lsm',
        hook: lsmNames[body.hook] ?? body.hook.slice('security_'.length),
      }),
    ),
  ...onlyLsm,
];
