/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the lineages of processes: which binaries a process, or one that it descends from, has run; which
// process ids are among its ancestors. A process is of a lineage from the exec or fork on by which it comes
// to it, through further execs, and so is whatever it forks, whether it lives on or not.
//
// Lineages are numbers that keep their meaning over changes of policies. What runs when a number gets a
// meaning is told by the agent, in lineage_seeds; each process takes over what is said there of it when it
// next forks, executes or is looked at (lineage_sync). The agent writes seeds until no process is left that
// began unseen, and only then do hooks look at the number.

#ifndef WEIR_LINEAGE_H
#define WEIR_LINEAGE_H

#include "process.h"

// What holds now; none where no policy follows descent. A hash, so that the value is replaced as a whole.
// Written by the agent.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, struct weir_lineage_config);
} lineage_configs SEC(".maps");

// Paths of binaries, from the front or from the end, and the lineages that begin with them. Written by the
// agent.
struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, struct string_key);
    __type(value, struct weir_mask);
} lineage_strings SEC(".maps");

// Process ids, and the lineages that begin with them. Written by the agent.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, struct weir_integer_key);
    __type(value, struct weir_mask);
} lineage_pids SEC(".maps");

// Lineages of processes that were there before. Written by the agent, and where a leader ends before its
// process does, from the leader's state; deleted with the process.
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1 << 16);
    __type(key, struct weir_lineage_seed_key);
    __type(value, struct weir_lineage_seed);
} lineage_seeds SEC(".maps");

enum {
    // Purposes of keys in lineage_pids.
    LINEAGE_PID = 0,
    LINEAGE_NAMESPACE_PID = 1,
    // /proc counts a hundred ticks a second (USER_HZ), whatever the kernel does.
    TICK_NS = 10000000,
};

static __always_inline const struct weir_lineage_config *lineage_config(void) {
    __u32 zero = 0;

    return bpf_map_lookup_elem(&lineage_configs, &zero);
}

static __always_inline struct weir_lineage_seed_key lineage_seed_key(const struct task_struct *leader) {
    struct weir_lineage_seed_key key = {
        .pid = leader->tgid,
        .start_ticks = leader->start_boottime / TICK_NS,
    };

    return key;
}

/*
 * Numbers of one word of a mask that got another meaning after a revision. Not static, so that the verifier
 * looks at its loop once.
 */
__noinline __u64 lineage_stale_word(__u32 word, __u32 since) {
    const struct weir_lineage_config *config = lineage_config();
    __u64 stale = 0;

    if (!config || word >= WEIR_LIMIT_MASK_WORDS)
        return 0;
#pragma clang loop unroll(disable)
    for (__u32 bit = 0; bit < 64; bit++) {
        if (config->given[word * 64 + bit] > since)
            stale |= 1ULL << bit;
    }
    return stale;
}
_Static_assert(WEIR_LIMIT_LINEAGES == 64 * WEIR_LIMIT_MASK_WORDS, "a mask has a bit for each lineage");

/* Brings the lineages of a process up to the present revision. */
static __always_inline void lineage_sync(struct process_state *state, const struct task_struct *leader,
                                         const struct weir_lineage_config *config) {
    __u32 since = state->lineage_revision;

    if (since == config->revision)
        return;
    struct weir_lineage_seed_key key = lineage_seed_key(leader);
    const struct weir_lineage_seed *seed = bpf_map_lookup_elem(&lineage_seeds, &key);
    bool is_recycled = since < config->recycled;

    // Each word by one store: another thread of the process may do the same, and one that forks may read.
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u64 stale = is_recycled ? lineage_stale_word(word, since) : 0;
        __u64 own = state->lineage.words[word] & ~stale;
        __u64 parent = state->parent_lineage.words[word] & ~stale;

        if (seed) {
            own |= seed->lineage.words[word];
            parent |= seed->parent_lineage.words[word];
        }
        *(volatile __u64 *)&state->lineage.words[word] = own;
        *(volatile __u64 *)&state->parent_lineage.words[word] = parent;
    }
    barrier();
    state->lineage_revision = config->revision;
}

static __always_inline void lineage_add(struct process_state *state, const struct weir_mask *begun) {
    if (!begun)
        return;
#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++)
        state->lineage.words[word] |= begun->words[word];
}

static __always_inline const struct weir_mask *lineage_of_text(struct scratch *scratch, __u32 dimension_id,
                                                               const __u8 *text, __u32 length) {
    struct string_key *key = (void *)scratch->key;

    _Static_assert(sizeof(*key) <= sizeof(scratch->key), "a key has room");
    key->prefix_bits = trie_bits(length);
    key->dimension_id = dimension_id;
    if (bpf_probe_read_kernel(key->bytes, sizeof(key->bytes), text) != 0)
        return NULL;
    return bpf_map_lookup_elem(&lineage_strings, key);
}

/*
 * Adds the lineages that begin with the binary of a process, which it has just executed: its state says
 * which. Not static, for its stack.
 */
__noinline int lineage_exec(__u32 slot) {
    struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
    const struct weir_lineage_config *config = lineage_config();
    struct process_state *state = process_state_find(leader);
    struct scratch *scratch = path_scratch(slot);

    if (!config || !state || !scratch)
        return 0;
    lineage_sync(state, leader, config);
    __u32 flags = state->flags;
    __u32 unknown = 0;

    if (config->uses & WEIR_LINEAGE_USE_FORWARD)
        unknown |= PROCESS_STATE_UNREADABLE;
    // A path that is longer than all values is none of them, whatever its front.
    if (config->uses & (state->binary_length > WEIR_BINARY_VALUE_BYTES_MAX ? WEIR_LINEAGE_USE_PREFIX
                                                                           : WEIR_LINEAGE_USE_FORWARD))
        unknown |= PROCESS_STATE_TRUNCATED;
    if (config->uses & WEIR_LINEAGE_USE_REVERSE)
        unknown |= PROCESS_STATE_UNREADABLE;
    if (flags & unknown) {
        __sync_fetch_and_or(&state->flags, PROCESS_STATE_LINEAGE_UNKNOWN);
        count(WEIR_KERNEL_COUNTER_UNDECIDED);
    }
    if ((config->uses & WEIR_LINEAGE_USE_FORWARD) &&
        !(flags & (PROCESS_STATE_TRUNCATED | PROCESS_STATE_UNREADABLE)))
        lineage_add(state,
                    lineage_of_text(scratch, config->dimension_id, state->forward, state->binary_length));
    // No byte behind the beginning is looked at: what comes there belongs to no path.
    if ((config->uses & WEIR_LINEAGE_USE_REVERSE) && !(flags & PROCESS_STATE_UNREADABLE) &&
        state->binary_length)
        lineage_add(state, lineage_of_text(scratch, config->dimension_id + 1, state->reverse,
                                           state->binary_length - 1));
    return 0;
}

static __always_inline void lineage_add_pid(struct process_state *state, __u32 dimension_id, __u32 purpose,
                                            __u32 pid) {
    struct weir_integer_key key = {.dimension_id = dimension_id, .purpose = purpose, .value = pid};

    lineage_add(state, bpf_map_lookup_elem(&lineage_pids, &key));
}

/* Process id of a task in its own pid namespace; 0 in the host's. Its address is read as a number: see
 * task_namespace_pid. */
static __always_inline __u32 own_namespace_pid(const struct task_struct *task, bool *known) {
    __u64 address = 0;
    __u32 level = 0, nr = 0;
    long error = bpf_probe_read_kernel(&address, sizeof(address), &task->thread_pid);
    const struct pid *pid = (const void *)address;

    error |= bpf_probe_read_kernel(&level, sizeof(level), &pid->level);
    if (!error && level > 0) {
        const struct upid *own = (const void *)(address + bpf_core_field_offset(struct pid, numbers) +
                                                (__u64)level * bpf_core_type_size(struct upid));

        error |= bpf_probe_read_kernel(&nr, sizeof(nr), &own->nr);
    }
    if (error) {
        count_failure(WEIR_FAILURE_PLACE_NAMESPACE_PID);
        *known = false;
    }
    return nr;
}

/* Inode number of the pid namespace that a task is in, 0 where it cannot be read. Its address is read as a
 * number: see task_namespace_pid. */
static __always_inline __u32 pid_namespace_of(const struct task_struct *task) {
    __u64 address = 0;
    __u32 level = 0, inum = 0;
    const struct pid_namespace *namespace = NULL;
    long error = bpf_probe_read_kernel(&address, sizeof(address), &task->thread_pid);
    const struct pid *pid = (const void *)address;

    error |= bpf_probe_read_kernel(&level, sizeof(level), &pid->level);
    const struct upid *own = (const void *)(address + bpf_core_field_offset(struct pid, numbers) +
                                            (__u64)level * bpf_core_type_size(struct upid));

    error |= bpf_probe_read_kernel(&namespace, sizeof(namespace), &own->ns);
    error |= bpf_probe_read_kernel(&inum, sizeof(inum), &namespace->ns.inum);
    if (error)
        count_failure(WEIR_FAILURE_PLACE_NAMESPACE_PID);
    return error ? 0 : inum;
}

/* Gives a child the lineages of its parent, and those that begin with its own numbers. */
static __always_inline void lineage_fork(struct process_state *from, struct process_state *to,
                                         const struct task_struct *child,
                                         const struct weir_lineage_config *config) {
    bool known = true;

#pragma unroll
    for (__u32 word = 0; word < WEIR_LIMIT_MASK_WORDS; word++) {
        __u64 lineage = from->lineage.words[word];

        to->parent_lineage.words[word] = lineage;
        to->lineage.words[word] = config ? lineage & ~config->uninherited.words[word] : lineage;
    }
    to->lineage_revision = from->lineage_revision;
    if (!config)
        return;
    if (config->uses & WEIR_LINEAGE_USE_PID)
        lineage_add_pid(to, config->dimension_id, LINEAGE_PID, child->tgid);
    if (config->uses & WEIR_LINEAGE_USE_NAMESPACE_PID) {
        __u32 pid = own_namespace_pid(child, &known);

        if (known)
            lineage_add_pid(to, config->dimension_id, LINEAGE_NAMESPACE_PID, pid);
        else
            __sync_fetch_and_or(&to->flags, PROCESS_STATE_LINEAGE_UNKNOWN);
    }
}

/*
 * A leader ends before its process: the state ends with it where another thread calls exec and becomes the
 * leader. What it inherited is kept for that one.
 */
static __always_inline void lineage_leader_ends(struct task_struct *leader) {
    const struct weir_lineage_config *config = lineage_config();
    struct process_state *state = process_state_find(leader);

    if (!config || !state)
        return;
    lineage_sync(state, leader, config);
    struct weir_lineage_seed_key key = lineage_seed_key(leader);

    // The two masks lie side by side as in a seed.
    if (bpf_map_update_elem(&lineage_seeds, &key, &state->lineage, BPF_ANY))
        count(WEIR_KERNEL_COUNTER_MAP_FULL);
}
_Static_assert(offsetof(struct process_state, parent_lineage) ==
                       offsetof(struct process_state, lineage) + sizeof(struct weir_mask) &&
                   sizeof(struct weir_lineage_seed) == 2 * sizeof(struct weir_mask),
               "the lineages of a state are a seed");

static __always_inline void lineage_process_ends(const struct task_struct *leader) {
    if (!lineage_config())
        return;
    struct weir_lineage_seed_key key = lineage_seed_key(leader);

    bpf_map_delete_elem(&lineage_seeds, &key);
}

#endif
