/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what this project says of the kernel's own structs: only the fields that a program reads. Offsets here
// mean nothing: every access is recorded for CO-RE and fixed when the object is loaded, by the names of
// struct and field. So fields stand in any order, and a nested anonymous struct or union of the kernel is
// left out. A struct that differs between kernels is explained where it does.

#ifndef WEIR_KERNEL_H
#define WEIR_KERNEL_H

#include <linux/types.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

// A function that the verifier looks at once, by itself: of what it returns, a caller then knows nothing but
// the type. Weak, so that the compiler knows no more either. Clang 19 proved that a result is 0 or 1 and left
// out the comparison that shows it to the verifier: "At callback return the register R0 ... should have been
// in [0, 1]".
#undef __noinline
#define __noinline __attribute__((noinline, weak))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
    __u32 hash;
    __u32 len;
    const unsigned char *name;
};

struct hlist_bl_node {
    struct hlist_bl_node *next, **pprev;
};

struct dentry_operations {
    char *(*d_dname)(void *, char *, int);
};

struct super_block {
    unsigned long s_magic;
    __u32 s_dev;
};

typedef struct {
    __u32 val;
} kuid_t;

typedef struct {
    __u32 val;
} kgid_t;

struct inode {
    __u16 i_mode;
    kuid_t i_uid;
    kgid_t i_gid;
    unsigned long i_ino;
    unsigned int i_nlink;
    struct super_block *i_sb;
    void *i_private;
};

struct dentry {
    struct hlist_bl_node d_hash;
    struct dentry *d_parent;
    struct qstr d_name;
    struct inode *d_inode;
    const struct dentry_operations *d_op;
    struct super_block *d_sb;
};

struct vfsmount {
    struct dentry *mnt_root;
    int mnt_flags;
};

struct mount {
    struct mnt_namespace *mnt_ns;
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
};

struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
};

struct file {
    struct path f_path;
    struct inode *f_inode;
};

struct fs_struct {
    struct path root, pwd;
};

struct mm_struct {
    unsigned long arg_start, arg_end;
    struct file *exe_file;
};

struct proc_ns_operations {
    const char *name;
};

struct ns_common {
    const struct proc_ns_operations *ops;
    unsigned int inum;
};

struct uts_namespace {
    struct ns_common ns;
};

struct ipc_namespace {
    struct ns_common ns;
};

struct mnt_namespace {
    struct ns_common ns;
};

struct pid_namespace {
    struct ns_common ns;
};

struct net {
    struct ns_common ns;
};

struct time_namespace {
    struct ns_common ns;
};

struct cgroup_namespace {
    struct ns_common ns;
};

struct uid_gid_extent {
    __u32 first;
    __u32 lower_first;
    __u32 count;
};

// Where there are more extents than fit in the struct, `forward` points to them, sorted by `first`.
struct uid_gid_map {
    __u32 nr_extents;
    struct uid_gid_extent extent[5];
    struct uid_gid_extent *forward;
};

struct user_namespace {
    struct ns_common ns;
    struct uid_gid_map uid_map;
    int level;
    kuid_t owner;
    kgid_t group;
};

struct nsproxy {
    struct uts_namespace *uts_ns;
    struct ipc_namespace *ipc_ns;
    struct mnt_namespace *mnt_ns;
    struct pid_namespace *pid_ns_for_children;
    struct net *net_ns;
    struct time_namespace *time_ns;
    struct time_namespace *time_ns_for_children;
    struct cgroup_namespace *cgroup_ns;
};

struct upid {
    int nr;
    struct pid_namespace *ns;
};

struct pid {
    unsigned int level;
    struct upid numbers[1];
};

// 6.1 holds two u32, 6.3 and later one u64: the same eight bytes on a little-endian machine, which are always
// taken by their address (`struct` against `struct` is all that CO-RE compares).
typedef struct {
    __u64 val;
} kernel_cap_t;

struct cred {
    kuid_t uid, suid, euid, fsuid;
    kgid_t gid, sgid, egid, fsgid;
    unsigned int securebits;
    kernel_cap_t cap_inheritable, cap_permitted, cap_effective, cap_ambient;
    struct user_namespace *user_ns;
};

struct kernfs_node {
    const char *name;
    __u64 id;
};

struct cgroup {
    int level;
    struct kernfs_node *kn;
};

struct css_set {
    struct cgroup *dfl_cgrp;
};

typedef struct {
    int counter;
} atomic_t;

struct signal_struct {
    atomic_t live;
    int nr_threads;
    unsigned int flags;
    int group_exit_code;
};

struct task_struct {
    unsigned int __state;
    unsigned int flags;
    int pid;
    int tgid;
    int exit_code;
    __u64 start_boottime;
    struct task_struct *real_parent;
    struct task_struct *group_leader;
    struct pid *thread_pid;
    const struct cred *cred;
    struct fs_struct *fs;
    struct nsproxy *nsproxy;
    struct signal_struct *signal;
    struct css_set *cgroups;
    struct mm_struct *mm;
    kuid_t loginuid;
};

/* Context of a walk over tasks. */
struct bpf_iter__task {
    struct task_struct *task;
};

struct linux_binprm {
    struct file *file;
    unsigned int per_clear;
};

#pragma clang attribute pop

// Values of the kernel that are no part of its BTF.
#define WEIR_MNT_NS_ANON_INO                                                                                 \
    0xeffffff7 // inode number of every anonymous mount namespace, from 6.18 on; 0 before
#define WEIR_PF_KTHREAD 0x00200000
#define WEIR_SIGNAL_GROUP_EXIT 0x00000004
#define WEIR_TASK_NEW 0x00000800
#define WEIR_PID_INIT_INO 0xeffffffc // inode number of the first pid namespace
#define WEIR_S_ISUID 0004000
#define WEIR_S_ISGID 0002000
#define WEIR_S_IXGRP 0000010
#define WEIR_PIPEFS_MAGIC 0x50495045
#define WEIR_SOCKFS_MAGIC 0x534f434b
#define WEIR_ANON_INODE_FS_MAGIC 0x09041934
#define WEIR_NSFS_MAGIC 0x6e736673
#define WEIR_PIDFS_MAGIC 0x50494446

#endif
