// SPDX-License-Identifier: Apache-2.0
// Owns the enumerations that cross a boundary: kernel to agent, agent to filter, segment to archive.
import { enumeration } from './layout.js';

export const eventKind = enumeration(
  'event_kind',
  'What a record tells. Numbers up to 40001 are those of the EventType that Tetragon clients know.',
  {
    none: [0, 'no record'],
    exec: [1, 'a process replaced its program'],
    clone: [2, 'a process was created by fork, vfork or clone'],
    exit: [5, 'a process ended'],
    kprobe: [9, 'a kernel function was called and a policy matched'],
    tracepoint: [10, 'a tracepoint fired and a policy matched'],
    loader: [11, 'a binary or library was mapped to run'],
    uprobe: [12, 'a user function was called and a policy matched'],
    throttle: [27, 'a rate limit began or ended to hold events back'],
    lsm: [28, 'an LSM hook was called and a policy matched'],
    usdt: [29, 'a user statically defined tracepoint fired and a policy matched'],
    rate_limit_info: [40001, 'events were held back by the rate limit of an export'],
    loss: [40101, 'events were lost: where, and how many'],
    alert: [40102, 'a filter derived it from events'],
    tamper: [40103, 'somebody interfered with the agent, its programs or its maps'],
  },
);

export const recordFlag = enumeration('record_flag', 'Bits of a record header, as bit values.', {
  truncated: [1, 'a string or argument is cut short; its own flags say which'],
  undecided: [2, 'an operator would have needed what could not be read'],
  monitor: [4, 'the policy is in monitor mode: its actions are what would have been done'],
  returned: [8, 'the record is of a return: the return value is there'],
  protected: [
    16,
    'no filter may drop it (enforcement, loss, exec of a process that the archive has events of)',
  ],
  filter_error: [32, 'a filter trapped on it'],
  orphan: [
    64,
    'the process, or its exec, was not in the process table: only pid, start time and when its program began are known',
  ],
  socket_owner: [
    128,
    'the process is the one that the socket of an argument belongs to, not the one that was running',
  ],
  withheld: [256, 'it only keeps the table of processes whole: nobody is shown it, and nothing keeps it'],
  ima_hash: [512, 'its last bytes are an ima_hash'],
});

export const execFlag = enumeration('exec_flag', 'Bits about a process, as bit values.', {
  execve: [1, 'it came from an exec'],
  clone: [2, 'it came from a fork, and has not called exec since'],
  procfs: [4, 'it was found in /proc when the agent started'],
  rootcwd: [8, 'its working directory is /'],
  truncated_binary: [16, 'binary is cut short'],
  truncated_arguments: [32, 'arguments are cut short'],
  truncated_cwd: [64, 'cwd is cut short'],
  unlinked: [128, 'the binary had no link left (deleted) when it was executed'],
  memfd: [256, 'the binary is an anonymous memory file'],
  setuid: [512, 'the effective user changed by the setuid bit'],
  setgid: [1024, 'the effective group changed by the setgid bit'],
  file_capabilities: [2048, 'capabilities were raised by the file'],
  exited: [4096, 'the process has ended'],
  in_init_tree: [8192, "it is in the tree of a container's first process"],
  unreadable_arguments: [16384, 'the memory with the arguments was not resident'],
  redacted: [32768, 'a filter has masked something of its arguments, environment or working directory'],
});

export const argumentType = enumeration(
  'argument_type',
  'The type of an argument. Composite types carry a struct or bytes in the payload; `value` holds what is said.',
  {
    none: [0, 'not read'],
    int8: [1, 'value, sign-extended'],
    uint8: [2, 'value'],
    int16: [3, 'value, sign-extended'],
    uint16: [4, 'value'],
    int32: [5, 'value, sign-extended'],
    uint32: [6, 'value'],
    int64: [7, 'value'],
    uint64: [8, 'value'],
    string: [9, 'payload: bytes without the closing NUL'],
    char_buf: [10, 'payload: bytes'],
    char_iovec: [11, 'payload: bytes'],
    const_buf: [12, 'payload: bytes'],
    filename: [13, 'payload: path bytes'],
    fd: [
      14,
      'value: the number (low 32 bits) and the inode mode (high 32 bits); payload: path bytes of the open file',
    ],
    file: [15, 'value: inode mode; payload: path bytes'],
    path: [16, 'value: inode mode; payload: path bytes'],
    dentry: [17, 'value: inode mode; payload: path bytes'],
    kiocb: [18, 'value: inode mode; payload: path bytes'],
    iov_iter: [19, 'payload: bytes'],
    linux_binprm: [20, 'value: inode mode of the file; payload: path bytes of the file being executed'],
    data_loc: [21, 'payload: bytes'],
    sock: [22, 'payload: struct socket_argument'],
    socket: [23, 'payload: struct socket_argument'],
    skb: [24, 'payload: struct socket_argument'],
    sockaddr: [25, 'payload: struct socket_argument'],
    sockaddr_un: [26, 'value: AF_*; payload: path bytes, or "@" and those of an abstract name'],
    net_device: [27, 'payload: name bytes'],
    cred: [28, 'payload: struct credential_argument'],
    capability: [29, 'value: number of the capability'],
    kernel_cap_t: [30, 'value: capability bits'],
    cap_inheritable: [31, 'value: capability bits'],
    cap_permitted: [32, 'value: capability bits'],
    cap_effective: [33, 'value: capability bits'],
    user_namespace: [34, 'payload: struct user_namespace_argument'],
    bpf_attr: [35, 'payload: struct bpf_argument; value: bytes of its name'],
    bpf_cmd: [36, 'value: number of the command'],
    bpf_map: [37, 'payload: struct bpf_argument; value: bytes of its name'],
    bpf_prog: [38, 'payload: struct bpf_argument; value: bytes of its name'],
    perf_event: [39, 'payload: struct perf_event_argument; value: bytes of the name of its function'],
    load_info: [40, 'payload: struct module_argument; value: bytes of its name'],
    module: [41, 'payload: struct module_argument; value: bytes of its name'],
    syscall64: [42, 'value: number of the call (low 32 bits) and ABI (high 32 bits: 0 x64, 1 i386)'],
    nop: [43, 'nothing; holds its position'],
  },
);

export const argumentFlag = enumeration('argument_flag', 'Bits of an argument, as bit values.', {
  truncated: [1, 'the payload is cut short; original_length says how long it was, where that is known'],
  unreadable: [2, 'the memory could not be read: no value and no payload'],
  hidden: [4, 'read for matching only; no event shows it'],
  returned: [8, 'read at the return of the call'],
  unlinked: [16, 'the file that the path names has no link left'],
  redacted: [32, 'a filter has masked it'],
});

export const action = enumeration(
  'action',
  'What a selector does; the numbers of KprobeAction that Tetragon clients know.',
  {
    unknown: [0, ''],
    post: [1, 'an event is sent'],
    followfd: [2, ''],
    sigkill: [3, 'the process is killed'],
    unfollowfd: [4, ''],
    override: [5, 'the call returns the given error'],
    copyfd: [6, ''],
    geturl: [7, 'the agent calls a URL'],
    dnslookup: [8, 'the agent looks a name up'],
    nopost: [9, 'no event is sent'],
    signal: [10, 'the process is sent the given signal'],
    tracksock: [11, ''],
    untracksock: [12, ''],
    notifyenforcer: [13, 'the enforcer acts on the call'],
    cleanupenforcernotification: [14, 'the notification is taken back'],
    set: [15, 'an argument is set'],
  },
);

export const severity = enumeration('severity', 'How grave a filter judges an event.', {
  none: [0, 'not judged'],
  info: [1, ''],
  low: [2, ''],
  medium: [3, ''],
  high: [4, ''],
  critical: [5, ''],
});

export const verdict = enumeration('verdict', 'What a filter says of a record.', {
  keep: [0, 'goes on'],
  drop: [1, 'ends here'],
});

export const lossStage = enumeration(
  'loss_stage',
  'Where events were lost. Each is a counter, a metric and a row of `weir status`.',
  {
    ring_full: [0, 'the ring buffer had no room'],
    scratch_busy: [1, 'no scratch slot was free for this context'],
    program_skipped: [2, 'the kernel skipped a program that was re-entered'],
    agent_down: [3, 'produced while no agent read, and gone'],
    queue_full: [4, 'a queue in the agent was full'],
    spool_full: [5, 'the spool had reached its size'],
    filter: [6, 'a filter that fails closed held it back'],
    sink: [7, 'a sink could not take it'],
    upload: [8, 'the control plane refused the segment'],
    throttled: [9, 'a throttle of the node held it back in the kernel'],
  },
);

export const throttleScope = enumeration('throttle_scope', 'Whose events a throttle counts together.', {
  thread: [0, 'those of a thread'],
  process: [1, 'those of a process'],
  cgroup: [2, 'those of all processes of a cgroup: of a container, of a service'],
  policy: [3, 'those of a policy, of whatever process'],
});

/** Columns of the process's namespaces, in the order of the arrays that hold them. */
export const namespaceKind = enumeration(
  'namespace_kind',
  'Index of a namespace in the arrays of inode numbers.',
  {
    uts: [0, ''],
    ipc: [1, ''],
    mnt: [2, ''],
    pid: [3, ''],
    pid_for_children: [4, ''],
    net: [5, ''],
    time: [6, ''],
    time_for_children: [7, ''],
    cgroup: [8, ''],
    user: [9, ''],
  },
);

export const enumerations = [
  eventKind,
  recordFlag,
  execFlag,
  argumentType,
  argumentFlag,
  action,
  severity,
  verdict,
  lossStage,
  throttleScope,
  namespaceKind,
];
