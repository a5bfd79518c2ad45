// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points that work out the scopes of processes: after the process sensor's programs at an exec and a
// fork, which go on with these, and a walk over all tasks. What they do is in scope_subject.h.

#include "scope_subject.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sched_process_exec")
int scopes_at_exec(__u64 *context) {
    struct task_struct *task = (void *)context[0];
    struct task_struct *leader = task->group_leader;
    struct process_state *state = process_state_make(leader);

    if (state)
        work_out_process(task, leader, state);
    return 0;
}

SEC("tp_btf/sched_process_fork")
int scopes_at_fork(__u64 *context) {
    struct task_struct *child = (void *)context[1];

    if (child->pid != child->tgid) // a thread
        return 0;
    struct process_state *state = process_state_make(child);

    if (state)
        work_out_process(child, child, state);
    return 0;
}

/* Of what runs where no process does. */
static __always_inline void work_out_idle(void) {
    __u32 zero = 0, slot;
    struct process_state *state = bpf_map_lookup_elem(&idle_state, &zero);

    if (!state || is_worked_out(state))
        return;
    struct scratch *scratch = scratch_claim(&slot);

    if (!scratch)
        return;
    struct hook_work *work = hook_work_of(slot);

    if (work) {
        __builtin_memset(&work->subject, 0, sizeof(work->subject));
        work->subject.pid_namespace = WEIR_PID_INIT_INO;
        work->subject.known = SUBJECT_NAMESPACE_PID | SUBJECT_PID_NAMESPACE | SUBJECT_LINEAGE;
        work->process_state = (__u64)state;
        work_out_subject(slot, work, state);
    }
    scratch_release(slot);
}

/* For each task, and once more with none at the end. */
SEC("iter/task")
int scopes_of_tasks(struct bpf_iter__task *context) {
    struct task_struct *task = context->task;

    if (!task) {
        work_out_idle();
        return 0;
    }
    // Its fork is to come, and works it out.
    if (task->__state & WEIR_TASK_NEW)
        return 0;
    struct task_struct *leader = task->group_leader;
    struct process_state *state = process_state_make(leader);

    if (state && !is_worked_out(state))
        work_out_process(task, leader, state);
    return 0;
}
