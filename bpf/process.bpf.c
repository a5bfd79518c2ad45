// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points of the process sensor: exec, clone and exit of processes, and signals to the agent. What they
// do is in exec.h, clone.h, exit.h, tamper.h.

#include "clone.h"
#include "exec.h"
#include "exit.h"
#include "lineage.h"
#include "tamper.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// void sched_process_exec(struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
SEC("tp_btf/sched_process_exec")
int process_exec(__u64 *context) {
    struct task_struct *task = (void *)context[0];
    struct linux_binprm *bprm = (void *)context[2];
    __u32 slot;
    struct scratch *scratch = scratch_claim(&slot);
    if (!scratch)
        return 0;
    exec_record_send(scratch, slot, task, bprm);
    scratch_release(slot);
    bpf_tail_call(context, &scope_at_exec, 0);
    return 0;
}

// void sched_process_fork(struct task_struct *parent, struct task_struct *child)
SEC("tp_btf/sched_process_fork")
int process_clone(__u64 *context) {
    struct task_struct *parent = (void *)context[0];
    struct task_struct *child = (void *)context[1];
    __u32 slot;
    if (child->pid != child->tgid) // a thread
        return 0;
    clone_state(parent, child);
    struct scratch *scratch = scratch_claim(&slot);
    if (scratch) {
        clone_record_send(scratch, slot, child);
        scratch_release(slot);
    }
    bpf_tail_call(context, &scope_at_fork, 0);
    return 0;
}

// void sched_process_exit(struct task_struct *task), from 6.16 on with a second parameter, bool group_dead
SEC("tp_btf/sched_process_exit")
int process_exit(__u64 *context) {
    struct task_struct *task = (void *)context[0];
    __u32 slot;
    if (!exit_is_last(task)) {
        if (task->pid == task->tgid)
            lineage_leader_ends(task);
        return 0;
    }
    lineage_process_ends(task->group_leader);
    struct scratch *scratch = scratch_claim(&slot);
    if (!scratch)
        return 0;
    exit_record_send(scratch, slot, task);
    scratch_release(slot);
    return 0;
}

// void signal_generate(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)
SEC("tp_btf/signal_generate")
int agent_signalled(__u64 *context) {
    int signal = context[0];
    __u32 slot;

    if (!is_sent_to_agent(signal, (void *)context[2]))
        return 0;
    struct scratch *scratch = scratch_claim(&slot);

    if (!scratch)
        return 0;
    tamper_record_send(scratch, signal);
    scratch_release(slot);
    return 0;
}
