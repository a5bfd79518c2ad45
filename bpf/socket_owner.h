/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns which process a socket belongs to: who was running when a selector said so (TrackSock). What happens
// to the socket later, in an interrupt or on another's behalf, is then told of that process.
//
// Life of an owner:
//   TrackSock      written, also over another
//   UntrackSock    deleted, after the event of that selector
//   the socket is freed, or no policy asks any more: deleted (forget_socket, the agent)

#ifndef WEIR_SOCKET_OWNER_H
#define WEIR_SOCKET_OWNER_H

#include "counters.h"
#include "hook_maps.h"
#include "owners.h"
#include "process.h"

enum {
    // Bytes of selector_entry.socket_arguments.
    OWNER_SET = 0,
    OWNER_FORGOTTEN = 8,
    OWNER_AT_RETURN = 16,
};

/* Whether an argument of a type is a socket, or has one. */
static __always_inline bool is_named_socket(__u8 type) {
    return type == WEIR_ARGUMENT_TYPE_SOCK || type == WEIR_ARGUMENT_TYPE_SOCKET ||
           type == WEIR_ARGUMENT_TYPE_SKB;
}

/* The address of the socket that a selector's action names, 0 for none. */
static __always_inline __u64 named_socket(const struct hook_work *work, __u32 arguments, __u32 shift) {
    __u32 position = arguments >> shift & 0xff;

    if (!position)
        return 0;
    position = (position - 1) & (HOOK_ARGUMENTS_MAX - 1);
    barrier_var(position);
    return work->arguments[position].value;
}

/*
 * Makes the current process the owner of a socket. `shift` is OWNER_SET, and OWNER_AT_RETURN besides at the
 * return. Not static, so that the verifier looks at it once.
 */
__noinline int own_socket(__u32 slot, __u32 arguments, __u32 shift, __u32 is_own_call) {
    struct hook_work *work = hook_work_of(slot);

    if (!work || !(arguments >> (shift & 31) & 0xff))
        return 0;
    __u64 socket = named_socket(work, arguments, shift & 31);
    struct task_struct *task = bpf_get_current_task_btf();
    struct weir_socket_owner owner = {
        .start_ns = task->group_leader->start_boottime,
        .exec_ns = process_exec_ns(task->group_leader),
        .cgroup_id = task->cgroups->dfl_cgrp->kn->id,
        .pid = task->tgid,
        .tid = task->pid,
    };

    if (!socket)
        return 0;
    // Whoever was interrupted has nothing to do with it.
    if (!is_own_call) {
        count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
        work->done_failed = true;
    } else if (bpf_map_update_elem(&socket_owners, &socket, &owner, BPF_ANY)) {
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
        work->done_failed = true;
    }
    return 0;
}

/* Lets a socket have no owner any more. See own_socket. */
__noinline int disown_socket(__u32 slot, __u32 arguments, __u32 shift) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    __u64 socket = named_socket(work, arguments, shift & 31);

    if (socket)
        bpf_map_delete_elem(&socket_owners, &socket);
    return 0;
}

/*
 * Puts the owner of the first socket that an event shows in the place of whoever is running. Not where that
 * was punished: the event says who. See own_socket.
 */
__noinline int tell_owner(__u32 slot, __u32 all_shown) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);

    if (!work || !scratch || work->done_signal || work->done_error)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        __u32 position = ((all_shown >> (4 * place)) & 15) - 1;

        if (position >= HOOK_ARGUMENTS_MAX)
            break;
        __u8 type = work->arguments[position].type;
        __u64 socket = work->arguments[position].value;

        if (!is_named_socket(type))
            continue;
        const struct weir_socket_owner *owner = bpf_map_lookup_elem(&socket_owners, &socket);

        if (!owner)
            continue;
        scratch->header.start_ns = owner->start_ns;
        scratch->header.exec_ns = owner->exec_ns;
        scratch->header.cgroup_id = owner->cgroup_id;
        scratch->header.pid = owner->pid;
        scratch->header.tid = owner->tid;
        scratch->header.flags |= WEIR_RECORD_FLAG_SOCKET_OWNER;
        return 1;
    }
    return 0;
}

#endif
