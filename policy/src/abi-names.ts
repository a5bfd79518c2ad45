// SPDX-License-Identifier: Apache-2.0
// Owns system calls that are named with their ABI, `i386/sys_dup` and `x64/sys_dup`: the kernel's own name of that
// entry. Where the 32-bit table leads to a function of another name, there is none to be had by this spelling: the
// kernel has a function `__ia32_sys_NAME` too, which nobody calls.
import { syscallNumber32 } from './syscall-numbers.js';

/** Calls whose 32-bit entry is `__ia32_compat_sys_NAME` (arch/x86/entry/syscalls/syscall_32.tbl). */
const compatible = new Set(
  `
epoll_pwait epoll_pwait2 execve execveat fanotify_mark fcntl fcntl64 fstatfs fstatfs64 ftruncate getdents getitimer
get_robust_list getrusage getsockopt gettimeofday io_setup io_submit ioctl ipc kexec_load keyctl lseek mq_getsetattr
mq_notify mq_open msgctl msgrcv msgsnd open open_by_handle_at openat preadv preadv2 process_vm_readv
process_vm_writev ptrace pwritev pwritev2 recvfrom recvmsg rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigsuspend rt_tgsigqueueinfo sched_getaffinity sched_setaffinity sendfile sendfile64 sendmmsg sendmsg
set_robust_list setitimer setrlimit setsockopt settimeofday shmat shmctl sigaction sigaltstack signalfd signalfd4
sigpending sigprocmask socketcall statfs statfs64 sysinfo timer_create times truncate ustat wait4 waitid
`
    .trim()
    .split(/\s+/),
);

/** Calls whose 32-bit entry is a function of another name: ids of 16 bits, times of 32, and what was replaced since. */
const otherwiseNamed = new Set(
  `
_newselect adjtimex chown clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime clone fadvise64
fadvise64_64 fallocate fchown fstat fstat64 fstatat64 ftruncate64 futex futimesat getegid geteuid getgid getgroups
getresgid getresuid getrlimit getuid io_getevents io_pgetevents lchown lstat lstat64 mmap mmap2 mq_timedreceive
mq_timedsend nanosleep oldfstat oldlstat oldolduname oldstat olduname ppoll pread64 pselect6 pwrite64 readahead
readdir recvmmsg rt_sigreturn rt_sigtimedwait sched_rr_get_interval select semctl semtimedop setfsgid setfsuid setgid
setgroups setregid setresgid setresuid setreuid setuid sigreturn stat stat64 stime sync_file_range time
timer_gettime timer_settime timerfd_gettime timerfd_settime truncate64 ugetrlimit umount uname utime utimensat utimes
`
    .trim()
    .split(/\s+/),
);

/** The name that the kernel has for a call that is named with its ABI; what is named without one stays as it is. */
export function withoutAbi(name: string): string {
  const [, abi, call] = /^(i386|x64)\/sys_(\w+)$/.exec(name) ?? [];
  if (abi === undefined || call === undefined) return name;
  if (abi === 'x64') return `sys_${call}`;
  if (syscallNumber32(call) === undefined || otherwiseNamed.has(call)) return name;
  return compatible.has(call) ? `__ia32_compat_sys_${call}` : `__ia32_sys_${call}`;
}
