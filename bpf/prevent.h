/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the marks of system calls that are not to take effect. A signal at a call's entry kills its caller,
// but the call itself still runs; and the entry's program cannot make it fail. So the entry marks the thread,
// and the security functions on the path of that call (policy/src/lsm-paths.ts) deny it.
//
//     entry of the call    mark_function (hook.bpf.c)    sets the mark
//     security function    deny_marked (prevent.bpf.c)   denies while the mark names this function
//     return of the call   clear_mark (prevent.bpf.c)    takes the mark away
//
// A mark belongs to one thread and to one call of it, and never to a process: the next call, other threads,
// and whatever interrupts the thread meanwhile are let alone.

#ifndef WEIR_PREVENT_H
#define WEIR_PREVENT_H

#include "counters.h"

struct call_mark {
    // Bits of the functions that deny; 0 where there is no mark. Written last when it is set, first when
    // cleared.
    __u64 functions;
    // Number of the system call that is denied, as the thread's saved registers have it.
    __u64 call;
    // What the functions return, negative.
    __s32 error;
    // 1: a function has denied.
    __u32 is_denied;
};

// Key: the thread. Written by the thread's own entry and return of a call and by the functions that deny;
// deleted by the kernel with the thread.
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct call_mark);
} call_marks SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* What of the saved registers tells the system call, on x86-64. */
struct pt_regs___call {
    unsigned long orig_ax;
};

struct task_struct___own_stack {
    void *stack;
};

#pragma clang attribute pop

// Bytes of a kernel stack on x86-64 and arm64. Kernels with KASAN have twice as many: there a call that goes
// deeper than this is not denied, and is counted when it returns.
#define WEIR_KERNEL_STACK_BYTES (16 * 1024)

/* The number of the system call in which the thread entered the kernel. */
static __always_inline __u64 current_call(struct task_struct *task) {
    struct pt_regs___call *registers = (void *)bpf_task_pt_regs(task);

    return BPF_CORE_READ(registers, orig_ax);
}

/*
 * Whether a program runs on the stack of the current thread, that is, on the thread's own behalf. Interrupts,
 * soft ones included, have stacks of their own; what runs there with this thread as the current one is not
 * its call. The context of a program lies on the stack that it was called on. Its address is read as a number
 * from where the compiler spills it, since arithmetic on a context is refused ("dereference of modified ctx
 * ptr" and "math between ctx pointer and register with unbounded min value").
 */
static __always_inline bool is_on_thread_stack(void *ctx) {
    struct task_struct___own_stack *task = (void *)bpf_get_current_task_btf();
    void *spilled = ctx;
    __u64 here = 0;

    if (bpf_probe_read_kernel(&here, sizeof(here), &spilled) != 0)
        return false;
    return here - (__u64)task->stack < WEIR_KERNEL_STACK_BYTES;
}

/* The mark of the current thread's call, NULL where it has none. */
static __always_inline struct call_mark *call_mark_find(struct task_struct *task) {
    struct call_mark *mark = bpf_task_storage_get(&call_marks, task, NULL, 0);

    return mark && mark->functions ? mark : NULL;
}

/* Marks the current thread's call: these functions are to deny it. A call that cannot be marked is counted.
 */
static __always_inline void call_mark_set(__u64 functions, __s32 error) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct call_mark *mark = bpf_task_storage_get(&call_marks, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

    if (!mark) {
        count(WEIR_KERNEL_COUNTER_STORAGE_FAILED);
        count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
        return;
    }
    mark->call = current_call(task);
    mark->error = error;
    mark->is_denied = 0;
    barrier();
    mark->functions = functions;
}

static __always_inline void call_mark_clear(struct call_mark *mark) {
    mark->functions = 0;
}

#endif
