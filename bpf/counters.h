/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns counting: of what happened (kernel_counter), and of what failed, by place (failure_place).
// Both are exact: a program can be interrupted on its CPU by another, so additions are atomic.

#ifndef WEIR_COUNTERS_H
#define WEIR_COUNTERS_H

#include "maps.h"

static __always_inline void count_many(enum weir_kernel_counter counter, __u64 many) {
    __u32 key = counter;
    __u64 *value = bpf_map_lookup_elem(&counters, &key);
    if (value)
        __sync_fetch_and_add(value, many);
}

static __always_inline void count(enum weir_kernel_counter counter) {
    count_many(counter, 1);
}

// Counts a failed read of kernel or user memory: in total, and by its place.
static __always_inline void count_failure(enum weir_failure_place place) {
    __u32 key = place;
    __u64 *value = bpf_map_lookup_elem(&failures, &key);
    if (value)
        __sync_fetch_and_add(value, 1);
    count(WEIR_KERNEL_COUNTER_UNREADABLE);
}

#endif
