/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the tamper record that the kernel makes: a signal that ends or stops the agent was sent to it. The
// record's process is who sent it.

#ifndef WEIR_TAMPER_H
#define WEIR_TAMPER_H

#include "emit.h"
#include "process.h"

// Process id of the agent, as the host counts; 0: nobody is watched.
const volatile __s32 agent_pid = 0;

// Signals that end or stop who does not handle them: INT, QUIT, ABRT, KILL, SEGV, TERM, STOP, TSTP.
#define ENDING_SIGNALS (1U << 2 | 1U << 3 | 1U << 6 | 1U << 9 | 1U << 11 | 1U << 15 | 1U << 19 | 1U << 20)

static __always_inline bool ends_or_stops(int signal) {
    return signal > 0 && signal < 32 && (ENDING_SIGNALS >> signal & 1);
}

/* Whether another process has sent the agent a signal of these. */
static __always_inline bool is_sent_to_agent(int signal, struct task_struct *to) {
    return agent_pid && to->tgid == agent_pid && bpf_get_current_task_btf()->tgid != agent_pid &&
           ends_or_stops(signal);
}

// The zeros give way to the number. As immediates: there is no string in the object.
#define SIGNAL_TEXT "signal 00 was sent to the agent"

static __always_inline void tamper_record_send(struct scratch *scratch, int signal) {
    struct weir_tamper_record *record = (void *)scratch->record;
    struct task_struct *task = bpf_get_current_task_btf();
    char *message = (char *)(record + 1);

    header_fill(&scratch->header, task, WEIR_EVENT_KIND_TAMPER, WEIR_RECORD_FLAG_PROTECTED);
    record->exec_ns = process_exec_ns(task->group_leader);
    __builtin_memcpy(message, SIGNAL_TEXT, sizeof(SIGNAL_TEXT) - 1);
    message[7] += (__u32)signal / 10 % 10;
    message[8] += (__u32)signal % 10;
    record->message.offset = sizeof(*record);
    record->message.length = sizeof(SIGNAL_TEXT) - 1;
    emit(scratch, sizeof(*record) + sizeof(SIGNAL_TEXT) - 1, WEIR_KERNEL_COUNTER_PRODUCED_TAMPER);
}

#endif
