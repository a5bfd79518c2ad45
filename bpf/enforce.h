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

enum {
    SIGNAL_KILL = 9,
    ERROR_NOT_PERMITTED = -1, // EPERM
    ERROR_LOWEST = -4095,
};

#define HAS_ACTION(actions, action) ((actions) & (1U << (action)))

/* What the matched policies of one run share; the context of bpf_loop, which keeps no pointers. */
struct enforcement {
    __u32 slot;
    __u32 config_id;
    __u32 event_kind;
    __u32 may_deny;
    __u32 is_own_call; // see is_own_call()
};

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
 * wait for the return of the call. Not static: see lowest_bit.
 */
__noinline int drop_candidates(__u32 slot, __u32 last, __u32 returns) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return 0;
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
    return 0;
}

/* Asks the enforcers of a selector's policy to act, or takes that back. */
static __always_inline void notify(__u32 slot, const struct weir_selector_entry *entry, bool is_own_call) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return;
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

/*
 * Whether there is anything to do for a selector: for an enforcer, where its policy has asked something of
 * the thread, which is then taken. Not static: see act.
 */
__noinline int is_asked(__u32 slot, __u32 config_id, __u32 bit, __u32 is_own_call) {
    struct weir_selector_key key = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!entry || !(entry->flags & WEIR_SELECTOR_FLAG_ENFORCER))
        return 1;
    return is_own_call && notification_take(slot, entry->policy_id);
}

/*
 * Signals and denies for a selector, and notes what was done, or would have been. These functions are not
 * static, so that the verifier looks at each once and apart, and not at all of their paths in each turn of
 * the loop.
 */
__noinline int act(__u32 slot, __u32 config_id, __u32 bit, __u32 may_deny, __u32 is_own_call) {
    struct hook_work *work = hook_work_of(slot);
    struct weir_selector_key key = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!work || !entry)
        return 0;
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
        notify(slot, entry, is_own_call);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS))
        own_socket(slot, entry->socket_arguments, OWNER_SET, is_own_call);
    return 0;
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

/* Appends one argument and its payload to the record. Returns the record's new end. */
__noinline int lay_out_argument(__u32 slot, __u32 record_end, __u32 place, __u32 position) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    const struct text_slot *text = text_of(slot, position);
    // As wide as an address, and bounded: 6.1 forgets what a comparison of the lower half told it.
    __u64 end = record_end & (32 * 1024 - 1);

    barrier_var(end);
    if (!work || !scratch || !text)
        return record_end;
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
    if (to->flags & WEIR_ARGUMENT_FLAG_TRUNCATED)
        ((struct weir_record_header *)scratch->record)->flags |= WEIR_RECORD_FLAG_TRUNCATED;
    end = record_append(scratch, end, text->bytes, from->payload.length, &to->payload, &failed);
    if (failed)
        count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
    return end;
}

/* Sends the event of a selector, with the arguments that its policy shows, in its order. Returns 1 where it
 * is lost. */
__noinline int post(__u32 slot, __u32 config_id, __u32 bit, __u32 event_kind) {
    struct hook_work *work = hook_work_of(slot);
    struct scratch *scratch = path_scratch(slot);
    struct weir_selector_key key = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!work || !scratch || !entry)
        return 0;
    struct weir_hook_record *record = (void *)scratch->record;
    __u32 shown = entry->shown;
    __u16 flags = 0;
    __u32 argument_count = 0;

    if (work->undecided_count)
        flags |= WEIR_RECORD_FLAG_UNDECIDED;
    if (entry->flags & WEIR_SELECTOR_FLAG_MONITOR)
        flags |= WEIR_RECORD_FLAG_MONITOR;
    if (work->done_is_enforced)
        flags |= WEIR_RECORD_FLAG_PROTECTED;
    __builtin_memset(record, 0, sizeof(*record));
    struct task_struct *task = bpf_get_current_task_btf();

    struct task_struct *leader = task->group_leader;

    header_fill_of((void *)record, task, leader, bpf_get_current_cgroup_id(), event_kind, flags);
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

#pragma clang loop unroll(disable)
    for (__u32 rest = shown; argument_count < HOOK_ARGUMENTS_MAX && rest; rest >>= 4)
        argument_count++;
    record->argument_count = argument_count;
    __u32 end = sizeof(struct weir_hook_record) + argument_count * sizeof(struct weir_argument);

#pragma clang loop unroll(disable)
    for (__u32 place = 0; place < HOOK_ARGUMENTS_MAX; place++) {
        if (place >= argument_count)
            break;
        __u32 position = ((shown >> (4 * place)) & 15) - 1;

        if (HOOK_HAS(WEIR_HOOK_FEATURE_DATA) &&
            spec.arguments[position & (HOOK_ARGUMENTS_MAX - 1)].flags & ARGUMENT_DATA)
            record->data_count++;
        end = lay_out_argument(slot, end, place, position);
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_KERNEL_STACK | WEIR_HOOK_FEATURE_USER_STACK))
        end = append_stacks(slot, end, entry->flags);
    if (end > WEIR_RECORD_BYTES - WEIR_RECORD_PADDING)
        return 1;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_IMA_HASH) && (entry->flags & WEIR_SELECTOR_FLAG_IMA_HASH) &&
        ima_keep(slot, end))
        return 0;
    return emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_HOOK) != 0;
}

/* Takes the lowest candidate out, with the rest of its policy's. Returns its bit, or the limit where none was
 * left. */
__noinline int next_match(__u32 slot, __u32 config_id) {
    struct hook_work *work = hook_work_of(slot);

    if (!work)
        return WEIR_LIMIT_SELECTORS_PER_HOOK;
    __u32 bit = lowest_candidate(&work->candidates);

    if (bit >= WEIR_LIMIT_SELECTORS_PER_HOOK)
        return WEIR_LIMIT_SELECTORS_PER_HOOK;
    struct weir_selector_key key = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    // A configuration is in use only while its entries are there; should one not be, its bit at least is
    // taken out.
    work->done_returns =
        HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS) && entry && entry->flags & WEIR_SELECTOR_FLAG_RETURNS;
    drop_candidates(slot, entry && entry->last_bit > bit ? entry->last_bit : bit, work->done_returns);
    work->done_posts = entry && !work->done_returns && HAS_ACTION(entry->actions, WEIR_ACTION_POST);
    work->socket_arguments = entry ? entry->socket_arguments : 0;
    work->binding_id = entry ? entry->binding_id : 0;
    return bit;
}

/* Whether a throttle holds the event of a selector back. Not static, for its stack. */
__noinline int throttle_hook(__u32 slot, __u32 config_id, __u32 bit, __u32 event_kind) {
    struct weir_selector_key key = {.config_id = config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    return entry && throttle_holds(slot, entry->policy_id, event_kind);
}

static __always_inline enum match_outcome post_unless_limited(__u32 slot, __u32 config_id, __u32 bit,
                                                              __u32 event_kind) {
    if (HOOK_HAS(WEIR_HOOK_FEATURE_RATE_LIMIT) && rate_limit_holds(slot, config_id, bit)) {
        count(WEIR_KERNEL_COUNTER_RATE_LIMITED);
        return MATCH_RATE_LIMITED;
    }
    if (HOOK_HAS(WEIR_HOOK_FEATURE_THROTTLE) && throttle_hook(slot, config_id, bit, event_kind))
        return MATCH_THROTTLED;
    return post(slot, config_id, bit, event_kind) ? MATCH_LOST : MATCH_POSTED;
}

/* Acts for one matched policy. Returns 1, which ends the loop, when no candidate is left. */
static long act_for_next_policy(__u32 index, void *context) {
    const struct enforcement *all = context;
    __u32 bit = next_match(all->slot, all->config_id);

    (void)index;
    if (bit >= WEIR_LIMIT_SELECTORS_PER_HOOK)
        return 1;
    if (HOOK_HAS(WEIR_HOOK_FEATURE_ENFORCER) && !is_asked(all->slot, all->config_id, bit, all->is_own_call))
        return 0;
    count(WEIR_KERNEL_COUNTER_HOOK_MATCHES);
    act(all->slot, all->config_id, bit, all->may_deny, all->is_own_call);
    struct hook_work *work = hook_work_of(all->slot);

    bool returns = HOOK_HAS(WEIR_HOOK_FEATURE_RETURNS) && work && work->done_returns;
    enum match_outcome outcome = MATCH_SILENT;

    if (returns)
        note_done(all->slot, bit);
    if (work && work->done_posts)
        outcome = post_unless_limited(all->slot, all->config_id, bit, all->event_kind);
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SOCKET_OWNERS) && work)
        disown_socket(all->slot, work->socket_arguments, OWNER_FORGOTTEN);
    // What waits for its return has matched only then.
    tally_match(all->slot, outcome, !returns);
    // Mostly there is one policy: no turn to find that there is no other.
    return work && mask_empty(&work->candidates, spec.word_count) ? 1 : 0;
}

/* Acts for all policies that matched. Returns what the call is to return, 0 where it goes on. */
static __always_inline int enforce(struct enforcement *all) {
    // As many turns as there can be policies on a hook, and one that finds nothing left.
    bpf_loop(WEIR_LIMIT_SELECTORS_PER_HOOK + 1, act_for_next_policy, all, 0);
    struct hook_work *work = hook_work_of(all->slot);

    return work ? work->error : 0;
}

#endif
