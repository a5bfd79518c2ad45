/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the counts of each hook, and of each policy on it: who looks at one policy wants to know what it does.
// What the kernel stage counts as a whole is in counters.h.

#ifndef WEIR_TALLY_H
#define WEIR_TALLY_H

#include "hook_maps.h"

/* By hook id. Written by the hook's programs; the agent reads, and clears before another hook gets the id. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEIR_LIMIT_HOOKS);
    __type(key, __u32);
    __type(value, struct weir_hook_counts);
} hook_counts SEC(".maps");

/* By binding id. The agent makes and deletes the entries, and reads them; programs add to those that are
 * there. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 8192);
    __type(key, __u32);
    __type(value, struct weir_binding_counts);
} binding_counts SEC(".maps");

/* What became of one match; the rest is in the work of the run. */
enum match_outcome {
    MATCH_SILENT,
    MATCH_POSTED,
    MATCH_RATE_LIMITED,
    MATCH_LOST,
    MATCH_THROTTLED,
};

static __always_inline void tally_run(__u32 hook_id) {
    struct weir_hook_counts *counts = bpf_map_lookup_elem(&hook_counts, &hook_id);

    if (counts)
        __sync_fetch_and_add(&counts->hits, 1);
}

static __always_inline void tally_undecided(__u32 hook_id, __u32 terms) {
    struct weir_hook_counts *counts = bpf_map_lookup_elem(&hook_counts, &hook_id);

    if (counts)
        __sync_fetch_and_add(&counts->undecided, terms);
}

/* Counts for a policy what came of a call. */
static __always_inline void tally_match(const struct hook_work *work, enum match_outcome outcome,
                                        bool is_match) {
    __u32 binding_id = work->binding_id;
    struct weir_binding_counts *counts = bpf_map_lookup_elem(&binding_counts, &binding_id);

    if (!counts)
        return;
    if (is_match)
        __sync_fetch_and_add(&counts->matches, 1);
    if (outcome == MATCH_POSTED)
        __sync_fetch_and_add(&counts->posted, 1);
    else if (outcome == MATCH_RATE_LIMITED)
        __sync_fetch_and_add(&counts->rate_limited, 1);
    else if (outcome == MATCH_LOST)
        __sync_fetch_and_add(&counts->lost, 1);
    else if (outcome == MATCH_THROTTLED)
        __sync_fetch_and_add(&counts->throttled, 1);
    if (work->counts_enforced)
        __sync_fetch_and_add(&counts->enforced, 1);
    if (work->done_failed)
        __sync_fetch_and_add(&counts->enforce_failed, 1);
}

#endif
