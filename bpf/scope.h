/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns which selectors of a hook hold for the current process, by what depends on the process alone (scopes).
//
// The scopes that a process is in are a set; a set that was seen gets a number, its class. The class is kept
// with the process for one generation of scopes, and for each configuration and class the mask of selectors
// is kept. So a hit costs two look-ups once both are known. Numbers of classes are never reused, and belong
// to one generation: a class that another hook has written meanwhile for another generation is at worst not
// found, and then all is evaluated.
//
// Namespaces and capabilities can change while a process runs, and differ between its threads. They are no
// part of a class: of a hook whose selectors look at such, the scopes are evaluated at each hit.

#ifndef WEIR_SCOPE_H
#define WEIR_SCOPE_H

#include "scope_process.h"

/* Scope dimensions are numbered from here on; see scope_config.generation. */
#define WEIR_SCOPE_DIMENSIONS_FROM 0x80000000U

/* Generation and class of a process lie side by side: one load, one store, so that they always belong
 * together. */
_Static_assert(offsetof(struct process_state, scope_class) ==
                       offsetof(struct process_state, scope_generation) + 4 &&
                   offsetof(struct process_state, scope_generation) % 8 == 0,
               "process_state: scope_generation and scope_class are one 64-bit word");

static __always_inline __u64 scope_load(const struct process_state *state) {
    return *(const volatile __u64 *)&state->scope_generation;
}

static __always_inline void scope_store(struct process_state *state, __u32 generation, __u32 class_id) {
    *(volatile __u64 *)&state->scope_generation = (__u64)class_id << 32 | generation;
}

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

/* Looks the current process's binary, or its parent's, up from one end; !*known where it is not known as far
 * as it would have to be. */
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
        *known = false;
        return look_up_integer(id, 0, PURPOSE_UNDECIDED);
    }
    const __u8 *from = of_parent ? (is_forward ? state->parent_forward : state->parent_reverse)
                                 : (is_forward ? state->forward : state->reverse);

    bpf_probe_read_kernel(text->bytes, WEIR_STATE_TEXT_BYTES, from);
    if (length < WEIR_STATE_TEXT_BYTES)
        text->bytes[length] = 0;
    return look_up_forward(text, length, id);
}

/*
 * ANDs the mask of one dimension into the scopes; that of what may change while a process runs only where it
 * is asked for. Not static: see evaluate_candidates.
 */
__noinline int evaluate_scope_dimension(__u32 slot, __u32 generation, __u32 d, __u32 with_changing) {
    struct hook_work *work = hook_work_of(slot);
    __u32 scope_slot = generation % SCOPE_SLOTS;
    struct weir_scope_config *config = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    const struct weir_mask *found;
    bool known = true;

    if (!work || !config)
        return 0;
    d &= WEIR_LIMIT_DIMENSIONS_PER_HOOK - 1; // see lay_out_argument
    barrier_var(d);
    if (config->dimensions[d].part && !with_changing)
        return 0;
    __u32 id = WEIR_SCOPE_DIMENSIONS_FROM + generation * WEIR_LIMIT_DIMENSIONS_PER_HOOK + d;
    __u32 kind = config->dimensions[d].kind;
    __u32 attribute = config->dimensions[d].argument;

    if (HOOK_SCOPES_BY_NUMBERS && kind == WEIR_DIMENSION_KIND_INTEGER) {
        __u32 value = HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS) &&
                              attribute >= WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS
                          ? namespace_inode(attribute - WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS, &known)
                          : process_number(attribute, &known);

        found = look_up_integer(id, known ? value : 0, known ? PURPOSE_VALUE : PURPOSE_UNDECIDED);
    } else if (HOOK_SCOPES_BY_SETS && kind == WEIR_DIMENSION_KIND_SET) {
        known = process_set(attribute, &work->set);
        look_up_set(slot, scope_slot, d, id);
        found = known ? &work->found : look_up_integer(id, 0, PURPOSE_UNDECIDED);
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
    return 0;
}

/* The number of the set of scopes in `key`; 0 where it got none, because the map is full. */
static __always_inline __u32 intern_class(const struct class_key *key) {
    __u32 *known = bpf_map_lookup_elem(&classes, key);

    if (known)
        return *known;
    __u32 zero = 0;
    __u32 *counter = bpf_map_lookup_elem(&class_counter, &zero);

    if (!counter)
        return 0;
    __u32 id = __sync_fetch_and_add(counter, 1) + 1;

    if (bpf_map_update_elem(&classes, key, &id, BPF_NOEXIST) == 0)
        return id;
    known = bpf_map_lookup_elem(&classes, key); // another CPU was first
    if (known)
        return *known;
    count(WEIR_KERNEL_COUNTER_MAP_FULL);
    return 0;
}

/*
 * Makes those selectors candidates whose scope is among those of the process. A loop with no branch, whose
 * end is a constant, so that the verifier goes through it once.
 */
static __always_inline void select_by_scope(struct hook_work *work, const struct weir_hook_config *config) {
#pragma clang loop unroll(disable)
    for (__u32 bit = 0; bit < WEIR_LIMIT_SELECTORS_PER_HOOK; bit++) {
        if (bit >= spec.word_count * WORD_BITS)
            break;
        // One that asks for no scope is in `unscoped`; its number is NO_SCOPE, as that of one that is not
        // there.
        __u64 scope = config->scope_of[bit];
        __u64 is_scope = (scope - WEIR_LIMIT_SELECTORS_PER_HOOK) >> 63;
        __u32 word = scope / WORD_BITS % WEIR_LIMIT_MASK_WORDS;

        barrier_var(is_scope);
        barrier_var(word);
        word %= WEIR_LIMIT_MASK_WORDS;
        work->candidates.words[bit / WORD_BITS] |=
            (work->class_key.scopes.words[word] >> (scope % WORD_BITS) & is_scope) << (bit % WORD_BITS);
    }
}

/* The mask for a process whose class is kept; NULL where all has to be evaluated. Takes no scratch memory. */
static __always_inline const struct weir_mask *cached_scope_mask(const struct weir_hook_config *config) {
    if (config->is_changing)
        return NULL;
    struct task_struct *task = bpf_get_current_task_btf();
    struct process_state *state = process_state_find(task->group_leader);

    if (!state)
        return NULL;
    __u64 cached = scope_load(state);

    if ((__u32)cached != config->scope_generation)
        return NULL;
    struct class_mask_key key = {.config_id = config->config_id, .class_id = cached >> 32};

    return bpf_map_lookup_elem(&class_masks, &key);
}

/*
 * Brings the state of the current process up to what scopes look at. Called before the scopes are evaluated
 * and not from there: reading a path lies deepest in the stack that all frames share, and clang 19 needs more
 * of it than clang 14 ("combined stack size of 6 calls is 544"). Returns nothing of worth: who evaluates
 * looks for the state.
 */
__noinline int fill_process_state(__u32 slot) {
    struct scratch *scratch = path_scratch(slot);

    if (!scratch || !process_state_get(scratch, slot))
        return 0;
    if (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_PARENT_BINARY))
        fill_parent_binary(slot);
    if (HOOK_SCOPES_BY_LINEAGE)
        sync_current_lineage(slot);
    if (HOOK_SCOPES_BY_CHANGES)
        fill_baseline(slot);
    return 0;
}

/*
 * Evaluates the scopes of the current process and puts the selectors that hold into the candidates. Keeps
 * what it found, where there is room: a map that is full costs time, never the answer.
 *
 * Not static, so that the verifier looks at it once and apart from what comes after: inlined, its paths
 * multiply with those of the arguments beyond a million instructions. Returns nothing of worth.
 */
__noinline int evaluate_candidates(__u32 slot, __u32 config_index) {
    struct hook_work *work = hook_work_of(slot);
    struct task_struct *task = bpf_get_current_task_btf();
    struct weir_hook_config *config = bpf_map_lookup_elem(&hook_configs, &config_index);

    if (!work || !config)
        return 0;
    __u32 scope_slot = config->scope_generation % SCOPE_SLOTS;
    struct weir_scope_config *scopes = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    struct process_state *state = process_state_find(task->group_leader); // see fill_process_state

    mask_copy(&work->candidates, &config->unscoped, spec.word_count);
    // Without the process nothing is decided but what asks for none. A scope configuration of another
    // generation cannot be met: one is written only when no run can still name the one before it.
    if (!state || !scopes || scopes->generation != config->scope_generation) {
        work->undecided_count++;
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        mask_or(&work->candidates, &config->holding, spec.word_count);
        return 0;
    }
    work->process_state = (__u64)state;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        work->class_key.scopes.words[word] = ~0ULL;
#pragma clang loop unroll(disable)
    for (__u32 d = 0; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
        if (d >= scopes->dimension_count)
            break;
        evaluate_scope_dimension(slot, config->scope_generation, d, config->is_changing);
    }
    select_by_scope(work, config);
    if (work->undecided_count) // evaluated, and counted, each time
        count_many(WEIR_KERNEL_COUNTER_UNDECIDED, work->undecided_count);
    if (work->undecided_count || config->is_changing)
        return 0;
    work->class_key.generation = config->scope_generation;
    work->class_key.reserved = 0;
    __u32 class_id = intern_class(&work->class_key);

    if (class_id == 0)
        return 0;
    struct class_mask_key key = {.config_id = config->config_id, .class_id = class_id};

    if (bpf_map_update_elem(&class_masks, &key, &work->candidates, BPF_ANY))
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
    scope_store(state, config->scope_generation, class_id);
    return 0;
}

#endif
