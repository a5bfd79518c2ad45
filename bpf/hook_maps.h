/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the maps and the working memory of the hook programs. The agent writes all of these but the last four
// (agent/src/policy), the programs only read them; ids are never reused, so that what is read is whole.

#ifndef WEIR_HOOK_MAPS_H
#define WEIR_HOOK_MAPS_H

#include "maps.h"

enum {
    HOOK_ARGUMENTS_MAX = WEIR_LIMIT_SLOTS_PER_HOOK,
    HOOK_TEXTS = HOOK_ARGUMENTS_MAX + 1,
    TURNED_TEXT = HOOK_ARGUMENTS_MAX,
};

/* By which configuration a program acts: two states a hook, so that a program that comes in another's place
 * is told before it does. Stored by set_hook_state. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2 * WEIR_LIMIT_HOOKS);
    __type(key, __u32);
    __type(value, struct weir_hook_state);
} hook_states SEC(".maps");

/* Two a hook, of which one may be in use while the other is written. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, WEIR_LIMIT_HOOK_CONFIGS);
    __type(key, __u32);
    __type(value, struct weir_hook_config);
} hook_configs SEC(".maps");

/* By generation % 2: hooks may name two generations at once, while they go over from one to the next. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, WEIR_SCOPE_SLOTS);
    __type(key, __u32);
    __type(value, struct weir_scope_config);
} scope_configs SEC(".maps");

/* Forward and reverse dimensions of all hooks and scopes. */
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 18);
    __type(key, struct string_key);
    __type(value, struct weir_mask);
} string_masks SEC(".maps");

/* Integer dimensions of all hooks and scopes, the masks of range and bits dimensions, and of each dimension
 * the mask where its argument is not known. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 18);
    __type(key, struct weir_integer_key);
    __type(value, struct weir_mask);
} integer_masks SEC(".maps");

/* The bounds of range dimensions of all hooks: of each a tree of pages. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 14);
    __type(key, struct weir_range_key);
    __type(value, struct weir_range_page);
} range_pages SEC(".maps");

/* Steps of the automatons over bytes of all hooks: of texts that are looked for anywhere in a text, and of
 * values that are longer than a trie takes. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, struct weir_text_node_key);
    __type(value, struct weir_text_node);
} text_nodes SEC(".maps");

/* Ids of the cgroups of containers, and the numbers of the workloads that these are. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 14);
    __type(key, __u64);
    __type(value, __u32);
} workloads SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 17);
    __type(key, struct weir_selector_key);
    __type(value, struct weir_selector_entry);
} selectors SEC(".maps");

struct class_key {
    __u32 generation;
    __u32 reserved;
    struct weir_mask scopes;
};

/* Sets of scopes that processes were seen in, and their numbers. Programs add, the agent deletes old
 * generations. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 4096);
    __type(key, struct class_key);
    __type(value, __u32);
} classes SEC(".maps");

struct class_mask_key {
    __u32 config_id;
    __u32 class_id;
};

/* Which selectors of a configuration hold for a class. Programs add, the agent deletes old configurations. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 16384);
    __type(key, struct class_mask_key);
    __type(value, struct weir_mask);
} class_masks SEC(".maps");

/* One number: the last class id given. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} class_counter SEC(".maps");

/* A text, laid out so that it is a key of string_masks as it stands. */
struct text_slot {
    __u32 prefix_bits;
    __u32 dimension_id;
    __u8 bytes[WEIR_LIMIT_PATH_BYTES];
    __u8 slack[8];
};

/*
 * A walk over a text byte by byte. Not in the context of bpf_loop: 6.1 and its like look at a callback with
 * the context's first values only, and drop the branches that these do not take (before ab5cfac139ab, 6.7).
 */
struct text_walk {
    __u32 number; // of the text
    __u32 dimension_id;
    __u32 from; // where in the slot the text begins
    __u32 length;
    __u32 at;
    __u32 state;
    __u32 fall_back;
    __u32 kind;
    __u32 bytes; // of a buffer, or NOT_SIZED
    __u32 found;
};

/* A walk over the bytes of a buffer that an event has beside those that were matched; see whole.h. Not in a
 * context, as text_walk is not. */
struct whole_walk {
    __u64 piece;   // where the next bytes are
    __u64 left;    // of the piece that they are in
    __u64 wanted;  // of the buffer
    __u64 skipped; // before the next bytes that are wanted
    __u64 vector;  // where the next piece is told of
    __u64 piece_count;
    __u32 is_user;
    __u32 place; // in the event, of the buffer that comes next
};

/* The task that runs where no process does: interrupts that find a CPU idle have it for the current one. No
 * walk over tasks comes to those that there are, and all are the same. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct process_state);
} idle_state SEC(".maps");

/* What scopes look at of a process, beside its state, while they are worked out. */
struct scope_subject {
    __u32 pid;
    __u32 namespace_pid;
    __u32 pid_namespace;
    __u32 known; // subject_known bits
    struct weir_mask lineage;
    struct weir_mask parent_lineage;
};

/* What one run of a hook program works on, besides its texts and the scratch memory that all programs share.
 */
struct hook_work {
    // Look-ups that could not be decided in this run. Here and not on the stack, as what counts up on the
    // stack of a loop differs in each turn for the verifier, which then never comes to an end ("sequence of
    // 8193 jumps").
    __u32 undecided_count;
    // What the call is to return: that of the first policy that denies it.
    __s32 error;
    // Of the policy that acts: what it did, or would have done, and whether it wants an event.
    __u32 done_signal;
    __s32 done_error;
    __u32 done_is_enforced;
    __u32 done_posts;
    __u32 is_own_call; // see is_own_call()
    // For tally.h: in this part of the call, and not in another.
    __u32 counts_enforced;
    __u32 done_matches;
    __u32 done_failed;
    __u32 binding_id;
    // What a selector has asked of the enforcer that acts.
    __s32 asked_error;
    __u32 asked_signal;
    // Of a program that calls of a list share: position of the call in the list.
    __u32 call_place;
    volatile __u64 context; // where the program's context lies
    __u32 config_id;        // of the configuration by which this run matches
    // At the return of a call: 1, what it did at its entry, and what it does now.
    __u32 is_return;
    __u32 entry_action;
    __u32 return_action;
    __u64 user_value;       // what read_user_value() has read
    __u64 process_state;    // where that of the process lies, whose scopes are worked out
    __u32 socket_arguments; // of the selector that acts
    __u64 bytes_left;       // of the buffer that is being read
    // Where a path that is read lies; here, as there is little stack.
    struct {
        __u64 mount;
        __u64 dentry;
    } place;
    struct weir_mask candidates;
    // Selectors whose event waits for the return, and of those that acted at the entry, what they did.
    struct weir_mask returning;
    struct weir_mask signalled;
    struct weir_mask denied;
    struct weir_mask enforced;
    struct weir_mask found; // by a look-up that puts its mask together
    struct weir_mask set;   // that a scope looks at; the bytes that texts begin with
    __u32 set_word;         // that a look-up of the set has come to; not in a context, as text_walk is not
    struct text_walk text_walk;
    struct whole_walk whole_walk;
    __u32 whole_bytes[HOOK_ARGUMENTS_MAX]; // of the buffers of an event, by place, that it has whole
    struct class_key class_key;            // its scopes are those that the process is in
    __u32 class_id;
    struct scope_subject subject;
    struct process_scopes scopes; // of the current process
    struct weir_argument arguments[HOOK_ARGUMENTS_MAX];
};

/* By slot of scratch memory (scratch.h); belongs to who claimed that. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEIR_SCRATCH_SLOTS);
    __type(key, __u32);
    __type(value, struct hook_work);
} hook_works SEC(".maps");

/* By slot of scratch memory × HOOK_TEXTS: one for each argument, and one for a text that is turned round.
 * Apart, because a value of a per-CPU map takes at most 32 KiB. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEIR_SCRATCH_SLOTS *HOOK_TEXTS);
    __type(key, __u32);
    __type(value, struct text_slot);
} hook_texts SEC(".maps");

static __always_inline struct hook_work *hook_work_of(__u32 slot) {
    return bpf_map_lookup_elem(&hook_works, &slot);
}

static __always_inline struct text_slot *text_of(__u32 slot, __u32 number) {
    __u32 key = slot * HOOK_TEXTS + number;

    return bpf_map_lookup_elem(&hook_texts, &key);
}

#endif
