/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns throttles: of the events of one kind that a thread, a process, a cgroup or a policy makes, so many are
// sent in any window of time, and the rest is held back. What is enforced is enforced all the same. Each kind
// of event is counted apart, so that a flood of one hides no other.
//
// What passed is counted in windows that follow one upon the other. The window that ends now lies across two
// of them: of the one before as much counts as it still covers, as if its events had come evenly.
//
// Here it is noted who is throttled; the agent reads that, and tells of its beginning and its end.

#ifndef WEIR_THROTTLE_H
#define WEIR_THROTTLE_H

#include "counters.h"
#include "path.h"

enum {
    THROTTLE_SCOPES = 4,
    THROTTLE_TRIES = 4,
    THROTTLE_COUNT_BITS = 20,
    THROTTLE_ERROR_EXISTS = -17, // EEXIST
};
#define THROTTLE_COUNT_MAX ((1ULL << THROTTLE_COUNT_BITS) - 1)
#define THROTTLE_WINDOW_MAX ((1ULL << (64 - 2 * THROTTLE_COUNT_BITS)) - 1)
_Static_assert(THROTTLE_SCOPES == WEIR_THROTTLE_SCOPE_POLICY + 1, "each scope has a limit");

// Limits, by throttle_scope. Written by the agent before programs are attached.
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, THROTTLE_SCOPES);
    __type(key, __u32);
    __type(value, struct weir_throttle_limit);
} throttle_limits SEC(".maps");

// What passed in the present window and in the one before: from the highest bit on the window's number (24
// bits, which come round), the count of the one before and its own (20 bits each). Written by the programs,
// as one word; the least recently used goes where there is no room, so that too much may pass, but nothing is
// held back without cause. The loader makes it small where nothing is throttled.
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct weir_throttle_key);
    __type(value, __u64);
} throttle_windows SEC(".maps");

// Who is throttled. Entries are made and added to by the programs; the agent reads them, and deletes those
// that have ended. Who finds no room is throttled all the same (counted map_full), and is not told of.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 4096);
    __type(key, struct weir_throttle_key);
    __type(value, struct weir_throttled);
} throttled SEC(".maps");

/* Whether an event is one too many; if not, it is counted. Not static, for its stack. */
__noinline int throttle_exceeds(__u32 scope, __u32 id, __u64 instance, __u32 kind) {
    struct weir_throttle_key key = {.scope = scope, .id = id, .instance = instance, .kind = kind};
    const struct weir_throttle_limit *limit = bpf_map_lookup_elem(&throttle_limits, &scope);

    if (!limit)
        return 0;
    __u64 events = limit->events;
    __u64 window_ns = limit->window_ns;

    if (events == 0 || window_ns == 0)
        return 0;
    __u64 now = bpf_ktime_get_boot_ns();
    __u64 window = now / window_ns & THROTTLE_WINDOW_MAX;
    __u64 left_ns = window_ns - now % window_ns;
    __u64 *passed = bpf_map_lookup_elem(&throttle_windows, &key);

    if (!passed) {
        __u64 first = window << 2 * THROTTLE_COUNT_BITS | 1;
        long error = bpf_map_update_elem(&throttle_windows, &key, &first, BPF_NOEXIST);

        if (error && error != THROTTLE_ERROR_EXISTS) // else another CPU was first: this one passes uncounted
            count(WEIR_KERNEL_COUNTER_MAP_FULL);
        return 0;
    }
#pragma unroll
    for (int i = 0; i < THROTTLE_TRIES; i++) {
        __u64 was = *(volatile __u64 *)passed;
        __u64 counted_in = was >> 2 * THROTTLE_COUNT_BITS;
        __u64 before = was >> THROTTLE_COUNT_BITS & THROTTLE_COUNT_MAX;
        __u64 own = was & THROTTLE_COUNT_MAX;

        if (counted_in != window) {
            before = counted_in == ((window - 1) & THROTTLE_WINDOW_MAX) ? own : 0;
            own = 0;
        }
        // At most 2^20 times an hour in nanoseconds: below 2^62.
        if (before * left_ns / window_ns + own >= events)
            return 1;
        __u64 is = window << 2 * THROTTLE_COUNT_BITS | before << THROTTLE_COUNT_BITS | (own + 1);

        if (__sync_val_compare_and_swap(passed, was, is) == was)
            return 0;
    }
    return 0; // others count at the same time, again and again: it passes
}

/*
 * Notes an event that is held back. Uses the slot's memory for keys. Not static, for its stack.
 */
__noinline int throttle_note(__u32 slot, __u32 scope, __u32 id, __u64 instance) {
    struct weir_throttle_key key = {.scope = scope, .id = id, .instance = instance};
    struct scratch *scratch = path_scratch(slot);
    struct weir_throttled *entry = bpf_map_lookup_elem(&throttled, &key);
    __u64 now = bpf_ktime_get_boot_ns();

    count(WEIR_KERNEL_COUNTER_THROTTLED);
    if (!entry) {
        if (!scratch)
            return 0;
        struct weir_throttled *begun = (void *)scratch->key;
        struct task_struct *task = bpf_get_current_task_btf();

        _Static_assert(sizeof(*begun) <= sizeof(scratch->key), "scratch has room for an entry");
        __builtin_memset(begun, 0, sizeof(*begun));
        begun->since_ns = now;
        begun->last_ns = now;
        begun->held_back = 1;
        if (scope != WEIR_THROTTLE_SCOPE_POLICY) {
            begun->cgroup_id = task->cgroups->dfl_cgrp->kn->id;
            begun->start_ns = task->group_leader->start_boottime;
            begun->pid = task->tgid;
            begun->tid = task->pid;
            if (bpf_probe_read_kernel_str(begun->cgroup_name, sizeof(begun->cgroup_name),
                                          task->cgroups->dfl_cgrp->kn->name) < 0)
                count_failure(WEIR_FAILURE_PLACE_CGROUP_NAME);
        }
        long error = bpf_map_update_elem(&throttled, &key, begun, BPF_NOEXIST);

        if (error == 0)
            return 0;
        if (error == THROTTLE_ERROR_EXISTS) // another CPU was first
            entry = bpf_map_lookup_elem(&throttled, &key);
        if (!entry) {
            count(WEIR_KERNEL_COUNTER_MAP_FULL);
            return 0;
        }
    }
    __sync_fetch_and_add(&entry->held_back, 1);
    *(volatile __u64 *)&entry->last_ns = now;
    return 0;
}

/*
 * Whether an event of the current task is held back, and notes it. `policy_id` is 0 of what is of no policy.
 * Not static, for its stack.
 */
__noinline int throttle_holds(__u32 slot, __u32 policy_id, __u32 kind) {
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 scope = WEIR_THROTTLE_SCOPE_THREAD;
    __u32 id = task->pid;
    __u64 instance = task->start_boottime;

    // From the narrowest on: what a thread has too much of does not use up what others of its cgroup may.
    if (!throttle_exceeds(scope, id, instance, kind)) {
        scope = WEIR_THROTTLE_SCOPE_PROCESS;
        id = task->tgid;
        instance = task->group_leader->start_boottime;
        if (!throttle_exceeds(scope, id, instance, kind)) {
            scope = WEIR_THROTTLE_SCOPE_CGROUP;
            id = 0;
            instance = task->cgroups->dfl_cgrp->kn->id;
            if (!throttle_exceeds(scope, id, instance, kind)) {
                scope = WEIR_THROTTLE_SCOPE_POLICY;
                id = policy_id;
                instance = 0;
                if (policy_id == 0 || !throttle_exceeds(scope, id, instance, kind))
                    return 0;
            }
        }
    }
    throttle_note(slot, scope, id, instance);
    return 1;
}

#endif
