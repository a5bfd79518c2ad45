/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns what follows a match: of each policy the first matching selector acts. The process is signalled and the call
// denied first; the event comes after, and whether there is room for it changes nothing.

#ifndef WEIR_ENFORCE_H
#define WEIR_ENFORCE_H

#include "emit.h"
#include "match.h"

enum {
    SELECTOR_MONITOR = 1,
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
    __u32 undecided_count;
    __u32 may_deny;
    // What the call is to return: that of the first policy that denies it.
    __s32 error;
};

/* What was done for one policy, or would have been. */
struct done {
    __u32 signal;
    __s32 error;
    bool is_enforced;
};

/*
 * Number of the lowest bit of a word that has one. By hand: __builtin_ctzll crashes clang 14 where the target is BPF.
 */
static __always_inline __u32 lowest_bit(__u64 word) {
    __u32 bit = 0;

#pragma unroll
    for (__u32 width = WORD_BITS / 2; width > 0; width /= 2) {
        __u32 step = (word & ((1ULL << width) - 1)) ? 0 : width;

        word >>= step;
        bit += step;
    }
    return bit;
}

/* The lowest candidate, WEIR_LIMIT_SELECTORS_PER_HOOK where there is none. */
static __always_inline __u32 lowest_candidate(const struct weir_mask *mask) {
    __u64 lowest = 0;
    __u32 first = 0;

#pragma unroll
    for (int word = WEIR_LIMIT_MASK_WORDS - 1; word >= 0; word--) {
        __u64 bits = mask->words[word];

        if (bits) {
            lowest = bits;
            first = word * WORD_BITS;
        }
    }
    return lowest ? first + lowest_bit(lowest) : WEIR_LIMIT_SELECTORS_PER_HOOK;
}

/* Takes out all candidates up to `last`: the policy that acted has the bits up to it. */
static __always_inline void drop_candidates(struct weir_mask *mask, __u32 last) {
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u32 first = word * WORD_BITS;

        if (last >= first + WORD_BITS - 1)
            mask->words[word] = 0;
        else if (last >= first)
            mask->words[word] &= ~((2ULL << (last - first)) - 1);
    }
}

static __always_inline void act(struct enforcement *all, const struct weir_selector_entry *entry, struct done *done) {
    bool kills = HAS_ACTION(entry->actions, WEIR_ACTION_SIGKILL) || entry->signal == SIGNAL_KILL;

    done->signal = HAS_ACTION(entry->actions, WEIR_ACTION_SIGKILL) ? SIGNAL_KILL : entry->signal;
    done->error = 0;
    done->is_enforced = false;
    if (all->may_deny) {
        if (HAS_ACTION(entry->actions, WEIR_ACTION_OVERRIDE))
            done->error = entry->error;
        else if (kills) // The signal alone would let the call take effect first.
            done->error = ERROR_NOT_PERMITTED;
        // The verifier of 6.12 wants the range seen; a value beyond it would not be taken for an error.
        if (done->error > 0 || done->error < ERROR_LOWEST)
            done->error = ERROR_NOT_PERMITTED;
    }
    if (entry->flags & SELECTOR_MONITOR)
        return;
    if (done->error) {
        if (!all->error)
            all->error = done->error;
        count(WEIR_KERNEL_COUNTER_ENFORCED);
        done->is_enforced = true;
    }
    if (done->signal) {
        if (bpf_send_signal(done->signal) == 0) {
            count(WEIR_KERNEL_COUNTER_ENFORCED);
            done->is_enforced = true;
        } else {
            count(WEIR_KERNEL_COUNTER_ENFORCE_FAILED);
            done->signal = 0;
        }
    }
}

/* The gravest of a selector's actions, which an event names. */
static __always_inline __u16 gravest(const struct weir_selector_entry *entry) {
    if (HAS_ACTION(entry->actions, WEIR_ACTION_SIGKILL))
        return WEIR_ACTION_SIGKILL;
    if (HAS_ACTION(entry->actions, WEIR_ACTION_OVERRIDE))
        return WEIR_ACTION_OVERRIDE;
    if (HAS_ACTION(entry->actions, WEIR_ACTION_SIGNAL))
        return WEIR_ACTION_SIGNAL;
    return WEIR_ACTION_POST;
}

/* Lays the arguments that the policy shows behind the record, in its order, and their payloads behind them. */
static __always_inline __u64 lay_out_arguments(struct scratch *scratch, const struct hook_work *work, __u32 slot,
                                               __u32 shown, __u16 *count_out, __u16 *flags) {
    __u64 end = sizeof(struct weir_hook_record);
    __u32 argument_count = 0;

#pragma unroll
    for (__u32 n = 0; n < HOOK_ARGUMENTS_MAX; n++) {
        if ((shown >> (4 * n)) & 15)
            argument_count = n + 1;
    }
    end += argument_count * sizeof(struct weir_argument);
#pragma clang loop unroll(disable)
    for (__u32 n = 0; n < HOOK_ARGUMENTS_MAX; n++) {
        __u32 position = (((shown >> (4 * n)) & 15) - 1) & (HOOK_ARGUMENTS_MAX - 1);

        if (n >= argument_count)
            break;
        const struct weir_argument *from = &work->arguments[position];
        struct weir_argument *to =
            (void *)(scratch->record + sizeof(struct weir_hook_record) + n * sizeof(struct weir_argument));
        const struct text_slot *text = text_of(slot, position);
        bool failed = false;

        if (!text)
            break;
        *to = *from;
        to->flags &= ~WEIR_ARGUMENT_FLAG_HIDDEN;
        if (to->flags & WEIR_ARGUMENT_FLAG_TRUNCATED)
            *flags |= WEIR_RECORD_FLAG_TRUNCATED;
        end = record_append(scratch, end, text->bytes, from->payload.length, &to->payload, &failed);
        if (failed)
            count_failure(WEIR_FAILURE_PLACE_RECORD_ROOM);
    }
    *count_out = argument_count;
    return end;
}

static __always_inline void post(const struct enforcement *all, const struct weir_selector_entry *entry,
                                 const struct done *done, struct scratch *scratch, const struct hook_work *work) {
    struct weir_hook_record *record = (void *)scratch->record;
    __u16 flags = 0;
    __u16 argument_count = 0;

    if (all->undecided_count)
        flags |= WEIR_RECORD_FLAG_UNDECIDED;
    if (entry->flags & SELECTOR_MONITOR)
        flags |= WEIR_RECORD_FLAG_MONITOR;
    if (done->is_enforced)
        flags |= WEIR_RECORD_FLAG_PROTECTED;
    __builtin_memset(record, 0, sizeof(*record));
    record->binding_id = entry->binding_id;
    record->selector_index = entry->selector_index;
    record->action = gravest(entry);
    record->action_error = done->error;
    record->action_signal = done->signal;
    record->undecided_terms = all->undecided_count;

    __u64 end = lay_out_arguments(scratch, work, all->slot, entry->shown, &argument_count, &flags);

    record->argument_count = argument_count;
    header_fill((void *)record, bpf_get_current_task_btf(), all->event_kind, flags);
    emit(scratch, end, WEIR_KERNEL_COUNTER_PRODUCED_HOOK);
}

/* Acts for one matched policy. Returns 1, which ends the loop, when no candidate is left. */
static long act_for_next_policy(__u32 index, void *context) {
    struct enforcement *all = context;
    struct hook_work *work = hook_work_of(all->slot);
    struct scratch *scratch = path_scratch(all->slot);
    struct done done;

    (void)index;
    if (!work || !scratch)
        return 1;
    __u32 bit = lowest_candidate(&work->candidates);

    if (bit >= WEIR_LIMIT_SELECTORS_PER_HOOK)
        return 1;
    struct weir_selector_key key = {.config_id = all->config_id, .bit = bit};
    const struct weir_selector_entry *entry = bpf_map_lookup_elem(&selectors, &key);

    if (!entry) { // cannot be: a configuration is in use only while its entries are there
        drop_candidates(&work->candidates, bit);
        return 0;
    }
    drop_candidates(&work->candidates, entry->last_bit < bit ? bit : entry->last_bit);
    count(WEIR_KERNEL_COUNTER_HOOK_MATCHES);
    act(all, entry, &done);
    if (HAS_ACTION(entry->actions, WEIR_ACTION_POST))
        post(all, entry, &done, scratch, work);
    return 0;
}

/* Acts for all policies that matched. Returns what the call is to return, 0 where it goes on. */
static __always_inline int enforce(struct enforcement *all) {
    // As many turns as there can be policies on a hook, and one that finds nothing left.
    bpf_loop(WEIR_LIMIT_SELECTORS_PER_HOOK + 1, act_for_next_policy, all, 0);
    return all->error;
}

#endif
