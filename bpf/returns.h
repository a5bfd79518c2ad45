/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what happens between the entry and the return of a call whose return a policy asks for. What a policy
// wants of the entry is read and matched there, since the call may free or change it; it is kept until the
// return, which adds what the call returned, and makes the one event.
//
//     entry     run_hook -> await_return    keeps the call, where a selector matched
//     return    run_return                  takes it back, matches the rest, acts, posts
//     entry     forget_returned             forgets calls that returned unseen
//
// A call is known by its thread and by where the program's context lies, which is in the frame of the call:
// the programs at its entry and at its return get the same address, and no other call of the thread has it.
// The kernel skips programs at a return where it interrupts itself, and for calls that are under way while
// any program is attached to the same function or taken from it. So a thread has a list of its calls, and
// forgets by the address those that cannot be any more: a stack grows down, so that a call further down than
// a new one has returned; and a system call begins on an empty stack. Each is counted.
//
// Functions of programs are known by their place on the program's own stack. A program may have many, and
// leave functions without a return (longjmp): a call is forgotten where another begins at its place, and
// those further down than a new one where the list is full.

#ifndef WEIR_RETURNS_H
#define WEIR_RETURNS_H

#include "arguments.h"
#include "enforce.h"
#include "prevent.h"
#include "spec.h"

enum {
    // Of struct pt_regs of x86-64.
    STACK_POINTER_AT = 152,
    RETURN_VALUE_AT = 80,
    // Calls of one thread that can wait for their returns, one within the other.
    CALL_FRAMES_MAX = 8,
    SMALL_CALL_BYTES = 2048,
    CALL_SMALL = 1,
    CALL_LARGE = 2,
};

struct call_frame {
    __u64 context; // 0 where the place is free; written last when it is taken, first when it is freed
    __u32 config_id;
    __u32 hook_id;
    __u32 spec_id; // of the program at the entry: only that of the same hook's program at the return acts
    __u32 size;    // CALL_SMALL or CALL_LARGE: where the call is kept
};

struct call_frames {
    struct call_frame frames[CALL_FRAMES_MAX];
};

// Key: the thread. Written by the thread's own entries and returns; deleted by the kernel with the thread.
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct call_frames);
} call_frames SEC(".maps");

/* A call that waits for its return: what hook_work was at its entry, and behind it the arguments' payloads.
 */
struct waiting_call {
    __u32 undecided_count;
    __u32 reserved;
    struct weir_mask returning;
    struct weir_mask signalled;
    struct weir_mask denied;
    struct weir_mask enforced;
    struct weir_argument arguments[HOOK_ARGUMENTS_MAX];
};
_Static_assert(sizeof(struct waiting_call) < SMALL_CALL_BYTES, "a small call has room for payloads");

struct small_call {
    __u8 bytes[SMALL_CALL_BYTES];
};

struct large_call {
    __u8 bytes[WEIR_RECORD_BYTES];
};

// Written and deleted by the programs. The agent reads the keys, to leave what a call needs until it returns,
// and deletes those of hooks that are gone.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 8192);
    __type(key, struct weir_call_key);
    __type(value, struct small_call);
} small_calls SEC(".maps");

// Calls with long arguments.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 512);
    __type(key, struct weir_call_key);
    __type(value, struct large_call);
} large_calls SEC(".maps");

/* The address of a program's context as a number: see is_on_thread_stack. */
static __always_inline __u64 address_of(void *ctx) {
    void *spilled = ctx;
    __u64 address = 0;

    bpf_probe_read_kernel(&address, sizeof(address), &spilled);
    return address;
}

/* Whether a call is one of a program's functions. */
static __always_inline bool is_user_call(__u64 place) {
    return !(place >> 63);
}

/*
 * The place by which a call is known at its entry (`returned`: 0) and at its return. Of a function in a
 * program it is where the program's stack ends when the function has returned: at its entry the address that
 * it returns to lies below that.
 */
static __always_inline __u64 place_of_call(void *ctx, bool returned) {
    __u64 context = address_of(ctx);
    __u64 stack = 0;

    if (spec.event_kind != WEIR_EVENT_KIND_UPROBE)
        return context;
    if (bpf_probe_read_kernel(&stack, sizeof(stack), (void *)(context + STACK_POINTER_AT)) ||
        !is_user_call(stack))
        return 0;
    return returned ? stack : stack + sizeof(stack);
}

static __always_inline void call_key_of(struct weir_call_key *key, const struct call_frame *frame,
                                        __u64 context) {
    key->context = context;
    key->thread = bpf_get_current_pid_tgid();
    key->config_id = frame->config_id;
    key->hook_id = frame->hook_id;
}

/* Whether a call cannot be under way any more, given where the stack of the current one is. */
static __always_inline bool has_returned(__u64 context, __u64 here, __u64 stack) {
    bool is_thread_call = context - stack < WEIR_KERNEL_STACK_BYTES;

    // A program may have several stacks: only another call at the same place tells.
    if (is_user_call(here) || is_user_call(context))
        return context == here;

    // Interrupts come on top of what a thread does, and are over when it goes on.
    if (here - stack < WEIR_KERNEL_STACK_BYTES)
        // A system call's own depth tells nothing: kernels move it at random (RANDOMIZE_KSTACK_OFFSET).
        return HOOK_HAS(WEIR_HOOK_FEATURE_SYSTEM_CALL) || !is_thread_call || context <= here;
    return !is_thread_call && here - context < WEIR_KERNEL_STACK_BYTES;
}

/*
 * Forgets the thread's calls that have returned unseen, among them an earlier one at the same place. Not
 * static, so that the verifier looks at it once.
 */
__noinline int forget_returned(__u64 here) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct call_frames *all = bpf_task_storage_get(&call_frames, task, NULL, 0);

    if (!all)
        return 0;
    __u64 stack = (__u64)((struct task_struct___own_stack *)(void *)task)->stack;

#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < CALL_FRAMES_MAX; i++) {
        struct call_frame *frame = &all->frames[i];
        __u64 context = frame->context;
        struct weir_call_key key;

        // Of the same call where another program is on the same function: each tells of its own only.
        if (context == here && frame->hook_id != spec.hook_id)
            continue;
        if (!context || !has_returned(context, here, stack))
            continue;
        call_key_of(&key, frame, context);
        frame->context = 0;
        // Where the agent has deleted it, no policy asks for it any more.
        if (bpf_map_delete_elem(&small_calls, &key) == 0 || bpf_map_delete_elem(&large_calls, &key) == 0)
            count(WEIR_KERNEL_COUNTER_RETURNS_LOST);
    }
    return 0;
}

/* Appends the payload of an argument to the call that is being kept. Returns the new end. */
__noinline int keep_argument(__u32 slot, __u32 call_end, __u32 position) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    const struct text_slot *text = text_of(slot, position);
    __u64 end = call_end & (32 * 1024 - 1); // see lay_out_argument

    barrier_var(end);
    if (!work || !scratch || !text)
        return call_end;
    position &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(position);
    const struct weir_argument *from = &work->arguments[position];
    struct weir_argument *to = &((struct waiting_call *)scratch->record)->arguments[position];
    bool failed = false;

    *to = *from;
    end = record_append(scratch, end, text->bytes, from->payload.length, &to->payload, &failed);
    if (failed) {
        to->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
    }
    return end;
}

/* Puts a kept argument back. */
__noinline int take_argument(__u32 slot, __u32 position) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct text_slot *text = text_of(slot, position);

    if (!work || !scratch || !text)
        return 0;
    position &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(position);
    struct weir_argument *to = &work->arguments[position];

    *to = ((struct waiting_call *)scratch->record)->arguments[position];
    __u64 length = to->payload.length & (WEIR_LIMIT_PATH_BYTES - 1);
    __u64 offset = to->payload.offset & (32 * 1024 - 1); // see lay_out_argument

    barrier_var(offset);
    barrier_var(length); // see record_append
    length &= WEIR_LIMIT_PATH_BYTES - 1;
    text->bytes[0] = 0;
    if (length == 0 || offset > WEIR_RECORD_BYTES - WEIR_LIMIT_PATH_BYTES)
        return 0;
    if (bpf_probe_read_kernel(text->bytes, length, scratch->record + offset)) {
        to->flags |= WEIR_ARGUMENT_FLAG_UNREADABLE;
        count_failure(WEIR_FAILURE_PLACE_HOOK_ARGUMENT);
        return 0;
    }
    text->bytes[length] = 0;
    return 0;
}

/* Makes room in a thread's list, by the calls of programs that lie further down than a new one. */
static __always_inline struct call_frame *forget_deeper(struct call_frames *all, __u64 here) {
    struct call_frame *freed = NULL;

#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < CALL_FRAMES_MAX; i++) {
        struct call_frame *frame = &all->frames[i];
        __u64 context = frame->context;
        struct weir_call_key key;

        if (!is_user_call(context) || context >= here)
            continue;
        call_key_of(&key, frame, context);
        frame->context = 0;
        freed = frame;
        if (bpf_map_delete_elem(&small_calls, &key) == 0 || bpf_map_delete_elem(&large_calls, &key) == 0)
            count(WEIR_KERNEL_COUNTER_RETURNS_LOST);
    }
    return freed;
}

/* Takes a place in the thread's list. Returns CALL_SMALL or CALL_LARGE, 0 where the call cannot be kept. */
__noinline int keep_call(__u32 slot, __u64 here, __u32 end) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct call_frames *all =
        bpf_task_storage_get(&call_frames, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

    if (!work || !scratch)
        return 0;
    if (!all) {
        count(WEIR_KERNEL_COUNTER_STORAGE_FAILED);
        return 0;
    }
    struct call_frame *free = NULL;

#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < CALL_FRAMES_MAX; i++) {
        if (all->frames[i].context == 0) {
            free = &all->frames[i];
            break;
        }
    }
    if (!free && spec.event_kind == WEIR_EVENT_KIND_UPROBE)
        free = forget_deeper(all, here);
    if (!free || !here)
        return 0;
    struct weir_call_key key;
    __u32 size = end <= SMALL_CALL_BYTES ? CALL_SMALL : CALL_LARGE;
    long failed;

    free->config_id = work->config_id;
    free->hook_id = spec.hook_id;
    free->spec_id = spec.spec_id;
    free->size = size;
    call_key_of(&key, free, here);
    if (size == CALL_SMALL)
        failed = bpf_map_update_elem(&small_calls, &key, scratch->record, BPF_ANY);
    else
        failed = bpf_map_update_elem(&large_calls, &key, scratch->record, BPF_ANY);
    if (failed) {
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
        return 0;
    }
    barrier();
    free->context = here;
    return size;
}

/* What one selector did at the entry, as it was noted there. */
static __always_inline void tell_done(struct hook_work *work, const struct weir_selector_entry *entry,
                                      __u32 bit) {
    bool kills = HAS_ACTION(entry->actions, WEIR_ACTION_SIGKILL) || entry->signal == SIGNAL_KILL;
    __s32 error = HAS_ACTION(entry->actions, WEIR_ACTION_OVERRIDE) ? entry->error : ERROR_NOT_PERMITTED;

    work->done_signal = !mask_has(&work->signalled, bit) ? 0 : kills ? SIGNAL_KILL : entry->signal;
    work->done_error = mask_has(&work->denied, bit) ? error : 0;
    work->done_is_enforced = mask_has(&work->enforced, bit);
    work->entry_action = gravest(entry->actions);
    work->return_action = WEIR_ACTION_UNKNOWN;
}

/* Signals for a selector that matches at the return too. Not static: see act_for_policy. */
__noinline int act_at_return(__u32 slot, __u32 bit, __u32 is_own_call) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
    struct weir_selector_key key = {.config_id = work->config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!entry)
        return 0;
    __u32 signal = entry->return_signal;

    work->return_action = gravest(entry->return_actions);
    work->done_posts =
        HAS_ACTION(entry->actions, WEIR_ACTION_POST) && HAS_ACTION(entry->return_actions, WEIR_ACTION_POST);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS)) {
        work->socket_arguments = entry->socket_arguments;
        own_socket(slot, entry->socket_arguments, OWNER_SET + OWNER_AT_RETURN, is_own_call);
    }
    if (!signal)
        return 0;
    if (!(entry->flags & WEIR_SELECTOR_FLAG_MONITOR)) {
        // In an interrupt it would fall upon whoever was interrupted.
        if (!is_own_call || bpf_send_signal(signal) != 0) {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            work->done_failed = true;
            return 0;
        }
        count(WEIR_KERNEL_COUNTER_ENFORCED);
        work->done_is_enforced = true;
        work->counts_enforced = true;
    }
    if (work->done_signal != SIGNAL_KILL)
        work->done_signal = signal;
    return 0;
}

/*
 * Decides for the next policy that waits for the return, the lowest first. Returns the bit of the selector
 * whose event is to be sent, plus 1; 0 where there is none; WEIR_LIMIT_SELECTORS_PER_HOOK + 1 when no policy
 * is left.
 */
__noinline int next_return(__u32 slot, __u32 is_own_call) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return WEIR_LIMIT_SELECTORS_PER_HOOK + 1;
    __u32 first = lowest_candidate(&work->returning);
    __u32 bit = lowest_candidate(&work->candidates);

    if (first >= WEIR_LIMIT_SELECTORS_PER_HOOK)
        return WEIR_LIMIT_SELECTORS_PER_HOOK + 1;
    struct weir_selector_key key = {.config_id = work->config_id, .bit = first};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);
    __u32 last = entry && entry->last_bit > first ? entry->last_bit : first;

    drop_returning(slot, last);
    drop_candidates(work, last, false);
    if (!entry)
        return 0;
    tell_done(work, entry, first);
    work->binding_id = entry->binding_id;
    work->socket_arguments = 0;
    work->counts_enforced = false;
    work->done_failed = false;
    work->done_matches = bit <= last;
    if (bit <= last) {
        count(WEIR_KERNEL_COUNTER_HOOK_MATCHES);
        act_at_return(slot, bit, is_own_call);
        return work->done_posts ? bit + 1 : 0;
    }
    // What was enforced is told, whatever the call returned.
    return work->done_is_enforced && HAS_ACTION(entry->actions, WEIR_ACTION_POST) ? first + 1 : 0;
}

/* The context of bpf_loop, which keeps no pointers. */
struct returning {
    __u32 slot;
    __u32 is_own_call;
};

/* Finishes a call for the next policy. Returns 1 when none is left. Not static: see act_for_policy. */
__noinline int finish_policy(__u32 slot, __u32 is_own_call) {
    __u32 found = next_return(slot, is_own_call);
    struct hook_work *work = hook_work_of(slot);
    enum match_outcome outcome = MATCH_SILENT;

    if (!work || found > WEIR_LIMIT_SELECTORS_PER_HOOK)
        return 1;
    if (found) {
        struct weir_selector_key key = {.config_id = work->config_id, .bit = found - 1};
        const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

        if (entry)
            outcome = post_unless_limited(slot, work, entry, found - 1);
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        disown_socket(slot, work->socket_arguments, OWNER_FORGOTTEN + OWNER_AT_RETURN);

    tally_match(work, outcome, work->done_matches);
    return 0;
}

static long finish_next_policy(__u32 index, void *context) {
    const struct returning *call = context;

    (void)index;
    return finish_policy(call->slot, call->is_own_call) ? 1 : 0;
}

/* Finishes a call for all policies that wait for its return. Not static: see act_for_policy. */
__noinline int finish_call(__u32 slot, __u32 is_own_call) {
    struct returning call = {.slot = slot, .is_own_call = is_own_call};

    bpf_loop(WEIR_LIMIT_SELECTORS_PER_HOOK + 1, finish_next_policy, &call, 0);
    return 0;
}

/* Keeps a call until it returns. Where that cannot be, it is counted, and only what was enforced is told. */
__noinline int await_return(__u32 slot, __u64 here) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);

    if (!work || !scratch)
        return 0;
    struct waiting_call *call = (void *)scratch->record;
    __u32 end = sizeof(*call);

    call->undecided_count = work->undecided_count;
    call->reserved = 0;
    call->returning = work->returning;
    call->signalled = work->signalled;
    call->denied = work->denied;
    call->enforced = work->enforced;
#pragma clang loop unroll(disable)
    for (__u32 position = 0; position < HOOK_ARGUMENTS_MAX; position++) {
        if (position >= spec.argument_count)
            break;
        end = keep_argument(slot, end, position);
    }
    if (keep_call(slot, here, end))
        return 0;
    count(WEIR_KERNEL_COUNTER_RETURNS_LOST);
    work->undecided_count++;
    mask_clear(&work->candidates);
    finish_call(slot, false);
    return 0;
}

/* Takes the call at `here` out of the thread's list, and what was kept of it into the working memory. Returns
 * whether there was one. */
__noinline int take_call(__u32 slot, const struct weir_call_key *begun, __u32 size) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    long failed = 1;

    if (!work || !scratch || !begun)
        return false;
    // 6.1 takes no argument of a function as a key ("R2 type=mem expected=fp").
    struct weir_call_key own = *begun, *key = &own;

    if (size == CALL_SMALL) {
        struct small_call *kept = bpf_map_lookup_elem(&small_calls, key);

        if (kept)
            failed = bpf_probe_read_kernel(scratch->record, sizeof(*kept), kept);
        bpf_map_delete_elem(&small_calls, key);
    } else {
        struct large_call *kept = bpf_map_lookup_elem(&large_calls, key);

        if (kept)
            failed = bpf_probe_read_kernel(scratch->record, sizeof(*kept), kept);
        bpf_map_delete_elem(&large_calls, key);
    }
    if (failed)
        return false;
    const struct waiting_call *call = (void *)scratch->record;

    work->undecided_count = call->undecided_count;
    work->config_id = key->config_id;
    work->is_return = true;
    work->candidates = call->returning;
    work->returning = call->returning;
    work->signalled = call->signalled;
    work->denied = call->denied;
    work->enforced = call->enforced;
#pragma clang loop unroll(disable)
    for (__u32 position = 0; position < HOOK_ARGUMENTS_MAX; position++) {
        if (position >= spec.argument_count)
            break;
        take_argument(slot, position);
    }
    return true;
}

/* Finds the thread's call at `here` and frees its place. Returns CALL_SMALL or CALL_LARGE, 0 where there is
 * none. */
__noinline int find_call(__u64 here, struct weir_call_key *key) {
    struct call_frames *all = bpf_task_storage_get(&call_frames, bpf_get_current_task_btf(), NULL, 0);

    if (!all || !key || !here)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 i = 0; i < CALL_FRAMES_MAX; i++) {
        struct call_frame *frame = &all->frames[i];

        if (frame->context != here || frame->spec_id != spec.spec_id)
            continue;
        call_key_of(key, frame, here);
        frame->context = 0;
        return frame->size;
    }
    return 0;
}

#endif
