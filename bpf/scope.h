/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns which selectors of a hook hold for the current process, by what depends on the process alone (scopes).
//
// The scopes that a process is in have been worked out beforehand, and lie in its state (scope_subject.h);
// sets of scopes have numbers, classes. For each configuration and class the mask of selectors is kept. So a
// hit costs two look-ups once both are known.
//
// Namespaces and capabilities can change while a process runs, and differ between its threads. Of a hook
// whose selectors look at such, the scopes are evaluated at each hit, by code that other hooks have not.

#ifndef WEIR_SCOPE_H
#define WEIR_SCOPE_H

#include "scope_look_up.h"
#include "scope_process.h"

/*
 * Makes those selectors candidates whose scope is among those of the process. A loop with no branch, whose
 * end is a constant, so that the verifier goes through it once.
 */
static __always_inline void select_by_scope(struct hook_work *work, const struct weir_hook_config *config,
                                            const struct weir_mask *in) {
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
        work->candidates.words[bit / WORD_BITS] |= (in->words[word] >> (scope % WORD_BITS) & is_scope)
                                                   << (bit % WORD_BITS);
    }
}

/* What is known of the scopes of the current process; NULL where that is nothing. */
static __always_inline const struct process_scopes *scopes_of_current(__u32 generation) {
    struct task_struct *task = bpf_get_current_task_btf();
    __u32 zero = 0;
    struct process_state *state =
        task->pid ? process_state_find(task->group_leader) : bpf_map_lookup_elem(&idle_state, &zero);

    if (!state)
        return NULL;
    return generation % WEIR_SCOPE_SLOTS ? &state->scopes[1] : &state->scopes[0];
}

static __always_inline __u64 generation_class_of(const struct process_scopes *scopes) {
    return *(const volatile __u64 *)&scopes->generation_class;
}

/* The mask for a process whose class is kept; NULL where there is more to do. Takes no scratch memory. */
static __always_inline const struct weir_mask *cached_scope_mask(const struct weir_hook_config *config) {
    if (HOOK_HAS(WEIR_HOOK_FEATURE_SCOPES_CHANGE))
        return NULL;
    const struct process_scopes *scopes = scopes_of_current(config->scope_generation);

    if (!scopes)
        return NULL;
    __u64 known = generation_class_of(scopes);

    if ((__u32)known != config->scope_generation)
        return NULL;
    struct class_mask_key key = {.config_id = config->config_id, .class_id = known >> 32};

    return bpf_map_lookup_elem(&class_masks, &key);
}

/* Without the process nothing is decided but what asks for none. */
static __always_inline void select_undecided(struct hook_work *work, const struct weir_hook_config *config) {
    work->undecided_count++;
    count(WEIR_KERNEL_COUNTER_UNDECIDED);
    mask_or(&work->candidates, &config->holding, spec.word_count);
}

/*
 * Puts the selectors whose scope the current process is in into the candidates, and keeps them for its class,
 * where it has one and there is room: a map that is full costs time, never the answer. What is known of the
 * process is read by its address, so that the verifier looks at what comes after it once.
 */
static __always_inline void select_candidates(struct hook_work *work, const struct weir_hook_config *config) {
    *(volatile __u64 *)&work->process_state = (__u64)scopes_of_current(config->scope_generation);
    const void *address = (const void *)*(volatile __u64 *)&work->process_state;
    struct process_scopes *scopes = &work->scopes;
    long error = bpf_probe_read_kernel(scopes, sizeof(*scopes), address);

    mask_copy(&work->candidates, &config->unscoped, spec.word_count);
    if (error || (__u32)scopes->generation_class != config->scope_generation) {
        select_undecided(work, config);
        return;
    }
    work->undecided_count = scopes->undecided;
    select_by_scope(work, config, &scopes->in);
    count_many(WEIR_KERNEL_COUNTER_UNDECIDED, work->undecided_count);
    struct class_mask_key key = {.config_id = config->config_id, .class_id = scopes->generation_class >> 32};

    if (key.class_id && bpf_map_update_elem(&class_masks, &key, &work->candidates, BPF_ANY))
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
}

static __always_inline __u32 current_number(struct hook_work *work, __u32 attribute, bool *known) {
    (void)work;
    if (HOOK_SCOPES_BY(WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS) && attribute >= WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS)
        return namespace_inode(attribute - WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS, known);
    return process_number(attribute, known);
}

static __always_inline bool current_set(struct hook_work *work, __u32 attribute) {
    return process_set(attribute, &work->set);
}

/* One dimension of the scopes of the current process. Not static: see evaluate_candidates. */
__noinline int evaluate_scope_dimension(__u32 slot, __u32 generation, __u32 d) {
    and_scope_dimension(slot, generation, d, true, current_number, current_set);
    return 0;
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
 * Evaluates the scopes of the current process, for hooks that look at what may change, and puts the selectors
 * that hold into the candidates.
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
    __u32 scope_slot = config->scope_generation % WEIR_SCOPE_SLOTS;
    struct weir_scope_config *scopes = bpf_map_lookup_elem(&scope_configs, &scope_slot);
    struct process_state *state = process_state_find(task->group_leader); // see fill_process_state

    mask_copy(&work->candidates, &config->unscoped, spec.word_count);
    // A scope configuration of another generation cannot be met: one is written only when no run can still
    // name the one before it.
    if (!state || !scopes || scopes->generation != config->scope_generation) {
        select_undecided(work, config);
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
        evaluate_scope_dimension(slot, config->scope_generation, d);
    }
    select_by_scope(work, config, &work->class_key.scopes);
    if (work->undecided_count) // evaluated, and counted, each time
        count_many(WEIR_KERNEL_COUNTER_UNDECIDED, work->undecided_count);
    return 0;
}

#endif
