/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the clone record: a new process.
//
// It is made at the tracepoint sched_process_fork, which comes when a task is complete and has not run yet:
// before any record of its own. task_newtask would also tell of the threads that io_uring makes
// (create_io_thread() goes round kernel_clone()), but these are threads of a process that is known, and only
// new processes are told here.

#ifndef WEIR_CLONE_H
#define WEIR_CLONE_H

#include "lineage.h"
#include "process.h"
#include "task.h"
#include "withhold.h"

// The child starts with its parent's program: it gets the parent's state, under the name that the binary had
// when it was executed. Where the parent has none (it was there before), the child's is filled when first
// needed; but for lineages, which it inherits now.
static __always_inline void clone_state(struct task_struct *parent, struct task_struct *child) {
    struct task_struct *leader = parent->group_leader;
    const struct weir_lineage_config *lineages = lineage_config();
    struct process_state *from = lineages ? process_state_make(leader) : process_state_find(leader);
    if (!from)
        return;
    if (lineages)
        lineage_sync(from, leader, lineages);
    bool is_ready = from->flags & PROCESS_STATE_READY;
    if (!is_ready && !lineages)
        return;
    struct process_state *to = process_state_make(child);
    if (!to)
        return;
    lineage_fork(from, to, child, lineages);
    __u32 flags = from->flags & PROCESS_STATE_LINEAGE_UNKNOWN;
    if (is_ready) {
        __builtin_memcpy(to->forward, from->forward, sizeof(to->forward));
        __builtin_memcpy(to->reverse, from->reverse, sizeof(to->reverse));
        __builtin_memcpy(to->parent_forward, from->forward, sizeof(to->parent_forward));
        __builtin_memcpy(to->parent_reverse, from->reverse, sizeof(to->parent_reverse));
        to->binary_length = from->binary_length;
        to->parent_length = from->binary_length;
        to->exec_ns = child->start_boottime;
        __u32 own = from->flags & (PROCESS_STATE_READY | PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE);
        flags |= own | own << 4;
    }
    if (from->flags & PROCESS_STATE_BASELINE) {
        __builtin_memcpy(to->exec_namespaces, from->exec_namespaces, sizeof(to->exec_namespaces));
        to->exec_permitted = from->exec_permitted;
        to->exec_effective = from->exec_effective;
        to->exec_inheritable = from->exec_inheritable;
        flags |= PROCESS_STATE_BASELINE;
    }
    barrier();
    to->flags |= flags;
}

// Makes and sends the clone record of `child`.
static __always_inline void clone_record_send(struct scratch *scratch, __u32 slot,
                                              struct task_struct *child) {
    struct weir_clone_record *record = &scratch->clone;
    __u64 end = sizeof(*record);

    header_fill(&scratch->header, child, WEIR_EVENT_KIND_CLONE, 0);
    record->exec_ns = child->start_boottime;
    task_parent(child, &record->parent_pid, &record->parent_start_ns);
    task_namespaces(child, record->namespaces);
    task_namespace_pid(child, &record->namespace_pid, record->namespaces);
    end = record_append_cgroup_name(scratch, end, child, &record->cgroup_name);
    record->flags |= withhold_clone(scratch, slot, child);
    emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_CLONE);
}

#endif
