/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the stacks of an event: what had been called in the kernel, and in the program that called it. They
// are taken once a run, where the program's context is at hand, and appended to each record that wants them.

#ifndef WEIR_STACK_H
#define WEIR_STACK_H

#include "hook_maps.h"
#include "path.h"
#include "spec.h"

enum {
    // As deep as the kernel goes by default (kernel.perf_event_max_stack).
    STACK_FRAMES_MAX = 127,
    STACK_BYTES_MAX = STACK_FRAMES_MAX * sizeof(__u64),
    // Frames before the one of the hooked function: that of the program, and of who calls programs.
    STACK_FRAMES_SKIPPED = 2,
};
_Static_assert(STACK_BYTES_MAX < WEIR_APPEND_BYTES_MAX, "a stack is appended in one piece");

struct hook_stacks {
    __u32 kernel_bytes;
    __u32 user_bytes;
    __u64 kernel[STACK_FRAMES_MAX];
    __u64 user[STACK_FRAMES_MAX];
};

/* By slot of scratch memory; belongs to who claimed that. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEIR_SCRATCH_SLOTS);
    __type(key, __u32);
    __type(value, struct hook_stacks);
} hook_stacks SEC(".maps");

/* Takes the stacks that selectors of this hook want. Inlined into a program's entry: context and frames are
 * its. */
static __always_inline void take_stacks(void *ctx, __u32 slot) {
    if (!HOOK_HAS(WEIR_HOOK_FEATURE_KERNEL_STACK | WEIR_HOOK_FEATURE_USER_STACK))
        return;
    struct hook_stacks *stacks = bpf_map_lookup_elem(&hook_stacks, &slot);

    if (!stacks)
        return;
    stacks->kernel_bytes = 0;
    stacks->user_bytes = 0;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_KERNEL_STACK)) {
        long bytes = bpf_get_stack(ctx, stacks->kernel, sizeof(stacks->kernel), STACK_FRAMES_SKIPPED);

        if (bytes > 0)
            stacks->kernel_bytes = bytes;
        else
            count_failure(WEIR_FAILURE_PLACE_STACK);
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_USER_STACK)) {
        long bytes = bpf_get_stack(ctx, stacks->user, sizeof(stacks->user), BPF_F_USER_STACK);

        // A thread of the kernel has none.
        if (bytes >= 0)
            stacks->user_bytes = bytes;
        else
            count_failure(WEIR_FAILURE_PLACE_STACK);
    }
}

/* Appends one stack to the record. Returns its new end. */
static __always_inline __u64 append_stack(struct scratch *scratch, __u64 end, const __u64 *frames,
                                          __u64 length, struct weir_span *span) {
    barrier_var(length);
    if (length > STACK_BYTES_MAX)
        length = STACK_BYTES_MAX;
    if (length == 0)
        return end;
    if (!record_has_room(end, STACK_BYTES_MAX) ||
        bpf_probe_read_kernel(scratch->record + end, length, frames) != 0) {
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
        return end;
    }
    span->offset = end;
    span->length = length;
    return end + length;
}

/* Appends the stacks that a selector wants. Returns the record's new end. Not static: see lay_out_argument.
 */
__noinline int append_stacks(__u32 slot, __u32 record_end, __u32 selector_flags) {
    struct hook_stacks *stacks = bpf_map_lookup_elem(&hook_stacks, &slot);
    struct scratch *scratch = path_scratch(slot);
    __u64 end = record_end & (32 * 1024 - 1);

    barrier_var(end);
    if (!stacks || !scratch)
        return record_end;
    if (selector_flags & WEIR_SELECTOR_FLAG_KERNEL_STACK)
        end = append_stack(scratch, end, stacks->kernel, stacks->kernel_bytes, &scratch->hook.kernel_stack);
    if (selector_flags & WEIR_SELECTOR_FLAG_USER_STACK)
        end = append_stack(scratch, end, stacks->user, stacks->user_bytes, &scratch->hook.user_stack);
    return end;
}

#endif
