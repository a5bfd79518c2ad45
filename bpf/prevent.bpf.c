// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points of what keeps a marked system call from taking effect. Each is a template that the loader
// clones: one program for each security function, one for the return of each system call.

#include "prevent.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

// Bit of the function that a clone of deny_marked is for.
const volatile __u64 function_bit = 0;

enum {
    ERROR_NOT_PERMITTED = -1, // EPERM
    ERROR_LOWEST = -4095,
};

/* Denies what a marked call asks. */
SEC("fmod_ret/security_file_open")
int deny_marked(__u64 *ctx) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct call_mark *mark = call_mark_find(task);

    if (!mark || !(mark->functions & function_bit))
        return 0;
    if (mark->call != current_call(task) || !is_on_thread_stack(ctx))
        return 0;
    __s32 error = mark->error;

    mark->is_denied = 1;
    // The verifier wants the range seen; a value beyond it would not be taken for an error.
    if (error >= 0 || error < ERROR_LOWEST)
        error = ERROR_NOT_PERMITTED;
    return error;
}

/* Takes the mark away when the call returns. A call that came to its end past all functions is counted. */
SEC("fexit/security_file_open")
int clear_mark(__u64 *ctx) {
    struct call_mark *mark = call_mark_find(bpf_get_current_task_btf());
    __u64 result = 0;

    if (!mark)
        return 0;
    if (!mark->is_denied && bpf_get_func_ret(ctx, &result) == 0 && (__s64)result >= 0)
        count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
    call_mark_clear(mark);
    return 0;
}
