/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns which selectors of a hook hold for the current process, by what depends on the process alone (scopes).
//
// The scopes that a process is in are a set; a set that was seen gets a number, its class. The class is kept
// with the process for one generation of scopes, and for each configuration and class the mask of selectors
// is kept. So a hit costs two look-ups once both are known. Numbers of classes are never reused, and belong
// to one generation: a class that another hook has written meanwhile for another generation is at worst not
// found, and then all is evaluated.
//
// Namespaces can change while a process runs, and differ between its threads: where a scope of the generation
// looks at one, the class is not kept, but evaluated at each hit. (The pid namespace of a process never
// changes.)

#ifndef WEIR_SCOPE_H
#define WEIR_SCOPE_H

#include "hook_kernel.h"
#include "match.h"
#include "process.h"

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

/* Inode number of a namespace of the current thread; 0 where this kernel has none of the kind. */
static __always_inline __u64 namespace_inode(__u32 kind) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct nsproxy *proxy = task->nsproxy;

    switch (kind) {
    case WEIR_NAMESPACE_KIND_UTS:
        return BPF_CORE_READ(proxy, uts_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_IPC:
        return BPF_CORE_READ(proxy, ipc_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_MNT:
        return BPF_CORE_READ(proxy, mnt_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_PID: {
        struct pid *pid = BPF_CORE_READ(task, thread_pid);
        // numbers[] has an entry for each level; the last one is of the task's own namespace.
        struct upid *last = (void *)pid + bpf_core_field_offset(struct pid, numbers) +
                            BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid);

        return BPF_CORE_READ(last, ns, ns.inum);
    }
    case WEIR_NAMESPACE_KIND_PID_FOR_CHILDREN:
        return BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
    case WEIR_NAMESPACE_KIND_NET:
        return BPF_CORE_READ(proxy, net_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_TIME:
        return BPF_CORE_READ(proxy, time_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_TIME_FOR_CHILDREN:
        return BPF_CORE_READ(proxy, time_ns_for_children, ns.inum);
    case WEIR_NAMESPACE_KIND_CGROUP:
        return BPF_CORE_READ(proxy, cgroup_ns, ns.inum);
    case WEIR_NAMESPACE_KIND_USER:
        return BPF_CORE_READ(task, cred, user_ns, ns.inum);
    default:
        return 0;
    }
}

/*
 * The mask of one scope dimension; NULL where its default holds. `undecided` is set where the binary is not
 * known as far as it would have to be.
 */
static __always_inline const struct weir_mask *look_up_scope(const struct process_state *state,
                                                             struct text_slot *text, __u32 kind,
                                                             __u32 attribute, __u32 id, bool *undecided) {
    if (kind == WEIR_DIMENSION_KIND_INTEGER)
        return look_up_integer(id, namespace_inode(attribute - WEIR_SCOPE_ATTRIBUTE_NAMESPACE_UTS),
                               PURPOSE_VALUE);
    __u32 unknown = kind == WEIR_DIMENSION_KIND_FORWARD ? PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE
                                                        : PROCESS_STATE_UNREADABLE;

    if (state->flags & unknown) {
        *undecided = true;
        return look_up_integer(id, 0, PURPOSE_UNDECIDED);
    }
    bpf_probe_read_kernel(text->bytes, WEIR_STATE_TEXT_BYTES,
                          kind == WEIR_DIMENSION_KIND_FORWARD ? state->forward : state->reverse);
    __u32 length = state->binary_length;

    if (kind == WEIR_DIMENSION_KIND_REVERSE && length < WEIR_STATE_TEXT_BYTES)
        text->bytes[length] = 0;
    return look_up_forward(text, length, id);
}

/* Evaluates all scopes of a generation into `scopes`. Returns how many dimensions could not be decided. */
static __always_inline __u32 evaluate_scopes(const struct process_state *state,
                                             const struct weir_scope_config *config, struct text_slot *text,
                                             struct weir_mask *scopes) {
    __u32 undecided_count = 0;
    __u32 first = WEIR_SCOPE_DIMENSIONS_FROM + config->generation * WEIR_LIMIT_DIMENSIONS_PER_HOOK;

    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        scopes->words[word] = ~0ULL;
    for (__u32 d = 0; d < WEIR_LIMIT_DIMENSIONS_PER_HOOK; d++) {
        bool undecided = false;

        if (d >= config->dimension_count)
            break;
        const struct weir_mask *found = look_up_scope(state, text, config->dimensions[d].kind,
                                                      config->dimensions[d].argument, first + d, &undecided);
        if (undecided)
            undecided_count++;
        if (!found)
            found = &config->defaults[d];
        mask_and(scopes, found, WEIR_LIMIT_MASK_WORDS);
    }
    return undecided_count;
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

/* Sets in `mask` the selectors whose scope is in `scopes`, and those that have none. */
static __always_inline void select_by_scopes(const struct weir_hook_config *config,
                                             const struct weir_mask *scopes, struct weir_mask *mask,
                                             __u32 words) {
#pragma clang loop unroll(disable)
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        if (word >= words)
            break;
        __u64 bits = config->unscoped.words[word];

#pragma clang loop unroll(disable)
        for (__u32 bit = 0; bit < WORD_BITS; bit++) {
            __u32 scope = config->scope_of[word * WORD_BITS + bit];
            // 65535, for none, is beyond the width.
            __u64 is_in =
                scopes->words[(scope / WORD_BITS) & (WEIR_LIMIT_MASK_WORDS - 1)] >> (scope % WORD_BITS);

            bits |= (is_in & (scope < WEIR_LIMIT_SELECTORS_PER_HOOK)) << bit;
        }
        mask->words[word] = bits;
    }
}

/* The mask for a process whose class is kept; NULL where all has to be evaluated. Takes no scratch memory. */
static __always_inline const struct weir_mask *cached_scope_mask(const struct weir_hook_config *config) {
    if (config->namespaces)
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
 * Evaluates the scopes of the current process and puts the selectors that hold into work->candidates. Keeps
 * what it found, where there is room: a map that is full costs time, never the answer.
 */
static __always_inline void evaluate_candidates(const struct weir_hook_config *config,
                                                struct scratch *scratch, __u32 slot, struct hook_work *work,
                                                __u32 words, __u32 *undecided_count) {
    struct process_state *state = process_state_get(scratch, slot);
    struct text_slot *text = text_of(slot, TURNED_TEXT);
    __u32 scope_slot = config->scope_generation % SCOPE_SLOTS;
    struct weir_scope_config *scopes = bpf_map_lookup_elem(&scope_configs, &scope_slot);

    // Without the process nothing is decided but what asks for none. A scope configuration of another
    // generation cannot be met: one is written only when no run can still name the one before it.
    if (!state || !text || !scopes || scopes->generation != config->scope_generation) {
        mask_copy(&work->candidates, &config->unscoped, words);
        *undecided_count += 1;
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
        return;
    }
    __u32 undecided = evaluate_scopes(state, scopes, text, &work->class_key.scopes);

    if (undecided) {
        *undecided_count += undecided;
        count_many(WEIR_KERNEL_COUNTER_UNDECIDED, undecided);
    }
    select_by_scopes(config, &work->class_key.scopes, &work->candidates, words);
    // What was undecided is evaluated, and counted, each time.
    if (undecided || config->namespaces)
        return;
    work->class_key.generation = config->scope_generation;
    work->class_key.reserved = 0;
    __u32 class_id = intern_class(&work->class_key);

    if (class_id == 0)
        return;
    struct class_mask_key key = {.config_id = config->config_id, .class_id = class_id};

    if (bpf_map_update_elem(&class_masks, &key, &work->candidates, BPF_ANY))
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
    scope_store(state, config->scope_generation, class_id);
}

#endif
