/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the exit record: the end of a process, once, when the last of its threads ends.

#ifndef WEIR_EXIT_H
#define WEIR_EXIT_H

#include "process.h"
#include "task.h"
#include "withhold.h"

/**
 * Says whether this thread is the one that tells of the end of its process.
 *
 * do_exit() has counted signal->live down before the tracepoint: 0 says that all threads are ending. But two
 * threads that end at once on two CPUs can both see 0 (only newer kernels pass `group_dead` to the
 * tracepoint), so the first one marks the leader's state. A process that never had a second thread needs no
 * mark.
 */
static __always_inline bool exit_is_last(struct task_struct *task) {
    struct signal_struct *signal = task->signal;
    if (signal->live.counter != 0)
        return false;
    struct task_struct *leader = task->group_leader;
    struct process_state *state = process_state_find(leader);
    // A thread that is ending is counted until it is gone, behind the tracepoint. So where this is the only
    // one left, another that saw 0 before had a second one beside it, and made the state.
    if (!state && signal->nr_threads > 1)
        state = process_state_make(leader);
    if (!state) // alone; or no storage (counted): twice is better than never
        return true;
    return !(__sync_fetch_and_or(&state->flags, PROCESS_STATE_EXITED) & PROCESS_STATE_EXITED);
}

// Makes and sends the exit record. The code is what wait(2) gives: the group's where exit_group(2) or a
// signal ended it, else that of the leader, whose end may lie back.
static __always_inline void exit_record_send(struct scratch *scratch, __u32 slot, struct task_struct *task) {
    struct weir_exit_record *record = &scratch->exit;
    struct signal_struct *signal = task->signal;

    header_fill(&scratch->header, task, WEIR_EVENT_KIND_EXIT, 0);
    record->exec_ns = process_exec_ns(task->group_leader);
    __u32 code =
        signal->flags & WEIR_SIGNAL_GROUP_EXIT ? signal->group_exit_code : task->group_leader->exit_code;
    record->status = (code >> 8) & 0xff;
    record->signal = code & 0x7f;
    record->flags |= withhold_exit(slot, task->group_leader);
    emit(scratch, sizeof(*record), WEIR_KERNEL_COUNTER_PRODUCED_EXIT);
}

#endif
