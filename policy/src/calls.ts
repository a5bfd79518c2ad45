// SPDX-License-Identifier: Apache-2.0
// Owns what is known of kernel functions by their names alone: how system calls are spelled, and which `security_*`
// functions can deny. Through which of them a system call can be denied is in lsm-paths.ts; what a certain kernel has is
// not known here.
import { suggestion } from './nearest.js';
import type { ResolvedCall } from './places.js';
import { entryName, syscallNames } from './syscall-names.js';
import { syscallNumber32 } from './syscall-numbers.js';

/** The entry of a system call for 32-bit programs and for int 0x80. Its name is the kernel's own. */
function resolveEntry32(prefix: string, name: string, syscall: boolean): ResolvedCall | string {
  if (!syscall)
    return 'is the entry of a system call, whose arguments are in saved registers: write syscall: true';
  if (syscallNumber32(name) === undefined) return 'names no 32-bit system call';
  const symbol = `__ia32_${prefix}${entryName(name)}`;
  return { symbol, kind: 'syscall', meaning: symbol, syscallName: name };
}

/** Whether a system call's entry is that of 32-bit programs. */
export function isEntry32(symbol: string): boolean {
  return symbol.startsWith('__ia32_');
}

/** Resolves the name of a function as policies spell it, or says what is wrong with it. */
export function resolveCall(call: string, syscall: boolean): ResolvedCall | string {
  if (!/^[A-Za-z_][A-Za-z0-9_.]*$/.test(call)) {
    return 'is no name of a kernel function: letters, digits and "_" make one';
  }
  if (call.startsWith('__arm64_')) {
    return 'names an entry of another ABI: those of x86 can be hooked; write sys_NAME';
  }
  const entry32 = /^__ia32_((?:compat_)?sys_)(.+)$/.exec(call);
  if (entry32 !== null) return resolveEntry32(entry32[1] ?? '', entry32[2] ?? '', syscall);
  const entry = /^(?:__x64_)?sys_(.+)$/.exec(call);
  if (syscall) {
    const name = entry?.[1];
    if (name === undefined) {
      return syscallNames.has(call)
        ? `is written sys_${call} where syscall is true`
        : 'is no system call, and syscall is true (which is the default): write syscall: false for a kernel function, or sys_NAME for a system call';
    }
    if (!syscallNames.has(name)) {
      return `names no 64-bit system call: ${suggestion(
        name,
        [...syscallNames].filter((other) => other[0] === name[0]),
      )}`;
    }
    const symbol = `__x64_sys_${entryName(name)}`;
    return { symbol, kind: 'syscall', meaning: symbol, syscallName: name };
  }
  if (entry !== null && (call.startsWith('__x64_') || syscallNames.has(entry[1] ?? ''))) {
    return 'is the entry of a system call, whose arguments are in saved registers: write syscall: true';
  }
  const kind = call.startsWith('security_') ? 'security' : 'function';
  return { symbol: call, kind, meaning: call, syscallName: '' };
}

/** Functions that are not called after the LSM hook that they call. */
const callersOfHooks: Readonly<Record<string, string>> = {
  cred_prepare: 'security_prepare_creds',
  cred_transfer: 'security_transfer_creds',
  settime: 'security_settime64',
  userns_create: 'security_create_user_ns',
  vm_enough_memory: 'security_vm_enough_memory_mm',
};

/** The function that calls an LSM hook. Whether a kernel has it, and with the hook's own parameters, is not known here. */
export function callerOfHook(hook: string): string {
  if (Object.hasOwn(callersOfHooks, hook)) return callersOfHooks[hook] ?? '';
  return `security_${hook.replace(/_security$/, '')}`;
}

/** Where the kernel tells of files that are mapped to run (kernel/events/core.c). */
export const mappingFunction = 'perf_event_mmap_output';

/** An LSM hook as a policy names it. */
export function lsmCall(hook: string): ResolvedCall {
  return { symbol: hook, kind: 'lsm', meaning: callerOfHook(hook), syscallName: '' };
}

/** `security_*` functions that return nothing, or whose result is no denial. */
const undeniable = new Set(
  [
    'bprm_committing_creds bprm_committed_creds sb_free sb_delete sb_free_mnt_opts free_mnt_opts inode_free file_free',
    'cred_free task_free task_to_inode d_instantiate inode_post_setxattr inode_post_removexattr inode_post_create_tmpfile',
    'inode_post_set_acl inode_post_remove_acl inode_getsecid inode_getlsmprop inode_invalidate_secctx file_set_fowner',
    'file_post_open file_release path_post_mknod cred_getsecid cred_getlsmprop task_getsecid_obj task_getlsmprop_obj',
    'current_getsecid_subj current_getlsmprop_subj transfer_creds release_secctx ipc_getsecid ipc_getlsmprop msg_msg_free',
    'msg_queue_free shm_free sem_free sk_alloc sk_free sk_clone sk_classify_flow req_classify_flow sock_graft',
    'inet_csk_clone inet_conn_established secmark_refcount_inc secmark_refcount_dec tun_dev_free_security',
    'sctp_sk_clone ib_free_security bpf_map_free bpf_prog_free bpf_token_free key_free key_post_create_or_update',
    'perf_event_free audit_rule_free kernel_post_load_data_free bdev_free',
  ]
    .join(' ')
    .split(' ')
    .map((name) => `security_${name}`),
);

/** True where a function's return value can deny what it is asked about. */
export function isDeniable(symbol: string): boolean {
  return symbol.startsWith('security_') && !undeniable.has(symbol);
}

/** True where a selector on the call can make it fail. */
export function canDeny(call: ResolvedCall): boolean {
  return (call.kind === 'security' || call.kind === 'lsm') && isDeniable(call.meaning);
}

/** Functions whose first argument is the program that is about to be executed. */
export function isExecHook(symbol: string): boolean {
  return /^security_bprm_/.test(symbol);
}

/** System calls whose work io_uring does as well, past every system-call hook. */
const ringCalls = new Set(
  (
    'read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 fsync fdatasync sync_file_range openat openat2 close ' +
    'statx fallocate fadvise64 madvise sendmsg recvmsg sendto recvfrom accept accept4 connect bind listen socket shutdown ' +
    'epoll_ctl epoll_wait splice tee renameat renameat2 unlinkat mkdirat symlinkat linkat setxattr fsetxattr getxattr ' +
    'fgetxattr ftruncate poll timerfd_settime pipe2'
  ).split(' '),
);

export function isRingCall(syscallName: string): boolean {
  return ringCalls.has(syscallName);
}
