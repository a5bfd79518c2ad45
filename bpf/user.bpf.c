// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Entry points of hooks in programs and libraries, and where these are mapped: templates, the first cloned
// for each place in a file. What a run does is in hook.h, how it gets arguments in user.h and mapping.h.

#include "mapping.h"
#include "user.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Apart for its stack: see match_function. */
static __attribute__((noinline)) int match_user(void *ctx, __u32 slot, __u32 config_index) {
    return match_arguments(ctx, slot, config_index, user_value, false);
}

/* At an instruction of a program, which has not run yet. A signal that is sent is taken before it does. */
SEC("uprobe")
int observe_user(void *ctx) {
    run_hook(ctx, match_user, never);
    return 0;
}

static __always_inline long user_result(void *ctx, __u64 *value) {
    return bpf_probe_read_kernel(value, sizeof(*value), (void *)(address_of(ctx) + RETURN_VALUE_AT));
}

/* Where a function of a program has returned to whoever called it. */
SEC("uretprobe")
int at_user_return(void *ctx) {
    run_return(ctx, user_result);
    return 0;
}

/* Where a mapping is told of to a perf event. */
SEC("fentry/perf_event_mmap_output")
int observe_mapping(__u64 *ctx) {
    if (is_mapping_to_run(ctx))
        run_hook(ctx, match_mapping, never);
    return 0;
}
