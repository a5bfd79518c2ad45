/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what selectors ask of the enforcers of their policy (NotifyEnforcer): to signal the thread, or to make
// its call fail, when it comes to one of the functions that the enforcers are on. It is asked of the thread
// that matched, and done once: the first enforcer takes it. A thread that ends takes it along.

#ifndef WEIR_NOTIFY_H
#define WEIR_NOTIFY_H

#include "counters.h"
#include "hook_maps.h"

enum {
    // Policies that can have asked something of one thread at a time.
    NOTIFICATIONS_MAX = 4,
};

struct notification {
    // 0 where there is none.
    __u32 policy_id;
    __s32 error;
    __u32 signal;
    __u32 reserved;
};

struct thread_notifications {
    struct notification waiting[NOTIFICATIONS_MAX];
};

// Key: the thread. Read and written by the thread's own calls, never by what interrupts it; deleted by the
// kernel with the thread.
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread_notifications);
} notifications SEC(".maps");

/* What is asked of the current thread, NULL where nothing ever was. */
static __always_inline struct thread_notifications *notifications_find(void) {
    return bpf_task_storage_get(&notifications, bpf_get_current_task_btf(), NULL, 0);
}

/* Whether anything is asked of the current thread. */
static __always_inline bool is_notified(void) {
    struct thread_notifications *all = notifications_find();
    __u32 any = 0;

    if (!all)
        return false;
#pragma unroll
    for (int i = 0; i < NOTIFICATIONS_MAX; i++)
        any |= all->waiting[i].policy_id;
    return any != 0;
}

/* Takes what a policy asks of the current thread into the work of this run. Returns 0 where it asks nothing.
 * Not static, so that the verifier looks at it once. */
__noinline int notification_take(__u32 slot, __u32 policy_id) {
    struct hook_work *work = hook_work_of(slot);
    struct thread_notifications *all = notifications_find();

    if (!work || !all)
        return 0;
#pragma unroll
    for (int i = 0; i < NOTIFICATIONS_MAX; i++) {
        if (all->waiting[i].policy_id == policy_id) {
            work->asked_error = all->waiting[i].error;
            work->asked_signal = all->waiting[i].signal;
            all->waiting[i].policy_id = 0;
            return 1;
        }
    }
    return 0;
}

/* Asks the enforcers of a policy to act on the current thread, in place of what it asked before. Returns
 * whether that could be noted. Not static, so that the verifier looks at
 * it once. */
__noinline int notification_set(__u32 policy_id, __s32 error, __u32 signal) {
    struct thread_notifications *all = bpf_task_storage_get(&notifications, bpf_get_current_task_btf(), NULL,
                                                            BPF_LOCAL_STORAGE_GET_F_CREATE);
    __u32 free_place = NOTIFICATIONS_MAX;

    if (!all) {
        count(WEIR_KERNEL_COUNTER_STORAGE_FAILED);
        return 0;
    }
#pragma unroll
    for (int i = NOTIFICATIONS_MAX - 1; i >= 0; i--) {
        if (all->waiting[i].policy_id == 0)
            free_place = i;
    }
#pragma unroll
    for (int i = 0; i < NOTIFICATIONS_MAX; i++) {
        if (all->waiting[i].policy_id == policy_id)
            free_place = i;
    }
    if (free_place >= NOTIFICATIONS_MAX) {
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
        return 0;
    }
    struct notification *place = &all->waiting[free_place];

    place->error = error;
    place->signal = signal;
    place->policy_id = policy_id;
    return 1;
}

#endif
