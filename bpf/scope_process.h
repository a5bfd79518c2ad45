/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what scopes look at of the current process: the texts of its binary and of its parent's, numbers
// (namespaces, process ids), and sets of numbers (capabilities). Which of these may change while a process
// runs is the planner's to know (scopeAttributeChanges).

#ifndef WEIR_SCOPE_PROCESS_H
#define WEIR_SCOPE_PROCESS_H

#include "cgroup.h"
#include "hook_kernel.h"
#include "lineage.h"
#include "match.h"
#include "process.h"
#include "spec.h"

/*
 * Inode number of a namespace of the current thread, 0 where this kernel has none of the kind. A thread that
 * is ending has given its namespaces back: *known is then false. Not static: its switch is looked at once.
 */
__noinline int namespace_inode(__u32 kind, bool *known) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct nsproxy *proxy = task->nsproxy;

    if (!known)
        return 0;
    *known = true;
    if (kind == WEIR_NAMESPACE_KIND_USER)
        return BPF_CORE_READ(task, cred, user_ns, ns.inum);
    if (kind == WEIR_NAMESPACE_KIND_PID) {
        struct pid *pid = BPF_CORE_READ(task, thread_pid);
        // numbers[] has an entry for each level; the last one is of the task's own namespace.
        struct upid *last = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
                            BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid);

        *known = pid != NULL;
        return BPF_CORE_READ(last, ns, ns.inum);
    }
    *known = proxy != NULL;
    switch (kind) {
    case WEIR_NAMESPACE_KIND_UTS:
        return BPF_CORE_READ(proxy, uts_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_IPC:
        return BPF_CORE_READ(proxy, ipc_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_MNT:
        return BPF_CORE_READ(proxy, mnt_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_PID_FOR_CHILDREN:
        return BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
    case WEIR_NAMESPACE_KIND_NET:
        return BPF_CORE_READ(proxy, net_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_TIME:
        return BPF_CORE_READ(proxy, time_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_TIME_FOR_CHILDREN:
        return BPF_CORE_READ(proxy, time_ns_for_children, ns.inum);
    case WEIR_NAMESPACE_KIND_CGROUP:
        return BPF_CORE_READ(proxy, cgroup_ns, ns.inum);
    default:
        return 0;
    }
}

/*
 * Number of the workload that the current process is in: that of its cgroup, or of the nearest around it that
 * is one's, as a container may have cgroups within its own; 0 for the host. Not static: its loop is looked at
 * once.
 */
__noinline int process_workload(bool *known) {
    struct task_struct *task = bpf_get_current_task_btf();
    int level = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);

    if (!known)
        return 0;
    *known = cgroup_levels_known(level);
#pragma clang loop unroll(disable)
    for (int step = 0; step < WEIR_CGROUP_STEPS_MAX; step++) {
        if (cgroup_levels_end(step, level))
            break;
        __u64 id = bpf_get_current_ancestor_cgroup_id(cgroup_level_at(step, level));
        __u32 *number = bpf_map_lookup_elem(&workloads, &id);

        if (number) {
            *known = true;
            return *number;
        }
    }
    return 0;
}

/* A process id of the current process (a scope_attribute). */
static __always_inline __u32 process_number(__u32 attribute, bool *known) {
    struct task_struct *task = bpf_get_current_task_btf();

    if (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_WORKLOAD) && attribute == WEIR_SCOPE_ATTRIBUTE_WORKLOAD)
        return process_workload(known);
    return attribute == WEIR_SCOPE_ATTRIBUTE_PID ? task->tgid : own_namespace_pid(task->group_leader, known);
}

/* A set of capabilities of the current thread. */
static __always_inline __u64 capability_set(__u32 attribute) {
    const struct cred *cred = bpf_get_current_task_btf()->cred;
    __u64 bits = 0;
    long error;

    if (attribute == WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED)
        error = bpf_core_read(&bits, sizeof(bits), &cred->cap_permitted);
    else if (attribute == WEIR_SCOPE_ATTRIBUTE_CAP_EFFECTIVE)
        error = bpf_core_read(&bits, sizeof(bits), &cred->cap_effective);
    else
        error = bpf_core_read(&bits, sizeof(bits), &cred->cap_inheritable);
    if (error)
        count_failure(WEIR_FAILURE_PLACE_CREDENTIALS);
    return bits;
}

/* Kinds of namespaces, as bits, in which the current thread is in another than its program began in. */
__noinline __u64 namespace_changes(bool *known) {
    struct process_state *state = process_state_find(bpf_get_current_task_btf()->group_leader);
    __u64 changed = 0;

    if (!known)
        return 0;
    *known = state && (state->flags & PROCESS_STATE_BASELINE);
    if (!*known)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 kind = 0; kind < WEIR_NAMESPACE_KIND_USER + 1; kind++) {
        bool one_known = true;
        __u32 inode = namespace_inode(kind, &one_known);

        if (!one_known)
            *known = false;
        if (inode != state->exec_namespaces[kind])
            changed |= 1ULL << kind;
    }
    return changed;
}

/*
 * Notes how the namespaces and capabilities are, of a process that was there before the programs. Not static,
 * for its stack.
 */
__noinline int fill_baseline(__u32 slot) {
    struct process_state *state = process_state_find(bpf_get_current_task_btf()->group_leader);
    bool known = true;

    // An argument that is not looked at would be left out at the call, and the verifier wants it there.
    if (slot >= WEIR_SCRATCH_SLOTS || !state || (state->flags & PROCESS_STATE_BASELINE))
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 kind = 0; kind < WEIR_NAMESPACE_KIND_USER + 1; kind++) {
        state->exec_namespaces[kind] = namespace_inode(kind, &known);
        if (!known)
            return 0;
    }
    state->exec_permitted = capability_set(WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED);
    state->exec_effective = capability_set(WEIR_SCOPE_ATTRIBUTE_CAP_EFFECTIVE);
    state->exec_inheritable = capability_set(WEIR_SCOPE_ATTRIBUTE_CAP_INHERITABLE);
    __sync_fetch_and_or(&state->flags, PROCESS_STATE_BASELINE);
    return 0;
}

/* Takes over what lineage_seeds says of the current process. Not static, for its stack. */
__noinline int sync_current_lineage(__u32 slot) {
    struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
    struct process_state *state = process_state_find(leader);
    const struct weir_lineage_config *config = lineage_config();

    if (slot < WEIR_SCRATCH_SLOTS && state && config) // see fill_baseline
        lineage_sync(state, leader, config);
    return 0;
}

/* Puts the members of a set of the current process into `set`. Returns whether they are known. */
static __always_inline bool process_set(__u32 attribute, struct weir_mask *set) {
    struct process_state *state = process_state_find(bpf_get_current_task_btf()->group_leader);
    bool known = true;

    mask_clear(set);
    if (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_CHANGES) &&
        attribute == WEIR_SCOPE_ATTRIBUTE_NAMESPACE_CHANGES) {
        set->words[0] = namespace_changes(&known);
        return known;
    }
    if (attribute <= WEIR_SCOPE_ATTRIBUTE_CAP_INHERITABLE) {
        set->words[0] = capability_set(attribute);
        return true;
    }
    if (!state)
        return false;
    switch (attribute) {
    case WEIR_SCOPE_ATTRIBUTE_LINEAGE:
        mask_copy(set, &state->lineage, WEIR_LIMIT_MASK_WORDS);
        return !(state->flags & PROCESS_STATE_LINEAGE_UNKNOWN);
    case WEIR_SCOPE_ATTRIBUTE_PARENT_LINEAGE:
        mask_copy(set, &state->parent_lineage, WEIR_LIMIT_MASK_WORDS);
        return !(state->flags & PROCESS_STATE_LINEAGE_UNKNOWN);
    case WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED_CHANGES:
        set->words[0] = state->exec_permitted;
        break;
    case WEIR_SCOPE_ATTRIBUTE_CAP_EFFECTIVE_CHANGES:
        set->words[0] = state->exec_effective;
        break;
    default:
        set->words[0] = state->exec_inheritable;
    }
    set->words[0] ^= capability_set(
        attribute - (WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED_CHANGES - WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED));
    return state->flags & PROCESS_STATE_BASELINE;
}

/*
 * Fills in the parent's binary, of a process that was there before the programs: what the parent runs now.
 * Overwrites the path buffer of the slot. Not static: reading a path has a frame of its own.
 */
__noinline int fill_parent_binary(__u32 slot) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct process_state *state = process_state_find(task->group_leader);
    struct scratch *scratch = path_scratch(slot);
    struct path_text text = {.at = WEIR_PATH_END};

    if (!state || !scratch || (state->flags & PROCESS_STATE_PARENT_READY))
        return 0;
    struct task_struct *parent = task->real_parent->group_leader;
    struct process_state *known = process_state_find(parent);
    __u32 flags = PROCESS_STATE_PARENT_READY;

    if (known && (known->flags & PROCESS_STATE_READY)) {
        bpf_probe_read_kernel(state->parent_forward, WEIR_STATE_TEXT_BYTES, known->forward);
        bpf_probe_read_kernel(state->parent_reverse, WEIR_STATE_TEXT_BYTES, known->reverse);
        state->parent_length = known->binary_length;
        flags |= (known->flags & (PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE)) << 4;
    } else {
        struct file *file = BPF_CORE_READ(parent, mm, exe_file);

        if (file) { // else a kernel thread, or one that has ended: no path
            path_read_file(scratch, slot, file, PATH_OPTION_NO_SUFFIX, &text);
            if (text.flags & (PATH_TRUNCATED | PATH_DETACHED))
                flags |= PROCESS_STATE_PARENT_TRUNCATED;
            if (text.flags & PATH_UNREADABLE)
                flags |= PROCESS_STATE_PARENT_UNREADABLE;
        }
        path_copy_forward(scratch, &text, state->parent_forward);
        path_copy_reverse(scratch, state->parent_reverse);
        state->parent_length = text.length;
    }
    barrier();
    __sync_fetch_and_or(&state->flags, flags);
    return 0;
}

#endif
