/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what follows a match: of each policy the first matching selector acts. The process is signalled and
// the call denied first; the event comes after, and whether there is room for it changes nothing.

#ifndef WEIR_ENFORCE_H
#define WEIR_ENFORCE_H

#include "done.h"
#include "emit.h"
#include "field.h"
#include "ima.h"
#include "match.h"
#include "notify.h"
#include "process.h"
#include "rate.h"
#include "socket_owner.h"
#include "spec.h"
#include "stack.h"
#include "tally.h"
#include "throttle.h"
#include "user_arguments.h"
#include "whole.h"

enum {
    SIGNAL_KILL = 9,
    ERROR_NOT_PERMITTED = -1, // EPERM
    ERROR_LOWEST = -4095,
};

/*
 * What a program ends with that can make its function fail: an error, or 0 for what is none. Compared here
 * and not in C: the verifier looks at the 64 bits that are returned, and clang 19 compares 32 of them ("R0
 * has smin=0 smax=4294967295 should have been in [-4095, 0]", 6.12).
 */
static __always_inline long as_denial(long error) {
    asm volatile("if %[error] s> 0 goto +1\n"
                 "if %[error] s>= %[lowest] goto +1\n"
                 "%[error] = 0"
                 : [error] "+r"(error)
                 : [lowest] "i"(ERROR_LOWEST));
    return error;
}

#define HAS_ACTION(actions, action) ((actions) & (1U << (action)))

/* The lowest candidate, WEIR_LIMIT_SELECTORS_PER_HOOK where there is none. */
static __always_inline __u32 lowest_candidate(const struct weir_mask *mask) {
    __u64 lowest = 0;
    __u32 first = 0;

#pragma unroll
    for (int word = WEIR_LIMIT_MASK_WORDS - 1; word >= 0; word--) {
        __u64 bits = (__u32)word < spec.word_count ? mask->words[word] : 0;

        if (bits) {
            lowest = bits;
            first = word * WORD_BITS;
        }
    }
    return lowest ? first + lowest_bit(lowest) : WEIR_LIMIT_SELECTORS_PER_HOOK;
}

/*
 * Takes out all candidates up to `last`: the policy that acted has the bits up to it. With `returns`, they
 * wait for the return of the call.
 */
static __always_inline void drop_candidates(struct hook_work *work, __u32 last, bool returns) {
    struct weir_mask *mask = &work->candidates;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u32 first = word * WORD_BITS;
        __u64 dropped = 0;

        if (word >= spec.word_count)
            break;
        if (last >= first + WORD_BITS - 1)
            dropped = ~0ULL;
        else if (last >= first)
            dropped = (2ULL << (last - first)) - 1;
        if (returns)
            work->returning.words[word] |= mask->words[word] & dropped;
        mask->words[word] &= ~dropped;
    }
}

/* Asks the enforcers of a selector's policy to act, or takes that back. */
static __always_inline void notify(__u32 slot, struct hook_work *work,
                                   const struct weir_selector_entry *entry, bool is_own_call) {
    if (HAS_ACTION(entry->actions, WEIR_ACTION_NOTIFYENFORCER)) {
        // Of whoever was interrupted nothing is asked.
        if (is_own_call && notification_set(entry->policy_id, entry->notify_error, entry->notify_signal)) {
            work->done_is_enforced = true;
            work->counts_enforced = true;
        } else {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            work->done_failed = true;
        }
    } else if (is_own_call && HAS_ACTION(entry->actions, WEIR_ACTION_CLEANUPENFORCERNOTIFICATION)) {
        notification_take(slot, entry->policy_id);
    }
}

/* Signals and denies for a selector, and notes what was done, or would have been. */
static __always_inline void act(__u32 slot, struct hook_work *work, const struct weir_selector_entry *entry,
                                bool may_deny, bool is_own_call) {
    bool is_enforcer = HOOK_HAS(WEIR_HOOK_FEATURE_ENFORCER) && (entry->flags & WEIR_SELECTOR_FLAG_ENFORCER);
    __u32 signal = is_enforcer ? work->asked_signal : entry->signal;
    __s32 wanted_error = is_enforcer ? work->asked_error : entry->error;
    bool kills = signal == SIGNAL_KILL || (!is_enforcer && HAS_ACTION(entry->actions, WEIR_ACTION_SIGKILL));
    __s32 error = 0;

    if (kills)
        signal = SIGNAL_KILL;
    if (may_deny) {
        if (wanted_error)
            error = wanted_error;
        else if (kills) // The signal alone would let the call take effect first.
            error = ERROR_NOT_PERMITTED;
        // The verifier of 6.12 wants the range seen; a value beyond it would not be taken for an error.
        if (error > 0 || error < ERROR_LOWEST)
            error = ERROR_NOT_PERMITTED;
    }
    work->done_is_enforced = false;
    work->counts_enforced = false;
    work->done_failed = false;
    if (!is_own_call && (signal || error)) {
        // It would fall upon whoever was interrupted.
        if (!(entry->flags & WEIR_SELECTOR_FLAG_MONITOR)) {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            work->done_failed = true;
        }
        signal = 0;
        error = 0;
    }
    if (!(entry->flags & WEIR_SELECTOR_FLAG_MONITOR)) {
        if (error) {
            if (!work->error)
                work->error = error;
            count(WEIR_KERNEL_COUNTER_ENFORCED);
            work->done_is_enforced = true;
            work->counts_enforced = true;
        }
        if (signal && bpf_send_signal(signal) != 0) {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            work->done_failed = true;
            signal = 0;
        } else if (signal) {
            count(WEIR_KERNEL_COUNTER_ENFORCED);
            work->done_is_enforced = true;
            work->counts_enforced = true;
        }
    }
    work->done_error = error;
    work->done_signal = signal;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SET) && entry->set_argument &&
        !(entry->flags & WEIR_SELECTOR_FLAG_MONITOR)) {
        if (set_user_argument(slot, entry->set_argument, entry->set_value)) {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            work->done_failed = true;
        } else {
            count(WEIR_KERNEL_COUNTER_ENFORCED);
            work->done_is_enforced = true;
            work->counts_enforced = true;
        }
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_NOTIFY) && !(entry->flags & WEIR_SELECTOR_FLAG_MONITOR))
        notify(slot, work, entry, is_own_call);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        own_socket(slot, entry->socket_arguments, OWNER_SET, is_own_call);
}

/* The gravest of a selector's actions, which an event names. */
static __always_inline __u16 gravest(__u32 actions) {
    if (HAS_ACTION(actions, WEIR_ACTION_SIGKILL))
        return WEIR_ACTION_SIGKILL;
    if (HAS_ACTION(actions, WEIR_ACTION_OVERRIDE))
        return WEIR_ACTION_OVERRIDE;
    if (HAS_ACTION(actions, WEIR_ACTION_SIGNAL))
        return WEIR_ACTION_SIGNAL;
    if (HAS_ACTION(actions, WEIR_ACTION_SET))
        return WEIR_ACTION_SET;
    if (HAS_ACTION(actions, WEIR_ACTION_NOTIFYENFORCER))
        return WEIR_ACTION_NOTIFYENFORCER;
    if (HAS_ACTION(actions, WEIR_ACTION_CLEANUPENFORCERNOTIFICATION))
        return WEIR_ACTION_CLEANUPENFORCERNOTIFICATION;
    if (HAS_ACTION(actions, WEIR_ACTION_TRACKSOCK))
        return WEIR_ACTION_TRACKSOCK;
    if (HAS_ACTION(actions, WEIR_ACTION_UNTRACKSOCK))
        return WEIR_ACTION_UNTRACKSOCK;
    // Done by the agent when it has the event.
    if (HAS_ACTION(actions, WEIR_ACTION_GETURL))
        return WEIR_ACTION_GETURL;
    if (HAS_ACTION(actions, WEIR_ACTION_DNSLOOKUP))
        return WEIR_ACTION_DNSLOOKUP;
    return WEIR_ACTION_POST;
}

/*
 * Appends one argument and its payload to the record, whose size so far stands in its header: kept in a
 * register, its bounds would be others by each way through the arguments before, and the verifier would
 * follow each of them to the end.
 */
static __always_inline void lay_out_argument(__u32 slot, const struct hook_work *work,
                                             struct scratch *scratch, __u32 place, __u32 position) {
    const struct text_slot *text = text_of(slot, position);
    volatile __u32 *size = &scratch->header.size;
    // As wide as an address, and bounded: 6.1 forgets what a comparison of the lower half told it.
    __u64 end = *size & (32 * 1024 - 1);

    barrier_var(end);
    if (!text)
        return;
    // Masks in place of comparisons: clang 14 compares one register and uses another, of which the verifier
    // then knows no bound.
    place &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(place);
    position &= HOOK_ARGUMENTS_MAX - 1;
    barrier_var(position);
    const struct weir_argument *from = &work->arguments[position];
    struct weir_argument *to =
        (void *)(scratch->record + sizeof(struct weir_hook_record) + place * sizeof(struct weir_argument));
    bool failed = false;

    *to = *from;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS) && is_named_socket(to->type))
        to->value = 0;
    if (is_whole(position))
        to->value = 0;
    if (to->flags & WEIR_ARGUMENT_FLAG_TRUNCATED)
        ((struct weir_record_header *)scratch->record)->flags |= WEIR_RECORD_FLAG_TRUNCATED;
    end = record_append(scratch, end, text->bytes, from->payload.length, &to->payload, &failed);
    if (failed)
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
    *size = end;
}

/* How many arguments are shown: that many times four bits that are not 0. Without a branch, as the verifier
 * would follow what comes after it once for each number. */
static __always_inline __u32 shown_count(__u32 shown) {
    __u32 lowest = (shown | shown >> 1 | shown >> 2 | shown >> 3) & 0x11111111;

    return lowest * 0x11111111U >> 28;
}
_Static_assert(HOOK_ARGUMENTS_MAX <= 8, "shown_count adds up four bits of each");

/* Sends the event of a selector, with the arguments that its policy shows, in its order. Returns whether it
 * is lost. */
static __always_inline bool post(__u32 slot, struct hook_work *work,
                                 const struct weir_selector_entry *entry) {
    struct scratch *scratch = path_scratch(slot);

    if (!scratch)
        return true;
    struct weir_hook_record *record = (void *)scratch->record;
    __u32 shown = entry->shown;
    __u16 flags = 0;

    if (work->undecided_count)
        flags |= WEIR_RECORD_FLAG_UNDECIDED;
    if (entry->flags & WEIR_SELECTOR_FLAG_MONITOR)
        flags |= WEIR_RECORD_FLAG_MONITOR;
    if (work->done_is_enforced)
        flags |= WEIR_RECORD_FLAG_PROTECTED;
    __builtin_memset(record, 0, sizeof(*record));
    struct task_struct *task = bpf_get_current_task_btf();

    struct task_struct *leader = task->group_leader;

    header_fill_of((void *)record, task, leader, bpf_get_current_cgroup_id(), spec.event_kind, flags);
    record->exec_ns = process_exec_ns(leader);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        tell_owner(slot, shown);
    record->binding_id = entry->binding_id + work->call_place;
    record->selector_index = entry->selector_index;
    record->action = gravest(entry->actions);
    record->has_return = (entry->flags & WEIR_SELECTOR_FLAG_SHOWS_RETURN) != 0;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS) && work->is_return) {
        record->flags |= WEIR_RECORD_FLAG_RETURNED;
        record->action = work->entry_action;
        record->return_action = work->return_action;
    }
    record->action_error = work->done_error;
    record->action_signal = work->done_signal;
    record->function_offset = function_offset;
    record->undecided_terms = work->undecided_count;

    __u32 argument_count = shown_count(shown);

    record->argument_count = argument_count;
    record->size = sizeof(struct weir_hook_record) + argument_count * sizeof(struct weir_argument);

#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        if (place >= argument_count)
            break;
        __u32 position = ((shown >> (4 * place)) & 15) - 1;

        if (HOOK_HAS(WEIR_HOOK_FEATURE_DATA) &&
            spec.arguments[position & (HOOK_ARGUMENTS_MAX - 1)].flags & ARGUMENT_DATA)
            record->data_count++;
        lay_out_argument(slot, work, scratch, place, position);
    }
    __u64 end = *(volatile __u32 *)&record->size;

    if (HOOK_HAS(WEIR_HOOK_FEATURE_KERNEL_STACK | WEIR_HOOK_FEATURE_USER_STACK))
        end = append_stacks(slot, end, entry->flags);
    if (end > WEIR_RECORD_BYTES - WEIR_RECORD_PADDING)
        return true;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_IMA_HASH) && (entry->flags & WEIR_SELECTOR_FLAG_IMA_HASH) &&
        ima_keep(slot, end))
        return false;
    if (HOOK_HAS_WHOLE && emit_whole(slot, end, shown))
        return false;
    return emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_HOOK) != 0;
}

static __always_inline enum match_outcome
post_unless_limited(__u32 slot, struct hook_work *work, const struct weir_selector_entry *entry, __u32 bit) {
    if (HOOK_HAS(WEIR_HOOK_FEATURE_RATE_LIMIT) && rate_limit_holds(slot, work->config_id, bit)) {
        count(WEIR_KERNEL_COUNTER_RATE_LIMITED);
        return MATCH_RATE_LIMITED;
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_THROTTLE) && throttle_holds(slot, entry->policy_id, spec.event_kind))
        return MATCH_THROTTLED;
    return post(slot, work, entry) ? MATCH_LOST : MATCH_POSTED;
}

/*
 * Acts for the policy of the lowest candidate, and takes that out with the rest of its policy's. Returns 1
 * when no candidate is left. One function, as each takes a page and more of the kernel's memory in every
 * program; not static, so that the verifier looks at it once.
 */
__noinline int act_for_policy(__u32 slot, __u32 may_deny) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 1;
    __u32 bit = lowest_candidate(&work->candidates);

    if (bit >= WEIR_LIMIT_SELECTORS_PER_HOOK)
        return 1;
    struct weir_selector_key key = {.config_id = work->config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!entry) {
        // Cannot be: a configuration is in use only while its entries are there.
        drop_candidates(work, bit, false);
        return 0;
    }
    bool returns = HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS) && entry->flags & WEIR_SELECTOR_FLAG_RETURNS;
    enum match_outcome outcome = MATCH_SILENT;

    drop_candidates(work, entry->last_bit > bit ? entry->last_bit : bit, returns);
    work->binding_id = entry->binding_id;
    // For an enforcer there is something to do only where its policy has asked something of the thread, which
    // is then taken.
    if (HOOK_HAS(WEIR_HOOK_FEATURE_ENFORCER) && entry->flags & WEIR_SELECTOR_FLAG_ENFORCER &&
        !(work->is_own_call && notification_take(slot, entry->policy_id)))
        return 0;
    count(WEIR_KERNEL_COUNTER_HOOK_MATCHES);
    act(slot, work, entry, may_deny, work->is_own_call);
    if (returns)
        note_done(slot, bit);
    else if (HAS_ACTION(entry->actions, WEIR_ACTION_POST))
        outcome = post_unless_limited(slot, work, entry, bit);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        disown_socket(slot, entry->socket_arguments, OWNER_FORGOTTEN);
    // What waits for its return has matched only then.
    tally_match(work, outcome, !returns);
    // Mostly there is one policy: no turn to find that there is no other.
    return mask_empty(&work->candidates, spec.word_count);
}

/*
 * Acts for all policies that matched. Returns what the call is to return, 0 where it goes on. A loop of as
 * many turns as there can be policies: bpf_loop would need a callback, a function more.
 */
static __always_inline int enforce(__u32 slot, bool may_deny) {
#pragma clang loop unroll(disable)
    for (__u32 turn = 0; turn < WEIR_LIMIT_SELECTORS_PER_HOOK; turn++) {
        if (turn >= spec.word_count * WORD_BITS || act_for_policy(slot, may_deny))
            break;
    }
    struct hook_work *work = hook_work_of(slot);

    return work ? work->error : 0;
}

#endif
