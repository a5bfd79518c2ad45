/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the fields of kernel structs that only hooks read, beside those of kernel.h. The part of a name from
// the three underscores on is for this file alone: CO-RE takes it off.

#ifndef WEIR_HOOK_KERNEL_H
#define WEIR_HOOK_KERNEL_H

#include "kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* The registers of a system call on x86-64, in which its arguments came. */
struct pt_regs___x86 {
    unsigned long di, si, dx, r10, r8, r9, bx, cx, bp;
};

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

struct task_struct___files {
    struct files_struct *files;
};

struct kiocb {
    struct file *ki_filp;
};

struct file___mode {
    unsigned int f_mode;
};

struct thread_info {
    __u32 status;
};

struct task_struct___thread_info {
    struct thread_info thread_info;
};

struct in6_addr {
    __u8 bytes[16];
};

typedef struct {
    __s64 counter;
} atomic64_t;

struct sock_common {
    __u32 skc_daddr, skc_rcv_saddr;
    __u16 skc_dport, skc_num;
    unsigned short skc_family;
    volatile unsigned char skc_state;
    struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
    atomic64_t skc_cookie;
};

struct sock {
    struct sock_common __sk_common;
    __u16 sk_type, sk_protocol;
    __u32 sk_mark, sk_priority;
};

struct inet_sock {
    struct sock sk;
    __u16 inet_sport;
};

struct socket {
    short type;
    struct sock *sk;
};

struct task_struct___stack {
    void *stack;
};

struct filename {
    const char *name;
};

struct net_device {
    char name[16];
};

struct sk_buff {
    struct sock *sk;
    unsigned char *head;
    unsigned int len;
    __u32 priority, mark, hash;
    __u16 protocol, transport_header, network_header;
};

struct bpf_map {
    enum bpf_map_type map_type;
    __u32 key_size, value_size, max_entries;
    char name[16];
};

struct bpf_prog_aux {
    char name[16];
};

struct bpf_prog {
    enum bpf_prog_type type;
    __u32 len;
    struct bpf_prog_aux *aux;
};

struct perf_event_attr___hook {
    __u32 type;
    __u64 config, kprobe_func, probe_offset;
};

struct perf_event {
    struct perf_event_attr___hook attr;
};

/* Without CONFIG_MODULE_SIG there is no sig_ok. */
struct module {
    char name[56];
    unsigned long taints;
    bool sig_ok;
};

struct load_info {
    const char *name;
    struct module *mod;
    bool sig_ok;
};

#pragma clang attribute pop

/* THREAD_SIZE of x86 and arm64 without KASAN; further off is another stack, as each has an unmapped page
 * around it. */
#define WEIR_THREAD_STACK_BYTES (16 * 1024)

/* Of a call's number: by the ABI with 32-bit addresses on the 64-bit entry (asm/unistd.h of x86). */
#define WEIR_X32_SYSCALL_BIT 0x40000000ULL

/* The call came by the 32-bit entry (asm/thread_info.h of x86). */
#define WEIR_TS_COMPAT 0x0002

/*
 * The file counts against no limit: the kernel's own, behind a file of overlayfs or of cachefiles
 * (linux/fs.h; from 6.5 on such a file has FMODE_BACKING besides).
 */
#define WEIR_FMODE_NOACCOUNT 0x20000000

#endif
