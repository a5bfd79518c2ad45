// SPDX-License-Identifier: Apache-2.0
// Owns which security functions stand on a system call's path, so that the call can be denied before it takes effect.
// Each row of `proven` is tried in both guests (test/vm/scenarios/prevent-*.ts): killed at its entry the call leaves no
// effect, and overridden it returns the errno. Rows that are only known stand apart and are relied on by nothing.
import { entryName } from './syscall-names.js';

export interface LsmPath {
  /** All of them are made to deny; a kernel may lack those of another version. */
  readonly functions: readonly string[];
  /** The only errno that the call returns when it is denied, whatever the function returned. */
  readonly onlyError?: number;
  /** An errno that does not deny, since the kernel reads it as another answer. */
  readonly notError?: number;
  /** What of the call crosses none of the functions, in words that follow "but not". */
  readonly gap?: string;
  /** Which of the functions it is depends on the kernel's version or on the entry: one that is not there is not missed. */
  readonly either?: true;
}

const NOT_PERMITTED = -1;
const NOT_IMPLEMENTED = -38;

const through = (...names: string[]): LsmPath => ({ functions: names.map((name) => `security_${name}`) });
/** A check of capabilities: what it returns is yes or no, and the call makes EPERM of it. */
const capable: LsmPath = { ...through('capable'), onlyError: NOT_PERMITTED };
const open: LsmPath = {
  // A file that O_CREAT makes is there before file_open is asked.
  ...through('path_mknod', 'inode_create', 'file_open'),
  gap: 'with O_PATH',
};
const creates = through('path_mknod', 'inode_create', 'file_open');
const sends = through('socket_sendmsg');
const receives = through('socket_recvmsg');
const forks = through('task_alloc');
/** Asked before anything of the new program is taken over. */
const executes = through('bprm_creds_for_exec');
/** The kernel makes EPERM of whatever forbids the look into another process. */
const memory: LsmPath = {
  ...through('ptrace_access_check'),
  onlyError: NOT_PERMITTED,
  gap: 'of the caller’s own memory',
};
const signals = through('task_kill');
const setsUser = through('task_fix_setuid');
const setsGroup = through('task_fix_setgid');
/** These ask only where something changes. */
const changes = 'where it changes nothing';

/** Asked anew for each read and write, whatever the file is. */
const accesses = through('file_permission');
const setsTimes: LsmPath = { ...through('inode_setattr'), gap: changes };
const removesAttribute = through('inode_removexattr');
const protects = through('file_mprotect');
const schedules = through('task_setscheduler');
const accepts = through('socket_accept');

/** By the name of the entry in the kernel, without its prefix. */
const proven: Readonly<Record<string, LsmPath>> = {
  // Namespaces and mounts.
  setns: capable,
  unshare: {
    ...through('capable', 'create_user_ns'),
    onlyError: NOT_PERMITTED,
    gap: 'for CLONE_FS, CLONE_FILES and CLONE_SYSVSEM',
  },
  mount: through('sb_mount'),
  umount: through('sb_umount'),
  fsopen: capable,
  fsmount: capable,
  open_tree: { ...capable, gap: 'without OPEN_TREE_CLONE' },
  mount_setattr: capable,
  move_mount: through('move_mount'),
  pivot_root: through('sb_pivotroot'),
  chroot: through('path_chroot'),
  // Files.
  open,
  openat: open,
  openat2: open,
  creat: creates,
  unlink: through('path_unlink'),
  unlinkat: through('path_unlink', 'path_rmdir'),
  rmdir: through('path_rmdir'),
  rename: through('path_rename'),
  renameat: through('path_rename'),
  renameat2: through('path_rename'),
  mkdir: through('path_mkdir'),
  mkdirat: through('path_mkdir'),
  mknod: through('path_mknod'),
  mknodat: through('path_mknod'),
  link: through('path_link'),
  linkat: through('path_link'),
  symlink: through('path_symlink'),
  symlinkat: through('path_symlink'),
  truncate: through('path_truncate'),
  chmod: through('path_chmod'),
  fchmod: through('path_chmod'),
  fchmodat: through('path_chmod'),
  fchmodat2: through('path_chmod'),
  chown: through('path_chown'),
  lchown: through('path_chown'),
  fchown: through('path_chown'),
  fchownat: through('path_chown'),
  setxattr: through('inode_setxattr'),
  lsetxattr: through('inode_setxattr'),
  fsetxattr: through('inode_setxattr'),
  removexattr: removesAttribute,
  lremovexattr: removesAttribute,
  fremovexattr: removesAttribute,
  utime: setsTimes,
  utimes: setsTimes,
  futimesat: setsTimes,
  utimensat: setsTimes,
  open_by_handle_at: through('file_open'),
  memfd_create: through('file_alloc'),
  pipe: through('file_alloc'),
  pipe2: through('file_alloc'),
  // Open files and memory.
  read: accesses,
  pread64: accesses,
  readv: accesses,
  preadv: accesses,
  preadv2: accesses,
  write: accesses,
  pwrite64: accesses,
  writev: accesses,
  pwritev: accesses,
  pwritev2: accesses,
  sendfile64: accesses,
  copy_file_range: accesses,
  splice: { ...accesses, gap: 'from one pipe to another' },
  getdents: accesses,
  getdents64: accesses,
  fallocate: accesses,
  // 6.2 made a function of its own of it (3350607dc563).
  ftruncate: { ...through('path_truncate', 'file_truncate'), either: true },
  // 32-bit programs have a function of their own since 6.8 (f1bb47a31dff), and in later versions of 6.1.
  ioctl: { ...through('file_ioctl', 'file_ioctl_compat'), either: true },
  fcntl: through('file_fcntl'),
  flock: through('file_lock'),
  mmap: through('mmap_file'),
  mprotect: protects,
  pkey_mprotect: protects,
  // Processes and credentials.
  fork: forks,
  vfork: forks,
  clone: forks,
  clone3: forks,
  execve: executes,
  execveat: executes,
  ptrace: {
    ...through('ptrace_access_check', 'ptrace_traceme'),
    gap: 'for requests to a process that is attached already',
  },
  process_vm_readv: memory,
  process_vm_writev: memory,
  kill: signals,
  tkill: signals,
  tgkill: signals,
  rt_sigqueueinfo: signals,
  rt_tgsigqueueinfo: signals,
  pidfd_send_signal: signals,
  setuid: setsUser,
  setreuid: setsUser,
  setresuid: { ...setsUser, gap: changes },
  setgid: setsGroup,
  setregid: setsGroup,
  setresgid: { ...setsGroup, gap: changes },
  setgroups: through('task_fix_setgroups'),
  capset: through('capset'),
  pidfd_getfd: memory,
  setpgid: through('task_setpgid'),
  setpriority: through('task_setnice'),
  setrlimit: through('task_setrlimit'),
  prlimit64: { ...through('task_setrlimit'), gap: 'where it only reads' },
  sched_setscheduler: schedules,
  sched_setparam: schedules,
  sched_setattr: schedules,
  sched_setaffinity: schedules,
  prctl: { ...through('task_prctl'), notError: NOT_IMPLEMENTED },
  // The kernel itself.
  bpf: through('bpf'),
  init_module: through('kernel_load_data'),
  finit_module: through('kernel_read_file'),
  delete_module: capable,
  perf_event_open: through('perf_event_open'),
  io_uring_setup: through('inode_init_security_anon'),
  userfaultfd: through('inode_init_security_anon'),
  reboot: capable,
  sethostname: capable,
  setdomainname: capable,
  acct: capable,
  adjtimex: { ...capable, gap: 'where it only reads' },
  ioperm: { ...capable, gap: 'where it gives ports up' },
  iopl: { ...capable, gap: 'to a lower level' },
  syslog: through('syslog'),
  swapon: capable,
  settimeofday: through('settime64'),
  clock_settime: { ...through('settime64'), gap: 'on clocks other than CLOCK_REALTIME' },
  // Sockets.
  socket: through('socket_create'),
  connect: through('socket_connect'),
  bind: through('socket_bind'),
  listen: through('socket_listen'),
  sendto: sends,
  sendmsg: sends,
  recvfrom: receives,
  recvmsg: receives,
  sendmmsg: sends,
  recvmmsg: receives,
  accept: accepts,
  accept4: accepts,
  shutdown: through('socket_shutdown'),
  setsockopt: through('socket_setsockopt'),
  socketpair: through('socket_create'),
};

/** Functions that are known to stand on a path, for whoever wants to hook them. */
const known: Readonly<Record<string, readonly string[]>> = {
  kexec_load: ['security_kernel_load_data'],
  kexec_file_load: ['security_kernel_read_file'],
  keyctl: ['security_key_permission', 'security_key_alloc'],
  setfsuid: ['security_task_fix_setuid'],
  swapoff: ['security_capable', 'security_file_open'],
};

/** Calls that cross no security function at all. */
const bare = new Set([
  'dup',
  'dup2',
  'dup3',
  'close',
  'seccomp',
  'personality',
  'timer_create',
  'modify_ldt',
]);

/** Every function of the table, in the order of its bit in a call's mark; the kernel stage has 64. */
export const lsmPathFunctions: readonly string[] = [
  ...new Set(Object.values(proven).flatMap(({ functions }) => functions)),
].sort();

/** The path of a system call, by its name or its entry's, where it is proven; undefined where it is not. */
export function lsmPathOf(syscallName: string): LsmPath | undefined {
  const name = entryName(syscallName);
  return Object.hasOwn(proven, name) ? proven[name] : undefined;
}

/** Names of the calls whose paths are proven. */
export const lsmPathCalls: readonly string[] = Object.keys(proven);

/** Where a system call can be denied; empty where nowhere; undefined where that is not known. */
export function denialPoints(syscallName: string): readonly string[] | undefined {
  const path = lsmPathOf(syscallName);
  if (path !== undefined) return path.functions;
  if (bare.has(syscallName)) return [];
  return Object.hasOwn(known, syscallName) ? known[syscallName] : undefined;
}

/** Why a system call cannot be made to return an errno; undefined where it can. */
export function whyNotOverridden(syscallName: string, error: number): string | undefined {
  const path = lsmPathOf(syscallName);
  if (path === undefined) {
    const points = denialPoints(syscallName);
    if (points === undefined)
      return 'it is not known which security function stands on its path; hook a security_* function';
    if (points.length === 0) return 'no security function stands on its path, so it cannot be made to fail';
    return `what stands on its path is not proven for every way through it; hook ${points.join(' or ')}`;
  }
  if (path.onlyError !== undefined && error !== path.onlyError)
    return `the kernel makes ${path.onlyError} of every denial on its path: write argError: ${path.onlyError}`;
  if (error === path.notError)
    return `the kernel takes ${error} from what stands on its path for leave to go on: write another argError`;
  return undefined;
}
