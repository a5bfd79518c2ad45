/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns process_state: what is known of a process, in task storage of its thread group's leader, so that all
// threads share it, io_uring's workers (threads of the same group) included.
//
// Life of a state:
//   fork   a copy of the parent's, where the parent has one: the binary keeps the name that it had when it
//   was
//          executed, even where the file is deleted or renamed since. The scope is evaluated anew.
//   exec   written anew; the scope is not evaluated.
//   first use by a hook, where there is none (the process was there before the programs): filled from the
//          executable of the process as it is named now, " (deleted)" left out.
//   exit   the kernel frees it with the task.

#ifndef WEIR_PROCESS_H
#define WEIR_PROCESS_H

#include "path.h"

// The longest value with which a binary is compared.
#define WEIR_BINARY_VALUE_BYTES_MAX (WEIR_LIMIT_TRIE_DATA_BYTES - 1)

// The storage of `leader`, made where there is none. NULL where that fails: no memory, or another program on
// this CPU is in the middle of such a call (counted storage_failed).
static __always_inline struct process_state *process_state_make(struct task_struct *leader) {
    struct process_state *state =
        bpf_task_storage_get(&process_states, leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!state)
        count(WEIR_KERNEL_COUNTER_STORAGE_FAILED);
    return state;
}

// The storage of `leader` where there is one.
static __always_inline struct process_state *process_state_find(struct task_struct *leader) {
    return bpf_task_storage_get(&process_states, leader, NULL, 0);
}

// Writes the binary's path, which lies in the path buffer, into the state. The flag READY goes last: another
// thread of the process may be reading.
static __always_inline void process_state_write(struct process_state *state, const struct scratch *scratch,
                                                const struct path_text *text, __u64 exec_ns) {
    __u32 flags = PROCESS_STATE_READY | (state->flags & PROCESS_STATE_KEPT);
    // Of what lies in a detached mount the front is missing too.
    if (text->flags & (PATH_TRUNCATED | PATH_DETACHED))
        flags |= PROCESS_STATE_TRUNCATED;
    if (text->flags & PATH_UNREADABLE)
        flags |= PROCESS_STATE_UNREADABLE;
    path_copy_forward(scratch, text, state->forward);
    path_copy_reverse(scratch, state->reverse);
    state->binary_length = text->length;
    state->exec_ns = exec_ns;
    barrier();
    state->flags = flags;
}

// When `leader`'s process got its program; 0 where its state is not filled in: it has not called exec since
// the programs are there.
static __always_inline __u64 process_exec_ns(struct task_struct *leader) {
    const struct process_state *state = process_state_find(leader);

    return state && (state->flags & PROCESS_STATE_READY) ? state->exec_ns : 0;
}

/**
 * The state of the current process, filled in. For any program that runs in a task's context.
 *
 * Needs a claimed scratch slot and overwrites its path buffer where the state has to be filled first.
 * Returns NULL where there is no storage to be had: what depends on the process is then undecided (counted).
 * A kernel thread has a state of its own with an empty path. Look at PROCESS_STATE_UNREADABLE (undecided) and
 * PROCESS_STATE_TRUNCATED (undecided, but for suffixes) before the path is used.
 */
static __always_inline struct process_state *process_state_get(struct scratch *scratch, __u32 slot) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct task_struct *leader = task->group_leader;
    struct process_state *state = process_state_make(leader);
    if (!state || (state->flags & PROCESS_STATE_READY))
        return state;

    // Not on the stack, so that the verifier looks at what comes after this once, whatever is found here.
    struct path_text *text = &scratch->text;

    *text = (struct path_text){.at = WEIR_PATH_END};
    // The leader may have ended and have no memory any more: the current thread has the same. A kernel thread
    // can borrow the memory of a process (kthread_use_mm) and is no part of it.
    struct mm_struct *mm = BPF_CORE_READ(task, mm);
    if (mm && !(task->flags & WEIR_PF_KTHREAD)) {
        struct file *file = BPF_CORE_READ(mm, exe_file);
        if (file) {
            path_read_file(scratch, slot, file, PATH_OPTION_NO_SUFFIX, text);
        } else {
            count_failure(WEIR_FAILURE_PLACE_BINARY);
            text->flags = PATH_UNREADABLE;
        }
    }
    process_state_write(state, scratch, text, leader->start_boottime);
    return state;
}

#endif
