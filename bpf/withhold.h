/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns which records of processes are withheld: they keep the agent's table of processes whole, and go no
// further. These are those that the agent was told to leave out (narrowing), and those that are too many
// (throttle.h).
//
// Narrowing is decided when a process executes its program, and holds for all that the process tells until it
// executes another: its exit, and the clone of each child, which begins as its parent is. What was there
// before the programs is decided when it first clones.

#ifndef WEIR_WITHHOLD_H
#define WEIR_WITHHOLD_H

#include "cgroup.h"
#include "lineage.h"
#include "process.h"
#include "throttle.h"

// Rules, and which of them say what; set by the loader. All 0: nothing is narrowed.
const volatile struct weir_narrowing narrowing = {};
// Whether a throttle has a limit.
const volatile __u32 throttles = 0;

// Paths of binaries from the front (dimension 0) and from the end (1), and the rules that name them. Written
// by the agent before programs are attached.
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 8192);
    __type(key, struct string_key);
    __type(value, __u32);
} narrowing_strings SEC(".maps");

// Numbers, by their narrowing_attribute, and the rules that hold for a process which has them. Written by the
// agent: that of workloads as they come and go.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 16384);
    __type(key, struct weir_narrowing_key);
    __type(value, __u32);
} narrowing_numbers SEC(".maps");

static __always_inline __u32 rules_of_number(__u32 attribute, __u64 value) {
    struct weir_narrowing_key key = {.attribute = attribute, .value = value};
    const __u32 *rules = bpf_map_lookup_elem(&narrowing_numbers, &key);

    return rules ? *rules : narrowing.defaults[attribute];
}

static __always_inline __u32 rules_of_text(struct scratch *scratch, __u32 dimension, const __u8 *text,
                                           __u32 length) {
    struct string_key *key = (void *)scratch->key;

    key->prefix_bits = trie_bits(length);
    key->dimension_id = dimension;
    if (bpf_probe_read_kernel(key->bytes, sizeof(key->bytes), text) != 0)
        return 0;
    const __u32 *rules = bpf_map_lookup_elem(&narrowing_strings, key);

    return rules ? *rules : 0;
}

/* Rules that hold for the workload of the current task: that of its cgroup, or of the nearest around it that
 * is one's. Not static: its loop is looked at once. */
__noinline int rules_of_workload(void) {
    struct task_struct *task = bpf_get_current_task_btf();
    int level = BPF_CORE_READ(task, cgroups, dfl_cgrp, level);

#pragma clang loop unroll(disable)
    for (int step = 0; step < WEIR_CGROUP_STEPS_MAX; step++) {
        if (cgroup_levels_end(step, level))
            break;
        struct weir_narrowing_key key = {
            .attribute = WEIR_NARROWING_ATTRIBUTE_CGROUP,
            .value = bpf_get_current_ancestor_cgroup_id(cgroup_level_at(step, level)),
        };
        const __u32 *rules = bpf_map_lookup_elem(&narrowing_numbers, &key);

        if (rules)
            return *rules;
    }
    return narrowing.defaults[WEIR_NARROWING_ATTRIBUTE_CGROUP];
}

/* Decides for the current process, whose state is filled in. Not static, for its stack. */
__noinline int narrow(__u32 slot) {
    struct task_struct *task = bpf_get_current_task_btf();
    struct process_state *state = process_state_find(task->group_leader);
    struct scratch *scratch = path_scratch(slot);
    struct nsproxy *proxy = task->nsproxy;

    if (!state || !scratch || !proxy)
        return 0;
    __u32 flags = state->flags;
    __u32 binary = narrowing.defaults[WEIR_NARROWING_ATTRIBUTE_BINARY];

    if (narrowing.uses & (1 << WEIR_NARROWING_ATTRIBUTE_BINARY)) {
        if (flags & (PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE)) {
            // Nobody is kept in the dark about what cannot be told.
            count(WEIR_KERNEL_COUNTER_UNDECIDED);
            return 0;
        }
        binary |= rules_of_text(scratch, 0, state->forward, state->binary_length);
        // No byte behind the beginning is looked at: what comes there belongs to no path.
        if (state->binary_length)
            binary |= rules_of_text(scratch, 1, state->reverse, state->binary_length - 1);
    }
    __u32 rules = binary;

    if (rules && narrowing.uses & (1 << WEIR_NARROWING_ATTRIBUTE_UID))
        rules &= rules_of_number(WEIR_NARROWING_ATTRIBUTE_UID, task->cred->uid.val);
    if (rules && narrowing.uses & (1 << WEIR_NARROWING_ATTRIBUTE_PID_NAMESPACE))
        rules &= rules_of_number(WEIR_NARROWING_ATTRIBUTE_PID_NAMESPACE, pid_namespace_of(task));
    if (rules && narrowing.uses & (1 << WEIR_NARROWING_ATTRIBUTE_MNT_NAMESPACE))
        rules &= rules_of_number(WEIR_NARROWING_ATTRIBUTE_MNT_NAMESPACE, proxy->mnt_ns->ns.inum);
    if (rules && narrowing.uses & (1 << WEIR_NARROWING_ATTRIBUTE_CGROUP))
        rules &= rules_of_workload();
    __u32 decided = PROCESS_STATE_NARROWING_KNOWN;

    if ((rules & narrowing.denied) || (narrowing.allowed && !(rules & narrowing.allowed)))
        decided |= PROCESS_STATE_NARROWED;
    __sync_fetch_and_or(&state->flags, decided);
    return 0;
}

static __always_inline bool narrows(void) {
    return narrowing.allowed | narrowing.denied;
}

static __always_inline __u16 withhold(__u32 slot, const struct process_state *state, __u32 kind) {
    if (narrows() && state && (state->flags & PROCESS_STATE_NARROWED)) {
        count(WEIR_KERNEL_COUNTER_NARROWED);
        return WEIR_RECORD_FLAG_WITHHELD;
    }
    if (throttles && throttle_holds(slot, 0, kind))
        return WEIR_RECORD_FLAG_WITHHELD;
    return 0;
}

/* The flag of the record of an exec that is withheld, 0 where it is told. */
static __always_inline __u16 withhold_exec(__u32 slot, const struct process_state *state) {
    if (narrows())
        narrow(slot);
    return withhold(slot, state, WEIR_EVENT_KIND_EXEC);
}

/* Of the clone of a child: the current task makes it. Overwrites the path buffer. */
static __always_inline __u16 withhold_clone(struct scratch *scratch, __u32 slot, struct task_struct *child) {
    struct process_state *state = NULL;

    if (narrows()) {
        state = process_state_get(scratch, slot);
        if (state && !(state->flags & PROCESS_STATE_NARROWING_KNOWN))
            narrow(slot);
        struct process_state *own = process_state_make(child);

        if (state && own)
            __sync_fetch_and_or(&own->flags,
                                state->flags & (PROCESS_STATE_NARROWING_KNOWN | PROCESS_STATE_NARROWED));
    }
    return withhold(slot, state, WEIR_EVENT_KIND_CLONE);
}

/* Of the exit of a process. One that was there before and is not decided is told. */
static __always_inline __u16 withhold_exit(__u32 slot, struct task_struct *leader) {
    return withhold(slot, narrows() ? process_state_find(leader) : NULL, WEIR_EVENT_KIND_EXIT);
}

#endif
