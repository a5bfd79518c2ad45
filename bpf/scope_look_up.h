/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns how the scopes of a process are looked up, dimension by dimension: those that hold are what is left of
// all. Whose scopes they are, and how its numbers and sets are had, is for who asks: scope.h for the current
// process, scope_subject.h for any.

#ifndef WEIR_SCOPE_LOOK_UP_H
#define WEIR_SCOPE_LOOK_UP_H

#include "match.h"
#include "spec.h"

/* Scope dimensions are numbered from here on; see scope_config.generation. */
#define WEIR_SCOPE_DIMENSIONS_FROM 0x80000000U

#define HOOK_SCOPES_BY_LINEAGE                                                                               \
    (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_LINEAGE) || HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_PARENT_LINEAGE))
#define HOOK_SCOPES_BY_CHANGES                                                                               \
    (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_CHANGES) ||                                               \
     HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED_CHANGES))
#define HOOK_SCOPES_BY_SETS                                                                                  \
    (HOOK_SCOPES_BY_LINEAGE || HOOK_SCOPES_BY_CHANGES || HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_CAP_PERMITTED))
#define HOOK_SCOPES_BY_NUMBERS                                                                               \
    (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS) || HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_PID) ||       \
     HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_PID) || HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_WORKLOAD))

/* What the members of one set share; the context of bpf_loop, which keeps no pointers. */
struct set_look_up {
    __u32 slot;
    __u32 dimension_id;
    __u64 left; // of the word of the set, what is still to be looked up
};

/* ORs the mask of one member, or goes on to the next word. Returns 1, which ends the loop, after the last. */
static long look_up_member(__u32 index, void *context) {
    struct set_look_up *look_up = context;
    struct hook_work *work = hook_work_of(look_up->slot);

    (void)index;
    if (!work)
        return 1;
    if (look_up->left == 0) {
        __u32 next = work->set_word + 1;

        if (next >= WEIR_LIMIT_MASK_WORDS)
            return 1;
        work->set_word = next;
        look_up->left = work->set.words[next];
        return 0;
    }
    __u32 member = work->set_word * WORD_BITS + lowest_bit(look_up->left);
    const struct weir_mask *found = look_up_integer(look_up->dimension_id, member, PURPOSE_BIT);

    if (found)
        mask_or(&work->found, found, WEIR_LIMIT_MASK_WORDS);
    look_up->left &= look_up->left - 1;
    return 0;
}

/*
 * The mask of the set in work->set, into work->found: a term on it holds where any of its members is there,
 * or, negated, where none is. So what the members say is ORed, and turns the mask of the empty set over.
 * Only members that a scope asks for are looked up. Not static, for its stack.
 */
__noinline int look_up_set(__u32 slot, __u32 scope_slot, __u32 d, __u32 dimension_id) {
    struct hook_work *work = hook_work_of(slot);
    struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    const struct weir_mask *asked = look_up_integer(dimension_id, 0, PURPOSE_BITS);

    if (!work || !config)
        return 0;
    d &= WEIR_LIMIT_DIMENSIONS_PER_HOOK - 1;
    barrier_var(d);
    mask_clear(&work->found);
    if (asked && mask_and(&work->set, asked, WEIR_LIMIT_MASK_WORDS)) {
        work->set_word = 0;
        struct set_look_up look_up = {
            .slot = slot,
            .dimension_id = dimension_id,
            .left = work->set.words[0],
        };

        bpf_loop(WEIR_LIMIT_LINEAGES + WEIR_LIMIT_MASK_WORDS, look_up_member, &look_up, 0);
    }
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        work->found.words[word] ^= config->defaults[d].words[word];
    return 0;
}

static __always_inline bool is_lineage(__u32 attribute) {
    return attribute == WEIR_SCOPE_ATTRIBUTE_LINEAGE || attribute == WEIR_SCOPE_ATTRIBUTE_PARENT_LINEAGE;
}

/*
 * Of a set of which not all members are known, into work->found, which has what the known ones say: a term
 * that one of these decides is decided ("one of" holds, "none of" does not), what is left is undecided. So
 * nobody leaves a lineage by a binary that cannot be read. Not static, for its stack.
 */
__noinline int keep_known_members(__u32 slot, __u32 scope_slot, __u32 d, __u32 dimension_id) {
    struct hook_work *work = hook_work_of(slot);
    struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    const struct weir_mask *undecided = look_up_integer(dimension_id, 0, PURPOSE_UNDECIDED);

    if (!work || !config || !undecided)
        return 0;
    d &= WEIR_LIMIT_DIMENSIONS_PER_HOOK - 1; // see lay_out_argument
    barrier_var(d);
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u64 said = work->found.words[word];
        __u64 open = undecided->words[word];

        // A term is true of the empty set where it is negated.
        work->found.words[word] = (said & open) | (~config->defaults[d].words[word] & (said | open));
    }
    return 0;
}

/* Looks the binary of the process whose state the work names, or its parent's, up from one end; !*known where
 * it is not known as far as it would have to be. */
static __always_inline const struct weir_mask *look_up_binary(__u32 slot, __u32 kind, bool of_parent,
                                                              __u32 id, bool *known) {
    struct hook_work *work = hook_work_of(slot);
    struct text_slot *text = text_of(slot, TURNED_TEXT);

    if (!work || !text) {
        *known = false;
        return NULL;
    }
    // By its address: a loop's context keeps no pointers, and to ask for it again takes long to load (see
    // header_fill_of).
    const struct process_state *state = (const void *)work->process_state;
    bool is_forward = kind == WEIR_DIMENSION_KIND_FORWARD;
    __u32 unknown =
        is_forward ? PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE : PROCESS_STATE_UNREADABLE;

    __u32 flags = 0, length = 0;
    long error = bpf_probe_read_kernel(&flags, sizeof(flags), &state->flags);

    if (of_parent)
        unknown <<= 4;
    error |= bpf_probe_read_kernel(&length, sizeof(length),
                                   of_parent ? &state->parent_length : &state->binary_length);
    if (error || (flags & unknown)) {
        __u32 unreadable = of_parent ? PROCESS_STATE_PARENT_UNREADABLE : PROCESS_STATE_UNREADABLE;

        return look_up_incomplete(id, !error && !(flags & unreadable) && length > WEIR_BINARY_VALUE_BYTES_MAX,
                                  known);
    }
    const __u8 *from = of_parent ? (is_forward ? state->parent_forward : state->parent_reverse)
                                 : (is_forward ? state->forward : state->reverse);

    bpf_probe_read_kernel(text->bytes, WEIR_STATE_TEXT_BYTES, from);
    if (length < WEIR_STATE_TEXT_BYTES)
        text->bytes[length] = 0;
    return look_up_forward(text, length, id);
}

/* A number of the process; !*known where it cannot be had. */
typedef __u32 (*scope_number_getter)(struct hook_work *work, __u32 attribute, bool *known);
/* Puts a set of the process into work->set. Returns whether it is known. */
typedef bool (*scope_set_getter)(struct hook_work *work, __u32 attribute);

/*
 * ANDs the mask of one dimension into the scopes; that of what may change while a process runs only where it
 * is asked for.
 */
static __always_inline void and_scope_dimension(__u32 slot, __u32 generation, __u32 d, bool with_changing,
                                                scope_number_getter number_of, scope_set_getter set_of) {
    struct hook_work *work = hook_work_of(slot);
    __u32 scope_slot = generation % WEIR_SCOPE_SLOTS;
    struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    const struct weir_mask *found;
    bool known = true;

    if (!work || !config)
        return;
    d &= WEIR_LIMIT_DIMENSIONS_PER_HOOK - 1; // see lay_out_argument
    barrier_var(d);
    if (config->dimensions[d].part && !with_changing)
        return;
    __u32 id = WEIR_SCOPE_DIMENSIONS_FROM + generation * WEIR_LIMIT_DIMENSIONS_PER_HOOK + d;
    __u32 kind = config->dimensions[d].kind;
    __u32 attribute = config->dimensions[d].argument;

    if (HOOK_SCOPES_BY_NUMBERS && kind == WEIR_DIMENSION_KIND_INTEGER) {
        __u32 value = number_of(work, attribute, &known);

        found = look_up_integer(id, known ? value : 0, known ? PURPOSE_VALUE : PURPOSE_UNDECIDED);
    } else if (HOOK_SCOPES_BY_SETS && kind == WEIR_DIMENSION_KIND_SET) {
        known = set_of(work, attribute);
        look_up_set(slot, scope_slot, d, id);
        if (HOOK_SCOPES_BY_LINEAGE && !known && is_lineage(attribute)) {
            keep_known_members(slot, scope_slot, d, id);
            found = &work->found;
        } else {
            found = known ? &work->found : look_up_integer(id, 0, PURPOSE_UNDECIDED);
        }
    } else {
        bool of_parent = HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_PARENT_BINARY) &&
                         attribute == WEIR_SCOPE_ATTRIBUTE_PARENT_BINARY;

        found = look_up_binary(slot, kind, of_parent, id, &known);
    }
    if (!known)
        work->undecided_count++;
    if (!found)
        found = &config->defaults[d];
    mask_and(&work->class_key.scopes, found, WEIR_LIMIT_MASK_WORDS);
}

#endif
