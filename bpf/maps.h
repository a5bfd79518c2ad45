/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
// Owns the maps that all programs share. Each object declares them; the loader makes each once and gives
// every further object the same one, by name. Maps of the hooks alone are in the hooks' own header.

#ifndef WEIR_MAPS_H
#define WEIR_MAPS_H

#include "kernel.h"
#include "weir.h"

// Slots of scratch memory on each CPU. A program can be interrupted by another on its CPU: by preemption
// (several tasks' programs), by a soft interrupt, by a hard one. Four deep is more than was ever seen; a
// fifth is counted.
#define WEIR_SCRATCH_SLOTS 4

// Records are laid out here: a hook record with its arguments, six full paths and two stacks is the largest.
#define WEIR_RECORD_BYTES (27 * 1024)
// The longest payload that is appended in one piece.
#define WEIR_APPEND_BYTES_MAX WEIR_LIMIT_PATH_BYTES

// Path text is written from this offset downwards, so that it ends here; behind it a NUL.
#define WEIR_PATH_END WEIR_LIMIT_PATH_BYTES
// Behind the end, what a copy of constant size from anywhere in the text may read.
#define WEIR_PATH_BUFFER_BYTES (WEIR_PATH_END + 256)

// Where the text of a path is in the path buffer: length bytes from `at` on, and a NUL behind them.
struct path_text {
    __u32 at;
    __u32 length;
    __u32 flags; // path_flag bits
};

// State of the walk to the front of a path (path.h). Addresses are plain numbers: they are read by helpers.
struct path_walk {
    __u64 dentry;
    __u64 mount;         // struct mount; 0 for a walk within the file system
    __u64 mount_root;    // its root dentry
    __u64 root_dentry;   // of the task
    __u64 root_vfsmount; // of the task
    __u32 at;
    __u32 flags;
    __u32 done;
    __u32 reserved;
};

struct scratch {
    // The record that is being made: its fixed part under its type's name, its payloads behind that. (A
    // union, so that the types are in the object's BTF, where a test compares their layout with
    // TypeScript's.)
    union {
        __u8 record[WEIR_RECORD_BYTES];
        struct weir_record_header header;
        struct weir_exec_record exec;
        struct weir_clone_record clone;
        struct weir_exit_record exit;
        struct weir_hook_record hook;
    };
    __u8 path[WEIR_PATH_BUFFER_BYTES];
    struct path_walk walk;
    struct path_text text; // of the binary that a state is filled in with
    __u64 viewer;          // the task that paths are read for, where it is not the current one
    // For a key of the tries or whatever else a program needs for a moment and has no stack for.
    __u8 key[512];
};
// The per-CPU allocator gives at most 32 KiB in a piece (PCPU_MIN_UNIT_SIZE; refused with E2BIG or ENOMEM).
_Static_assert(sizeof(struct scratch) <= 32768, "scratch: the per-CPU allocator's limit");
_Static_assert(WEIR_PATH_END == 4096, "path.h masks offsets by 4095");
_Static_assert(6 * WEIR_LIMIT_PATH_BYTES + 8 * sizeof(struct weir_argument) +
                       sizeof(struct weir_hook_record) + 2 * 1024 <=
                   WEIR_RECORD_BYTES,
               "scratch: the largest hook record");
_Static_assert(sizeof(struct weir_exec_record) + 2 * WEIR_LIMIT_PATH_BYTES + WEIR_LIMIT_ARGUMENTS_BYTES +
                       256 <=
                   WEIR_RECORD_BYTES - WEIR_APPEND_BYTES_MAX,
               "scratch: the largest exec record");

// Bytes of a binary's path at either end that are kept for matching; as the tries take.
#define WEIR_STATE_TEXT_BYTES 256
// Generations of scopes that are in use at once.
#define WEIR_SCOPE_SLOTS 2
_Static_assert(WEIR_LIMIT_TRIE_DATA_BYTES <= WEIR_STATE_TEXT_BYTES, "process_state holds what a trie takes");

// In which scopes a process is, of one generation of them. Worked out by scope.bpf.c, read by the hooks.
struct process_scopes {
    // Generation and class, by one load and store: generation below, class above. 0: not worked out.
    // The class is the number of the set `in`; 0 where that has none.
    __u64 generation_class;
    // Look-ups that could not be decided.
    __u32 undecided;
    __u32 reserved;
    struct weir_mask in;
};

// What is known of a process, kept on its thread group's leader. See process.h.
struct process_state {
    // When it last called exec, or was created; boot-time clock. With the pid it is the exec_id.
    __u64 exec_ns;
    // Bytes of the whole path of the binary, as far as it was read; 0 for kernel threads.
    __u32 binary_length;
    // process_state_flag bits.
    __u32 flags;
    // The path's first bytes, followed by NUL where it is shorter; garbage behind the NUL.
    __u8 forward[WEIR_STATE_TEXT_BYTES];
    // The path's last bytes, the last one first; garbage behind min(binary_length, 256).
    __u8 reverse[WEIR_STATE_TEXT_BYTES];
    // The same of the program that its parent ran when it made this process.
    __u32 parent_length;
    // Revision of the lineages that the two masks below are of; 0 where nothing is known yet.
    __u32 lineage_revision;
    __u8 parent_forward[WEIR_STATE_TEXT_BYTES];
    __u8 parent_reverse[WEIR_STATE_TEXT_BYTES];
    // Lineages that the process is of, and those that its parent was of when it made this one. See lineage.h.
    struct weir_mask lineage;
    struct weir_mask parent_lineage;
    // As they were at the last exec: inode numbers by namespace_kind, capabilities.
    __u32 exec_namespaces[10];
    __u64 exec_permitted, exec_effective, exec_inheritable;
    // By generation % 2: while hooks go over from one to the next, both are in use.
    struct process_scopes scopes[WEIR_SCOPE_SLOTS];
};

enum process_state_flag {
    // The binary's path and exec_ns are filled in.
    PROCESS_STATE_READY = 1,
    // The front of the path is missing (it is longer than can be read, or the file lies in a mount that hangs
    // in no
    // tree), so `forward` decides nothing.
    PROCESS_STATE_TRUNCATED = 2,
    // The path could not be read: nothing that depends on it can be decided.
    PROCESS_STATE_UNREADABLE = 4,
    // The exit record was sent, or is being sent.
    PROCESS_STATE_EXITED = 8,
    // As the three above, of the parent's binary.
    PROCESS_STATE_PARENT_READY = 16,
    PROCESS_STATE_PARENT_TRUNCATED = 32,
    PROCESS_STATE_PARENT_UNREADABLE = 64,
    // What was at the last exec is known.
    PROCESS_STATE_BASELINE = 128,
    // A binary that the process ran, or one of its ancestors, could not be read: its lineages are not known.
    PROCESS_STATE_LINEAGE_UNKNOWN = 256,
    // It is decided whether the process is told of, and it is not. See withhold.h.
    PROCESS_STATE_NARROWING_KNOWN = 512,
    PROCESS_STATE_NARROWED = 1024,
    // What an exec leaves as it is.
    PROCESS_STATE_KEPT = PROCESS_STATE_PARENT_READY | PROCESS_STATE_PARENT_TRUNCATED |
                         PROCESS_STATE_PARENT_UNREADABLE | PROCESS_STATE_BASELINE |
                         PROCESS_STATE_LINEAGE_UNKNOWN,
};
_Static_assert(PROCESS_STATE_PARENT_READY == PROCESS_STATE_READY << 4 &&
                   PROCESS_STATE_PARENT_TRUNCATED == PROCESS_STATE_TRUNCATED << 4 &&
                   PROCESS_STATE_PARENT_UNREADABLE == PROCESS_STATE_UNREADABLE << 4,
               "the parent's flags are the process's, shifted");

struct string_key {
    __u32 prefix_bits;
    __u32 dimension_id;
    __u8 bytes[WEIR_LIMIT_TRIE_DATA_BYTES];
};

/* Bits of a key that count, for `length` bytes and the NUL after them. */
static __always_inline __u32 trie_bits(__u32 length) {
    __u32 bytes = length + 1;

    if (bytes > WEIR_LIMIT_TRIE_DATA_BYTES)
        bytes = WEIR_LIMIT_TRIE_DATA_BYTES;
    return 8 * (sizeof(__u32) + bytes);
}

// Records for the agent.
// Written by every program (emit.h); read and consumed by the agent's reader alone. The loader may set
// another size (a power of two) before it loads.
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 8 * 1024 * 1024);
} events SEC(".maps");

// Counts of the kernel stage. Key: kernel_counter; value: count on that CPU since the map was made.
// Written by every program, read by the agent, never reset. The counter `produced` is also the sequence of
// the CPU: a record's `sequence` is its value before. So that a map of counters which outlives the agent
// (pinned) continues the sequence, and tells what was produced while nobody read.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

// Counts of what failed, by the place in the code. Key: failure_place; value: count on that CPU.
// Written by every program, read by the agent (metrics).
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 64);
    __type(key, __u32);
    __type(value, __u64);
} failures SEC(".maps");

// What is known of each process. Key: task, always the leader of the thread group.
// Written by the process sensor (fork, exec, exit), and by process_state_get() for processes that were there
// before; the scopes by scope.bpf.c. Read by the hooks. Deleted by the kernel with the task.
struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct process_state);
} process_states SEC(".maps");

// Programs that the process sensor's go on with at an exec and at a fork: there the scopes of a process are
// worked out (scope.bpf.c). Written by the agent, once a policy has scopes. Two, as the kernel takes programs
// of one tracepoint only into each.
struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} scope_at_exec SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} scope_at_fork SEC(".maps");

// Which scratch slots of a CPU are in use. Key: 0; value: a bit for each slot. Written by scratch.h alone.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} scratch_claims SEC(".maps");

// Scratch memory. Key: slot; value: belongs to the program that claimed the slot on this CPU, until it
// releases it.
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, WEIR_SCRATCH_SLOTS);
    __type(key, __u32);
    __type(value, struct scratch);
} scratch_slots SEC(".maps");

#endif
