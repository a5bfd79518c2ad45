/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what records say of a task: namespaces, credentials, cgroup, parent.
//
// A `struct task_struct *` here must be one that the verifier knows (an argument of tp_btf, or the current
// task): its fields are read by plain loads, which cost a nanosecond, not a helper call.

#ifndef WEIR_TASK_H
#define WEIR_TASK_H

#include "emit.h"

// Longest name of a directory, closing NUL included.
#define WEIR_CGROUP_NAME_BYTES_MAX 256

// Inode numbers by namespace_kind. A namespace that this kernel does not have is 0.
static __always_inline void task_namespaces(struct task_struct *task, __u32 namespaces[10]) {
    struct nsproxy *proxy = task->nsproxy;
    for (int i = 0; i < 10; i++)
        namespaces[i] = 0;
    if (proxy) { // none past exit
        namespaces[WEIR_NAMESPACE_KIND_UTS] = proxy->uts_ns->ns.inum;
        namespaces[WEIR_NAMESPACE_KIND_IPC] = proxy->ipc_ns->ns.inum;
        namespaces[WEIR_NAMESPACE_KIND_MNT] = proxy->mnt_ns->ns.inum;
        namespaces[WEIR_NAMESPACE_KIND_PID_FOR_CHILDREN] = proxy->pid_ns_for_children->ns.inum;
        namespaces[WEIR_NAMESPACE_KIND_NET] = proxy->net_ns->ns.inum;
        if (bpf_core_field_exists(struct nsproxy, time_ns)) { // CONFIG_TIME_NS, or before 5.6
            namespaces[WEIR_NAMESPACE_KIND_TIME] = proxy->time_ns->ns.inum;
            namespaces[WEIR_NAMESPACE_KIND_TIME_FOR_CHILDREN] = proxy->time_ns_for_children->ns.inum;
        }
        namespaces[WEIR_NAMESPACE_KIND_CGROUP] = proxy->cgroup_ns->ns.inum;
    }
    namespaces[WEIR_NAMESPACE_KIND_USER] = task->cred->user_ns->ns.inum;
}

// The number of the task in its own pid namespace, and that namespace. The numbers of a struct pid are an
// array that ends the struct. Its address is read as a number: added to a pointer of a known type, the level
// is refused by 6.1
// ("math between ptr_ pointer and register with unbounded min value is not allowed").
static __always_inline void task_namespace_pid(struct task_struct *task, __u32 *namespace_pid,
                                               __u32 namespaces[10]) {
    __u64 address = 0;
    __u32 level = 0, inum = 0;
    *namespace_pid = 0;
    long error = bpf_probe_read_kernel(&address, sizeof(address), &task->thread_pid);
    const struct pid *pid = (const void *)address;
    error |= bpf_probe_read_kernel(&level, sizeof(level), &pid->level);
    const struct upid *own = (const void *)(address + bpf_core_field_offset(struct pid, numbers) +
                                            (__u64)level * bpf_core_type_size(struct upid));
    const struct pid_namespace *namespace = NULL;
    error |= bpf_probe_read_kernel(namespace_pid, sizeof(*namespace_pid), &own->nr);
    error |= bpf_probe_read_kernel(&namespace, sizeof(namespace), &own->ns);
    error |= bpf_probe_read_kernel(&inum, sizeof(inum), &namespace->ns.inum);
    if (error)
        count_failure(WEIR_FAILURE_PLACE_NAMESPACE_PID);
    namespaces[WEIR_NAMESPACE_KIND_PID] = inum;
}

// kernel_cap_t is two u32 before 6.3 (a load of eight bytes across them is refused) and one u64 from then on
// (commit f122a08b197d): the same bytes, copied by a helper.
static __always_inline __u64 capabilities_read(const kernel_cap_t *capabilities) {
    __u64 bits = 0;
    if (bpf_probe_read_kernel(&bits, sizeof(bits), capabilities) != 0)
        count_failure(WEIR_FAILURE_PLACE_CREDENTIALS);
    return bits;
}

// The parent: the leader of the thread group of the task that is told when this one ends.
static __always_inline void task_parent(struct task_struct *task, __u32 *parent_pid, __u64 *parent_start_ns) {
    struct task_struct *parent = task->real_parent->group_leader;
    *parent_pid = parent->tgid;
    *parent_start_ns = parent->start_boottime;
}

// Appends the name of the task's cgroup in the v2 hierarchy: the last part of its path, empty for the root.
static __always_inline __u64 record_append_cgroup_name(struct scratch *scratch, __u64 end,
                                                       struct task_struct *task, struct weir_span *span) {
    span->offset = 0;
    span->length = 0;
    if (!record_has_room(end, WEIR_CGROUP_NAME_BYTES_MAX)) {
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
        return end;
    }
    long length = bpf_probe_read_kernel_str(scratch->record + end, WEIR_CGROUP_NAME_BYTES_MAX,
                                            task->cgroups->dfl_cgrp->kn->name);
    if (length < 0) {
        count_failure(WEIR_FAILURE_PLACE_CGROUP_NAME);
        return end;
    }
    __u64 without_nul = length - 1;
    if (length <= 1 || without_nul >= WEIR_CGROUP_NAME_BYTES_MAX)
        return end;
    span->offset = end;
    span->length = without_nul;
    return end + without_nul;
}

#endif
