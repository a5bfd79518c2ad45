/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns rate limits of selectors: of events that are the same, one is sent in a while. The same are events of
// one selector, within the scope of its limit, whose arguments begin alike. Enforcement is no concern of it:
// a process that is killed is killed each time.

#ifndef WEIR_RATE_H
#define WEIR_RATE_H

#include "counters.h"
#include "hook_maps.h"
#include "path.h"

enum {
    RATE_ARGUMENT_BYTES = 40,
    RATE_NS_PER_SECOND = 1000000000,
    RATE_ERROR_EXISTS = -17, // EEXIST
};

struct rate_key {
    // The policy on its hook, by its content, and the selector: a change of other policies begins nothing
    // anew.
    __u32 binding_id;
    __u32 selector_index;
    // Thread or process; 0 where the limit holds for all together.
    __u64 start_ns;
    __u32 id;
    __u32 reserved;
    // Of each argument that the event would show, in its order.
    __u8 arguments[HOOK_ARGUMENTS_MAX][RATE_ARGUMENT_BYTES];
};
_Static_assert(sizeof(struct rate_key) <= sizeof(((struct scratch *)0)->key), "scratch has room for a key");

/*
 * When an event was last sent. Written by the programs; the least recently used goes where there is no room,
 * so that an event may be sent early, but none is held back without cause.
 */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct rate_key);
    __type(value, __u64);
} rate_limits SEC(".maps");

/* What of a socket tells it from others is spread over more bytes than those that are compared. */
static __always_inline void rate_key_socket(__u8 *to, const struct weir_socket_argument *socket) {
    __builtin_memcpy(to, socket->source_address, sizeof(socket->source_address));
    __builtin_memcpy(to + 16, socket->destination_address, sizeof(socket->destination_address));
    *(__u16 *)(to + 32) = socket->family;
    *(__u16 *)(to + 34) = socket->protocol;
    *(__u16 *)(to + 36) = socket->source_port;
    *(__u16 *)(to + 38) = socket->destination_port;
}

/* Puts the beginning of one argument into the key. Not static, so that the verifier looks at it once. */
__noinline int rate_key_argument(__u32 slot, __u32 place, __u32 position) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    const struct text_slot *text = text_of(slot, position);

    if (!work || !scratch || !text)
        return 0;
    place &= HOOK_ARGUMENTS_MAX - 1; // masks: see lay_out_argument
    barrier_var(place);
    position &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(position);
    const struct weir_argument *argument = &work->arguments[position];
    __u8 *to = ((struct rate_key *)scratch->key)->arguments[place];

    switch (argument->type) {
    case WEIR_ARGUMENT_TYPE_SOCK:
    case WEIR_ARGUMENT_TYPE_SOCKET:
    case WEIR_ARGUMENT_TYPE_SKB:
    case WEIR_ARGUMENT_TYPE_SOCKADDR:
        if (argument->payload.length >= sizeof(struct weir_socket_argument))
            rate_key_socket(to, (const void *)text->bytes);
        return 0;
    default:
        break;
    }
    __u64 length = argument->payload.length;

    if (length == 0) {
        *(__u64 *)to = argument->value;
        return 0;
    }
    barrier_var(length);
    if (length > RATE_ARGUMENT_BYTES)
        length = RATE_ARGUMENT_BYTES;
    bpf_probe_read_kernel(to, length, text->bytes);
    return 0;
}

/*
 * Whether the event of a selector is held back. If not, it is taken for sent. Not static, for its stack.
 */
__noinline int rate_limit_holds(__u32 slot, __u32 config_id, __u32 bit) {
    const struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct weir_selector_key selector = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &selector);

    if (!work || !scratch || !entry || entry->rate_limit_seconds == 0)
        return 0;
    struct rate_key *key = (void *)scratch->key;
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 shown = entry->shown;
    __u64 limit_ns = (__u64)entry->rate_limit_seconds * RATE_NS_PER_SECOND;

    __builtin_memset(key, 0, sizeof(*key));
    key->binding_id = entry->binding_id + work->call_place;
    key->selector_index = entry->selector_index;
    if (entry->flags & WEIR_SELECTOR_FLAG_RATE_PER_PROCESS) {
        key->id = task->tgid;
        key->start_ns = task->group_leader->start_boottime;
    } else if (!(entry->flags & WEIR_SELECTOR_FLAG_RATE_GLOBAL)) {
        key->id = task->pid;
        key->start_ns = task->start_boottime;
    }
#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        if (!(shown & 15))
            break;
        rate_key_argument(slot, place, (shown & 15) - 1);
        shown >>= 4;
    }
    __u64 now = bpf_ktime_get_boot_ns();
    __u64 *last = bpf_map_lookup_elem(&rate_limits, key);

    if (!last) {
        long error = bpf_map_update_elem(&rate_limits, key, &now, BPF_NOEXIST);

        if (error == RATE_ERROR_EXISTS) // another CPU was first
            return 1;
        if (error)
            count(WEIR_KERNEL_COUNTER_MAP_FULL);
        return 0;
    }
    __u64 was = *(volatile __u64 *)last;

    // Where two CPUs come at once, one of them sends.
    if (now - was < limit_ns || now < was)
        return 1;
    return __sync_val_compare_and_swap(last, was, now) != was;
}

#endif
